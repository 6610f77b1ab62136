"""One validator for what comes from outside: a mapping (YAML, JSON, flags) becomes a checked, frozen dataclass.

The dataclass says what is allowed: its annotations the types, `setting` the ranges, choices and lengths. What is not
allowed is an InputError of one line: where, the key, the value, what is allowed, the nearest name. Annotations may be
bool, int, float, str, None, Any, Literal, tuples, lists, mappings with string keys, other such dataclasses, and unions
of these. Standard library only.
"""

from __future__ import annotations

import dataclasses
import functools
import math
import re
import reprlib
import types
import typing
from collections.abc import Callable, Hashable, Iterable, Mapping, Sequence
from dataclasses import MISSING, dataclass
from typing import Any, Literal, TypeVar

from thinresnet.errors import InputError, nearest

# How values arrive: `json` as they are; `yaml`: a number may be a string, as YAML 1.1 reads 5e-3; `flags`: strings.
Source = Literal["json", "yaml", "flags"]
T = TypeVar("T")

NAME = (re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,60}", re.ASCII), "a name of letters, digits, '_', '.' and '-'")
_WORDS: dict[Any, str] = {
    bool: "true or false", int: "an integer", float: "a number", str: "a string", type(None): "null", Any: "any value",
}  # fmt: skip
_MANY: dict[Any, str] = {int: "integers", float: "numbers", str: "strings"}
_NUMBER = re.compile(r"[+-]?[0-9.]+([eE][+-]?[0-9]+)?", re.ASCII)
_MOST_KEYS_NAMED = 24
_LARGEST_INTEGER = 10**30  # more than any count here; Python does not even print those of thousands of digits
_show = reprlib.Repr()
_show.maxstring = _show.maxother = 60
_show.maxlevel = 2


def setting(
    default: Any = MISSING,
    about: str = "",
    *,
    low: float | None = None,
    high: float | None = None,
    above: float | None = None,
    below: float | None = None,
    choices: Sequence[Any] = (),
    count: tuple[int, int] | None = None,
    distinct: bool = False,
    pattern: tuple[re.Pattern[str], str] | None = None,
    lines: bool = False,
    arguments: bool = False,
    check: Callable[[Any], object] | None = None,
    **more: Any,
) -> Any:
    """A dataclass field with its limits; without `default` the key is required, a callable default is a factory.

    Args:
        default: The default, or a function that makes it.
        about: Help, with the unit.
        low, high, above, below: Bounds of numbers, inclusive (low, high) or not (above, below).
        choices: The only values allowed.
        count: Fewest and most entries of a list or mapping.
        distinct: No entry of a list may appear twice.
        pattern: A regular expression that strings match whole, and what to call such a string.
        lines: Strings may have several lines and control characters.
        arguments: The keys of a mapping are names of Python arguments.
        check: Called with the converted value; raises InputError (without the key) where it is not allowed.
        more: Kept in the field's metadata for other readers.
    """
    limits = {
        "low": low, "high": high, "above": above, "below": below, "choices": tuple(choices), "count": count,
        "distinct": distinct, "pattern": pattern, "lines": lines, "arguments": arguments, "check": check,
    }  # fmt: skip
    given: dict[str, Any] = {"default_factory" if callable(default) else "default": default}
    return dataclasses.field(**given, metadata={"about": about, **limits, **more})


@dataclass(frozen=True)
class Field:
    """A field of a dataclass as the validator sees it."""

    name: str
    hint: Any
    default: Any  # MISSING where the key is required
    limits: Mapping[str, Any]

    @property
    def wanted(self) -> str:
        """What the field takes, in words."""
        return _wanted(self.hint, self.limits)

    @property
    def optional(self) -> bool:
        """Whether null is allowed."""
        return type(None) in _alternatives(self.hint)

    @property
    def kind(self) -> Any:
        """The type but for null: `int` for `int | None`, `tuple[int, ...]` for `tuple[int, ...] | None`."""
        return next(one for one in _alternatives(self.hint) if one is not type(None))


def fields_of(cls: type[Any]) -> Mapping[str, Field]:
    """The fields of a dataclass that can be given, by name."""
    return _fields_of(typing.cast(Hashable, cls))


