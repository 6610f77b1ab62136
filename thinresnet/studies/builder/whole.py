"""All layers of the builder, and what protocols share: pruners, the shapes that they find, and experiments."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from thinresnet.studies.builder.pruning import Prunings
from thinresnet.studies.builder.shapes import Shapes
from thinresnet.studies.builder.training import Trainings
from thinresnet.studies.finetuning import Finetuning
from thinresnet.studies.graph import Experiment
from thinresnet.studies.stages import CostPoint, Prune, Source, Stage, Timing
from thinresnet.studies.study import VARIES, Pruner


@dataclass(frozen=True)
class PrunedShape:
    """A pruner at a cost point: where each seed's shape will be."""

    pruner: Pruner
    point: CostPoint
    sources: Mapping[int, Source]
    name: str

    @property
    def first(self) -> Source:
        """The first seed's."""
        return next(iter(self.sources.values()))


@dataclass(frozen=True)
class Builder(Trainings, Prunings, Shapes):
    """The stages and experiments of one recipe, added to a graph."""

    def ways(self, point: CostPoint) -> tuple[Finetuning, ...]:
        """The setup's ways of fine-tuning at a point."""
        return tuple(way for way in self.setup.finetunings if way.serves(point))

    def pruners(self, protocol: str, why_not: Callable[[Pruner], str | None]) -> Iterator[Pruner]:
        """The study's pruners that take part in a protocol; the graph notes why others cannot."""
        for pruner in self.study.pruners:
            if pruner.protocols and protocol not in pruner.protocols:
                continue
            if reason := why_not(pruner):
                self.graph.note(f"{pruner.label} takes no part in {protocol}: {reason}")
            else:
                yield pruner

    def pruned(self, protocol: str, why_not: Callable[[Pruner], str | None]) -> Iterator[PrunedShape]:
        """Every pruner that takes part at every point, and where the shapes of the seeds will be.

        A method that trains while it prunes does so once for all points on one way down, unless it trains towards
        each; for the others each point is a stage of its own, so that a budget more redoes nothing.
        """
        for pruner in self.pruners(protocol, why_not):
            for points in self._ways_down(pruner):
                own = {seed: self.study.pruning_seed(pruner, seed) for seed in self.study.seeds}
                stages = {seed: self.prune(self.dense(seed), pruner, points, own[seed]) for seed in self.study.seeds}
                yield from _shapes(pruner, points, stages)

    def pruned_from_scratch(self, protocol: str, why_not: Callable[[Pruner], str | None]) -> Iterator[PrunedShape]:
        """The same of methods that train from scratch while they prune."""
        for pruner in self.pruners(protocol, why_not):
            for points in self._ways_down(pruner):
                stages = {seed: self.prune_from_scratch(pruner, points, seed) for seed in self.study.seeds}
                yield from _shapes(pruner, points, stages, "-sparse")

    def _ways_down(self, pruner: Pruner) -> list[list[CostPoint]]:
        """The points in groups that one pruning passes through: the same quantity, loosest first; else each alone."""
        if "training" not in pruner.method.needs or pruner.method.anew:
            return [[point] for point in self.study.points]
        dense = self.graph.dense_cost(self.setup)
        alone: list[list[CostPoint]] = []
        by_quantity: dict[str, list[CostPoint]] = {}
        for point in self.study.points:
            if len(point.budgets) == 1 and not point.bounds_latency:
                by_quantity.setdefault(point.budgets[0].quantity, []).append(point)
            else:
                alone.append([point])
        for quantity, points in by_quantity.items():
            points.sort(key=lambda point: point.budgets[0].limit(getattr(dense, quantity)), reverse=True)
        return [*by_quantity.values(), *alone]

    def experiment(
        self,
        protocol: str,
        finals: Sequence[Stage],
        *,
        method: str | None = None,
        point: CostPoint | None = None,
        timing: Timing | None = None,
        finetuning: str = "",
    ) -> None:
        """A row of the table; `method` is what found the network, where something did."""
        tag, dense = point.tag if point else None, self.graph.dense_cost(self.setup)
        self.graph.experiments.append(
            Experiment(
                self.setup.label,
                protocol,
                method,
                tag,
                dense,
                tuple(finals),
                timing,
                finetuning,
                shared=self.study.vary == VARIES[0],
            )
        )

    def experiment_of(self, protocol: str, shape: PrunedShape, finals: Sequence[Stage], finetuning: str = "") -> None:
        """A row about a network that was found, which is timed as the first seed has it."""
        timing = self.timing(shape.name, shape.first)
        method = shape.pruner.label
        self.experiment(protocol, finals, method=method, point=shape.point, timing=timing, finetuning=finetuning)


def _shapes(
    pruner: Pruner, points: Sequence[CostPoint], stages: Mapping[int, Prune], tail: str = ""
) -> Iterator[PrunedShape]:
    for point in points:
        sources = {seed: Source(stage, point.tag) for seed, stage in stages.items()}
        yield PrunedShape(pruner, point, sources, name=f"{pruner.label}-{point.tag}{tail}")
