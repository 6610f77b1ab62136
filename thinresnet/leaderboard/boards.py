"""Which board is meant: a file that is named, the working folder's, the checkout's, or the one inside the package.

A wheel lies like a checkout: the board, its papers and the evidence of its measured rows stand below one folder.
Standard library only.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

from thinresnet.errors import InputError

NAME = "leaderboard.csv"
_PACKAGE = Path(__file__).resolve().parents[1]
GIVEN, WORKING, CHECKOUT, PACKAGED = "given", "working folder", "checkout", "package"


@dataclass(frozen=True)
class Board:
    """The file of a board, and how it was found."""

    path: Path
    origin: str

    @property
    def says(self) -> str:
        """Which board this is, in words."""
        words = {
            GIVEN: "as given by --board",
            WORKING: "of the working folder",
            CHECKOUT: "of the checkout",
            PACKAGED: "of the installed package",
        }
        return f"{self.path} ({words[self.origin]})"


def find_board(given: str | os.PathLike[str] | None = None) -> Board:
    """The board that is meant; what is not there is refused when it is read."""
    if given is not None:
        return Board(Path(given), GIVEN)
    checkout = _PACKAGE.parent / NAME
    if Path(NAME).exists():
        return Board(Path(NAME), CHECKOUT if _same(Path(NAME), checkout) else WORKING)
    if checkout.exists():
        return Board(checkout, CHECKOUT)
    if (_PACKAGE / NAME).exists():
        return Board(_PACKAGE / NAME, PACKAGED)
    return Board(Path(NAME), WORKING)


def writable_board(given: str | os.PathLike[str] | None = None) -> Board:
    """The board to be written; the one inside an installed package is refused, since the next install replaces it."""
    board = find_board(given)
    if board.origin == PACKAGED:
        raise InputError(
            f"{board.path}: the board of the installed package is read only; copy it and {board.path.stem}.bib to your "
            f"folder (a copy named {NAME} is found there; --board FILE names another), or work in a checkout"
        )
    return board


def _same(one: Path, other: Path) -> bool:
    return other.exists() and one.samefile(other)
