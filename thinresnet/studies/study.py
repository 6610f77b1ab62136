"""What a study is: one YAML document that says what is compared, read and checked.

A file may hold several documents (`---` between them), each a study of its own. A study names an architecture, recipes
(each with a dense parent of its own), points of comparison (budgets, or a paper's list of channel counts), pruning
methods, protocols and seeds. What is not known is refused with the nearest name.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from thinresnet import recipe as recipes
from thinresnet.budget import QUANTITIES, Budget
from thinresnet.errors import InputError, nearest
from thinresnet.pruning.initialisation.registry import Criterion, check_grows, criterion
from thinresnet.pruning.registry import SCOPES, Method, method
from thinresnet.recipe import Recipe

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,60}", re.ASCII)
_LARGEST_FILE = 262_144
_SUBJECT = ("arch", "kwargs", "input_size", "dataset", "data_dir", "classes", "images_train")
_KEYS = (
    "study", "about", *_SUBJECT, "holdout", "recipes", "tune", "budgets", "methods", "criteria", "protocols", "steps",
    "seeds", "measure", "transfer",
)  # fmt: skip
_REQUIRED = ("study", "arch", "recipes", "protocols")


@dataclass(frozen=True)
class Point:
    """Where networks are compared: within these budgets, or at the cost of a paper's list of channel counts."""

    budgets: tuple[Budget, ...] = ()
    to: str | None = None

    @property
    def tag(self) -> str:
        """`macs50pct`, `R56-A`: for names of folders."""
        if self.to is not None:
            return self.to
        return "-".join(budget.tag for budget in self.budgets)

    @property
    def text(self) -> str:
        """`macs 50%`, `R56-A`: for people."""
        return self.to or ", ".join(f"{budget.quantity} {budget.text}" for budget in self.budgets)


@dataclass(frozen=True)
class Pruner:
    """A pruning method as this study uses it."""

    label: str
    method: Method
    settings: Mapping[str, Any]
    scope: str | None
    stream: bool
    protocols: tuple[str, ...]  # that it takes part in; none: all


@dataclass(frozen=True)
class Cropper:
    """A criterion at initialisation as this study uses it."""

    label: str
    criterion: Criterion
    settings: Mapping[str, Any]
    grow: bool  # PreConfig: layers may have more channels than they have
    protocols: tuple[str, ...]  # that it takes part in; none: all


@dataclass(frozen=True)
class Subject:
    """An architecture and the images that it is trained on."""

    arch: str
    kwargs: Mapping[str, Any]
    input_size: tuple[int, int, int] | None
    classes: int | None  # what the data set has, used where the images are not at hand
    images_train: int | None
    data: Mapping[str, Any]  # dataset and data_dir, where the recipe's are not meant


@dataclass(frozen=True)
class Regime:
    """A way of training a subject: the recipe of the dense parent and of all from scratch, and that of tuning."""

    label: str
    recipe: Recipe
    tuning: Recipe
    subject: Subject


@dataclass(frozen=True)
class Study:
    """A checked document."""

    name: str
    about: str
    holdout: float
    regimes: tuple[Regime, ...]
    points: tuple[Point, ...]
    pruners: tuple[Pruner, ...]
    croppers: tuple[Cropper, ...]
    protocols: tuple[str, ...]
    steps: int  # of iterative pruning
    seeds: tuple[int, ...]
    timing_batch: int
    timing_runs: int
    transfer: Subject | None  # where guided pruning takes what it found


def read_studies(
    path: Path, *, protocols: Sequence[str], changes: Mapping[str, Any] | None = None
) -> tuple[Study, ...]:
    """The studies of a file; `protocols` are the names there are, `changes` goes over every recipe (flags)."""
    documents = _documents(path)
    found = []
    for number, document in enumerate(documents, start=1):
        where = f"{path}" if len(documents) == 1 else f"{path}, document {number}"
        found.append(_study(document, where, protocols, changes or {}))
    names = [study.name for study in found]
    if twice := next((name for name in names if names.count(name) > 1), None):
        raise InputError(f"{path}: two documents are called {twice!r}; give each study a name of its own")
    return tuple(found)


