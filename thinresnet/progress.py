"""How long work tells how far it is: one callable, `progress(what, done, total)`. Standard library only.

A total of 0 says what begins, where nobody can say how much of it there is.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from typing import TextIO

# What is done (`reading images`), how much of it is done, and of how much.
Progress = Callable[[str, int, int], None]


def silent(what: str, done: int, total: int) -> None:
    """Progress that nobody sees."""


def watched() -> bool:
    """Whether somebody looks on: in a terminal or a notebook."""
    return sys.stderr.isatty() or "ipykernel" in sys.modules


def shown(progress: Progress | bool) -> Progress:
    """What the `progress` of a library call means: a callable is told, True draws a bar where somebody looks on."""
    if callable(progress):
        return progress
    return Bar(sys.stderr) if progress and watched() else silent


class Bar:
    """Progress as one line that is drawn over itself, with the time left; work of half a second shows nothing."""

    WIDTH = 24
    _FIRST_SECONDS, _SECONDS_BETWEEN = 0.5, 0.1

    def __init__(self, stream: TextIO, clock: Callable[[], float] = time.monotonic) -> None:
        self._stream, self._clock = stream, clock
        self._what: str | None = None
        self._begun = self._drawn = 0.0
        self._width = 0

    def __call__(self, what: str, done: int, total: int) -> None:
        now = self._clock()
        if what != self._what:
            self._what, self._begun, self._drawn = what, now, now + self._FIRST_SECONDS - self._SECONDS_BETWEEN
        if not total:
            self._draw(f"{what}…")
        elif done >= total:
            self._draw("")
            self._what = None
        elif now - self._drawn >= self._SECONDS_BETWEEN:
            self._drawn = now
            full = self.WIDTH * done // total
            left = f", {duration((now - self._begun) / done * (total - done))} left" if done else ""
            self._draw(f"{what} {'█' * full}{'░' * (self.WIDTH - full)} {done:,} of {total:,}{left}")

    def _draw(self, line: str) -> None:
        if line or self._width:
            self._stream.write(f"\r{line.ljust(self._width)}" + ("" if line else "\r"))
            self._stream.flush()
            self._width = len(line)


class Tenths:
    """Progress as lines for logs: one whenever a tenth is done, with the time left."""

    def __init__(self, say: Callable[[str], None]) -> None:
        self._say = say
        self._begun: dict[str, float] = {}
        self._said: dict[str, int] = {}

    def __call__(self, what: str, done: int, total: int) -> None:
        if not total:
            return
        now = time.monotonic()
        begun = self._begun.setdefault(what, now)
        tenth = 10 * done // max(1, total)
        if tenth > self._said.get(what, 0):
            self._said[what] = tenth
            left = f", {duration((now - begun) / done * (total - done))} left" if now > begun and done < total else ""
            self._say(f"{what}: {done:,} of {total:,}{left}")
        if done == total:
            del self._begun[what]  # the next work of this name has a clock of its own
            self._said.pop(what, None)


def duration(seconds: float) -> str:
    """Seconds as people say them: `42s`, `3m 05s`, `2h 07m`, `3d 04h`."""
    whole = round(max(0.0, seconds))
    minutes, hours, days = whole // 60, whole // 3600, whole // 86400
    if days:
        return f"{days}d {hours % 24:02d}h"
    if hours:
        return f"{hours}h {minutes % 60:02d}m"
    return f"{minutes}m {whole % 60:02d}s" if minutes else f"{whole}s"
