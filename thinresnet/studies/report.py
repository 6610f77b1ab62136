"""What a study shows: the table at equal budgets with its verdicts, two charts, and one page that works offline."""

from __future__ import annotations

import base64
import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from thinresnet.budget import short
from thinresnet.charts import COLOURS, write_chart
from thinresnet.errors import InputError
from thinresnet.files import write_atomically
from thinresnet.studies.plan import Plan
from thinresnet.studies.store import Store
from thinresnet.studies.table import BAR, KINDS, OURS, Line, as_records, bar_of, groups, lines, verdict

if TYPE_CHECKING:
    import altair
    from rich.console import Console

# The charts against a cost: the field of a point, and the title of its axis.
AXES = {
    "accuracy-macs": ("macs", "MACs of an image (a little apart where points would hide one another)"),
    "accuracy-training": ("bill", "training MACs, dense parent and pruning included"),
}
_SHAPES = ["triangle-down", "square", "circle", "diamond", "cross", "triangle-up", "triangle-right", "triangle-left"]
_WIDTH, _HEIGHT, _STEP = 460, 320, 19
_NEAR, _ASIDE = 0.03, 0.012  # of the axis: what hides one another, and how far it is moved apart
_TEXTS = ("network", "verdict")  # columns of words
_LEAST_MISSED = ("own training", "params", "all training", "hold-out", "EMA", "speed-up", "of dense", "of the bar's")
_TEXT_COLUMNS, _PAGE_COLUMNS = 24, 200  # of characters


def show(plan: Plan, store: Store, *, output: Path, as_json: bool = False) -> None:
    """Print the table, and write charts and page into `output`; with `as_json` print the lines, and write nothing."""
    found = lines(plan, store)
    if not any(line.results for line in found):
        raise InputError(
            f"study {plan.study.name}: nothing is finished in {store.root}; `thinresnet study run` it first"
        )
    if as_json:
        print(json.dumps(as_records(found), indent=1))
        return
    console = wide_console()
    _print(found, console)
    written = write_report(plan, found, output)
    console.print(f"Written: {', '.join(str(path) for path in written)}", soft_wrap=True)


def write_report(plan: Plan, found: Sequence[Line], output: Path) -> list[Path]:
    """The charts and the page; returns the files."""
    names = [line.name for line in found]
    finished = [line for line in found if line.results]
    charts: dict[str, altair.TopLevelMixin] = {name: against_cost(finished, name) for name in AXES}
    if any(line.point for line in finished):
        charts = {"equal-budget": at_equal_budget(finished), **charts}
    written = {name: write_chart(chart, output / name, names) for name, chart in charts.items()}
    images = {name: next(path for path in paths if path.suffix == ".svg") for name, paths in written.items()}
    page = output / "report.html"
    write_atomically(page, _page(plan, found, images))
    return [page, *(path for paths in written.values() for path in paths)]


def at_equal_budget(finished: Sequence[Line]) -> altair.HConcatChart:
    """For each way of training and each budget the lines, best first; the band is plain width's interval."""
    import altair

    columns = []
    for regime, by_point in groups(finished).items():
        panels = [_ladder(by_point, point, f"{regime}: {point}") for point in by_point if point]
        if panels:
            columns.append(altair.vconcat(*panels).resolve_scale(x="shared"))
    return _dressed(altair.hconcat(*columns))


def _ladder(by_point: Mapping[str, Sequence[Line]], point: str, title: str) -> altair.LayerChart:
    import altair

    own = by_point[point]
    points = [_point(line) for line in own]
    colour, shape, tips = _marks(own)
    order = [entry["name"] for entry in points]
    y = altair.Y("name:N", title=None, sort=order).axis(labelLimit=260)
    axis = altair.Axis(tickCount=6, labelOverlap="greedy")
    x = altair.X("top1:Q", title="top-1 (%)", scale=altair.Scale(zero=False), axis=axis)
    low = altair.X("low:Q", title="top-1 (%)", axis=axis)
    base = altair.Chart(altair.Data(values=points), width=_WIDTH - 100, height=altair.Step(_STEP))
    bar = [entry for entry in points if entry["protocol"] == BAR]
    dense = [{"top1": line.top1.mean} for line in by_point.get("", ()) if line.top1]
    layers = [
        altair.Chart(altair.Data(values=bar)).mark_rect(color="#999999", opacity=0.25).encode(x="low:Q", x2="high:Q"),
        altair.Chart(altair.Data(values=dense)).mark_rule(color="#555555", strokeDash=[5, 3]).encode(x=x),
        base.mark_rule(strokeWidth=1.6).encode(x=low, x2="high:Q", y=y, color=colour),
        base.mark_point(filled=True, size=70, opacity=1).encode(x=x, y=y, color=colour, shape=shape, tooltip=tips),
    ]
    return altair.layer(*layers).properties(title=title)


