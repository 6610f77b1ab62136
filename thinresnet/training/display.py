"""What a run shows while it trains: a live line in a terminal, plain lines elsewhere, from the main process only."""

from __future__ import annotations

import time
from collections.abc import Mapping
from types import TracebackType

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn

from thinresnet.progress import Tenths, duration
from thinresnet.result import PARTS

_SECONDS_BETWEEN_PLAIN_LINES = 30.0


class Display:
    """Shows how far a run is. `visible` is false in all processes but the main one, and for quiet library calls."""

    def __init__(self, *, visible: bool, epochs: int, updates_per_epoch: int) -> None:
        # A notebook shows standard error as it is; lines of a Jupyter console would be outputs of their own.
        self._console = Console(stderr=True, highlight=False, quiet=not visible, force_jupyter=False)
        self._live = self._console.is_terminal and visible
        self._epochs = epochs
        self._updates_per_epoch = updates_per_epoch
        self._last_scores = ""
        self._last_plain = time.monotonic()
        self._bar = Progress(
            TextColumn("epoch {task.fields[epoch]}"),
            BarColumn(bar_width=None),
            TextColumn("{task.percentage:3.0f}%  {task.fields[text]}"),
            console=self._console,
            disable=not self._live,
        )
        self._task = self._bar.add_task("", total=epochs * updates_per_epoch, epoch=f"1/{epochs}", text="starting")

    def __enter__(self) -> Display:
        if self._live:
            self._bar.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._live:  # older versions of rich end a disabled bar with an empty line
            self._bar.stop()

    def note(self, text: str) -> None:
        """Print a line that stays."""
        self._console.print(text, markup=False, soft_wrap=True)

    def step(self, *, epoch: int, updates: int, loss: float, images_per_second: float, seconds_left: float) -> None:
        """Show the state within an epoch (0 = first); `updates` counts from the start of the run."""
        text = f"loss {loss:.4f}  {images_per_second:,.0f} images/s  {duration(seconds_left)} left"
        if self._live:
            shown = f"{self._last_scores}{text}"
            self._bar.update(self._task, completed=updates, epoch=f"{epoch + 1}/{self._epochs}", text=shown)
        elif time.monotonic() - self._last_plain >= _SECONDS_BETWEEN_PLAIN_LINES:
            within = updates - epoch * self._updates_per_epoch
            self._plain(f"epoch {epoch + 1}/{self._epochs}  update {within}/{self._updates_per_epoch}  {text}")

    def epoch(self, row: Mapping[str, float | int | None], *, images_per_second: float, seconds_left: float) -> None:
        """Show an epoch that ended, with the scores measured after it."""
        scores = "  ".join(
            f"{name} {row[f'{part}_top1']:.2f}%" for part, name in PARTS.items() if row[f"{part}_top1"] is not None
        )
        self._last_scores = f"{scores}  " if scores else ""
        if not self._live:
            self._plain(
                f"epoch {row['epoch']}/{self._epochs}  loss {row['train_loss']:.4f}  {self._last_scores}"
                f"{images_per_second:,.0f} images/s  {duration(seconds_left)} left"
            )

    def _plain(self, text: str) -> None:
        self._last_plain = time.monotonic()
        self.note(text)


def _note(line: str) -> None:
    Console(stderr=True, highlight=False, force_jupyter=False).print(line, markup=False, soft_wrap=True)


# What goes before training and takes time (decoding, writing, fetching).
show_preparation = Tenths(_note)
