"""The pretend accelerator refuses what CUDA refuses, allows what it allows, and counts what waits for it."""

from __future__ import annotations

import copy
from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

from tests.accelerator.pretend import MixedDevicesError, Pretend

HERE, THERE = torch.device("cpu"), torch.device("cuda:0")


def test_tensors_say_where_they_are() -> None:
    with Pretend():
        there, here = torch.zeros(3, device="cuda"), torch.ones(3)
        found = (there, here, there + 1, there[1:], here.to("cuda"), here.cuda(), there.cpu())
        assert [one.device for one in found] == [
            THERE, HERE, THERE, THERE, THERE, THERE, HERE,
        ]  # fmt: skip
        assert torch.zeros_like(there).is_cuda
        assert not torch.zeros_like(there, device="cpu").is_cuda
        assert nn.functional.one_hot(there.long(), 3).is_cuda
        assert torch.tensor([1.0], device="cuda").is_cuda
        assert torch.empty(2, device="meta").device.type == "meta"
        model = nn.Linear(3, 2).to("cuda")
        assert copy.deepcopy(model).weight.is_cuda
        model(there).sum().backward()
        assert model.weight.grad.is_cuda
    assert there.device == HERE


@pytest.mark.parametrize(
    "mix",
    [
        lambda here, there: here + there,
        lambda here, there: torch.cat([there, here]),
        lambda here, there: torch.stack([there[0], here[0]]),
        lambda here, there: here[there.long()],
        lambda here, there: there.index_select(0, here.long()),
        lambda here, there: there.gather(0, here.long()),
        lambda here, there: nn.functional.linear(there, here[None]),
        lambda here, there: there.add_(here),
        lambda here, there: torch.rand(2, device="cuda", generator=torch.Generator()),
        lambda here, there: torch.rand(2, generator=torch.Generator("cuda")),
        lambda here, there: there.numpy(),
    ],
)
def test_what_is_not_together_is_refused(mix: Callable[[Tensor, Tensor], object]) -> None:
    with Pretend(), pytest.raises((RuntimeError, TypeError), match=r"same device|device type"):
        mix(torch.zeros(3), torch.zeros(3, device="cuda"))


@pytest.mark.parametrize(
    "mix",
    [
        lambda here, there: there + here[0],
        lambda here, there: torch.where(there > 0, there, here[0]),
        lambda here, there: there[here.long()],
        lambda here, there: there.copy_(here),
        lambda here, there: torch.rand(2, device="cuda", generator=torch.Generator("cuda")),
    ],
)
def test_what_cuda_allows_is_allowed(mix: Callable[[Tensor, Tensor], Tensor]) -> None:
    with Pretend():
        assert mix(torch.zeros(3), torch.zeros(3, device="cuda")).is_cuda


@pytest.mark.parametrize(
    ("waits", "ask"),
    [
        (1, lambda here, there: there[0].item()),
        (1, lambda here, there: bool((there > 0).all())),
        (1, lambda here, there: there.tolist()),
        (1, lambda here, there: there.cpu()),
        (1, lambda here, there: here.to("cuda")),
        (1, lambda here, there: here.to("cuda", non_blocking=True)),  # pageable memory is copied to a buffer first
        (0, lambda here, there: here.pin_memory().to("cuda", non_blocking=True)),
        (1, lambda here, there: here.pin_memory().to("cuda")),
        (1, lambda here, there: torch.tensor([1.0], device="cuda")),
        (0, lambda here, there: torch.zeros(2, device="cuda")),
        (1, lambda here, there: there[here.long()]),
        (0, lambda here, there: there[there.long()]),
        (1, lambda here, there: torch.nonzero(there)),
        (1, lambda here, there: torch.equal(there, there)),
        (0, lambda here, there: nn.functional.relu(there) * 2),
        (0, lambda here, there: here.sum().item()),
    ],
)
def test_waits_are_counted(waits: int, ask: Callable[[Tensor, Tensor], object]) -> None:
    with Pretend() as pretend:
        here, there = torch.zeros(3), torch.zeros(3, device="cuda")
        with pretend.counting() as counts:
            ask(here, there)
    assert counts.waits.total() == waits


@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
def test_bfloat16_gradients_are_whole_whatever_was_in_memory(layout: torch.memory_format) -> None:
    """oneDNN's own leave out taps that see only padding: this went non-finite after whatever left NaN behind."""
    weight = torch.randn(32, 16, 3, 3).to(memory_format=layout).requires_grad_()
    with Pretend():
        there, images = weight.to("cuda", torch.bfloat16), torch.ones(32, 16, 1, 1, device="cuda", dtype=torch.bfloat16)
        for _ in range(5):
            left = [torch.full((size,), float("nan")) for size in (512, 1024, 2304, 4608) * 20]
            del left
            images = images.to(memory_format=layout)
            nn.functional.conv2d(images, there, stride=2, padding=1).float().sum().backward()
            assert weight.grad is not None
            assert weight.grad[:, :, 1, 1].eq(32).all()
            weight.grad[:, :, 1, 1] = 0
            assert not weight.grad.any()
            weight.grad = None
            there = weight.to("cuda", torch.bfloat16)


def test_a_mask_waits() -> None:
    with Pretend() as pretend:
        there = torch.zeros(3, device="cuda")
        with pretend.counting() as counts:
            assert len(there[there == 0]) == 3
        assert counts.waits.total() == 1


def test_operations_are_counted_where_they_run() -> None:
    with Pretend() as pretend:
        here, there = torch.zeros(4, 4), torch.zeros(4, 4, device="cuda", requires_grad=True)
        with pretend.counting() as counts:
            (here * 2 + 1).relu()
            (there.view(2, 8)[:, 1:] * 2).sum().backward()
    assert counts.operations["mul"] == 2  # there, and on the way back
    assert "relu" not in counts.operations
    assert "view" not in counts.operations


def test_another_device_has_no_float64() -> None:
    with Pretend("mps"):
        there = torch.zeros(3).to("mps")
        assert there.device.type == "mps"
        with pytest.raises(TypeError, match="float64"):
            there.double()
        with pytest.raises(MixedDevicesError):
            there + torch.zeros(3)
