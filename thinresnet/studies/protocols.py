"""What is done with a network under a budget: one small function a protocol, registered under its name.

A protocol adds stages and rows to the plan for one regime (way of training). The first line of its docstring is what
`thinresnet study protocols` shows.
"""

from __future__ import annotations

import inspect
import json
from collections.abc import Callable
from dataclasses import dataclass, replace

from thinresnet.budget import QUANTITIES, Budget
from thinresnet.errors import InputError
from thinresnet.networks import Network, fit
from thinresnet.networks.cost import macs_and_params
from thinresnet.pruning.registry import Method, summary
from thinresnet.recipe import Recipe
from thinresnet.studies.plan import Finding, Plan, Source
from thinresnet.studies.study import Cropper, Point, Regime, training

Add = Callable[[Plan, Regime], None]


@dataclass(frozen=True)
class Protocol:
    """A protocol: what it adds to a plan, and which lists of the study it needs."""

    name: str
    add: Add
    needs: tuple[str, ...]  # of points, pruners, croppers, transfer

    @property
    def does(self) -> str:
        """What it does, in a line."""
        return summary(self.add)


PROTOCOLS: dict[str, Protocol] = {}


def protocol(name: str, *needs: str) -> Callable[[Add], Add]:
    """Make a protocol known by its name."""

    def register(add: Add) -> Add:
        if name in PROTOCOLS or not inspect.getdoc(add):
            raise ValueError(f"the protocol {name!r} is registered twice, or has no docstring")
        PROTOCOLS[name] = Protocol(name, add, needs)
        return add

    return register


def _keeps_weights(method: Method) -> bool:
    return not method.rewinds


def _removes_channels(method: Method) -> bool:
    return method.removes == "channels"


def _is_smaller(method: Method) -> bool:
    return method.removes != "weights"


def _can_rewind(method: Method) -> bool:
    return method.rewinds or method.removes == "channels"


@protocol("dense")
def _dense(plan: Plan, regime: Regime) -> None:
    """The whole network, which pruning starts from."""
    plan.row(regime, "dense", [plan.dense(regime, seed) for seed in plan.study.seeds])


def _scaled(way: str, *, longer: bool = False) -> Add:
    name = f"scaled-{way}-b" if longer else f"scaled-{way}"
    stretch = {"cap": None} if longer else None

    def add(plan: Plan, regime: Regime) -> None:
        dense = plan.network(regime)
        for point in plan.study.points:
            budgets = plan.budgets(regime, point)
            try:
                network = fit(dense.arch, budgets, scaling=way, input_size=dense.input_size, **dense.kwargs)
            except InputError as error:
                raise InputError(f"study {plan.study.name}: {name} at {point.text}: {error}") from None
            recipe = _at_side(regime.recipe, dense, network) if way == "resolution" else regime.recipe
            finals = [
                plan.train(regime, f"{name}-{point.tag}", network, seed, recipe=recipe, stretch=stretch)
                for seed in plan.study.seeds
            ]
            timing = plan.timing(regime, f"scaled-{way}-{point.tag}", network)
            plan.row(regime, name, finals, point=point, timing=timing)

    how = ", with as much computation as the dense network" if longer else ""
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


for _way in ("width", "interior", "depth", "resolution"):
    protocol(f"scaled-{_way}", "points")(_scaled(_way))
protocol("scaled-width-b", "points")(_scaled("width", longer=True))  # what Scratch-B is fairly held against


@protocol("prune-tune", "points", "pruners")
def _prune_tune(plan: Plan, regime: Regime) -> None:
    """Pruned in one go, then tuned from the weights that are left."""
    for finding in plan.findings(regime, "prune-tune", _keeps_weights):
        name = f"{finding.name}-tuned"
        finals = [
            plan.train(regime, name, source, seed, recipe=regime.tuning, weights=source, at=finding.point)
            for seed, source in finding.sources.items()
        ]
        plan.found(regime, "prune-tune", finding, finals)


