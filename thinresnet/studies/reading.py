"""Reading a study: one YAML document that says what is compared.

A file may hold several documents (`---` between them), each a study of its own. The dataclasses below are the keys that
a document may have; what is not allowed is refused in one line that says where.
"""

from __future__ import annotations

import re
from collections.abc import Hashable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from pathlib import Path
from typing import Any, ClassVar

from thinresnet import base_width, public_weights
from thinresnet import recipe as recipes
from thinresnet.budget import BOUNDED, Budget
from thinresnet.convert import NAME, brief, convert, setting, unknown_name
from thinresnet.errors import InputError
from thinresnet.identity import differing
from thinresnet.networks.latency import LatencyTable, read_table
from thinresnet.pruning.method import SCOPES
from thinresnet.pruning.registry import method
from thinresnet.public_weights import PublicWeights
from thinresnet.studies.distill import read_distillations
from thinresnet.studies.finetuning import read_finetunings
from thinresnet.studies.stages import CostPoint
from thinresnet.studies.study import VARIES, Pruner, Study, Subject, TrainingSetup
from thinresnet.studies.tiers import USUAL, Tier, at_tier
from thinresnet.yamls import read_documents

_OF_SETUPS = ("recipe", "finetune", "distill", "weights")  # keys of an entry of `recipes` that are no flags
_TIMES_DENSE = re.compile(r"[0-9]{1,4}(\.[0-9]{1,4})?x dense", re.ASCII), "a multiple of the dense training: 2x dense"


@dataclass(frozen=True)
class _Budgets:
    """An entry of `budgets`."""

    macs: str | int | float = setting(None, "most MACs: 50% of the dense network, or 2.05G")
    params: str | int | float = setting(None, "most parameters: 50%, or 12M")
    latency: str | int | float = setting(None, "longest predicted time of a batch: 50%, or 12ms; needs latency_table")
    to: str = setting(None, "instead of budgets: a paper's list of channel counts, such as R56-A", pattern=NAME)
    like: str = setting(None, "instead of budgets: the MACs of a network by base width: thinresnet20-w8", pattern=NAME)

    def __post_init__(self) -> None:
        if self.like is not None:
            if self.given or self.to is not None:
                raise InputError("`like` says the budget; leave out macs, params, latency and to")
            if base_width.parse(self.like) is None:
                raise InputError(f"like: {self.like!r}: takes a network by base width, such as thinresnet20-w8")
            return
        if self.to is not None and self.given:
            raise InputError("`to` says the whole shape; leave out the budgets beside it")
        if self.to is None and not self.given:
            raise InputError(
                "give a budget (macs: 50%, params: 0.5M), a list of counts (to: R56-A) or `like: thinresnet20-w8`"
            )

    @property
    def given(self) -> dict[str, str | int | float]:
        found = {quantity: getattr(self, quantity) for quantity in BOUNDED}
        return {quantity: text for quantity, text in found.items() if text is not None}

    def point(self, classes: int | None, side_px: int | None) -> CostPoint:
        """The cost point of a study with so many classes and images of this side."""
        if self.like is not None:
            return CostPoint((_as_much_as(self.like, classes, side_px),), like=self.like)
        return CostPoint(tuple(Budget.parse(quantity, text) for quantity, text in self.given.items()), self.to)


def _as_much_as(like: str, classes: int | None, side_px: int | None) -> Budget:
    """The MACs of a network by base width, at its usual image side if none is given."""
    network = base_width.parse(like)
    assert network is not None, "checked where it was read"
    if classes is None:
        raise InputError(f"like: {like}: its MACs depend on the classes; give the study the key classes")
    macs, _ = network.cost(classes=classes, side_px=side_px or (32 if network.cifar else 224))
    return Budget.parse("macs", macs)


