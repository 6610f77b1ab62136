"""Progress in a terminal: a bar for each work, a spinner where nobody knows how much there is to do."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from rich.console import Console, RenderableType
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    ProgressColumn,
    SpinnerColumn,
    Task,
    TaskID,
    TextColumn,
    TimeRemainingColumn,
)
from rich.progress import Progress as Bars
from rich.text import Text

from thinresnet.progress import Progress


class _OfKnownTotal(ProgressColumn):
    """A column that is empty as long as nobody knows how much there is to do."""

    def __init__(self, column: ProgressColumn) -> None:
        super().__init__()
        self._column = column

    def render(self, task: Task) -> RenderableType:
        return Text() if task.total is None else self._column(task)


@contextmanager
def bars(console: Console) -> Iterator[Progress]:
    """Bars that are gone when all is done; what has a total of 0 has a spinner until something else is told."""
    columns = [_OfKnownTotal(each) for each in (BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())]
    with Bars(SpinnerColumn(), TextColumn("{task.description}"), *columns, console=console, transient=True) as drawn:
        tasks: dict[str, TaskID] = {}
        totals: dict[str, int] = {}

        def show(what: str, done: int, total: int) -> None:
            for other in [name for name, its_total in totals.items() if not its_total and name != what]:
                drawn.remove_task(tasks.pop(other))
                del totals[other]
            if what not in tasks:
                tasks[what] = drawn.add_task(what if total else f"{what}…", total=total or None)
            totals[what] = total
            drawn.update(tasks[what], completed=done, total=total or None)

        yield show
