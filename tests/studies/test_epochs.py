"""Scratch-B: the published numbers of epochs."""

from __future__ import annotations

import functools

import pytest

from thinresnet import recipe as recipes
from thinresnet.errors import InputError
from thinresnet.networks import Network, count, parse_network, scale
from thinresnet.pruning.presets import preset
from thinresnet.studies.epochs import scratch_b, scratch_b_epochs


def _macs(network: Network) -> int:
    """By the one counter, once a network."""
    return _counted(network.to_json())


@functools.cache
def _counted(text: str) -> int:
    return count(parse_network(text)).macs


@pytest.mark.parametrize(
    ("name", "arch", "epochs"),
    [
        ("R56-A", "resnet56_cifar", 178),
        ("R56-B", "resnet56_cifar", 220),
        ("R110-A", "resnet110_cifar", 190),
        ("R110-B", "resnet110_cifar", 260),
        ("VGG16-A", "vgg16_cifar", 243),
    ],
)
def test_the_epochs_of_the_paper(name: str, arch: str, epochs: int) -> None:
    dense = scale(arch)
    assert scratch_b_epochs(160, dense_macs=_macs(dense), macs=_macs(preset(name, dense))) == epochs


@pytest.mark.parametrize(
    ("dense_macs", "macs", "cap", "epochs"),
    [(366, 310, 2, 106), (366, 278, 2, 118), (200, 100, 2, 180), (409, 100, 2, 180), (409, 100, None, 368)],
)
def test_imagenet_stops_at_twice_the_epochs(dense_macs: int, macs: int, cap: int | None, epochs: int) -> None:
    assert scratch_b_epochs(90, dense_macs=dense_macs, macs=macs, cap=cap) == epochs


def test_a_larger_network_is_refused() -> None:
    assert scratch_b_epochs(90, dense_macs=7, macs=7) == 90
    with pytest.raises(InputError, match="it is for smaller ones"):
        scratch_b_epochs(90, dense_macs=7, macs=8)


def test_the_classic_schedule_steps_where_theirs_does() -> None:
    """They step after int(0.5 E) and int(0.75 E) epochs; timm's number is one more."""
    classic = recipes.load("cifar-classic-160")
    longer = scratch_b(classic, dense_macs=125_490, macs=112_458)
    assert longer.epochs == 178
    assert longer.decay_milestones == (int(0.5 * 178) + 1, int(0.75 * 178) + 1)
    assert longer.learning_rate(1) == classic.learning_rate(1)
