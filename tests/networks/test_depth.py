"""Depth surgery: the network that is left computes what the one with branches scaled to zero did, in every family."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import nn

from thinresnet.errors import InputError
from thinresnet.networks import build, count, describe, scale
from thinresnet.networks.depth import block_costs, blocks_of, scaled, without

NETWORKS: list[tuple[str, dict[str, Any]]] = [
    ("resnet20_cifar", {}),
    ("resnet20_cifar", {"shortcut": "B"}),
    ("preresnet164_cifar", {"depths": [2, 3, 2]}),
    ("wrn16_2_cifar", {}),
    ("resnet18", {}),
    ("resnet50", {}),
    ("resnetv2_50", {"layers": [2, 2, 2, 2]}),
    ("convnext_atto", {"depths": [1, 2, 2, 2], "use_grn": True}),
]


def _worn(model: nn.Module) -> nn.Module:
    """Statistics, scales and biases that training would leave."""
    torch.manual_seed(1)
    with torch.no_grad():
        for module in model.modules():
            if isinstance(module, nn.BatchNorm2d):
                for tensor in (module.running_mean, module.weight, module.bias):
                    tensor.normal_(0.5, 0.5)
                module.running_var.uniform_(0.5, 2)
            elif getattr(module, "bias", None) is not None:
                module.bias.normal_()
            if isinstance(gamma := getattr(module, "gamma", None), nn.Parameter):
                gamma.normal_()  # ConvNeXt's layer scale begins at 1e-6
    return model.double().eval()


@pytest.mark.parametrize(("arch", "kwargs"), NETWORKS, ids=str)
def test_scaled_and_shallower_networks_agree(arch: str, kwargs: dict[str, Any]) -> None:
    size = (3, 32, 32) if arch.endswith("_cifar") else (3, 64, 64)
    network = scale(arch, width=0.5, input_size=size, num_classes=5, **kwargs)
    model = _worn(build(network, seed=0))
    blocks = blocks_of(network)
    gone = set(list(blocks.ends)[::2])
    scales = {block: 0.5 + 0.1 * number for number, block in enumerate(blocks.ends)}
    shallow, left = without(model, network, gone, scales)
    images = torch.randn(2, *size, dtype=torch.float64)
    gates = torch.tensor([0.0 if block in gone else scales[block] for block in scales], dtype=torch.float64)
    with torch.no_grad():
        whole = model(images)
        with scaled(model, list(blocks.ends.values()), gates):
            expected = model(images)
        assert torch.allclose(left(images), expected, rtol=1e-9, atol=1e-9)
        assert not torch.allclose(whole, expected)
        assert torch.equal(model(images), whole)  # nothing is left of the gates
    # What the blocks cost is what the network is cheaper by.
    cost, rest, costs = count(network), count(shallow), block_costs(network, blocks)
    assert rest.macs == cost.macs - sum(costs[block][0] for block in gone)
    assert rest.params == cost.params - sum(costs[block][1] for block in gone)


def test_blocks_of_different_widths_keep_their_own() -> None:
    widths = {f"layer{stage}.{block}.conv1": 3 + stage + 2 * block for stage in (1, 2, 3) for block in range(3)}
    network = describe("resnet20_cifar", channels={**widths, "conv1": 10}, input_size=(3, 32, 32))
    model = _worn(build(network, seed=0))
    shallow, left = without(model, network, {"layer1.1", "layer3.1", "layer3.2"}, {})
    assert shallow.kwargs["depths"] == [2, 3, 1]
    assert shallow.channels["layer1.1.conv1"] == widths["layer1.2.conv1"]
    assert torch.equal(left.layer1[1].conv1.weight, model.layer1[2].conv1.weight)
    assert shallow.channels["conv1"] == 10
    images = torch.randn(2, 3, 32, 32, dtype=torch.float64)
    ends = [blocks_of(network).ends[block] for block in ("layer1.1", "layer3.1", "layer3.2")]
    with torch.no_grad(), scaled(model, ends, torch.zeros(3)):
        expected = model(images)
    with torch.no_grad():
        assert torch.allclose(left(images), expected, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize(
    ("arch", "message"),
    [
        ("vgg16_cifar", "no residual blocks"),
        ("densenet40_cifar", "no residual blocks"),
        ("seresnet50", "'layer1.1' cannot be removed.*attention"),
        ("resnetv2_50x1_bit", "conv3, whose weights are standardised"),
    ],
)
def test_what_has_no_such_blocks_is_refused(arch: str, message: str) -> None:
    with pytest.raises(InputError, match=message):
        blocks_of(scale(arch, input_size=(3, 32, 32)))


def test_an_activation_that_is_not_idempotent_is_refused() -> None:
    with pytest.raises(InputError, match=r"'layer1\.1' cannot be removed: SiLU behind the sum"):
        blocks_of(scale("resnet18", width=0.25, act_layer="silu", input_size=(3, 64, 64)))


def test_only_blocks_that_can_leave_do() -> None:
    network = scale("resnet20_cifar")
    with pytest.raises(InputError, match=r"'layer2\.0' is not a block that can be removed"):
        without(build(network, seed=0), network, {"layer2.0"}, {})
