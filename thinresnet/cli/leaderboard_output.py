"""What the verbs of the leaderboard share: reading a board, the common options, and tables of its texts."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from thinresnet.cli.terminal import note
from thinresnet.errors import InputError, nearest
from thinresnet.leaderboard.boards import GIVEN, find_board
from thinresnet.leaderboard.papers import Paper, bib_beside, read_bib
from thinresnet.leaderboard.references import (
    ALL_ASSUMPTIONS,
    BUDGETS,
    RECIPES,
    REFERENCES,
    RESOLUTIONS,
    RULES,
    Assumptions,
    references_named,
)
from thinresnet.leaderboard.schema import Entry
from thinresnet.leaderboard.store import read_board

if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

RULE = f"Rules {RULES}: docs/leaderboard-rules.md."
_REFERENCE_NAMES = ", ".join(name.lower().replace(" ", "-") for name in REFERENCES)

BoardOption = Annotated[
    Path | None,
    typer.Option("--board", help="The CSV; else ./leaderboard.csv, the checkout's, the package's.", show_default=False),
]
AgainstOption = Annotated[str, typer.Option("--against", help=f"Reference set: {_REFERENCE_NAMES}.")]
RecipesOption = Annotated[str, typer.Option("--recipes", help=f"Recipes of the references: {', '.join(RECIPES)}.")]
ResolutionOption = Annotated[
    str, typer.Option("--resolution", help=f"Test resolution of the references: {', '.join(RESOLUTIONS)}.")
]
OnOption = Annotated[str, typer.Option("--on", help=f"Budget: {', '.join(BUDGETS)}.")]


def read(board: Path | None) -> tuple[list[Entry], dict[str, Paper]]:
    """The rows and papers of a board; which board it is, unless it was named, is said to standard error."""
    return read_rows(board), read_bib(bib_beside(find_board(board).path))


def read_rows(board: Path | None) -> list[Entry]:
    """The rows of a board; which board it is, unless it was named, is said to standard error."""
    found = find_board(board)
    entries = read_board(found.path)
    if found.origin != GIVEN:
        note(f"board: {found.says}, {len(entries):,} rows")
    return entries


def cells_asked(against: str, recipes: str, resolution: str, on: str) -> list[Assumptions]:
    """The cells of the matrix that a user asks for; an empty word asks for all."""
    references = references_named(against, "") if against else ""
    for flag, value, choices in (
        ("--recipes", recipes, RECIPES),
        ("--resolution", resolution, RESOLUTIONS),
        ("--on", on, BUDGETS),
    ):
        if value and value not in choices:
            raise InputError(f"{flag} {value}: one of {', '.join(choices)}{nearest(value, choices)}")
    return [
        each
        for each in ALL_ASSUMPTIONS
        if references in ("", each.references)
        and recipes in ("", each.recipes)
        and resolution in ("", each.resolution)
        and on in ("", each.budget)
    ]


def table(title: str, *columns: str, right: tuple[str, ...] = ()) -> Table:
    """An empty table, two spaces between its columns; `right` names those that hold figures, which are never cut."""
    from rich import box
    from rich.table import Table

    made = Table(
        title=title or None, box=box.SIMPLE_HEAD, title_justify="left", title_style="bold", pad_edge=False,
        padding=(0, 1, 0, 0),
    )  # fmt: skip
    for name in columns:
        figures = name in right
        made.add_column(name, justify="right" if figures else "left", no_wrap=figures, overflow="fold")
    return made


def text(words: str) -> Text:
    """Text from the board as text: rich would read brackets in it as markup."""
    from rich.text import Text

    return Text(words)


def print_words(to: Console, words: str, style: str = "") -> None:
    """Print one paragraph of plain words."""
    made = text(words)
    made.stylize(style)
    to.print(made)
