"""One writer of a board at a time."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from filelock import FileLock, Timeout

from thinresnet.errors import InputError

LOCK_SECONDS = 120


@contextmanager
def locked(path: str | os.PathLike[str]) -> Iterator[None]:
    """Hold the board alone: waits for other writers, and clears away what a killed one left half-written."""
    board = Path(path)
    try:
        with FileLock(board.with_name(f".{board.name}.lock"), timeout=LOCK_SECONDS):
            for target in (board, board.with_suffix(".bib")):
                for leftover in target.parent.glob(f".{target.name}.*.part"):
                    leftover.unlink(missing_ok=True)
            yield
    except Timeout:
        raise InputError(f"{board}: another process has held the board for {LOCK_SECONDS} s; try again") from None
    except PermissionError as error:
        raise InputError(f"{board.parent}: cannot be written ({error.strerror}); use a folder that is yours") from None