def against_cost(finished: Sequence[Line], name: str) -> altair.HConcatChart:
    """A panel for each way of training: means with one standard deviation to both sides, against a cost of `AXES`."""
    import altair

    panels = [
        _panel([line for own in by_point.values() for line in own], *AXES[name])
        for by_point in groups(finished).values()
    ]
    return _dressed(altair.hconcat(*panels))


def _panel(own: Sequence[Line], field: str, title: str) -> altair.LayerChart:
    import altair

    by_bill = field == "bill"
    points = [_point(line) for line in own]
    if not by_bill:
        _stand_aside(points)
    colour, shape, tips = _marks(own)
    scale = altair.Scale(type="log" if by_bill else "linear", zero=False, nice=False, padding=24)
    x = altair.X(f"{field}:Q", title=title, scale=scale).axis(format="~s", tickCount=6, labelOverlap="greedy")
    y = altair.Y("top1:Q", title="top-1 (%)", scale=altair.Scale(zero=False, padding=12))
    base = altair.Chart(altair.Data(values=points), width=_WIDTH, height=_HEIGHT).encode(x=x)
    bar = base.transform_filter(f"datum.protocol == 'dense' || datum.protocol == '{BAR}'")
    layers = [
        bar.mark_line(color="#888888", strokeDash=[5, 3]).encode(y=y),
        base.mark_rule(strokeWidth=1.4).encode(y=altair.Y("low:Q", title="top-1 (%)"), y2="high:Q", color=colour),
        base.mark_point(filled=True, size=80, opacity=0.9).encode(y=y, color=colour, shape=shape, tooltip=tips),
    ]
    first = own[0].results[0]
    return altair.layer(*layers).properties(title=f"{first['arch']} on {first['dataset']}, {own[0].row.regime}")


def _marks(own: Sequence[Line]) -> tuple[Any, Any, list[Any]]:
    """Colour and shape, which say the same twice, and what a pointer is told."""
    import altair

    domain = [kind for kind in KINDS if any(line.kind == kind for line in own)]
    places = [KINDS.index(kind) for kind in domain]
    key = altair.Legend(title=None, orient="bottom", columns=3, labelLimit=300, symbolSize=90)
    colours, shapes = ([palette[place] for place in places] for palette in (COLOURS, _SHAPES))
    return (
        altair.Color("kind:N", scale=altair.Scale(domain=domain, range=colours), legend=key),
        altair.Shape("kind:N", scale=altair.Scale(domain=domain, range=shapes), legend=key),
        [altair.Tooltip(f"{each}:N") for each in ("name", "point", "accuracy", "cost", "training")],
    )


