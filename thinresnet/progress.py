"""How long work tells how far it is: one callable, `progress(what, done, total)`. Standard library only."""

from __future__ import annotations

import time
from collections.abc import Callable

# What is done (`reading images`), how much of it is done, and of how much.
Progress = Callable[[str, int, int], None]


def silent(what: str, done: int, total: int) -> None:
    """Progress that nobody sees: the default of library calls."""


class Tenths:
    """Progress as lines for logs: one whenever a tenth is done, with the time left."""

    def __init__(self, say: Callable[[str], None]) -> None:
        self._say = say
        self._begun: dict[str, float] = {}
        self._said: dict[str, int] = {}

    def __call__(self, what: str, done: int, total: int) -> None:
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
