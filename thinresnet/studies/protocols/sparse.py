"""Trained from scratch by methods that prune while they train: there is no dense parent.

Where a method's authors fine-tune after the cut, so is done here; where they do not, what is cut is measured as it is.
"""

from __future__ import annotations

from thinresnet.studies.builder import Builder, PrunedShape
from thinresnet.studies.protocol import SPARSE, protocol
from thinresnet.studies.protocols.finetuned import finetune_all, finetune_to_total
from thinresnet.studies.protocols.participants import WhyNot, trains_from_scratch
from thinresnet.studies.stages import Source
from thinresnet.studies.study import Pruner


def _trains_from_scratch(to: Builder) -> WhyNot:
    def why_not(pruner: Pruner) -> str | None:
        if to.setup.distill is not None and not pruner.finetunes:
            return "nothing is trained after the cut that could have a teacher"
        return trains_from_scratch(pruner)

    return why_not


@protocol("sparse-train", SPARSE, "{method}, trained sparsely from scratch", "budgets", "methods")
def _sparse_train(to: Builder) -> None:
    """Trained from scratch by the method's own sparse training and pruned; fine-tuned where its authors do."""
    name = "sparse-train"
    for found in to.pruned_from_scratch(name, _trains_from_scratch(to)):
        if found.pruner.finetunes:
            finetune_all(to, name, [found])
        else:
            _measure(to, name, found)


@protocol(
    "sparse-train-equal-total", SPARSE, "{method}, trained sparsely from scratch, equal total training", "budgets",
    "methods",
)  # fmt: skip
def _sparse_train_equal_total(to: Builder) -> None:
    """Sparse training from scratch, and fine-tuning where the authors do, lengthened to the total training."""
    name = "sparse-train-equal-total"
    for pruner in to.pruners(name, _trains_from_scratch(to)):
        for point in to.study.points:
            for way in to.ways(point) if pruner.finetunes else (None,):
                epochs = to.sparse_epochs(way, (pruner, point))
                tail = "-equal-total" if way is None or not way.label else f"-equal-total-{way.label}"
                stages = {
                    seed: to.prune_from_scratch(pruner, [point], seed, epochs=epochs, tail=tail)
                    for seed in to.study.seeds
                }
                sources = {seed: Source(stage, point.tag) for seed, stage in stages.items()}
                found = PrunedShape(pruner, point, sources, f"{pruner.label}-{point.tag}-sparse{tail}")
                if way is None:
                    _measure(to, name, found, equal_total=True)
                else:
                    finetune_to_total(to, name, found, way)


def _measure(to: Builder, protocol_name: str, found: PrunedShape, *, equal_total: bool = False) -> None:
    shape = f"{found.name}-measured"
    finals = [to.measure(shape, source, seed, equal_total=equal_total) for seed, source in found.sources.items()]
    to.experiment_of(protocol_name, found, finals)