@functools.cache
def _fields_of(cls: Hashable) -> Mapping[str, Field]:
    hints = typing.get_type_hints(cls)
    return {
        one.name: Field(one.name, hints[one.name], _default(one), one.metadata)
        for one in dataclasses.fields(typing.cast(Any, cls))
        if one.init
    }


def convert(
    cls: type[T],
    given: object,
    where: str,
    *,
    source: Source = "json",
    unknown: Literal["refuse", "ignore"] = "refuse",
    word: str = "key",
    hint: str = "",
) -> T:
    """The dataclass that `given` (a mapping) describes, checked; every message begins with `where`.

    Args:
        cls: A dataclass. With a class variable `SHORTHAND = "key"` a string `x` stands for `{key: x}`.
        given: What came from outside.
        where: The file, and the part of it, or the flag.
        source: Whether strings may be read as numbers (`yaml`), and as true, false and none too (`flags`).
        unknown: What to do about keys that `cls` does not have; files of newer versions may hold more.
        word: What a key is called in messages: `key`, `setting`.
        hint: Said after an unknown key, instead of all keys.
    """
    shorthand = getattr(cls, "SHORTHAND", None)
    if shorthand is not None and isinstance(given, str):
        given = {shorthand: given}
    if not isinstance(given, Mapping):
        shape = "an object" if source == "json" else "`key: value` lines"
        raise InputError(f"{_at(where)}takes {shape}{_a_string_for(shorthand)}, got {brief(given)}")
    known = fields_of(cls)
    if unknown == "refuse":
        for key in given:
            if key not in known:
                raise unknown_name(where, word, key, known, hint)
    values: dict[str, Any] = {}
    for name, one in known.items():
        if name in given:
            values[name] = _value(one.hint, one.limits, given[name], _at(where) + name, source)
        elif one.default is MISSING:
            raise InputError(f"{_at(where)}the {word} {name!r} is missing")
    try:
        return cls(**values)
    except InputError as error:  # of __post_init__: what no field can say alone
        raise InputError(f"{_at(where)}{error}") from None


def check_fields(instance: Any, source: Source = "yaml") -> None:
    """Check and convert every field of a frozen dataclass in place, for its `__post_init__`."""
    for name, one in fields_of(type(instance)).items():
        object.__setattr__(instance, name, _value(one.hint, one.limits, getattr(instance, name), name, source))


def one_of(where: str, value: object, allowed: Iterable[Any]) -> None:
    """Refuse what is not one of `allowed`, with the nearest."""
    known = list(allowed)
    # A list cannot be looked up in a set, and True is not 1 here.
    if not any(type(value) is type(one) and value == one for one in known):
        close = nearest(value, [one for one in known if isinstance(one, str)]) if isinstance(value, str) else ""
        named = ", ".join(repr(one) for one in known)
        raise InputError(f"{_at(where)}takes one of {named}, got {brief(value)}{close}")


def unknown_name(where: str, word: str, name: object, known: Iterable[str], hint: str = "") -> InputError:
    """`their.yaml: unknown key 'epohcs'; did you mean 'epochs'? (keys: …)`."""
    names = list(known)
    listed = f"{word}s: {', '.join(names) or 'none'}" if len(names) <= _MOST_KEYS_NAMED else ""
    ending = f" ({hint or listed})" if hint or listed else ""
    return InputError(f"{_at(where)}unknown {word} {brief(name)}{nearest(str(name)[:200], names)}{ending}")


def brief(value: object) -> str:
    """A value as messages show it: on one line and not long."""
    try:
        return _show.repr(value)
    except ValueError:  # Python does not write out integers of thousands of digits
        return "an integer of thousands of digits"


def number(kind: type, text: str) -> Any:
    """The int or float that was written, or None: no `1_000`, no `nan`, no `inf`."""
    if not _NUMBER.fullmatch(text.strip()):
        return None
    try:
        found = kind(text)
    except (ValueError, OverflowError):
        return None
    return found if kind is int or math.isfinite(found) else None  # an integer may be larger than any float


def _value(hint: Any, limits: Mapping[str, Any], value: object, where: str, source: Source) -> Any:
    read = _any_of if len(_alternatives(hint)) > 1 else _of
    found = read(hint, limits, value, where, source)
    if found is not None and (check := limits.get("check")) is not None:
        try:
            check(found)
        except InputError as error:
            raise InputError(f"{where}: {error}") from None
    return found


