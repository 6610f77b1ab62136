"""Holes in the bar: the budgets at which a run of a scaled network would judge published points that nothing judges."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable
from dataclasses import dataclass
from decimal import Decimal

from thinresnet.leaderboard.schema import Entry
from thinresnet.leaderboard.verdicts import BUDGETS, NEAR, Bar, Point, Verdict, counts_for_headline, headline


@dataclass(frozen=True)
class Hole:
    """One missing run: at `cost` (in G MACs or M parameters) it would judge these verdicts' entries."""

    dataset: str
    arch: str
    family: str
    budget: str
    cost: float
    share: float | None
    judges: tuple[Verdict, ...]

    @property
    def top1(self) -> tuple[Decimal, Decimal]:
        """Lowest and highest accuracy among the points that the run would judge."""
        known = [verdict.entry.top1 for verdict in self.judges if verdict.entry.top1 is not None]
        return min(known), max(known)


def holes(
    entries: Iterable[Entry], bar: Bar, *, dataset: str = "", arch: str = "", family: str = "", budget: str = "MACs"
) -> list[Hole]:
    """The missing runs of one data set, one architecture or the whole board, the most valuable first.

    A run at a budget judges the points from that budget up to where it stops being near. The run that judges most
    points comes first; the next one counts only what is then left.
    """
    entries = list(entries)
    pairs = {
        (entry.dataset, entry.arch)
        for entry in entries
        if counts_for_headline(entry) and dataset in ("", entry.dataset) and arch in ("", entry.arch)
    }
    found = [
        hole
        for own_dataset, own_arch in sorted(pairs)
        for hole in _holes_of(headline(entries, bar, own_dataset, own_arch, family, budget).no_reference, budget)
    ]
    return sorted(found, key=lambda hole: (-len(hole.judges), hole.dataset, hole.arch, hole.cost))


def _holes_of(unjudged: list[Verdict], budget: str) -> list[Hole]:
    quantity = BUDGETS[budget][0]
    costs = ((Point(verdict.entry).cost(quantity), verdict) for verdict in unjudged)
    left = sorted(((cost.value, verdict) for cost, verdict in costs if cost), key=lambda pair: pair[0])
    found = []
    while left:
        # The cheapest point of a group sets its budget: a run that it can afford, everyone else in the group can.
        ends = [bisect_right(left, start / NEAR, key=lambda pair: pair[0]) for start, _ in left]
        begin = max(range(len(left)), key=lambda number: ends[number] - number)
        best = left[begin : ends[begin]]
        cost, first = best[0]
        ratio = first.entry.macs_ratio if quantity == "macs" else first.entry.params_ratio
        verdicts = tuple(verdict for _, verdict in best)
        found.append(Hole(first.entry.dataset, first.entry.arch, first.family, budget, cost, ratio, verdicts))
        del left[begin : ends[begin]]
    return found
