"""The charts of a study: what came out at equal budgets, against MACs and against the cost of training."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import altair

from thinresnet.budget import short
from thinresnet.charts import COLOURS, write_chart
from thinresnet.studies.labels import LINE, Axis, labels_placed
from thinresnet.studies.protocol import DENSE, KINDS
from thinresnet.studies.protocols import BASELINE
from thinresnet.studies.summaries import UNSTEADY, Summary, distinct, groups, scientific

# The charts against a cost: the field of a point, and the title of its axis.
AXES = {
    "accuracy-macs": ("macs", "MACs of an image"),
    "accuracy-params": ("params", "parameters"),
    "accuracy-training": ("training", "training MACs, dense parent and pruning included"),
    "accuracy-latency": ("latency", "latency, share of the dense network's, measured in turns with it"),
}
_MOST_LABELS = 12  # a panel; of more points only the telling ones are named
_STAR = "M0,-1L.23,-.31L.95,-.31L.36,.12L.59,.81L0,.38L-.59,.81L-.36,.12L-.95,-.31L-.23,-.31Z"
_SHAPES = [
    "triangle-down",
    "square",
    "circle",
    "diamond",
    "cross",
    "triangle-up",
    "triangle-right",
    "triangle-left",
    _STAR,
]
_WIDTH, _HEIGHT, _STEP = 620, 420, 19
_MARGIN = 24.0  # pixels around the data
_PLAIN, _PLAIN_COLOUR = "plain scaling", "#555555"  # of the legend: what no method found


def write_charts(found: Sequence[Summary], output: Path) -> dict[str, list[Path]]:
    """Every chart in its formats, by name."""
    finished = [summary for summary in found if summary.results]
    timed = [summary for summary in finished if summary.kind != DENSE and _latency_share(summary) is not None]
    drawn = [name for name in AXES if name != "accuracy-latency" or timed]
    charts: dict[str, altair.TopLevelMixin] = {name: against_cost(finished, name) for name in drawn}
    if any(summary.point for summary in finished):
        charts = {"equal-budget": at_equal_budget(finished), **charts}
    names = [name for summary in found for name in (summary.label, summary.names)]
    return {name: write_chart(chart, output / name, names) for name, chart in charts.items()}


def at_equal_budget(finished: Sequence[Summary]) -> altair.HConcatChart:
    """For each way of training and each budget the lines, best first; the band is plain width's interval."""
    columns = []
    for recipe, by_point in groups(finished).items():
        panels = [_ladder(by_point, point, f"{recipe}: {point}", _marks(finished)) for point in by_point if point]
        if panels:
            columns.append(altair.vconcat(*panels).resolve_scale(x="shared"))
    return _dressed(altair.hconcat(*columns))


def _ladder(
    by_point: Mapping[str, Sequence[Summary]], point: str, title: str, marks: tuple[Any, Any, list[Any]]
) -> altair.LayerChart:
    points = [_point(summary) for summary in by_point[point]]
    colour, shape, tips = marks
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
    said = "mean ± one standard deviation; grey: that of plain width" + "; dashed: dense" * bool(dense)
    return altair.layer(*layers).properties(title=altair.TitleParams(title, subtitle=said))


def against_cost(finished: Sequence[Summary], name: str) -> altair.HConcatChart:
    """A panel for each way of training: means with one standard deviation to both sides, against a cost of `AXES`."""
    marks = _marks(finished, by_method=True)  # one for all panels, which share their legends
    drawn = distinct(_measured(finished, AXES[name][0]), across_points=True)  # one mark for one network
    panels = [
        _panel([summary for own in by_point.values() for summary in own], *AXES[name], marks)
        for by_point in groups(drawn).values()
    ]
    return _dressed(altair.hconcat(*panels))


def _measured(finished: Sequence[Summary], field: str) -> list[Summary]:
    """Those that have the cost; a latency is not known of all."""
    return [summary for summary in finished if field != "latency" or _latency_share(summary) is not None]