def _any_of(hint: Any, limits: Mapping[str, Any], value: object, where: str, source: Source) -> Any:
    """The value as the alternative of its own type, or as the first that its text can be read as."""
    alternatives = _alternatives(hint)
    others = [one for one in alternatives if one is not type(None)]
    if len(others) < len(alternatives) and (value is None or (source == "flags" and value == "none")):
        return None
    if len(others) == 1:
        return _of(others[0], limits, value, where, source, optional=True)
    if isinstance(value, str) and source != "json" and (source == "flags" or str not in others):
        for one in sorted(others, key=lambda one: one is str):
            try:
                return _of(one, limits, value, where, source)
            except InputError:
                continue
    for exact in (True, False):
        for one in others:
            if _is_of(one, value, exact):
                return _of(one, limits, value, where, source)
    raise _refusal(where, _wanted(hint, limits), value)


def _of(hint: Any, limits: Mapping[str, Any], value: object, where: str, source: Source, optional: bool = False) -> Any:
    """The value as one type that is no union."""
    origin = typing.get_origin(hint) or hint
    if hint is Any:
        return value
    if origin is Literal:
        one_of(where, value, typing.get_args(hint))
        return value
    if dataclasses.is_dataclass(hint):
        return convert(typing.cast(type[Any], hint), value, where, source=source)
    wanted = functools.partial(_wanted, hint, limits, optional)
    if origin in (tuple, list, Sequence):
        if not isinstance(value, (list, tuple)):
            raise _refusal(where, wanted(), value)
        return _entries(hint, limits, value, where, source)
    if origin in (dict, Mapping):
        if not isinstance(value, Mapping):
            raise _refusal(where, wanted(), value)
        return _items(hint, limits, value, where, source)
    found = _scalar(origin, value, source)
    if isinstance(found, str) and not found.isprintable() and not limits.get("lines"):
        raise _refusal(where, "a string without line breaks and control characters", value)
    if found is None or not _allowed(found, limits):
        close = nearest(value, limits["choices"]) if limits.get("choices") and isinstance(value, str) else ""
        raise _refusal(where, wanted(), value, close)
    return found


def _entries(hint: Any, limits: Mapping[str, Any], value: Sequence[Any], where: str, source: Source) -> Any:
    parts = typing.get_args(hint)
    fixed = typing.get_origin(hint) is tuple and parts[-1] is not Ellipsis
    _check_count(where, (len(parts), len(parts)) if fixed else limits.get("count"), value)
    # timm leaves what stands inside a list as it is, so that a string that looks like a number is none there.
    within: Source = "json" if source == "yaml" and parts[0] in _WORDS else source
    inner = {key: limit for key, limit in limits.items() if key not in ("count", "check", "distinct")}
    plain = parts[0] in _WORDS
    found = [
        _value(
            parts[position] if fixed else parts[0], inner, one,
            where if plain else f"{where}, entry {position + 1}", within,
        )
        for position, one in enumerate(value)
    ]  # fmt: skip
    if limits.get("distinct"):
        twice = next((one for position, one in enumerate(found) if one in found[:position]), None)
        if twice is not None:
            raise InputError(f"{where}: {brief(twice)} stands twice; leave one out")
    return tuple(found) if typing.get_origin(hint) is not list else found


def _items(
    hint: Any, limits: Mapping[str, Any], value: Mapping[Any, Any], where: str, source: Source
) -> dict[str, Any]:
    _check_count(where, limits.get("count"), value)
    of = (typing.get_args(hint) or (str, Any))[1]
    inner = {key: limit for key, limit in limits.items() if key not in ("count", "check", "arguments")}
    found = {}
    for key, one in value.items():
        if not isinstance(key, str) or (limits.get("arguments") and not key.isidentifier()):
            name = "the name of an argument" if limits.get("arguments") else "a string"
            raise InputError(f"{where}: the key {brief(key)} is not {name}")
        found[key] = _value(of, inner, one, f"{where}: {key}", source)
    return found


def _check_count(where: str, count: tuple[int, int] | None, value: object) -> None:
    fewest, most = count or (0, 10**6)
    got = len(typing.cast(typing.Sized, value))
    if not fewest <= got <= most:
        wanted = f"{fewest}" if fewest == most else f"{fewest} to {most}"
        raise InputError(f"{where}: takes {wanted} {'value' if most == 1 else 'values'}, got {got}")


