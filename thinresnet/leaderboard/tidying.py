"""Rewriting a board and its papers in canonical form: what `leaderboard check --fix` does before it checks."""

from __future__ import annotations

import os
from pathlib import Path

from thinresnet.errors import InputError
from thinresnet.files import read_bytes, read_text, write_atomically
from thinresnet.leaderboard.locking import locked
from thinresnet.leaderboard.papers import bib_beside, parse_bib, render_bib
from thinresnet.leaderboard.store import merge, read_board, render, write_board


def tidy(board: str | os.PathLike[str]) -> bool:
    """Rewrite a board and its .bib in canonical form and order; True if anything changed. A broken one is refused."""
    bib = bib_beside(board)
    with locked(board):
        before = read_bytes(Path(board)), read_bytes(bib)
        papers, faults = parse_bib(read_text(bib))
        if faults:
            raise InputError(f"{bib}, line {faults[0].line}, {faults[0]}")
        entries = merge(read_board(board))
        after = render(entries).encode(), render_bib(papers.values()).encode()
        if before == after:
            return False
        write_atomically(bib, after[1])
        write_board(board, entries)
        return True
