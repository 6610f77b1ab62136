"""Names of groups of tied channels for readers: every layer that makes them, and not the first one alone.

A group's key is the first layer that makes its channels, with a number where that layer makes those of several groups
(`layer2.0.conv2[1]`). Keys stand in files; people are shown `layer2-3.0-2.conv2, channels 16-31`.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from thinresnet.networks.cutting import Channels

_MOST_CHARACTERS = 34  # of a label below an axis
_DIGITS = re.compile(r"(\d+)")


@dataclass(frozen=True)
class GroupName:
    """What a group is called on an axis, and in full."""

    short: str
    full: str


def group_names(channels: Channels) -> dict[str, GroupName]:
    """The names of all groups, by their keys; where two groups would be called alike, both keep their keys."""
    found = {key: _named(channels, key) for key in channels.slices}
    shorts = [name.short for name in found.values()]
    return {key: name if shorts.count(name.short) == 1 else GroupName(key, name.full) for key, name in found.items()}


def _named(channels: Channels, key: str) -> GroupName:
    ties = channels.ties
    makers = [name for name in ties.groups[key].layers if ties.layers[name].kind in ("conv", "linear")]
    patterns = patterns_of(makers) or [key]
    which = _which(channels, key, makers[0]) if makers else ""
    full = ", ".join(patterns) + which
    if len(full) <= _MOST_CHARACTERS or len(patterns) == 1:
        return GroupName(full, full)
    return GroupName(f"{patterns[0]} + {len(patterns) - 1} more{which}", full)


def _which(channels: Channels, key: str, layer: str) -> str:
    """Which of a layer's outputs the group's are; nothing where they are all."""
    places, span = channels.places[layer, "out"], channels.slices[key]
    own = np.flatnonzero((places >= span.start) & (places < span.stop)).tolist()
    if len(own) == len(places) or not own:
        return ""
    if own == list(range(own[0], own[-1] + 1)):
        return f", channels {own[0]}-{own[-1]}"
    return f", {len(own)} of {len(places)} channels"


def patterns_of(names: Sequence[str]) -> list[str]:
    """Names that differ in numbers as one pattern: `layer1.0.conv2`, `layer1.1.conv2` are `layer1.0-1.conv2`.

    A pattern stands for these names and no others.
    """
    found = [tuple(_DIGITS.split(name)) for name in dict.fromkeys(names)]  # numbers stand at the odd places
    for place in reversed(range(1, max((len(tokens) for tokens in found), default=0), 2)):
        alike: dict[tuple[str, ...], list[str]] = {}
        for tokens in found:
            # The number is left out, so that tokens which differ only there have one key.
            key = (*tokens[:place], "", *tokens[place + 1 :]) if place < len(tokens) else tokens
            alike.setdefault(key, []).append(tokens[place] if place < len(tokens) else "")
        found = [
            (*key[:place], _span(numbers), *key[place + 1 :]) if place < len(key) else key
            for key, numbers in alike.items()
        ]
    return ["".join(tokens) for tokens in found]


def _span(numbers: Iterable[str]) -> str:
    """`0-2` of 0, 1 and 2; what does not follow one another is listed."""
    every = list(numbers)
    if len(every) == 1:
        return every[0]
    values = sorted(int(number) for number in every)
    if all(after == before + 1 for before, after in pairwise(values)):
        return f"{values[0]}-{values[-1]}"
    return ",".join(map(str, values))
