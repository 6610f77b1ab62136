"""The leaderboard from Python: `from thinresnet import leaderboard`. Nothing here imports torch.

board = leaderboard.read_board()
print(leaderboard.verdict(board[0]).says)
leaderboard.compare("resnet50").cells                          # the matrix of assumptions
leaderboard.compare("resnet50", macs="2.05G", top1=76.0)       # one claim under each of them

Rows are added by `thinresnet.leaderboard.adding.add_rows`, which is not imported here: reading stays light.
"""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from typing import overload

from thinresnet.errors import InputError, nearest
from thinresnet.leaderboard import store
from thinresnet.leaderboard.bar import Bar
from thinresnet.leaderboard.claims import in_percent, typed_in
from thinresnet.leaderboard.matrix import Matrix, matrix
from thinresnet.leaderboard.references import RULES, Assumptions, usual_references
from thinresnet.leaderboard.schema import Entry
from thinresnet.leaderboard.verdicts import Verdict, all_verdicts, judge
from thinresnet.notebook import html_table


@dataclass(frozen=True)
class Claim:
    """Figures of one's own under every set of assumptions."""

    entry: Entry
    verdicts: tuple[Verdict, ...]
    rules: int = RULES

    def __repr__(self) -> str:
        outcomes = Counter(verdict.outcome for verdict in self.verdicts)
        said = ", ".join(f"{outcome} {times}" for outcome, times in outcomes.items())
        return f"<Claim {self.entry.arch} {self.entry.top1} % on {self.entry.dataset}: {said}>"

    def _repr_html_(self) -> str:
        columns = ("references", "recipes", "resolution", "budget", "verdict")
        rows = [
            (own.references, own.recipes, own.resolution, own.budget, verdict.in_words)
            for verdict in self.verdicts
            for own in (verdict.assumptions,)
        ]
        caption = f"{self.entry.arch}, {self.entry.top1} % on {self.entry.dataset}, rules {self.rules}"
        return html_table(columns, rows, caption=caption, left=4)


def read_board(path: str | os.PathLike[str] | None = None) -> list[Entry]:
    """All rows of a board: of `path`, else `./leaderboard.csv`, else the one that comes with this package."""
    return store.read_board(store.default_board() if path is None else path)


@overload
def compare(arch: str = ..., dataset: str = ..., *, board: Iterable[Entry] | None = ...) -> Matrix: ...


@overload
def compare(
    arch: str = ...,
    dataset: str = ...,
    *,
    top1: float | str,
    macs: str | float | None = ...,
    params: str | float | None = ...,
    board: Iterable[Entry] | None = ...,
) -> Claim: ...


def compare(
    arch: str = "resnet50",
    dataset: str = "imagenet",
    *,
    top1: float | str | None = None,
    macs: str | float | None = None,
    params: str | float | None = None,
    board: Iterable[Entry] | None = None,
) -> Matrix | Claim:
    """All published pruning results of one network under every set of assumptions; with `top1`, one claim.

    Costs are written as budgets are elsewhere: `"2.05G"`, `"50%"` of the dense network, or a number of MACs or
    parameters.
    """
    entries = list(read_board() if board is None else board)
    if top1 is None:
        if macs is not None or params is not None:
            raise InputError("macs, params: the costs of a claim, which has a top1, too; leave them out or give it")
        known_arch(entries, dataset, arch)
        return matrix(entries, Bar(entries), dataset, arch)
    if macs is None and params is None:
        raise InputError("top1: the accuracy of a claim, which has a cost, too; give macs, params or both")
    row = typed_in(
        arch=arch,
        top1=in_percent(str(top1)),
        macs="" if macs is None else str(macs),
        params="" if params is None else str(params),
        dataset=dataset,
    )
    return Claim(row, tuple(all_verdicts(Bar(entries), row)))


def verdict(
    row: Entry, assumptions: Assumptions | None = None, *, board: Iterable[Entry] | Bar | None = None
) -> Verdict:
    """One row under one set of assumptions; without one: its usual references, any recipe and resolution, MACs.

    For many rows, hand over one `Bar(entries)` as `board`.
    """
    if not isinstance(board, Bar):
        board = Bar(read_board() if board is None else board)
    return judge(board, row, assumptions or Assumptions(usual_references(row.arch)))


def known_arch(entries: Iterable[Entry], dataset: str, arch: str) -> None:
    """Refuse an architecture that no row of this dataset has, with the nearest names."""
    known = {entry.arch for entry in entries if entry.dataset == dataset}
    if arch not in known:
        raise InputError(f"--arch {arch}: no row on {dataset} has it{nearest(arch, known)}")
