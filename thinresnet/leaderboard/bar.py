"""The bar: the Pareto front of a reference set as a curve of accuracy over cost, linear in log cost.

Width is continuous, so between two scaled networks there is a third. Accuracy grows ever more slowly with the
logarithm of cost; a straight line between two references lies below what scaling reaches there and favours the row.
The curve is never extrapolated: outside of it only a comparison with its end remains.
"""

from __future__ import annotations

import math
from bisect import bisect_left
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from itertools import accumulate
from typing import NamedTuple

from thinresnet.leaderboard.recipe_classes import CLASSICAL as CLASSICAL_RECIPE
from thinresnet.leaderboard.recipe_classes import recipe_class
from thinresnet.leaderboard.references import (
    BUDGETS,
    CLASSICAL,
    OWN,
    SAME_ARCHITECTURE,
    Assumptions,
    may_be_the_bar,
    serves_as,
)
from thinresnet.leaderboard.schema import Entry
from thinresnet.welch import FEWEST_SEEDS, Sample, half_interval

# Two costs within one per cent are one cost: printed figures are no more exact, and no search fits a budget better.
SAME_COST = 0.01
# Two accuracies of published networks closer than this are not told apart.
TIE = 0.2
# Neighbours farther apart than this factor are a wide gap, and a verdict that rests on one says so.
WIDE_GAP = 2.0


@dataclass(frozen=True, eq=False)
class Figures:
    """One row as the rule sees it: accuracy and costs as numbers, worked out once."""

    entry: Entry
    top1: float
    costs: dict[str, float]
    spread: float
    sample: Sample | None

    @classmethod
    def of(cls, entry: Entry) -> Figures | None:
        """The figures of a row; None where its accuracy is not known."""
        if entry.top1 is None:
            return None
        costs = {"macs": entry.macs_g, "params": entry.params_m}
        std = None if entry.top1_std is None else float(entry.top1_std)
        sample = None if std is None or entry.n is None or entry.n < FEWEST_SEEDS else Sample(entry.n, std)
        return cls(entry, float(entry.top1), {k: v for k, v in costs.items() if v is not None}, std or 0.0, sample)

    def missing(self, quantities: Iterable[str]) -> str:
        """The first of these costs that is not known, or an empty string."""
        for quantity in quantities:
            if quantity not in self.costs:
                return quantity
        return ""

    def costs_less(self, other: Figures, quantities: Iterable[str]) -> bool:
        """Whether it costs less than another row on one of these costs."""
        for quantity in quantities:  # noqa: SIM110 - any() takes three times as long, ten thousand times
            if self.costs[quantity] < other.costs[quantity]:
                return True
        return False

    def costs_more(self, other: Figures, quantities: Iterable[str]) -> bool:
        """Whether it costs more than another row on one of these costs, and not the same within `SAME_COST`."""
        for quantity in quantities:  # noqa: SIM110 - any() takes three times as long, ten thousand times
            if self.costs[quantity] > other.costs[quantity] * (1 + SAME_COST):
                return True
        return False


class Tie(NamedTuple):
    """How far a row may lie from a reference and still tie with it: by spread, or by Welch's interval."""

    spread: float
    sample: Sample | None

    def half(self, other: Figures) -> float:
        """Half the width of the tie between the row and one reference."""
        if self.sample is None:
            return max(TIE, self.spread, other.spread)
        return half_interval(self.sample, other.sample) if other.sample else math.inf


@dataclass(frozen=True, eq=False)
class BarPoint:
    """One vertex of the curve, for drawing; `wide_after`: a wide gap lies between it and the next one."""

    cost: float
    top1: float
    entry: Entry
    wide_after: bool


class Reading(NamedTuple):
    """What a curve says at one cost: the bar there, or only one side of it beyond an end."""

    low: float
    high: float
    neighbours: tuple[Figures, ...]
    lower_edge: float = math.nan
    upper_edge: float = math.nan
    wide: bool = False

    @property
    def exact(self) -> bool:
        """Whether the cost lies on the curve."""
        return self.low == self.high


