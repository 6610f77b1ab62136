"""The figure for one's own paper: the bar with its assumptions, the published results, and one's own.

    >>> drawing = figure(read_board(), arch="resnet50", mine=["Ours:76.0@2.05G"])
    >>> drawing.save("fig.pdf")
    >>> print(drawing.caption)

The bar is drawn as the rule has it (`thinresnet.leaderboard.bar`): straight in log cost between two references,
dashed where they are far apart, dotted beyond its ends, where only a comparison with its end remains.
"""

from __future__ import annotations

import csv
import io
import math
import os
import re
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise
from pathlib import Path
from typing import Any

import altair as alt

import thinresnet
from thinresnet.charts import rendered
from thinresnet.errors import InputError, nearest
from thinresnet.files import write_atomically
from thinresnet.leaderboard.bar import WIDE_GAP, Bar, BarPoint
from thinresnet.leaderboard.claims import typed_in
from thinresnet.leaderboard.dense import DenseCost, dense_cost
from thinresnet.leaderboard.labels import place_labels, short_name
from thinresnet.leaderboard.marks import AXES, FAMILY_MARKS, label_of
from thinresnet.leaderboard.references import (
    ANY,
    RECIPES,
    REFERENCES,
    RESOLUTIONS,
    RULES,
    Assumptions,
    may_be_the_bar,
    usual_references,
)
from thinresnet.leaderboard.schema import DATASETS, INPUT_SIZES, Entry, text_fault
from thinresnet.leaderboard.verdicts import Verdict, judge, points

FORMATS = (".pdf", ".svg", ".png")
WIDTH, HEIGHT = 560, 360
INK = "#16181d"
_MINE = "#000000"
_STAR = "M0,-1L0.25,-0.34L0.95,-0.31L0.4,0.13L0.59,0.81L0,0.42L-0.59,0.81L-0.4,0.13L-0.95,-0.31L-0.25,-0.34Z"
_CLAIM = re.compile(r"(?P<name>[^:]{1,60}):(?P<top1>[0-9.]+)%?@(?P<cost>\S+)")


@dataclass(frozen=True)
class Mine:
    """A result of one's own: its name, its verdict, and where it stands on the axis."""

    name: str
    verdict: Verdict
    cost: float


