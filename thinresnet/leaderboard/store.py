"""Reading and writing `leaderboard.csv`: one header, canonical column and row order, UTF-8, one row a line."""

from __future__ import annotations

import csv
import io
import os
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from thinresnet.errors import InputError, nearest
from thinresnet.leaderboard.files import read_text
from thinresnet.leaderboard.schema import NAMES, Entry, Fault, format_row, order, parse

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
    for number, cells in records:
        if len(cells) != len(header):
            fault = Fault("row", f"{len(cells)} cells", f"a row of {len(header)} cells, as in the header")
            yield Line(number, None, (fault,))
            continue
        entry, faults = parse(dict(zip(header, cells, strict=True)))
        yield Line(number, entry, tuple(faults))


def render(entries: Iterable[Entry]) -> str:
    """The canonical text of a board with these entries."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(NAMES)
    writer.writerows(format_row(entry) for entry in sorted(entries, key=order))
    return text.getvalue()


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
            raise InputError(f"{path}, line {number}: broken quoting or a cell too long ({error})") from None
        if reader.line_num != number:
            raise InputError(f"{path}, line {number}: a quoted cell runs over the end of the line; a row is one line")
        yield number, cells


def _check_header(path: str | os.PathLike[str], header: list[str]) -> None:
    where = f"{path}, line 1"
    for name in header:
        if header.count(name) > 1:
            raise InputError(f"{where}: column {name!r} stands there twice; each column once")
        if name not in NAMES:
            raise InputError(f"{where}: {name!r} is not a column of the board{nearest(name, NAMES)}")
    if missing := [name for name in NAMES if name not in header]:
        raise InputError(f"{where}: column {missing[0]!r} is missing; the columns are {', '.join(NAMES)}")
