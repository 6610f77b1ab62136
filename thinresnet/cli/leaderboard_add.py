"""`thinresnet leaderboard add`: results onto the board, after their verdicts and doubts have been looked at."""

from __future__ import annotations

import inspect
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, get_type_hints

import typer

from thinresnet.cli.leaderboard_output import BoardOption, print_words, read, table, text
from thinresnet.cli.terminal import console
from thinresnet.errors import InputError
from thinresnet.files import read_text
from thinresnet.leaderboard import tables
from thinresnet.leaderboard.amounts import SHORT
from thinresnet.leaderboard.bar import Bar
from thinresnet.leaderboard.boards import writable_board
from thinresnet.leaderboard.papers import Paper
from thinresnet.leaderboard.references import Assumptions, may_be_the_bar, usual_references
from thinresnet.leaderboard.schema import COLUMNS, Entry
from thinresnet.leaderboard.verdicts import judge

if TYPE_CHECKING:
    from rich.console import Console

    from thinresnet.leaderboard.adding import Proposal

app = typer.Typer()
_ROWS_SHOWN_WHOLE = 1


def add(
    folders: Annotated[
        list[Path] | None,
        typer.Argument(help="Run folders: the seeds of one run, one measured row.", show_default=False),
    ] = None,
    file: Annotated[
        Path | None, typer.Option("--file", "--yaml", help="A YAML or CSV file with rows: all are added, or none.")
    ] = None,
    template: Annotated[bool, typer.Option("--template", help="Print a commented YAML to fill in.")] = False,
    bibtex: Annotated[
        Path | None, typer.Option(help="A file with the BibTeX of a new paper, as any site prints it.")
    ] = None,
    ema: Annotated[bool, typer.Option("--ema", help="Of a run, the EMA weights' accuracy.")] = False,
    yes: Annotated[bool, typer.Option("--yes", help="Accept every doubt; the row is flagged with it.")] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Show rows, verdicts and doubts; write nothing.")] = False,
    board: BoardOption = None,
    **values: str,
) -> None:
    """Put results on the board: from questions, flags, a YAML or CSV file, or a run folder.

    Examples: thinresnet leaderboard add

    thinresnet leaderboard add --template > rows.yaml, and then: thinresnet leaderboard add --file rows.yaml

    thinresnet leaderboard add runs/resnet50-w0.5-imagenet-rsb_a3-s42-3f9a1c

    thinresnet leaderboard add --paper lin2020hrank --dataset imagenet --arch resnet50 --method HRank --family pruned
    --top1 74.98 --dense-top1 76.15 --macs 2.30G --dense-macs 4.09G --locator "table 5, row 2" --read-repo lmbxmu/HRank
    """
    from thinresnet.leaderboard import adding, rowfiles

    given = {name: value for name, value in values.items() if value}
    _refuse_idle_flags(folders, file, template, bibtex, ema, given, others=yes or dry_run or board is not None)
    if template:
        sys.stdout.write(rowfiles.template())
        return
    path = board if dry_run and board else writable_board(board).path
    entries, papers = read(path)
    asked = not (folders or file or given or bibtex)
    if folders:
        proposals = [adding.propose_run(folders, entries, values=given, ema=ema)]
    elif file:
        proposals = adding.propose_all(rowfiles.rows_from_file(file), entries, papers, where=str(file))
    elif not asked:
        new = read_text(bibtex) if bibtex else ""
        proposals = [adding.propose(given, entries, papers, bibtex=new)]
    elif sys.stdin.isatty():
        proposals = [_ask(entries, papers)]
    else:
        raise InputError("nothing to add: give run folders, --file or columns; questions need a terminal")
    _put(path, proposals, entries, asked=asked, yes=yes, dry_run=dry_run)


def _put(
    path: Path, proposals: Sequence[Proposal], entries: Sequence[Entry], *, asked: bool, yes: bool, dry_run: bool
) -> None:
    """Show what is new, and put it on the board unless it is only to be shown."""
    from thinresnet.leaderboard import adding

    known = adding.standing(proposals, entries)
    fresh = [proposal for proposal in proposals if not any(proposal is one for one in known)]
    _show(fresh, Bar(entries))
    for proposal in known:
        print(f"{path}: {proposal.entry.id} stands there already, to the letter")
    if dry_run:
        print(f"{path}: nothing written (--dry-run)")
        return
    _confirm(fresh, always=asked, yes=yes)
    for entry in adding.add(path, proposals):
        print(f"{path}: added {entry.id}")


def _refuse_idle_flags(
    folders: list[Path] | None,
    file: Path | None,
    template: bool,
    bibtex: Path | None,
    ema: bool,
    given: dict[str, str],
    *,
    others: bool,
) -> None:
    """What would have no effect is refused, never ignored."""
    if file and (given or folders or bibtex):
        raise InputError("--file: the file says it all; leave out run folders, --bibtex and columns")
    if template and (given or folders or bibtex or file or ema or others):
        raise InputError("--template: it is printed as it is; leave out everything else")
    if ema and not folders:
        raise InputError("--ema: only run folders have an average of weights; name one")
    if folders and bibtex:
        raise InputError("--bibtex: a run is cited as this project; leave it out")


def with_columns(verb: Callable[..., None]) -> Callable[..., None]:
    """Give `add` one flag for each column of the board, under the names that people type, with the schema's words."""
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


def _ask(entries: Sequence[Entry], papers: dict[str, Paper]) -> Proposal:
    """A proposal from questions, each of which is asked until its answer will do."""
    from thinresnet.leaderboard.asking import Talk, interview

    def ask(question: str, default: str) -> str:
        ending = ": " if question else ""
        return str(typer.prompt(question, default=default, show_default=bool(default), prompt_suffix=ending))

    return interview(entries, papers, Talk(ask, lambda words: print(words, file=sys.stderr)))


def _show(proposals: Sequence[Proposal], bar: Bar) -> None:
    """The rows, their verdicts and their doubts: one in full, many in a line each."""
    to = console()
    for proposal in proposals:
        row = proposal.accepted()
        if len(proposals) <= _ROWS_SHOWN_WHOLE:
            made = table("", "column", "value")
            for name, cell in tables.cells(row).items():
                made.add_row(name, text(cell))
            to.print(made)
        else:
            print_words(to, f"{row.method}: {row.arch}, {row.dataset}, top-1 {row.top1} %", style="bold")
        print_words(to, _verdict(bar, row))
        _print_doubts(to, proposal)


def _verdict(bar: Bar, row: Entry) -> str:
    said = (
        "It serves as a reference."
        if may_be_the_bar(row)
        else judge(bar, row, Assumptions(usual_references(row.arch))).says
    )
    return said[:1].upper() + said[1:]


def _print_doubts(to: Console, proposal: Proposal) -> None:
    for doubt in proposal.doubts:
        print_words(to, f"Doubt: {doubt.question}{f' (the row gets the flag {doubt.flag})' if doubt.flag else ''}")


def _confirm(proposals: Sequence[Proposal], *, always: bool, yes: bool) -> None:
    """Whoever does not accept the doubts, or what came of the questions, stops here."""
    doubts = sum(len(proposal.doubts) for proposal in proposals)
    if yes or not (doubts or always):
        return
    if not sys.stdin.isatty():
        raise InputError("nothing added: look at the doubts, then say --yes to add what there is with them")
    if not typer.confirm("Add it nevertheless?" if doubts else "Add it?"):
        raise typer.Abort


app.command()(with_columns(add))