@dataclass(frozen=True)
class Figure:
    """A figure with all that is in it."""

    arch: str
    dataset: str
    axis: str
    log: bool
    assumptions: Assumptions
    bar: tuple[BarPoint, ...]
    published: tuple[tuple[Verdict, float], ...]
    mine: tuple[Mine, ...]
    labels: bool = False

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write it as PDF, SVG or PNG, by the ending of `path`."""
        write_atomically(path, self.rendered(Path(path).suffix.lower(), where=str(path)))

    def rendered(self, suffix: str, *, where: str = "figure") -> str | bytes:
        """The file with this ending."""
        if suffix not in FORMATS:
            raise InputError(f"{where}: a figure ends in {', '.join(FORMATS)}{nearest(suffix, FORMATS)}")
        return rendered(self.chart.to_json(), suffix[1:], scale=3)

    def __repr__(self) -> str:
        own = "".join(f", {each.name} {each.verdict.outcome}" for each in self.mine)
        return f"<Figure of {self.arch} on {self.dataset}: {len(self.published)} results{own}>"

    def _repr_svg_(self) -> str:
        return str(self.rendered(".svg"))

    @cached_property
    def chart(self) -> alt.LayerChart:
        """The figure as an Altair chart, to be changed further or shown in a notebook."""
        return dressed(draw(self))

    @property
    def caption(self) -> str:
        """What the reader of a paper must know, ready to stand below the figure."""
        a = self.assumptions
        own = " and ".join(each.name for each in self.mine)
        bar = (
            f"The line is the bar: the Pareto front of {len(self.bar)} scaled networks ({REFERENCES[a.references]}; "
            f"{RECIPES[a.recipes]}; {RESOLUTIONS[a.resolution]}), linear in log cost; dashed where two neighbours lie "
            f"more than a factor of {WIDE_GAP:g} apart, dotted beyond its ends, where nothing is extrapolated."
            + (" The band is one standard deviation of references that state theirs." if _spreads(self.bar) else "")
            if self.bar
            else f"No reference of this set ({REFERENCES[a.references]}) has a known cost here: there is no bar."
        )
        verdicts = "".join(
            f" {each.name} ({each.verdict.entry.top1} %) {'is ' * (not each.verdict.judged)}{each.verdict.says}"
            for each in self.mine
        )
        cost = AXES[self.axis][0].partition(" (")[0]
        return (
            f"Top-1 accuracy against {cost} of {len(self.published)} published results for "
            f"{self.arch} on {self.dataset}{f', and of {own}' if own else ''}. {bar}{verdicts} "
            f"Data and rule: thinresnet {thinresnet.__version__}, rule {RULES}."
        )

    @property
    def csv(self) -> str:
        """The data behind the figure: bar, published results and one's own, with verdicts."""
        text = io.StringIO()
        writer = csv.writer(text, lineterminator="\n")
        writer.writerow(
            ["what", "id", "name", "family", "paper", AXES[self.axis][2], "top1", "verdict", "gap", "wide_gap_after"]
        )
        for point in self.bar:
            entry = point.entry
            cells = ["bar", entry.id, label_of(entry), entry.family, entry.paper, f"{point.cost:.6g}", entry.top1]
            writer.writerow([*cells, "reference", "", "yes" if point.wide_after else "no"])
        for verdict, cost in self.published:
            entry = verdict.entry
            cells = ["published", entry.id, entry.method, entry.family, entry.paper, f"{cost:.6g}", entry.top1]
            writer.writerow([*cells, verdict.outcome, _gap(verdict), ""])
        for each in self.mine:
            cells = ["mine", "", each.name, each.verdict.entry.family, "", f"{each.cost:.6g}", each.verdict.entry.top1]
            writer.writerow([*cells, each.verdict.outcome, _gap(each.verdict), ""])
        return text.getvalue()


def figure(
    entries: Iterable[Entry],
    *,
    arch: str = "resnet50",
    dataset: str = "imagenet",
    mine: Sequence[str] = (),
    cost: str = "macs",
    references: str = "",
    recipes: str = ANY,
    resolution: str = ANY,
    log: bool = True,
    labels: bool = False,
) -> Figure:
    """The figure of one network; `mine` are results such as `Ours:76.0@2.05G`, in the unit of the `cost` axis.

    `cost` is macs, params or ratio (of the dense network's MACs: `Ours:76.0@50%`); the other words are the
    assumptions of the bar. `labels` names published results too, the best first, as far as there is room.
    """
    if cost not in AXES:
        raise InputError(f"--cost {cost}: one of {', '.join(AXES)}{nearest(cost, AXES)}")
    assumptions = Assumptions(references or usual_references(arch), recipes, resolution, AXES[cost][1])
    rows = [entry for entry in entries if entry.dataset == dataset]
    if not any(entry.arch == arch for entry in rows):
        known = {entry.arch for entry in rows}
        raise InputError(f"--arch {arch}: no row on {dataset} has it{nearest(arch, known)}")
    bar = Bar(rows)
    dense = dense_of(dataset, arch)
    if cost == "ratio" and dense is None:
        raise InputError(f"--cost ratio: the dense {arch} has not been counted on {dataset}; take macs or params")
    scale = dense.macs / 1e9 if dense and cost == "ratio" else 1.0
    curve = points(bar, dataset, arch, assumptions)
    return Figure(
        arch,
        dataset,
        cost,
        log,
        assumptions,
        tuple(BarPoint(each.cost / scale, each.top1, each.entry, each.wide_after) for each in curve),
        tuple(_published(rows, arch, cost, bar, assumptions)),
        tuple(_mine(text, arch, dataset, cost, bar, assumptions) for text in mine),
        labels,
    )


