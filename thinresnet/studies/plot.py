"""The charts of a study: what came out at equal budgets, against MACs and against the cost of training."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import altair

from thinresnet.budget import short
from thinresnet.charts import COLOURS, write_chart
from thinresnet.studies.protocol import KINDS
from thinresnet.studies.protocols import BASELINE
from thinresnet.studies.table import Summary, groups, scientific

# The charts against a cost: the field of a point, and the title of its axis.
AXES = {
    "accuracy-macs": ("macs", "MACs of an image (a little apart where points would hide one another)"),
    "accuracy-training": ("training", "training MACs, dense parent and pruning included"),
}
_SHAPES = ["triangle-down", "square", "circle", "diamond", "cross", "triangle-up", "triangle-right", "triangle-left"]
_WIDTH, _HEIGHT, _STEP = 460, 320, 19
_NEAR, _ASIDE = 0.03, 0.012  # of the axis: what hides one another, and how far it is moved apart


def write_charts(found: Sequence[Summary], output: Path) -> dict[str, list[Path]]:
    """Every chart in its formats, by name."""
    finished = [summary for summary in found if summary.results]
    charts: dict[str, altair.TopLevelMixin] = {name: against_cost(finished, name) for name in AXES}
    if any(summary.point for summary in finished):
        charts = {"equal-budget": at_equal_budget(finished), **charts}
    names = [summary.name for summary in found]
    return {name: write_chart(chart, output / name, names) for name, chart in charts.items()}


def at_equal_budget(finished: Sequence[Summary]) -> altair.HConcatChart:
    """For each way of training and each budget the lines, best first; the band is plain width's interval."""
    columns = []
    for recipe, by_point in groups(finished).items():
        panels = [_ladder(by_point, point, f"{recipe}: {point}") for point in by_point if point]
        if panels:
            columns.append(altair.vconcat(*panels).resolve_scale(x="shared"))
    return _dressed(altair.hconcat(*columns))


def _ladder(by_point: Mapping[str, Sequence[Summary]], point: str, title: str) -> altair.LayerChart:
    own = by_point[point]
    points = [_point(summary) for summary in own]
    colour, shape, tips = _marks(own)
    order = [entry["name"] for entry in points]
    y = altair.Y("name:N", title=None, sort=order).axis(labelLimit=260)
    axis = altair.Axis(tickCount=6, labelOverlap="greedy")
    x = altair.X("top1:Q", title="top-1 (%)", scale=altair.Scale(zero=False), axis=axis)
    low = altair.X("low:Q", title="top-1 (%)", axis=axis)
    base = altair.Chart(altair.Data(values=points), width=_WIDTH - 100, height=altair.Step(_STEP))
    bar = [entry for entry in points if entry["protocol"] == BASELINE]
    dense = [{"top1": summary.top1.mean} for summary in by_point.get("", ()) if summary.top1]
    layers = [
        altair.Chart(altair.Data(values=bar)).mark_rect(color="#999999", opacity=0.25).encode(x="low:Q", x2="high:Q"),
        altair.Chart(altair.Data(values=dense)).mark_rule(color="#555555", strokeDash=[5, 3]).encode(x=x),
        base.mark_rule(strokeWidth=1.6).encode(x=low, x2="high:Q", y=y, color=colour),
        base.mark_point(filled=True, size=70, opacity=1).encode(x=x, y=y, color=colour, shape=shape, tooltip=tips),
    ]
    return altair.layer(*layers).properties(title=title)


def against_cost(finished: Sequence[Summary], name: str) -> altair.HConcatChart:
    """A panel for each way of training: means with one standard deviation to both sides, against a cost of `AXES`."""
    panels = [
        _panel([summary for own in by_point.values() for summary in own], *AXES[name])
        for by_point in groups(finished).values()
    ]
    return _dressed(altair.hconcat(*panels))


def _panel(own: Sequence[Summary], field: str, title: str) -> altair.LayerChart:
    logarithmic = field == "training"
    points = [_point(summary) for summary in own]
    if not logarithmic:
        _stand_aside(points)
    colour, shape, tips = _marks(own)
    scale = altair.Scale(type="log" if logarithmic else "linear", zero=False, nice=False, padding=24)
    x = altair.X(f"{field}:Q", title=title, scale=scale).axis(format="~s", tickCount=6, labelOverlap="greedy")
    y = altair.Y("top1:Q", title="top-1 (%)", scale=altair.Scale(zero=False, padding=12))
    base = altair.Chart(altair.Data(values=points), width=_WIDTH, height=_HEIGHT).encode(x=x)
    bar = base.transform_filter(f"datum.protocol == 'dense' || datum.protocol == '{BASELINE}'")
    layers = [
        bar.mark_line(color="#888888", strokeDash=[5, 3]).encode(y=y),
        base.mark_rule(strokeWidth=1.4).encode(y=altair.Y("low:Q", title="top-1 (%)"), y2="high:Q", color=colour),
        base.mark_point(filled=True, size=80, opacity=0.9).encode(y=y, color=colour, shape=shape, tooltip=tips),
    ]
    first = own[0].results[0]
    return altair.layer(*layers).properties(title=f"{first.arch} on {first.dataset}, {own[0].experiment.recipe}")


def _marks(own: Sequence[Summary]) -> tuple[Any, Any, list[Any]]:
    """Colour and shape, which say the same twice, and what a pointer is told."""
    domain = [kind for kind in KINDS if any(summary.kind == kind for summary in own)]
    places = [KINDS.index(kind) for kind in domain]
    key = altair.Legend(title=None, orient="bottom", columns=3, labelLimit=300, symbolSize=90)
    colours, shapes = ([palette[place] for place in places] for palette in (COLOURS, _SHAPES))
    return (
        altair.Color("kind:N", scale=altair.Scale(domain=domain, range=colours), legend=key),
        altair.Shape("kind:N", scale=altair.Scale(domain=domain, range=shapes), legend=key),
        [altair.Tooltip(f"{each}:N") for each in ("name", "point", "accuracy", "cost", "cost of training")],
    )


def _stand_aside(points: Sequence[dict[str, Any]]) -> None:
    """Move points that would hide one another a little apart; plain width stays where it is."""
    reach = max(point["macs"] for point in points) - min(point["macs"] for point in points)
    together: dict[int, list[dict[str, Any]]] = {}
    for point in points:
        together.setdefault(round(point["macs"] / (_NEAR * reach or 1)), []).append(point)
    for own in together.values():
        others = [point for point in own if point["protocol"] != BASELINE]
        for number, point in enumerate(others if len(own) > 1 else []):
            side = (number // 2 + 1) * (1 if number % 2 else -1)
            point["macs"] += side * min(_ASIDE, _NEAR * 3 / len(own)) * reach


def _dressed(chart: altair.HConcatChart) -> altair.HConcatChart:
    return chart.configure_view(strokeOpacity=0.3).configure_axis(gridOpacity=0.4)


def _point(summary: Summary) -> dict[str, Any]:
    assert summary.top1 is not None
    low, high = summary.top1.interval
    return {
        "protocol": summary.experiment.protocol,
        "kind": summary.kind,
        "name": summary.name,
        "point": summary.point or "dense",
        "top1": summary.top1.mean,
        "low": low,
        "high": high,
        "macs": summary.macs,
        "training": summary.training_macs_with_search,
        "accuracy": f"{summary.top1} % (n = {len(summary.results)})",
        "cost": f"{short(summary.macs)} MACs, {short(summary.params)} parameters",
        "cost of training": f"{scientific(summary.training_macs_with_search)} MACs",
    }
