"""The marked parts of documents that are written from evidence."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

from thinresnet.errors import InputError
from thinresnet.files import read_text, with_part, write_atomically
from thinresnet.studies.paper import findings, tables
from thinresnet.studies.paper.rows import Evidence

PARTS: dict[str, Callable[[Evidence], str]] = {
    "paper summary": tables.summary,
    "paper tables": tables.everything,
    "paper findings": findings.as_markdown,
}


def has_parts(path: Path) -> bool:
    """Whether a document has marks."""
    text = read_text(path)
    return any(f"<!-- {name}: begin -->" in text for name in PARTS)


def _written(evidence: Evidence, path: Path) -> tuple[str, str]:
    """A document as it is, and with every part that it has marks for."""
    text = before = read_text(path)
    marks = {name: (f"<!-- {name}: begin -->", f"<!-- {name}: end -->") for name in PARTS}
    there = [name for name, (begin, _) in marks.items() if begin in text]
    if not there:
        raise InputError(f"{path}: has no part to write; it is marked by lines such as {marks['paper tables'][0]!r}")
    for name in there:
        text = with_part(path, text, *marks[name], PARTS[name](evidence))
    return before, text


def write_parts(evidence: Evidence, documents: Sequence[Path]) -> list[Path]:
    """Write the parts of every document that has marks; returns those that changed."""
    changed = []
    for path in documents:
        before, text = _written(evidence, path)
        if text != before:
            write_atomically(path, text)
            changed.append(path)
    return changed


def stale(evidence: Evidence, documents: Sequence[Path]) -> list[Path]:
    """Documents whose parts are not what the evidence says."""
    texts = {path: _written(evidence, path) for path in documents}
    return [path for path, (before, text) in texts.items() if text != before]