def dense_of(dataset: str, arch: str) -> DenseCost | None:
    """What the dense network costs at its usual input size; None where nobody counted it."""
    size = INPUT_SIZES.get((dataset, arch), DATASETS[dataset].input_size)
    return dense_cost(arch, size, DATASETS[dataset].classes)


def _published(
    rows: Iterable[Entry], arch: str, axis: str, bar: Bar, assumptions: Assumptions
) -> Iterable[tuple[Verdict, float]]:
    for entry in rows:
        cost = getattr(entry, AXES[axis][2])
        if entry.arch == arch and not may_be_the_bar(entry) and entry.top1 is not None and cost is not None:
            yield judge(bar, entry, assumptions), cost


def _mine(text: str, arch: str, dataset: str, axis: str, bar: Bar, assumptions: Assumptions) -> Mine:
    found = _CLAIM.fullmatch(text.strip())
    if not found:
        raise InputError(f"--mine {text}: write NAME:TOP1@COST, such as 'Ours:76.0@2.05G'")
    name = found["name"].strip()
    if wrong := text_fault(name) if name else "a name":
        raise InputError(f"--mine {text}: the name is not {wrong}")
    if axis == "ratio" and not found["cost"].endswith("%"):
        raise InputError(f"--mine {text}: the axis shows shares of the dense network; write the cost as 50%")
    quantity = AXES[axis][1]
    claim = typed_in(arch=arch, dataset=dataset, top1=found["top1"], **{quantity: found["cost"]})
    cost = getattr(claim, AXES[axis][2])
    if cost is None:
        raise InputError(f"--mine {text}: the dense {arch} has not been counted on {dataset}; give the cost itself")
    return Mine(name, judge(bar, claim, assumptions), cost)


def _gap(verdict: Verdict) -> str:
    return "" if verdict.gap is None else f"{verdict.gap:.2f}"


def dressed(chart: Any) -> Any:
    """A chart or several, in the look of these figures."""
    return chart.configure_view(stroke=None).configure_legend(labelLimit=400)


def draw(figure: Figure, families: Collection[str] = ()) -> alt.LayerChart:
    """Layers from the back: the bar, its marks, the published results, one's own, labels.

    `families` are those of the legend, where several figures share one.
    """
    frame = _Frame.of(figure)
    scale = alt.Scale(type="log" if figure.log else "linear", domain=list(frame.x), nice=False)
    format_ = "~%" if figure.axis == "ratio" else "~g"
    axis = alt.Axis(format=format_, tickCount=8, labelOverlap="greedy", grid=False)
    x = alt.X("x:Q", title=AXES[figure.axis][0], scale=scale, axis=axis)
    y = alt.Y(
        "y:Q", title="top-1 accuracy (%)", scale=alt.Scale(domain=list(frame.y), nice=False), axis=alt.Axis(tickCount=7)
    )
    results = _published_layer(figure, families, x, y)
    names = _names(figure, frame, x, y)
    layers = [*_bar_layers(figure, frame, x, y), results, *names, *_mine_layers(figure, x, y)]
    title = {"text": f"{figure.arch} on {figure.dataset}", "anchor": "start", "subtitle": _subtitle(figure)}
    return alt.layer(*layers).properties(width=WIDTH, height=HEIGHT, title=title)


def _subtitle(figure: Figure) -> list[str]:
    if not figure.bar:
        return [f"no bar: no reference of {figure.assumptions.says}"]
    dashes = ["dashed over gaps of more than a factor of 2"] * any(point.wide_after for point in figure.bar)
    return [f"the line is the bar: {figure.assumptions.says}", "; ".join([*dashes, "dotted beyond its ends"])]