def _panel(own: Sequence[Summary], field: str, title: str, marks: tuple[Any, Any, list[Any]]) -> altair.LayerChart:
    points = [_point(summary) for summary in own]
    x_axis, y_axis = _axes(points, field)
    texts = _labelled(points, field, x_axis, y_axis)
    colour, shape, tips = marks
    kind = "log" if x_axis.logarithmic else "linear"
    scale = altair.Scale(type=kind, zero=False, nice=False, domain=[x_axis.low, x_axis.high])
    format_ = "~%" if field == "latency" else "~s"
    x = altair.X(f"{field}:Q", title=title, scale=scale).axis(format=format_, tickCount=6, labelOverlap="greedy")
    up = altair.Scale(zero=False, nice=False, domain=[y_axis.low, y_axis.high])
    y = altair.Y("top1:Q", title="top-1 (%)", scale=up)
    base = altair.Chart(altair.Data(values=points), width=_WIDTH, height=_HEIGHT).encode(x=x)
    bar = base.transform_filter(f"datum.protocol == 'dense' || datum.protocol == '{BASELINE}'")
    words = altair.Chart(altair.Data(values=texts))
    layers = [
        bar.mark_line(color="#888888", strokeDash=[5, 3]).encode(y=y),
        base.mark_rule(strokeWidth=1.4, opacity=0.55).encode(y=altair.Y("low:Q"), y2="high:Q", color=colour),
        words.mark_rule(strokeWidth=0.6, color="#999999").encode(x=x, y=y, x2="to_x:Q", y2="to_y:Q"),
        *_texts(words, colour),
        base.mark_point(filled=True, size=80, opacity=0.9).encode(y=y, color=colour, shape=shape, tooltip=tips),
    ]
    first = own[0].results[0]
    return altair.layer(*layers).properties(title=f"{first.arch} on {first.dataset}, {own[0].experiment.recipe}")


def _texts(words: altair.Chart, colour: Any) -> list[altair.Chart]:
    """The labels, on white, so that lines behind them do not hide them; they start or end beside their point."""
    layers = []
    for align in ("left", "right"):
        own = words.transform_filter(f"datum.align == '{align}'").encode(
            x=altair.X("text_x:Q"), y=altair.Y("text_y:Q"), text="label:N"
        )
        look: dict[str, Any] = {"align": align, "baseline": "middle", "fontSize": 10}
        layers.append(own.mark_text(**look, stroke="white", strokeWidth=3, strokeJoin="round"))
        layers.append(own.mark_text(**look).encode(color=colour))
    return layers


def _axes(points: Sequence[dict[str, Any]], field: str) -> tuple[Axis, Axis]:
    """The two axes, over the data alone."""
    costs = [point[field] for point in points]
    logarithmic = max(costs) > 2 * min(costs)
    x = Axis.around(costs, _WIDTH, margin=(_MARGIN, _MARGIN), logarithmic=logarithmic)
    reached = [value for point in points for value in (point["low"], point["high"])]
    return x, Axis.around(reached, _HEIGHT, margin=(_MARGIN, _MARGIN), downwards=True)


def _labelled(points: Sequence[dict[str, Any]], field: str, x: Axis, y: Axis) -> list[dict[str, Any]]:
    """The labels of points: where the text stands, and where the line to it ends."""
    ranked, named = _ranked(points, field)
    texts = [point["label"] if number < named else "" for number, point in enumerate(ranked)]
    boxes = labels_placed([(point[field], point["top1"]) for point in ranked], texts, x, y)
    found = []
    for point, box in zip(ranked, boxes, strict=True):
        if box is None:
            continue
        mark, middle = x.place(point[field]), (box.top + box.bottom) / 2
        align, edge = ("left", box.left) if box.left > mark else ("right", box.right)
        far = abs(middle - y.place(point["top1"])) > LINE / 2
        to = (x.value(edge), y.value(middle)) if far else (point[field], point["top1"])
        place = {"align": align, "text_x": x.value(edge), "text_y": y.value(middle), "to_x": to[0], "to_y": to[1]}
        found.append({**{key: point[key] for key in (field, "top1", "label", "method", "kind")}, **place})
    return found


