"""The pictures of docs/thinresnet.md: published figures by their verdicts, and what was measured on another encoding.

They are two, because an accuracy on `cifar10-jpeg` never stands on one axis with a published one.
"""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Mapping, Sequence
from typing import Any

import altair as alt

from thinresnet.charts import rendered
from thinresnet.leaderboard.authors import COPY, Evidence, Measured, Published
from thinresnet.leaderboard.figure import segments
from thinresnet.leaderboard.verdicts import CLEARS, LOSES, TIES

INK = "#16181d"
PRINTED, CLASSIC, UNKNOWN = "ThinResNet, printed", "classic dense", "public base widths, no accuracy printed"
NOT_JUDGED = "not judged"
THIN = "ThinResNet authors' weights, by base width"
_STROKE = "M-0.1,-1.2H0.1V1.2H-0.1Z"
_KINDS: Mapping[str, tuple[str, str]] = {
    LOSES: ("#d1495b", "circle"),
    TIES: ("#7b8494", "square"),
    CLEARS: ("#0d8a72", "triangle-up"),
    NOT_JUDGED: ("#b9c0cc", "cross"),
    CLASSIC: ("#b3741a", "triangle-down"),
    PRINTED: ("#000000", "diamond"),
    UNKNOWN: ("#7a5cff", _STROKE),
}
_MEASURED: Mapping[str, tuple[str, str]] = {
    THIN: (INK, "diamond"),
    "SSL, pruned": ("#d1495b", "circle"),
    "DepGraph, pruned 2.55x": ("#2f7de1", "square"),
    "DepGraph's dense, group-sparse": ("#0d8a72", "triangle-up"),
    CLASSIC: ("#b3741a", "triangle-down"),
}
_TITLES = {"cifar10": "CIFAR-10", "imagenet": "ImageNet"}
_LEAST_PX = 17  # between two numbers


def svg(chart: alt.TopLevelMixin) -> str:
    """The picture as SVG, with the hash of what it was drawn from at its end."""
    drawing = str(rendered(chart.to_json(), "svg")).replace(' aria-hidden="true"', "")
    return f"{drawing.rstrip()}\n<!-- {fingerprint(chart)} -->\n"


def fingerprint(chart: alt.TopLevelMixin) -> str:
    """Tells whether a picture is of these figures without rendering it, which differs a little between versions."""
    content = {key: value for key, value in chart.to_dict().items() if key not in ("$schema", "config")}
    return "drawn from " + hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()


def published(evidence: Evidence) -> alt.VConcatChart:
    """Every published pruning result of the three networks by its verdict, beside what the authors print."""
    small, smaller, large = (
        _published_panel(one, width) for one, width in zip(evidence.published, (330, 330, 740), strict=True)
    )
    return _dressed(alt.vconcat(alt.hconcat(small, smaller), large))


def measured(evidence: Evidence) -> alt.HConcatChart:
    """The thin networks' curves on `cifar10-jpeg`, with the pruned and dense weights of others."""
    others = evidence.others()
    panels = [
        _measured_panel(evidence.thin(depth, COPY), [one for one in others if one.evaluation.arch == arch], depth)
        for depth, arch in ((20, "resnet20_cifar"), (56, "resnet56_cifar"))
    ]
    return _dressed(alt.hconcat(*panels))


def _published_panel(one: Published, width: int) -> alt.LayerChart:
    rows = _published_rows(one)
    shown = [*(row["macs"] for row in rows), *(macs_g(one, each) for each in one.unmeasured)]
    # CIFAR's unmeasured widths begin at a two-hundredth of the dense network: there they would only squeeze the rest.
    low = min(shown) if one.dataset == "imagenet" else min(row["macs"] for row in rows)
    within = (low / 1.15, max(shown) * 1.15)
    tops = [row["top1"] for row in rows]
    bottom = min(tops) - 0.08 * (max(tops) - min(tops))
    x = alt.X("macs:Q", title="MACs (G)", scale=alt.Scale(type="log", domain=list(within), nice=False)).axis(
        format="~g", grid=False, tickCount=6
    )
    y = alt.Y("top1:Q", title="top-1 (%)", scale=alt.Scale(domain=[bottom, max(tops) + 1], nice=False))
    layers = [_line(path, dash, x, y) for path, dash in segments(one.bar, within, log=True)]
    marks = _scales(_KINDS)
    widths = [
        {"macs": macs_g(one, each), "top1": bottom, "kind": UNKNOWN, "label": str(each.width)}
        for each in one.unmeasured
        if macs_g(one, each) >= within[0]
    ]
    foot = _texts(_spaced(widths, within, width), x, y, dx=0, dy=-11, color=_KINDS[UNKNOWN][0], fontSize=9)
    layers += [_marks([*rows, *widths], x, y, marks), foot, *_names([row for row in rows if row["label"]], x, y)]
    title = {
        "text": f"{_arch(one.arch)} on {_TITLES[one.dataset]}",
        "subtitle": f"line: the bar, {one.assumptions.says}",
        "anchor": "start",
    }
    return alt.layer(*layers).properties(width=width, height=250, title=title)


