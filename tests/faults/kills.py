"""Commands killed at random moments, now and again several times in a row; then the same command once more."""

from __future__ import annotations

import random
import time
from collections.abc import Iterator

from tests.faults import child
from tests.faults.commands import Home
from tests.faults.crash import Case, again, begin, contents, run, seconds_since

KILLED = ("train", "prune", "study run", "evaluate", "leaderboard add")
# A second and a third kill in a row find what the first has left.
_IN_A_ROW = (1, 1, 2, 3)


def campaign(home: Home, count: int, seed: int, only: tuple[str, ...] = KILLED) -> Iterator[Case]:
    """`count` kills, of one command after the other."""
    commands, draw = home.commands(only), random.Random(seed)
    whole, seconds = {}, {}
    for command in commands:
        begin(command, home.root)
        ended, _ = run(command, home.root)
        if ended.code != 0:
            raise RuntimeError(f"{command.name}: {ended.said}")
        whole[command.name], seconds[command.name] = contents(home.root), ended.seconds
    done = 0
    while done < count:
        for command in commands:
            start = time.monotonic()
            begin(command, home.root)
            moments = [draw.uniform(0, seconds[command.name]) for _ in range(draw.choice(_IN_A_ROW))]
            for moment in moments:
                child.run(command.arguments, home.root, seconds=moment)
            what = "after " + ", ".join(f"{moment:.2f}" for moment in moments) + " s"
            yield Case(
                "kills", command.name, what, again(command, home.root, whole[command.name]), seconds_since(start)
            )
            done += len(moments)
            if done >= count:
                return