@protocol("prune-tune-iterative", "points", "pruners")
def _prune_tune_iterative(plan: Plan, regime: Regime) -> None:
    """Pruned in several steps of the same ratio, tuned after each."""
    for pruner in plan.pruners("prune-tune-iterative", _removes_channels):
        for point in plan.study.points:
            if point.to is not None:
                plan.note(f"prune-tune-iterative goes to budgets, not to {point.to}")
                continue
            last: dict[int, Source] = {}
            finals = []
            for seed in plan.study.seeds:
                tuned = plan.dense(regime, seed)
                for number, step in enumerate(_steps(plan, regime, point), start=1):
                    pruned = plan.prune(regime, tuned, pruner, [step], seed, step=f"-step{number}")
                    source = last[seed] = Source(pruned, step.tag)
                    name = f"{pruner.label}-{point.tag}-step{number}-tuned"
                    tuned = plan.train(regime, name, source, seed, recipe=regime.tuning, weights=source, at=step)
                finals.append(tuned)
            finding = Finding(pruner, point, last, name=f"{pruner.label}-{point.tag}-iterative")
            plan.found(regime, "prune-tune-iterative", finding, finals)


def _steps(plan: Plan, regime: Regime, point: Point) -> list[Point]:
    """The budgets on the way to a point, each the same share of the one before."""
    dense = dict(zip(QUANTITIES, macs_and_params(plan.network(regime)), strict=True))

    def at(share: float) -> Point:
        return Point(
            tuple(
                Budget.parse(own.quantity, int(whole * (own.limit(whole) / whole) ** share))
                for own in point.budgets
                for whole in [dense[own.quantity]]
            )
        )

    return [*(at(number / plan.study.steps) for number in range(1, plan.study.steps)), point]


def _scratch(cap: int | None, stretched: bool) -> None:
    name = "scratch-e" if not stretched else "scratch-b" if cap is None else f"scratch-b-{cap}x"

    def add(plan: Plan, regime: Regime) -> None:
        for finding in plan.findings(regime, name, _is_smaller):
            finals = [
                plan.train(
                    regime,
                    f"{finding.name}-{name}",
                    source,
                    seed,
                    at=finding.point,
                    stretch={"cap": cap} if stretched else None,
                )
                for seed, source in finding.sources.items()
            ]
            plan.found(regime, name, finding, finals)

    how = "as much computation" if stretched else "as many epochs"
    most = f", at most {cap} times its epochs" if cap else ""
    add.__doc__ = f"A pruned shape trained from scratch, with {how} as the dense network{most}."
    protocol(name, "points", "pruners")(add)


for _cap, _stretched in ((None, False), (None, True), (2, True)):
    _scratch(_cap, _stretched)


@protocol("rewind", "points", "pruners")
def _rewind(plan: Plan, regime: Regime) -> None:
    """What pruning kept, back at the weights that training began with, trained by the whole recipe."""
    for finding in plan.findings(regime, "rewind", _can_rewind):
        finals = []
        for seed, source in finding.sources.items():
            start = source
            if not finding.pruner.method.rewinds:
                inputs = {"parent": Source(plan.dense(regime, seed)), "network": source}
                start = plan.shape(regime, f"{finding.name}-start-s{seed}", "rewind", {"seed": seed}, inputs)
            name = f"{finding.name}-rewind"
            finals.append(plan.train(regime, name, start, seed, weights=start, at=finding.point))
        plan.found(regime, "rewind", finding, finals)


@protocol("family", "points", "pruners")
def _family(plan: Plan, regime: Regime) -> None:
    """The shape found at the first budget, scaled to the others and trained from scratch (our rule)."""
    first, *others = plan.study.points
    if not others:
        plan.note("family scales the shape of the first budget to the others; there is only one")
    for finding in plan.findings(regime, "family", _removes_channels):
        if finding.point is not first:
            continue
        for point in others:
            budgets = {own.quantity: own.text for own in plan.budgets(regime, point)}
            name = f"{finding.pruner.label}-{first.tag}-family-{point.tag}"
            sources = {
                seed: plan.shape(regime, f"{name}-s{seed}", "family", {"budgets": budgets}, {"network": source})
                for seed, source in finding.sources.items()
            }
            scaled = Finding(finding.pruner, point, sources, name=name)
            finals = [plan.train(regime, name, source, seed, at=point) for seed, source in sources.items()]
            plan.found(regime, "family", scaled, finals)


