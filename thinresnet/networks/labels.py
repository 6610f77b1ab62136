"""Labels of channels, and what is known of them: which are the same channel, which have one width.

Beside each tensor of a traced forward pass goes a *shadow* that holds, instead of values, the label of the channel
that each element belongs to (`shadows`). Here are the labels themselves: a union-find over two relations.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

Labels = np.ndarray[Any, np.dtype[np.int64]]

FREE = 0  # belongs to no channel: padding, constants
FIXED = 1  # belongs to a width that may not change: input channels, classes, a map of one channel


@dataclass(frozen=True)
class LabelClasses:
    """What is known of every label once the forward pass is over."""

    widths: Labels  # equal: there are as many of the one as of the other
    channels: Labels  # equal: they are the same channel
    parts: tuple[tuple[Labels, ...], ...]  # what is cut into parts of one width: the labels of each part
    lost: frozenset[int]  # widths that went through a channel shuffle: which channel came out where is not known


class LabelRelations:
    """Labels and two relations between them: the same channel, and channels of one width (a coarser relation)."""

    def __init__(self) -> None:
        self._same = [FREE, FIXED]
        self._width = [FREE, FIXED]
        self._parts: list[list[Tensor]] = []
        self._shuffled: list[Tensor] = []

    def fresh(self, count: int) -> Tensor:
        """Labels of channels that nothing is known of."""
        first = len(self._same)
        self._same.extend(range(first, first + count))
        self._width.extend(range(first, first + count))
        return torch.arange(first, first + count)

    def tie(self, one: Tensor, other: Tensor) -> bool:
        """These are the same channel; returns whether that was not known before."""
        news = [_join(self._same, a, b) | _join(self._width, a, b) for a, b in _pairs(one, other)]
        return any(news)

    def tie_parts(self, parts: Sequence[Tensor]) -> None:
        """There are as many channels in each of these parts."""
        for part in parts[1:]:
            for a, b in _pairs(parts[0], part):
                _join(self._width, a, b)
        self._parts.append([part.reshape(-1) for part in parts])

    def shuffle(self, parts: Sequence[Tensor]) -> list[Tensor]:
        """New labels for what comes out of a channel shuffle: of the same width, of unknown identity."""
        fresh = [self.fresh(len(part)) for part in parts]
        self.tie_parts([*parts, *fresh])
        self._shuffled += fresh
        return fresh

    def fix(self, labels: Tensor) -> None:
        """The width of these channels may not change."""
        self.tie(labels, torch.full_like(labels, FIXED))

    def classes(self) -> LabelClasses:
        """The classes of both relations, as far as they are known now."""
        widths, channels = (
            np.array([_root(parents, label) for label in range(len(parents))]) for parents in (self._width, self._same)
        )
        return LabelClasses(
            widths=widths,
            channels=channels,
            parts=tuple(tuple(part.numpy() for part in parts) for parts in self._parts),
            lost=frozenset(int(width) for part in self._shuffled for width in widths[part.numpy()]),
        )


def _pairs(one: Tensor, other: Tensor) -> list[tuple[int, int]]:
    pairs = torch.stack([one.reshape(-1), other.reshape(-1)], 1)
    pairs = pairs[(pairs[:, 0] != pairs[:, 1]) & (pairs != FREE).all(1)]
    return [(a, b) for a, b in torch.unique(pairs, dim=0).tolist()] if len(pairs) else []


def _root(parents: list[int], label: int) -> int:
    while parents[label] != label:
        parents[label] = parents[parents[label]]
        label = parents[label]
    return label


def _join(parents: list[int], a: int, b: int) -> bool:
    a, b = _root(parents, a), _root(parents, b)
    # The smaller label stays the root, so that FIXED wins and names follow the order of the forward pass.
    parents[max(a, b)] = min(a, b)
    return a != b
