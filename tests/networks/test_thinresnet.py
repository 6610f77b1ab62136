"""Networks by base width: counted by the one counter, built by timm's factory, scaled and fitted like all others."""

from __future__ import annotations

import pytest
import timm
import torch

from thinresnet import base_width
from thinresnet.base_width import BaseWidth
from thinresnet.budget import Budget
from thinresnet.errors import InputError
from thinresnet.networks import build, count, describe, fit, scale
from thinresnet.networks.describe import read_network

IMAGENET_WIDTHS = (8, 12, 16, 20, 24, 28, 32, 36, 40, 44, 48, 52, 56, 60, 64)
CIFAR_WIDTHS = (4, 6, 8, 10, 11, 12, 14, 16, 64)


@pytest.mark.parametrize(
    ("depth", "widths", "classes", "side"),
    [(50, IMAGENET_WIDTHS, 1000, 224), (20, CIFAR_WIDTHS, 10, 32), (56, CIFAR_WIDTHS, 10, 32)],
)
def test_the_counter_agrees_with_the_closed_form(depth: int, widths: tuple[int, ...], classes: int, side: int) -> None:
    """The closed form is held against the facts' tables in tests/test_base_width.py."""
    for width in widths:
        network = BaseWidth(depth, width)
        cost = count(describe(network.name))
        assert (cost.macs, cost.params) == network.cost(classes=classes, side_px=side)


@pytest.mark.parametrize("name", ["thinresnet18-w17", "thinresnet34-w9", "thinresnet101-w19", "thinresnet110-w3"])
def test_other_depths_agree_too(name: str) -> None:
    network = base_width.parse(name)
    assert network is not None
    side = 32 if network.cifar else 224
    cost = count(scale(name, num_classes=7))
    assert (cost.macs, cost.params) == network.cost(classes=7, side_px=side)


def test_a_name_is_an_architecture_and_counts() -> None:
    network = scale("thinresnet50-w32", num_classes=10)
    assert (network.arch, network.kwargs) == ("resnet50", {"num_classes": 10})
    stem_and_first_block = {"conv1": 32, "layer1.0.conv1": 16, "layer1.0.conv2": 16, "layer1.0.conv3": 128}
    assert {name: network.channels[name] for name in stem_and_first_block} == stem_and_first_block
    assert scale("thinresnet56-w11") == scale("resnet56_cifar", width=11 / 16, shortcut="B")
    assert scale("thinresnet50-w64") == scale("resnet50")


def test_timm_makes_them() -> None:
    model = timm.create_model("thinresnet20-w8", num_classes=100)
    assert sum(p.numel() for p in model.parameters()) == BaseWidth(20, 8).cost(classes=100, side_px=32)[1]
    assert model(torch.zeros(1, 3, 32, 32)).shape == (1, 100)
    assert timm.get_pretrained_cfg("thinresnet50-w52").input_size == (3, 224, 224)
    with pytest.raises((ValueError, RuntimeError)):
        timm.create_model("thinresnet20-w8", pretrained=True)


def test_they_are_a_start_of_scaling_and_fitting() -> None:
    half = scale("thinresnet20-w16", width=0.5)
    assert half == describe("thinresnet20-w8")
    deeper = scale("thinresnet20-w8", depth=2.0)
    assert deeper.kwargs["depths"] == [6, 6, 6]
    assert deeper.channels["conv1"] == 8
    found = fit("thinresnet20-w8", [Budget.parse("macs", "50%")])
    assert 0.95 * 0.5 * count(describe("thinresnet20-w8")).macs < count(found).macs
    assert count(found).macs <= 0.5 * count(describe("thinresnet20-w8")).macs
    assert build(found, seed=0)(torch.zeros(2, 3, 32, 32)).shape == (2, 10)


@pytest.mark.parametrize("name", ["thinresnet50-w4", "thinresnet57-w8", "thinresnet20"])
def test_a_name_without_a_network_is_refused(name: str) -> None:
    for make in (scale, describe, build):
        with pytest.raises(InputError, match="thinresnet"):
            make(name)
    with pytest.raises(InputError):
        read_network(name)
