"""The n-th change to the disk of a command is the last thing that it does; then the same command is given again.

A change is what the system is asked for: opening a file to write, each write (of which half gets through), fsync,
rename, unlink, mkdir, rmdir, chmod, link. The child that runs the command counts them and kills itself with SIGKILL.
Afterwards the files have to be, byte for byte, those of a run that was never disturbed: none lost, none left over.
What is left out of the comparison is what no two runs share: times, dates, memory, and how often a run was resumed.
"""

from __future__ import annotations

import builtins
import io
import json
import os
import re
import shutil
import signal
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.faults import child
from tests.faults.child import Command, Ended

_CHANGES = {"os.rename", "os.remove", "os.mkdir", "os.rmdir", "os.chmod", "os.link", "os.symlink", "os.truncate"}
_WRITES = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_APPEND
# What two undisturbed runs do not share.
_PASSING = {
    "seconds", "seconds_total", "images_per_second", "peak_memory_mib", "started", "finished", "sessions", "device",
    "time", "times", "mtime_ns", "git_commit", "git_clean",
}  # fmt: skip
_SPEED = re.compile(rb",[0-9]+,(?=[^,]*,[^,]*,[^,]*,[0-9a-f]{64})")  # images a second, four columns before the weights
_HASH = re.compile(r"\b[0-9a-f]{64}\b")


@dataclass(frozen=True)
class Case:
    """One thing that was done to a command or a reader, and what was wrong then; nothing if `wrong` is empty."""

    kind: str
    subject: str
    what: str
    wrong: str
    seconds: float


class Counter:
    """Counts the changes that this process makes below a folder; the last one it does not survive."""

    def __init__(self, root: Path, last: int | None, report: int) -> None:
        self.root, self.last, self.report = str(root), last, report
        self.count, self.process = 0, os.getpid()

    def install(self) -> None:
        """From now on; it cannot be taken back."""
        sys.addaudithook(self._audit)
        fsync = os.fsync

        def counted_fsync(handle: int) -> None:
            self.change("fsync")
            fsync(handle)

        os.fsync = counted_fsync  # type: ignore[assignment]
        opened = io.open

        def counted_open(file: Any, mode: str = "r", *args: Any, **kwargs: Any) -> Any:
            found = opened(file, mode, *args, **kwargs)
            named = isinstance(file, (str, os.PathLike)) and self._is_ours(os.fspath(file))
            return _Counted(found, self) if named and set(mode) & set("wax+") else found

        io.open = builtins.open = counted_open  # type: ignore[assignment]

    def change(self, what: str, half: Callable[[], object] = lambda: None) -> None:
        """Count a change; `half` is what gets through of the last one."""
        if os.getpid() != self.process:  # a process that the command has started
            return
        self.count += 1
        if self.last is None:
            os.write(self.report, f"{what}\n".encode())
        elif self.count == self.last:
            half()
            os.kill(os.getpid(), signal.SIGKILL)

    def _is_ours(self, path: Any) -> bool:
        text = os.fsdecode(path) if isinstance(path, (str, bytes)) else ""
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
        def half() -> None:
            self._file.write(data[: len(data) // 2])
            self._file.flush()

        self._counter.change(f"write {Path(str(self._file.name)).name}", half)
        return self._file.write(data)


def run(command: Command, root: Path, *, last: int | None = None, counting: bool = False) -> tuple[Ended, list[str]]:
    """How it ended, and the changes if they are to be counted."""
    report = root.with_name("changes")
    report.write_text("")

    def count() -> None:
        Counter(root, last, os.open(report, os.O_WRONLY | os.O_APPEND)).install()

    ended = child.run(command.arguments, root, before=count if counting or last is not None else lambda: None)
    return ended, report.read_text().splitlines()


def begin(command: Command, root: Path) -> None:
    """The folder as it is before the command."""
    shutil.rmtree(root, ignore_errors=True)
    if command.begins_with is None:
        root.mkdir(parents=True)
    else:
        shutil.copytree(command.begins_with, root, symlinks=True)


def campaign(command: Command, root: Path, most: int | None = None) -> Iterator[Case]:
    """Kill the command before each of its changes, or before `most` of them, evenly; each case begins anew."""
    begin(command, root)
    ended, changes = run(command, root, counting=True)
    whole = contents(root)
    if ended.code != 0:
        raise RuntimeError(f"{command.name}: {ended.said}")
    for number in chosen(len(changes), most):
        start = time.monotonic()
        begin(command, root)
        ended, _ = run(command, root, last=number)
        wrong = "" if ended.code == -signal.SIGKILL else f"ended with {ended.code} before being killed: {ended.said}"
        wrong = wrong or again(command, root, whole)
        yield Case("crash", command.name, f"before {number}: {changes[number - 1]}", wrong, seconds_since(start))


def chosen(count: int, most: int | None) -> list[int]:
    """The numbers from 1 to `count`, or `most` of them, evenly, the last among them."""
    if most is None or most >= count:
        return list(range(1, count + 1))
    return sorted({count - round(place * (count - 1) / max(1, most - 1)) for place in range(most)})


def again(command: Command, root: Path, whole: dict[str, Any]) -> str:
    """The same command: what is wrong with how it ends and with what is there then."""
    ended, _ = run(command, root)
    if ended.code != 0:
        return f"the same command again ended with {ended.code}: {ended.said}"
    return difference(whole, contents(root))


def seconds_since(start: float) -> float:
    """Wall time, to be shown."""
    return round(time.monotonic() - start, 2)


def contents(root: Path) -> dict[str, Any]:
    """Every file below a folder by its path, without what two undisturbed runs do not share."""
    found: dict[str, Any] = {}
    for path in sorted(root.rglob("*")):
        if ".hashes" in path.parts:  # what a study remembers of files' times, and makes again
            continue
        name = str(path.relative_to(root))
        found[name] = "folder" if path.is_dir() else lasting(path)
    return found


def lasting(path: Path) -> Any:
    """What two undisturbed runs share of a file."""
    content = path.read_bytes()
    if path.name == "evaluations.csv":
        return _SPEED.sub(b",speed,", content)
    if path.suffix == ".json":
        try:
            found = json.loads(content)
        except ValueError:  # half of one
            return content
        return sorted(found) if path.name == "timing.json" else _without_passing(found)
    if path.name == "timing.csv":
        return len(content.splitlines())
    return content


def _without_passing(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _without_passing(own) for key, own in value.items() if key not in _PASSING}
    if isinstance(value, list):
        return [_without_passing(own) for own in value]
    return _HASH.sub("hash", value) if isinstance(value, str) else value


def difference(whole: dict[str, Any], found: dict[str, Any]) -> str:
    """The first file that is lost, left over or another; nothing if all are as they should be."""
    for name in sorted({*whole, *found}):
        if whole.get(name) != found.get(name):
            return f"{'left over' if name not in whole else 'lost' if name not in found else 'differs'}: {name}"
    return ""


def worst(cases: Sequence[Case]) -> str:
    """What was wrong first."""
    return next((f"{case.what}: {case.wrong}" for case in cases if case.wrong), "")
