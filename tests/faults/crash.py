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
import traceback
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NoReturn

LONGEST_SECONDS = 120
_CHANGES = {"os.rename", "os.remove", "os.mkdir", "os.rmdir", "os.chmod", "os.link", "os.symlink", "os.truncate"}
_WRITES = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_APPEND
# What two undisturbed runs do not share.
_PASSING = {
    "seconds", "seconds_total", "images_per_second", "peak_memory_mib", "started", "finished", "sessions", "device",
    "time", "times", "mtime_ns", "git_commit", "git_clean",
}  # fmt: skip
_HASH = re.compile(r"\b[0-9a-f]{64}\b")


@dataclass(frozen=True)
class Command:
    """A command line, run in a folder that begins as a copy of another's."""

    name: str
    arguments: tuple[str, ...]
    begins_with: Path | None = None


@dataclass(frozen=True)
class Case:
    """One kill, and what was wrong after the same command again; nothing if `wrong` is empty."""

    command: str
    change: int
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


def child(command: Command, root: Path, counter: Counter | None) -> NoReturn:
    """Run the command as the console script would, in the folder `root`; its output goes beside the folder."""
    code = 1
    try:
        os.chdir(root)
        output = os.open(root.with_name("output"), os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
        for stream in (1, 2):
            os.dup2(output, stream)
        sys.argv = ["thinresnet", *command.arguments]
        from thinresnet import cli

        if counter is not None:
            counter.install()
        cli.main()
        code = 0
    except SystemExit as error:
        code = error.code if isinstance(error.code, int) else int(error.code is not None)
    except BaseException:
        traceback.print_exc()
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)


def run(command: Command, root: Path, *, last: int | None = None, counting: bool = False) -> tuple[int, list[str]]:
    """The exit code (minus the signal), and the changes if they are to be counted."""
    reading, writing = os.pipe()
    process = os.fork()
    if process == 0:
        os.close(reading)
        counter = Counter(root, last, writing) if counting or last is not None else None
        child(command, root, counter)
    os.close(writing)
    with os.fdopen(reading, "rb") as pipe:
        changes = pipe.read().decode().splitlines()  # until the child ends
    end = time.monotonic() + LONGEST_SECONDS
    while os.waitid(os.P_PID, process, os.WEXITED | os.WNOHANG | os.WNOWAIT) is None:
        if time.monotonic() > end:
            os.kill(process, signal.SIGKILL)
        time.sleep(0.002)
    return os.waitstatus_to_exitcode(os.waitpid(process, 0)[1]), changes


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
    code, changes = run(command, root, counting=True)
    whole = contents(root)
    if code != 0:
        raise RuntimeError(f"{command.name}: {said(root)}")
    step = 1 if most is None else max(1, -(-len(changes) // most))
    for number in range(1, len(changes) + 1, step):
        start = time.monotonic()
        begin(command, root)
        code, _ = run(command, root, last=number)
        wrong = "" if code == -signal.SIGKILL else f"ended with {code} instead of being killed: {said(root)}"
        if not wrong:
            again, _ = run(command, root)
            wrong = f"the same command again ended with {again}: {said(root)}" if again else ""
        wrong = wrong or difference(whole, contents(root))
        yield Case(command.name, number, changes[number - 1], wrong, round(time.monotonic() - start, 2))


def said(root: Path) -> str:
    """The end of what the last command printed."""
    return " | ".join(root.with_name("output").read_text(errors="replace").strip().splitlines()[-3:])


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
    if path.suffix == ".json":
        return _without_passing(json.loads(content))
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
    """What was wrong first, by the change that it came before."""
    return next((f"before {case.change} ({case.what}): {case.wrong}" for case in cases if case.wrong), "")
