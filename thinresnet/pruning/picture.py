"""The picture of what a method has kept: the fraction of each layer, against the same fraction everywhere."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import altair

from thinresnet.budget import Budget, short
from thinresnet.charts import COLOURS, write_chart
from thinresnet.networks import Network
from thinresnet.networks.cutting import channels_of
from thinresnet.networks.fitting import Limits
from thinresnet.pruning.selection import Target
from thinresnet.pruning.session import Outcome

_KEPT, _UNIFORM = "kept", "the same share of every layer, at this cost"
_WIDEST_STEP_PX, _WIDTH_PX, _HEIGHT_PX = 22, 900, 260


def draw(parent: Network, outcome: Outcome, target: Path) -> list[Path]:
    """Draw to `target` as PNG, SVG and HTML."""
    return write_chart(chart(parent, outcome), target, [parent.arch])


def chart(parent: Network, outcome: Outcome) -> altair.LayerChart:
    """Bars for what was kept, a line for what plain scaling would keep."""
    rows = kept_fractions(parent, outcome)
    step = min(_WIDEST_STEP_PX, _WIDTH_PX / max(1, len({row["layer"] for row in rows})))
    names = [name for name in (_KEPT, _UNIFORM) if any(row["what"] == name for row in rows)]
    colour = altair.Color("what:N", title=None, scale=altair.Scale(domain=names, range=COLOURS)).legend(
        orient="bottom", labelLimit=600
    )
    layers = altair.X("layer:N", sort=None, title=None, scale=altair.Scale(paddingInner=0.25)).axis(
        labelAngle=-90, labelOverlap=True, labelLimit=160, labelFontSize=9
    )
    share = altair.Y("fraction:Q", title="kept", scale=altair.Scale(domain=[0, 1])).axis(format="%")
    tips = [altair.Tooltip("layer:N"), altair.Tooltip("what:N"), altair.Tooltip("fraction:Q", format=".1%")]
    base = altair.Chart(altair.Data(values=rows), width=altair.Step(step), height=_HEIGHT_PX)
    bars = base.transform_filter(altair.datum.what == _KEPT).mark_bar().encode(layers, share, colour, tooltip=tips)
    line = (
        base.transform_filter(altair.datum.what == _UNIFORM)
        .mark_line(interpolate="step", strokeWidth=2)
        .encode(layers, share, colour, tooltip=tips)
    )
    macs, params = (
        f"{short(own)} ({own / dense:.1%} of dense)"
        for own, dense in zip(outcome.cost, outcome.dense_cost, strict=True)
    )
    what = "masked, cost as dense" if outcome.pruned.masks is not None else f"{macs} MACs, {params} parameters"
    return altair.layer(bars, line).properties(title=f"{parent.arch}: {what}")


def kept_fractions(parent: Network, outcome: Outcome) -> list[dict[str, Any]]:
    """One row a layer and line: what share of its channels (of its weights, where masks are) is left."""
    pruned = outcome.pruned
    if pruned.masks is not None:
        return [
            {"layer": name.removesuffix(".weight"), "what": _KEPT, "fraction": float(mask.float().mean())}
            for name, mask in pruned.masks.items()
        ]
    if not pruned.kept:  # whole blocks are gone: so are the channels inside them
        return [
            {"layer": group, "what": _KEPT, "fraction": share} for group, share in pruned.notes["kept_by_group"].items()
        ]
    channels = channels_of(parent)
    rows = [
        {"layer": group, "what": _KEPT, "fraction": len(kept) / channels.count(group)}
        for group, kept in pruned.kept.items()
    ]
    uniform = _uniform(parent, outcome)
    return rows + [
        {"layer": group, "what": _UNIFORM, "fraction": uniform[group] / channels.count(group)}
        for group in pruned.kept
        if group in uniform
    ]


def _uniform(parent: Network, outcome: Outcome) -> dict[str, int]:
    """The counts of the same groups if each gave up the same fraction, for the MACs that came out."""
    cost = Budget.parse("macs", outcome.cost[0])
    limits = Limits(parent.arch, [cost], outcome.dense_cost)
    return Target(parent, limits=limits).counts(channels_of(parent), outcome.movable)
