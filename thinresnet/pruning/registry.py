"""What a pruning method is: one interface, one registry.

A method is a frozen dataclass whose fields are its settings. It says what scores (`scores`), what trains while pruning
(`train`) and what is removed (`run`); a criterion overrides `scores` alone. Its docstring says which paper's definition
it is, and its first line is what `thinresnet prune --list` shows.
"""

from __future__ import annotations

import dataclasses
import importlib
import inspect
import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, ClassVar, TypeVar, get_type_hints

import numpy as np

from thinresnet.errors import InputError, nearest

if TYPE_CHECKING:
    from torch import Tensor, nn

    from thinresnet.networks import Network
    from thinresnet.pruning.job import Job

Scores = np.ndarray[Any, np.dtype[np.float64]]
NEEDS = ("data", "gradients", "training")
SCOPES = ("layer", "global")
# The files of this room that hold methods.
_MODULES = (
    "norms",
    "fpgm",
    "taylor",
    "fisher",
    "slimming",
    "group_norm",
    "thinet",
    "regression",
    "sfp",
    "sss",
    "magnitude",
)


@dataclass(frozen=True)
class Pruned:
    """What came out: a smaller network with its weights, or (with `masks`) the same one with weights set to zero."""

    network: Network
    model: nn.Module
    kept: Mapping[str, list[int]]  # per group, indices among its channels; empty where no channels were chosen
    masks: Mapping[str, Tensor] | None = (
        None  # per parameter: which weights are left; the network's cost is the dense one
    )
    notes: Mapping[str, Any] = field(default_factory=dict)  # what the method has to say, as JSON values


class Method:
    """A pruning method; subclasses are frozen dataclasses, registered under their name."""

    name: ClassVar[str]
    paper: ClassVar[str]
    needs: ClassVar[frozenset[str]] = frozenset()  # of NEEDS
    scope: ClassVar[str] = "layer"  # by default: the same fraction of every group, or one ranking of all channels
    serves: ClassVar[str] = "any network"
    removes: ClassVar[str] = "channels"  # or blocks, or weights (masks)
    rewinds: ClassVar[bool] = False  # whether the weights that come out are those that training began with

    def check(self, job: Job) -> None:
        """Refuse (InputError) a network that the method cannot serve."""

    def train(self, job: Job) -> None:
        """What trains while pruning: changes `job.model` in place."""

    def scores(self, job: Job) -> Scores:
        """One figure a channel: the larger, the longer it is kept."""
        raise NotImplementedError(f"{type(self).__name__} has neither scores nor a run of its own")

    def run(self, job: Job) -> Iterator[Pruned]:
        """What is removed: one smaller network for each of the job's targets, in their order."""
        self.train(job)
        scores = job.checked(self.scores(job))
        for target in job.targets:
            yield job.cut(target.select(job.channels, job.movable, scores))


METHODS: dict[str, type[Method]] = {}
Kind = TypeVar("Kind", bound=type[Method])


def register(kind: Kind) -> Kind:
    """Make a method known by its name."""
    if kind.name in METHODS:
        raise ValueError(f"the method {kind.name!r} is registered twice: {METHODS[kind.name]} and {kind}")
    unknown = set(kind.needs) - set(NEEDS)
    if unknown or kind.scope not in SCOPES or not inspect.getdoc(kind):
        raise ValueError(f"the method {kind.name!r} needs {set(kind.needs)}, has scope {kind.scope!r} and a docstring?")
    METHODS[kind.name] = kind
    return kind


def methods() -> dict[str, type[Method]]:
    """All methods by name."""
    for module in _MODULES:
        importlib.import_module(f"thinresnet.pruning.{module}")
    return dict(sorted(METHODS.items()))


def method(name: str, settings: Mapping[str, Any] | None = None) -> Method:
    """The method of this name with these settings (values or text); what is not known is refused."""
    known = methods()
    if name not in known:
        raise InputError(f"prune: unknown method {name!r}{nearest(name, known)} (all: {', '.join(known)})")
    chosen: Method = configured(known[name], f"prune {name}", settings)
    return chosen


def configured(kind: type[Any], where: str, settings: Mapping[str, Any] | None) -> Any:
    """A dataclass with these settings (values or text); what is not known is refused, `where` begins the message."""
    fields = {one.name: one for one in dataclasses.fields(kind)}
    values = {}
    hints = get_type_hints(kind)
    for key, value in (settings or {}).items():
        if key not in fields:
            allowed = ", ".join(fields) or "none"
            raise InputError(f"{where}: unknown setting {key!r}{nearest(key, fields)} (settings: {allowed})")
        values[key] = _convert(where, key, hints[key], value)
    return kind(**values)


def summary(what: object) -> str:
    """The first line of a docstring, which is what lists show."""
    return str(inspect.getdoc(what)).splitlines()[0]


def facts(kind: type[Method]) -> dict[str, Any]:
    """What there is to know about a method before using it, as JSON values."""
    return {
        "method": kind.name,
        "does": summary(kind),
        "paper": kind.paper,
        "removes": kind.removes,
        "needs": sorted(kind.needs),
        "scope": kind.scope,
        "serves": kind.serves,
        "settings": {one.name: one.default for one in dataclasses.fields(kind)},  # type: ignore[arg-type]  # as above
    }


def in_range(name: str, key: str, value: float, low: float, high: float, *, verb: str = "prune") -> None:
    """Refuse a setting outside of its range; for the `__post_init__` of a method."""
    if not low <= value <= high:
        raise InputError(f"{verb} {name}: {key} is {value:g}; it is {low:g} to {high:g}")


def _convert(where: str, key: str, hint: Any, value: Any) -> Any:
    """Text, or a value, as the type of a setting."""
    kinds = [kind for kind in (int, float, bool, str) if kind is hint or kind in getattr(hint, "__args__", ())]
    optional = type(None) in getattr(hint, "__args__", ())
    if optional and value in (None, "none"):
        return None
    kind = kinds[0]
    words: dict[Any, bool] = {"true": True, "false": False, True: True, False: False}
    try:
        if kind is bool:
            return words[value]
        if isinstance(value, bool):
            raise ValueError
        converted = kind(value)
        if isinstance(converted, float) and not math.isfinite(converted):
            raise ValueError
    except (ValueError, TypeError, KeyError):
        kind_name = {int: "a whole number", float: "a number", bool: "true or false", str: "text"}[kind]
        raise InputError(f"{where}: {key} is {value!r}; it is {kind_name}") from None
    return converted
