"""`thinresnet leaderboard compare`: results, a claim, a row or a paper against the bar, under every assumption."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Annotated, TypeVar

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
    read_rows,
    table,
    text,
)
from thinresnet.cli.terminal import JsonFlag, console, print_json
from thinresnet.errors import InputError, nearest
from thinresnet.leaderboard import tables
from thinresnet.leaderboard.api import known_arch
from thinresnet.leaderboard.bar import Bar
from thinresnet.leaderboard.claims import in_percent, typed_in
from thinresnet.leaderboard.describing import caveats, reference_in_words, uncertainty_of
from thinresnet.leaderboard.matrix import Cell, Matrix, Part, matrix
from thinresnet.leaderboard.records import claim_record, matrix_record, plain, verdict_record
from thinresnet.leaderboard.references import ANY, BUDGET_NAMES, RULES, UNITS, Assumptions
from thinresnet.leaderboard.schema import Entry
from thinresnet.leaderboard.verdicts import Verdict, all_verdicts, judge

if TYPE_CHECKING:
    from rich.table import Table

app = typer.Typer()
# From this share of the results on, one paper is named.
_LARGE_SHARE = 0.1
_ASSUMED = ("references", "recipe", "pixels")
_Assumed = TypeVar("_Assumed", Verdict, Cell, Part)


@app.command()
def compare(
    name: Annotated[str, typer.Argument(help="A row's id or a paper's citation key.", show_default=False)] = "",
    arch: Annotated[str, typer.Option(help="Architecture: alone for the matrix, with figures for a claim.")] = "",
    top1: Annotated[str, typer.Option(help="Top-1 accuracy of the claim, in percent.")] = "",
    macs: Annotated[str, typer.Option(help="MACs of the claim: 2.05G, or 50% of the dense network.")] = "",
    params: Annotated[str, typer.Option(help="Parameters of the claim: 12M, or 50%.")] = "",
    dataset: Annotated[str, typer.Option(help="Dataset; imagenet without it.", show_default=False)] = "",
    against: AgainstOption = "",
    recipes: RecipesOption = "",
    resolution: ResolutionOption = "",
    on: OnOption = "",
    as_json: JsonFlag = False,
    board: BoardOption = None,
) -> None:
    """Hold all results for a network, a claim, a row or a paper against the bar, under every set of assumptions.

    Examples: thinresnet leaderboard compare --arch resnet50

    thinresnet leaderboard compare --arch resnet50 --macs 2.05G --top1 76.0
    """
    cells = cells_asked(against, recipes, resolution, on)
    entries = read_rows(board)
    bar = Bar(entries)
    if name:
        if top1 or macs or params or arch or dataset:
            raise InputError(
                f"{name}: a row or paper has its own figures; leave out --arch, --dataset, --top1, --macs and --params"
            )
        _compare_named(name, entries, bar, cells, as_json)
    elif top1 or macs or params:
        if not top1 or not arch or not (macs or params):
            raise InputError("a claim needs --arch and --top1, and --macs or --params")
        claim = typed_in(arch=arch, top1=in_percent(top1), macs=macs, params=params, dataset=dataset or "imagenet")
        figures = {
            "arch": arch, "dataset": claim.dataset, "top1": plain(claim.top1), "macs_g": plain(claim.macs_g),
            "params_m": plain(claim.params_m),
        }  # fmt: skip
        _print_verdicts(claim, figures, all_verdicts(bar, claim, cells), as_json)
    else:
        known_arch(entries, dataset or "imagenet", arch or "resnet50")
        found = matrix(entries, bar, dataset or "imagenet", arch or "resnet50")
        if len(cells) < len(found.cells):
            found = Matrix(found.arch, found.dataset, tuple(found.cell(each) for each in cells))
        _print_matrix(found, as_json)


def _compare_named(name: str, entries: list[Entry], bar: Bar, cells: list[Assumptions], as_json: bool) -> None:
    row = next((entry for entry in entries if entry.id == name), None)
    if row is not None:
        _print_verdicts(row, {"id": row.id, **tables.cells(row)}, all_verdicts(bar, row, cells), as_json)
        return
    of_paper = [entry for entry in entries if entry.paper == name]
    if not of_paper:
        known = {entry.paper for entry in entries} | {entry.id for entry in entries}
        raise InputError(f"{name!r} is neither a row nor a paper of this board{nearest(name, known)}")
    if as_json:
        listed = [
            {"id": entry.id, **verdict_record(verdict)}
            for entry in of_paper
            for verdict in all_verdicts(bar, entry, cells)
        ]
        print_json({"rules": RULES, "paper": name, "verdicts": listed})
        return
    _print_paper(name, of_paper, bar, cells)


def _print_paper(name: str, of_paper: Sequence[Entry], bar: Bar, cells: Sequence[Assumptions]) -> None:
    """One line a row: how many of the assumptions it clears, ties, loses under, and each reference set's verdict."""
    heads = list(dict.fromkeys(each.references for each in cells))
    shown = [next(each for each in cells if each.references == head) for head in heads]
    made = table(f"{name}, {_but_references(shown[0])}", "row", "top-1 %", *heads, right=("top-1 %",))
    for entry in of_paper:
        made.add_row(
            text(entry.id), text(str(entry.top1 or "")), *(text(judge(bar, entry, each).in_words) for each in shown)
        )
    to = console()
    to.print(made)
    print_words(to, f"`compare ROW` prints a row under every set of assumptions. {RULE}")


