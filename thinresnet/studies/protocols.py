"""The protocols: one small function each, which adds stages and experiments to the graph of a study."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import replace

from thinresnet.budget import Budget
from thinresnet.errors import InputError
from thinresnet.network import Network
from thinresnet.networks import fit
from thinresnet.pruning.method import INITIALISATION
from thinresnet.recipe import Recipe
from thinresnet.studies.builder import Builder, PrunedShape
from thinresnet.studies.finetuning import Finetuning, shapes_of
from thinresnet.studies.protocol import (
    DENSE,
    FINETUNED,
    INITIAL,
    MASKED,
    OURS,
    PROTOCOLS,
    REWOUND,
    SCALED,
    SCRATCH,
    Add,
    protocol,
)
from thinresnet.studies.stages import CostPoint, Source, Stage
from thinresnet.studies.stages.mask import OWN
from thinresnet.studies.study import Pruner

__all__ = ["PROTOCOLS"]

WhyNot = Callable[[Pruner], str | None]  # why a pruner takes no part; None: it does


# Who takes part


def _after_training(why_not: WhyNot) -> WhyNot:
    return lambda pruner: "it prunes at initialisation" if pruner.method.when == INITIALISATION else why_not(pruner)


def _at_initialisation(why_not: WhyNot) -> WhyNot:
    return lambda pruner: "it prunes trained networks" if pruner.method.when != INITIALISATION else why_not(pruner)


def _no_reason(pruner: Pruner) -> str | None:
    return None


@_after_training
def _finetunes(pruner: Pruner) -> str | None:
    return "it rewinds weights" if pruner.method.rewinds else None


@_after_training
def _trains_from_scratch(pruner: Pruner) -> str | None:
    return None if pruner.method.from_scratch else "its authors prune trained networks"


@_after_training
def _removes_channels(pruner: Pruner) -> str | None:
    return None if pruner.method.removes == "channels" else f"it removes {pruner.method.removes}"


@_after_training
def _is_smaller(pruner: Pruner) -> str | None:
    return "it removes weights" if pruner.method.removes == "weights" else None


@_after_training
def _can_rewind(pruner: Pruner) -> str | None:
    return None if pruner.method.rewinds else _removes_channels(pruner)


@_at_initialisation
def _does_not_grow(pruner: Pruner) -> str | None:
    return "no mask is denser than dense" if pruner.grow else None


@_at_initialisation
def _ranks_weights(pruner: Pruner) -> str | None:
    return None if pruner.method.ranks_weights else "it finds densities without ranking weights"


_all_at_initialisation = _at_initialisation(_no_reason)


# Dense and scaled


@protocol("dense", DENSE, "dense")
def _dense(to: Builder) -> None:
    """The whole network, which pruning starts from."""
    to.experiment("dense", [to.dense(seed) for seed in to.study.seeds])


def _scaled(name: str, way: str, *, equal_computation: bool = False, equal_total: bool = False) -> Add:
    def add(to: Builder) -> None:
        dense = to.network
        for point in to.study.points:
            try:
                network = fit(
                    dense.arch, to.budgets(point), scaling=way, latency_table=to.study.table_for(point),
                    input_size=dense.input_size, **dense.kwargs,
                )  # fmt: skip
            except InputError as error:
                raise InputError(f"study {to.study.name}: {name} at {point.text}: {error}") from None
            recipe = _at_side(to.setup.recipe, dense, network) if way == "resolution" else to.setup.recipe
            finals = [
                to.train(
                    f"{name}-{point.tag}",
                    network,
                    seed,
                    recipe=recipe,
                    equal_computation=equal_computation,
                    equal_total=equal_total,
                )
                for seed in to.study.seeds
            ]
            timing = to.timing(f"scaled-{way}-{point.tag}", network)
            to.experiment(name, finals, point=point, timing=timing)

    how = ", with as much computation as the dense network" if equal_computation else ""
    how = ", for the same total training" if equal_total else how
    add.__doc__ = f"The architecture scaled in {way} to the budget, trained from scratch{how}."
    return add


def _at_side(recipe: Recipe, dense: Network, network: Network) -> Recipe:
    """The recipe with images of the network's side, training sizes in proportion.

    A padded crop keeps the pixels of an image as they are; of a resized one, the same range of visible area is cropped.
    """
    before, side = dense.input_size[1], network.input_size[1]
    changes: dict[str, object] = {"img_size": side}
    if recipe.train_img_sizes is not None:
        changes["train_img_sizes"] = tuple(max(1, size * side // before) for size in recipe.train_img_sizes)
    if recipe.crop_padding:
        least = max(1, before - recipe.crop_padding) / before
        changes |= {"crop_padding": 0, "scale": (least**2, 1.0), "ratio": (1.0, 1.0)}
    return recipe.replace(**changes)


BASELINE = "scaled-width"
protocol(BASELINE, SCALED, "plain width", "budgets")(_scaled(BASELINE, "width"))
# What Scratch-B is fairly held against.
protocol("scaled-width-b", SCALED, "plain width, as much training as dense", "budgets")(
    _scaled("scaled-width-b", "width", equal_computation=True)
)
# What pruned rows of an equal total are fairly held against.
protocol("scaled-width-equal-total", SCALED, "plain width, equal total training", "budgets")(
    _scaled("scaled-width-equal-total", "width", equal_total=True)
)
for _name, _way, _label in (
    ("scaled-interior", "interior", "interior width"),
    ("scaled-depth", "depth", "depth"),
    ("scaled-resolution", "resolution", "resolution"),
):
    protocol(_name, SCALED, _label, "budgets")(_scaled(_name, _way))


# Pruned and fine-tuned


@protocol("prune-finetune", FINETUNED, "{method}, fine-tuned", "budgets", "methods")
def _prune_finetune(to: Builder) -> None:
    """Pruned in one go, then fine-tuned from the weights that are left."""
    _finetune_all(to, "prune-finetune", to.pruned("prune-finetune", _finetunes))


@protocol("sparse-train", FINETUNED, "{method}, trained sparsely from scratch", "budgets", "methods")
def _sparse_train(to: Builder) -> None:
    """Trained from scratch by the method's own sparse training, pruned and fine-tuned: there is no dense parent."""
    _finetune_all(to, "sparse-train", to.pruned_from_scratch("sparse-train", _trains_from_scratch))


