"""`distill` of a study: whether trainings have the dense parent as a teacher. Several entries: with and without."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

from thinresnet.convert import brief, convert, setting
from thinresnet.errors import InputError
from thinresnet.recipe import Recipe
from thinresnet.studies.study import Distill

_NONE, _DENSE = "none", "dense"
_FORM = "takes none, dense, {from: dense, alpha: 0.9, temperature: 4}, or a list of these"
_RECIPE = Recipe()


@dataclass(frozen=True)
class _Entry:
    """An entry, without `from`, which is no name that Python has."""

    alpha: float = setting(_RECIPE.distill_alpha, above=0, high=1)
    temperature: float = setting(_RECIPE.distill_temperature, above=0, high=1000)


def read_distillations(given: Any) -> tuple[Distill | None, ...]:
    """Every way of training that is asked for: with a teacher, or without one (None)."""
    entries = list(given) if isinstance(given, (list, tuple)) else [_NONE if given is None else given]
    if not entries:
        raise InputError(f"distill: {_FORM}; leave it out for none")
    found = [_entry(entry) for entry in entries]
    for number, entry in enumerate(found):
        if entry in found[:number]:
            raise InputError(f"distill: {brief(entries[number])} is given twice; leave one out")
    return tuple(_told_apart(found))


def _entry(given: Any) -> Distill | None:
    if given == _NONE:
        return None
    values = {"from": given} if isinstance(given, str) else given
    if not isinstance(values, dict) or values.get("from", _DENSE) != _DENSE:
        raise InputError(f"distill: {_FORM}, got {brief(given)}")
    own = convert(_Entry, {key: value for key, value in values.items() if key != "from"}, "distill", source="yaml")
    return Distill(own.alpha, own.temperature)


def _told_apart(found: list[Distill | None]) -> Iterator[Distill | None]:
    """With several teachers' settings, labels say which."""
    several = sum(entry is not None for entry in found) > 1
    for entry in found:
        if entry is not None and several:
            yield replace(entry, tag=f"{entry.tag}-a{entry.alpha:g}-t{entry.temperature:g}")
        else:
            yield entry
