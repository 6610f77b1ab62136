"""The picture of a crop: the density that each layer has, against the one that the criterion asked for."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import altair

from thinresnet.budget import short
from thinresnet.charts import COLOURS, write_chart
from thinresnet.pruning.initialisation.cropping import Cropped
from thinresnet.pruning.initialisation.densities import densities_left

_CROPPED, _ASKED = "cropped", "asked for, weight by weight"
_WIDEST_STEP_PX, _WIDTH_PX, _HEIGHT_PX = 22, 900, 260


def draw(cropped: Cropped, criterion: str, target: Path) -> list[Path]:
    """Draw to `target` as PNG, SVG and HTML."""
    return write_chart(chart(cropped, criterion), target, [cropped.network.arch])


def chart(cropped: Cropped, criterion: str) -> altair.LayerChart:
    """Bars for what came out, ticks for what was asked for."""
    rows = density_rows(cropped)
    step = min(_WIDEST_STEP_PX, _WIDTH_PX / len(cropped.layers.names))
    colour = altair.Color("what:N", title=None, scale=altair.Scale(domain=[_CROPPED, _ASKED], range=COLOURS)).legend(
        orient="bottom", labelLimit=600
    )
    layers = altair.X("layer:N", sort=None, title=None, scale=altair.Scale(paddingInner=0.25)).axis(
        labelAngle=-90, labelOverlap=True, labelLimit=160, labelFontSize=9
    )
    top = max(1.0, *(row["density"] for row in rows))
    share = altair.Y("density:Q", title="density", scale=altair.Scale(domain=[0, top])).axis(format="%")
    tips = [altair.Tooltip("layer:N"), altair.Tooltip("what:N"), altair.Tooltip("density:Q", format=".2%")]
    base = altair.Chart(altair.Data(values=rows), width=altair.Step(step), height=_HEIGHT_PX)
    bars = base.transform_filter(altair.datum.what == _CROPPED).mark_bar().encode(layers, share, colour, tooltip=tips)
    ticks = (
        base.transform_filter(altair.datum.what == _ASKED)
        .mark_tick(thickness=3)
        .encode(layers, share, colour, tooltip=tips)
    )
    macs, params = (
        f"{short(own)} ({own / dense:.1%} of dense)"
        for own, dense in zip(cropped.cost, cropped.dense_cost, strict=True)
    )
    title = f"{cropped.network.arch} cropped by {criterion}: {macs} MACs, {params} parameters"
    return altair.layer(bars, ticks).properties(title=title)


def density_rows(cropped: Cropped) -> list[dict[str, Any]]:
    """One row a layer and kind of density."""
    left = densities_left(cropped.parent, cropped.network)
    asked = zip(cropped.layers.names, cropped.found.densities.tolist(), strict=True)
    return [{"layer": name, "what": _CROPPED, "density": density} for name, density in left.items()] + [
        {"layer": name, "what": _ASKED, "density": density} for name, density in asked
    ]