def _stand_aside(points: Sequence[dict[str, Any]]) -> None:
    """Move points that would hide one another a little apart; plain width stays where it is."""
    reach = max(point["macs"] for point in points) - min(point["macs"] for point in points)
    together: dict[int, list[dict[str, Any]]] = {}
    for point in points:
        together.setdefault(round(point["macs"] / (_NEAR * reach or 1)), []).append(point)
    for own in together.values():
        others = [point for point in own if point["protocol"] != BAR]
        for number, point in enumerate(others if len(own) > 1 else []):
            side = (number // 2 + 1) * (1 if number % 2 else -1)
            point["macs"] += side * min(_ASIDE, _NEAR * 3 / len(own)) * reach


def _dressed(chart: altair.HConcatChart) -> altair.HConcatChart:
    return chart.configure_view(strokeOpacity=0.3).configure_axis(gridOpacity=0.4)


def _point(line: Line) -> dict[str, Any]:
    assert line.top1 is not None
    low, high = line.top1.interval
    return {
        "protocol": line.row.protocol,
        "kind": line.kind,
        "name": line.name,
        "point": line.point or "dense",
        "top1": line.top1.mean,
        "low": low,
        "high": high,
        "macs": line.macs,
        "bill": line.bill,
        "accuracy": f"{line.top1} % (n = {len(line.results)})",
        "cost": f"{short(line.macs)} MACs, {short(line.params)} parameters",
        "training": f"{_power(line.bill)} MACs",
    }


def wide_console() -> Console:
    """A console whose tables are whole in a file or a pipe, which has no width of its own (COLUMNS gives it one)."""
    from rich.console import Console

    console = Console(highlight=False)
    if not console.is_terminal and "COLUMNS" not in os.environ:
        console.width = _PAGE_COLUMNS
    return console


def _print(found: Sequence[Line], console: Console) -> None:
    from rich.table import Table
    from rich.text import Text

    for table in tables(found):
        shown = Table(title=table.title, title_justify="left", box=None, padding=(0, 2, 0, 0))
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
    if any(line.kind == OURS for line in found):
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
_OURS = "Families, guided and transferred shapes follow this project's own rules: the papers' could not be read."


@dataclass(frozen=True)
class Table:
    """What is shown of one way of training: columns that say something, and rows of texts by point."""

    title: str
    columns: list[str]
    points: dict[str, list[list[str]]]


def tables(found: Sequence[Line]) -> list[Table]:
    """One for each way of training."""
    made = []
    for regime, by_point in groups(found).items():
        rows = {point or "dense": [cells(line, found) for line in own] for point, own in by_point.items()}
        every = [row for own in rows.values() for row in own]
        columns = [column for column in max(every, key=len) if any(row.get(column) for row in every)]
        points = {point: [[row.get(column, "") for column in columns] for row in own] for point, own in rows.items()}
        made.append(Table(_title(regime, by_point), columns, points))
    return made


def cells(line: Line, found: Sequence[Line]) -> dict[str, str]:
    """What a row says, by column; little where nothing is finished."""
    said = {"network": line.name, "verdict": verdict(line, found)}
    if not line.results:
        return said
    bar = bar_of(line, found)
    return {
        "network": line.name,
        "top-1 %": str(line.top1),
        "verdict": said["verdict"],
        "n": str(len(line.results)) if len(line.results) == line.planned else f"{len(line.results)} of {line.planned}",
        "EMA": str(line.top1_ema or ""),
        "hold-out": str(line.holdout or ""),
        "MACs": short(line.macs),
        "of dense": f"{line.macs / line.dense[0]:.1%}",
        "params": short(line.params),
        "own training": _power(line.own_bill),
        "all training": _power(line.bill),
        "of the bar's": f"{line.bill / bar.bill:.1f}x" if bar else "",
        "speed-up": line.speedup,
    }


def _title(regime: str, by_point: Mapping[str, Sequence[Line]]) -> str:
    results = [result for own in by_point.values() for line in own for result in line.results]
    return f"{results[0]['arch']} on {results[0]['dataset']}, recipe {regime}" if results else f"recipe {regime}"


def _power(macs: float) -> str:
    """`1.25e15`: training MACs go beyond every unit that people know."""
    return f"{macs:.2e}".replace("e+", "e")


def _page(plan: Plan, found: Sequence[Line], images: dict[str, Path]) -> str:
    import jinja2

    environment = jinja2.Environment(autoescape=True, undefined=jinja2.StrictUndefined, trim_blocks=True)
    template = environment.from_string((Path(__file__).parent / "report.html").read_text(encoding="utf-8"))
    results = [result for line in found for result in line.results]
    return template.render(
        study=plan.study,
        tables=tables(found),
        charts=[
            {"title": _TITLES[name], "data": base64.b64encode(path.read_bytes()).decode()}
            for name, path in images.items()
        ],
        how=_HOW,
        ours=_OURS if any(line.kind == OURS for line in found) else "",
        datasets=sorted({result["dataset"] for result in results}),
        devices=sorted({result["device"] for result in results}),
        timed=[line.timing for line in found if line.timing][:1],
    )
