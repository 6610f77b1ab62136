"""From scores to the channels that stay: budgets met, nothing empty, grouped and split channels kept even.

Channels leave a group in *steps*: the lowest scored of every lane together (one channel, in most groups). Over all
groups the steps form one ranking (scope `global`), or every group gives up the same fraction (scope `layer`). How far
to go is bisected on the closed form of the cost; what then is left of the budget goes to the steps that fit, best
first; and what comes out is measured by the one counter before it is handed on.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from thinresnet.errors import InputError
from thinresnet.network import Network
from thinresnet.networks.cost import macs_and_params
from thinresnet.networks.cutting import Channels, Kept
from thinresnet.networks.describe import describe
from thinresnet.networks.fitting import Limits

_BISECTIONS = 40
Scores = np.ndarray[Any, np.dtype[np.float64]]  # one figure a channel
Counts = dict[str, int]  # channels of each movable group


@dataclass(frozen=True)
class Target:
    """What to prune to: within limits, or to given counts of channels."""

    network: Network  # what is pruned
    limits: Limits | None = None
    wanted: Mapping[str, int] = field(default_factory=dict)  # by group, where there are no limits
    scope: str = "layer"
    round_to: int = 1

    def select(self, channels: Channels, movable: Sequence[str], scores: Scores) -> Kept:
        """The channels that stay: of each group the best, as many as the scope says."""
        return best(channels, scores, self.counts(channels, movable, scores))

    def counts(self, channels: Channels, movable: Sequence[str], scores: Scores | None = None) -> Counts:
        """How many channels of each movable group stay: by one ranking of `scores`, or the same fraction of each."""
        if self.limits is None:
            return {group: self.wanted.get(group, channels.count(group)) for group in movable}
        limits = self.limits
        by_rank = scores is not None and self.scope == "global"
        while True:
            if by_rank:
                assert scores is not None
                counts = _ranked_counts(channels, movable, scores, limits, self.round_to)
            else:
                counts = _even_counts(channels, movable, limits, self.round_to)
            widths = _widths(channels, counts)
            measured = macs_and_params(
                describe(self.network.arch, channels=widths, input_size=self.network.input_size, **self.network.kwargs)
            )
            if self.limits.allow(measured):
                return counts
            expected = channels.ties.cost(widths)
            limits = self.limits.tighter((measured[0] - expected[0], measured[1] - expected[1]))

    def allows(self, channels: Channels, kept: Kept) -> bool:
        """Whether the network that keeps these channels is within the limits, by the closed form."""
        return self.limits is None or self.limits.allow(channels.ties.cost(channels.widths(kept)))

    def progress(self, channels: Channels, kept: Kept) -> float:
        """How far from the whole network (0) to the limits (1) the network that keeps these channels is."""
        assert self.limits is not None
        dense, cost = cost_of(channels, {}), channels.ties.cost(channels.widths(kept))
        ways = [(dense[i] - cost[i]) / (dense[i] - limit) for i, limit in self.limits.limits if dense[i] > limit]
        return min([1.0, *ways])


def movable_groups(network: Network, channels: Channels, *, stream: bool) -> tuple[str, ...]:
    """The groups that may be cut: inside blocks, or all of them where asked for or where there are no blocks."""
    groups = channels.ties.groups
    inside = [name for name, group in groups.items() if group.interior]
    found = [name for name in (groups if stream or not inside else inside) if name not in channels.locked]
    if not found:
        reasons = "; ".join(sorted(set(channels.locked.values()))) or "it has no groups"
        raise InputError(f"prune: {network.arch} has no channels that may go: {reasons}")
    return tuple(found)


def best(channels: Channels, scores: Scores, counts: Mapping[str, int]) -> Kept:
    """The highest scored channels of every lane of each group, so many in all; the earlier one where two are equal."""
    kept = channels.full()
    for group, count in counts.items():
        span = channels.slices[group]
        own = np.zeros(channels.count(group), dtype=bool)
        for lane in range(channels.lane_count(group)):
            members = np.flatnonzero(channels.lanes[span] == lane)
            order = np.argsort(-scores[span][members], kind="stable")
            own[members[order[: count // channels.lane_count(group)]]] = True
        kept[span] = own
    return kept


def step_of(channels: Channels, group: str, round_to: int = 1) -> int:
    """How many channels of a group go at once; a group that is too narrow for `round_to` keeps to its own step."""
    together = math.lcm(channels.steps[group], (channels.positions[group] / round_to).denominator)
    return together if channels.count(group) >= together else channels.steps[group]


def smallest_counts(channels: Channels, movable: Sequence[str], round_to: int = 1) -> Counts:
    """One step of every group: less there cannot be."""
    return {group: min(channels.count(group), step_of(channels, group, round_to)) for group in movable}


def cost_of(channels: Channels, counts: Mapping[str, int]) -> tuple[int, int]:
    """MACs and parameters in closed form."""
    return channels.ties.cost(_widths(channels, counts))


def _widths(channels: Channels, counts: Mapping[str, int]) -> dict[str, int]:
    full = {group: channels.count(group) for group in channels.slices}
    return {group: channels.width(group, count) for group, count in {**full, **counts}.items()}


def _even_counts(channels: Channels, movable: Sequence[str], limits: Limits, round_to: int) -> Counts:
    """The same fraction of every group, the largest that the limits allow, and a step more where rounding cut most."""
    steps = {group: step_of(channels, group, round_to) for group in movable}

    def counts(fraction: float) -> Counts:
        whole = {group: math.floor(fraction * channels.count(group) / step + 0.5) for group, step in steps.items()}
        return {group: min(max(1, whole[group]) * step, channels.count(group)) for group, step in steps.items()}

    low, high = 0.0, 1.0
    for _ in range(_BISECTIONS):
        middle = (low + high) / 2
        low, high = (middle, high) if limits.allow(cost_of(channels, counts(middle))) else (low, middle)
    found = counts(low)
    lost = {group: (low * channels.count(group) - found[group]) / step for group, step in steps.items()}
    for group in sorted(movable, key=lambda group: lost[group], reverse=True):
        more = {**found, group: min(found[group] + steps[group], channels.count(group))}
        found = more if limits.allow(cost_of(channels, more)) else found
    return found


def _ranked_counts(channels: Channels, movable: Sequence[str], scores: Scores, limits: Limits, round_to: int) -> Counts:
    """What is left without the lowest ranked steps, as few as the limits ask for; then those that fit come back."""
    ladders = {group: _ladder(channels, group, scores, round_to) for group in movable}
    owners = np.repeat(np.arange(len(movable)), [len(ladder) for ladder in ladders.values()])
    # Stable: within a group, equal scores leave in the order of its ladder.
    order = owners[np.argsort(np.concatenate([[score for score, _ in own] for own in ladders.values()]), kind="stable")]

    def counts(gone: np.ndarray[tuple[int], np.dtype[np.int64]]) -> Counts:
        return {
            group: channels.count(group) if not n else ladders[group][n - 1][1]
            for group, n in zip(movable, gone, strict=True)
        }

    def first(count: int) -> np.ndarray[tuple[int], np.dtype[np.int64]]:
        return np.bincount(order[:count], minlength=len(movable))

    low, high = 0, len(order)
    while low < high:
        middle = (low + high) // 2
        low, high = (low, middle) if limits.allow(cost_of(channels, counts(first(middle)))) else (middle + 1, high)
    gone, full_up = first(low), set()
    for owner in order[:low][::-1].tolist():
        if owner not in full_up:
            gone[owner] -= 1
            if not limits.allow(cost_of(channels, counts(gone))):
                gone[owner] += 1
                full_up.add(owner)
    return counts(gone)


def _ladder(channels: Channels, group: str, scores: Scores, round_to: int) -> list[tuple[float, int]]:
    """The steps by which a group shrinks: the mean score of what leaves, and how many channels are left."""
    span, step = channels.slices[group], step_of(channels, group, round_to)
    total, lanes = channels.count(group), channels.lane_count(group)
    ordered = np.stack([np.sort(scores[span][channels.lanes[span] == lane]) for lane in range(lanes)])
    left = range((total - 1) // step * step, 0, -step)
    removed = [0, *((total - count) // lanes for count in left)]
    return [
        (float(ordered[:, start:end].mean()), count)
        for start, end, count in zip(removed[:-1], removed[1:], left, strict=True)
    ]
