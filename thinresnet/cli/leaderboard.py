"""`thinresnet leaderboard show | compare | add | check | cite | page | plot | holes`."""

from __future__ import annotations

import inspect
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, get_type_hints

import typer

from thinresnet.cli.leaderboard_output import (
    AgainstOption,
    BoardOption,
)
from thinresnet.cli.leaderboard_output import print_words as _print_words
from thinresnet.cli.leaderboard_output import read as _read
from thinresnet.cli.leaderboard_output import table as _table
from thinresnet.cli.leaderboard_output import text as _text
from thinresnet.cli.leaderboard_verdicts import compare, holes, show, usual_verdict
from thinresnet.cli.terminal import JsonFlag
from thinresnet.cli.terminal import console as _console
from thinresnet.cli.terminal import print_json as _print_json
from thinresnet.errors import InputError
from thinresnet.leaderboard import tables
from thinresnet.leaderboard.bar import Bar
from thinresnet.leaderboard.papers import Paper, bib_beside
from thinresnet.leaderboard.references import may_be_the_bar, references_named
from thinresnet.leaderboard.schema import COLUMNS, Entry
from thinresnet.leaderboard.show import Choice, choose
from thinresnet.leaderboard.store import default_board

if TYPE_CHECKING:
    from thinresnet.leaderboard.add import Proposal

app = typer.Typer(
    name="leaderboard",
    help="Published pruning results against simply scaled networks at no greater cost.",
    no_args_is_help=True,
)


app.command()(show)
app.command()(compare)
app.command()(holes)


