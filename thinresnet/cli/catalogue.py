"""What can be listed without importing torch: the methods that prune, with their papers' settings, and the protocols.

The lists are made from the registries by `python -m thinresnet.cli.catalogue`, which also writes the table of
docs/pruning.md; tests compare both with the registries. A file of methods that the list does not know is noticed, and
the registry is asked instead: what is listed is what there is.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import thinresnet
from thinresnet.files import read_object, with_part, write_atomically

Row = Mapping[str, Any]
PACKAGE = Path(thinresnet.__file__).parent
METHODS, PROTOCOLS = PACKAGE / "pruning" / "methods.json", PACKAGE / "studies" / "protocols.json"
DOCUMENT = PACKAGE.parent / "docs" / "pruning.md"
BEGIN, END = "<!-- methods: begin -->", "<!-- methods: end -->"
COLUMNS = ("method", "setting", "the paper", "here", "why, and where the paper's was read")


def method_rows() -> list[Row]:
    """Every method of the package, as `facts` has it, in the order of lists."""
    found = read_object(METHODS)
    return list(found["methods"]) if found["files"] == method_files() else rows_of_methods()


def protocol_rows() -> list[Row]:
    """Every protocol of studies."""
    return list(read_object(PROTOCOLS)["protocols"])


def method_files() -> list[str]:
    """The files in which methods are looked for."""
    return sorted(path.relative_to(METHODS.parent).as_posix() for path in METHODS.parent.rglob("*.py"))


def rows_of_methods() -> list[Row]:
    """The rows, from the registry."""
    from thinresnet.pruning.method import WHEN
    from thinresnet.pruning.registry import facts, methods

    return sorted((facts(kind) for kind in methods().values()), key=lambda row: WHEN.index(row["when"]))


def rows_of_protocols() -> list[Row]:
    """The rows, from the protocols themselves."""
    from thinresnet.studies import protocol, protocols

    found = sorted(protocols.PROTOCOLS.values(), key=lambda one: protocol.KINDS.index(one.kind))
    return [{"protocol": one.name, "kind": one.kind, "does": one.does} for one in found]


def settings_rows(methods: Iterable[Row]) -> list[Row]:
    """A row for each setting: the paper's, ours, and where they differ and why."""
    return [{"method": one["method"], **row} for one in methods for row in one["published"]]


def cells(row: Row) -> tuple[str, ...]:
    """A row of settings under `COLUMNS`."""
    theirs = "not known" if row["theirs"] is None else _text(row["theirs"])
    why = "; ".join(text for text in (row["why"], row["source"]) if text)
    return row["method"], row["setting"], theirs, _text(row["ours"]), why


def _text(value: Any) -> str:
    """A setting's value in a table."""
    if value is None or isinstance(value, bool):
        return {None: "none", True: "yes", False: "no"}[value]
    return f"{value:g}" if isinstance(value, float) else str(value)


def as_markdown(methods: Iterable[Row]) -> str:
    """The table of settings, for documents."""
    lines = [COLUMNS, ("-",) * len(COLUMNS), *map(cells, settings_rows(methods))]
    return "".join(f"| {' | '.join(text.replace('|', '/') for text in line)} |\n" for line in lines)


def documented(text: str, methods: Iterable[Row]) -> str:
    """A document with the table between its two marks."""
    return with_part(DOCUMENT, text, BEGIN, END, as_markdown(methods).rstrip("\n"))


def contents() -> dict[Path, Callable[[], str]]:
    """The files that are made, and what belongs into each."""
    return {
        METHODS: lambda: _json({"files": method_files(), "methods": rows_of_methods()}),
        PROTOCOLS: lambda: _json({"protocols": rows_of_protocols()}),
        DOCUMENT: lambda: documented(DOCUMENT.read_text(encoding="utf-8"), rows_of_methods()),
    }


def _json(value: Mapping[str, Sequence[Any]]) -> str:
    return json.dumps(value, indent=1, ensure_ascii=False, allow_nan=False) + "\n"


if __name__ == "__main__":
    for path, content in contents().items():
        write_atomically(path, content())
