"""What is timed: a forward pass, or a whole update."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from thinresnet.networks import scale, timing


@pytest.mark.parametrize("training", [False, True])
def test_an_update_has_gradients_and_a_forward_pass_has_none(training: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    timed: list[Tensor] = []

    def seconds(forward: Callable[[], Tensor], device: torch.device) -> float:
        timed.append(forward())
        return float(len(timed))

    steps: list[int] = []
    monkeypatch.setattr(timing, "seconds", seconds)
    monkeypatch.setattr(torch.optim.SGD, "step", lambda self: steps.append(1))
    thin = scale("resnet20_cifar", width=0.25)
    (found,) = timing.measure([thin], batch_size=4, runs=3, training=training, progress=False)
    assert {(value.shape, value.requires_grad) for value in timed} == {
        (torch.Size([]), True) if training else (torch.Size([4, 10]), False)
    }
    assert len(steps) == (timing.WARM_UP_RUNS + 3) * training
    assert (found.latency_ms, found.images_per_second) == (2000.0, 2.0)  # the median of 1, 2 and 3 seconds