def _but_references(assumptions: Assumptions) -> str:
    size = "any" if assumptions.resolution == ANY else "the row's own"
    return f"{assumptions.recipes} recipe, {size} resolution, on {BUDGET_NAMES[assumptions.budget]}"


def _print_verdicts(entry: Entry, figures: dict[str, object], verdicts: Sequence[Verdict], as_json: bool) -> None:
    if as_json:
        print_json(claim_record(figures, verdicts))
        return
    to = console()
    costs = [f"{entry.macs_g:.4g} {UNITS['macs']}"] if entry.macs_g is not None else []
    costs += [f"{entry.params_m:.4g} {UNITS['params']}"] if entry.params_m is not None else []
    what = f"{entry.arch} on {entry.dataset}, {entry.method}: {entry.top1} %, {' and '.join(costs) or 'cost unknown'}"
    print_words(to, f"{what}, {uncertainty_of(entry)}.", style="bold")
    for caveat in caveats(entry):
        print_words(to, f"Beware: {caveat}.")
    judged = [verdict for verdict in verdicts if verdict.gap is not None or verdict.standing is not None]
    for budget, of_budget in _by_budget(judged):
        to.print(_verdict_table(f"on {BUDGET_NAMES[budget]}", of_budget))
    for words in _bars(judged):
        print_words(to, words)
    for words in dict.fromkeys(
        f"On {BUDGET_NAMES[each.assumptions.budget]}: {each.why}." for each in verdicts if each not in judged
    ):
        print_words(to, words)
    print_words(to, RULE)


def _verdict_table(title: str, verdicts: Sequence[Verdict]) -> Table:
    made = table(title, *_ASSUMED, "verdict", "decided", "bar %", right=("bar %",))
    for verdict, labels in zip(verdicts, _labels(verdicts), strict=True):
        bar = "" if verdict.bar is None else f"{verdict.bar:.2f}{'*' if verdict.wide else ''}"
        made.add_row(*labels, text(verdict.in_words), verdict.decided or "", bar)
    return made


def _by_budget(lines: Iterable[_Assumed]) -> Iterable[tuple[str, list[_Assumed]]]:
    """A table's lines by budget, in the order of the matrix."""
    found: dict[str, list[_Assumed]] = {}
    for line in lines:
        found.setdefault(line.assumptions.budget, []).append(line)
    return found.items()


def _bars(verdicts: Sequence[Verdict]) -> Iterable[str]:
    """What the bars of these verdicts rest on, each once, with every reservation."""
    said: dict[str, str] = {}
    for verdict in verdicts:
        between = " and ".join(reference_in_words(each) for each in verdict.neighbours)
        where = {1: "at", 2: "between"}.get(len(verdict.neighbours), "")
        level = f"{verdict.bar:.2f} %" if verdict.bar is not None else f"not there ({verdict.why or 'beyond its end'})"
        reservations = "".join(f" {words}." for words in verdict.reservations)
        mark = "* " if verdict.wide else ""
        said.setdefault(f"{where} {between}", f"{mark}The bar is {level} {where} {between}.{reservations}")
    return said.values()


def _labels(lines: Iterable[Verdict | Cell | Part]) -> Iterable[tuple[str, str, str]]:
    """The assumptions of each line of a table; the reference set only where it changes."""
    before = ""
    for line in lines:
        under = line.assumptions
        yield ("" if under.references == before else under.references), under.recipes, under.resolution
        before = under.references


def _print_matrix(found: Matrix, as_json: bool) -> None:
    if as_json:
        print_json(matrix_record(found))
        return
    to, results = console(), found.cells[0].results
    print_words(
        to,
        f"{results} published pruning results for {found.arch} on {found.dataset} against the bar of scaled networks, "
        "under every set of assumptions.",
        style="bold",
    )
    paper, most = found.largest_source
    if most > _LARGE_SHARE * results:
        print_words(to, f"{most} of them are from {paper} alone.")
    numbers = ("loses", "ties", "clears", "unjudged", "median")
    for budget, cells in _by_budget(found.cells):
        made = table(f"on {BUDGET_NAMES[budget]}", *_ASSUMED, *numbers, right=numbers)
        for cell, labels in zip(cells, _labels(cells), strict=True):
            counts = (cell.loses, cell.ties, cell.clears, cell.unjudged)
            made.add_row(*labels, *map(str, counts), _points(cell.median_gap))
        to.print(made)
    parts = [part for part in found.decomposition if part.results]
    if parts:
        print_words(to, "The gap in parts: shape (row - classical bar) less recipe (bar - classical bar).", "bold")
    figures_of = ("results", "median", "shape", "recipe")
    for budget, of_budget in _by_budget(parts):
        made = table(f"on {BUDGET_NAMES[budget]}", "references", "pixels", *figures_of, right=figures_of)
        for part, labels in zip(of_budget, _labels(of_budget), strict=True):
            figures = (_points(part.median_gap), _points(part.shape), _points(part.recipe))
            made.add_row(labels[0], labels[2], str(part.results), *figures)
        to.print(made)
    print_words(to, f"Gaps in points, medians: the parts of a line add up nearly. {RULE}")


def _points(value: float | None) -> str:
    return "" if value is None else f"{value:+.2f}"
