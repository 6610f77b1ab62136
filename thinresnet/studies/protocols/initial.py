"""Pruned, or masked, before anything is trained."""

from __future__ import annotations

from thinresnet.studies.builder import Builder, PrunedShape
from thinresnet.studies.protocol import INITIAL, MASKED, Add, protocol
from thinresnet.studies.protocols.participants import WhyNot, all_at_initialisation, does_not_grow, ranks_weights
from thinresnet.studies.stages.mask import OWN, REINITIALISED, SHUFFLED


@protocol("at-init", INITIAL, "{method}, pruned at initialisation", "budgets", "methods at initialisation")
def _at_init(to: Builder) -> None:
    """Channels pruned before anything is trained, as a method at initialisation says, then the whole recipe."""
    for pruner in to.pruners("at-init", all_at_initialisation):
        for point in to.study.points:
            name = f"{pruner.label}-{point.tag}-init"
            sources = {seed: to.prune_at_initialisation(pruner, point, seed) for seed in to.study.seeds}
            finals = [to.train(name, source, seed, at=(pruner, point)) for seed, source in sources.items()]
            to.experiment_of("at-init", PrunedShape(pruner, point, sources, name), finals)


def _masked(name: str, granularity: str, change: str | None, does: str, why_not: WhyNot) -> Add:
    def add(to: Builder) -> None:
        for pruner in to.pruners(name, why_not):
            for point in to.study.points:
                shape = f"{pruner.label}-{point.tag}-{granularity}s" + (f"-{change}" if change else "")
                finals = []
                for seed in to.study.seeds:
                    pruned = to.prune_at_initialisation(pruner, point, seed)
                    start = to.mask(f"{shape}-start-s{seed}", pruned, granularity, seed, change)
                    finals.append(to.train(shape, start, seed, weights=start))
                to.experiment(name, finals, method=pruner.label, point=point)

    add.__doc__ = f"{does}, then the whole recipe; zeros stay, and are computed."
    return add


for _name, _granularity, _change, _label, _does, _why_not in (
    ("at-init-weights", "weight", None, "weights masked at the same densities",
     "Single weights masked at the densities of the pruned network", does_not_grow),
    ("at-init-filters", "filter", None, "filters masked at the same densities",
     "Filters masked at the densities of the pruned network", does_not_grow),
    ("at-init-masks", OWN, None, "its own masks", "The method's own masks", ranks_weights),
    ("at-init-masks-reinit", OWN, REINITIALISED, "its own masks on new random weights",
     "The method's own masks on other random weights", ranks_weights),
    ("at-init-masks-shuffled", OWN, SHUFFLED, "its own masks shuffled within layers",
     "The method's own masks, shuffled within each layer", ranks_weights),
):  # fmt: skip
    protocol(_name, MASKED, f"{{method}}, {_label}", "budgets", "methods at initialisation")(
        _masked(_name, _granularity, _change, _does, _why_not)
    )
