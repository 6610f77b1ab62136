"""From scores to the channels that stay: budgets met, nothing empty, grouped and split channels kept even.

Channels leave a group in *steps*: the lowest scored of every lane together (one channel, in most groups). Over all
groups the steps form one ranking (scope `global`), or every group gives up the same fraction (scope `layer`). How far
to go is bisected on the closed form of the cost; what then is left of the budget goes to the steps that fit, best
first; and what comes out is measured by the one counter before it is handed on.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeVar

import numpy as np

from thinresnet.budget import Costs, by_quantity
from thinresnet.errors import InputError
from thinresnet.network import Network
from thinresnet.networks.cutting import Channels, Kept
from thinresnet.networks.describe import describe
from thinresnet.networks.search import Limits, largest_within, spend_in_order, timed_cost
from thinresnet.networks.ties import Labels

Scores = np.ndarray[Any, np.dtype[np.float64]]  # one figure a channel
Counts = dict[str, int]  # channels of each movable group
Candidate = TypeVar("Candidate")
Key = TypeVar("Key")

_CLOSE = 0.98  # of a budget: what is to be spent of it, where the widths of channels allow that
_MOST_EXCHANGES = 8


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
        if scores is not None and self.scope == "global":
            return _ranked_counts(self.network, channels, movable, scores, self.limits, self.round_to)
        return _even_counts(self.network, channels, movable, self.limits, self.round_to)

    def allows(self, channels: Channels, kept: Kept) -> bool:
        """Whether the network that keeps these channels is within the limits, by the closed form."""
        return self.limits is None or self.limits.allow(timed_cost(channels.ties, channels.widths(kept), self.limits))

    def progress(self, channels: Channels, kept: Kept) -> float:
        """How far from the whole network (0) to the limits (1) the network that keeps these channels is."""
        assert self.limits is not None
        dense, cost = (
            by_quantity(timed_cost(channels.ties, widths, self.limits))
            for widths in (_widths(channels, {}), channels.widths(kept))
        )
        ways = [
            (dense[quantity] - cost[quantity]) / (dense[quantity] - most)
            for quantity, most in self.limits.most.items()
            if dense[quantity] > most
        ]
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


def shrunk(channels: Channels, movable: Sequence[str], scores: Scores, most: int, round_to: int = 1) -> Counts:
    """The counts without the lowest ranked steps, as few as leave no more than `most` channels of these groups."""
    counts = {group: channels.count(group) for group in movable}
    ladders, order = _ranking(channels, movable, scores, round_to)
    left, taken = sum(counts.values()), dict.fromkeys(movable, 0)
    for owner in order:
        if left <= most:
            break
        group = movable[owner]
        _, count = ladders[group][taken[group]]
        left, counts[group], taken[group] = left - counts[group] + count, count, taken[group] + 1
    return counts


def step_of(channels: Channels, group: str, round_to: int = 1) -> int:
    """How many channels of a group go at once; a group that is too narrow for `round_to` keeps to its own step."""
    together = math.lcm(channels.steps[group], (channels.positions[group] / round_to).denominator)
    return together if channels.count(group) >= together else channels.steps[group]


def smallest_counts(channels: Channels, movable: Sequence[str], round_to: int = 1) -> Counts:
    """One step of every group: less there cannot be."""
    return {group: min(channels.count(group), step_of(channels, group, round_to)) for group in movable}


def cost_of(channels: Channels, counts: Mapping[str, int]) -> Costs:
    """MACs and parameters in closed form."""
    return channels.ties.cost(_widths(channels, counts))


def cost_within(channels: Channels, counts: Mapping[str, int], limits: Limits) -> Costs:
    """The same with the predicted latency, where a budget bounds it."""
    return timed_cost(channels.ties, _widths(channels, counts), limits)


def _widths(channels: Channels, counts: Mapping[str, int]) -> dict[str, int]:
    full = {group: channels.count(group) for group in channels.slices}
    return {group: channels.width(group, count) for group, count in {**full, **counts}.items()}


def _network(network: Network, channels: Channels, counts: Counts) -> Network:
    widths = _widths(channels, counts)
    return describe(network.arch, channels=widths, input_size=network.input_size, **network.kwargs)


def exchanged(
    counts: Candidate,
    keys: Sequence[Key],
    wider: Callable[[Candidate, Key], Candidate | None],
    narrower: Callable[[Candidate, Key], Candidate | None],
    cost: Callable[[Candidate], Costs],
    limits: Limits,
) -> Candidate:
    """Nearer to the limits, where more than a fiftieth is left: a step less of one key for steps more of others.

    Steps may be coarse (multiples of 8, narrow networks), so that none fits what is left although they would exchange.
    """

    def fill(counts: Candidate, but: Key) -> Candidate:  # always the step that leaves least
        while True:
            tried = (wider(counts, key) for key in keys if key != but)
            more = [own for own in tried if own is not None and limits.allow(cost(own))]
            if not more:
                return counts
            counts = max(more, key=lambda own: limits.filled(cost(own)))

    for _ in range(_MOST_EXCHANGES):
        filled = limits.filled(cost(counts))
        if filled >= _CLOSE:
            break
        found = [fill(own, key) for key in keys if (own := narrower(counts, key)) is not None]
        if not found:
            break
        nearest = max(found, key=lambda own: limits.filled(cost(own)))
        if limits.filled(cost(nearest)) <= filled:
            break
        counts = nearest
    return counts


def _even_counts(network: Network, channels: Channels, movable: Sequence[str], limits: Limits, round_to: int) -> Counts:
    """The same fraction of every group, the largest that the limits allow, and a step more where rounding cut most."""
    steps = {group: step_of(channels, group, round_to) for group in movable}

    def at(fraction: float) -> Counts:
        whole = {group: math.floor(fraction * channels.count(group) / step + 0.5) for group, step in steps.items()}
        return {group: min(max(1, whole[group]) * step, channels.count(group)) for group, step in steps.items()}

    def cost(counts: Counts) -> Costs:
        return cost_within(channels, counts, limits)

    def more(counts: Counts, group: str) -> Counts:
        return {**counts, group: min(counts[group] + steps[group], channels.count(group))}

    def wider(counts: Counts, group: str) -> Counts | None:
        return more(counts, group) if counts[group] < channels.count(group) else None

    def narrower(counts: Counts, group: str) -> Counts | None:
        left = (counts[group] - 1) // steps[group] * steps[group]
        return {**counts, group: left} if left else None

    def spend(fraction: float, counts: Counts, within: Limits) -> Counts:
        lost = {group: (fraction * channels.count(group) - counts[group]) / step for group, step in steps.items()}
        order = sorted(movable, key=lambda group: lost[group], reverse=True)
        return exchanged(spend_in_order(counts, order, more, cost, within), movable, wider, narrower, cost, within)

    return largest_within(
        limits,
        at=at,
        cost=cost,
        spend=spend,
        network=lambda counts: _network(network, channels, counts),
        what="pruned network",
    ).counts


def _ranked_counts(
    network: Network, channels: Channels, movable: Sequence[str], scores: Scores, limits: Limits, round_to: int
) -> Counts:
    """What is left without the lowest ranked steps, as few as the limits ask for; then those that fit come back."""
    ladders, order = _ranking(channels, movable, scores, round_to)

    def counts(gone: Labels) -> Counts:  # steps gone of each movable group
        return {
            group: channels.count(group) if not n else ladders[group][n - 1][1]
            for group, n in zip(movable, gone, strict=True)
        }

    def cost(gone: Labels) -> Costs:
        return cost_within(channels, counts(gone), limits)

    def leaving(stay: float) -> Labels:  # the groups whose steps leave when so many stay, in the order of the ranking
        return order[: len(order) - int(stay)]

    def moved(gone: Labels, owner: int, by: int = -1) -> Labels | None:
        there = 0 <= gone[owner] + by <= len(ladders[movable[owner]])
        return np.where(np.arange(len(movable)) == owner, gone + by, gone) if there else None

    def spend(stay: float, gone: Labels, within: Limits) -> Labels:
        gone = spend_in_order(gone, leaving(stay)[::-1].tolist(), moved, cost, within)
        return exchanged(gone, range(len(movable)), moved, lambda counts, owner: moved(counts, owner, 1), cost, within)

    found = largest_within(
        limits,
        at=lambda stay: np.bincount(leaving(stay), minlength=len(movable)),
        cost=cost,
        spend=spend,
        network=lambda gone: _network(network, channels, counts(gone)),
        what="pruned network",
        high=len(order),
        steps=len(order),
    )
    return counts(found.counts)


def _ranking(
    channels: Channels, movable: Sequence[str], scores: Scores, round_to: int
) -> tuple[dict[str, list[tuple[float, int]]], Labels]:
    """The ladder of each group, and the groups by number in the order in which one ranking takes steps of them."""
    ladders = {group: _ladder(channels, group, scores, round_to) for group in movable}
    owners = np.repeat(np.arange(len(movable)), [len(ladder) for ladder in ladders.values()])
    # Stable: within a group, equal scores leave in the order of its ladder.
    return ladders, owners[
        np.argsort(np.concatenate([[score for score, _ in own] for own in ladders.values()]), kind="stable")
    ]


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