@protocol("prune-finetune-equal-total", FINETUNED, "{method}, fine-tuned, equal total training", "budgets", "methods")
def _prune_finetune_equal_total(to: Builder) -> None:
    """Pruned in one go, then fine-tuned for what the total training leaves."""
    name = "prune-finetune-equal-total"
    for shape in to.pruned(name, _finetunes):
        for way in to.setup.finetunings:
            _finetune_to_total(to, name, shape, way)


@protocol(
    "sparse-train-equal-total", FINETUNED, "{method}, trained sparsely from scratch, equal total training", "budgets",
    "methods",
)  # fmt: skip
def _sparse_train_equal_total(to: Builder) -> None:
    """Sparse training from scratch and fine-tuning, both lengthened to the total training."""
    name = "sparse-train-equal-total"
    for pruner in to.pruners(name, _trains_from_scratch):
        for point in to.study.points:
            for way in to.setup.finetunings:
                epochs = to.sparse_epochs(way, (pruner, point))
                tail = f"-equal-total-{way.label}" if way.label else "-equal-total"
                stages = {
                    seed: to.prune_from_scratch(pruner, [point], seed, epochs=epochs, tail=tail)
                    for seed in to.study.seeds
                }
                sources = {seed: Source(stage, point.tag) for seed, stage in stages.items()}
                found = PrunedShape(pruner, point, sources, f"{pruner.label}-{point.tag}-sparse{tail}")
                _finetune_to_total(to, name, found, way)


def _finetune_to_total(to: Builder, protocol_name: str, found: PrunedShape, way: Finetuning) -> None:
    for shape, _ in shapes_of(f"{found.name}-equal-total-finetuned", [way]):
        finals = [
            to.finetune(shape, source, seed, way=way, at=(found.pruner, found.point), equal_total=True)
            for seed, source in found.sources.items()
        ]
        to.experiment_of(protocol_name, found, finals, way.label)


def _finetune_all(to: Builder, protocol_name: str, shapes: Iterable[PrunedShape]) -> None:
    for shape in shapes:
        for name, way in shapes_of(f"{shape.name}-finetuned", to.setup.finetunings):
            finals = [
                to.finetune(name, source, seed, way=way, at=(shape.pruner, shape.point))
                for seed, source in shape.sources.items()
            ]
            to.experiment_of(protocol_name, shape, finals, way.label)


@protocol("prune-finetune-iterative", FINETUNED, "{method}, fine-tuned in steps", "budgets", "methods")
def _prune_finetune_iterative(to: Builder) -> None:
    """Pruned in several steps of the same ratio, fine-tuned after each."""
    name = "prune-finetune-iterative"
    for pruner in to.pruners(name, _removes_channels):
        for point in to.study.points:
            if point.to is not None or point.bounds_latency:
                to.graph.note(f"{name} goes to budgets of MACs and parameters, not to {point.text}")
                continue
            for way in to.setup.finetunings:
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


# Pruned shapes, trained from scratch or rewound


def _scratch(
    name: str, *, equal_computation: bool = False, most_times: int | None = None, equal_total: bool = False
) -> Add:
    def add(to: Builder) -> None:
        for shape in to.pruned(name, _is_smaller):
            finals = [
                to.train(
                    f"{shape.name}-{name}",
                    source,
                    seed,
                    at=(shape.pruner, shape.point),
                    equal_computation=equal_computation,
                    most_times=most_times,
                    equal_total=equal_total,
                )
                for seed, source in shape.sources.items()
            ]
            to.experiment_of(name, shape, finals)

    how = "as much computation" if equal_computation else "as many epochs"
    most = f", at most {most_times} times its epochs" if most_times else ""
    add.__doc__ = f"A pruned shape trained from scratch, with {how} as the dense network{most}."
    if equal_total:
        add.__doc__ = "A pruned shape trained from scratch for what the total training leaves."
    return add


