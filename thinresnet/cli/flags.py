"""The fields of a recipe as flags of argparse: names, types, help and defaults come from the fields."""

from __future__ import annotations

import argparse
import ast
import functools
import typing
from collections.abc import Callable
from typing import Any

from thinresnet.convert import Field, brief, fields_of, number
from thinresnet.recipe import GROUPS, Recipe


def add_flags(parser: argparse.ArgumentParser, recipe: Recipe | None = None) -> None:
    """Every field as a flag, by group; `recipe` is where the defaults that the help shows come from."""
    shown = recipe or Recipe()
    for group, title in GROUPS.items():
        section = parser.add_argument_group(title)
        for name, entry in fields_of(Recipe).items():
            if entry.limits["group"] == group:
                _add_flag(section, entry, getattr(shown, name))


def overrides_from(namespace: argparse.Namespace) -> dict[str, object]:
    """The fields that were given as flags."""
    return {name: value for name, value in vars(namespace).items() if name in fields_of(Recipe)}


def _add_flag(section: argparse._ArgumentGroup, entry: Field, shown: object) -> None:
    also = entry.limits["also"]
    flags = [*(flag for flag in also if not flag.startswith("--")), "--" + entry.name.replace("_", "-")]
    flags += [flag for flag in also if flag.startswith("--")]
    given: dict[str, Any] = {"dest": entry.name, "default": argparse.SUPPRESS}
    given["help"] = f"{entry.limits['about']} (default: {_as_flag(shown)})".replace("%", "%%")
    origin = typing.get_origin(entry.kind) or entry.kind
    kind = typing.get_args(entry.kind)[0] if origin is tuple else origin
    if kind is bool and entry.name.startswith("no_"):  # argparse would take its own name for the denial of another
        section.add_argument(*flags, f"--no-{flags[-1][2:]}", action=_NoSomething, nargs=0, **given)
    elif kind is bool:
        section.add_argument(*flags, action=argparse.BooleanOptionalAction, **given)
    elif kind is dict:
        section.add_argument(*flags, nargs="*", action=_KeyValues, metavar="KEY=VALUE", **given)
    else:
        read: Callable[[str], object] = str if kind is str else functools.partial(_flag_number, kind)
        metavar = {int: "N", float: "X", str: "TEXT"}[kind]
        bare = entry.limits.get("bare")  # what the flag means without a value
        nargs = "+" if origin is tuple else None if bare is None else "?"
        section.add_argument(*flags, type=read, metavar=metavar, nargs=nargs, const=bare, **given)


def _flag_number(kind: type, text: str) -> object:
    found = number(kind, text)
    if found is None:
        raise argparse.ArgumentTypeError(f"takes {'an integer' if kind is int else 'a number'}, got {brief(text)}")
    return found


class _NoSomething(argparse.Action):
    """A flag whose name begins with `no`, and its denial `--no-no-…`."""

    def __call__(
        self, parser: argparse.ArgumentParser, namespace: argparse.Namespace, values: Any, option: str | None = None
    ) -> None:
        setattr(namespace, self.dest, option == self.option_strings[0])


class _KeyValues(argparse.Action):
    """`width=0.5 interior=true` as a mapping; what is no Python literal is a string."""

    def __call__(
        self, parser: argparse.ArgumentParser, namespace: argparse.Namespace, values: Any, option: str | None = None
    ) -> None:
        found = {}
        for pair in values:
            key, equals, text = pair.partition("=")
            if not equals:
                parser.error(f"argument {option}: takes key=value, got {brief(pair)}")
            found[key] = _literal(text)
        setattr(namespace, self.dest, found)


def _literal(text: str) -> object:
    if text.lower() in ("true", "false"):
        return text.lower() == "true"
    try:
        return ast.literal_eval(text)
    except (ValueError, SyntaxError, RecursionError, MemoryError):
        return text


def _as_flag(value: object) -> str:
    if value is None or value in ("", {}):
        return "none"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, dict):
        return " ".join(f"{key}={item}" for key, item in value.items())
    if isinstance(value, (list, tuple)):
        return " ".join(_as_flag(item) for item in value)
    return f"{value:.6g}" if isinstance(value, float) else str(value)
