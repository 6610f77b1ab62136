"""What changed between two boards: rows, and the verdicts of rows that did not change.

A new reference may move verdicts of rows that nobody touched; whoever reviews it has to see that.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from thinresnet.leaderboard.bar import Bar
from thinresnet.leaderboard.schema import NAMES, Entry
from thinresnet.leaderboard.show import Row, rows


@dataclass(frozen=True)
class Changed:
    """A row that stands on both boards, with other cells: those columns."""

    row: Row
    columns: tuple[str, ...]


@dataclass(frozen=True)
class Moved:
    """A row without a change whose verdict is another one now."""

    before: Row
    after: Row


@dataclass(frozen=True)
class Difference:
    """From one board to another."""

    new: tuple[Row, ...]
    changed: tuple[Changed, ...]
    gone: tuple[Entry, ...]
    moved: tuple[Moved, ...]


def difference(before: Sequence[Entry], after: Sequence[Entry]) -> Difference:
    """What is new, changed or gone from one board to another, each row with its usual verdict."""
    old = {entry.id: entry for entry in before}
    now = {row.entry.id: row for row in rows(after, Bar(after), {})}
    then = {row.entry.id: row for row in rows(before, Bar(before), {})}
    both = [(then[name], row) for name, row in now.items() if name in old]
    return Difference(
        new=tuple(row for name, row in now.items() if name not in old),
        changed=tuple(Changed(row, _columns(was.entry, row.entry)) for was, row in both if was.entry != row.entry),
        gone=tuple(entry for entry in before if entry.id not in now),
        moved=tuple(Moved(was, row) for was, row in both if was.entry == row.entry and was.outcome != row.outcome),
    )


def _columns(before: Entry, after: Entry) -> tuple[str, ...]:
    return tuple(name for name in NAMES if getattr(before, name) != getattr(after, name))
