"""Evaluations of several networks beside each other: a CSV table, and accuracy against MACs as a picture."""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import altair

from thinresnet import base_width
from thinresnet.charts import COLOURS, write_chart
from thinresnet.evaluation import Evaluation
from thinresnet.files import write_atomically
from thinresnet.imported import Imported
from thinresnet.runs import IMPORTED_FILE

TABLE_FILE = "evaluations.csv"
PICTURE = "evaluations"
_WIDTH, _HEIGHT = 620, 400
_MOST_NAMED = 12


def row(evaluation: Evaluation, imported: Imported | None) -> dict[str, Any]:
    """The figures of one network, and where its weights come from."""
    low, high = evaluation.top1_interval
    return {
        "name": evaluation.name,
        "arch": evaluation.arch,
        "shape": evaluation.shape,
        "dataset": evaluation.dataset,
        "images": evaluation.images,
        "classes": len(evaluation.classes),
        "restricted": evaluation.restricted,
        "ema": evaluation.ema,
        "top1": f"{evaluation.top1:.2f}",
        "top1_low95": f"{low:.2f}",
        "top1_high95": f"{high:.2f}",
        "top5": "" if evaluation.top5 is None else f"{evaluation.top5:.2f}",
        "loss": f"{evaluation.loss:.4f}",
        "macs": evaluation.macs,
        "params": evaluation.params,
        "resolution": evaluation.resolution,
        "images_per_second": f"{evaluation.images_per_second:.0f}",
        "printed_top1": ""
        if imported is None or imported.origin.printed_top1 is None
        else imported.origin.printed_top1,
        "trained_on": imported.dataset if imported else "",
        "repository": imported.origin.repository if imported else "",
        "weights_sha256": evaluation.weights_sha256,
    }


def imported_of(folder: Path) -> Imported | None:
    """What is known of a folder's imported weights; None where they were trained here."""
    return Imported.read(folder) if (folder / IMPORTED_FILE).is_file() else None


def write_table(rows: Sequence[dict[str, Any]], folder: Path) -> Path:
    """Write the rows as evaluations.csv."""
    text = io.StringIO()
    writer = csv.DictWriter(text, fieldnames=list(rows[0]), lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    write_atomically(folder / TABLE_FILE, text.getvalue())
    return folder / TABLE_FILE


def draw(rows: Sequence[dict[str, Any]], folder: Path) -> list[Path]:
    """Draw accuracy against MACs as PNG, SVG and HTML: thin networks as curves by depth, others as points."""
    return write_chart(chart(rows), folder / PICTURE, [str(one["name"]) for one in rows])


def chart(rows: Sequence[dict[str, Any]]) -> altair.LayerChart:
    """The picture of some rows; all are of one dataset."""
    values = [{**_plain(one), "family": family(one), "label": str(one["name"])} for one in rows]
    families = list(dict.fromkeys(value["family"] for value in values))
    curves = [value for value in values if sum(other["family"] == value["family"] for other in values) > 1]
    apart = [value for value in values if value not in curves or not value["family"].startswith("ThinResNet")]
    named = apart if len(apart) <= _MOST_NAMED else []
    x = altair.X("macs:Q", title="MACs of one image", scale=altair.Scale(type="log", nice=False, padding=16)).axis(
        format="~s", grid=False, tickCount=8
    )
    y = altair.Y("top1:Q", title=_title(rows), scale=altair.Scale(zero=False, padding=12))
    colours = altair.Scale(domain=families, range=COLOURS[: len(families)] or COLOURS)
    colour = altair.Color("family:N", title=None, scale=colours).legend(orient="bottom", columns=2, labelLimit=500)
    tips = ["label:N", "family:N", altair.Tooltip("macs:Q", format="~s"), "params:Q", "top1:Q", "top1_low95:Q"]
    line = (
        altair.Chart(altair.Data(values=[value for value in curves if value["family"].startswith("ThinResNet")]))
        .mark_line(strokeWidth=1.6)
        .encode(x, y, colour)
    )
    data = altair.Data(values=values)
    bars = (
        altair.Chart(data)
        .mark_rule(strokeWidth=1.2)
        .encode(x, altair.Y("top1_low95:Q"), altair.Y2("top1_high95:Q"), colour)
    )
    points = (
        altair.Chart(data)
        .mark_point(filled=True, size=46, opacity=1)
        .encode(x, y, colour, tooltip=[*tips, "top1_high95:Q"])
    )
    texts = (
        altair.Chart(altair.Data(values=named))
        .mark_text(align="left", dx=8, dy=-7, fontSize=10)
        .encode(x, y, text="label:N", color=altair.Color("family:N", scale=colours, legend=None))
    )
    layers = altair.layer(line, bars, points, texts, width=_WIDTH, height=_HEIGHT)
    return layers.configure_axis(gridOpacity=0.4).configure_view(strokeOpacity=0.3)


def family(one: dict[str, Any]) -> str:
    """Which curve a row belongs to: the ThinResNet authors' networks of one depth, or the others of a source."""
    if one["repository"] == "brain-bzh/baseline-pruning" or base_width_of(one):
        return f"ThinResNet-{str(one['arch']).removeprefix('resnet').removesuffix('_cifar')} (authors' weights)"
    return f"{one['arch']}, {one['repository']}" if one["repository"] else str(one["arch"])


def base_width_of(one: dict[str, Any]) -> bool:
    """Whether the row's shape is a base width of weights that someone else trained."""
    shape = str(one["shape"])
    return bool(one["trained_on"]) and shape.startswith("thinresnet") and base_width.parse(shape) is not None


def _plain(one: dict[str, Any]) -> dict[str, Any]:
    numbers = ("top1", "top1_low95", "top1_high95")
    return {**{key: one[key] for key in ("macs", "params")}, **{key: float(one[key]) for key in numbers}}


def _title(rows: Sequence[dict[str, Any]]) -> str:
    first = rows[0]
    among = f", among {first['classes']} classes" if first["restricted"] else ""
    return f"top-1 on {first['dataset']} (%){among}, 95 % interval"