def _ranked(points: Sequence[dict[str, Any]], field: str) -> tuple[list[dict[str, Any]], int]:
    """The points, those first whose names say most, and how many are to be named: where there are few, all.

    First the plain networks of the line, then the Pareto front, then the best of each method at each cost.
    """
    best: dict[tuple[str, str], float] = {}
    for point in points:
        key = (point["method"], point["point"])
        best[key] = max(best.get(key, 0.0), point["top1"])

    def rank(point: dict[str, Any]) -> int:
        if point["protocol"] in ("dense", BASELINE):
            return 0
        if not any(other[field] <= point[field] and other["top1"] > point["top1"] for other in points):
            return 1
        return 2 if point["top1"] == best[point["method"], point["point"]] else 3

    ranked = sorted(points, key=lambda point: (rank(point), -point["top1"]))
    if len(points) <= _MOST_LABELS:
        return ranked, len(points)
    return ranked, min(_MOST_LABELS, sum(rank(point) < 3 for point in points))


def _marks(own: Sequence[Summary], *, by_method: bool = False) -> tuple[Any, Any, list[Any]]:
    """Colour (of the method, or of the kind) and shape (of the kind), and what a pointer is told."""
    domain = [kind for kind in KINDS if any(summary.kind == kind for summary in own)]
    places = [KINDS.index(kind) for kind in domain]
    key = altair.Legend(title=None, orient="bottom", columns=3, labelLimit=300, symbolSize=90)
    colours, shapes = ([palette[place] for place in places] for palette in (COLOURS, _SHAPES))
    colour = altair.Color("kind:N", scale=altair.Scale(domain=domain, range=colours), legend=key)
    if by_method:
        methods = sorted({_method(summary) for summary in own}, key=lambda name: (name != _PLAIN, name))
        named = [_PLAIN_COLOUR if name == _PLAIN else COLOURS[at % len(COLOURS)] for at, name in enumerate(methods, -1)]
        scale = altair.Scale(domain=methods, range=named)
        colour = altair.Color("method:N", scale=scale, legend=altair.Legend(title=None, orient="right", labelLimit=200))
    return (
        colour,
        altair.Shape("kind:N", scale=altair.Scale(domain=domain, range=shapes), legend=key),
        [altair.Tooltip(f"{each}:N") for each in ("name", "point", "accuracy", "cost", "cost of training")],
    )


def _method(summary: Summary) -> str:
    return summary.experiment.method or _PLAIN


def _latency_share(summary: Summary) -> float | None:
    """Time of a batch over the dense network's; None where it was not timed, or the machine had other work."""
    if summary.kind == DENSE:
        return 1.0
    if summary.timing is None or summary.speedup == UNSTEADY:
        return None
    return float(summary.timing["network"]["time_ratio"])


def _dressed(chart: altair.HConcatChart) -> altair.HConcatChart:
    return chart.configure_view(strokeOpacity=0.3).configure_axis(gridOpacity=0.4)


def _point(summary: Summary) -> dict[str, Any]:
    assert summary.top1 is not None
    low, high = summary.top1.interval
    return {
        "protocol": summary.experiment.protocol,
        "kind": summary.kind,
        "name": summary.names,
        "label": summary.label,
        "method": _method(summary),
        "point": ", ".join(dict.fromkeys(each.point or "dense" for each in (summary, *summary.also))),
        "top1": summary.top1.mean,
        "low": low,
        "high": high,
        "latency": _latency_share(summary),
        "macs": summary.macs,
        "params": summary.params,
        "training": summary.training_macs_with_search,
        "accuracy": f"{summary.top1} % (n = {len(summary.results)})",
        "cost": f"{short(summary.macs)} MACs, {short(summary.params)} parameters",
        "cost of training": f"{scientific(summary.training_macs_with_search)} MACs",
    }
