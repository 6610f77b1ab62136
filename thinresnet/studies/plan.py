"""From a study to its stages: a graph, where every stage is known by the content of what it does.

A stage trains, prunes, shapes or times one network. Its key is the hash of its specification and of the keys of the
stages that it goes on from, so that ten methods share one dense parent, and a changed recipe redoes only what hangs on
it. Bills are upper bounds where a shape is not known before it is found: then the budget's limit stands for its MACs.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, fields
from functools import cached_property
from pathlib import Path
from typing import Any, TypeVar

from thinresnet.budget import Budget
from thinresnet.errors import InputError
from thinresnet.networks import Network, describe
from thinresnet.networks.cost import macs_and_params
from thinresnet.pruning.presets import preset
from thinresnet.pruning.registry import Method
from thinresnet.pruning.session import check_targets
from thinresnet.recipe import Recipe
from thinresnet.studies.epochs import scratch_b_epochs
from thinresnet.studies.study import Cropper, Point, Pruner, Regime, Study
from thinresnet.training.data.datasets import open_dataset
from thinresnet.training.provenance import canonical_sha256

# What may differ from machine to machine without changing what comes out.
HERE = ("data_dir", "workers", "log_interval", "checkpoint_hist", "log_wandb", "dataset_download")
_NOT_SPECIFIED = (*HERE, "initial_checkpoint", "device_modules", "seed")
FORWARD_AND_BACKWARD = 3  # times the forward MACs
Entry = TypeVar("Entry", Pruner, Cropper)


@dataclass(frozen=True)
class Source:
    """What an earlier stage leaves: its folder, or one of several folders in it."""

    stage: Stage
    output: str = ""


@dataclass(frozen=True, eq=False)
class Stage:
    """One piece of work. `inputs` say what it goes on from, by role: `network`, `weights`, `parent`."""

    kind: str  # train, prune, crop, shape, time
    name: str
    spec: Mapping[str, Any]  # plain JSON values
    inputs: Mapping[str, Source] = field(default_factory=dict)
    here: Mapping[str, Any] = field(default_factory=dict)  # of this machine, in no way part of the result
    epochs: int = 0
    training_macs: int = 0  # at most

    @cached_property
    def key(self) -> str:
        """The hash of everything that decides what comes out."""
        inputs = {role: [source.stage.key, source.output] for role, source in self.inputs.items()}
        return canonical_sha256({"kind": self.kind, "spec": self.spec, "inputs": inputs})

    @property
    def folder(self) -> str:
        """`resnet20_cifar-dense-digits-classic-s42-3f9a1c`: readable first, unique by the key."""
        return f"{self.name}-{self.key[:6]}"

    def before(self) -> Iterator[Stage]:
        """Every stage that this one needs, each once, in an order in which they can be done."""
        seen: set[str] = set()
        for source in self.inputs.values():
            for stage in (*source.stage.before(), source.stage):
                if stage.key not in seen:
                    seen.add(stage.key)
                    yield stage


@dataclass(frozen=True, eq=False)
class Row:
    """What stands in one line of the study's table: the same thing once a seed."""

    regime: str
    protocol: str
    pruner: str | None  # or cropper
    point: str | None
    dense: tuple[int, int]  # MACs and parameters of the whole network
    finals: tuple[Stage, ...]  # in the order of the study's seeds
    timing: Stage | None


@dataclass(frozen=True)
class Images:
    """What is trained on, as far as it is known."""

    name: str
    classes: int
    train: int  # with the hold-out
    missing: str | None = None  # why they cannot be opened here


@dataclass(frozen=True)
class Finding:
    """A pruner at a point: where each seed's shape will lie."""

    pruner: Pruner
    point: Point
    sources: Mapping[int, Source]
    name: str


