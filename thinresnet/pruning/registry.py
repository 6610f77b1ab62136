"""The one list of methods: found in the files of this package, or named on the command line, and known nowhere else.

A method of one's own is one file: put into this package it is found there; kept outside it is asked for by
`--method path/to/file.py:name`, or by its name if an installed package declares it as an entry point of the group
`thinresnet.methods`. Nothing outside this package is executed unless the command line asks for it: a study, or any
other file, can name the package's own methods only.
"""

from __future__ import annotations

import functools
import importlib
import importlib.util
import inspect
import pkgutil
import sys
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import MISSING
from importlib.metadata import EntryPoint, entry_points
from pathlib import Path
from types import ModuleType
from typing import Any

from thinresnet.convert import Field, convert, fields_of, unknown_name
from thinresnet.errors import InputError, nearest
from thinresnet.pruning.method import NEEDS, SCOPES, WHEN, Method, published_rows, summary

PACKAGE = "thinresnet.pruning"
GROUP = "thinresnet.methods"


@functools.cache
def methods() -> dict[str, type[Method]]:
    """The package's own methods by name."""
    paths = importlib.import_module(PACKAGE).__path__
    modules = (importlib.import_module(found.name) for found in pkgutil.walk_packages(paths, f"{PACKAGE}."))
    return by_name(kind for module in modules for kind in methods_in(module))


def method(name: str, settings: Mapping[str, Any] | None = None) -> Method:
    """The package's own method of this name with these settings (values or text); what is not known is refused."""
    return configured(found(name), settings)


def found(name: str) -> type[Method]:
    """The package's own method of this name."""
    known = methods()
    if name not in known:
        now = next((f"it is {kind.name} now; " for kind in known.values() if name in kind.formerly), "")
        raise unknown_name("prune", "method", name, known, f"{now}all: {', '.join(known)}")
    return known[name]


def asked_for(text: str) -> type[Method]:
    """The method that a command line names with `--method`: `path/to/file.py:name`, or an entry point, or our own."""
    path, colon, name = text.rpartition(":")
    if colon or text.endswith(".py"):
        return _from_file(Path(path or name), name if colon else "")
    if text in methods():
        return methods()[text]
    points = {point.name: point for point in declared()}
    if text not in points:
        known = [*methods(), *points]
        raise InputError(
            f"--method {text}: neither a method of thinresnet nor an entry point of the group {GROUP}"
            f"{nearest(text, known)}; for a file write path/to/file.py:NAME"
        )
    kind = points[text].load()
    if not (inspect.isclass(kind) and issubclass(kind, Method)):
        raise InputError(f"--method {text}: the entry point {points[text].value} is no subclass of {PACKAGE}.Method")
    return by_name([kind])[kind.name]


def declared() -> Iterable[EntryPoint]:
    """The methods that installed packages declare; none of them is imported here."""
    return entry_points(group=GROUP)


def configured(kind: type[Method], settings: Mapping[str, Any] | None = None) -> Method:
    """A method with these settings (values or text); what is not known is refused."""
    return convert(kind, settings or {}, f"prune {kind.name}", source="flags", word="setting")


def by_name(kinds: Iterable[type[Method]]) -> dict[str, type[Method]]:
    """Methods by name, sorted; one that says too little about itself, or has a name twice, is a mistake in its code."""
    found: dict[str, type[Method]] = {}
    for kind in kinds:
        if found.setdefault(kind.name, kind) is not kind:
            raise ValueError(f"two methods are called {kind.name!r}: {found[kind.name]} and {kind}")
        _check(kind)
    return dict(sorted(found.items()))


def methods_in(module: ModuleType) -> Iterator[type[Method]]:
    """The methods that a module defines: subclasses with a name; those without are what several share."""
    for kind in vars(module).values():
        is_own = inspect.isclass(kind) and issubclass(kind, Method) and kind.__module__ == module.__name__
        if is_own and "name" in vars(kind):
            yield kind


def facts(kind: type[Method]) -> dict[str, Any]:
    """What there is to know about a method before using it, as JSON values."""
    return {
        "method": kind.name,
        "when": kind.when,
        "does": summary(kind),
        "paper": kind.paper,
        "reconstruction": kind.reconstruction,
        "removes": kind.removes,
        "needs": sorted(kind.needs, key=NEEDS.index),
        "scope": kind.scope,
        "stream": kind.stream,
        "finetunes": kind.finetunes,
        "serves": kind.serves,
        "preconfig": kind.grows,
        "settings": {name: one.default for name, one in fields_of(kind).items()},
        "takes": {name: _takes(one) for name, one in fields_of(kind).items()},
        "published": published_rows(kind),
    }


def _takes(one: Field) -> str:
    """What a setting takes, and what it is about."""
    return "; ".join(text for text in (one.wanted, one.limits.get("about")) if text)


def _check(kind: type[Method]) -> None:
    """A method is a frozen dataclass that says what it is."""
    parameters = getattr(kind, "__dataclass_params__", None)
    if parameters is None or not parameters.frozen:
        raise ValueError(f"the method {kind.name!r} is no frozen dataclass (@dataclass(frozen=True))")
    if not getattr(kind, "paper", "") or not inspect.getdoc(kind):
        raise ValueError(f"the method {kind.name!r} has no `paper`, or no docstring")
    if any(one.default is MISSING for one in fields_of(kind).values()):
        raise ValueError(f"the method {kind.name!r} has a setting without a default")
    if set(kind.needs) - set(NEEDS) or kind.scope not in SCOPES or kind.when not in WHEN:
        raise ValueError(f"the method {kind.name!r} needs {set(kind.needs)}, has scope {kind.scope!r}, {kind.when!r}")


def _from_file(path: Path, name: str) -> type[Method]:
    """The method of this name in a Python file of the user's own."""
    where = f"--method {path}"
    if path.suffix != ".py" or not path.is_file():
        raise InputError(f"{where}: no such Python file; write path/to/file.py:NAME")
    module_name = f"thinresnet_method_{path.stem}"
    spec = importlib.util.spec_from_file_location(module_name, path)
    assert spec is not None, "a .py file has a loader"
    assert spec.loader is not None, "a .py file has a loader"
    module = sys.modules[module_name] = importlib.util.module_from_spec(spec)  # dataclasses look their module up
    try:
        spec.loader.exec_module(module)
        found = by_name(methods_in(module))
    except Exception as error:
        del sys.modules[module_name]
        raise InputError(f"{where}: {type(error).__name__}: {error}".replace("\n", " ")) from error
    if name not in found:
        has = f"it has {', '.join(found)}" if found else f"it defines no subclass of {PACKAGE}.Method with a name"
        raise InputError(f"{where}:{name}: no such method{nearest(name, found)}; {has}")
    return found[name]
