"""How a run ends before its end: asked to stop, or unable to go on; and the exit codes that say so.

SIGTERM and Ctrl-C become a wish, which the loop grants between two updates, after saving.
"""

from __future__ import annotations

import ctypes
import errno
import os
import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType

# EX_TEMPFAIL of sysexits.h, "try again": the code that a scheduler can be told to requeue on.
REQUEUE_EXIT_CODE = 75
FAILED_EXIT_CODE = 1


class TrainingInterruptedError(Exception):
    """A run was asked to stop and has saved its state: the same command goes on from there."""


class TrainingError(RuntimeError):
    """A run cannot go on (a loss that is no number, a full disk): one line for the user; what was saved is whole."""


class Wish:
    """Whether a stop was asked for."""

    def __init__(self) -> None:
        self.stop = False


@contextmanager
def wish_to_stop() -> Iterator[Wish]:
    """Within the block the first SIGTERM or Ctrl-C only sets the wish; a second of its kind acts as it always does."""
    wish = Wish()
    if threading.current_thread() is not threading.main_thread():  # only the main thread may handle signals
        yield wish
        return
    before = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)}

    def ask(number: int, frame: FrameType | None) -> None:
        wish.stop = True
        signal.signal(number, before[signal.Signals(number)])

    for number in before:
        signal.signal(number, ask)
    try:
        yield wish
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def stop_with_launcher() -> None:
    """Be sent SIGTERM when `accelerate launch` ends: killed alone it leaves its one process running. On Linux only."""
    if sys.platform == "linux" and "ACCELERATE_MIXED_PRECISION" in os.environ:
        set_parent_death_signal = 1
        ctypes.CDLL(None).prctl(set_parent_death_signal, signal.SIGTERM)


_NO_ROOM = {
    errno.ENOSPC: "the disk is full",
    errno.EDQUOT: "the disk quota is used up",
    errno.EFBIG: "the file would be larger than allowed",
}


@contextmanager
def no_room_said(folder: Path) -> Iterator[None]:
    """A disk without room becomes one line; files are replaced whole, so that those written before are all there."""
    try:
        yield
    except OSError as error:
        if error.errno not in _NO_ROOM:
            raise
        raise TrainingError(
            f"{folder}: {_NO_ROOM[error.errno]}; what was saved before is whole: make room, then give the same command "
            "again to go on"
        ) from error