@dataclass(frozen=True)
class _Method:
    """An entry of `methods`."""

    SHORTHAND: ClassVar[str] = "method"
    method: str = setting(about="a name of `thinresnet prune --list`")
    set: dict[str, Any] = setting(dict, "settings of the method that differ from its defaults")
    scope: str | None = setting(
        None, "the same share of every layer, or one ranking of all channels; the method's if not given", choices=SCOPES
    )
    stream: bool | None = setting(None, "prune the residual stream too; as the method's authors do if not given")
    finetune: bool | None = setting(
        None, "after sparse training from scratch: fine-tune too; as the method's authors do if not given"
    )
    preconfig: bool = setting(False, "at initialisation: layers may also grow")
    label: str | None = setting(None, "what tables call it", pattern=NAME)
    protocols: tuple[str, ...] = setting(
        (), "of the study's protocols those that it is run by; all if empty", distinct=True
    )
    vary: str | None = setting(None, "what a random seed varies, instead of the study's `vary`", choices=VARIES[1:])

    @property
    def pruner(self) -> Pruner:
        found = method(self.method, self.set)
        if self.preconfig and not found.grows:
            raise InputError(f"preconfig: {self.method} cannot give a layer more channels; leave it out")
        label = self.label or (f"{self.method}-preconfig" if self.preconfig else self.method)
        stream = found.stream if self.stream is None else self.stream
        if self.finetune is not None and not found.from_scratch:
            raise InputError(f"finetune: is about sparse training from scratch, not for {self.method}; leave it out")
        finetunes = found.finetunes if self.finetune is None else self.finetune
        return Pruner(
            label, found, differing(found), self.scope, stream, self.preconfig, self.protocols, finetunes, self.vary
        )


@dataclass(frozen=True)
class _Measure:
    """`measure`: how inference, and training, are timed."""

    batch_size: int = setting(1, "images in a timed batch", low=1, high=10_000)
    runs: int = setting(20, "timed batches", low=3, high=10_000)
    training_batch_size: int | None = setting(
        None, "images in a timed update (forward, backward, SGD); none is timed if not given", low=2, high=10_000
    )


@dataclass(frozen=True, kw_only=True)
class _Subject:
    """What is trained, of a document and of its `transfer`."""

    arch: str = setting(about="the dense architecture")
    kwargs: dict[str, Any] = setting(dict, "its keyword arguments", arguments=True)
    input_size: tuple[int, int, int] | None = setting(None, "channels, height, width; the architecture's if not given")
    dataset: str | None = setting(None, "instead of the recipes': digits, torch/cifar10, '' for class folders")
    data_dir: str | None = setting(None, "folder of the dataset, instead of the recipes'")
    classes: int | None = setting(None, "classes, for planning where the images are not at hand", low=1)
    images_train: int | None = setting(None, "training images, likewise", low=1)

    @property
    def subject(self) -> Subject:
        data = {key: value for key in ("dataset", "data_dir") if (value := getattr(self, key)) is not None}
        return Subject(self.arch, self.kwargs, self.input_size, self.classes, self.images_train, data)


@dataclass(frozen=True, kw_only=True)
class _Document(_Subject):
    """A whole document."""

    study: str = setting(about="its name", pattern=NAME)
    about: str = setting("", "one line for its tables")
    holdout: float = setting(
        0.0, "share of the training set kept out of training, for methods to measure on", low=0, below=1
    )
    recipes: dict[str, str | dict[str, Any]] = setting(
        about="by label: a recipe's name, or `{recipe: NAME}` with flags of it, `finetune`, `distill`, `weights`",
        count=(1, 100),
    )
    finetune: Any = setting(
        dict, "how pruned networks are fine-tuned: recipe, authors, full, flags of the recipe, or a list of these"
    )
    distill: Any = setting(
        None, "teacher: none, dense, `{from: dense, alpha: 0.9, temperature: 4}`, or a list of these"
    )
    budgets: tuple[_Budgets, ...] = setting((), "the cost points")
    methods: tuple[_Method, ...] = setting((), "what prunes")
    protocols: tuple[str, ...] = setting(about="names of `thinresnet study protocols`", count=(1, 100), distinct=True)
    steps: int = setting(3, "steps of iterative pruning", low=2, high=1000)
    total_training: str = setting(
        "2x dense", "training cost that protocols of equal total training share", pattern=_TIMES_DENSE
    )
    seeds: tuple[int, ...] = setting(
        (42,), "random seeds, a training each", low=0, high=2**63 - 1, count=(1, 1000), distinct=True
    )
    tiers: dict[str, Any] = setting(dict, "by name: other `seeds` and `epochs`, for `--tier NAME`")
    vary: str = setting(
        VARIES[0],
        "what a random seed varies: all (parent, pruning and fine-tuning), pruning (and fine-tuning, of one parent), "
        "or finetuning alone",
        choices=VARIES,
    )
    folder: str = setting("", "folder of its stages, which several studies may share; its name if not given")
    weights_dir: str | None = setting(
        None, "where the public weights of `weights` are looked for, folders below included"
    )
    measure: _Measure = setting(_Measure, "how networks are timed")
    transfer: _Subject | None = setting(
        None, "another network and dataset that shapes are taken to (protocol transfer)"
    )
    latency_table: str | None = setting(None, "a table of `thinresnet time --table`, seen from the study's folder")


