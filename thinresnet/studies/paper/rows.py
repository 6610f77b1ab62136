"""Rows of the paper's tables, read from evidence folders: accuracy over seeds, every cost, and the verdict."""

from __future__ import annotations

import statistics
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, fields
from functools import cached_property
from pathlib import Path
from typing import Any

from thinresnet import public_weights
from thinresnet.budget import short
from thinresnet.errors import InputError
from thinresnet.evaluation import Evaluation
from thinresnet.imported import Imported
from thinresnet.pruning.record import FILE as PRUNING_FILE
from thinresnet.pruning.record import read_pruning
from thinresnet.result import Result
from thinresnet.runs import EVALUATION_FILE, IMPORTED_FILE, RESULT_FILE
from thinresnet.studies.evidence import INDEX, RowIdentity, read_index
from thinresnet.studies.protocols.public import SCALED_PUBLIC
from thinresnet.studies.stages.timing import read_timing
from thinresnet.studies.summaries import Spread
from thinresnet.welch import FEWEST_SEEDS, Sample, half_interval

BETTER, WORSE, SAME, UNDECIDED = "better", "worse", "within the interval", "undecided"


@dataclass(frozen=True, kw_only=True)
class Row(RowIdentity):
    """A network over its finished seeds."""

    study: str
    results: tuple[Result, ...]
    training_macs: tuple[int, ...]  # of each seed, from the origin
    seconds: tuple[float, ...]  # of each seed's last training
    origin_known: bool  # whether the training by the authors of the public weights is in the cost
    timing: dict[str, Any] | None

    @property
    def n(self) -> int:
        """Finished seeds."""
        return len(self.results)

    @cached_property
    def top1(self) -> tuple[float, ...]:
        """On the test images after the last epoch, by seed."""
        return tuple(result.test.top1 for result in self.results if result.test is not None)

    @property
    def spread(self) -> Spread:
        """The accuracies over the seeds."""
        return Spread(self.top1)

    @property
    def mean(self) -> float:
        """Of the accuracies."""
        return self.spread.mean

    @property
    def deviation(self) -> float | None:
        """Their sample standard deviation."""
        return self.spread.deviation

    @property
    def epochs(self) -> int | None:
        """Of the last training."""
        return self.results[0].epochs if self.results else None

    @property
    def macs(self) -> int:
        """Of the costliest seed."""
        return max(result.macs for result in self.results)

    @property
    def params(self) -> int:
        """Likewise."""
        return max(result.params for result in self.results)

    @property
    def accuracy(self) -> str:
        """`88.12 ± 0.10`, or what is missing."""
        return str(self.spread) if self.n else f"not measured (n = 0 of {self.planned})"

    @property
    def seeds(self) -> str:
        """`3`, or `1 of 3`."""
        return str(self.n) if self.n == self.planned else f"{self.n} of {self.planned}"


@dataclass(frozen=True)
class Difference:
    """A row minus its reference, in points, with Welch's 95 % interval from three seeds on each side."""

    gap: float
    half: float | None

    @property
    def outcome(self) -> str:
        """What the interval decides."""
        if self.half is None:
            return UNDECIDED
        return BETTER if self.gap > self.half else WORSE if self.gap < -self.half else SAME

    def __str__(self) -> str:
        if self.half is None:
            return f"{self.gap:+.2f}"
        return f"{self.gap:+.2f} [{self.gap - self.half:+.2f}, {self.gap + self.half:+.2f}]"


@dataclass(frozen=True)
class AsItComes:
    """A public network measured on the test images as it is."""

    network: str
    macs: int
    top1: float


@dataclass(frozen=True)
class Evidence:
    """Everything that was read."""

    rows: tuple[Row, ...]
    as_they_come: tuple[AsItComes, ...]

    def reference(self, row: Row) -> Row | None:
        """The public thin network at the row's budget, fine-tuned over as many epochs by the schedule that suits it."""
        if row.budget is None or row.protocol == SCALED_PUBLIC:
            return None
        thin = [own for own in self.rows if own.protocol == SCALED_PUBLIC and own.budget == row.budget]
        alike = [own for own in thin if own.distilled == row.distilled]
        measured = strongest([own for own in alike if own.n and own.epochs == row.epochs])
        return measured[0] if measured else next((own for own in alike if own.finetuning == row.finetuning), None)

    def difference(self, row: Row) -> Difference | None:
        """Of a row to its reference; None where either has nothing."""
        other = self.reference(row)
        if other is None or not row.n or not other.n:
            return None
        return difference(row, other)