@dataclass(frozen=True, eq=False)
class Curve:
    """The Pareto front of one reference set on one cost, cheapest first; never empty."""

    quantity: str
    front: tuple[Figures, ...]
    edges: dict[Tie, tuple[Sequence[float], Sequence[float]]] = field(default_factory=dict)

    @cached_property
    def costs(self) -> tuple[float, ...]:
        """The costs of the vertices, rising."""
        return tuple(figures.costs[self.quantity] for figures in self.front)

    @property
    def points(self) -> tuple[BarPoint, ...]:
        """The vertices with their gaps."""
        following = (*self.costs[1:], 0.0)
        return tuple(
            BarPoint(cost, figures.top1, figures.entry, wide_after=after > WIDE_GAP * cost)
            for cost, after, figures in zip(self.costs, following, self.front, strict=True)
        )

    def at(self, cost: float, tie: Tie) -> Reading:
        """The bar at a cost, with the edges of the tie.

        The edges run like the curve itself through the vertices and never fall while cost rises: a spread at one
        vertex cannot make a cheaper row's verdict worse than a dearer one's.
        """
        costs, front = self.costs, self.front
        if cost < costs[0] * (1 - SAME_COST):
            return Reading(-math.inf, front[0].top1, front[:1])
        if cost > costs[-1] * (1 + SAME_COST):
            return Reading(front[-1].top1, math.inf, front[-1:])
        right = bisect_left(costs, cost)
        if right == 0 or right == len(costs) or costs[right] == cost:
            left = right = min(right, len(costs) - 1)
            weight = 0.0
        else:
            left = right - 1
            weight = math.log(cost / costs[left]) / math.log(costs[right] / costs[left])
        bar = _between(front[left].top1, front[right].top1, weight)
        lower, upper = self._edges(tie)
        return Reading(
            bar,
            bar,
            front[left : right + 1],
            _between(lower[left], lower[right], weight),
            _between(upper[left], upper[right], weight),
            wide=costs[right] > WIDE_GAP * costs[left],
        )

    def _edges(self, tie: Tie) -> tuple[Sequence[float], Sequence[float]]:
        if tie not in self.edges:
            pairs = [(figures.top1, tie.half(figures)) for figures in self.front]
            upper = list(accumulate((top1 + half for top1, half in pairs), max))
            lower = list(accumulate((top1 - half for top1, half in reversed(pairs)), min))[::-1]
            self.edges[tie] = (lower, upper)
        return self.edges[tie]


def _between(left: float, right: float, weight: float) -> float:
    return left if weight == 0 else left + weight * (right - left)


@dataclass(frozen=True, eq=False)
class Candidates:
    """The references that one assumption admits for one kind of row: all of them, and their curves."""

    everyone: tuple[Figures, ...]
    quantities: tuple[str, ...]

    @cached_property
    def curves(self) -> dict[str, Curve]:
        """The curve on each cost that the budget bounds."""
        return {quantity: Curve(quantity, pareto(self.everyone, quantity)) for quantity in self.quantities}

    @cached_property
    def undominated(self) -> tuple[Figures, ...]:
        """Those that no other one beats or equals at no more of every cost, the most accurate first."""
        if len(self.quantities) == 1:
            return self.curves[self.quantities[0]].front[::-1]
        return self._kept(self._costs_no_more)

    @cached_property
    def deciders(self) -> tuple[Figures, ...]:
        """Those that may decide a loss outright: a better reference with more spread leaves the worse one its say."""
        if all(figures.sample is None and figures.spread <= TIE for figures in self.everyone):
            return self.undominated
        return self._kept(
            lambda one, other: (
                one.spread <= other.spread and one.sample == other.sample and self._costs_no_more(one, other)
            )
        )

    def _kept(self, covers: Callable[[Figures, Figures], bool]) -> tuple[Figures, ...]:
        kept: list[Figures] = []
        for each in sorted(self.everyone, key=self._preference):
            if not any(covers(better, each) for better in kept):
                kept.append(each)
        return tuple(kept)

    def _costs_no_more(self, one: Figures, other: Figures) -> bool:
        return not other.costs_less(one, self.quantities)

    def _preference(self, figures: Figures) -> tuple[float | str, ...]:
        costs = (figures.costs[quantity] for quantity in self.quantities)
        return (-figures.top1, *costs, figures.spread, figures.entry.id)