def _documents(path: Path) -> list[Any]:
    try:
        if path.stat().st_size > _LARGEST_FILE:
            raise InputError(f"{path}: larger than {_LARGEST_FILE:,} bytes; a study is a short YAML file")
        found = list(yaml.load_all(path.read_text(encoding="utf-8"), Loader=recipes.PlainLoader))
    except FileNotFoundError:
        raise InputError(f"{path}: no such file; baselines/*.yaml are studies") from None
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        raise InputError(f"{path}{f' line {mark.line + 1}' if mark else ''}: not a study: {error.problem}") from None
    except RecursionError:
        raise InputError(f"{path}: nested too deeply; a study is a short YAML file") from None
    except (yaml.YAMLError, UnicodeDecodeError, OSError) as error:
        raise InputError(f"{path}: cannot be read: {' '.join(str(error).split())[:200]}") from None
    if not found:
        raise InputError(f"{path}: empty; a study has the keys {', '.join(_REQUIRED)}")
    return found


def _study(document: Any, where: str, protocols: Sequence[str], changes: Mapping[str, Any]) -> Study:
    values = _Values(document, where)
    values.only(_KEYS)
    for key in _REQUIRED:
        values.need(key)
    points = tuple(values.each("budgets", _point))
    chosen = tuple(values.each("protocols", lambda entry: _protocol(entry, protocols)))
    pruners = tuple(values.each("methods", lambda entry: _pruner(entry, chosen)))
    croppers = tuple(values.each("criteria", lambda entry: _cropper(entry, chosen)))
    labels = [own.label for own in (*pruners, *croppers)]
    _once(where, "methods and criteria", labels, "give one of them a label")
    _once(where, "budgets", [point.tag for point in points], "leave one out")
    _once(where, "protocols", chosen, "leave one out")
    seeds = tuple(values.each("seeds", _whole, default=[42]))
    _once(where, "seeds", seeds, "leave one out")
    measure = values.mapping("measure", ("batch_size", "runs"))
    transfer = None
    if "transfer" in values.given:
        other = _Values(values.given["transfer"], f"{where}: transfer")
        other.only(_SUBJECT)
        transfer = _subject(other)
    return Study(
        name=values.name("study"),
        about=values.text("about", ""),
        holdout=values.share("holdout"),
        regimes=tuple(_regimes(values, _subject(values), changes)),
        points=points,
        pruners=pruners,
        croppers=croppers,
        protocols=chosen,
        steps=values.whole("steps", 3, 2) or 3,
        seeds=seeds,
        timing_batch=measure.get("batch_size", 1),
        timing_runs=measure.get("runs", 20),
        transfer=transfer,
    )


class _Values:
    """A mapping from outside: every message begins with where it stands."""

    def __init__(self, given: Any, where: str) -> None:
        if not isinstance(given, dict) or not all(isinstance(key, str) for key in given):
            raise InputError(f"{where}: takes `key: value` lines, got {given!r:.60}")
        self.given: dict[str, Any] = given
        self.where = where

    def only(self, known: Sequence[str]) -> None:
        for key in self.given:
            if key not in known:
                raise InputError(f"{self.where}: unknown key {key!r}{nearest(key, known)} (keys: {', '.join(known)})")

    def need(self, key: str) -> None:
        if self.given.get(key) in (None, "", [], {}):
            raise InputError(f"{self.where}: the key {key!r} is missing")

    def text(self, key: str, default: str | None = None) -> str:
        found = self.given.get(key, default)
        if not isinstance(found, str) or not found.isprintable():
            raise InputError(f"{self.where}: {key} takes a text on one line, got {found!r:.60}")
        return found

    def name(self, key: str) -> str:
        return _named(self.text(key), f"{self.where}: {key}")

    def whole(self, key: str, default: int | None, low: int) -> int | None:
        found = self.given.get(key, default)
        if found is not None and (type(found) is not int or found < low):
            raise InputError(f"{self.where}: {key} takes a whole number of at least {low}, got {found!r:.60}")
        return found

    def share(self, key: str) -> float:
        found = self.given.get(key, 0.0)
        if isinstance(found, bool) or not isinstance(found, (int, float)) or not 0 <= found < 1:
            raise InputError(f"{self.where}: {key} takes a share, at least 0 and below 1, got {found!r:.60}")
        return float(found)

    def flag(self, key: str) -> bool:
        found = self.given.get(key, False)
        if not isinstance(found, bool):
            raise InputError(f"{self.where}: {key} is true or false, got {found!r:.60}")
        return found

    def mapping(self, key: str, known: Sequence[str] = ()) -> dict[str, Any]:
        inner = _Values(self.given.get(key, {}), f"{self.where}: {key}")
        if known:
            inner.only(known)
            for name in known:
                inner.whole(name, None, 1)
        return inner.given

    def each(self, key: str, read: Callable[[Any], Any], default: Any = ()) -> list[Any]:
        """The entries of a list."""
        entries = self.given.get(key, default)
        if not isinstance(entries, (list, tuple)):
            raise InputError(f"{self.where}: {key} takes a list, got {entries!r:.60}")
        found = []
        for number, entry in enumerate(entries, start=1):
            try:
                found.append(read(entry))
            except InputError as error:
                raise InputError(f"{self.where}: {key}, entry {number}: {error}") from None
        return found