@app.command()
def check(
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

    path = board or default_board()
    if fix and rules.tidy(path):
        print(f"{path} and {bib_beside(path)}: rewritten in canonical form", file=sys.stderr)
    problems = rules.check(path)
    if as_json:
        _print_json([asdict(problem) for problem in problems])
    else:
        for problem in problems:
            print(problem)
    if papers and not as_json:
        for key, unknown in rules.papers_missing(path).items():
            print(f"{key}: {', '.join(unknown)} not found in a source that was read")
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

    entries, papers = _read(board) if names else ([], {})
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

    entries, papers = _read(board)
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

    entries, papers = _read(board)
    choose(entries, papers, Choice(dataset=dataset, arch=arch))
    family = references_named(against, arch)
    draw(output, entries, dataset=dataset, arch=arch, axis=cost, against=family, log=not linear)
    print(output)


def add(
    folders: Annotated[
        list[Path] | None,
        typer.Argument(help="Run folders: the seeds of one run, one measured row.", show_default=False),
    ] = None,
    yaml: Annotated[Path | None, typer.Option(help="A YAML file with one row, or a list of rows.")] = None,
    bibtex: Annotated[Path | None, typer.Option(help="A file with the BibTeX of a new paper.")] = None,
    ema: Annotated[bool, typer.Option("--ema", help="Of a run, the EMA weights' accuracy.")] = False,
    yes: Annotated[bool, typer.Option("--yes", help="Accept every doubt; the row is flagged with it.")] = False,
    board: BoardOption = None,
    **values: str,
) -> None:
    """Put results on the board: from flags, a YAML file, a run folder, or answering questions.

    Examples: thinresnet leaderboard add runs/resnet50-w0.5-imagenet-rsb_a3-s42-3f9a1c

    thinresnet leaderboard add --paper lin2020hrank --dataset imagenet --arch resnet50 --method HRank --family pruned
    --top1 74.98 --dense-top1 76.15 --macs 2.30G --dense-macs 4.09G --locator "table 5, row 2" --read-repo lmbxmu/HRank
    """
    from thinresnet.leaderboard import add as rows
    from thinresnet.leaderboard.files import read_text

    path = board or default_board()
    entries, papers = _read(path)
    given = {name: value for name, value in values.items() if value}
    new_paper = read_text(bibtex) if bibtex else ""
    if yaml and (given or folders or bibtex):
        raise InputError("--yaml: the file says it all; leave out run folders, --bibtex and columns")
    if folders:
        proposals = [rows.propose_run(folders, entries, values=given, ema=ema)]
    elif yaml:
        read = rows.from_yaml(yaml)
        proposals = [rows.propose(row, entries, papers, bibtex=row.pop("bibtex", "")) for row in read]
    elif given or bibtex:
        proposals = [rows.propose(given, entries, papers, bibtex=new_paper)]
    elif sys.stdin.isatty():
        proposals = [_ask(entries, papers)]
    else:
        raise InputError("nothing to add: give run folders, --yaml or columns; questions need a terminal")
    bar = Bar(entries)
    for proposal in proposals:
        _show_proposal(proposal, bar, yes)
    for entry in rows.add(path, proposals):
        print(f"{path}: added {entry.id}")


def _with_columns(verb: Callable[..., None]) -> Callable[..., None]:
    """Give `add` one flag for each column of the board, under the names that people type, with the schema's words."""
    from thinresnet.leaderboard.add import SHORT

    typed = {column: short for short, column in SHORT.items()}
    signature = inspect.signature(verb)
    hints = get_type_hints(verb, include_extras=True)
    own = [
        each.replace(annotation=hints[each.name])
        for each in signature.parameters.values()
        if each.kind is not inspect.Parameter.VAR_KEYWORD
    ]
    columns = [
        inspect.Parameter(
            typed.get(column.name, column.name),
            inspect.Parameter.KEYWORD_ONLY,
            default="",
            annotation=Annotated[str, typer.Option(help=column.help, rich_help_panel="Columns", show_default=False)],
        )
        for column in COLUMNS
        if column.name != "id"
    ]
    verb.__signature__ = signature.replace(parameters=[*own, *columns])  # type: ignore[attr-defined]
    verb.__annotations__ = {each.name: each.annotation for each in (*own, *columns)} | {"return": None}
    return verb


app.command()(_with_columns(add))


def _ask(entries: Sequence[Entry], papers: dict[str, Paper]) -> Proposal:
    """A proposal from questions; where a rule is broken, the rule is said and the answers are gone through again."""
    from thinresnet.leaderboard import add as rows
    from thinresnet.leaderboard.files import read_text

    columns = {column.name: column for column in COLUMNS}
    answers: dict[str, str] = {}
    bibtex = ""
    while True:
        for name in rows.QUESTIONS:
            words = columns[rows.SHORT.get(name, name)].help
            answers[name] = typer.prompt(f"{name} ({words})", default=answers.get(name, "")).strip()
            if name == "paper" and answers[name] and answers[name] not in papers:
                file = typer.prompt("not on the board yet: file with its BibTeX", default="")
                bibtex = read_text(file) if file else ""
        try:
            return rows.propose({k: v for k, v in answers.items() if v}, entries, papers, bibtex=bibtex)
        except InputError as error:
            print(f"{error}\nOnce more; Enter keeps an answer.", file=sys.stderr)


def _show_proposal(proposal: Proposal, bar: Bar, yes: bool) -> None:
    """The row, its verdict and its doubts; whoever does not accept the doubts stops here."""
    row = proposal.accepted()
    table = _table("")
    table.add_column("column")
    table.add_column("value")
    for name, cell in tables.cells(row).items():
        table.add_row(name, _text(cell))
    console = _console()
    console.print(table)
    _print_words(console, "It serves as a reference." if may_be_the_bar(row) else usual_verdict(bar, row).says)
    for doubt in proposal.doubts:
        _print_words(console, f"Doubt: {doubt.question}")
    if not proposal.doubts or yes:
        return
    if not sys.stdin.isatty():
        raise InputError("nothing added: look at the doubts, then say --yes to add the row with them")
    if not typer.confirm("Add it nevertheless?"):
        raise typer.Abort
