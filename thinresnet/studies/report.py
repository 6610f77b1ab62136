"""What a study shows: the table with every cost and the verdict under each, charts, Markdown, and a page (offline)."""

from __future__ import annotations

import base64
from collections.abc import Iterator, Mapping, Sequence
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
from thinresnet.studies.summaries import Summary, groups, scientific
from thinresnet.studies.verdicts import bar_of, dense_training_macs, verdicts

_NAME = "network"
_NAME_COLUMNS = 20  # characters of a name, where there is little width: it is wrapped between words
_MARKDOWN = "tables.md"


def write_report(graph: StudyGraph, found: Sequence[Summary], output: Path) -> list[Path]:
    """The charts, the tables as Markdown, and the page; returns the files."""
    written = write_charts(found, output)
    images = {name: next(path for path in paths if path.suffix == ".svg") for name, paths in written.items()}
    page, text = output / "report.html", output / _MARKDOWN
    write_atomically(page, _page(graph, found, images))
    write_atomically(text, markdown(graph.study.name, found))
    return [page, text, *(path for paths in written.values() for path in paths)]


def print_tables(found: Sequence[Summary], console: Console) -> None:
    """The tables and how to read them; columns that a terminal is too narrow for follow below, with the names again."""
    for table in tables(found):
        for number, places in enumerate(_parts(table, console.width)):
            title = f"{table.title} (more columns)" if number else table.title
            console.print(_shown(table, places, title))
    for note in _notes(found):
        console.print(note)


def markdown(name: str, found: Sequence[Summary]) -> str:
    """The tables and how to read them, as Markdown."""
    lines = [f"# {name}"]
    for table in tables(found):
        lines += ["", f"## {table.title}", "", _line(table.columns), _line(["-", *["-:"] * (len(table.columns) - 1)])]
        for point, rows in table.points.items():
            lines += [_line([f"**{point}**", *[""] * (len(table.columns) - 1)]), *map(_line, rows)]
    return "\n".join([*lines, *(line for note in _notes(found) for line in ("", note))]) + "\n"


def _line(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in cells)} |"


def _shown(table: Table, places: Sequence[int], title: str) -> Shown:
    """Some of a table's columns for a terminal; names are wrapped, figures and verdicts never cut."""
    shown = Shown(title=title, title_justify="left", box=None, padding=(0, 2, 0, 0))
    for place in places:
        column = table.columns[place]
        if column == _NAME:
            shown.add_column(column, overflow="fold", min_width=_NAME_COLUMNS)
        else:
            width = max(len(column), *(len(row[place]) for rows in table.points.values() for row in rows))
            shown.add_column(column, justify="right", no_wrap=True, min_width=width)
    for point, rows in table.points.items():
        shown.add_row(Text(point, style="bold"))
        for row in rows:
            shown.add_row(*(Text(row[place]) for place in places))
    return shown


def _parts(table: Table, width: int) -> Iterator[list[int]]:
    """The columns in parts that fit a terminal, each of which begins with the names."""
    names = table.columns.index(_NAME)
    part, left = [names], width - _NAME_COLUMNS - 2
    for place, column in enumerate(table.columns):
        if place == names:
            continue
        needs = 2 + max(len(column), *(len(row[place]) for rows in table.points.values() for row in rows))
        if needs > left and len(part) > 1:
            yield part
            part, left = [names], width - _NAME_COLUMNS - 2
        part.append(place)
        left -= needs
    yield part


def _notes(found: Sequence[Summary]) -> list[str]:
    """How to read the tables."""
    ours = [_OURS] if any(summary.kind == OURS for summary in found) else []
    same = [_SAME] if any(" = " in summary.names for summary in found if summary.results) else []
    totals = [_TOTALS] if any(summary.experiment.total_macs for summary in found if summary.results) else []
    return [_HOW, _VERDICTS, *totals, *same, *ours]


_HOW = (
    "Top-1 of the test set after the last epoch, mean ± sample standard deviation over n random seeds; nothing was "
    "chosen on it. MACs, params and training in % of the dense network; training is of one seed from the beginning: "
    "dense parent, search and fine-tuning included."
)
_VERDICTS = (
    "at MACs, at params, at training: the verdict at equal or less of that one cost, against plain width under the "
    "same recipe (at MACs and params also the dense network). It clears if it is better than one that costs as much "
    "or more, loses if it is worse than one that costs as much or less, ties within Welch's 95 % interval; all "
    "three need 3 random seeds on both sides, else it is undecided. not judged: better than all that cost less, or "
    "worse than all that cost more, and nothing costs the same. over budget: more than the budget allows."
)
_TOTALS = (
    "unspent %: of an equal total, what was left over, because epochs are integers: less than one epoch of the last "
    "training."
)
_SAME = (
    "A = B: one network with two names, the same channels trained alike from scratch (costs are those of the first); "
    "or a shape that is a uniform scaling, each group's count to within one step of rounding."
)
_TITLES = {
    "equal-budget": "At equal budgets",
    "accuracy-macs": "Accuracy against MACs",
    "accuracy-params": "Accuracy against parameters",
    "accuracy-training": "Accuracy against training",
    "accuracy-latency": "Accuracy against latency",
}
_OURS = "Rescaled, guided and transferred shapes follow this project's own rules: the papers' could not be read."


_CALLED = {"macs": "MACs", "params": "params", "training": "training", "latency": "latency"}


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
    if not summary.results:
        return {_NAME: summary.name, "top-1 %": "not finished"}
    bar, done = bar_of(summary, found), len(summary.results)
    dense_training = dense_training_macs(summary, found)
    training = summary.training_macs_with_search
    said, total = verdicts(summary, found), summary.experiment.total_macs
    return {
        _NAME: summary.names,
        "top-1 %": str(summary.top1),
        "n": f"{done}" if done == summary.planned else f"{done} of {summary.planned}",
        "MACs %": f"{100 * summary.macs / summary.dense.macs:.1f}",
        "params %": f"{100 * summary.params / summary.dense.params:.1f}",
        "training %": f"{100 * training / dense_training:.0f}" if dense_training else "",
        **{f"at {_CALLED[cost]}": own.says for cost, own in said.items()},
        "MACs": short(summary.macs),
        "params": short(summary.params),
        "training MACs": scientific(training),
        "last training": scientific(summary.training_macs) if summary.training_macs else "none",
        "unspent %": "" if total is None else f"{100 * (total - training) / total:.1f}",
        "of the bar's": f"{training / bar.training_macs_with_search:.1f}x" if bar else "",
        "EMA": str(summary.top1_ema or ""),
        "hold-out": str(summary.holdout or ""),
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
        notes=_notes(found),
        datasets=sorted({result.dataset for result in results}),
        devices=sorted({result.device for result in results}),
        timed=[summary.timing for summary in found if summary.timing][:1],
    )