@protocol("guided", "points", "pruners")
def _guided(plan: Plan, regime: Regime) -> None:
    """The mean kept share of each stage, over the seeds, put on the whole network at the budget (our rule)."""
    for finding in plan.findings(regime, "guided", _removes_channels):
        _guide(plan, "guided", regime, regime, finding)


@protocol("transfer", "points", "pruners", "transfer")
def _transfer(plan: Plan, regime: Regime) -> None:
    """The mean kept share of each stage, put on the network and images of `transfer`; its dense and width beside it."""
    subject = plan.study.transfer
    assert subject is not None, "the plan has checked what protocols need"
    changes = training(subject)
    other = replace(
        regime,
        label=f"{regime.label}-transfer",
        recipe=regime.recipe.replace(**changes),
        tuning=regime.tuning.replace(**changes),
        subject=subject,
    )
    _dense(plan, other)
    _scaled("width")(plan, other)
    for finding in plan.findings(regime, "transfer", _removes_channels):
        _guide(plan, "transfer", regime, other, finding)


def _guide(plan: Plan, protocol_name: str, regime: Regime, target: Regime, finding: Finding) -> None:
    dense = plan.network(target)
    settings = {
        "dense": json.loads(dense.to_json()),
        "budgets": {own.quantity: own.text for own in plan.budgets(target, finding.point)},
    }
    inputs = {f"network{number}": source for number, source in enumerate(finding.sources.values())}
    name = f"{finding.name}-{protocol_name}"
    shape = plan.shape(target, name, "guided", settings, inputs)
    finals = [plan.train(target, name, shape, seed, at=finding.point) for seed in plan.study.seeds]
    guided = Finding(finding.pruner, finding.point, dict.fromkeys(plan.study.seeds, shape), name=name)
    plan.found(target, protocol_name, guided, finals)


@protocol("at-init", "points", "croppers")
def _at_init(plan: Plan, regime: Regime) -> None:
    """Channels cropped before anything is trained, as a criterion at initialisation says, then the whole recipe."""
    for cropper in plan.croppers("at-init", lambda cropper: None):
        for point in plan.study.points:
            name = f"{cropper.label}-{point.tag}-init"
            sources = {seed: plan.crop(regime, cropper, point, seed) for seed in plan.study.seeds}
            finals = [plan.train(regime, name, source, seed, at=point) for seed, source in sources.items()]
            timing = plan.timing(regime, name, next(iter(sources.values())))
            plan.row(regime, "at-init", finals, by=cropper.label, point=point, timing=timing)


def _masked(granularity: str, does: str, why_not: Callable[[Cropper], str | None]) -> None:
    name = f"at-init-{granularity}s"

    def add(plan: Plan, regime: Regime) -> None:
        dense = json.loads(plan.network(regime).to_json())
        for cropper in plan.croppers(name, why_not):
            for point in plan.study.points:
                shape = f"{cropper.label}-{point.tag}-{granularity}s"
                finals = []
                for seed in plan.study.seeds:
                    settings = {"network": dense, "granularity": granularity, "seed": seed}
                    inputs = {"crop": plan.crop(regime, cropper, point, seed)}
                    start = plan.shape(regime, f"{shape}-start-s{seed}", "mask", settings, inputs)
                    finals.append(plan.train(regime, shape, start, seed, weights=start))
                plan.row(regime, name, finals, by=cropper.label, point=point)

    add.__doc__ = f"{does}, then the whole recipe; zeros stay, and are computed."
    protocol(name, "points", "croppers")(add)


def _grows(cropper: Cropper) -> str | None:
    return "no mask is denser than dense" if cropper.grow else None


def _ranks_nothing(cropper: Cropper) -> str | None:
    return "it finds densities without ranking weights" if cropper.criterion.grows else None


_masked("weight", "Single weights masked at the densities of the crop", _grows)
_masked("filter", "Filters masked at the densities of the crop", _grows)
_masked("mask", "The criterion's own masks", _ranks_nothing)
