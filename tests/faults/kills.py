"""Commands killed at random moments, now and again several times in a row; then the same command once more."""

from __future__ import annotations

import random
import time
from collections.abc import Iterator, Sequence

from tests.faults import child
from tests.faults.commands import Home
from tests.faults.crash import Case, again, begin, contents, run, seconds_since

KILLED = ("leaderboard add", "train", "evaluate", "prune", "study run")
# A second and a third kill in a row find what the first has left.
_IN_A_ROW = (1, 1, 2, 3)


def campaign(home: Home, count: int, seed: int, only: Sequence[str] = KILLED) -> Iterator[Case]:
    """`count` kills, as many of each command."""
    draw = random.Random(seed)
    for place, command in enumerate(home.commands(only)):
        begin(command, home.root)
        ended = run(command, home.root)
        if ended.code != 0:
            raise RuntimeError(f"{command.name}: {ended.said}")
        whole, left = contents(home.root), count // len(only) + (place < count % len(only))
        while left > 0:
            start = time.monotonic()
            begin(command, home.root)
            moments = [draw.uniform(0, ended.seconds) for _ in range(min(left, draw.choice(_IN_A_ROW)))]
            for moment in moments:
                child.run(command.arguments, home.root, seconds=moment)
            left -= len(moments)
            what = "after " + ", ".join(f"{moment:.2f}" for moment in moments) + " s"
            yield Case("kills", command.name, what, again(command, home.root, whole), seconds_since(start))
