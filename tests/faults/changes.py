"""The changes that a command makes to the disk, as it makes them: counted, or the last thing that it does, or kept.

A change is what the system is asked for: opening a file to write, each write, fsync, rename, unlink, mkdir, rmdir,
chmod, link. All of this package's files are written through Python's own functions, which is where changes are seen.
"""

from __future__ import annotations

import builtins
import hashlib
import io
import os
import re
import shutil
import signal
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Protocol

_CHANGES = {"os.rename", "os.remove", "os.mkdir", "os.rmdir", "os.chmod", "os.link", "os.symlink", "os.truncate"}
_WRITES = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_APPEND
CACHE = ".hashes"  # what a study remembers of files' times, or not: by the clock, so that no two runs write it alike
_RANDOM = re.compile(r"\.[a-z0-9_]{8}\.part\Z")  # the names of unfinished files end with letters drawn anew each time


class Act(Protocol):
    """What to do before a change, given its number (from 1), its words, and the open file and what goes into it."""

    def __call__(self, number: int, what: str, file: Any, data: Any) -> None: ...


def tell(report: int) -> Act:
    """Write the words of each change to an open file."""
    return lambda number, what, file, data: os.write(report, f"{what}\n".encode())


def die_before(last: int) -> Act:
    """Be killed before that change; of a write half gets through."""

    def act(number: int, what: str, file: Any, data: Any) -> None:
        if number == last:
            if file is not None:
                file.write(data[: len(data) // 2])
                file.flush()
            os.kill(os.getpid(), signal.SIGKILL)

    return act


class Keep:
    """Copy what is on the disk before each change, which is what SIGKILL would leave then: folders 1, 2, … in one.

    Files that are as they were at the change before are links to the copy made then.
    """

    def __init__(self, root: Path, states: Path) -> None:
        self.root, self.states = root, states
        self._last: dict[Path, tuple[tuple[int, ...], Path]] = {}

    def __call__(self, number: int, what: str, file: Any, data: Any) -> None:
        if file is not None:
            file.flush()
        state, now = self.states / str(number), dict(self._last)
        self._last = {}
        state.mkdir()
        for path in sorted(self.root.rglob("*")):
            copy = state / path.relative_to(self.root)
            if path.is_symlink():
                copy.symlink_to(path.readlink())
            elif path.is_dir():
                copy.mkdir()
            else:
                self._copy(path, copy, now)
        if file is not None:
            self._half(Path(os.path.realpath(file.name)), state, data[: len(data) // 2])
        (self.states / f"{number}.what").write_text(what)

    def _half(self, path: Path, state: Path, half: Any) -> None:
        """Let half of a write through in the copy alone; it may be a link to an older one."""
        copy = state / path.relative_to(os.path.realpath(self.root))
        content = copy.read_bytes() + (half.encode() if isinstance(half, str) else bytes(half))
        copy.unlink()
        copy.write_bytes(content)
        del self._last[self.root / path.relative_to(os.path.realpath(self.root))]

    def _copy(self, path: Path, copy: Path, before: dict[Path, tuple[tuple[int, ...], Path]]) -> None:
        found = path.stat()
        signature = (found.st_ino, found.st_size, found.st_mtime_ns, found.st_mode)
        old = before.get(path)
        if old and old[0] == signature:
            os.link(old[1], copy)
        else:
            shutil.copy2(path, copy)
        self._last[path] = (signature, copy)


def same_name(name: str) -> str:
    """A name without the letters that are drawn anew each time."""
    return _RANDOM.sub(".part", name)


def fingerprint(state: Path) -> str:
    """The same for two states that hold the same names and bytes."""
    parts = []
    for path in sorted(state.rglob("*")):
        content = b"" if path.is_dir() else hashlib.sha256(path.read_bytes()).digest()
        parts.append(repr((same_name(str(path.relative_to(state))), path.is_dir(), content)))
    return hashlib.sha256("\n".join(parts).encode("utf-8", "surrogatepass")).hexdigest()


class Counter:
    """Sees the changes that this process makes below a folder, and acts before each."""

    def __init__(self, root: Path, act: Act) -> None:
        self.root, self._act = str(root), act
        self.count, self.process, self._acting = 0, os.getpid(), False

    def install(self) -> None:
        """From now on; it cannot be taken back."""
        sys.addaudithook(self._audit)
        fsync = os.fsync

        def counted_fsync(handle: int) -> None:
            if self._is_ours(str(Path(f"/proc/self/fd/{handle}").readlink())):
                self.change("fsync")
            fsync(handle)

        os.fsync = counted_fsync  # type: ignore[assignment]
        opened = io.open

        def counted_open(file: Any, mode: str = "r", *args: Any, **kwargs: Any) -> Any:
            found = opened(file, mode, *args, **kwargs)
            named = isinstance(file, (str, os.PathLike)) and self._is_ours(os.fspath(file))
            return _Counted(found, self) if named and set(mode) & set("wax+") else found

        io.open = builtins.open = counted_open  # type: ignore[assignment]

    def change(self, what: str, file: Any = None, data: Any = None) -> None:
        """Count a change, and act before it."""
        if self._acting or os.getpid() != self.process:  # or a process that the command has started
            return
        self.count += 1
        self._acting = True
        try:
            self._act(self.count, what, file, data)
        finally:
            self._acting = False

    def _is_ours(self, path: Any) -> bool:
        text = os.fsdecode(path) if isinstance(path, (str, bytes)) else ""
        if CACHE in Path(text).parts:
            return False
        return bool(text) and (text.startswith(self.root) or not text.startswith("/"))

    def _audit(self, event: str, arguments: tuple[Any, ...]) -> None:
        path = arguments[0] if arguments else None
        if event == "open":
            if isinstance(arguments[2], int) and arguments[2] & _WRITES and self._is_ours(path):
                self.change(f"open {Path(os.fsdecode(path)).name}")
        elif event in _CHANGES and self._is_ours(path):
            self.change(f"{event} {Path(os.fsdecode(path)).name}")


class _Counted:
    """An open file whose writes are counted."""

    def __init__(self, file: Any, counter: Counter) -> None:
        self._file, self._counter = file, counter

    def __getattr__(self, name: str) -> Any:
        return getattr(self._file, name)

    def __enter__(self) -> _Counted:
        self._file.__enter__()
        return self

    def __exit__(self, *error: Any) -> None:
        self._file.__exit__(*error)

    def __iter__(self) -> Iterator[Any]:
        return iter(self._file)

    def write(self, data: Any) -> Any:
        self._counter.change(f"write {Path(str(self._file.name)).name}", self._file, data)
        return self._file.write(data)


def watched(root: Path, act: Act) -> Callable[[], None]:
    """What a child calls to have its changes seen."""
    return lambda: Counter(root, act).install()