# What may stand where, for whoever documents it.
KEYS: Mapping[str, type[Any]] = {
    "A study": _Document,
    "An entry of budgets": _Budgets,
    "An entry of methods": _Method,
    "measure": _Measure,
    "transfer": _Subject,
    "An entry of tiers": Tier,
}


def read_studies(
    path: Path,
    *,
    protocols: Sequence[str],
    changes: Mapping[str, Any] | None = None,
    weights_dir: str | None = None,
    tier: str = USUAL,
) -> tuple[Study, ...]:
    """The studies of a file; `protocols` are the names there are.

    `changes` goes over every recipe (flags), `weights_dir` before the key of that name; `tier` is one of `tiers`.
    """
    documents = read_documents(path, missing=f"{path}: no such file; baselines/*.yaml are studies")
    if not documents:
        raise InputError(f"{path}: empty; a study has the keys study, arch, recipes and protocols")
    found = []
    for number, given in enumerate(documents, start=1):
        where = f"{path}" if len(documents) == 1 else f"{path}, document {number}"
        document = convert(_Document, at_tier(given, tier, where), where, source="yaml")
        table = _latency_table(document, where, path.parent)
        study = _study(document, where, protocols, changes or {}, table)
        found.append(study if weights_dir is None else replace(study, weights_dir=weights_dir))
    names = [study.name for study in found]
    if (twice := _twice(names)) is not None:
        raise InputError(f"{path}: two documents are called {twice!r}; give each study a name of its own")
    return tuple(found)


def _latency_table(document: _Document, where: str, folder: Path) -> LatencyTable | None:
    """The table that budgets in latency are predicted by."""
    timed = any(entry.latency is not None for entry in document.budgets)
    if timed != (document.latency_table is not None):
        hint = "thinresnet time ARCH --table FILE writes one" if timed else "leave it out, or give such a budget"
        raise InputError(f"{where}: latency_table: is for budgets in latency, and these need it; {hint}")
    return None if document.latency_table is None else read_table(folder / document.latency_table)


def _study(
    document: _Document, where: str, protocols: Sequence[str], changes: Mapping[str, Any], table: LatencyTable | None
) -> Study:
    for name in document.protocols:
        if name not in protocols:
            raise unknown_name(f"{where}: protocols", "protocol", name, protocols)
    points = tuple(_points(document, where))
    pruners = tuple(_pruners(document, where))
    if (twice := _twice([own.label for own in pruners])) is not None:
        raise InputError(f"{where}: methods: {twice!r} is given twice; give one of them a label")
    if (twice := _twice([point.tag for point in points])) is not None:
        raise InputError(f"{where}: budgets: {twice!r} is given twice; leave one out")
    setups = tuple(_setups(document, where, changes))
    tags = [point.tag for point in points]
    for name in (name for setup in setups for way in setup.finetunings for name in way.budgets):
        if name not in tags:
            raise unknown_name(f"{where}: finetune: budgets", "budget", name, tags, "those of the study")
    return Study(
        name=document.study,
        about=document.about,
        holdout=document.holdout,
        setups=setups,
        points=points,
        pruners=pruners,
        protocols=document.protocols,
        steps=document.steps,
        total_training=Fraction(document.total_training.partition("x")[0]),
        seeds=document.seeds,
        timing_batch=document.measure.batch_size,
        timing_runs=document.measure.runs,
        timing_training_batch=document.measure.training_batch_size,
        transfer=document.transfer.subject if document.transfer else None,
        latency_table=table,
        vary=document.vary,
        folder=document.folder,
        weights_dir=document.weights_dir,
    )