class Plan:
    """The stages and rows of a study; protocols add to it."""

    def __init__(self, study: Study) -> None:
        from thinresnet.studies.protocols import PROTOCOLS

        self.study = study
        self.stages: dict[str, Stage] = {}  # by key, each after those that it needs
        self.rows: list[Row] = []
        self.notes: list[str] = []
        self._names: dict[str, str] = {}
        self._dense: dict[str, Network] = {}
        self._images: dict[tuple[str, str | None], Images] = {}
        self._check()
        for regime in study.regimes:
            for name in study.protocols:
                PROTOCOLS[name].add(self, regime)

    def _check(self) -> None:
        """Refuse what can be known to be impossible before anything is done."""
        from thinresnet.studies.protocols import PROTOCOLS

        study = self.study
        for name in study.protocols:
            for key in PROTOCOLS[name].needs:
                if not getattr(study, key):
                    raise InputError(
                        f"study {study.name}: the protocol {name!r} needs {_SAID[key]!r}, which is not there"
                    )
        if not any("pruners" in PROTOCOLS[name].needs for name in study.protocols):
            return
        for regime in study.regimes:
            dense = self.network(regime)
            for pruner in study.pruners:
                for point in study.points:
                    where = f"study {study.name}: {pruner.label} at {point.text}"
                    to = None if point.to is None else preset(point.to, dense)
                    budgets = [point.budgets] if to is None else []
                    try:
                        check_targets(pruner.method, dense, budgets, to=to, scope=pruner.scope, stream=pruner.stream)
                    except InputError as error:
                        raise InputError(f"{where}: {error}") from None

    # What is known of the networks ------------------------------------------------------------------------------

    def images(self, regime: Regime) -> Images:
        """The data of a regime; what the study says of them where they are not at hand."""
        known = (regime.recipe.dataset, regime.recipe.data_dir)
        if known not in self._images:
            self._images[known] = _images(regime, self.study.name)
        return self._images[known]

    def data(self) -> list[Images]:
        """All data sets of the plan."""
        return list(self._images.values())

    def network(self, regime: Regime) -> Network:
        """The dense network, at the recipe's image size."""
        if regime.label not in self._dense:
            subject, side = regime.subject, regime.recipe.img_size
            kwargs = {**subject.kwargs, "num_classes": self.images(regime).classes}
            network = describe(subject.arch, input_size=subject.input_size, **kwargs)
            if side is not None and network.input_size[1:] != (side, side):
                network = describe(subject.arch, input_size=(network.input_size[0], side, side), **kwargs)
            self._dense[regime.label] = network
        return self._dense[regime.label]

    def budgets(self, regime: Regime, point: Point) -> tuple[Budget, ...]:
        """What a network at this point may cost; for a paper's list, exactly its MACs."""
        if point.to is None:
            return point.budgets
        return (Budget.parse("macs", macs_and_params(preset(point.to, self.network(regime)))[0]),)

    def macs_limit(self, regime: Regime, point: Point) -> int:
        """The MACs of a network at this point, at most."""
        dense = macs_and_params(self.network(regime))[0]
        limits = [own.limit(dense) for own in self.budgets(regime, point) if own.quantity == "macs"]
        return min([dense, *limits])

    # Stages -----------------------------------------------------------------------------------------------------

    def train(
        self,
        regime: Regime,
        shape: str,
        network: Network | Source,
        seed: int,
        *,
        recipe: Recipe | None = None,
        weights: Source | None = None,
        at: Point | None = None,
        stretch: Mapping[str, Any] | None = None,
    ) -> Stage:
        """Training of a network by the regime's recipe, or another one.

        `at` bounds the MACs of a network that is found later. `stretch` are the settings of Scratch-B, whose epochs
        follow from that network's MACs.
        """
        recipe = recipe or regime.recipe
        images, dense = self.images(regime), macs_and_params(self.network(regime))[0]
        known = network if isinstance(network, Network) else None
        macs = macs_and_params(known)[0] if known else self.macs_limit(regime, at) if at else dense
        epochs = recipe.total_epochs
        if stretch is not None:
            epochs = scratch_b_epochs(epochs, dense_macs=dense, macs=macs, cap=stretch["cap"])
            stretch = {**stretch, "dense_macs": dense}
        spec = {
            "recipe": _specified(recipe),
            "recipe_name": regime.label,
            "shape": shape,
            "seed": seed,
            "data": [images.name, images.classes, images.train],
            "holdout": self.study.holdout,
            "network": json.loads(known.to_json()) if known else None,
            "stretch": stretch,
        }
        inputs = {"network": network} if isinstance(network, Source) else {}
        if weights is not None:
            inputs["weights"] = weights
        return self._add(
            "train",
            f"{regime.subject.arch}-{shape}-{images.name}-{regime.label}-s{seed}",
            spec,
            inputs,
            here={name: getattr(recipe, name) for name in HERE},
            epochs=epochs,
            training_macs=FORWARD_AND_BACKWARD * macs * epochs * self._trained_on(images),
        )

    def prune(
        self, regime: Regime, parent: Stage, pruner: Pruner, points: Sequence[Point], seed: int, step: str = ""
    ) -> Stage:
        """Pruning of a trained network to several points, loosest first; one output each, by the point's tag."""
        dense, images = self.network(regime), self.images(regime)
        spec = {
            "method": pruner.method.name,
            "settings": dict(pruner.settings),
            "scope": pruner.scope,
            "stream": pruner.stream,
            "seed": seed,
            "outputs": {
                point.tag: {"to": point.to} if point.to else {own.quantity: own.text for own in point.budgets}
                for point in points
            },
        }
        seen = pruning_images(pruner.method, dense, regime.recipe, self._trained_on(images))
        tags = "-".join(point.tag for point in points)
        return self._add(
            "prune",
            f"{dense.arch}-{pruner.label}-{tags}{step}-{images.name}-{regime.label}-s{seed}",
            spec,
            {"parent": Source(parent)},
            here={name: getattr(regime.recipe, name) for name in HERE},
            training_macs=FORWARD_AND_BACKWARD * macs_and_params(dense)[0] * seen,
        )

    def crop(self, regime: Regime, cropper: Cropper, point: Point, seed: int) -> Source:
        """The channel counts that a criterion finds before anything is trained; those without weights know no seed."""
        dense, images = self.network(regime), self.images(regime)
        drawn, looks = "weights" in cropper.criterion.needs, "data" in cropper.criterion.needs
        spec = {
            "criterion": cropper.criterion.name,
            "settings": dict(cropper.settings),
            "network": json.loads(dense.to_json()),
            "budgets": {own.quantity: own.text for own in self.budgets(regime, point)},
            "grow": cropper.grow,
            "seed": seed if drawn else None,
            "recipe": _specified(regime.recipe) if looks else None,
            "data": [images.name, images.classes, images.train] if looks else None,
            "holdout": self.study.holdout if looks else None,
        }
        name = f"{dense.arch}-{cropper.label}-{point.tag}-{regime.label}-crop{f'-s{seed}' if drawn else ''}"
        return Source(self._add("crop", name, spec, {}, here={key: getattr(regime.recipe, key) for key in HERE}))

    def shape(
        self, regime: Regime, name: str, rule: str, settings: Mapping[str, Any], inputs: Mapping[str, Source]
    ) -> Source:
        """A network made out of what was found, by a rule of `shapes.RULES`."""
        name = f"{regime.subject.arch}-{name}-{regime.label}-shape"
        return Source(self._add("shape", name, {"rule": rule, **settings}, inputs))

    def timing(self, regime: Regime, name: str, network: Network | Source) -> Stage:
        """Inference of a network against the dense one; once, and not a seed."""
        spec = {
            "dense": json.loads(self.network(regime).to_json()),
            "network": json.loads(network.to_json()) if isinstance(network, Network) else None,
            "batch_size": self.study.timing_batch,
            "runs": self.study.timing_runs,
        }
        inputs = {"network": network} if isinstance(network, Source) else {}
        return self._add("time", f"{regime.subject.arch}-{name}-{regime.label}-time", spec, inputs)

    # What protocols share ---------------------------------------------------------------------------------------

    def dense(self, regime: Regime, seed: int) -> Stage:
        """The dense parent of a seed."""
        return self.train(regime, "dense", self.network(regime), seed)

    def pruners(self, protocol: str, serves: Callable[[Method], bool]) -> Iterator[Pruner]:
        """The study's pruners that a protocol can go on from; the others are said."""

        def why_not(pruner: Pruner) -> str | None:
            method = pruner.method
            if serves(method):
                return None
            return "it rewinds weights" if method.rewinds else f"it removes {method.removes}"

        return self._taking_part(protocol, self.study.pruners, why_not)

    def croppers(self, protocol: str, why_not: Callable[[Cropper], str | None]) -> Iterator[Cropper]:
        """The study's criteria that a protocol can go on from; the others are said."""
        return self._taking_part(protocol, self.study.croppers, why_not)

    def _taking_part(
        self, protocol: str, entries: Sequence[Entry], why_not: Callable[[Entry], str | None]
    ) -> Iterator[Entry]:
        for entry in entries:
            if entry.protocols and protocol not in entry.protocols:
                continue
            if reason := why_not(entry):
                self.note(f"{entry.label} takes no part in {protocol}: {reason}")
            else:
                yield entry

    def findings(self, regime: Regime, protocol: str, serves: Callable[[Method], bool]) -> Iterator[Finding]:
        """Every pruner that serves at every point, and where the shapes of the seeds will lie.

        A method that trains while it prunes does so once for all points that lie on one way down; for the others each
        point is a stage of its own, so that a budget more redoes nothing.
        """
        for pruner in self.pruners(protocol, serves):
            once = "training" in pruner.method.needs
            for points in self._ways_down(regime) if once else [[point] for point in self.study.points]:
                stages = {
                    seed: self.prune(regime, self.dense(regime, seed), pruner, points, seed)
                    for seed in self.study.seeds
                }
                for point in points:
                    sources = {seed: Source(stage, point.tag) for seed, stage in stages.items()}
                    yield Finding(pruner, point, sources, name=f"{pruner.label}-{point.tag}")

    def note(self, text: str) -> None:
        """Something that the reader of the plan has to know."""
        if text not in self.notes:
            self.notes.append(text)

    def _ways_down(self, regime: Regime) -> list[list[Point]]:
        """The points in groups that one pruning can pass through: the same quantity, loosest first."""
        dense = macs_and_params(self.network(regime))
        alone: list[list[Point]] = []
        by_quantity: dict[str, list[Point]] = {}
        for point in self.study.points:
            if len(point.budgets) == 1:
                by_quantity.setdefault(point.budgets[0].quantity, []).append(point)
            else:
                alone.append([point])
        for quantity, points in by_quantity.items():
            cost = dense[("macs", "params").index(quantity)]
            points.sort(key=lambda point: point.budgets[0].limit(cost), reverse=True)
        return [*by_quantity.values(), *alone]

    def row(
        self,
        regime: Regime,
        protocol: str,
        finals: Sequence[Stage],
        *,
        by: str | None = None,
        point: Point | None = None,
        timing: Stage | None = None,
    ) -> None:
        """A line of the table; `by` is what found the network, where something did."""
        tag, dense = point.tag if point else None, macs_and_params(self.network(regime))
        self.rows.append(Row(regime.label, protocol, by, tag, dense, tuple(finals), timing))

    def found(self, regime: Regime, protocol: str, finding: Finding, finals: Sequence[Stage]) -> None:
        """A line of the table about a network that was found, which is timed as the first seed has it."""
        timing = self.timing(regime, finding.name, next(iter(finding.sources.values())))
        self.row(regime, protocol, finals, by=finding.pruner.label, point=finding.point, timing=timing)

    def _trained_on(self, images: Images) -> int:
        return round(images.train * (1 - self.study.holdout))

    def _add(
        self,
        kind: str,
        name: str,
        spec: Mapping[str, Any],
        inputs: Mapping[str, Source],
        *,
        here: Mapping[str, Any] | None = None,
        epochs: int = 0,
        training_macs: int = 0,
    ) -> Stage:
        stage = Stage(kind, name.replace("/", "_"), spec, dict(inputs), here or {}, epochs, training_macs)
        if self._names.setdefault(stage.name, stage.key) != stage.key:
            raise InputError(
                f"study {self.study.name}: two different stages claim the name {stage.name!r}; give the methods or "
                "recipes labels that tell them apart"
            )
        return self.stages.setdefault(stage.key, stage)


