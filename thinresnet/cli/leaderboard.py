"""`thinresnet leaderboard show | compare | add | check | cite | page | plot | holes`."""

from __future__ import annotations

import inspect
import json
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, get_type_hints

import typer

from thinresnet.errors import InputError, nearest
from thinresnet.leaderboard import show as tables
from thinresnet.leaderboard.holes import Hole
from thinresnet.leaderboard.papers import Paper, bib_beside, read_bib
from thinresnet.leaderboard.schema import COLUMNS, FAMILIES, Entry
from thinresnet.leaderboard.store import default_board, read_board
from thinresnet.leaderboard.verdicts import (
    REFERENCES,
    Bar,
    Headline,
    Verdict,
    caveats,
    describe,
    family_named,
    headline,
    may_be_the_bar,
    typed_in,
    uncertainty_of,
    usual_references,
)

if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Table

    from thinresnet.leaderboard.add import Proposal

_BUDGET_NAMES = {
    "macs": "MACs",
    "params": "parameters",
    "both": "MACs and parameters",
    "training": "MACs and training MACs",
}
_FAMILY_NAMES = ", ".join(name.lower().replace(" ", "-") for name in REFERENCES)
_SHOWN_AT_ONCE = 40
_EXCEPTIONS_SHOWN = 10

BoardOption = Annotated[
    Path | None, typer.Option("--board", help="The CSV; else ./leaderboard.csv or the checkout's.", show_default=False)
]
AgainstOption = Annotated[
    str, typer.Option("--against", help=f"Reference family: {_FAMILY_NAMES}; else the usual one.")
]
OnOption = Annotated[str, typer.Option("--on", help=f"Budget to compare under: {', '.join(_BUDGET_NAMES)}.")]
JsonOption = Annotated[bool, typer.Option("--json", help="Print JSON.")]

app = typer.Typer(
    name="leaderboard",
    help="Published pruning results against simply scaled networks at no greater cost.",
    no_args_is_help=True,
)


