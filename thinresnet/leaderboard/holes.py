"""Holes in the bar: where one run of a scaled network would judge results better, or at all.

First the wide gaps that results rest on, then the results that no verdict reaches: cheaper than every reference,
dearer than every one, or without any reference.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from decimal import Decimal

from thinresnet.errors import InputError
from thinresnet.leaderboard.bar import Bar
from thinresnet.leaderboard.references import BUDGETS, Assumptions, usual_references
from thinresnet.leaderboard.schema import Entry
from thinresnet.leaderboard.verdicts import UNJUDGED, Verdict, counts_for_headline, judge

WIDE, BELOW, ABOVE, NONE = "wide gap", "below the bar", "above the bar", "no reference"
KINDS = (WIDE, BELOW, ABOVE, NONE)


@dataclass(frozen=True)
class Hole:
    """One missing run: at `cost` (in G MACs or M parameters) it would serve these results, of these networks."""

    dataset: str
    archs: tuple[str, ...]
    kind: str
    assumptions: Assumptions
    cost: float
    share: float | None
    verdicts: tuple[Verdict, ...]
    factor: float | None = None

    @property
    def top1(self) -> tuple[Decimal, Decimal]:
        """Lowest and highest accuracy among the results that the run would serve."""
        known = [verdict.entry.top1 for verdict in self.verdicts if verdict.entry.top1 is not None]
        return min(known), max(known)


def holes(
    entries: Iterable[Entry],
    bar: Bar,
    *,
    dataset: str = "",
    arch: str = "",
    references: str = "",
    recipes: str = "any",
    resolution: str = "any",
    budget: str = "macs",
) -> list[Hole]:
    """The missing runs of one dataset, one architecture or the whole board: wide gaps first, then by results served."""
    if budget == "both":
        raise InputError("--on both: a hole is a place on one cost; ask for macs or params")
    groups: dict[tuple[str, ...], list[Verdict]] = {}
    for entry in entries:
        if counts_for_headline(entry) and dataset in ("", entry.dataset) and arch in ("", entry.arch):
            under = Assumptions(references or usual_references(entry.arch), recipes, resolution, budget)
            verdict = judge(bar, entry, under)
            if kind := _kind(verdict):
                groups.setdefault((kind, *_place(verdict)), []).append(verdict)
    found = [_hole(kind, group) for (kind, *_), group in groups.items()]
    return sorted(found, key=lambda hole: (hole.kind != WIDE, -len(hole.verdicts), hole.dataset, hole.archs, hole.cost))


def _kind(verdict: Verdict) -> str:
    """What the bar misses for this result; empty if nothing."""
    if verdict.wide:
        return WIDE
    if verdict.outcome != UNJUDGED or _cost(verdict.entry, verdict.assumptions) is None:
        return ""
    if verdict.standing is not None:
        return BELOW if verdict.standing == 3 else ABOVE
    known = verdict.entry.top1 is not None and "accuracy-doubtful" not in verdict.entry.flags
    return NONE if known and not verdict.neighbours else ""


def _place(verdict: Verdict) -> tuple[str, ...]:
    """Where it is missed: results of several networks may lie in one gap of one curve."""
    entry = verdict.entry
    return (entry.dataset, *([each.id for each in verdict.neighbours] or [entry.arch]))


def _hole(kind: str, group: Sequence[Verdict]) -> Hole:
    first = group[0]
    archs = Counter(verdict.entry.arch for verdict in group)
    costs = [_known(verdict.entry, first.assumptions) for verdict in group]
    # A run at the cheapest result's cost reaches down to all of them; above the end, one at the dearest's.
    cost, factor = max(costs) if kind == ABOVE else min(costs), None
    if kind == WIDE:
        low, high = (_known(entry, first.assumptions) for entry in first.neighbours)
        cost, factor = math.sqrt(low * high), high / low
    dense, share = first.entry.dense, None
    if dense is not None and len(archs) == 1:
        share = cost * 1e9 / dense.macs if first.assumptions.budget == "macs" else cost * 1e6 / dense.params
    names = tuple(name for name, _ in archs.most_common())
    return Hole(first.entry.dataset, names, kind, first.assumptions, cost, share, tuple(group), factor)


def _cost(entry: Entry, assumptions: Assumptions) -> float | None:
    return entry.macs_g if BUDGETS[assumptions.budget][0] == "macs" else entry.params_m


def _known(entry: Entry, assumptions: Assumptions) -> float:
    cost = _cost(entry, assumptions)
    if cost is None:
        raise ValueError(f"{entry.id}: a verdict without a cost")
    return cost
