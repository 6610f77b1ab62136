"""What a study shows: the table at equal budgets with its verdicts, two charts, and one page that works offline."""

from __future__ import annotations

import base64
import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from thinresnet.budget import short
from thinresnet.charts import COLOURS, write_chart
from thinresnet.errors import InputError
from thinresnet.files import write_atomically
from thinresnet.studies.plan import Plan
from thinresnet.studies.store import Store
from thinresnet.studies.table import BAR, KINDS, OURS, Line, as_records, groups, lines, verdict

if TYPE_CHECKING:
    import altair
    from rich.console import Console

# What the horizontal axis is: the field of a point, and the title.
AXES = {
    "accuracy-macs": ("macs", "MACs of an image"),
    "accuracy-training": ("bill", "training MACs, dense parent and pruning included"),
}
_SHAPES = ["triangle-down", "square", "circle", "diamond", "cross", "triangle-up"]
_MOST_NAMED = 14  # points in a panel; with more, names would hide them
_WIDTH, _HEIGHT = 460, 320
COLUMNS = ("network", "top-1 %", "EMA", "hold-out", "n", "MACs", "of dense", "params", "own training", "all training",
           "speed-up", "verdict")  # fmt: skip


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
    from rich.console import Console

    console = Console(highlight=False)
    _print(found, console)
    written = write_report(plan, found, output)
    console.print(f"Written: {', '.join(str(path) for path in written)}", soft_wrap=True)


def write_report(plan: Plan, found: Sequence[Line], output: Path) -> list[Path]:
    """The charts and the page; returns the files."""
    names = [line.name for line in found]
    charts = {name: write_chart(draw(found, name), output / name, names) for name in AXES}
    page = output / "report.html"
    images = {name: next(path for path in paths if path.suffix == ".svg") for name, paths in charts.items()}
    write_atomically(page, _page(plan, found, images))
    return [page, *(path for paths in charts.values() for path in paths)]


def draw(found: Sequence[Line], name: str) -> altair.HConcatChart:
    """One chart of `AXES`: a panel for each way of training, means with one standard deviation to both sides."""
    import altair

    finished = [line for line in found if line.results]
    panels = [
        _panel([line for own in by_point.values() for line in own], *AXES[name])
        for by_point in groups(finished).values()
    ]
    return altair.hconcat(*panels).configure_view(strokeOpacity=0.3).configure_axis(gridOpacity=0.4)


def _panel(own: Sequence[Line], field: str, title: str) -> altair.LayerChart:
    import altair

    log = field == "bill"
    points = [_point(line) for line in own]
    scale = altair.Scale(type="log" if log else "linear", zero=False, nice=False, padding=24)
    x = altair.X(f"{field}:Q", title=title, scale=scale).axis(format="~s", tickCount=6, labelOverlap="greedy")
    y = altair.Y("top1:Q", title="top-1 (%)", scale=altair.Scale(zero=False, padding=12))
    key = altair.Legend(title=None, orient="bottom", columns=3, labelLimit=300, symbolSize=90)
    colour = altair.Color("kind:N", scale=altair.Scale(domain=list(KINDS), range=COLOURS[: len(KINDS)]), legend=key)
    shape = altair.Shape("kind:N", scale=altair.Scale(domain=list(KINDS), range=_SHAPES), legend=key)
    tips = [altair.Tooltip(f"{each}:N") for each in ("name", "point", "accuracy", "cost", "training", "verdict")]
    base = altair.Chart(altair.Data(values=points), width=_WIDTH, height=_HEIGHT).encode(x=x)
    layers: list[Any] = []
    if not log:
        bar = base.transform_filter(f"datum.protocol == 'dense' || datum.protocol == '{BAR}'")
        layers.append(bar.mark_line(color="#888888", strokeDash=[5, 3]).encode(y=y))
    layers += [
        base.mark_rule(strokeWidth=1.4).encode(y=altair.Y("low:Q", title="top-1 (%)"), y2="high:Q", color=colour),
        base.mark_point(filled=True, size=80, opacity=0.9).encode(y=y, color=colour, shape=shape, tooltip=tips),
    ]
    if len(points) <= _MOST_NAMED:
        layers.append(base.mark_text(align="left", dx=8, fontSize=10, limit=180).encode(y=y, text="name:N"))
    first = own[0].results[0]
    return altair.layer(*layers).properties(title=f"{first['arch']} on {first['dataset']}, {own[0].row.regime}")


