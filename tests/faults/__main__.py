"""The whole campaign: `python -m tests.faults`; a part of it: `python -m tests.faults crash --most 5 --only train`;
several parts: `python -m tests.faults crash --most 5 + kills --kills 20`.

Prints a Markdown table (what was done to what, how often, how many were bad, and the first of these) and ends with 1
if any case is bad. Kinds: crash (SIGKILL before each change to the disk), kills (SIGKILL at random moments), disk (what
the system refuses), readers (damaged and hostile files), arguments (hostile values of every flag), same (the same
weights).
"""

from __future__ import annotations

import argparse
import gc
import json
import os
import sys
import tempfile
from collections.abc import Iterable, Iterator
from dataclasses import asdict
from itertools import groupby
from pathlib import Path

gc.disable()  # until all is imported (child.py)

from tests.faults import arguments, child, crash, disk, kills, readers, same  # noqa: E402
from tests.faults.commands import Home  # noqa: E402
from tests.faults.crash import Case, worst  # noqa: E402

KINDS = ("crash", "kills", "disk", "readers", "arguments", "same")


def main() -> int:
    """Run the cases that the command line asks for."""
    parts = _parts(sys.argv[1:])
    child.import_all()
    found: list[Case] = []
    print("| kind | of | cases | bad | worst |\n|-|-|-|-|-|", flush=True)
    with tempfile.TemporaryDirectory(prefix="thinresnet-faults-") as folder:
        Path(folder).chmod(0o755)  # some cases run as another user
        os.environ["THINRESNET_CACHE"] = str(Path(folder) / "cache")
        child.draw_once(Path(folder) / "charts")
        home = Home(Path(folder))
        cases = _noted(case for options in parts for case in _cases(home, options))
        for (kind, subject), own in groupby(cases, lambda case: (case.kind, case.subject)):
            these = list(own)
            found += these
            bad, done = sum(bool(case.wrong) for case in these), sum(case.times for case in these)
            print(f"| {kind} | {subject} | {done:,} | {bad} | {worst(these)} |", flush=True)
            if parts[0].json:
                parts[0].json.write_text(json.dumps([asdict(case) for case in found], indent=1) + "\n")
    print(f"| all | | {sum(case.times for case in found):,} | {sum(bool(case.wrong) for case in found)} | |")
    return int(any(case.wrong for case in found))


def _parts(words: list[str]) -> list[argparse.Namespace]:
    """The options of each part; parts stand between plus signs."""
    parser = argparse.ArgumentParser(prog="python -m tests.faults", description=__doc__)
    parser.add_argument("kinds", nargs="*", metavar="KIND", help=f"{', '.join(KINDS)} (default: all)")
    parser.add_argument("--most", type=int, metavar="N", help="so many cases of each command or reader (default: all)")
    parser.add_argument("--kills", type=int, default=200, metavar="N", help="random kills (default: 200)")
    parser.add_argument("--seed", type=int, default=1, metavar="N", help="of the random kills and damages")
    parser.add_argument("--only", nargs="*", default=(), metavar="NAME", help="these commands or readers alone")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write every case (in the first part)")
    ends = [place for place, word in enumerate([*words, "+"]) if word == "+"]
    starts = [0, *(end + 1 for end in ends[:-1])]
    found = [parser.parse_args(words[start:end]) for start, end in zip(starts, ends, strict=True)]
    if unknown := [kind for options in found for kind in options.kinds if kind not in KINDS]:
        parser.error(f"{unknown[0]}: one of {', '.join(KINDS)}")
    return found


def _noted(cases: Iterable[Case]) -> Iterator[Case]:
    """The cases; a bad one is shown at once, on the other stream."""
    for case in cases:
        if case.wrong:
            print(f"{case.kind}, {case.subject}: {case.what}: {case.wrong}", file=sys.stderr, flush=True)
        yield case


def _cases(home: Home, options: argparse.Namespace) -> Iterator[Case]:
    kinds, only = options.kinds or KINDS, tuple(options.only)
    if "crash" in kinds:
        for command in home.commands(only):
            yield from crash.campaign(command, home.root, options.most)
    if "kills" in kinds:
        yield from kills.campaign(home, options.kills, options.seed, only)
    if "disk" in kinds:
        yield from disk.campaign(home, only, options.most)
    if "readers" in kinds:
        yield from readers.campaign(home, only, options.most, options.seed)
    if "arguments" in kinds:
        yield from arguments.campaign(home, only, options.most)
    if "same" in kinds:
        yield from same.campaign(home, processes=options.most is None)


if __name__ == "__main__":
    sys.exit(main())
