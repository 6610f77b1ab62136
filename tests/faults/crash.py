"""The n-th change to the disk of a command is the last thing that it does; then the same command is given again.

One run of the command shows what is on the disk before each of its changes (`changes.py`): what SIGKILL would leave
there, with half of a write. Changes that leave the same files are one case, which stands for all of them; a few are
SIGKILL itself, which has to leave what was seen. Then the command is given again: the files have to be, byte for byte,
those of a run that was never disturbed: none lost, none left over. What is left out of the comparison is what no two
runs share: times, dates, memory, and how often a run was resumed.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import time
import zipfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.faults import child
from tests.faults.changes import Act, Keep, die_before, fingerprint, same_name, tell, watched
from tests.faults.child import Command, Ended
from thinresnet.result import published
from thinresnet.runs import RECIPE_FILE

# What two undisturbed runs do not share.
_PASSING = {
    "seconds", "seconds_total", "images_per_second", "peak_memory_mib", "started", "finished", "sessions", "device",
    "time", "times", "mtime_ns", "git_commit", "git_clean",
}  # fmt: skip
_TIMES = ("timing.json", "table.json")  # files of measured times
_SPEED = re.compile(rb",[0-9]+,(?=[^,]*,[^,]*,[^,]*,[0-9a-f]{64})")  # images a second, four columns before the weights
KILLED = 3  # of the changes of a command, by SIGKILL itself
_HASH = re.compile(r"\b[0-9a-f]{64}\b")


@dataclass(frozen=True)
class Case:
    """One thing that was done to a command or a reader, and what was wrong then; nothing if `wrong` is empty."""

    kind: str
    subject: str
    what: str
    wrong: str
    seconds: float
    times: int = 1  # how many changes, kills or values it stands for


def run(command: Command, root: Path, act: Act | None = None) -> Ended:
    """How it ended, with something done before each of its changes."""
    return child.run(command.arguments, root, before=(lambda: None) if act is None else watched(root, act))


def changes(command: Command, root: Path) -> tuple[Ended, list[str]]:
    """How it ended, and the words of its changes."""
    report = root.with_name("changes")
    handle = os.open(report, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
    ended = run(command, root, tell(handle))
    os.close(handle)
    return ended, report.read_text().splitlines()


def begin(command: Command, root: Path) -> None:
    """The folder as it is before the command."""
    shutil.rmtree(root, ignore_errors=True)
    if command.begins_with is None:
        root.mkdir(parents=True)
    else:
        shutil.copytree(command.begins_with, root, symlinks=True)


def campaign(command: Command, root: Path, most: int | None = None, killed: int = KILLED) -> Iterator[Case]:
    """The command again from what each of its changes would leave, or `most` of them, evenly; `killed` by SIGKILL."""
    states = root.with_name("states")
    shutil.rmtree(states, ignore_errors=True)
    states.mkdir()
    begin(command, root)
    ended = run(command, root, Keep(root, states))
    if ended.code != 0:
        raise RuntimeError(f"{command.name}: {ended.said}")
    whole = contents(root)
    words = [(states / f"{number}.what").read_text() for number in range(1, len(list(states.glob("*.what"))) + 1)]
    groups: dict[str, list[int]] = {}
    for number in range(1, len(words) + 1):
        groups.setdefault(fingerprint(states / str(number)), []).append(number)
    every = list(groups.values())
    surely = len(words) - len(words) // 20  # a cache of hashes, by the clock, is written now and again
    for number in chosen(surely, killed if most is None else min(most, killed)):
        start = time.monotonic()
        wrong = _killed(command, root, number, states / str(number)) or again(command, root, whole)
        yield Case("crash", command.name, f"SIGKILL before {number}: {words[number - 1]}", wrong, seconds_since(start))
    for place in chosen(len(every), most):
        first, *others = every[place - 1]
        start = time.monotonic()
        shutil.rmtree(root)
        shutil.copytree(states / str(first), root, symlinks=True)
        what = f"before {', '.join(map(str, (first, *others)))} of {len(words)}: {words[first - 1]}"
        yield Case("crash", command.name, what, again(command, root, whole), seconds_since(start), 1 + len(others))
    shutil.rmtree(states)


def _killed(command: Command, root: Path, number: int, state: Path) -> str:
    """Kill it before that change: what is wrong with how it ends, or with what was seen to be on the disk then."""
    begin(command, root)
    ended = run(command, root, die_before(number))
    if ended.code != -signal.SIGKILL:
        return f"ended with {ended.code} before being killed: {ended.said}"
    seen = difference(_unfinished(state), _unfinished(root))
    return f"not what was seen: {seen}" if seen else ""


def _unfinished(root: Path) -> dict[str, Any]:
    """The contents, of unfinished files and checkpoints (which hold times) the names alone."""
    bare = (".part", ".pt")
    return {
        same_name(name): "" if name.endswith(bare) and content != "folder" else content
        for name, content in contents(root).items()
    }


def chosen(count: int, most: int | None) -> list[int]:
    """The numbers from 1 to `count`, or `most` of them, evenly, the last among them."""
    if most is None or most >= count:
        return list(range(1, count + 1))
    return sorted({count - round(place * (count - 1) / max(1, most - 1)) for place in range(most)})


def again(command: Command, root: Path, whole: dict[str, Any]) -> str:
    """The same command: what is wrong with how it ends and with what is there then."""
    ended = run(command, root)
    if ended.code != 0:
        return f"the same command again {'hung' if ended.hung else f'ended with {ended.code}'}: {ended.said}"
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
        return sorted(found) if path.name in _TIMES else _without_passing(found)
    if path.name == RECIPE_FILE:
        return published(path)  # a run resumes by absolute paths, and cases lie in several places
    if path.suffix == ".pt" and zipfile.is_zipfile(path):
        with zipfile.ZipFile(path) as archive:  # its code has names numbered by process
            return sorted(member.filename for member in archive.infolist())
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
    """What was wrong first, as a cell of a table."""
    return next((f"{case.what}: {case.wrong}".replace("|", "/") for case in cases if case.wrong), "")
