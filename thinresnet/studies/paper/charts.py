"""The paper's figures: accuracy against MACs, against all training, and recipe against shape."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import altair

from thinresnet.charts import COLOURS, write_chart
from thinresnet.studies.paper.rows import Evidence, Row
from thinresnet.studies.paper.tables import CLASSIC, name_of
from thinresnet.studies.protocols.public import SCALED_PUBLIC

_WIDTH, _HEIGHT = 560, 380
_THIN_AS_THEY_COME, _THIN = "thin networks, as they come", "thin networks, fine-tuned here"


def write_figures(evidence: Evidence, output: Path) -> list[Path]:
    """Every figure that has something to show, in all formats; returns the files."""
    output.mkdir(parents=True, exist_ok=True)
    charts = {
        "paper-macs": _against(evidence, "macs", "MACs of an image"),
        "paper-training": _against(evidence, "training", "training MACs from the origin"),
        "paper-recipe": _recipe(evidence),
    }
    written: list[Path] = []
    for name, chart in charts.items():
        written += write_chart(chart, output / name) if chart is not None else []
    return written


def _points(rows: Sequence[Row]) -> list[dict[str, Any]]:
    found = []
    for row in rows:
        if row.n:
            spread = row.deviation or 0.0
            found.append({
                "series": f"{_THIN if row.protocol == SCALED_PUBLIC else name_of(row)}, {row.epochs} epochs",
                "top1": row.mean, "low": row.mean - spread, "high": row.mean + spread, "macs": row.macs,
                "training": statistics.fmean(row.training_macs), "n": row.n, "recipe": row.recipe,
                "thin": row.protocol == SCALED_PUBLIC,
            })  # fmt: skip
    return found


def _against(evidence: Evidence, field: str, title: str) -> altair.LayerChart | None:
    rows = [row for row in evidence.rows if row.budget is not None and row.recipe != CLASSIC and not row.distilled]
    points = _points(rows)
    curve = [own for own in evidence.as_they_come if field == "macs" and own.network.startswith("thinresnet20-")]
    line = [{"macs": own.macs, "top1": own.top1, "series": _THIN_AS_THEY_COME} for own in curve]
    if not points and not line:
        return None
    names = sorted({point["series"] for point in points}, key=lambda name: (not name.startswith("thin"), name))
    colour = altair.Color(
        "series:N",
        scale=altair.Scale(domain=names, range=[COLOURS[at % len(COLOURS)] for at in range(len(names))]),
        legend=altair.Legend(title=None, orient="right", labelLimit=320),
    )
    x = altair.X(f"{field}:Q", title=title, scale=altair.Scale(type="log", nice=False)).axis(format="~s", tickCount=6)
    y = altair.Y("top1:Q", title="top-1 (%)", scale=altair.Scale(zero=False))
    base = altair.Chart(altair.Data(values=points), width=_WIDTH, height=_HEIGHT).encode(x=x)
    layers = [
        altair.Chart(altair.Data(values=line)).mark_line(color="#888888", point=True).encode(x=x, y=y),
        base.transform_filter("datum.thin").mark_line(strokeDash=[5, 3]).encode(y=y, color=colour),
        base.mark_rule(strokeWidth=1.4).encode(y=altair.Y("low:Q", title="top-1 (%)"), y2="high:Q", color=colour),
        base.mark_point(filled=True, size=80, opacity=0.9).encode(y=y, color=colour, shape="thin:N"),
    ]
    shown = [layers[0]] if not points else layers if line else layers[1:]
    return altair.layer(*shown).properties(
        title="Pruned within the MACs of fully trained thin networks (grey: as their authors' weights come)"
        if line
        else "The same against all training, the authors' included"
    )


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
    y = altair.Y("series:N", title=None, sort="-x").axis(labelLimit=320)
    x = altair.X("top1:Q", title="top-1 (%)", scale=altair.Scale(zero=False))
    chart = altair.Chart(altair.Data(values=points), width=_WIDTH, height=altair.Step(20))
    return chart.mark_point(filled=True, size=80).encode(x=x, y=y, color=altair.Color("parent:N", title=None))
