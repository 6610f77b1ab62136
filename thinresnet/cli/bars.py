"""Bars of a terminal, one for each thing that is under way; importing this imports rich's progress display."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from rich.console import Console, RenderableType
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    ProgressColumn,
    SpinnerColumn,
    Task,
    TaskID,
    TextColumn,
    TimeRemainingColumn,
)
from rich.text import Text

from thinresnet import progress


class _OfKnownTotal(ProgressColumn):
    """A column that is empty as long as nobody knows how much there is to do."""

    def __init__(self, column: ProgressColumn) -> None:
        super().__init__()
        self._column = column

    def render(self, task: Task) -> RenderableType:
        return Text() if task.total is None else self._column(task)


@contextmanager
def bars(console: Console) -> Iterator[progress.Progress]:
    """One bar for each `what`, with a spinner and no figures where the total is 0, until something else is told."""
    columns = [_OfKnownTotal(each) for each in (BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())]
    with Progress(SpinnerColumn(), TextColumn("{task.description}"), *columns, console=console, transient=True) as all_:
        tasks: dict[str, TaskID] = {}
        totals: dict[str, int] = {}

        def show(what: str, done: int, total: int) -> None:
            for other in [name for name, its_total in totals.items() if not its_total and name != what]:
                all_.remove_task(tasks.pop(other))
                del totals[other]
            if what not in tasks:
                tasks[what] = all_.add_task(what if total else f"{what}…", total=total or None)
            totals[what] = total
            all_.update(tasks[what], completed=done, total=total or None)

        yield show
