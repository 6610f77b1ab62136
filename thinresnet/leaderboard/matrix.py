"""The matrix of assumptions: all published pruning results of one network under each of them, never one chosen cell.

And the decomposition of the gap: a row's gap to the bar of any recipe is what its shape gains or loses against
classically trained references of its cost (row minus classical bar), less what the recipe alone is worth there
(modern bar minus classical bar).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property

from thinresnet.leaderboard.bar import Bar
from thinresnet.leaderboard.references import ALL_ASSUMPTIONS, ANY, CLASSICAL, RULES, Assumptions
from thinresnet.leaderboard.schema import Entry
from thinresnet.leaderboard.verdicts import CLEARS, LOSES, TIES, Verdict, all_verdicts, counts_for_headline
from thinresnet.notebook import html_table


@dataclass(frozen=True)
class Cell:
    """What one set of assumptions says of all results, in numbers."""

    assumptions: Assumptions
    verdicts: tuple[Verdict, ...]

    @property
    def results(self) -> int:
        """How many results there are."""
        return len(self.verdicts)

    @property
    def judged(self) -> int:
        """How many of them have a verdict."""
        return self.loses + self.ties + self.clears

    @cached_property
    def loses(self) -> int:
        """How many lose."""
        return self._count(LOSES)

    @cached_property
    def ties(self) -> int:
        """How many tie."""
        return self._count(TIES)

    @cached_property
    def clears(self) -> int:
        """How many clear the bar."""
        return self._count(CLEARS)

    @property
    def unjudged(self) -> int:
        """How many have no verdict."""
        return self.results - self.judged

    @cached_property
    def median_gap(self) -> float | None:
        """The median gap of those that are judged, in points."""
        gaps = [verdict.gap for verdict in self.verdicts if verdict.judged and verdict.gap is not None]
        return median(gaps) if gaps else None

    def having(self, outcome: str) -> list[Verdict]:
        """The verdicts with one outcome, the largest gap first."""
        found = [verdict for verdict in self.verdicts if verdict.outcome == outcome]
        return sorted(found, key=lambda verdict: -abs(verdict.gap or 0.0))

    def _count(self, outcome: str) -> int:
        return sum(verdict.outcome == outcome for verdict in self.verdicts)


@dataclass(frozen=True)
class Part:
    """The median gap under one set of assumptions taken apart, over the results that lie on both curves."""

    assumptions: Assumptions
    results: int
    median_gap: float | None
    recipe: float | None
    shape: float | None


@dataclass(frozen=True)
class Matrix:
    """All cells of one network on one dataset."""

    arch: str
    dataset: str
    cells: tuple[Cell, ...]
    rules: int = RULES

    def __repr__(self) -> str:
        results = self.cells[0].results if self.cells else 0
        return (
            f"<Matrix: {results} results of {self.arch} on {self.dataset} under {len(self.cells)} sets of assumptions>"
        )

    def _repr_html_(self) -> str:
        columns = (
            "references",
            "recipes",
            "resolution",
            "budget",
            "loses",
            "ties",
            "clears",
            "not judged",
            "median gap",
        )
        rows = [
            (own.references, own.recipes, own.resolution, own.budget, cell.loses, cell.ties, cell.clears, cell.unjudged,
             None if cell.median_gap is None else f"{cell.median_gap:+.2f}")
            for cell in self.cells
            for own in (cell.assumptions,)
        ]  # fmt: skip
        return html_table(columns, rows, caption=f"{self.arch} on {self.dataset}, rules {self.rules}", left=4)

    @property
    def largest_source(self) -> tuple[str, int]:
        """The paper that has most of the results, and how many: one benchmark can outweigh many methods' own papers."""
        papers = Counter(verdict.entry.paper for verdict in self.cells[0].verdicts)
        return papers.most_common(1)[0] if papers else ("", 0)

    def cell(self, assumptions: Assumptions) -> Cell:
        """The cell of one set of assumptions."""
        return self._by_assumptions[assumptions]

    @cached_property
    def decomposition(self) -> tuple[Part, ...]:
        """How much of the gap is recipe and how much is shape, for every reference set, resolution and budget."""
        pairs = ((cell, self._by_assumptions.get(replace(cell.assumptions, recipes=CLASSICAL))) for cell in self.cells)
        return tuple(
            _part(cell, classical)
            for cell, classical in pairs
            if classical is not None and cell.assumptions.recipes == ANY
        )

    @cached_property
    def _by_assumptions(self) -> dict[Assumptions, Cell]:
        return {cell.assumptions: cell for cell in self.cells}


def matrix(entries: Iterable[Entry], bar: Bar, dataset: str = "imagenet", arch: str = "resnet50") -> Matrix:
    """The matrix over the published pruning results of one network."""
    results = [
        entry for entry in entries if (entry.dataset, entry.arch) == (dataset, arch) and counts_for_headline(entry)
    ]
    return matrix_of(dataset, arch, [all_verdicts(bar, entry) for entry in results])


def matrix_of(dataset: str, arch: str, verdicts: Sequence[Sequence[Verdict]]) -> Matrix:
    """The matrix of verdicts that have been worked out already: for each result, those under `ALL_ASSUMPTIONS`."""
    cells = tuple(
        Cell(assumptions, tuple(of_result[number] for of_result in verdicts))
        for number, assumptions in enumerate(ALL_ASSUMPTIONS)
    )
    return Matrix(arch, dataset, cells)


def median(values: Sequence[float]) -> float:
    """The middle value, or the mean of the two in the middle: what `statistics.median` says, which imports a lot."""
    ranked, middle = sorted(values), len(values) // 2
    return ranked[middle] if len(ranked) % 2 else (ranked[middle - 1] + ranked[middle]) / 2


def _part(under_any: Cell, under_classical: Cell) -> Part:
    both = [
        (any_.gap, any_.bar - classical.bar, classical.gap)
        for any_, classical in zip(under_any.verdicts, under_classical.verdicts, strict=True)
        if any_.judged and classical.judged and any_.bar is not None and classical.bar is not None
        if any_.gap is not None and classical.gap is not None
    ]
    if not both:
        return Part(under_any.assumptions, 0, None, None, None)
    gap, recipe, shape = (median(values) for values in zip(*both, strict=True))
    return Part(under_any.assumptions, len(both), gap, recipe, shape)
