"""`thinresnet leaderboard show | compare | add | check | cite | page | figure | holes`."""

from __future__ import annotations

import gc
import sys
from pathlib import Path
from typing import Annotated

import typer

from thinresnet.cli.idle import refuse_idle
from thinresnet.cli.leaderboard_add import add, with_columns
from thinresnet.cli.leaderboard_output import (
    AgainstOption,
    BoardOption,
    RecipesOption,
    ResolutionOption,
    cells_asked,
    read,
    read_rows,
)
from thinresnet.cli.leaderboard_verdicts import compare, holes, show
from thinresnet.cli.terminal import JsonFlag, print_json, status
from thinresnet.errors import InputError
from thinresnet.leaderboard.boards import find_board, writable_board
from thinresnet.leaderboard.papers import bib_beside

app = typer.Typer(
    name="leaderboard",
    help="Published pruning results against simply scaled networks at no greater cost.",
    no_args_is_help=True,
)


@app.callback()
def _options(ctx: typer.Context) -> None:
    # A board is some hundred thousand objects that live until the verb ends: looking for garbage among them costs time.
    if gc.isenabled():
        gc.disable()
        ctx.call_on_close(gc.enable)


app.command()(show)
app.command()(compare)
app.command()(holes)
app.command()(with_columns(add))


@app.command()
def check(
    context: typer.Context,
    fix: Annotated[bool, typer.Option("--fix", help="First rewrite both files in their canonical form.")] = False,
    papers: Annotated[bool, typer.Option("--papers", help="Also list what is not known of which paper.")] = False,
    as_json: JsonFlag = False,
    board: BoardOption = None,
) -> None:
    """Check every rule of every row and paper; ends with code 2 where one is broken.

    Example: thinresnet leaderboard check
    """
    from dataclasses import asdict

    from thinresnet.leaderboard import check as rules

    if as_json:
        refuse_idle(context, "with --json", "it prints the broken rules alone", these=("papers",))
    path = (writable_board(board) if fix else find_board(board)).path
    if fix and rules.tidy(path):
        print(f"{path} and {bib_beside(path)}: rewritten in canonical form", file=sys.stderr)
    problems = rules.check(path)
    if as_json:
        print_json([asdict(problem) for problem in problems])
    else:
        for problem in problems:
            print(problem)
    if papers:
        for key, unknown in rules.papers_missing(path).items():
            print(f"{key}: {', '.join(unknown)} not found in a source that was read")
    if problems:
        print(f"thinresnet: {len(problems)} problem{'s' if len(problems) > 1 else ''} in {path}", file=sys.stderr)
        raise typer.Exit(2)
    if not as_json:
        print(f"{path}: every rule kept")


@app.command()
def diff(
    before: Annotated[Path, typer.Argument(metavar="BOARD", help="The board as it was.")],
    as_json: JsonFlag = False,
    board: BoardOption = None,
) -> None:
    """Show what is new on the board against another one, with verdicts, and which verdicts of other rows it moves.

    Example: git show main:leaderboard.csv > before.csv && thinresnet leaderboard diff before.csv
    """
    from thinresnet.leaderboard.difference import difference
    from thinresnet.leaderboard.store import read_board

    found = difference(read_board(before), read_rows(board))
    if as_json:
        print_json(
            {
                "new": [{"id": row.entry.id, "verdict": row.says} for row in found.new],
                "changed": [{"id": one.row.entry.id, "columns": one.columns} for one in found.changed],
                "gone": [entry.id for entry in found.gone],
                "moved": [
                    {"id": one.after.entry.id, "before": one.before.says, "after": one.after.says}
                    for one in found.moved
                ],
            }
        )
        return
    for row in found.new:
        print(f"new      {row.entry.id}: {row.verdict.says if row.verdict else 'serves as a reference'}")
    for one in found.changed:
        print(f"changed  {one.row.entry.id}: {', '.join(one.columns)}; {one.row.says}")
    for entry in found.gone:
        print(f"gone     {entry.id}")
    for moved in found.moved:
        print(f"moved    {moved.after.entry.id}: {moved.before.says}, now {moved.after.says}")
    print(
        f"{len(found.new)} new, {len(found.changed)} changed, {len(found.gone)} gone, "
        f"{len(found.moved)} verdicts of other rows moved"
    )


@app.command()
def cite(
    context: typer.Context,
    names: Annotated[
        list[str] | None, typer.Argument(help="Rows or citation keys; without any, the baseline and this project.")
    ] = None,
    board: BoardOption = None,
) -> None:
    """Print BibTeX.

    Example: thinresnet leaderboard cite fang2023depgraph tessier2023thinresnet
    """
    from thinresnet.leaderboard.cite import cite as find

    if not names:
        refuse_idle(context, "without a name", "the baseline and this project stand on no board", these=("board",))
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
    with status("judging every row"):
        text = render(entries, papers)
    write_atomically(output, text)
    print(f"{output}: {len(entries)} rows, {len(text.encode()) / 1e6:.1f} MB")


@app.command()
def figure(
    output: Annotated[Path, typer.Option("--output", "-o", help="The file to write: .pdf, .svg or .png.")],
    arch: Annotated[
        list[str] | None, typer.Option(help="Architecture: resnet50 if not given; several times for panels.")
    ] = None,
    dataset: Annotated[str, typer.Option(help="Dataset.")] = "imagenet",
    labels: Annotated[
        bool, typer.Option("--labels", help="Name published results too, the best first, where there is room.")
    ] = False,
    mine: Annotated[
        list[str] | None, typer.Option(help="A result of yours, NAME:TOP1@COST; may be given several times.")
    ] = None,
    cost: Annotated[str, typer.Option(help="Horizontal axis: macs, params or ratio.")] = "macs",
    linear: Annotated[bool, typer.Option("--linear", help="A linear axis instead of a logarithmic one.")] = False,
    against: AgainstOption = "",
    recipes: RecipesOption = "any",
    resolution: ResolutionOption = "any",
    data: Annotated[Path | None, typer.Option("--csv", help="Also write the data behind the figure as CSV.")] = None,
    board: BoardOption = None,
) -> None:
    """Draw the figure for a paper: the bar, the published results and yours; prints a caption with every assumption.

    Example: thinresnet leaderboard figure --arch resnet50 --mine 'Ours:76.0@2.05G' --output fig.pdf
    """
    from thinresnet.files import write_atomically
    from thinresnet.leaderboard.figure import figure as draw
    from thinresnet.leaderboard.panels import Panels

    under = cells_asked(against, recipes, resolution, "")[0]
    archs = arch or ["resnet50"]
    if mine and len(archs) > 1:
        raise InputError("--mine: a result is of one network, and --arch names several; give one")
    entries = read(board)[0]
    figures = [
        draw(
            entries, arch=one, dataset=dataset, mine=mine or [], cost=cost, log=not linear, labels=labels,
            references=under.references if against else "", recipes=under.recipes, resolution=under.resolution,
        )
        for one in archs
    ]  # fmt: skip
    drawing = figures[0] if len(figures) == 1 else Panels(figures)
    with status("drawing"):
        drawing.save(output)
    if data is not None:
        write_atomically(data, drawing.csv)
    print(drawing.caption)