@dataclass(frozen=True)
class _Frame:
    """What the axes show, and where a figure lands in pixels."""

    x: tuple[float, float]
    y: tuple[float, float]
    log: bool

    @classmethod
    def of(cls, figure: Figure) -> _Frame:
        costs = [cost for _, cost in figure.published] + [each.cost for each in figure.mine]
        tops = [float(each.entry.top1 or 0) for each, _ in figure.published]
        tops += [float(each.verdict.entry.top1 or 0) for each in figure.mine]
        if not costs:
            costs, tops = [point.cost for point in figure.bar], [point.top1 for point in figure.bar]
        if not costs:
            raise InputError(
                f"nothing to draw: no row of {figure.arch} on {figure.dataset} has both an accuracy and "
                f"{AXES[figure.axis][0]}"
            )
        low, high = min(costs), max(costs)
        # The bar is drawn as far as it can be read against the results, and one reference beyond on each side.
        near = [point for point in figure.bar if low / 1.6 <= point.cost <= high * 1.6]
        low, high = min([low, *(point.cost for point in near)]), max([high, *(point.cost for point in near)])
        tops += [point.top1 for point in near]
        margin = 0.06 * ((max(tops) - min(tops)) or 1)
        spread = (high / low) ** 0.05 if figure.log and high > low else 1.1
        around = (high - low) * 0.05
        x = (low / spread, high * spread) if figure.log else (max(low - around, 0.0), high + around)
        return cls(x, (min(tops) - margin, max(tops) + margin), figure.log)

    def knots(self, figure: Figure) -> list[BarPoint]:
        """The references of the bar that are in sight."""
        return [point for point in figure.bar if self.x[0] <= point.cost <= self.x[1] and point.top1 >= self.y[0]]

    def pixel(self, x: float, y: float) -> tuple[float, float]:
        """Where a point lies, from the left and from above."""
        (left, right), (low, high) = self.x, self.y
        along = math.log(x / left) / math.log(right / left) if self.log else (x - left) / (right - left)
        return along * WIDTH, (high - y) / (high - low) * HEIGHT


def _spreads(bar: Sequence[BarPoint]) -> list[tuple[BarPoint, BarPoint]]:
    """The neighbours that both state a spread: between them there is a band."""
    return [(one, other) for one, other in pairwise(bar) if one.entry.top1_std and other.entry.top1_std]


def _bar_layers(figure: Figure, frame: _Frame, x: alt.X, y: alt.Y) -> list[alt.Chart]:
    """The band of one standard deviation where it is known, the line, and its marks."""
    if not figure.bar:
        return []
    lines = []
    for pair in _spreads(figure.bar):
        edges = [(point.cost, point.top1, float(point.entry.top1_std or 0)) for point in pair]
        band = [{"x": cost, "y": top1 - std, "y2": top1 + std} for cost, top1, std in edges]
        area = alt.Chart(alt.Data(values=band)).mark_area(color=INK, opacity=0.15, clip=True, aria=False)
        lines.append(area.encode(x=x, y=y, y2="y2:Q"))
    for number, (points_, dash) in enumerate(segments(figure.bar, frame.x, log=figure.log)):
        shown = [{"x": px, "y": py, "segment": number} for px, py in points_]
        lines.append(
            alt.Chart(alt.Data(values=shown))
            .mark_line(strokeWidth=2, color=INK, strokeDash=dash, clip=True, aria=False)
            .encode(x=x, y=y)
        )
    marks = alt.Chart(alt.Data(values=[{"x": point.cost, "y": point.top1} for point in frame.knots(figure)]))
    lines.append(
        marks.mark_point(filled=True, aria=False, shape="square", size=26, color=INK, opacity=1).encode(x=x, y=y)
    )
    return lines


