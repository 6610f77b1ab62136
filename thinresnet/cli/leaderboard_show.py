"""`thinresnet leaderboard show`: rows and their verdicts."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import Annotated

import typer

from thinresnet.cli.leaderboard_output import (
    RULE,
    AgainstOption,
    BoardOption,
    OnOption,
    RecipesOption,
    ResolutionOption,
    cells_asked,
    print_words,
    read,
    table,
    text,
)
from thinresnet.cli.terminal import JsonFlag, console
from thinresnet.errors import InputError
from thinresnet.leaderboard import show as choosing
from thinresnet.leaderboard import tables
from thinresnet.leaderboard.bar import Bar
from thinresnet.leaderboard.schema import FAMILIES

app = typer.Typer()
_SHOWN_AT_ONCE = 40


@app.command()
def show(
    dataset: Annotated[str, typer.Option(help="Dataset, such as imagenet.")] = "",
    arch: Annotated[str, typer.Option(help="Dense architecture, such as resnet50.")] = "",
    method: Annotated[str, typer.Option(help="Words in the method's name, in any case.")] = "",
    family: Annotated[str, typer.Option(help=f"One of {', '.join(FAMILIES)}.")] = "",
    source: Annotated[str, typer.Option(help="published or measured.")] = "",
    paper: Annotated[str, typer.Option(help="Citation key.")] = "",
    year: Annotated[str, typer.Option(help="A year or a span: 2019, 2019-2022, 2020-.")] = "",
    verdict: Annotated[str, typer.Option(help=f"One of {', '.join(choosing.VERDICTS)}.")] = "",
    macs: Annotated[str, typer.Option(help="At most this: 2.05G, or 50% of the dense network.")] = "",
    params: Annotated[str, typer.Option(help="At most this: 12M, or 50% of the dense network.")] = "",
    search: Annotated[str, typer.Option(help="Words that the row must hold.")] = "",
    against: AgainstOption = "",
    recipes: RecipesOption = "any",
    resolution: ResolutionOption = "any",
    on: OnOption = "macs",
    sort: Annotated[str, typer.Option(help=f"Sort by {', '.join(choosing.SORTS)}.")] = "",
    limit: Annotated[
        int | None, typer.Option(min=0, help=f"Rows at most, 0 for all; {_SHOWN_AT_ONCE} where a person reads.")
    ] = None,
    columns: Annotated[str, typer.Option(help=f"Columns, by comma: {', '.join(tables.SHOWN)}.")] = "",
    as_json: JsonFlag = False,
    as_csv: Annotated[bool, typer.Option("--csv", help="Print CSV.")] = False,
    as_markdown: Annotated[bool, typer.Option("--markdown", help="Print a Markdown table.")] = False,
    as_latex: Annotated[bool, typer.Option("--latex", help="Print a LaTeX table with booktabs.")] = False,
    board: BoardOption = None,
) -> None:
    """Print rows of the board with their verdicts under one set of assumptions.

    Example: thinresnet leaderboard show --arch resnet50 --family pruned --macs 50% --sort gap
    """
    formats = {
        "--json": (as_json, tables.as_json),
        "--csv": (as_csv, tables.as_csv),
        "--markdown": (as_markdown, tables.as_markdown),
        "--latex": (as_latex, tables.as_latex),
    }
    asked = [name for name, (wanted, _) in formats.items() if wanted]
    if len(asked) > 1:
        raise InputError(f"{' and '.join(asked)}: one format at a time")
    names = tables.columns_named(columns)
    first = cells_asked(against, recipes, resolution, on)[0]
    under = choosing.Under(first.references if against else "", first.recipes, first.resolution, first.budget)
    entries, papers = read(board)
    choice = choosing.Choice(dataset, arch, family, source, paper, year, macs, params, search, method)
    chosen = choosing.choose(entries, papers, choice)
    # How many there are in all is said where a person reads; only a filter by verdict needs every verdict for it.
    shown = choosing.rows(chosen, Bar(entries), papers, under=under, verdict=verdict, sort=sort) if verdict else None
    total = len(chosen) if shown is None else len(shown)
    most = (0 if asked else _SHOWN_AT_ONCE) if limit is None else limit
    if shown is None:
        shown = choosing.rows(chosen, Bar(entries), papers, under=under, sort=sort, limit=most)
    shown = shown[:most] if most else shown
    if asked:
        sys.stdout.write(formats[asked[0]][1](shown, under, names))
        return
    _print_rows(shown, names)
    to = console()
    rest = "" if len(shown) == total else "; --limit 0 shows all"
    print_words(to, f"{len(shown)} of {total} rows{rest}. Verdicts against {under.says}. {RULE}")


def _print_rows(shown: Sequence[choosing.Row], names: Sequence[str]) -> None:
    to = console()
    if not shown:
        return
    # What is the same in every row is said once.
    same = [name for name in ("arch", "dataset") if len({tables.SHOWN[name].text(row) for row in shown}) == 1]
    title = ", ".join(tables.SHOWN[name].text(shown[0]) for name in same if name not in names)
    columns = names or tables.columns_that_fit(shown, to.width)
    below = not names and "id" not in columns
    made = table(title)
    for name in columns:
        column = tables.SHOWN[name]
        whole = column.number or name in ("id", "verdict")
        header = "method, id" if below and name == "method" else column.header
        made.add_column(header, justify="right" if column.number else "left", no_wrap=whole, overflow="fold")
    for row in shown:
        texts = {name: tables.SHOWN[name].text(row) for name in columns}
        if below:
            texts["method"] += f"\n{row.entry.id}"
        made.add_row(*map(text, texts.values()))
    to.print(made)
