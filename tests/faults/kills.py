"""Commands killed at random moments, now and again several times in a row; then the same command once more."""

from __future__ import annotations

import random
import signal
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

from tests.faults import child
from tests.faults.child import Command
from tests.faults.commands import Home
from tests.faults.crash import Case, again, begin, contents, run, seconds_since

# How the kills are shared out: each command takes about as long with its own.
SHARES = {"leaderboard add": 10, "train": 4, "evaluate": 6, "prune": 3, "study run": 1}
# A second and a third kill in a row find what the first has left.
_IN_A_ROW = (1, 1, 2, 3)


def campaign(home: Home, count: int, seed: int, only: Sequence[str] = ()) -> Iterator[Case]:
    """`count` kills, shared out among the commands."""
    draw = random.Random(seed)
    names = only or tuple(SHARES)
    shares = [SHARES.get(name, 1) for name in names]
    ends = [round(count * sum(shares[: place + 1]) / sum(shares)) for place in range(len(shares))]
    for name, start, end in zip(names, [0, *ends], ends, strict=False):
        (command,) = home.commands([name])
        yield from _kill(command, home.root, end - start, draw)


def _kill(command: Command, root: Path, count: int, draw: random.Random) -> Iterator[Case]:
    begin(command, root)
    ended = run(command, root)
    if ended.code != 0:
        raise RuntimeError(f"{command.name}: {ended.said}")
    whole = contents(root)
    while count > 0:
        start = time.monotonic()
        begin(command, root)
        moments: list[float] = []
        for _ in range(min(count, draw.choice(_IN_A_ROW))):
            moment = draw.uniform(0, ended.cpu_seconds)
            if child.run(command.arguments, root, killed_after=moment).code == -signal.SIGKILL:
                moments.append(moment)
        if moments:  # none, if it was sooner done each time
            count -= len(moments)
            what = "after " + ", ".join(f"{moment:.2f}" for moment in moments) + " s of the processor"
            yield Case("kills", command.name, what, again(command, root, whole), seconds_since(start), len(moments))