def _scalar(kind: Any, value: object, source: Source) -> Any:
    """The value as a bool, int, float or str; None where it is none."""
    if kind not in (bool, int, float, str):
        raise TypeError(f"convert knows no {kind}")
    if type(value) is kind:
        return value if kind is not float or math.isfinite(typing.cast(float, value)) else None
    if kind is float and type(value) is int:
        try:
            return float(value)
        except OverflowError:
            return None
    if isinstance(value, str) and source != "json" and kind in (int, float):
        return number(kind, value)
    if kind is bool and source == "flags":
        return {"true": True, "false": False}.get(str(value).lower())
    return None


def _allowed(value: Any, limits: Mapping[str, Any]) -> bool:
    if isinstance(value, bool):
        return True
    if limits.get("choices") and value not in limits["choices"]:
        return False
    if isinstance(value, str):
        pattern = limits.get("pattern")
        return not pattern or bool(pattern[0].fullmatch(value))
    if isinstance(value, int) and abs(value) > _LARGEST_INTEGER:
        return False
    low, high, above, below = (limits.get(name) for name in ("low", "high", "above", "below"))
    return (
        (low is None or value >= low)
        and (high is None or value <= high)
        and (above is None or value > above)
        and (below is None or value < below)
    )


def _wanted(hint: Any, limits: Mapping[str, Any], optional: bool = False) -> str:
    alternatives = [one for one in _alternatives(hint) if one is not type(None)]
    if limits.get("choices"):
        words = "one of " + ", ".join(repr(choice) for choice in limits["choices"])
    else:
        bounds = any(one in (int, float) or typing.get_origin(one) is tuple for one in alternatives)
        named = [_in_words(one, limits) for one in alternatives]
        words = ", ".join(named[:-1]) + (" or " if named[1:] else "") + named[-1]
        words = ", ".join([words, *(_bounds(limits) if bounds else ())])
    return words + (", or null" if optional or type(None) in _alternatives(hint) else "")


def _in_words(hint: Any, limits: Mapping[str, Any]) -> str:
    origin = typing.get_origin(hint) or hint
    if origin is Literal:
        return "one of " + ", ".join(repr(one) for one in typing.get_args(hint))
    if origin in (tuple, list, Sequence):
        parts = typing.get_args(hint)
        many = _MANY.get(parts[0], "entries")
        return f"a list of {many}" if parts[-1] is Ellipsis or origin is not tuple else f"{len(parts)} {many}"
    if dataclasses.is_dataclass(hint):
        return "a mapping with the keys " + ", ".join(fields_of(typing.cast(type[Any], hint)))
    if origin is str and limits.get("pattern"):
        return str(limits["pattern"][1])
    return _WORDS.get(origin, "a mapping of names to values")


def _bounds(limits: Mapping[str, Any]) -> Iterable[str]:
    for name, words in (("low", "at least"), ("above", "above"), ("high", "at most"), ("below", "below")):
        if limits.get(name) is not None:
            yield f"{words} {limits[name]:g}"


def _refusal(where: str, wanted: str, value: object, ending: str = "") -> InputError:
    return InputError(f"{where}: takes {wanted}, got {brief(value)}{ending}")


def _is_of(hint: Any, value: object, exact: bool) -> bool:
    origin = typing.get_origin(hint) or hint
    if hint is Any:
        return not exact
    if origin is Literal:
        return value in typing.get_args(hint)
    if origin in (tuple, list, Sequence):
        return isinstance(value, (list, tuple))
    if origin in (dict, Mapping) or dataclasses.is_dataclass(hint):
        return isinstance(value, Mapping)
    return type(value) is origin or (not exact and origin is float and type(value) is int)


@functools.cache
def _alternatives(hint: Any) -> tuple[Any, ...]:
    return typing.get_args(hint) if typing.get_origin(hint) in (types.UnionType, typing.Union) else (hint,)


def _default(one: dataclasses.Field[Any]) -> Any:
    if one.default is not MISSING:
        return one.default
    return MISSING if one.default_factory is MISSING else one.default_factory()


def _at(where: str) -> str:
    return f"{where}: " if where else ""


def _a_string_for(key: str | None) -> str:
    return f", or a string for {key!r}" if key else ""
