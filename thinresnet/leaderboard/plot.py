"""Charts of accuracy against cost: the bar as a line, papers as points; one drawing for the page and for papers."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from thinresnet.errors import InputError, nearest
from thinresnet.files import write_atomically
from thinresnet.leaderboard.dense import DenseCost, dense_cost
from thinresnet.leaderboard.schema import DATASETS, INPUT_SIZES, Entry
from thinresnet.leaderboard.verdicts import BUDGETS, Bar, may_be_the_bar, usual_references

if TYPE_CHECKING:
    import altair

# Colour and shape say the same twice; every colour keeps a contrast of 3 and more on white and on near-black.
FAMILY_MARKS: Mapping[str, tuple[str, str, str]] = {
    "pruned": ("pruned", "#d1495b", "circle"),
    "init": ("pruned at initialisation", "#7a5cff", "triangle-up"),
    "scratch": ("pruned shape, trained from scratch", "#0d8a72", "diamond"),
    "searched": ("searched", "#7b8494", "cross"),
    "scaled": ("scaled", "#2f7de1", "square"),
    "dense": ("dense", "#b3741a", "triangle-down"),
}
# What a cost axis shows: its title, the budget of the bar on it, the figure of an entry.
AXES: Mapping[str, tuple[str, str]] = {
    "macs": ("MACs (G)", "MACs"),
    "params": ("parameters (M)", "parameters"),
    "ratio": ("share of the dense network's MACs", "MACs"),
}
INK = "#16181d"
FORMATS = (".png", ".svg", ".pdf")


def dense_of(dataset: str, arch: str) -> DenseCost | None:
    """What the dense network costs at its usual input size; None where nobody counted it."""
    size = INPUT_SIZES.get((dataset, arch), DATASETS[dataset].input_size)
    return dense_cost(arch, size, DATASETS[dataset].classes)


def points_of(entries: Iterable[Entry], dataset: str, arch: str, axis: str) -> list[dict[str, Any]]:
    """The rows of one architecture that are not the bar, as far as they have an accuracy and the axis' cost."""
    figure = {"macs": "macs_g", "params": "params_m", "ratio": "macs_ratio"}[axis]
    return [
        {"x": getattr(entry, figure), "y": float(entry.top1), "family": entry.family, "id": entry.id}
        for entry in entries
        if (entry.dataset, entry.arch) == (dataset, arch) and not may_be_the_bar(entry)
        if entry.top1 is not None and getattr(entry, figure) is not None
    ]


def bar_line(bar: Bar, dataset: str, arch: str, family: str, axis: str) -> list[dict[str, Any]]:
    """The bar on one axis, cheapest reference first. On the ratio axis costs are shares of `arch`'s dense MACs."""
    budget = AXES[axis][1]
    quantity = BUDGETS[budget][0]
    one = 1.0
    if axis == "ratio":
        dense = dense_of(dataset, arch)
        if dense is None:
            return []
        one = dense.macs / 1e9
    return [
        {"x": cost.value / one, "y": float(point.top1 or 0), "id": point.entry.id}
        for point in reversed(bar.frontier(dataset, arch, family, budget))
        if (cost := point.cost(quantity))
    ]


