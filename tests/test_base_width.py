"""Names of the ThinResNet authors' networks, and their costs in closed form against published tables."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from thinresnet import base_width
from thinresnet.base_width import BaseWidth, parse
from thinresnet.errors import InputError

# GMACs and millions of parameters of ResNet-50, as counted by hooks on the authors' own code.
IMAGENET = {
    8: (0.0245, 0.327), 12: (0.0483, 0.567), 16: (0.0872, 0.889), 20: (0.1425, 1.320), 24: (0.2250, 1.896),
    28: (0.3340, 2.647), 32: (0.4855, 3.622), 36: (0.6761, 4.856), 40: (0.9274, 6.410), 44: (1.2327, 8.323),
    48: (1.6200, 10.668), 52: (2.0785, 13.488), 56: (2.6436, 16.870), 60: (3.2993, 20.860), 64: (4.0892, 25.557),
}  # fmt: skip
# MMACs and parameters of ResNet-20 and ResNet-56 with ten classes, likewise.
CIFAR = {
    4: (2.634, 17_534, 7.942, 54_494), 6: (5.843, 38_944, 17.787, 121_600), 8: (10.314, 68_786, 31.548, 215_282),
    10: (16.046, 107_060, 49.224, 335_540), 11: (19.386, 129_359, 59.531, 405_635),
    12: (23.040, 153_766, 70.816, 482_374), 14: (31.296, 208_904, 96.324, 655_784),
    16: (40.813, 272_474, 125.748, 855_770), 64: (647.695, 4_327_754, 2006.649, 13_628_234),
}  # fmt: skip


@pytest.mark.parametrize("width", IMAGENET)
def test_costs_of_resnet50(width: int) -> None:
    macs, params = BaseWidth(50, width).cost(classes=1000, side_px=224)
    assert (round(macs / 1e9, 4), round(params / 1e6, 3)) == IMAGENET[width]


@pytest.mark.parametrize("width", CIFAR)
def test_costs_of_resnets_for_cifar(width: int) -> None:
    for depth, (mega_macs, params) in zip((20, 56), (CIFAR[width][:2], CIFAR[width][2:]), strict=True):
        found = BaseWidth(depth, width).cost(classes=10, side_px=32)
        assert (round(found[0] / 1e6, 3), found[1]) == (mega_macs, params)


def test_inner_width_goes_with_the_square() -> None:
    """w = 32 is half of every stream but a quarter of the inner widths."""
    half = BaseWidth(50, 32)
    assert [half.channels(count, interior=True) for count in (64, 128, 256, 512)] == [16, 32, 64, 128]
    assert [half.channels(count, interior=False) for count in (256, 512, 1024, 2048)] == [128, 256, 512, 1024]
    first_and_last = [(BaseWidth(50, w).channels(64, interior=True), w) for w in (12, 28, 44, 52, 60)]
    assert first_and_last == [(2, 12), (12, 28), (30, 44), (42, 52), (56, 60)]
    assert BaseWidth(18, 32).channels(64, interior=True) == 32  # a basic block has no such trap


def test_names() -> None:
    names = [network.name for network in base_width.every()]
    assert len(set(names)) == len(names)
    assert all(parse(name) == network for name, network in zip(names, base_width.every(), strict=True))
    assert {"thinresnet20-w1", "thinresnet110-w16", "thinresnet50-w8", "thinresnet101-w64"} <= set(names)
    assert parse("resnet50") is None
    assert parse("thin_resnet50") is None


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("thinresnet50", "a depth and a base width"),
        ("thinresnet50-w4", "it is 8 to 64 .below 8 no channel"),
        ("thinresnet20-w65", "it is 1 to 64"),
        ("thinresnet21-w4", "depth 21 does not exist; depths: 20, 32"),
        ("thinresnet20-w08", "a depth and a base width"),
    ],
)
def test_names_that_are_none(name: str, said: str) -> None:
    with pytest.raises(InputError, match=said) as refusal:
        parse(name)
    assert "\n" not in str(refusal.value)


@given(st.text(max_size=12))
def test_any_ending_is_a_network_or_refused(ending: str) -> None:
    try:
        found = parse(f"thinresnet{ending}")
    except InputError:
        return
    assert found is not None
    assert found.name == f"thinresnet{ending}"