def _points(document: _Document, where: str) -> Iterator[CostPoint]:
    side_px = document.input_size[1] if document.input_size else None
    for number, entry in enumerate(document.budgets, start=1):
        try:
            yield entry.point(document.classes, side_px)
        except InputError as error:
            raise InputError(f"{where}: budgets, entry {number}: {error}") from None


def _pruners(document: _Document, where: str) -> Iterator[Pruner]:
    for number, entry in enumerate(document.methods, start=1):
        try:
            for name in entry.protocols:
                if name not in document.protocols:
                    raise unknown_name("protocols", "protocol", name, document.protocols, "those of the study")
            yield entry.pruner
        except InputError as error:
            raise InputError(f"{where}: methods, entry {number}: {error}") from None


def _setups(document: _Document, where: str, changes: Mapping[str, Any]) -> Iterator[TrainingSetup]:
    subject = document.subject
    for label, entry in document.recipes.items():
        given = {"recipe": entry} if isinstance(entry, str) else entry
        try:
            if not NAME[0].fullmatch(label):
                raise InputError(f"a recipe's label is {NAME[1]}")
            name: Any = given.get("recipe")
            if not isinstance(name, str):
                raise InputError("takes a `recipe: NAME`, flags of the recipe, `finetune` and `distill`")
            distillations = read_distillations(given.get("distill", document.distill))
            weights = _weights(given.get("weights"), document.classes)
            flags = {key: value for key, value in given.items() if key not in _OF_SETUPS}
            over = {**flags, **subject.recipe_changes, **_belonging(weights, flags), **changes}
            recipe = recipes.load(name, over)
            finetunings = read_finetunings(recipe, [document.finetune, *_own(given, "finetune")])
            said = {*recipe.differing(), *(flag for own in finetunings for flag in own.flags)}
            if "initial_checkpoint" in said:
                raise InputError("initial_checkpoint: the protocols say what a training starts from; leave it out")
            if any(field.startswith("distill_") for field in said):
                raise InputError("distill_alpha, distill_temperature: say them in `distill: {from: dense, alpha: 0.9}`")
        except InputError as error:
            raise InputError(f"{where}: recipes: {label}: {error}") from None
        yield from (TrainingSetup(label, recipe, finetunings, subject, distill, weights) for distill in distillations)


def _weights(name: Any, classes: int | None) -> PublicWeights | None:
    """The public weights that a recipe's dense parent begins with."""
    if name is None:
        return None
    if not isinstance(name, str):
        raise InputError(f"weights: takes the name of public weights, such as thinresnet20-w16, got {brief(name)}")
    if classes is None:
        raise InputError(f"weights: {name}: give the study the key classes: weights of one network are for several")
    return public_weights.named(name, classes)


def _belonging(weights: PublicWeights | None, flags: Mapping[str, Any]) -> dict[str, Any]:
    """The preprocessing that belongs to weights, which no flag may change."""
    if weights is None:
        return {}
    own = {name: getattr(weights.preprocessing, name) for name in ("mean", "std")}
    for name, value in own.items():
        if name in flags and tuple(flags[name]) != value:
            raise InputError(f"{name}: {weights.network}'s weights were trained with {list(value)}; leave it out")
    return own


def _own(given: Mapping[str, Any], key: str) -> list[Any]:
    return [given[key]] if key in given else []


def _twice(entries: Sequence[Hashable]) -> Hashable | None:
    return next((entry for entry in entries if entries.count(entry) > 1), None)