def chart(axis: str, *, log: bool, legend: bool, size: int) -> altair.LayerChart:
    """The drawing, to be filled with the named data `points` and `bar`; without a legend also `picked`, to be ringed.

    The bar has the colour of the style `ink`; a mark's tooltip is the id of its row.
    """
    import altair as alt

    title = AXES[axis][0]
    families = [name for name, _, _ in FAMILY_MARKS.values()]
    scale = alt.Scale(type="log", nice=False, padding=12) if log else alt.Scale(zero=False, nice=False, padding=12)
    x = alt.X(
        "x:Q",
        title=title,
        scale=scale,
        axis=alt.Axis(format="~%" if axis == "ratio" else "~g", tickCount=8, labelOverlap="greedy", grid=False),
    )
    y = alt.Y("y:Q", title="top-1 accuracy (%)", scale=alt.Scale(zero=False, padding=12), axis=alt.Axis(tickCount=7))
    key = alt.Legend(title=None, orient="bottom", columns=3) if legend else None
    tooltip = alt.Tooltip("id:N")
    bar = alt.Chart(alt.NamedData("bar")).encode(x=x, y=y)
    points = (
        alt.Chart(alt.NamedData("points"))
        .transform_calculate(label=f"{json.dumps({k: v[0] for k, v in FAMILY_MARKS.items()})}[datum.family]")
        .mark_point(filled=True, opacity=0.78, size=size, cursor="pointer", aria=False)
        .encode(
            x=x,
            y=y,
            tooltip=tooltip,
            color=alt.Color(
                "label:N",
                scale=alt.Scale(domain=families, range=[colour for _, colour, _ in FAMILY_MARKS.values()]),
                legend=key,
            ),
            shape=alt.Shape(
                "label:N",
                scale=alt.Scale(domain=families, range=[shape for _, _, shape in FAMILY_MARKS.values()]),
                legend=key,
            ),
        )
    )
    line = bar.mark_line(interpolate="step-after", strokeWidth=2, style="ink", aria=False)
    knots = bar.mark_point(
        filled=True, shape="square", size=size * 0.7, opacity=1, cursor="pointer", style="ink", aria=False
    ).encode(tooltip=tooltip)
    if legend:
        return alt.layer(line, knots, points)
    picked = alt.Chart(alt.NamedData("picked")).mark_point(size=size * 5, strokeWidth=2.5, style="ink", aria=False)
    # The ring lies beneath, so that it never takes the pointer from a mark.
    return alt.layer(line, picked.encode(x=x, y=y, opacity=alt.Opacity("shown:Q", scale=None)), knots, points)


def specification(axis: str, *, log: bool) -> dict[str, Any]:
    """The drawing for the page, as Vega-Lite: as wide as its place, its data still to come."""
    drawing = chart(axis, log=log, legend=False, size=60).properties(width="container", height=420)
    return dict(drawing.to_dict())


def draw(
    path: Path,
    entries: Iterable[Entry],
    *,
    dataset: str,
    arch: str,
    axis: str = "macs",
    against: str = "",
    log: bool = True,
) -> None:
    """Write the chart of one architecture as PNG, SVG or PDF, by the ending of `path`."""
    suffix = path.suffix.lower()
    if suffix not in FORMATS:
        raise InputError(f"{path}: a chart ends in {', '.join(FORMATS)}{nearest(suffix, FORMATS)}")
    if axis not in AXES:
        raise InputError(f"--cost {axis}: one of {', '.join(AXES)}{nearest(axis, AXES)}")
    entries = list(entries)
    family = against or usual_references(arch)
    points = points_of(entries, dataset, arch, axis)
    if not points:
        raise InputError(f"nothing to draw: no row of {arch} on {dataset} has both an accuracy and {AXES[axis][0]}")
    line = bar_line(Bar(entries), dataset, arch, family, axis)
    title = {"text": f"{arch} on {dataset}", "subtitle": f"the line is the bar: {family}", "anchor": "start"}
    drawing = chart(axis, log=log, legend=True, size=36).properties(width=560, height=360, title=title)
    spec = drawing.configure_view(stroke=None).to_dict()
    spec["config"]["style"] = {"ink": {"color": INK}}
    spec["datasets"] = {"points": points, "bar": _within_sight(line, points)}
    write_atomically(path, _render(spec, suffix))


def _render(spec: dict[str, Any], suffix: str) -> str | bytes:
    import vl_convert

    if suffix == ".svg":
        return str(vl_convert.vegalite_to_svg(spec))
    return bytes(vl_convert.vegalite_to_png(spec, scale=3) if suffix == ".png" else vl_convert.vegalite_to_pdf(spec))


def _within_sight(line: list[dict[str, Any]], points: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The part of the bar that these points can be read against, drawn on to the right edge."""
    left, right = (edge(point["x"] for point in points) for edge in (min, max))
    seen = [point for point in line if point["x"] <= right]
    below = [point for point in seen if point["x"] < left]
    # What is cheaper than every point still is the bar for the cheapest ones: the last of it stays.
    seen = seen[max(len(below) - 1, 0) :]
    return [*seen, {**seen[-1], "x": right}] if seen and seen[-1]["x"] < right else seen
