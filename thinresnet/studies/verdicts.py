"""What a row of a study is worth against plain width, under each cost: MACs, parameters, training cost.

References are chosen by cost, never by accuracy: of plain width under the same recipe, the costliest that costs no more
than the row, and the cheapest that costs no less (within 1 % is the same; at one budget, what the budget bounds is the
same). For MACs and parameters these are plain width at every budget and the dense network; for training cost, whatever
plain width is trained within the row's own budget. Ties are those of the leaderboard's rule for measured rows: half of
Welch's 95 % interval, from three random seeds on each side.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from thinresnet.budget import LATENCY, QUANTITIES
from thinresnet.studies.protocols import BASELINE
from thinresnet.studies.protocols.public import SCALED_PUBLIC
from thinresnet.studies.summaries import Spread, Summary
from thinresnet.welch import FEWEST_SEEDS, Sample, half_interval

MACS, PARAMS = QUANTITIES
TRAINING = "training"
COSTS = (MACS, PARAMS, TRAINING)
CLEARS, TIES, LOSES, UNDECIDED, UNJUDGED, OVER, BAR = (
    "clears", "ties", "loses", "undecided", "not judged", "over budget", "the bar",
)  # fmt: skip
_BARS = (BASELINE, SCALED_PUBLIC)
_SAME = 1.01  # costs that differ by less than this factor are the same
_ROUNDING = 1e-9  # of gaps, in points


@dataclass(frozen=True)
class CostVerdict:
    """A row against plain width under one cost."""

    outcome: str  # one of the above; empty where there is nothing to compare
    gap: float | None = None  # in points, to the reference
    reference: Summary | None = None
    seeds: int | None = None  # of undecided: the fewer of the two sides

    @property
    def says(self) -> str:
        """What a cell of the table says."""
        if self.outcome == UNDECIDED:
            return f"{UNDECIDED} (n={self.seeds})"
        return f"{self.outcome} {self.gap:+.2f}" if self.outcome in (CLEARS, TIES, LOSES) else self.outcome

    @property
    def record(self) -> dict[str, Any] | None:
        """The same as JSON values; None where there is nothing to compare."""
        if not self.outcome:
            return None
        reference = None if self.reference is None else {"name": self.reference.name, "point": self.reference.point}
        return {"outcome": self.outcome, "gap": self.gap, "reference": reference, "says": self.says}


def verdicts(summary: Summary, found: Sequence[Summary]) -> Mapping[str, CostVerdict]:
    """The verdict under each of `COSTS`, and where its budget is one, under latency."""
    costs = (*COSTS, LATENCY) if LATENCY in summary.bounded else COSTS
    return {cost: verdict(summary, found, cost) for cost in costs}


def verdict(summary: Summary, found: Sequence[Summary], cost: str) -> CostVerdict:
    """What a summary is worth at equal or less of one cost."""
    if summary.top1 is None or summary.experiment.point is None:
        return CostVerdict("")
    if summary.experiment.protocol in _BARS:
        return CostVerdict(BAR)
    if any(spent > most for spent, most in zip((summary.macs, summary.params), summary.limit, strict=True)):
        return CostVerdict(OVER)
    references = _references(summary, found, cost)
    if not references:
        return CostVerdict("")
    cheaper = dearer = [each for each in references if _is_the_same(summary, each, cost)]
    if not cheaper:
        own = _cost(summary, cost)
        cheaper = [each for each in references if _cost(each, cost) < own]
        dearer = [each for each in references if _cost(each, cost) > own]
    if cost == LATENCY:  # one budget, which both keep by prediction: there is one reference
        return _between(summary, cheaper[0], cheaper[0])
    below = max(cheaper, key=lambda each: _cost(each, cost), default=None)
    above = min(dearer, key=lambda each: _cost(each, cost), default=None)
    return _between(summary, below, above)


def bar_of(summary: Summary, found: Sequence[Summary]) -> Summary | None:
    """Plain width at the same point under the same recipe, if it is there and finished."""
    return next((each for each in found if each.experiment.protocol in _BARS and _at_one_point(each, summary)), None)


def dense_training_macs(summary: Summary, found: Sequence[Summary]) -> float | None:
    """Training MACs of the dense network under the same recipe; None where neither it nor plain width is finished."""
    own = [each for each in found if each.top1 and each.experiment.recipe == summary.experiment.recipe]
    for each in own:
        if each.experiment.protocol == "dense":
            return each.training_macs
    for each in own:
        if each.experiment.protocol == BASELINE and not each.experiment.distilled:  # the same images and epochs
            return each.training_macs * each.dense.macs / each.macs
    return None


def _between(summary: Summary, below: Summary | None, above: Summary | None) -> CostVerdict:
    """Against the reference that costs no more and the one that costs no less; they may be one."""
    seeds = min(len(each.results) for each in (summary, below, above) if each is not None)
    if seeds < FEWEST_SEEDS:
        reference = below or above
        return CostVerdict(UNDECIDED, None if reference is None else _gap(summary, reference), reference, seeds)
    if below is not None and _outcome(summary, below) == LOSES:
        return CostVerdict(LOSES, _gap(summary, below), below)
    if above is not None and _outcome(summary, above) == CLEARS:
        return CostVerdict(CLEARS, _gap(summary, above), above)
    for reference in (above, below):
        if reference is not None and _outcome(summary, reference) == TIES:
            return CostVerdict(TIES, _gap(summary, reference), reference)
    reference = below or above
    return CostVerdict(UNJUDGED, None if reference is None else _gap(summary, reference), reference)


def _outcome(summary: Summary, reference: Summary) -> str:
    gap = round(_gap(summary, reference) / _ROUNDING) * _ROUNDING
    tie = half_interval(_sample(summary.top1), _sample(reference.top1))
    return CLEARS if gap > tie + _ROUNDING else LOSES if gap < -tie - _ROUNDING else TIES


def _gap(summary: Summary, reference: Summary) -> float:
    assert summary.top1 is not None
    assert reference.top1 is not None
    return summary.top1.mean - reference.top1.mean


def _sample(spread: Spread | None) -> Sample:
    assert spread is not None
    assert spread.deviation is not None, "asked of three seeds or more"
    return Sample(len(spread.values), spread.deviation)


def _references(summary: Summary, found: Sequence[Summary], cost: str) -> list[Summary]:
    """The finished plain widths under the same recipe that the row is held against; all have a teacher, or none."""
    own = [each for each in found if each.top1 and each.experiment.recipe == summary.experiment.recipe]
    own = [each for each in own if each.experiment.distilled == summary.experiment.distilled]
    own = [each for each in own if _trained_on_alike(each, summary)]
    if cost == LATENCY:
        return [each for each in own if each.experiment.protocol in _BARS and _at_one_point(each, summary)]
    if cost == TRAINING:
        # Every protocol of plain width, however long it trains: that is what is compared.
        plain = [each for each in own if each.experiment.protocol.startswith(_BARS)]
        return [each for each in plain if _at_one_point(each, summary)]
    return [each for each in own if each.experiment.protocol in (*_BARS, "dense")]


def _at_one_point(one: Summary, other: Summary) -> bool:
    first, second = ((own.recipe, own.point, own.distilled) for own in (one.experiment, other.experiment))
    return first == second and one.top1 is not None and _trained_on_alike(one, other)


def _trained_on_alike(reference: Summary, summary: Summary) -> bool:
    """Public networks are held against what was fine-tuned in the same way."""
    own = reference.experiment
    return own.protocol != SCALED_PUBLIC or own.finetuning == summary.experiment.finetuning


def _is_the_same(summary: Summary, reference: Summary, cost: str) -> bool:
    """Whether the two cost the same: to within 1 %, or because one budget bounds both."""
    if cost in summary.bounded and _at_one_point(reference, summary):
        return True
    total = summary.experiment.total_macs
    if cost == TRAINING and total is not None and total == reference.experiment.total_macs:
        return True  # to within an epoch of either
    one, other = _cost(summary, cost), _cost(reference, cost)
    return max(one, other) < _SAME * min(one, other)


def _cost(summary: Summary, cost: str) -> float:
    if cost == TRAINING:
        return summary.training_macs_with_search
    return summary.macs if cost == MACS else summary.params
