"""Holes in the bar: where one run of a scaled network would judge results better, or at all.

First the wide gaps that results rest on, then the results that no verdict reaches: cheaper than every reference,
dearer than every one, or without any reference.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from decimal import Decimal

from thinresnet.errors import InputError
from thinresnet.leaderboard.bar import Bar
from thinresnet.leaderboard.references import BUDGETS, Assumptions, usual_references
from thinresnet.leaderboard.schema import Entry
from thinresnet.leaderboard.verdicts import UNJUDGED, Verdict, counts_for_headline, judge

WIDE, BELOW, ABOVE, NONE = "wide gap", "below the bar's start", "above the bar's end", "no reference"
KINDS = (WIDE, BELOW, ABOVE, NONE)


@dataclass(frozen=True)
class Hole:
    """One missing run: at `cost` (in G MACs or M parameters) it would serve these results."""

    dataset: str
    arch: str
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
    results: dict[tuple[str, str], list[Entry]] = {}
    for entry in entries:
        if counts_for_headline(entry) and dataset in ("", entry.dataset) and arch in ("", entry.arch):
            results.setdefault((entry.dataset, entry.arch), []).append(entry)
    found: list[Hole] = []
    for (_, own_arch), rows in results.items():
        assumptions = Assumptions(references or usual_references(own_arch), recipes, resolution, budget)
        found += _holes_of([judge(bar, row, assumptions) for row in rows])
    return sorted(found, key=lambda hole: (hole.kind != WIDE, -len(hole.verdicts), hole.dataset, hole.arch, hole.cost))


def _holes_of(verdicts: Sequence[Verdict]) -> list[Hole]:
    """The holes of one network from the verdicts on its results."""
    wide: dict[tuple[str, ...], list[Verdict]] = {}
    rest: dict[str, list[Verdict]] = {}
    for verdict in verdicts:
        if verdict.wide:
            wide.setdefault(tuple(entry.id for entry in verdict.neighbours), []).append(verdict)
        elif verdict.outcome == UNJUDGED and _cost(verdict.entry, verdict.assumptions) is not None:
            if verdict.standing is not None:
                rest.setdefault(BELOW if verdict.standing == 3 else ABOVE, []).append(verdict)
            elif verdict.entry.top1 is not None and "accuracy-doubtful" not in verdict.entry.flags:
                rest.setdefault(NONE, []).append(verdict)
    found = []
    for group in wide.values():
        low, high = (_known(entry, group[0].assumptions) for entry in group[0].neighbours)
        found.append(_hole(group, WIDE, math.sqrt(low * high), high / low))
    for kind, group in rest.items():
        costs = [_known(verdict.entry, verdict.assumptions) for verdict in group]
        # A run at the cheapest result's cost reaches down to all of them; above the end, one at the dearest's.
        found.append(_hole(group, kind, max(costs) if kind == ABOVE else min(costs)))
    return found


def _hole(group: Sequence[Verdict], kind: str, cost: float, factor: float | None = None) -> Hole:
    first = group[0]
    dense = first.entry.dense
    share = None
    if dense is not None:
        share = cost * 1e9 / dense.macs if first.assumptions.budget == "macs" else cost * 1e6 / dense.params
    return Hole(first.entry.dataset, first.entry.arch, kind, first.assumptions, cost, share, tuple(group), factor)


def _cost(entry: Entry, assumptions: Assumptions) -> float | None:
    return entry.macs_g if BUDGETS[assumptions.budget][0] == "macs" else entry.params_m


def _known(entry: Entry, assumptions: Assumptions) -> float:
    cost = _cost(entry, assumptions)
    if cost is None:
        raise ValueError(f"{entry.id}: a verdict without a cost")
    return cost
