"""YAML files that may come from a stranger: plain values only, of bounded size, refused in one line."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import yaml

from thinresnet.convert import brief
from thinresnet.errors import InputError
from thinresnet.files import read_bytes

LARGEST_BYTES = 262_144
# What this package's own recipes look like: comments, `key: value` and `- value` of plain words and numbers. On such a
# text the parser in C, ten times as fast, says what the one in Python says; of others it takes what that one refuses.
_VALUE = r"(?:''|\{\}|\[\]|(?:-(?=[0-9.]))?[A-Za-z0-9_.][A-Za-z0-9_.%+/-]*)"
_SIMPLE = re.compile(rf"(?:(?:#[ -~]*| *[A-Za-z_][A-Za-z0-9_]*:(?: {_VALUE})?| *- {_VALUE})?\n)*", re.ASCII)
MOST_DOCUMENTS = 1_000


class PlainLoader(yaml.SafeLoader):
    """Plain YAML without aliases (which can grow without bound) and without a key given twice."""

    def compose_node(self, parent: yaml.Node | None, index: int) -> yaml.Node | None:
        _refuse_alias(self)
        return super().compose_node(parent, index)

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        _refuse_twins(node)
        return super().construct_mapping(node, deep=deep)


class StringLoader(yaml.BaseLoader):
    """The same with every value a string: 76.10 stays `76.10`."""

    def compose_node(self, parent: yaml.Node | None, index: int) -> yaml.Node | None:
        _refuse_alias(self)
        return super().compose_node(parent, index)

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        _refuse_twins(node)
        return super().construct_mapping(node, deep=deep)


class _SimpleLoader(yaml.CSafeLoader if yaml.__with_libyaml__ else PlainLoader):  # type: ignore[misc]
    """`PlainLoader` for simple texts, which have no aliases; what it refuses is for `PlainLoader` to say."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        _refuse_twins(node)
        return dict(super().construct_mapping(node, deep=deep))


def _refuse_alias(loader: Any) -> None:
    if loader.check_event(yaml.AliasEvent):
        raise yaml.MarkedYAMLError(problem="an alias (*name)", problem_mark=loader.peek_event().start_mark)


def _refuse_twins(node: yaml.MappingNode) -> None:
    seen = set()
    for key, _ in node.value:
        if key.value.__hash__ is not None and (key.tag, key.value) in seen:
            raise yaml.MarkedYAMLError(problem=f"the key {brief(key.value)} twice", problem_mark=key.start_mark)
        seen.add((key.tag, key.value if isinstance(key.value, str) else id(key)))


def _refuse_surrogates(value: Any) -> None:
    """An escape such as `\\ud800` makes a string that no file can hold."""
    if isinstance(value, str):
        value.encode()
    elif isinstance(value, dict):
        for key, own in value.items():
            _refuse_surrogates(key)
            _refuse_surrogates(own)
    elif isinstance(value, (list, tuple, set)):
        for own in value:
            _refuse_surrogates(own)


def parse_documents(text: str, where: str, *, strings: bool = False) -> list[Any]:
    """The documents of a YAML text; with `strings` no value becomes a number, a date or null."""
    if not strings and _SIMPLE.fullmatch(text):
        try:
            return list(yaml.load_all(text, Loader=_SimpleLoader))
        except (yaml.YAMLError, ValueError):
            pass
    found = []
    try:
        for document in yaml.load_all(text, Loader=StringLoader if strings else PlainLoader):
            _refuse_surrogates(document)
            found.append(document)
            if len(found) > MOST_DOCUMENTS:
                raise InputError(f"{where}: more than {MOST_DOCUMENTS:,} documents")
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        at = f", line {mark.line + 1}" if mark else ""
        raise InputError(f"{where}{at}: not plain YAML: {_one_line(error.problem or error)}") from None
    except RecursionError:
        raise InputError(f"{where}: nested too deeply") from None
    except InputError:
        raise
    except (yaml.YAMLError, ValueError, TypeError, LookupError, AttributeError, OverflowError) as error:
        # A value that PyYAML cannot make: a 13th month, `!!int ''`, an unhashable key, a control character.
        raise InputError(f"{where}: not plain YAML: {_one_line(error)}") from None
    return found


def read_documents(path: Path, where: str = "", *, largest_bytes: int = LARGEST_BYTES, missing: str = "") -> list[Any]:
    """The documents of a YAML file; messages begin with `where` (by default the path)."""
    where = where or str(path)
    content = read_bytes(path, where, largest_bytes=largest_bytes, missing=missing)
    try:
        text = content.decode("utf-8")
    except UnicodeDecodeError as error:
        raise InputError(f"{where}: cannot be read: not UTF-8 at byte {error.start}") from None
    return parse_documents(text, where)


def read_document(path: Path, where: str = "", *, largest_bytes: int = LARGEST_BYTES, missing: str = "") -> Any:
    """The one document of a YAML file; None where the file is empty."""
    found = read_documents(path, where, largest_bytes=largest_bytes, missing=missing)
    if len(found) > 1:
        raise InputError(f"{where or path}: {len(found)} documents (---), where one is expected")
    return found[0] if found else None


def _one_line(what: object) -> str:
    return " ".join(str(what).split())[:200]
