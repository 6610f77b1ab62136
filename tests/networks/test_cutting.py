"""Weight surgery: the network that is left computes what the one with masked channels did, in every family."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn

from thinresnet.errors import InputError
from thinresnet.networks import build, count, scale
from thinresnet.networks.cutting import Channels, Kept, channels_of, cut, masked

# Beside those on which tests/pruning/test_equal.py tries every method.
NETWORKS = (
    "densenetbc100_cifar",
    "resnext50_32x4d",
    "res2net50_26w_4s",
    "shufflenet_v2_x1_0",
    "ghostnet_100",
    "mixnet_s",
    "dla34",
    "seresnet50",
)


def _worn(model: nn.Module) -> nn.Module:
    """Statistics and scales that training would leave: a removed channel that is not masked everywhere shows."""
    with torch.no_grad():
        for module in model.modules():
            if isinstance(module, nn.BatchNorm2d):
                for tensor in (module.running_mean, module.weight, module.bias):
                    tensor.normal_(0.5, 0.5)
                module.running_var.uniform_(0.5, 2)
    return model.double().eval()


def _some(channels: Channels, seed: int) -> Kept:
    """About half of each group that can be cut: random ones, equally many of each lane, in whole steps."""
    random = np.random.default_rng(seed)
    kept = channels.full()
    for group, span in channels.slices.items():
        lanes, size, step = channels.lane_count(group), channels.count(group), channels.steps[group]
        left = max(step, size // 2 // step * step)
        if group in channels.locked:
            continue
        kept[span] = False
        for lane in range(lanes):
            own = np.flatnonzero(channels.lanes[span] == lane)
            kept[span.start + random.choice(own, left // lanes, replace=False)] = True
    return kept


@pytest.mark.parametrize("arch", NETWORKS)
def test_masked_and_cut_networks_agree(arch: str) -> None:
    side = 32 if arch.endswith("_cifar") else 64
    network = scale(arch, width=0.5, input_size=(3, side, side), num_classes=5)
    model = _worn(build(network, seed=0))
    channels = channels_of(network)
    kept = _some(channels, seed=1)
    thin, left = cut(model, network, kept)
    images = torch.randn(2, 3, side, side, dtype=torch.float64)
    with torch.no_grad():
        whole = model(images)
        with masked(model, channels, torch.from_numpy(kept)):
            expected = model(images)
        assert torch.allclose(left(images), expected, rtol=1e-9, atol=1e-9)
        assert not torch.allclose(whole, expected)
        assert torch.equal(model(images), whole)
    assert count(thin).params == sum(parameter.numel() for parameter in left.parameters()) < count(network).params


def test_keeping_everything_changes_nothing() -> None:
    network = scale("resnet20_cifar", width=0.5)
    model = _worn(build(network, seed=0))
    thin, left = cut(model, network, {})
    assert thin == network
    assert all(torch.equal(a, b) for a, b in zip(left.state_dict().values(), model.state_dict().values(), strict=True))


def test_named_channels_are_the_ones_that_stay() -> None:
    network = scale("resnet20_cifar")
    model = build(network, seed=0)
    thin, left = cut(model, network, {"layer1.0.conv1": [1, 5, 11]})
    assert thin.channels["layer1.0.conv1"] == 3
    assert torch.equal(left.layer1[0].conv1.weight, model.layer1[0].conv1.weight[[1, 5, 11]])
    assert torch.equal(left.layer1[0].conv2.weight, model.layer1[0].conv2.weight[:, [1, 5, 11]])


def test_masked_and_cut_agree_with_zeros_on_both_sides() -> None:
    network = scale("resnet20_cifar", width=0.5, shortcut="A-strided")
    model, channels = _worn(build(network, seed=0)), channels_of(network)
    for seed in range(3):  # each side keeps a number of its own
        kept = _some(channels, seed=seed)
        _, left = cut(model, network, kept)
        images = torch.randn(2, 3, 32, 32, dtype=torch.float64)
        with torch.no_grad(), masked(model, channels, torch.from_numpy(kept)):
            assert torch.allclose(model(images), left(images), rtol=0, atol=1e-9)


@pytest.mark.parametrize(
    ("keep", "message"),
    [
        ({"layer1.0.conv1": []}, "layer1.0.conv1"),
        ({"layer1.0.conv1": [16]}, "layer1.0.conv1"),
        ({"layer9": [0]}, "layer9"),
    ],
)
def test_bad_requests(keep: dict[str, list[int]], message: str) -> None:
    network = scale("resnet20_cifar")
    with pytest.raises(InputError, match=message):
        cut(build(network, seed=0), network, keep)
