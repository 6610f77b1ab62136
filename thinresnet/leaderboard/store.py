"""Reading and writing `leaderboard.csv`: one header, canonical column and row order, UTF-8, one row a line.

Whoever writes holds the lock beside the board, reads it afresh, and replaces it in one step: a reader, a kill or ten
writers at once meet the old board or the new one, whole.
"""

from __future__ import annotations

import csv
import io
import os
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from thinresnet.errors import InputError, nearest
from thinresnet.files import FormError, read_text, write_atomically
from thinresnet.leaderboard.boards import find_board
from thinresnet.leaderboard.schema import NAMES, REQUIRED, Entry, Fault, format_row, order, reader

MAX_CELL = 100_000


@dataclass(frozen=True)
class Line:
    """One row as it stands in the file: its line number, and the entry or what is wrong with its cells."""

    number: int
    entry: Entry | None
    faults: tuple[Fault, ...]


def read_board(path: str | os.PathLike[str]) -> list[Entry]:
    """All entries of a board, in file order; the first broken rule refuses the file, named by line and column."""
    entries = []
    for line in read_lines(path):
        if line.entry is None:
            raise InputError(f"{path}, line {line.number}, column {line.faults[0]}")
        entries.append(line.entry)
    return entries


def read_lines(path: str | os.PathLike[str]) -> Iterator[Line]:
    """Row by row, faults included; raises InputError only where there is no table to speak of."""
    records = _records(path, read_text(path))
    header = next(records, (1, []))[1]
    _check_header(path, header)
    read = reader(tuple(header))
    for number, cells in records:
        if len(cells) != len(header):
            fault = Fault("row", f"{len(cells)} cells", f"a row of {len(header)} cells, as in the header")
            yield Line(number, None, (fault,))
            continue
        entry, faults = read(cells)
        yield Line(number, entry, tuple(faults))


def render(entries: Iterable[Entry]) -> str:
    """The canonical text of a board with these entries."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(NAMES)
    writer.writerows(format_row(entry) for entry in sorted(entries, key=order))
    return text.getvalue()


def default_board() -> Path:
    """The board of the working folder, else of the checkout that this package is run from, else of the package."""
    return find_board().path


def merge(*boards: Iterable[Entry]) -> list[Entry]:
    """One board from several people's: every row once. Two rows of one id that differ are a question for a person."""
    merged: dict[str, Entry] = {}
    for entry in (entry for board in boards for entry in board):
        known = merged.setdefault(entry.id, entry)
        if known != entry:
            changed = next(name for name in NAMES if getattr(known, name) != getattr(entry, name))
            raise InputError(
                f"row {entry.id}, column {changed}: {getattr(known, changed)!s} in one board, "
                f"{getattr(entry, changed)!s} in another; correct one of them"
            )
    return sorted(merged.values(), key=order)


def write_board(path: str | os.PathLike[str], entries: Iterable[Entry]) -> None:
    """Replace a board by these entries in canonical form; the caller holds the lock."""
    write_atomically(path, render(entries))


def _records(path: str | os.PathLike[str], text: str) -> Iterator[tuple[int, list[str]]]:
    """Cells of every line with the line's number; a record that runs over its line is refused where it begins."""
    csv.field_size_limit(MAX_CELL)
    reader = csv.reader(io.StringIO(text, newline=""), strict=True)
    while True:
        number = reader.line_num + 1
        try:
            cells = next(reader)
        except StopIteration:
            return
        except csv.Error as error:
            raise FormError(path, number, f"broken quoting or a cell too long ({error})") from None
        if reader.line_num != number:
            raise FormError(path, number, "a quoted cell runs over the end of the line; a row is one line")
        yield number, cells


def _check_header(path: str | os.PathLike[str], header: list[str]) -> None:
    for name in header:
        if header.count(name) > 1:
            raise FormError(path, 1, f"column {name!r} stands there twice; each column once")
        if name not in NAMES:
            raise FormError(path, 1, f"{name!r} is not a column of the board{nearest(name, NAMES)}")
    # An optional column that is not there is empty: a board written before the column existed stays readable.
    if missing := [name for name in REQUIRED if name not in header]:
        raise FormError(path, 1, f"column {missing[0]!r} is missing; the columns are {', '.join(NAMES)}")