def _published_rows(one: Published) -> list[dict[str, Any]]:
    found = [
        {"macs": v.entry.macs_g, "top1": v.entry.top1, "kind": v.outcome if v.judged else NOT_JUDGED, "label": ""}
        for v in one.verdicts
        if "accuracy-doubtful" not in v.entry.flags
    ]
    found += [{"macs": e.macs_g, "top1": e.top1, "kind": CLASSIC, "label": ""} for e in one.classic]
    for e in one.printed:
        best = " best epoch" if "best-epoch" in e.flags else ""
        found.append({"macs": e.macs_g, "top1": e.top1, "kind": PRINTED, "label": f"{e.top1}{best}"})
    return [{**row, "top1": float(row["top1"])} for row in found if row["macs"] is not None and row["top1"] is not None]


def macs_g(one: Published, network: Any) -> float:
    """G MACs of a thin network at the size at which its kin are compared."""
    classes, side = (1000, 224) if one.dataset == "imagenet" else (10, 32)
    return float(network.cost(classes=classes, side_px=side)[0] / 1e9)


def _measured_panel(thin: Sequence[Measured], others: Sequence[Measured], depth: int) -> alt.LayerChart:
    curve = [_measured_row(one, THIN) for one in thin]
    rows, marks = [*curve, *(_measured_row(one, kind_of(one)) for one in others)], _scales(_MEASURED)
    within = (rows[0]["macs"] / 1.5, max(row["macs"] for row in rows) * 1.5)
    x = alt.X("macs:Q", title="MACs", scale=alt.Scale(type="log", domain=list(within), nice=False)).axis(
        format="~s", grid=False, tickCount=6
    )
    y = alt.Y("top1:Q", title=f"top-1 on {COPY} (%), 95 % interval", scale=alt.Scale(zero=False, padding=12))
    layers = [
        alt.Chart(alt.Data(values=curve)).mark_line(strokeWidth=1.6, color=INK, aria=False).encode(x, y),
        alt.Chart(alt.Data(values=rows))
        .mark_rule(strokeWidth=1.2, aria=False)
        .encode(x, alt.Y("low:Q"), alt.Y2("high:Q"), marks[0]),
        _marks(rows, x, y, marks),
        _texts(_spaced(curve, within, 330), x, y, dx=-2, dy=-12, align="right", color=INK, fontSize=9),
    ]
    return alt.layer(*layers).properties(width=330, height=290, title=f"ResNet-{depth} on {COPY}")


def _measured_row(one: Measured, kind: str) -> dict[str, Any]:
    low, high = one.evaluation.top1_interval
    return {
        "macs": one.evaluation.macs,
        "top1": round(one.evaluation.top1, 2),
        "low": round(low, 2),
        "high": round(high, 2),
        "kind": kind,
        "label": str(one.network.width) if one.network is not None else "",
    }


def kind_of(one: Measured) -> str:
    """What other people's weights are called."""
    name = one.evaluation.name
    if name.startswith("depgraph"):
        return "DepGraph's dense, group-sparse" if one.dense else "DepGraph, pruned 2.55x"
    return CLASSIC if one.dense else "SSL, pruned"


def _spaced(rows: Sequence[dict[str, Any]], within: tuple[float, float], width_px: int) -> list[dict[str, Any]]:
    """The rows whose labels have room beside those before them; the last one always has."""
    kept: list[dict[str, Any]] = []
    a_pixel = math.log(within[1] / within[0]) / width_px
    for row in reversed(rows):
        if not kept or math.log(kept[-1]["macs"] / row["macs"]) >= _LEAST_PX * a_pixel:
            kept.append(row)
    return kept


def _arch(arch: str) -> str:
    return f"ResNet-{arch.removeprefix('resnet').removesuffix('_cifar')}"


def _scales(kinds: Mapping[str, tuple[str, str]]) -> tuple[alt.Color, alt.Shape]:
    names, legend = list(kinds), alt.Legend(title=None, orient="bottom", columns=4, labelLimit=300)
    colours, shapes = zip(*kinds.values(), strict=True)
    return (
        alt.Color("kind:N", scale=alt.Scale(domain=names, range=list(colours)), legend=legend),
        alt.Shape("kind:N", scale=alt.Scale(domain=names, range=list(shapes)), legend=legend),
    )


def _marks(rows: Sequence[dict[str, Any]], x: alt.X, y: alt.Y, marks: tuple[alt.Color, alt.Shape]) -> alt.Chart:
    chart = alt.Chart(alt.Data(values=list(rows)))
    return chart.mark_point(filled=True, size=40, opacity=0.85, aria=False).encode(x, y, *marks)


def _line(path: Sequence[tuple[float, float]], dash: Sequence[int], x: alt.X, y: alt.Y) -> alt.Chart:
    chart = alt.Chart(alt.Data(values=[{"macs": cost, "top1": top1} for cost, top1 in path]))
    return chart.mark_line(strokeWidth=1.6, color=INK, strokeDash=list(dash), clip=True, aria=False).encode(x, y)


def _names(rows: Sequence[dict[str, Any]], x: alt.X, y: alt.Y) -> list[alt.Chart]:
    """Labels to the left of their marks and above, on a white edge."""
    looks = ({"stroke": "white", "strokeWidth": 3}, {"color": INK})
    return [_texts(rows, x, y, dx=-6, dy=-9, align="right", fontSize=10, **look) for look in looks]


def _texts(rows: Sequence[dict[str, Any]], x: alt.X, y: alt.Y, **look: Any) -> alt.Chart:
    return alt.Chart(alt.Data(values=list(rows))).mark_text(aria=False, **look).encode(x, y, text="label:N")


def _dressed(chart: Any) -> Any:
    return chart.configure_view(stroke=None).configure_axis(gridOpacity=0.4).configure_legend(symbolStrokeWidth=1)