def _names(figure: Figure, frame: _Frame, x: alt.X, y: alt.Y) -> list[alt.Chart]:
    """The names of the bar's references, and, if asked for, of published results, the best first; all in front."""
    said = [(point.cost, point.top1, label_of(point.entry), INK) for point in frame.knots(figure)]
    if figure.labels:
        best = sorted(figure.published, key=lambda each: math.inf if each[0].gap is None else -each[0].gap)
        said += [
            (
                cost,
                float(each.entry.top1 or 0),
                short_name(each.entry.method, each.entry.arch),
                FAMILY_MARKS[each.entry.family][1],
            )
            for each, cost in best
        ]
    pieces = segments(figure.bar, frame.x, log=figure.log) if figure.bar else []
    line = [[frame.pixel(*point) for point in path] for path, _ in pieces]
    places = place_labels([(*frame.pixel(cost, top1), label) for cost, top1, label, _ in said], (WIDTH, HEIGHT), line)
    groups: dict[tuple[tuple[int, int, str], str], list[dict[str, Any]]] = {}
    for (cost, top1, label, colour), place in zip(said, places, strict=True):
        if place is not None:
            groups.setdefault((place, colour), []).append({"x": cost, "y": top1, "label": label})
    names: list[alt.Chart] = []
    for ((dx, dy, align), colour), here in groups.items():
        words = alt.Chart(alt.Data(values=here)).encode(x=x, y=y, text="label:N")
        names += [
            words.mark_text(dx=dx, dy=dy, align=align, fontSize=10, **look)
            for look in ({"stroke": "white", "strokeWidth": 3}, {"color": colour})
        ]
    return names


def segments(
    bar: Sequence[BarPoint], within: tuple[float, float], *, log: bool
) -> list[tuple[list[tuple[float, float]], list[int]]]:
    """The bar as pieces of one dash each: solid, dashed over wide gaps, dotted beyond its ends."""
    pieces: list[tuple[list[tuple[float, float]], list[int]]] = []
    first, last = bar[0], bar[-1]
    if within[0] < first.cost:
        pieces.append(([(within[0], first.top1), (first.cost, first.top1)], [1, 4]))
    for left, right in pairwise(bar):
        # Straight in log cost is bent on a linear axis.
        steps = 1 if log else 16
        weights = [number / steps for number in range(steps + 1)]
        path = [
            (left.cost * (right.cost / left.cost) ** weight, left.top1 + weight * (right.top1 - left.top1))
            for weight in weights
        ]
        dash = [6, 4] if left.wide_after else [1, 0]
        if pieces and pieces[-1][1] == dash:
            pieces[-1][0].extend(path[1:])
        else:
            pieces.append((path, dash))
    if last.cost < within[1]:
        pieces.append(([(last.cost, last.top1), (within[1], last.top1)], [1, 4]))
    return pieces


def _published_layer(figure: Figure, families: Collection[str], x: alt.X, y: alt.Y) -> alt.Chart:
    shown = [
        {"x": cost, "y": float(verdict.entry.top1 or 0), "family": FAMILY_MARKS[verdict.entry.family][0]}
        for verdict, cost in figure.published
    ]
    drawn = families or {verdict.entry.family for verdict, _ in figure.published}
    present = [mark for family, mark in FAMILY_MARKS.items() if family in drawn]
    names = [name for name, _, _ in present]
    legend = alt.Legend(title=None, orient="bottom", columns=3)
    colour = alt.Scale(domain=names, range=[colour for _, colour, _ in present])
    shape = alt.Scale(domain=names, range=[shape for _, _, shape in present])
    return (
        alt.Chart(alt.Data(values=shown))
        .mark_point(filled=True, aria=False, opacity=0.72, size=34)
        .encode(
            x=x,
            y=y,
            color=alt.Color("family:N", scale=colour, legend=legend),
            shape=alt.Shape("family:N", scale=shape, legend=legend),
        )
    )


def _mine_layers(figure: Figure, x: alt.X, y: alt.Y) -> list[alt.Chart]:
    if not figure.mine:
        return []
    values = [{"x": each.cost, "y": float(each.verdict.entry.top1 or 0), "name": each.name} for each in figure.mine]
    chart = alt.Chart(alt.Data(values=values)).encode(x=x, y=y)
    words = chart.encode(text="name:N")
    return [
        chart.mark_point(
            filled=True, aria=False, shape=_STAR, size=320, color=_MINE, stroke="white", strokeWidth=1.2, opacity=1
        ),
        words.mark_text(dx=12, dy=-10, align="left", fontSize=12, fontWeight="bold", stroke="white", strokeWidth=4),
        words.mark_text(dx=12, dy=-10, align="left", fontSize=12, fontWeight="bold", color=_MINE),
    ]
