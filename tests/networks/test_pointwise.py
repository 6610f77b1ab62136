"""Which operations are pointwise: found out on small tensors, whether torch tags them or not."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from thinresnet.networks import operations
from thinresnet.networks.blueprint import create
from thinresnet.networks.pointwise import passes_trial, tagged
from thinresnet.networks.ties import find_ties

aten = torch.ops.aten
MAP = torch.empty(1, 8, 16, 16, device="meta")
VECTOR = torch.empty(8, 1, 1, device="meta")


@pytest.mark.parametrize(
    ("func", "args", "kwargs"),
    [
        (aten.hardtanh.default, (MAP, 0.0, 6.0), {}),
        (aten.hardtanh_.default, (MAP, 0.0, 6.0), {}),
        (aten.leaky_relu.default, (MAP, 0.1), {}),
        (aten.hardswish.default, (MAP,), {}),
        (aten.threshold.default, (MAP, 0, 0), {}),
        (aten._prelu_kernel.default, (MAP, VECTOR), {}),
        (aten.mul.Tensor, (MAP, VECTOR), {}),
        (aten.add_.Tensor, (MAP, MAP), {"alpha": 2}),
        (aten.where.self, (MAP > 0, MAP, VECTOR), {}),
        (aten.round.default, (MAP,), {}),
    ],
    ids=str,
)
def test_element_by_element(func: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
    assert passes_trial(func, args, kwargs)


@pytest.mark.parametrize(
    ("func", "args"),
    [
        (aten.sort.default, (MAP, 1)),
        (aten.argsort.default, (MAP, 1)),
        (aten.cumsum.default, (MAP, 1)),
        (aten._softmax.default, (MAP, 1, False)),
        (aten.flip.default, (MAP, [1])),
        (aten.roll.default, (MAP, [1], [1])),
        (aten.mean.dim, (MAP, [1], True)),
        (aten.matmul.default, (MAP, MAP)),
        (aten.avg_pool2d.default, (MAP, [3, 3], [1, 1], [1, 1])),
        (aten.native_group_norm.default, (MAP, None, None, 1, 8, 256, 2, 1e-5)),
        (aten.view.default, (MAP, [1, 8, 256])),
    ],
    ids=str,
)
def test_not_element_by_element(func: Any, args: tuple[Any, ...]) -> None:
    assert not passes_trial(func, args, {})


def test_random_numbers_stay_as_they_are() -> None:
    torch.manual_seed(0)
    state = torch.get_rng_state()
    passes_trial(aten.erf.default, (MAP,), {})
    assert torch.equal(torch.get_rng_state(), state)


@pytest.mark.parametrize("arch", ["mobilenetv2_100", "tresnet_m", "convnextv2_atto", "skresnet18", "mobilenetv2_cifar"])
def test_networks_are_traced_alike_without_torchs_tags(arch: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Older versions of torch tag fewer operations: ReLU6 and leaky ReLU among them."""

    def groups() -> dict[str, Any]:
        return find_ties(create(arch, {}, None, device="meta"), (3, 64, 64), arch).groups

    with_tags = groups()
    untagged = {"hardtanh", "leaky_relu", "silu", "gelu", "relu", "mul", "add", "sigmoid", "div", "pow"}
    monkeypatch.setattr(
        operations, "tagged", lambda func: tagged(func) and func.overloadpacket.__name__.rstrip("_") not in untagged
    )
    assert groups() == with_tags
