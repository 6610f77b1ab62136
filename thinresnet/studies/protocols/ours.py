"""Shapes by this project's own rules: rescaled, guided, transferred."""

from __future__ import annotations

from dataclasses import replace

from thinresnet.studies.builder import Builder, PrunedShape
from thinresnet.studies.protocol import OURS, PROTOCOLS, protocol
from thinresnet.studies.protocols.dense import BASELINE
from thinresnet.studies.protocols.participants import removes_channels


@protocol("rescaled", OURS, "{method}, rescaled (our rule)", "budgets", "methods")
def _rescaled(to: Builder) -> None:
    """The shape found at the first budget, scaled to the others and trained from scratch (our rule)."""
    first, *others = to.study.points
    if not others:
        to.graph.note("rescaled scales the shape of the first budget to the others; there is only one")
    for found in to.pruned("rescaled", removes_channels):
        for point in others if found.point is first else ():
            name = f"{found.name}-rescaled-{point.tag}"
            sources = {seed: to.rescale(f"{name}-s{seed}", point, source) for seed, source in found.sources.items()}
            finals = [to.train(name, source, seed, at=(found.pruner, point)) for seed, source in sources.items()]
            to.experiment_of("rescaled", PrunedShape(found.pruner, point, sources, name), finals)


@protocol("guided", OURS, "{method}, guided (our rule)", "budgets", "methods")
def _guided(to: Builder) -> None:
    """The mean kept share of each stage, over the seeds, put on the whole network at the budget (our rule)."""
    for found in to.pruned("guided", removes_channels):
        _guide(to, "guided", found)


@protocol("transfer", OURS, "{method}, transferred (our rule)", "budgets", "methods", "transfer")
def _transfer(to: Builder) -> None:
    """The mean kept share of each stage, put on the network and images of `transfer`; its dense and width beside it."""
    subject, setup = to.study.transfer, to.setup
    assert subject is not None, "what protocols need is checked before"
    changes = subject.recipe_changes
    other = replace(
        setup,
        name=f"{setup.name}-transfer",
        recipe=setup.recipe.replace(**changes),
        finetunings=tuple(way.replace_recipe(**changes) for way in setup.finetunings),
        subject=subject,
    )
    target = Builder(to.graph, other)
    for name in ("dense", BASELINE):
        PROTOCOLS[name].add(target)
    for found in to.pruned("transfer", removes_channels):
        _guide(target, "transfer", found)


def _guide(to: Builder, protocol_name: str, found: PrunedShape) -> None:
    name = f"{found.name}-{protocol_name}"
    shape = to.guide(name, found.point, list(found.sources.values()))
    finals = [to.train(name, shape, seed, at=(found.pruner, found.point)) for seed in to.study.seeds]
    guided = PrunedShape(found.pruner, found.point, dict.fromkeys(to.study.seeds, shape), name)
    to.experiment_of(protocol_name, guided, finals)
