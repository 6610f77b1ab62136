"""Pruned, at once or in steps, and fine-tuned from the weights that are left."""

from __future__ import annotations

from collections.abc import Iterable

from thinresnet.budget import Budget
from thinresnet.studies.builder import Builder, PrunedShape
from thinresnet.studies.finetuning import Finetuning, shapes_of
from thinresnet.studies.protocol import FINETUNED, protocol
from thinresnet.studies.protocols.participants import finetunes, removes_channels
from thinresnet.studies.stages import CostPoint, Source, Stage
from thinresnet.studies.study import Pruner


@protocol("prune-finetune", FINETUNED, "{method}, fine-tuned", "budgets", "methods")
def _prune_finetune(to: Builder) -> None:
    """Pruned in one go, then fine-tuned from the weights that are left."""
    finetune_all(to, "prune-finetune", to.pruned("prune-finetune", finetunes))


@protocol("prune-finetune-equal-total", FINETUNED, "{method}, fine-tuned, equal total training", "budgets", "methods")
def _prune_finetune_equal_total(to: Builder) -> None:
    """Pruned in one go, then fine-tuned for what the total training leaves."""
    name = "prune-finetune-equal-total"
    for shape in to.pruned(name, finetunes):
        for way in to.ways(shape.point):
            finetune_to_total(to, name, shape, way)


@protocol("prune-finetune-iterative", FINETUNED, "{method}, fine-tuned in steps", "budgets", "methods")
def _prune_finetune_iterative(to: Builder) -> None:
    """Pruned in several steps of the same ratio, fine-tuned after each."""
    name = "prune-finetune-iterative"
    for pruner in to.pruners(name, removes_channels):
        for point in to.study.points:
            if point.to is not None or point.bounds_latency:
                to.graph.note(f"{name} goes to budgets of MACs and parameters, not to {point.text}")
                continue
            for way in to.ways(point):
                shape, finals = _pruned_in_steps(to, pruner, point, way)
                to.experiment_of(name, shape, finals, way.label)


def _pruned_in_steps(to: Builder, pruner: Pruner, point: CostPoint, way: Finetuning) -> tuple[PrunedShape, list[Stage]]:
    last: dict[int, Source] = {}
    finals: list[Stage] = []
    for seed in to.study.seeds:
        trained = to.dense(seed)
        for number, step in enumerate(_steps(to, point), start=1):
            # From the second step on the parent was fine-tuned; the method trains by the recipe all the same.
            own = to.setup.recipe if number > 1 and "training" in pruner.method.needs else None
            of = f"-{way.label}" if way.label and number > 1 else ""  # the first step has the dense parent
            pruned = to.prune(trained, pruner, [step], seed, step=f"-step{number}{of}", recipe=own)
            last[seed] = Source(pruned, step.tag)
            for shape, _ in shapes_of(f"{pruner.label}-{point.tag}-step{number}-finetuned", [way]):
                trained = to.finetune(shape, last[seed], seed, way=way, at=(pruner, step))
        finals.append(trained)
    tail = f"iterative-{way.label}" if way.label else "iterative"
    return PrunedShape(pruner, point, last, f"{pruner.label}-{point.tag}-{tail}"), finals


def _steps(to: Builder, point: CostPoint) -> list[CostPoint]:
    """The budgets on the way to a point, each the same share of the one before."""
    dense = to.graph.dense_cost(to.setup)

    def at(share: float) -> CostPoint:
        return CostPoint(
            tuple(
                Budget.parse(own.quantity, int(whole * (own.limit(whole) / whole) ** share))
                for own in point.budgets
                for whole in [getattr(dense, own.quantity)]
            )
        )

    return [*(at(number / to.study.steps) for number in range(1, to.study.steps)), point]


def finetune_to_total(to: Builder, protocol_name: str, found: PrunedShape, way: Finetuning) -> None:
    for shape, _ in shapes_of(f"{found.name}-equal-total-finetuned", [way]):
        finals = [
            to.finetune(shape, source, seed, way=way, at=(found.pruner, found.point), equal_total=True)
            for seed, source in found.sources.items()
        ]
        to.experiment_of(protocol_name, found, finals, way.label)


def finetune_all(to: Builder, protocol_name: str, shapes: Iterable[PrunedShape]) -> None:
    for shape in shapes:
        for name, way in shapes_of(f"{shape.name}-finetuned", to.ways(shape.point)):
            finals = [
                to.finetune(name, source, seed, way=way, at=(shape.pruner, shape.point))
                for seed, source in shape.sources.items()
            ]
            to.experiment_of(protocol_name, shape, finals, way.label)
