"""What a study shows: the table at equal budgets with its verdicts, two charts, and one page that works offline."""

from __future__ import annotations

import base64
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import jinja2
from rich.console import Console
from rich.table import Table as Shown
from rich.text import Text

from thinresnet.budget import short
from thinresnet.files import write_atomically
from thinresnet.studies.graph import StudyGraph
from thinresnet.studies.plot import write_charts
from thinresnet.studies.protocol import OURS
from thinresnet.studies.table import Summary, bar_of, groups, scientific, verdict

_TEXTS = ("network", "verdict")  # columns of words
_LEAST_MISSED = ("own training", "params", "all training", "hold-out", "EMA", "speed-up", "of dense", "of the bar's")
_TEXT_COLUMNS = 24  # characters


def write_report(graph: StudyGraph, found: Sequence[Summary], output: Path) -> list[Path]:
    """The charts and the page; returns the files."""
    written = write_charts(found, output)
    images = {name: next(path for path in paths if path.suffix == ".svg") for name, paths in written.items()}
    page = output / "report.html"
    write_atomically(page, _page(graph, found, images))
    return [page, *(path for paths in written.values() for path in paths)]


def print_tables(found: Sequence[Summary], console: Console) -> None:
    """The tables and how to read them, with the columns that the console has room for."""
    for table in tables(found):
        shown = Shown(title=table.title, title_justify="left", box=None, padding=(0, 2, 0, 0))
        places = _that_fit(table, console.width)
        for column in (table.columns[place] for place in places):
            text = column in _TEXTS
            least = _TEXT_COLUMNS if text else None
            shown.add_column(column, justify="left" if text else "right", no_wrap=not text, min_width=least)
        for point, rows in table.points.items():
            shown.add_row(Text(point, style="bold"))
            for row in rows:
                shown.add_row(*(Text(row[place]) for place in places))
        console.print(shown)
    console.print(_HOW)
    if any(summary.kind == OURS for summary in found):
        console.print(_OURS)


def _that_fit(table: Table, width: int) -> list[int]:
    """The columns that a terminal has room for: those missed least go first, so that no figure is cut off."""
    needs = {
        column: 2 + max(len(column), *(len(row[place]) for rows in table.points.values() for row in rows))
        for place, column in enumerate(table.columns)
    }
    needs |= {column: min(needs[column], 2 + _TEXT_COLUMNS) for column in _TEXTS}
    for column in _LEAST_MISSED:
        if sum(needs.values()) > width:
            needs.pop(column, None)
    return [place for place, column in enumerate(table.columns) if column in needs]


_HOW = (
    "Top-1 of the test set after the last epoch, mean ± sample standard deviation over n seeds; nothing was chosen on "
    "it. Verdicts are against plain width at the same budget and recipe; overlapping intervals are a tie."
)
_TITLES = {
    "equal-budget": "At equal budgets",
    "accuracy-macs": "Accuracy against MACs",
    "accuracy-training": "Accuracy against training",
}
_OURS = "Rescaled, guided and transferred shapes follow this project's own rules: the papers' could not be read."


@dataclass(frozen=True)
class Table:
    """What is shown of one recipe: columns that say something, and rows of texts by point."""

    title: str
    columns: list[str]
    points: dict[str, list[list[str]]]


def tables(found: Sequence[Summary]) -> list[Table]:
    """One for each recipe."""
    made = []
    for recipe, by_point in groups(found).items():
        rows = {point or "dense": [cells(summary, found) for summary in own] for point, own in by_point.items()}
        every = [row for own in rows.values() for row in own]
        columns = [column for column in max(every, key=len) if any(row.get(column) for row in every)]
        points = {point: [[row.get(column, "") for column in columns] for row in own] for point, own in rows.items()}
        made.append(Table(_title(recipe, by_point), columns, points))
    return made


def cells(summary: Summary, found: Sequence[Summary]) -> dict[str, str]:
    """What a row says, by column; little where nothing is finished."""
    said = {"network": summary.name, "verdict": verdict(summary, found)}
    if not summary.results:
        return said
    bar, done = bar_of(summary, found), len(summary.results)
    return {
        "network": summary.name,
        "top-1 %": str(summary.top1),
        "verdict": said["verdict"],
        "n": f"{done}" if done == summary.planned else f"{done} of {summary.planned}",
        "EMA": str(summary.top1_ema or ""),
        "hold-out": str(summary.holdout or ""),
        "MACs": short(summary.macs),
        "of dense": f"{summary.macs / summary.dense.macs:.1%}",
        "params": short(summary.params),
        "own training": scientific(summary.training_macs),
        "all training": scientific(summary.training_macs_with_search),
        "of the bar's": f"{summary.training_macs_with_search / bar.training_macs_with_search:.1f}x" if bar else "",
        "speed-up": summary.speedup,
    }


def _title(recipe: str, by_point: Mapping[str, Sequence[Summary]]) -> str:
    results = [result for own in by_point.values() for summary in own for result in summary.results]
    return f"{results[0].arch} on {results[0].dataset}, recipe {recipe}" if results else f"recipe {recipe}"


def _page(graph: StudyGraph, found: Sequence[Summary], images: dict[str, Path]) -> str:
    environment = jinja2.Environment(autoescape=True, undefined=jinja2.StrictUndefined, trim_blocks=True)
    template = environment.from_string((Path(__file__).parent / "report.html").read_text(encoding="utf-8"))
    results = [result for summary in found for result in summary.results]
    return template.render(
        study=graph.study,
        tables=tables(found),
        charts=[
            {"title": _TITLES[name], "data": base64.b64encode(path.read_bytes()).decode()}
            for name, path in images.items()
        ],
        how=_HOW,
        ours=_OURS if any(summary.kind == OURS for summary in found) else "",
        datasets=sorted({result.dataset for result in results}),
        devices=sorted({result.device for result in results}),
        timed=[summary.timing for summary in found if summary.timing][:1],
    )
