"""Trained from scratch by methods that prune while they train: there is no dense parent."""

from __future__ import annotations

from thinresnet.studies.builder import Builder, PrunedShape
from thinresnet.studies.protocol import FINETUNED, protocol
from thinresnet.studies.protocols.finetuned import finetune_all, finetune_to_total
from thinresnet.studies.protocols.participants import trains_from_scratch
from thinresnet.studies.stages import Source


@protocol("sparse-train", FINETUNED, "{method}, trained sparsely from scratch", "budgets", "methods")
def _sparse_train(to: Builder) -> None:
    """Trained from scratch by the method's own sparse training, pruned and fine-tuned: there is no dense parent."""
    finetune_all(to, "sparse-train", to.pruned_from_scratch("sparse-train", trains_from_scratch))


@protocol(
    "sparse-train-equal-total", FINETUNED, "{method}, trained sparsely from scratch, equal total training", "budgets",
    "methods",
)  # fmt: skip
def _sparse_train_equal_total(to: Builder) -> None:
    """Sparse training from scratch and fine-tuning, both lengthened to the total training."""
    name = "sparse-train-equal-total"
    for pruner in to.pruners(name, trains_from_scratch):
        for point in to.study.points:
            for way in to.ways(point):
                epochs = to.sparse_epochs(way, (pruner, point))
                tail = f"-equal-total-{way.label}" if way.label else "-equal-total"
                stages = {
                    seed: to.prune_from_scratch(pruner, [point], seed, epochs=epochs, tail=tail)
                    for seed in to.study.seeds
                }
                sources = {seed: Source(stage, point.tag) for seed, stage in stages.items()}
                found = PrunedShape(pruner, point, sources, f"{pruner.label}-{point.tag}-sparse{tail}")
                finetune_to_total(to, name, found, way)
