"""How a run ends early: asked to stop, or unable to continue; and the exit codes that say so.

SIGTERM and Ctrl-C become a request, which the loop follows between two updates, after saving.
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

from thinresnet.errors import FAILED_EXIT_CODE, INPUT_EXIT_CODE, InputError, memory_error_line, os_error_line

# EX_TEMPFAIL of sysexits.h, "try again": the code that a scheduler can be told to requeue on.
REQUEUE_EXIT_CODE = 75


class TrainingInterruptedError(Exception):
    """A run was asked to stop and has saved its state: the same command resumes from there."""


class TrainingError(RuntimeError):
    """A run cannot continue (a non-finite loss, a full disk): one line for the user; what was saved is whole."""


class StopRequest:
    """Whether the run was asked to stop."""

    def __init__(self) -> None:
        self.made = False


@contextmanager
def stop_on_signals() -> Iterator[StopRequest]:
    """Within the block the first SIGTERM or Ctrl-C only makes the request; the second acts as it always does."""
    request = StopRequest()
    if threading.current_thread() is not threading.main_thread():  # only the main thread may handle signals
        yield request
        return
    before = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)}

    def ask(number: int, frame: FrameType | None) -> None:
        request.made = True
        signal.signal(number, before[signal.Signals(number)])

    for number in before:
        signal.signal(number, ask)
    try:
        yield request
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


@contextmanager
def end_on_signals(line: str, code: int) -> Iterator[None]:
    """Within the block SIGTERM and Ctrl-C end the process with a line and a code, unless an inner block acts."""
    if threading.current_thread() is not threading.main_thread():  # only the main thread may handle signals
        yield
        return

    def end(number: int, frame: FrameType | None) -> None:
        print(line, file=sys.stderr)
        sys.exit(code)

    before = {number: signal.signal(number, end) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def ending(error: Exception) -> tuple[str, int] | None:
    """The line and the exit code by which an error ends a command; None for a defect, which is shown whole."""
    if isinstance(error, InputError):
        return str(error), INPUT_EXIT_CODE
    if isinstance(error, TrainingInterruptedError):
        return f"{error}; saved: the same command resumes from there", REQUEUE_EXIT_CODE
    if isinstance(error, TrainingError):
        return str(error), FAILED_EXIT_CODE
    if isinstance(error, OSError):
        return os_error_line(error)
    if isinstance(error, (MemoryError, RuntimeError)) and (line := memory_error_line(error)):
        return line, FAILED_EXIT_CODE
    return None


def stop_with_parent() -> None:
    """Be sent SIGTERM, on which a training saves its state, when the parent process ends. On Linux only."""
    if sys.platform == "linux":
        set_parent_death_signal = 1
        ctypes.CDLL(None).prctl(set_parent_death_signal, signal.SIGTERM)


def stop_with_launcher() -> None:
    """Stop with `accelerate launch` or torchrun: killed alone they leave their processes running."""
    if "ACCELERATE_MIXED_PRECISION" in os.environ or "TORCHELASTIC_RUN_ID" in os.environ:
        stop_with_parent()


_FULL_DISK = {
    errno.ENOSPC: "the disk is full",
    errno.EDQUOT: "the disk quota is used up",
    errno.EFBIG: "the file would be larger than allowed",
}


@contextmanager
def full_disk_as_one_line(folder: Path) -> Iterator[None]:
    """A full disk becomes one line; files are replaced whole, so that those written before are all there."""
    try:
        yield
    except OSError as error:
        if error.errno not in _FULL_DISK:
            raise
        raise TrainingError(
            f"{folder}: {_FULL_DISK[error.errno]}; what was saved before is whole: make room, then give the same "
            "command again to resume"
        ) from error
