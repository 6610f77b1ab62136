"""The verdicts of the board, frozen: `python tests/leaderboard/test_frozen_verdicts.py` rewrites them.

A change of the board or of the rule shows there, row by row, and is read before it is committed. One line is a row
with anything to judge: a letter for each cell of the matrix (l, t, c, u), and the gaps on MACs by reference set.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence
from pathlib import Path

from thinresnet.leaderboard.bar import Bar
from thinresnet.leaderboard.references import ALL_ASSUMPTIONS, RULES, may_be_the_bar
from thinresnet.leaderboard.schema import Entry
from thinresnet.leaderboard.store import read_board
from thinresnet.leaderboard.verdicts import all_verdicts

FROZEN = Path(__file__).with_name("frozen_verdicts.csv")
BOARD = Path(__file__).parents[2] / "leaderboard.csv"
GAPS = [
    place
    for place, each in enumerate(ALL_ASSUMPTIONS)
    if (each.recipes, each.resolution, each.budget) == ("any", "any", "macs")
]


def frozen(entries: Sequence[Entry]) -> str:
    """The verdicts of a board as text."""
    bar = Bar(entries)
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    gaps = [f"gap: {ALL_ASSUMPTIONS[place].references}" for place in GAPS]
    writer.writerow(["id", f"outcomes by rule {RULES}", *gaps])
    for entry in entries:
        if may_be_the_bar(entry) or entry.top1 is None:
            continue
        found = all_verdicts(bar, entry)
        figures = ["" if (gap := found[place].gap) is None else f"{gap:.2f}" for place in GAPS]
        writer.writerow([entry.id, "".join(verdict.outcome[0] for verdict in found), *figures])
    return text.getvalue()


def test_no_verdict_moves_unseen() -> None:
    found, kept = frozen(read_board(BOARD)).splitlines(), FROZEN.read_text("utf-8").splitlines()
    moved = sorted(set(found) ^ set(kept))
    assert not moved, f"{len(moved)} lines moved; read them, then rewrite {FROZEN.name} as said above: {moved[:6]}"


if __name__ == "__main__":
    FROZEN.write_text(frozen(read_board(BOARD)), encoding="utf-8")
