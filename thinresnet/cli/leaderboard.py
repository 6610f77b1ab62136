"""`thinresnet leaderboard show | compare | add | check | cite | page | plot | holes`."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from thinresnet.cli.leaderboard_add import add, with_columns
from thinresnet.cli.leaderboard_output import AgainstOption, BoardOption, JsonOption, print_json, read
from thinresnet.cli.leaderboard_verdicts import compare, holes, show
from thinresnet.leaderboard.boards import find_board, writable_board
from thinresnet.leaderboard.papers import bib_beside
from thinresnet.leaderboard.references import references_named
from thinresnet.leaderboard.show import Choice, choose

app = typer.Typer(
    name="leaderboard",
    help="Published pruning results against simply scaled networks at no greater cost.",
    no_args_is_help=True,
)


app.command()(show)
app.command()(compare)
app.command()(holes)
app.command()(with_columns(add))


@app.command()
def check(
    fix: Annotated[bool, typer.Option("--fix", help="First rewrite both files in their canonical form.")] = False,
    as_json: JsonOption = False,
    board: BoardOption = None,
) -> None:
    """Check every rule of every row and paper; ends with code 2 where one is broken.

    Example: thinresnet leaderboard check
    """
    from dataclasses import asdict

    from thinresnet.leaderboard import check as rules

    path = (writable_board(board) if fix else find_board(board)).path
    if fix and rules.tidy(path):
        print(f"{path} and {bib_beside(path)}: rewritten in canonical form", file=sys.stderr)
    problems = rules.check(path)
    if as_json:
        print_json([asdict(problem) for problem in problems])
    else:
        for problem in problems:
            print(problem)
    if problems:
        print(f"thinresnet: {len(problems)} problem{'s' if len(problems) > 1 else ''} in {path}", file=sys.stderr)
        raise typer.Exit(2)
    if not as_json:
        print(f"{path}: every rule kept")


@app.command()
def cite(
    names: Annotated[
        list[str] | None, typer.Argument(help="Rows or citation keys; without any, the baseline and this project.")
    ] = None,
    board: BoardOption = None,
) -> None:
    """Print BibTeX.

    Example: thinresnet leaderboard cite fang2023depgraph tessier2023thinresnet
    """
    from thinresnet.leaderboard.cite import cite as find

    entries, papers = read(board) if names else ([], {})
    sys.stdout.write("\n".join(paper.bibtex for paper in find(names or [], entries, papers)))


@app.command()
def page(
    output: Annotated[Path, typer.Option("--output", "-o", help="The HTML file to write.")] = Path("leaderboard.html"),
    board: BoardOption = None,
) -> None:
    """Write the board as one HTML file: chart, table and headline, from disk or as a static site, without a network.

    Example: thinresnet leaderboard page --output site/index.html
    """
    from thinresnet.files import write_atomically
    from thinresnet.leaderboard.page import page as render

    entries, papers = read(board)
    text = render(entries, papers)
    write_atomically(output, text)
    print(f"{output}: {len(entries)} rows, {len(text.encode()) / 1e6:.1f} MB")


@app.command()
def plot(
    output: Annotated[Path, typer.Argument(help="A file ending in .png, .svg or .pdf.")],
    arch: Annotated[str, typer.Option(help="Architecture.")] = "resnet50",
    dataset: Annotated[str, typer.Option(help="Data set.")] = "imagenet",
    cost: Annotated[str, typer.Option(help="Horizontal axis: macs, params or ratio.")] = "macs",
    linear: Annotated[bool, typer.Option("--linear", help="A linear axis instead of a logarithmic one.")] = False,
    against: AgainstOption = "",
    board: BoardOption = None,
) -> None:
    """Draw accuracy against cost for a paper, with the bar as a line.

    Example: thinresnet leaderboard plot resnet50.pdf --arch resnet50 --cost ratio
    """
    from thinresnet.leaderboard.plot import draw

    entries, papers = read(board)
    choose(entries, papers, Choice(dataset=dataset, arch=arch))
    family = references_named(against, arch)
    draw(output, entries, dataset=dataset, arch=arch, axis=cost, against=family, log=not linear)
    print(output)