_SAID = {"points": "budgets", "pruners": "methods", "croppers": "criteria", "transfer": "transfer"}


def pruning_images(method: Method, dense: Network, recipe: Recipe, per_epoch: int) -> int:
    """The images that a method sees while pruning, at most, as far as its settings tell.

    That is `epochs` of training (the recipe's, where none are set), `updates` between removals of `channels`, or so
    many `images` for a criterion.
    """
    if "training" in method.needs:
        rounds: int = getattr(method, "rounds", 1)
        updates = getattr(method, "updates", None)
        if updates is not None:
            removals = -(-sum(dense.channels.values()) // getattr(method, "channels", 1))
            return int(removals * updates * recipe.batch_size * recipe.grad_accum_steps)
        epochs = getattr(method, "epochs", None)
        return rounds * per_epoch * (recipe.total_epochs if epochs is None else int(epochs))
    return int(getattr(method, "images", 0)) if "data" in method.needs else 0


def _images(regime: Regime, name: str) -> Images:
    subject, recipe = regime.subject, regime.recipe
    try:
        found = open_dataset(recipe.replace(dataset_download=False))
    except InputError as error:
        if subject.classes is None or subject.images_train is None:
            raise InputError(
                f"study {name}: {error} (to plan without images, give the study classes and images_train)"
            ) from None
        folder = Path(recipe.data_dir).resolve().name if recipe.data_dir else "images"
        called = recipe.dataset.removeprefix("torch/") or folder
        return Images(called, subject.classes, subject.images_train, missing=str(error))
    if subject.classes not in (None, len(found.class_names)):
        raise InputError(
            f"study {name}: it is for {subject.classes} classes, {found.name} has {len(found.class_names)}"
        )
    return Images(found.name, len(found.class_names), len(found.train))


def _specified(recipe: Recipe) -> dict[str, Any]:
    """What of a recipe decides what comes out, as JSON values."""
    values = {entry.name: getattr(recipe, entry.name) for entry in fields(recipe) if entry.name not in _NOT_SPECIFIED}
    return dict(json.loads(json.dumps(values)))
