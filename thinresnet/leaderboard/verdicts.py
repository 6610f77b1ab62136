"""The rule: a row against the bar under stated assumptions. docs/leaderboard-rules.md has it in full.

For one dataset, one reference set and one budget, the bar is a curve: the Pareto front of the references, linear in
log cost between neighbours. The gap is the row's top-1 accuracy minus the bar at the row's own cost.

1. On the curve the row *ties* within the tie, *loses* below and *clears* above it. The tie is 0.2 points, or the
   largest spread known of either side; among measured rows it is Welch's 95 % interval of the difference of means,
   which needs three seeds on both sides: with fewer there is no verdict, only the gap.
2. Cheaper than every reference, a row clears if it is at least as accurate as the cheapest; dearer than every one, it
   loses if it is no more accurate than the dearest. Otherwise it is not judged: nothing is extrapolated. A cost
   within 1 % of an end counts as the end's.
3. Under two budgets the bar is the lower of the two curves of the references whose costs are both known.
4. A loss is *outright* if an actual reference costs no more and is better by more than the tie with it; a clear is if
   the row is no worse than an actual dearer reference. Anything else is *interpolated*.
5. Measured rows are held only against measured rows of the same dataset, recipe and epochs.

So a row that becomes cheaper or more accurate never gets a worse verdict, in the order of `Verdict.standing`.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable
from typing import NamedTuple

from thinresnet.leaderboard.bar import SAME_COST, Bar, BarPoint, Candidates, Figures, Held, Reading, Tie
from thinresnet.leaderboard.describing import reference_in_words, why_not
from thinresnet.leaderboard.references import ALL_ASSUMPTIONS, BUDGETS, CAVEATS, UNITS, Assumptions
from thinresnet.leaderboard.schema import DATASETS, INPUT_SIZES, Entry
from thinresnet.leaderboard.training_cost import training_at_least, training_of_reference
from thinresnet.notebook import html_facts
from thinresnet.welch import FEWEST_SEEDS

LOSES, TIES, CLEARS, UNJUDGED = "loses", "ties", "clears", "unjudged"
OUTCOMES = (LOSES, TIES, CLEARS, UNJUDGED)
OUTRIGHT, INTERPOLATED = "outright", "interpolated"
PRUNING = ("pruned", "init")
# `PruningBench Random`, `Random DCP`: what a source holds its own method against.
_CONTROL = re.compile(r"\Arandom\b|\brandom\Z", re.IGNORECASE)
# Far below any printed digit: gaps are compared after this many decimals, so that 76.2 - 76.0 is 0.2.
_DECIMALS = 9


class Verdict(NamedTuple):
    """One row under one set of assumptions."""

    entry: Entry
    assumptions: Assumptions
    outcome: str
    decided: str | None = None
    gap: float | None = None
    tie_within: float | None = None
    bar: float | None = None
    neighbours: tuple[Entry, ...] = ()
    decider: Entry | None = None
    wide: bool = False
    why: str = ""
    standing: int | None = None

    def __repr__(self) -> str:
        return f"<Verdict: {self.entry.id} {self.in_words}, against {self.assumptions.says}>"

    def _repr_html_(self) -> str:
        gap = None if self.gap is None else f"{self.gap:+.2f} points"
        bar = None if self.bar is None else f"{self.bar:.2f} %"
        against = "; ".join(map(reference_in_words, self.neighbours)) or None
        facts = {"verdict": self.in_words, "decided": self.decided, "gap": gap, "bar": bar, "references": against}
        return html_facts(self.entry.id, {**facts, "in full": self.says})

    @property
    def judged(self) -> bool:
        """Whether there is a verdict."""
        return self.outcome != UNJUDGED

    @property
    def in_words(self) -> str:
        """The outcome in a word or two, as it stands in tables."""
        if self.outcome == UNJUDGED:
            return "not judged" if self.gap is None else f"n<{FEWEST_SEEDS} ({self.gap:+.2f})"
        return TIES if self.outcome == TIES else f"{self.outcome} {abs(self.gap or 0):.2f}"

    @property
    def says(self) -> str:
        """The verdict in one or two sentences: outcome, assumptions, what decided it, and what to beware of."""
        return " ".join([f"{self._outcome()}.", *(f"{said}." for said in self.reservations)])

    def _outcome(self) -> str:
        under = f"against {self.assumptions.says}"
        if self.gap is None or self.outcome == UNJUDGED:
            gap = "" if self.gap is None else f", gap {self.gap:+.2f} points"
            return f"not judged {under}: {self.why}{gap}"
        between = " and ".join(reference_in_words(each) for each in self.neighbours)
        where = f"between {between}" if len(self.neighbours) > 1 else f"at {between}"
        if self.bar is None:
            word = "dearer than the dearest reference" if self.outcome == LOSES else "cheaper than the cheapest"
            return f"{self.outcome} by {abs(self.gap):.2f} points {under}, outright: {word}, {between}"
        gap = f"gap {self.gap:+.2f} within ±{self.tie_within:.2f}" if self.outcome == TIES else f"{abs(self.gap):.2f}"
        amount = f"({gap})" if self.outcome == TIES else f"by {gap} points"
        by = f", {self.decided}" if self.decided else ""
        if self.decider is not None and self.decider not in self.neighbours:
            by += f" by {reference_in_words(self.decider)}"
        return f"{self.outcome} {amount} {under}{by}: the bar is {self.bar:.2f} % {where}"

    @property
    def reservations(self) -> list[str]:
        """What to beware of: a wide gap, flagged references, a teacher; and that the reference was cheaper to train."""
        said = ["Wide gap: these references are more than a factor of 2 apart in cost"] if self.wide else []
        deciding = dict.fromkeys((*self.neighbours, self.decider) if self.decider else self.neighbours)
        said += [f"{each.id} {CAVEATS[flag]}" for each in deciding for flag in each.flags if flag in CAVEATS]
        if self.judged and self.entry.teacher:
            said.append(f"The row was distilled from a teacher ({self.entry.teacher}), the references were not")
        if words := self.cheaper_to_train:
            said.append(words)
        return said

    @property
    def cheaper_to_train(self) -> str:
        """That the deciding references were cheaper to train than the row was at least; empty if that is not known."""
        own = None if self.gap is None else training_at_least(self.entry)
        deciding = (self.decider,) if self.decider is not None else self.neighbours
        theirs = [training_of_reference(each) for each in deciding]
        known = [cost for cost in theirs if cost is not None]
        if own is None or not known or len(known) < len(theirs) or max(known) >= own * (1 - SAME_COST):
            return ""
        return f"The reference is cheaper to train, too: {max(known):.4g} epoch-GMACs against at least {own:.4g}"


def judge(bar: Bar, row: Entry, assumptions: Assumptions) -> Verdict:
    """The verdict on one row under one set of assumptions."""
    return _judge(bar, row, Held.of(row), Figures.of(row), assumptions)


def all_verdicts(bar: Bar, row: Entry, under: Iterable[Assumptions] = ALL_ASSUMPTIONS) -> list[Verdict]:
    """The verdicts on one row under each set of assumptions."""
    held, figures = Held.of(row), Figures.of(row)
    return [_judge(bar, row, held, figures, each) for each in under]


def points(bar: Bar, dataset: str, arch: str, assumptions: Assumptions, quantity: str = "") -> tuple[BarPoint, ...]:
    """The bar of one network for a drawing, on one cost; empty without references."""
    pixels = INPUT_SIZES.get((dataset, arch), DATASETS[dataset].input_size)
    curve = bar.curve(dataset, arch, pixels, assumptions, quantity)
    return curve.points if curve else ()


def counts_for_headline(entry: Entry) -> bool:
    """Whether a row is a published pruning result: what the matrix counts. Controls (random channels) are none."""
    return entry.source == "published" and entry.family in PRUNING and not _CONTROL.search(entry.method)


def _judge(bar: Bar, row: Entry, held: Held, own: Figures | None, assumptions: Assumptions) -> Verdict:
    quantities = BUDGETS[assumptions.budget]
    missing = "top1" if own is None else own.missing(quantities)
    if own is None or missing or "accuracy-doubtful" in row.flags:
        return Verdict(row, assumptions, UNJUDGED, why=why_not(row, missing))
    candidates = bar.candidates(held, assumptions)
    if not candidates.everyone:
        return Verdict(row, assumptions, UNJUDGED, why=_no_reference(row, assumptions))
    tie = Tie(own.spread, own.sample if held.training else None)
    readings = [candidates.curves[quantity].at(own.costs[quantity], tie) for quantity in quantities]
    low, high = readings[0].low, readings[0].high
    for other in readings[1:]:
        low, high = min(low, other.low), min(high, other.high)
    if low == high:
        return _on_the_curve(own, assumptions, candidates, [each for each in readings if each.exact], tie)
    return _beyond(own, assumptions, readings, low, high)


def _on_the_curve(
    own: Figures, assumptions: Assumptions, candidates: Candidates, exact: list[Reading], tie: Tie
) -> Verdict:
    # A board is judged some ten thousand times for its matrix, nearly always on one curve.
    lowest, lower, upper = exact[0], exact[0].lower_edge, exact[0].upper_edge
    for other in exact[1:]:
        lowest = other if other.low < lowest.low else lowest
        lower, upper = min(lower, other.lower_edge), min(upper, other.upper_edge)
    gap = round(own.top1 - lowest.low, _DECIMALS)
    entries = tuple([figures.entry for figures in lowest.neighbours])
    few = _too_few_seeds(own, lowest)
    better = None if few or gap >= 0 else _outright_better(own, candidates, tie)
    if few:
        outcome, standing, decider = UNJUDGED, None, None
    elif better or round(own.top1 - lower, _DECIMALS) < 0:
        outcome, standing, decider = LOSES, 0, better
    elif round(own.top1 - upper, _DECIMALS) <= 0:
        outcome, standing, decider = TIES, 2, None
    else:
        outcome, standing, decider = CLEARS, 4, _outright_worse(own, candidates)
    return Verdict(
        own.entry,
        assumptions,
        outcome,
        decided=None if outcome in (TIES, UNJUDGED) else OUTRIGHT if decider else INTERPOLATED,
        gap=gap,
        tie_within=None if few else round(lowest.low - lower if gap < 0 else upper - lowest.low, _DECIMALS),
        bar=lowest.low,
        neighbours=entries,
        decider=decider.entry if decider else None,
        wide=lowest.wide,
        why=few,
        standing=standing,
    )


def _beyond(own: Figures, assumptions: Assumptions, readings: list[Reading], low: float, high: float) -> Verdict:
    """Off the curve: cheaper than the cheapest reference on some cost, or dearer than the dearest on all."""
    cheaper = low == -math.inf
    side = min(readings, key=lambda reading: reading.high if cheaper else reading.low)
    entries = tuple(figures.entry for figures in side.neighbours)
    if few := _too_few_seeds(own, side):
        return Verdict(own.entry, assumptions, UNJUDGED, neighbours=entries, why=few)
    if cheaper and own.top1 >= high:
        gap, outcome, standing = own.top1 - high, CLEARS, 4
    elif not cheaper and own.top1 <= low:
        gap, outcome, standing = own.top1 - low, LOSES, 0
    else:
        why = "it is cheaper than every reference, and less accurate than the cheapest"
        if not cheaper:
            why = "it is dearer than every reference, and better than the dearest"
        standing = 3 if cheaper else 1
        return Verdict(own.entry, assumptions, UNJUDGED, neighbours=entries, why=why, standing=standing)
    return Verdict(
        own.entry, assumptions, outcome, OUTRIGHT, round(gap, _DECIMALS), 0.0, None, entries, entries[0],
        standing=standing,
    )  # fmt: skip


def _outright_better(own: Figures, candidates: Candidates, tie: Tie) -> Figures | None:
    """The best actual reference that costs no more and is better by more than the tie."""
    first = candidates.quantities[0]
    for other in candidates.deciders:
        if other.costs[first] > own.costs[first]:
            continue
        ahead = round(other.top1 - own.top1, _DECIMALS)
        if ahead <= 0:
            return None
        if ahead > tie.half(other) and not own.costs_less(other, candidates.quantities):
            return other
    return None


def _outright_worse(own: Figures, candidates: Candidates) -> Figures | None:
    """The best actual reference on the front that is dearer (or costs the same) and no better."""
    for other in candidates.undominated:
        if other.top1 <= own.top1 and not own.costs_more(other, candidates.quantities):
            return other
    return None


def _too_few_seeds(own: Figures, reading: Reading) -> str:
    """Why a measured row gets no verdict: fewer than three seeds on one side; empty for published rows."""
    if own.entry.source != "measured":
        return ""
    for whose, figures in (("", own), *(("of a reference", each) for each in reading.neighbours)):
        if figures.sample is None:
            seeds = figures.entry.n or 1
            number = f"{seeds} seed{'s' if seeds > 1 else ''}" if seeds < FEWEST_SEEDS else "no standard deviation"
            return f"{number}{f' {whose}' if whose else ''}: no verdict"
    return ""


def _no_reference(row: Entry, assumptions: Assumptions) -> str:
    if row.source == "measured":
        return "no reference was measured with its dataset, recipe and epochs"
    units = " and ".join(UNITS[quantity].split()[1] for quantity in BUDGETS[assumptions.budget])
    return f"no such reference with known {units} on {row.dataset}"
