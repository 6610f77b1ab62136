"""The paper's figures: accuracy against MACs, against all training, and recipe against shape."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import altair

from thinresnet.charts import COLOURS, rendered
from thinresnet.files import write_atomically
from thinresnet.studies.paper.rows import Evidence, Row
from thinresnet.studies.paper.tables import CLASSIC, name_of
from thinresnet.studies.protocols.public import SCALED_PUBLIC

FORMATS = ("png", "svg")
_WIDTH, _HEIGHT = 560, 380
_THINNEST_SHARE = 0.5  # of the smallest budget, how far the curve of thin networks is drawn
_THIN = "thin networks, fine-tuned"


def write_figures(evidence: Evidence, output: Path) -> list[Path]:
    """Every figure that has something to show, as PNG and SVG; returns the files."""
    output.mkdir(parents=True, exist_ok=True)
    charts = {
        "paper-macs": _against(evidence, "macs", "MACs of an image"),
        "paper-training": _against(evidence, "training", "training MACs from the origin"),
        "paper-recipe": _recipe(evidence),
    }
    written: list[Path] = []
    for name, chart in charts.items():
        if chart is None:
            continue
        for suffix in FORMATS:
            path = output / f"{name}.{suffix}"
            write_atomically(path, rendered(chart.to_json(), suffix))
            written.append(path)
    return written


def _points(rows: Sequence[Row]) -> list[dict[str, Any]]:
    found = []
    for row in rows:
        if row.n:
            thin, spread = row.protocol == SCALED_PUBLIC, row.deviation or 0.0
            found.append({
                "method": _THIN if thin else name_of(row), "way": f"{row.epochs} epochs ({row.finetuning})",
                "top1": row.mean, "low": row.mean - spread, "high": row.mean + spread, "macs": row.macs,
                "training": statistics.fmean(row.training_macs), "recipe": row.recipe, "thin": thin,
            })  # fmt: skip
    return found


def _against(evidence: Evidence, field: str, title: str) -> altair.LayerChart | None:
    """Means with one standard deviation to both sides: a colour a method, a shape a way of fine-tuning."""
    rows = [row for row in evidence.rows if row.budget is not None and row.recipe != CLASSIC and not row.distilled]
    points = _points(rows)
    least = _THINNEST_SHARE * min((point["macs"] for point in points if point["thin"]), default=0)
    thin = [own for own in evidence.as_they_come if own.network.startswith("thinresnet20-") and own.macs >= least]
    line = [{"macs": own.macs, "top1": own.top1} for own in (thin if field == "macs" else ())]
    if not points and not line:
        return None
    methods = sorted({point["method"] for point in points}, key=lambda name: (name != _THIN, name))
    key = altair.Legend(title=None, orient="right", labelLimit=320)
    scale = altair.Scale(domain=methods, range=COLOURS[: len(methods)])
    colour = altair.Color("method:N", scale=scale, legend=key)
    x = altair.X(f"{field}:Q", title=title, scale=altair.Scale(type="log", nice=False, padding=24))
    x = x.axis(format="~s" if field == "macs" else "~e", tickCount=6, labelOverlap="greedy")
    y = altair.Y("top1:Q", title="top-1 (%)", scale=altair.Scale(zero=False))
    base = altair.Chart(altair.Data(values=points), width=_WIDTH, height=_HEIGHT).encode(x=x)
    curve = altair.Chart(altair.Data(values=line), width=_WIDTH, height=_HEIGHT)
    layers = [
        curve.mark_line(color="#888888", point={"color": "#888888"}).encode(x=x, y=y),
        base.transform_filter("datum.thin").mark_line(strokeDash=[5, 3]).encode(y=y, color=colour, detail="way:N"),
        base.mark_rule(strokeWidth=1.4).encode(y=altair.Y("low:Q", title="top-1 (%)"), y2="high:Q", color=colour),
        base.mark_point(filled=True, size=80, opacity=0.9).encode(
            y=y, color=colour, shape=altair.Shape("way:N", legend=key)
        ),
    ]
    shown = layers[:1] if not points else layers if line else layers[1:]
    grey = ["Pruned within the MACs of thin networks, all fully trained", "grey: thin networks as they come"]
    return altair.layer(*shown).properties(title=grey if line else "Against all training, the authors' included")


def _recipe(evidence: Evidence) -> altair.Chart | None:
    """What the same pruning reaches from a classic parent and from a modern one, beside the thin network."""
    classic = [row for row in evidence.rows if row.recipe == CLASSIC and row.budget is not None]
    budgets = {row.budget for row in classic}
    modern = [row for row in evidence.rows if row.recipe == "adapted" and row.budget in budgets and not row.distilled]
    points = _points([*classic, *modern])
    if not any(row.n for row in classic):
        return None
    for point in points:
        point["parent"] = (
            "thin, modern" if point["thin"] else "classic parent" if point["recipe"] == CLASSIC else "modern parent"
        )
    for point in points:
        point["series"] = f"{point['method']}, {point['way']}"
    y = altair.Y("series:N", title=None, sort="-x").axis(labelLimit=320)
    x = altair.X("top1:Q", title="top-1 (%)", scale=altair.Scale(zero=False))
    chart = altair.Chart(altair.Data(values=points), width=_WIDTH, height=altair.Step(20))
    return chart.mark_point(filled=True, size=80).encode(x=x, y=y, color=altair.Color("parent:N", title=None))
