"""Scaling: the rounding that is stated, what stays as it is, and what is refused."""

from __future__ import annotations

import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from thinresnet.errors import InputError
from thinresnet.networks import count, scale
from thinresnet.networks.blueprint import blueprint
from thinresnet.networks.scaling import rounded
from thinresnet.networks.ties import Group


def test_width_scales_every_group() -> None:
    dense, half = scale("resnet50"), scale("resnet50", width=0.5)
    assert {name: 2 * count for name, count in half.channels.items()} == dict(dense.channels)


def test_interior_keeps_the_stream() -> None:
    dense, half = scale("resnet50"), scale("resnet50", interior=0.5)
    kept = [name for name in dense.channels if half.channels[name] == dense.channels[name]]
    assert kept == ["conv1", "layer1.0.conv3", "layer2.0.conv3", "layer3.0.conv3", "layer4.0.conv3"]


@given(
    factor=st.floats(0.001, 16, allow_nan=False),
    width=st.integers(1, 2048),
    multiple=st.sampled_from([1, 1, 2, 4, 32]),
    round_to=st.sampled_from([1, 8, 16]),
)
def test_rounding(factor: float, width: int, multiple: int, round_to: int) -> None:
    width *= multiple
    group = Group("a", width, 1, multiple, ("a",), False)
    count = rounded({"a": group}, {"a": factor}, round_to)["a"]
    step = math.lcm(multiple, round_to) if width >= math.lcm(multiple, round_to) else multiple
    assert count >= 1
    assert count % multiple == 0
    assert factor > 1 or count <= width
    if count not in (step, width):
        assert count % step == 0
        assert abs(count - factor * width) <= step / 2 + 1e-6 * width


@settings(max_examples=20, deadline=None)
@given(small=st.floats(0.02, 2), large=st.floats(0.02, 2))
def test_more_width_never_costs_less(small: float, large: float) -> None:
    small, large = sorted((small, large))
    ties = blueprint("resnet20_cifar", {}, (3, 32, 32)).ties
    cheap, dear = (ties.cost(dict(scale("resnet20_cifar", width=width).channels)) for width in (small, large))
    assert cheap[0] <= dear[0]
    assert cheap[1] <= dear[1]


def test_halves_round_up() -> None:
    assert scale("resnet20_cifar", width=0.03125).channels["conv1"] == 1  # 0.5 of 16
    assert scale("resnet20_cifar", width=0.09375).channels["conv1"] == 2  # 1.5 of 16


def test_round_to_eight() -> None:
    thin = scale("resnet50", width=0.77, round_to=8)
    assert all(count % 8 == 0 for count in thin.channels.values())
    thin = scale("efficientnet_b0", width=0.6, round_to=8)
    assert thin.channels["blocks.1.0.se.conv_reduce"] == round(0.6 * 4)  # narrower than 8: left to its own unit


@pytest.mark.parametrize(
    ("arch", "key", "expected"),
    [
        ("resnet50", "layers", [2, 2, 3, 2]),
        ("densenet121", "block_config", [3, 6, 12, 8]),
        ("convnext_atto", "depths", [1, 1, 3, 1]),
        ("resnet56_cifar", "depths", [5, 5, 5]),
        ("wrn40_2_cifar", "depths", [3, 3, 3]),
    ],
)
def test_depth(arch: str, key: str, expected: list[int]) -> None:
    thin = scale(arch, depth=0.5)
    assert thin.kwargs[key] == expected
    assert count(thin).macs < count(scale(arch)).macs


def test_growth_and_resolution() -> None:
    assert scale("densenet121", growth=0.5).kwargs["growth_rate"] == 16
    assert scale("resnet50", resolution=160).input_size == (3, 160, 160)
    # Twice the side, four times the work; the classifier does not see the resolution.
    classifier = 512 * 1000
    single, double = (count(scale("resnet18", resolution=side)).macs for side in (64, 128))
    assert double - classifier == 4 * (single - classifier)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"width": 0}, "width: 0"),
        ({"width": -1}, "width: -1"),
        ({"width": float("nan")}, "not a number"),
        ({"width": float("inf")}, "not a number"),
        ({"width": 1e9}, "at most 16"),
        ({"width": "0.5"}, "not a number"),
        ({"width": True}, "not a number"),
        ({"interior": 0.0}, "interior: 0.0"),
        ({"round_to": 0}, "round_to: 0"),
        ({"round_to": 2.5}, "round_to: 2.5"),
        ({"resolution": 0}, "input_size"),
        ({"resolution": 10**6}, "input_size"),
        ({"growth": 0.5}, "no growth rate"),
        ({"pretrained": True}, "'pretrained' is not a property"),
        ({"checkpoint_path": "x.pth"}, "'checkpoint_path' is not a property"),
        ({"num_classes": {1, 2}}, "allowed are JSON values"),
    ],
)
def test_bad_input(options: dict[str, object], message: str) -> None:
    with pytest.raises(InputError, match=message) as refusal:
        scale("resnet18", **options)  # type: ignore[arg-type]
    assert "\n" not in str(refusal.value)


@pytest.mark.parametrize(
    ("arch", "message"),
    [
        ("resnet5", "did you mean 'resnet50'"),
        ("resnet50.a1_in1k", "the architecture is 'resnet50'"),
        ("hf-hub:timm/resnet50", "unknown architecture"),
        ("thin_resnet50", "here it is 'resnet50' with a width"),
        ("", "unknown architecture"),
        (None, "unknown architecture"),
    ],
)
def test_unknown_architectures(arch: str, message: str) -> None:
    with pytest.raises(InputError, match=message):
        scale(arch)


def test_depth_and_interior_that_cannot_be() -> None:
    with pytest.raises(InputError, match="takes no depth"):
        scale("vgg16_bn", depth=0.5)
    with pytest.raises(InputError, match="no channels inside blocks"):
        scale("vgg16_cifar", interior=0.5)
