"""Networks whose authors' weights are public, trained on as pruned networks are: what those are held against."""

from __future__ import annotations

from thinresnet import public_weights
from thinresnet.networks import describe
from thinresnet.studies.builder import Builder
from thinresnet.studies.finetuning import shapes_of
from thinresnet.studies.protocol import SCALED, protocol

SCALED_PUBLIC = "scaled-public"


@protocol(SCALED_PUBLIC, SCALED, "plain width, its authors' weights, fine-tuned", "budgets")
def _scaled_public(to: Builder) -> None:
    """The thin network that a budget is called after (`like`), with its authors' weights, fine-tuned as pruned ones."""
    classes, dense = to.images.classes, to.network
    for point in to.study.points:
        if point.like is None:
            to.graph.note(
                f"{SCALED_PUBLIC} goes to budgets that name a network (like: thinresnet20-w8), not to {point.text}"
            )
            continue
        network = describe(point.like, input_size=dense.input_size, num_classes=classes)
        weights = to.public(public_weights.named(point.like, classes), network)
        timing = to.timing(f"{SCALED_PUBLIC}-{point.tag}", network)
        for name, way in shapes_of(f"{point.like}-finetuned", to.ways(point)):
            recipe = way.for_method(SCALED_PUBLIC, classes)
            finals = [to.train(name, network, seed, recipe=recipe, weights=weights) for seed in to.study.seeds]
            to.experiment(SCALED_PUBLIC, finals, point=point, timing=timing, finetuning=way.label)
