"""Names of tied groups for readers: patterns that stand for exactly the layers, and which of their channels."""

from __future__ import annotations

import itertools
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from thinresnet.networks import scale
from thinresnet.networks.cutting import channels_of
from thinresnet.pruning.group_names import group_names, patterns_of


@pytest.mark.parametrize(
    ("names", "patterns"),
    [
        ([], []),
        (["conv1"], ["conv1"]),
        (["conv1", "layer1.0.conv2", "layer1.1.conv2", "layer1.2.conv2"], ["conv1", "layer1.0-2.conv2"]),
        ([f"layer{a}.{b}.conv2" for a in (1, 2) for b in (0, 1)], ["layer1-2.0-1.conv2"]),
        # Stages of different lengths are not one rectangle.
        (["layer1.0.conv2", "layer2.0.conv2", "layer2.1.conv2"], ["layer1.0.conv2", "layer2.0-1.conv2"]),
        (["a.0.b", "a.2.b", "a.3.b"], ["a.0,2,3.b"]),
        (["a.9", "a.10", "a.11"], ["a.9-11"]),
    ],
)
def test_patterns(names: list[str], patterns: list[str]) -> None:
    assert patterns_of(names) == patterns


@given(st.lists(st.from_regex(r"(conv|l[0-3])(\.[0-3]){0,2}(\.conv[12])?", fullmatch=True), unique=True, max_size=12))
def test_patterns_stand_for_these_names_and_no_others(names: list[str]) -> None:
    found = [name for pattern in patterns_of(names) for name in spelled_out(pattern)]
    assert sorted(found) == sorted(names)


def spelled_out(pattern: str) -> list[str]:
    """Every name that a pattern stands for."""
    parts = re.split(r"(\d+(?:[-,]\d+)*)", pattern)
    for place in range(1, len(parts), 2):
        first, dash, last = parts[place].partition("-")
        parts[place] = ",".join(map(str, range(int(first), int(last) + 1))) if dash else parts[place]
    return ["".join(choice) for choice in itertools.product(*(part.split(",") for part in parts))]


def test_the_streams_of_padded_shortcuts_are_told_by_their_channels() -> None:
    """ResNet-20 pads its shortcuts: a stage's stream begins with that of the stage before."""
    named = group_names(channels_of(scale("resnet20_cifar")))
    assert named["conv1"].short == "conv1, layer1-3.0-2.conv2"
    assert named["layer2.0.conv2[1]"].short == "layer2-3.0-2.conv2, channels 16-31"
    assert named["layer3.0.conv2[2]"].short == "layer3.0-2.conv2, channels 32-63"
    assert named["layer1.0.conv1"].short == named["layer1.0.conv1"].full == "layer1.0.conv1"
    assert not any("[" in name.full for name in named.values())


@pytest.mark.parametrize("arch", ["resnet50", "mobilenetv2_100", "densenet121", "shufflenet_v2_x1_0"])
def test_names_are_short_and_no_two_groups_have_one(arch: str) -> None:
    named = group_names(channels_of(scale(arch, input_size=(3, 32, 32))))
    shorts = [name.short for name in named.values()]
    assert len(set(shorts)) == len(shorts)
    assert max(map(len, shorts)) < 48, max(shorts, key=len)
    whole = [name for name in named.values() if "more" not in name.short]
    assert all(name.short == name.full for name in whole)
