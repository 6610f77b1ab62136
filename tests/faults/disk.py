"""What the system refuses: a limit on files' size, a full disk, a folder that is somebody else's, a read-only disk.

The command ends with one line that says which file, why and what to do; what was there is as it was or as it will be;
and once there is room the same command ends as if nothing had happened. A full and a read-only disk are small file
systems in memory, where the system lets one be mounted (root).
"""

from __future__ import annotations

import os
import resource
import shutil
import subprocess
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

from tests.faults import child
from tests.faults.child import Command, Ended
from tests.faults.commands import Home
from tests.faults.crash import Case, again, begin, chosen, contents, run, seconds_since

LIMITS_BYTES = (0, 100, 3_000, 30_000)
FREE_KIB = (0, 8, 40, 160)
_NOBODY = 65534
_ROOM = "256m"


def campaign(home: Home, only: Sequence[str], most: int | None) -> Iterator[Case]:
    """Every refusal of every command, or `most` of each."""
    mounts = os.geteuid() == 0 and _can_mount(home.home / "disk")
    for command in home.commands(only):
        begin(command, home.root)
        ended = run(command, home.root)
        if ended.code != 0:
            raise RuntimeError(f"{command.name}: {ended.said}")
        whole = contents(home.root)
        cases = _cases(command, home, whole, mounts=mounts)
        for number in chosen(len(cases), most):
            what, case = cases[number - 1]
            start = time.monotonic()
            yield Case("disk", command.name, what, case(), seconds_since(start))


def _cases(command: Command, home: Home, whole: dict[str, Any], *, mounts: bool) -> list[tuple[str, Callable[[], str]]]:
    root, disk = home.root, home.home / "disk"
    cases: list[tuple[str, Callable[[], str]]] = [
        (f"files of at most {limit:,} bytes", partial(_limited, command, root, whole, limit)) for limit in LIMITS_BYTES
    ]
    cases.append(("a folder of another user", partial(_unowned, command, root, whole)))
    if mounts:
        cases += [(f"a disk with {free} KiB left", partial(_full, command, disk, whole, free)) for free in FREE_KIB]
        cases.append(("a read-only disk", partial(_full, command, disk, whole, None)))
    return cases


def refused(ended: Ended, *, may_succeed: bool = True, several: bool = False) -> str:
    """What is wrong with how a command ended that was to be refused in one line, or in `several`."""
    if ended.hung:
        return f"hung: {ended.said}"
    if "Traceback" in ended.errors + ended.output or ended.code not in (0, 1, 2):
        return f"ended with {ended.code}: {ended.said}"
    lines = [line for line in ended.errors.splitlines() if line.startswith(("thinresnet: ", "train.py: "))]
    if ended.code == 0:
        return "" if may_succeed else "was not refused"
    if not lines or (len(lines) > 1 and not several) or not ended.errors.endswith("".join(f"{own}\n" for own in lines)):
        return f"does not end with one line: {ended.said}"
    longest = max(map(len, lines))
    return "" if longest < 1200 else f"a line of {longest} characters"


def _disturbed(command: Command, root: Path, whole: dict[str, Any], before: Callable[[], object]) -> str:
    """What is wrong with how it ends, and with what was there."""
    old = contents(root)
    several = command.name == "study run"  # a line for each stage that could not be done
    wrong = refused(child.run(command.arguments, root, before=before), several=several)
    found = contents(root)
    harmed = (name for name in old if found.get(name) not in (old[name], whole.get(name)))
    return wrong or next((f"harmed: {name}" for name in harmed), "")


def _limited(command: Command, root: Path, whole: dict[str, Any], limit: int) -> str:
    begin(command, root)
    set_limit = partial(resource.setrlimit, resource.RLIMIT_FSIZE, (limit, limit))
    return _disturbed(command, root, whole, set_limit) or again(command, root, whole)


def _unowned(command: Command, root: Path, whole: dict[str, Any]) -> str:
    begin(command, root)
    folders = [root, *(path for path in root.rglob("*") if path.is_dir())]
    for folder in folders:
        folder.chmod(0o555)

    def be_nobody() -> None:
        if os.geteuid() == 0:
            os.setgroups([])
            os.setegid(_NOBODY)
            os.seteuid(_NOBODY)

    wrong = _disturbed(command, root, whole, be_nobody)
    for folder in folders:
        folder.chmod(0o755)
    return wrong or again(command, root, whole)


def _full(command: Command, disk: Path, whole: dict[str, Any], free_kib: int | None) -> str:
    """On a file system of its own, with so much space left, or read-only."""
    with _mounted(disk):
        root = disk / "work"
        begin(command, root)
        root.with_name("changes").write_text("")
        used = shutil.disk_usage(disk).used // 1024
        _mount(disk, "remount,ro" if free_kib is None else f"remount,size={max(4, used + free_kib)}k")
        wrong = _disturbed(command, root, whole, lambda: None)
        _mount(disk, f"remount,rw,size={_ROOM}")
        return wrong or again(command, root, whole)


@contextmanager
def _mounted(disk: Path) -> Iterator[None]:
    disk.mkdir(exist_ok=True)
    _mount(disk, f"size={_ROOM}")
    try:
        yield
    finally:
        subprocess.run(["umount", "-l", disk], check=True)


def _mount(disk: Path, options: str) -> None:
    done = subprocess.run(["mount", "-t", "tmpfs", "-o", options, "tmpfs", disk], capture_output=True, check=False)
    if done.returncode != 0:
        raise OSError(f"mount -o {options}: {done.stderr.decode().strip()}")


def _can_mount(disk: Path) -> bool:
    try:
        with _mounted(disk):
            return True
    except OSError:
        return False