def _point(line: Line) -> dict[str, Any]:
    assert line.top1 is not None
    low, high = line.top1.interval
    return {
        "protocol": line.row.protocol,
        "kind": line.kind,
        "name": line.name,
        "point": line.row.point or "dense",
        "top1": line.top1.mean,
        "low": low,
        "high": high,
        "macs": line.macs,
        "bill": line.bill,
        "accuracy": f"{line.top1} % (n = {len(line.results)})",
        "cost": f"{short(line.macs)} MACs, {short(line.params)} parameters",
        "training": _power(line.bill),
    }


def _print(found: Sequence[Line], console: Console) -> None:
    from rich.table import Table
    from rich.text import Text

    for regime, by_point in groups(found).items():
        table = Table(title=_title(regime, by_point), title_justify="left", box=None, padding=(0, 2, 0, 0))
        for column in COLUMNS:
            text = column in ("network", "verdict")
            table.add_column(column, justify="left" if text else "right", no_wrap=not text)
        for point, own in by_point.items():
            table.add_row(Text(point or "dense", style="bold"))
            for line in own:
                table.add_row(*(Text(cell) for cell in cells(line, found)))
        console.print(table)
    console.print(_HOW)
    if any(line.kind == OURS for line in found):
        console.print(_OURS)


_HOW = (
    "Top-1 of the test set after the last epoch, mean ± sample standard deviation over n seeds; nothing was chosen on "
    "it. Verdicts are against plain width at the same budget and recipe; overlapping intervals are a tie."
)
_OURS = "Families, guided and transferred shapes follow this project's own rules: the papers' could not be read."


def cells(line: Line, found: Sequence[Line]) -> list[str]:
    """A line of the table, by `COLUMNS`."""
    if not line.results:
        return [line.name, *[""] * (len(COLUMNS) - 2), "not finished"]
    said = [str(spread) if spread else "" for spread in line.spreads.values()]
    n = str(len(line.results)) if len(line.results) == line.planned else f"{len(line.results)} of {line.planned}"
    cost = [short(line.macs), f"{line.macs / line.dense[0]:.1%}", short(line.params)]
    speed = "" if line.speedup is None else f"{line.speedup:.2f}x"
    return [line.name, *said, n, *cost, _power(line.own_bill), _power(line.bill), speed, verdict(line, found)]


def _title(regime: str, by_point: dict[str, list[Line]]) -> str:
    results = [result for own in by_point.values() for line in own for result in line.results]
    return f"{results[0]['arch']} on {results[0]['dataset']}, recipe {regime}" if results else f"recipe {regime}"


def _power(macs: float) -> str:
    """`1.25e15`: training MACs go beyond every unit that people know."""
    return f"{macs:.2e}".replace("e+", "e")


def _page(plan: Plan, found: Sequence[Line], images: dict[str, Path]) -> str:
    import jinja2

    environment = jinja2.Environment(autoescape=True, undefined=jinja2.StrictUndefined, trim_blocks=True)
    template = environment.from_string((Path(__file__).parent / "report.html").read_text(encoding="utf-8"))
    tables = [
        {
            "title": _title(regime, by_point),
            "points": [
                {"name": point or "dense", "rows": [cells(line, found) for line in own]}
                for point, own in by_point.items()
            ],
        }
        for regime, by_point in groups(found).items()
    ]
    results = [result for line in found for result in line.results]
    return template.render(
        study=plan.study,
        columns=COLUMNS,
        tables=tables,
        charts=[
            {"title": title, "data": base64.b64encode(images[name].read_bytes()).decode()}
            for name, (_, title) in AXES.items()
        ],
        how=_HOW,
        ours=_OURS if any(line.kind == OURS for line in found) else "",
        datasets=sorted({result["dataset"] for result in results}),
        devices=sorted({result["device"] for result in results}),
        timed=[line.timing for line in found if line.timing][:1],
    )