for _name, _label, _equal, _most in (
    ("scratch-e", "{method}, Scratch-E", False, None),
    ("scratch-b", "{method}, Scratch-B", True, None),
    ("scratch-b-2x", "{method}, Scratch-B up to 2x", True, 2),
):
    protocol(_name, SCRATCH, _label, "budgets", "methods")(_scratch(_name, equal_computation=_equal, most_times=_most))


protocol("scratch-equal-total", SCRATCH, "{method}, from scratch, equal total training", "budgets", "methods")(
    _scratch("scratch-equal-total", equal_total=True)
)


@protocol("rewind", REWOUND, "{method}, rewound", "budgets", "methods")
def _rewind(to: Builder) -> None:
    """What pruning kept, back at the weights that training began with, trained by the whole recipe."""
    for shape in to.pruned("rewind", _can_rewind):
        finals = []
        for seed, source in shape.sources.items():
            start = source
            if not shape.pruner.method.rewinds:
                start = to.rewind(f"{shape.name}-start-s{seed}", to.dense(seed), source, seed)
            finals.append(
                to.train(
                    f"{shape.name}-rewind",
                    start,
                    seed,
                    weights=start,
                    at=(shape.pruner, shape.point),
                )
            )
        to.experiment_of("rewind", shape, finals)


# Shapes by this project's own rules


@protocol("rescaled", OURS, "{method}, rescaled (our rule)", "budgets", "methods")
def _rescaled(to: Builder) -> None:
    """The shape found at the first budget, scaled to the others and trained from scratch (our rule)."""
    first, *others = to.study.points
    if not others:
        to.graph.note("rescaled scales the shape of the first budget to the others; there is only one")
    for found in to.pruned("rescaled", _removes_channels):
        for point in others if found.point is first else ():
            name = f"{found.name}-rescaled-{point.tag}"
            sources = {seed: to.rescale(f"{name}-s{seed}", point, source) for seed, source in found.sources.items()}
            finals = [to.train(name, source, seed, at=(found.pruner, point)) for seed, source in sources.items()]
            to.experiment_of("rescaled", PrunedShape(found.pruner, point, sources, name), finals)


@protocol("guided", OURS, "{method}, guided (our rule)", "budgets", "methods")
def _guided(to: Builder) -> None:
    """The mean kept share of each stage, over the seeds, put on the whole network at the budget (our rule)."""
    for found in to.pruned("guided", _removes_channels):
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
    _dense(target)
    PROTOCOLS[BASELINE].add(target)
    for found in to.pruned("transfer", _removes_channels):
        _guide(target, "transfer", found)


def _guide(to: Builder, protocol_name: str, found: PrunedShape) -> None:
    name = f"{found.name}-{protocol_name}"
    shape = to.guide(name, found.point, list(found.sources.values()))
    finals = [to.train(name, shape, seed, at=(found.pruner, found.point)) for seed in to.study.seeds]
    guided = PrunedShape(found.pruner, found.point, dict.fromkeys(to.study.seeds, shape), name)
    to.experiment_of(protocol_name, guided, finals)


# At initialisation


@protocol("at-init", INITIAL, "{method}, pruned at initialisation", "budgets", "methods at initialisation")
def _at_init(to: Builder) -> None:
    """Channels pruned before anything is trained, as a method at initialisation says, then the whole recipe."""
    for pruner in to.pruners("at-init", _all_at_initialisation):
        for point in to.study.points:
            name = f"{pruner.label}-{point.tag}-init"
            sources = {seed: to.prune_at_initialisation(pruner, point, seed) for seed in to.study.seeds}
            finals = [to.train(name, source, seed, at=(pruner, point)) for seed, source in sources.items()]
            to.experiment_of("at-init", PrunedShape(pruner, point, sources, name), finals)


def _masked(name: str, granularity: str, does: str, why_not: WhyNot) -> Add:
    def add(to: Builder) -> None:
        for pruner in to.pruners(name, why_not):
            for point in to.study.points:
                shape = f"{pruner.label}-{point.tag}-{granularity}s"
                finals = []
                for seed in to.study.seeds:
                    pruned = to.prune_at_initialisation(pruner, point, seed)
                    start = to.mask(f"{shape}-start-s{seed}", pruned, granularity, seed)
                    finals.append(to.train(shape, start, seed, weights=start))
                to.experiment(name, finals, method=pruner.label, point=point)

    add.__doc__ = f"{does}, then the whole recipe; zeros stay, and are computed."
    return add


for _name, _granularity, _label, _does, _why_not in (
    ("at-init-weights", "weight", "weights masked at the same densities",
     "Single weights masked at the densities of the pruned network", _does_not_grow),
    ("at-init-filters", "filter", "filters masked at the same densities",
     "Filters masked at the densities of the pruned network", _does_not_grow),
    ("at-init-masks", OWN, "its own masks", "The method's own masks", _ranks_weights),
):  # fmt: skip
    protocol(_name, MASKED, f"{{method}}, {_label}", "budgets", "methods at initialisation")(
        _masked(_name, _granularity, _does, _why_not)
    )