def strongest(rows: Sequence[Row]) -> list[Row]:
    """Of rows that differ in their schedule of fine-tuning alone, the one with the highest mean; and what has none."""
    found: dict[tuple[object, ...], Row] = {}
    for row in rows:
        key = (row.recipe, row.protocol, row.method, row.budget, row.distilled, row.epochs or row.finetuning)
        if key not in found or row.mean > found[key].mean:
            found[key] = row
    return list(found.values())


def difference(row: Row, other: Row) -> Difference:
    """Of one row to another, both measured."""
    gap = row.mean - other.mean
    if min(row.n, other.n) < FEWEST_SEEDS or row.deviation is None or other.deviation is None:
        return Difference(gap, None)
    return Difference(gap, half_interval(Sample(row.n, row.deviation), Sample(other.n, other.deviation)))


def read_evidence(folders: Sequence[Path], evaluations: Sequence[Path] = ()) -> Evidence:
    """What `thinresnet study pack` wrote into these folders, and evaluations of public networks below the others."""
    rows: list[Row] = []
    for folder in folders:
        indexes = sorted(folder.rglob(INDEX))
        if not indexes:
            raise InputError(f"{folder}: holds no {INDEX}; thinresnet study pack FILE writes evidence")
        for path in indexes:
            rows += _rows(path)
    return Evidence(tuple(rows), tuple(_as_they_come(evaluations)))


def _rows(path: Path) -> Iterator[Row]:
    index, root = read_index(path), path.parent / "stages"
    for own in index.rows:
        chains = [[root / name for name in folders] for folders in own.seeds]
        costs = [[_spent(folder) for folder in chain] for chain in chains]
        results = tuple(_tested(chain[0]) for chain in chains)
        yield Row(
            study=index.study,
            **{each.name: getattr(own, each.name) for each in fields(RowIdentity)},
            results=results,
            training_macs=tuple(sum(cost or 0 for cost in one) for one in costs),
            seconds=tuple(result.seconds for result in results),
            origin_known=all(cost is not None for one in costs for cost in one),
            timing=read_timing(root / own.timing) if own.timing else None,
        )


def _tested(folder: Path) -> Result:
    result = Result.read(folder)
    if result.test is None:
        raise InputError(f"{folder / RESULT_FILE}: has no accuracy on the test images, and so is no row of a table")
    return result


def _spent(folder: Path) -> int | None:
    """Training MACs that a stage took, by its own record; None of public weights whose recipe could not be read."""
    if (folder / RESULT_FILE).is_file():
        return Result.read(folder).training_macs
    if (folder / PRUNING_FILE).is_file():
        return read_pruning(folder).training_macs
    if (folder / IMPORTED_FILE).is_file():
        known = public_weights.recognised(Imported.read(folder).origin.git_blob)
        return None if known is None else public_weights.origin_training_macs(known)
    return 0


def _as_they_come(folders: Sequence[Path]) -> Iterator[AsItComes]:
    """Networks by base width, by MACs."""
    found: dict[str, AsItComes] = {}
    for folder in folders:
        for path in sorted(folder.rglob(EVALUATION_FILE)):
            imported = path.with_name(IMPORTED_FILE)
            known = (
                public_weights.recognised(Imported.read(path.parent).origin.git_blob) if imported.is_file() else None
            )
            if known is not None and known.base_width is not None:
                own = Evaluation.read(path.parent)
                found[f"{known.network} {own.dataset}"] = AsItComes(known.network, own.macs, own.top1)
    yield from sorted(found.values(), key=lambda own: own.macs)


def costs_of(row: Row) -> tuple[str, str, str]:
    """MACs, parameters and training MACs from the origin, as tables have them."""
    training = f"{statistics.fmean(row.training_macs):.3e}".replace("e+", "e")
    return short(row.macs), short(row.params), training if row.origin_known else f"{training} + unknown"