def pareto(figures: Iterable[Figures], quantity: str) -> tuple[Figures, ...]:
    """Those that no cheaper or equally dear one equals in accuracy, cheapest first; one id decides between equals."""
    front: list[Figures] = []
    for each in sorted(figures, key=lambda each: (each.costs[quantity], -each.top1, each.entry.id)):
        if not front or each.top1 > front[-1].top1:
            front.append(each)
    return tuple(front)


class Held(NamedTuple):
    """What decides which references a row is held against."""

    dataset: str
    arch: str
    pixels: int
    own: str
    training: tuple[object, ...]

    @classmethod
    def of(cls, row: Entry) -> Held:
        """What decides it for this row; a row is never its own reference."""
        own = row.id if may_be_the_bar(row) else ""
        return cls(row.dataset, row.arch, row.resolution, own, training_of(row) if row.source == "measured" else ())


class Bar:
    """All references of a board, ready to be asked for curves and verdicts (`verdicts.judge`)."""

    def __init__(self, entries: Iterable[Entry]) -> None:
        self._by_dataset: dict[str, list[Figures]] = {}
        for entry in entries:
            if may_be_the_bar(entry) and (figures := Figures.of(entry)):
                self._by_dataset.setdefault(entry.dataset, []).append(figures)
        self._candidates: dict[tuple[object, ...], Candidates] = {}
        self._with_costs: dict[tuple[str, tuple[str, ...]], list[Figures]] = {}
        self._classical: dict[str, bool] = {}

    def candidates(self, held: Held, assumptions: Assumptions) -> Candidates:
        """The references that a row of this kind is held against."""
        # What the assumptions do not ask for may not tell two kinds of rows apart.
        arch = held.arch if assumptions.references == SAME_ARCHITECTURE else ""
        pixels = held.pixels if assumptions.resolution == OWN else 0
        key = (assumptions, held.dataset, arch, pixels, held.own, held.training)
        if key not in self._candidates:
            admitted = self._admitted(held, assumptions)
            if held.training and any(figures.sample for figures in admitted):
                admitted = [figures for figures in admitted if figures.sample]
            self._candidates[key] = Candidates(tuple(admitted), BUDGETS[assumptions.budget])
        return self._candidates[key]

    def curve(self, dataset: str, arch: str, pixels: int, assumptions: Assumptions, quantity: str = "") -> Curve | None:
        """The bar for published rows of one network tested at `pixels`, on the budget's cost or on one of its two.

        None without references.
        """
        found = self.candidates(Held(dataset, arch, pixels, "", ()), assumptions)
        return found.curves[quantity or found.quantities[0]] if found.everyone else None

    def _known(self, dataset: str, quantities: tuple[str, ...]) -> list[Figures]:
        """The references of a dataset whose costs are known."""
        key = (dataset, quantities)
        if key not in self._with_costs:
            found = self._by_dataset.get(dataset, ())
            self._with_costs[key] = [figures for figures in found if not figures.missing(quantities)]
        return self._with_costs[key]

    def _admitted(self, held: Held, assumptions: Assumptions) -> list[Figures]:
        """Rule by rule, so that what costs most is asked of the fewest."""
        references = assumptions.references
        found = [
            figures
            for figures in self._known(held.dataset, BUDGETS[assumptions.budget])
            if serves_as(figures.entry.arch, references, held.arch) and figures.entry.id != held.own
        ]
        if assumptions.resolution == OWN:
            found = [figures for figures in found if figures.entry.resolution == held.pixels]
        if held.training:
            measured = [figures for figures in found if figures.entry.source == "measured"]
            found = [figures for figures in measured if training_of(figures.entry) == held.training]
        else:
            found = [
                figures
                for figures in found
                if figures.entry.source != "measured" or (figures.entry.n or 1) >= FEWEST_SEEDS
            ]
        if assumptions.recipes == CLASSICAL:
            found = [figures for figures in found if self._is_classical(figures.entry)]
        return found

    def _is_classical(self, reference: Entry) -> bool:
        if reference.id not in self._classical:
            self._classical[reference.id] = recipe_class(reference) == CLASSICAL_RECIPE
        return self._classical[reference.id]


def training_of(entry: Entry) -> tuple[object, ...]:
    """What two measured rows must share to be compared: the recipe and its epochs, those of a pruned row's parent."""
    return (entry.recipe, entry.train_epochs if entry.train_epochs is not None else entry.dense_epochs)
