"""Guided pruning: mean shares by stage, on the same network and carried over to another one."""

from __future__ import annotations

import pytest

from thinresnet.budget import Budget
from thinresnet.errors import InputError
from thinresnet.networks import Network, count, describe, scale
from thinresnet.studies.guided import guided, stage_shares

# The widths that Slimming left of a VGG-19 once (a repository's issue), empty layers at one channel, for VGG-16's 13.
WIDTHS = (45, 64, 128, 128, 256, 256, 249, 184, 36, 6, 2, 1, 5)
# Of the stages between poolings: kept channels over channels.
SHARES = ((45 + 64) / 128, 256 / 256, (256 + 256 + 249) / 768, (184 + 36 + 6) / 1536, (2 + 1 + 5) / 1536)


@pytest.fixture(scope="module")
def slimmed() -> Network:
    dense = scale("vgg16_cifar")
    return describe("vgg16_cifar", channels=dict(zip(dense.channels, WIDTHS, strict=True)))


def test_shares_by_stage(slimmed: Network) -> None:
    assert stage_shares(slimmed) == pytest.approx(SHARES)
    assert stage_shares(scale("resnet56_cifar")) == [1.0] * 3


def test_from_vgg16_to_vgg19_on_other_classes(slimmed: Network) -> None:
    network = guided([slimmed], "vgg19_cifar", num_classes=100)
    stages = [(64, 2), (128, 2), (256, 4), (512, 4), (512, 4)]
    by_hand = [
        int(share * width + 0.5) for share, (width, layers) in zip(SHARES, stages, strict=True) for _ in range(layers)
    ]
    assert list(network.channels.values()) == by_hand
    assert network.kwargs == {"num_classes": 100}


def test_rescaled_to_a_budget(slimmed: Network) -> None:
    dense = count(scale("vgg19_cifar", num_classes=100))
    network = guided([slimmed], "vgg19_cifar", [Budget.parse("macs", "20%")], num_classes=100)
    assert 0.195 * dense.macs < count(network).macs <= 0.2 * dense.macs
    widths = list(network.channels.values())
    assert widths[0] / 64 > 20 * widths[-1] / 512


def test_the_mean_over_several_references(slimmed: Network) -> None:
    dense = scale("vgg16_cifar")
    network = guided([slimmed, dense], "vgg16_cifar")
    assert list(network.channels.values())[-1] == round((SHARES[-1] + 1) / 2 * 512)


def test_a_residual_network_keeps_its_stream() -> None:
    cut = describe("resnet56_cifar", channels={f"layer2.{block}.conv1": 8 for block in range(9)})
    network = guided([cut], "resnet20_cifar")
    dense = scale("resnet20_cifar").channels
    changed = {name for name in dense if network.channels[name] != dense[name]}
    assert changed == {f"layer2.{block}.conv1" for block in range(3)}
    assert {network.channels[name] for name in changed} == {8}


def test_stages_must_be_as_many(slimmed: Network) -> None:
    with pytest.raises(InputError, match=r"vgg16_cifar at .* has 5 stages .* resnet20_cifar at .* has 3"):
        guided([slimmed], "resnet20_cifar")