@app.command()
def show(
    dataset: Annotated[str, typer.Option(help="Data set, such as imagenet.")] = "",
    arch: Annotated[str, typer.Option(help="Dense architecture, such as resnet50.")] = "",
    family: Annotated[str, typer.Option(help=f"One of {', '.join(FAMILIES)}.")] = "",
    source: Annotated[str, typer.Option(help="published or measured.")] = "",
    paper: Annotated[str, typer.Option(help="Citation key.")] = "",
    year: Annotated[str, typer.Option(help="A year or a span: 2019, 2019-2022, 2020-.")] = "",
    macs: Annotated[str, typer.Option(help="At most this: 2.05G, or 50% of the dense network.")] = "",
    params: Annotated[str, typer.Option(help="At most this: 12M, or 50% of the dense network.")] = "",
    search: Annotated[str, typer.Option(help="Words that the row must hold.")] = "",
    against: AgainstOption = "",
    sort: Annotated[str, typer.Option(help=f"Sort by {', '.join(tables.SORTS)}.")] = "",
    limit: Annotated[
        int | None, typer.Option(min=0, help=f"Rows at most, 0 for all; {_SHOWN_AT_ONCE} where a person reads.")
    ] = None,
    as_json: JsonOption = False,
    as_csv: Annotated[bool, typer.Option("--csv", help="Print CSV.")] = False,
    as_markdown: Annotated[bool, typer.Option("--markdown", help="Print a Markdown table.")] = False,
    as_latex: Annotated[bool, typer.Option("--latex", help="Print a LaTeX table with booktabs.")] = False,
    board: BoardOption = None,
) -> None:
    """Print rows of the board with their verdicts on MACs.

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
    entries, papers = _read(board)
    choice = tables.Choice(dataset, arch, family, source, paper, year, macs, params, search)
    chosen = tables.choose(entries, papers, choice)
    most = (0 if asked else _SHOWN_AT_ONCE) if limit is None else limit
    shown = tables.rows(
        chosen, Bar(entries), papers, against=family_named(against, "") if against else "", sort=sort, limit=most
    )
    if asked:
        sys.stdout.write(formats[asked[0]][1](shown))
        return
    console = _console()
    # Columns that say the same in every row go into the title.
    same = [column for column in tables.SHOWN[:2] if len({column.text(row) for row in shown}) == 1]
    title = ", ".join(column.text(shown[0]) for column in reversed(same)) if shown else ""
    table = _table(title)
    columns = [column for column in tables.SHOWN if column not in same]
    for column in columns:
        table.add_column(column.header, justify="right" if column.number else "left", no_wrap=column.number)
    for row in shown:
        table.add_row(*(_text(column.text(row)) for column in columns))
    console.print(table)
    rest = "" if len(shown) == len(chosen) else "; --limit 0 shows all"
    console.print(f"{len(shown)} of {len(chosen)} rows{rest}")


@app.command()
def compare(
    name: Annotated[str, typer.Argument(help="A row's id or a paper's citation key.", show_default=False)] = "",
    arch: Annotated[str, typer.Option(help="Architecture: alone for the headline, with figures for a claim.")] = "",
    top1: Annotated[str, typer.Option(help="Top-1 accuracy of the claim, in percent.")] = "",
    macs: Annotated[str, typer.Option(help="MACs of the claim: 2.05G, or 50% of the dense network.")] = "",
    params: Annotated[str, typer.Option(help="Parameters of the claim: 12M, or 50%.")] = "",
    dataset: Annotated[str, typer.Option(help="Data set.")] = "imagenet",
    against: AgainstOption = "",
    on: OnOption = "macs",
    as_json: JsonOption = False,
    board: BoardOption = None,
) -> None:
    """Hold a row, a paper, a claim or all results for a network against simple scaling at no greater cost.

    Example: thinresnet leaderboard compare --arch resnet50 --macs 2.05G --top1 76.0
    """
    entries, _ = _read(board)
    bar = Bar(entries)
    if name:
        if top1 or macs or params or arch:
            raise InputError(
                f"{name}: a row or paper has its own figures; leave out --arch, --top1, --macs and --params"
            )
        _compare_named(name, entries, bar, family_named(against, "") if against else "", _budget(on), as_json)
    elif top1 or macs or params:
        if not top1 or not arch:
            raise InputError("a claim needs --arch and --top1, and --macs or --params")
        claim = typed_in(arch=arch, top1=top1, macs=macs, params=params, dataset=dataset)
        _print_entry(claim, bar.all_verdicts(claim), as_json)
    else:
        arch = arch or "resnet50"
        known = {entry.arch for entry in entries if entry.dataset == dataset}
        if arch not in known:
            raise InputError(f"--arch {arch}: no row on {dataset} has it{nearest(arch, known)}")
        said = [headline(entries, bar, dataset, arch, family, _budget(on)) for family in _families(against, arch)]
        _print_headlines(said, as_json)


@app.command()
def holes(
    dataset: Annotated[str, typer.Option(help="Data set; all without it.")] = "",
    arch: Annotated[str, typer.Option(help="Architecture; all without it.")] = "",
    against: AgainstOption = "",
    on: OnOption = "macs",
    limit: Annotated[int, typer.Option(min=0, help="Lines at most; 0 for all.")] = 20,
    as_json: JsonOption = False,
    board: BoardOption = None,
) -> None:
    """List the budgets at which one run of a scaled network would judge most results that nothing judges now.

    Example: thinresnet leaderboard holes --dataset imagenet
    """
    from thinresnet.leaderboard import weights
    from thinresnet.leaderboard.holes import holes as find

    entries, papers = _read(board)
    tables.choose(entries, papers, tables.Choice(dataset=dataset, arch=arch))
    family = family_named(against, "") if against else ""
    found = find(entries, Bar(entries), dataset=dataset, arch=arch, family=family, budget=_budget(on))
    shown = found[:limit] if limit else found
    if as_json:
        _print_json([{**tables.hole_record(hole), "public_weights": weights.record_for(hole)} for hole in shown])
        return
    unit = "params M" if on == "params" else "MACs G"
    table = _table("Budgets at which a run is missing")
    for header, justify in (
        ("network", "left"), ("data set", "left"), (f"at most ({unit})", "right"), ("of dense", "right"),
        ("would judge", "right"), ("their top-1 %", "right"), ("against", "left"),
    ):  # fmt: skip
        table.add_column(header, justify=justify)  # type: ignore[arg-type]
    for hole in shown:
        share = f"{hole.share:.1%}" if hole.share is not None else ""
        low, high = hole.top1
        cells = (
            hole.arch,
            hole.dataset,
            f"{hole.cost:.4g}",
            share,
            str(len(hole.judges)),
            f"{low} to {high}",
            hole.family,
        )
        table.add_row(*map(_text, cells))
    console = _console()
    console.print(table)
    _print_weights(shown)
    console.print(
        f"{len(shown)} of {len(found)} missing runs; train one with `train.py --macs` and `leaderboard add` it"
    )


def _print_weights(holes: Sequence[Hole]) -> None:
    """Which of these holes public weights would fill: the file, and the command that measures it."""
    from thinresnet.leaderboard import weights

    found = weights.fills(holes)
    if not found:
        return
    console = _console()
    console.print("Public weights would judge some of them; measuring takes minutes, and no training:")
    for fill in found:
        one = fill.weights
        line = f"  {one.network} on {one.dataset}, {fill.cost:.4g}: would judge {len(fill.judges)}"
        console.print(_text(line), soft_wrap=True)
        console.print(_text(f"    file     {one.url}"), soft_wrap=True)
        console.print(_text(f"    measure  {weights.command_for(one)}"), soft_wrap=True)
        console.print(_text(f"    add      {weights.add_command_for(one)}"), soft_wrap=True)


@app.command()
def check(
    fix: Annotated[bool, typer.Option("--fix", help="First rewrite both files in their canonical form.")] = False,
    papers: Annotated[bool, typer.Option("--papers", help="Also list what is not known of which paper.")] = False,
    as_json: JsonOption = False,
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
    tables.choose(entries, papers, tables.Choice(dataset=dataset, arch=arch))
    family = family_named(against, arch)
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
    _print_words(console, "It serves as a reference." if may_be_the_bar(row) else f"It {bar.verdict(row).says}.")
    for doubt in proposal.doubts:
        _print_words(console, f"Doubt: {doubt.question}")
    if not proposal.doubts or yes:
        return
    if not sys.stdin.isatty():
        raise InputError("nothing added: look at the doubts, then say --yes to add the row with them")
    if not typer.confirm("Add it nevertheless?"):
        raise typer.Abort


def _compare_named(name: str, entries: list[Entry], bar: Bar, family: str, budget: str, as_json: bool) -> None:
    row = next((entry for entry in entries if entry.id == name), None)
    if row is not None:
        _print_entry(row, bar.all_verdicts(row), as_json)
        return
    of_paper = [entry for entry in entries if entry.paper == name]
    if not of_paper:
        known = {entry.paper for entry in entries} | {entry.id for entry in entries}
        raise InputError(f"{name!r} is neither a row nor a paper of this board{nearest(name, known)}")
    verdicts = [bar.verdict(entry, family, budget) for entry in of_paper]
    if as_json:
        _print_json([tables.verdict_record(verdict) | {"id": verdict.entry.id} for verdict in verdicts])
        return
    table = _table(f"{name}, on {budget}")
    for header in ("row", "network", "method", "top-1 %", "verdict"):
        table.add_column(header, justify="right" if header == "top-1 %" else "left")
    for verdict in verdicts:
        entry = verdict.entry
        table.add_row(
            *map(_text, (entry.id, f"{entry.arch}, {entry.dataset}", entry.method, str(entry.top1), verdict.says))
        )
    _console().print(table)


def _print_entry(entry: Entry, verdicts: list[Verdict], as_json: bool) -> None:
    if as_json:
        _print_json(
            {
                "printed": tables.cells(entry),
                "uncertainty": uncertainty_of(entry),
                "caveats": caveats(entry),
                "usual": usual_references(entry.arch),
                "verdicts": [tables.verdict_record(verdict) for verdict in verdicts],
            }
        )
        return
    console = _console()
    usual = usual_references(entry.arch)
    first = next(verdict for verdict in verdicts if verdict.family == usual)
    second = next(verdict for verdict in verdicts if verdict.family == usual and verdict.budget == "parameters")
    leading = second if first.reference is None and second.reference is not None else first
    _print_words(console, f"{entry.arch}, {entry.dataset}, {entry.method}: {entry.top1} %, {uncertainty_of(entry)}.")
    _print_words(console, f"It {leading.says}.", style="bold")
    if leading.rests_on:
        _print_words(console, f"Matched on {leading.rests_on}.")
    for caveat in caveats(entry):
        _print_words(console, f"Beware: {caveat}.")
    table = _table("")
    for header in ("against", "on", "verdict", "gap", "best reference that costs no more"):
        table.add_column(header, justify="right" if header == "gap" else "left")
    for verdict in verdicts:
        if verdict.reference is None:
            continue
        outcome = verdict.outcome if verdict.settled else f"{verdict.outcome}, but no reference is near its cost"
        reference = describe(verdict.reference)
        cells = (verdict.family, verdict.budget, outcome, f"{verdict.gap:+}", reference)
        table.add_row(*map(_text, cells))
    if table.row_count:
        console.print(table)
    for words in dict.fromkeys(f"On {each.budget}: {each.why}." for each in verdicts if each.reference is None):
        _print_words(console, words)


def _print_headlines(said: list[Headline], as_json: bool) -> None:
    if as_json:
        _print_json([tables.headline_record(each) for each in said])
        return
    console = _console()
    for each in said:
        _print_words(console, each.says + "\n", style="bold" if each is said[0] else "")
    first = said[0]
    if not first.stand:
        return
    table = _table(f"The exceptions: they clear the bar of {first.family} on {first.budget}")
    for header in ("row", "method", "top-1 %", "MACs G", "clears by", "over"):
        table.add_column(header, justify="right" if header in ("top-1 %", "MACs G", "clears by") else "left")
    for verdict in first.stand[:_EXCEPTIONS_SHOWN]:
        entry, reference = verdict.entry, verdict.reference
        cost = f"{entry.macs_g:.4g}" if entry.macs_g is not None else ""
        over = describe(reference) if reference else ""
        table.add_row(*map(_text, (entry.id, entry.method, str(entry.top1), cost, str(verdict.gap), over)))
    console.print(table)
    if len(first.stand) > _EXCEPTIONS_SHOWN:
        console.print(f"{_EXCEPTIONS_SHOWN} of {len(first.stand)}; --json has all")


def _families(against: str, arch: str) -> list[str]:
    """The families to speak of, the one that counts first."""
    if against:
        return [family_named(against, arch)]
    usual = usual_references(arch)
    return [usual, *(family for family in REFERENCES if family != usual)]


def _budget(name: str) -> str:
    if name not in _BUDGET_NAMES:
        raise InputError(f"--on {name}: one of {', '.join(_BUDGET_NAMES)}{nearest(name, _BUDGET_NAMES)}")
    return _BUDGET_NAMES[name]


def _read(board: Path | None) -> tuple[list[Entry], dict[str, Paper]]:
    path = board or default_board()
    return read_board(path), read_bib(bib_beside(path))


def _console() -> Console:
    from rich.console import Console

    # A pipe has no width of its own: what is not cut short can still be read.
    return Console(highlight=False, width=None if sys.stdout.isatty() else 200)


def _table(title: str) -> Table:
    from rich import box
    from rich.table import Table

    return Table(title=title or None, box=box.SIMPLE_HEAD, title_justify="left", pad_edge=False)


def _text(text: str) -> Any:
    """Text from the board as text: rich would read brackets in it as markup."""
    from rich.text import Text

    return Text(text)


def _print_words(console: Console, words: str, style: str = "") -> None:
    from rich.text import Text

    console.print(Text(words, style=style))


def _print_json(value: object) -> None:
    sys.stdout.write(json.dumps(value, indent=1, ensure_ascii=False) + "\n")
