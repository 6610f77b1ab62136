"""What the command line prints: tables, JSON, lines and progress, in one way for every verb."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from thinresnet.progress import Progress, Tenths

if TYPE_CHECKING:  # rich is imported when something is drawn: JSON and plain lines do not wait for it
    from rich.console import Console

JsonFlag = Annotated[bool, typer.Option("--json", help="Print JSON.")]

_COLUMNS_OF_A_FILE = 200


def print_json(value: Any) -> None:
    """Print a JSON value; what is not finite is a mistake of this program."""
    print(json.dumps(value, indent=1, allow_nan=False))


def say(text: str = "", *, style: str | None = None) -> None:
    """Print a line to standard output; `[bold]…[/bold]` is markup, and a long line is left to the terminal."""
    console().print(text, style=style, soft_wrap=True)


def note(text: str) -> None:
    """Print a line to standard error: what a program that reads the output must not meet."""
    print(text, file=sys.stderr)


def console(*, stderr: bool = False) -> Console:
    """The terminal; a file or a pipe, which has no width of its own, is wide enough for any table (COLUMNS decides)."""
    from rich.console import Console

    found = Console(stderr=stderr, highlight=False)
    if not found.is_terminal and "COLUMNS" not in os.environ:
        found.width = _COLUMNS_OF_A_FILE
    return found


def print_table(
    columns: Sequence[str], rows: Iterable[Sequence[object]], *, title: str | None = None, left: int = 1
) -> None:
    """Print rows under their columns: the first `left` columns hold words, the others figures, which are never cut."""
    from rich.table import Table

    table = Table(box=None, padding=(0, 2, 0, 0))
    for index, column in enumerate(columns):
        words = index < left
        table.add_column(
            column, justify="left" if words else "right", no_wrap=not words, overflow="fold", min_width=len(column)
        )
    for row in rows:
        table.add_row(*("" if cell is None else str(cell) for cell in row))
    terminal = console()
    if title:
        terminal.print(title, style="bold")
    terminal.print(table)


def print_written(paths: Iterable[Path], *, as_json: bool) -> None:
    """Print the names of files that were written."""
    names = [str(path) for path in paths]
    print_json(names) if as_json else print("\n".join(names))


@contextmanager
def status(text: str) -> Iterator[None]:
    """Says in a terminal what is being done, beside a spinner, as long as it takes; a file or a pipe sees nothing."""
    errors = console(stderr=True)
    if not errors.is_terminal:
        yield
        return
    with errors.status(f"{text}…"):
        yield


@contextmanager
def progress(begins: str) -> Iterator[Progress]:
    """Shows how far work is, told as (what, done, total): bars in a terminal, a line every tenth elsewhere.

    `begins` is shown at once, beside a spinner, until something else is told; so is what has a total of 0.
    """
    errors = console(stderr=True)
    if not errors.is_terminal:
        yield Tenths(note)
        return
    from thinresnet.cli.bars import bars

    with bars(errors) as show:
        show(begins, 0, 0)
        yield show
