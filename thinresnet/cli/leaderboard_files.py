"""`thinresnet leaderboard check | diff | cite`: the files of the board."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from thinresnet.cli.idle import refuse_idle
from thinresnet.cli.leaderboard_output import BoardOption, read, read_rows
from thinresnet.cli.terminal import JsonFlag, print_json
from thinresnet.leaderboard.boards import find_board, writable_board
from thinresnet.leaderboard.papers import bib_beside

app = typer.Typer()


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
    if fix:
        from thinresnet.leaderboard.tidying import tidy

        if tidy(path):
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