def _named(text: str, where: str) -> str:
    if not _NAME.fullmatch(text):
        raise InputError(f"{where} takes a name of letters, digits, '_', '.' and '-', got {text!r:.60}")
    return text


def _whole(entry: Any) -> int:
    if type(entry) is not int or entry < 0:
        raise InputError(f"takes a whole number of at least 0, got {entry!r:.60}")
    return entry


def _protocol(entry: Any, known: Sequence[str]) -> str:
    if entry not in known:
        raise InputError(f"unknown protocol {entry!r:.60}{nearest(str(entry), known)} (all: {', '.join(known)})")
    return str(entry)


def _point(entry: Any) -> Point:
    values = _Values(entry, "a budget")
    values.only((*QUANTITIES, "to"))
    if "to" in values.given:
        if len(values.given) > 1:
            raise InputError("`to` says the whole shape; leave out the budgets beside it")
        return Point(to=values.name("to"))
    if not values.given:
        raise InputError("give a budget (macs: 50%, params: 0.5M) or a list of counts (to: R56-A)")
    return Point(tuple(Budget.parse(key, values.given[key]) for key in QUANTITIES if key in values.given))


def _pruner(entry: Any, protocols: Sequence[str]) -> Pruner:
    values = _Values({"method": entry} if isinstance(entry, str) else entry, "a method")
    values.only(("method", "set", "scope", "stream", "label", "protocols"))
    values.need("method")
    name, settings = values.text("method"), values.mapping("set")
    scope = values.given.get("scope")
    if scope is not None and scope not in SCOPES:
        raise InputError(f"scope is one of {', '.join(SCOPES)}, got {scope!r:.60}")
    label = values.name("label") if "label" in values.given else name
    own = values.each("protocols", lambda one: _protocol(one, protocols))
    return Pruner(label, method(name, settings), settings, scope, values.flag("stream"), tuple(own))


def _cropper(entry: Any, protocols: Sequence[str]) -> Cropper:
    values = _Values({"criterion": entry} if isinstance(entry, str) else entry, "a criterion")
    values.only(("criterion", "set", "label", "preconfig", "protocols"))
    values.need("criterion")
    name, settings, grow = values.text("criterion"), values.mapping("set"), values.flag("preconfig")
    found = criterion(name, settings)
    if grow:
        check_grows(found, "preconfig")
    label = values.name("label") if "label" in values.given else f"{name}-preconfig" if grow else name
    own = values.each("protocols", lambda one: _protocol(one, protocols))
    return Cropper(label, found, settings, grow, tuple(own))


def _subject(values: _Values) -> Subject:
    size = values.given.get("input_size")
    return Subject(
        arch=values.text("arch"),
        kwargs=values.mapping("kwargs"),
        input_size=tuple(size) if isinstance(size, list) else size,
        classes=values.whole("classes", None, 1),
        images_train=values.whole("images_train", None, 1),
        data={key: values.text(key) for key in ("dataset", "data_dir") if key in values.given},
    )


def _regimes(values: _Values, subject: Subject, changes: Mapping[str, Any]) -> Iterator[Regime]:
    for label, entry in values.mapping("recipes").items():
        where = f"{values.where}: recipes: {label}"
        own = _Values({"recipe": entry} if isinstance(entry, str) else entry, where)
        own.need("recipe")
        flags = {key: value for key, value in own.given.items() if key not in ("recipe", "tune")}
        tune = {**values.mapping("tune"), **own.mapping("tune")}
        over = {**flags, **training(subject), **changes}
        try:
            recipe = recipes.load(own.text("recipe"), over)
            tuning = recipes.load(own.text("recipe"), {**over, **tune})
        except InputError as error:
            raise InputError(f"{where}: {error}") from None
        yield Regime(_named(str(label), where), recipe, tuning, subject)


def training(subject: Subject) -> dict[str, Any]:
    """What of a recipe follows the subject, whichever the recipe was written for."""
    return {"model": subject.arch, "model_kwargs": {}, "num_classes": None, **subject.data}


def _once(where: str, key: str, entries: Sequence[Any], what: str) -> None:
    if twice := next((entry for entry in entries if list(entries).count(entry) > 1), None):
        raise InputError(f"{where}: {key}: {twice!r} stands twice; {what}")
