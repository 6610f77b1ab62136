"""The picture of a pruning: what is kept of each layer, against the same share everywhere or what was asked for."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any

import altair

from thinresnet.budget import Budget, short
from thinresnet.charts import COLOURS, write_chart
from thinresnet.network import Network
from thinresnet.networks.cutting import channels_of
from thinresnet.networks.search import Limits
from thinresnet.pruning.group_names import GroupName, group_names
from thinresnet.pruning.initialisation.densities import densities_left
from thinresnet.pruning.selection import Target
from thinresnet.pruning.session import Outcome

_KEPT, _UNIFORM = "kept", "the same share of every layer, at this cost"
_LEFT, _ASKED = "density", "asked for, weight by weight"
_WIDEST_STEP_PX, _WIDTH_PX, _HEIGHT_PX = 22, 900, 260


def draw(parent: Network, method: str, outcome: Outcome, target: Path) -> list[Path]:
    """Draw to `target` as PNG, SVG and HTML."""
    return write_chart(chart(parent, method, outcome), target, [parent.arch, method])


def chart(parent: Network, method: str, outcome: Outcome) -> altair.LayerChart:
    """Bars for what is kept; a line for what plain scaling would keep, or ticks for what was asked for."""
    rows = rows_of(parent, outcome)
    step = min(_WIDEST_STEP_PX, _WIDTH_PX / max(1, len({row["layer"] for row in rows})))
    names = list(dict.fromkeys(row["what"] for row in rows))
    colour = altair.Color("what:N", title=None, scale=altair.Scale(domain=names, range=COLOURS)).legend(
        orient="bottom", labelLimit=600
    )
    layers = altair.X("layer:N", sort=None, title=None, scale=altair.Scale(paddingInner=0.25)).axis(
        labelAngle=-90, labelOverlap=True, labelLimit=240, labelFontSize=9
    )
    top = max(1.0, *(row["fraction"] for row in rows))  # layers may grow
    share = altair.Y("fraction:Q", title=names[0], scale=altair.Scale(domain=[0, top])).axis(format="%")
    tips = [altair.Tooltip("layers:N"), altair.Tooltip("what:N"), altair.Tooltip("fraction:Q", format=".2%")]
    base = altair.Chart(altair.Data(values=rows), width=altair.Step(step), height=_HEIGHT_PX)
    bars = base.transform_filter(altair.datum.what == names[0]).mark_bar().encode(layers, share, colour, tooltip=tips)
    beside = base.transform_filter(altair.datum.what != names[0])
    if outcome.pruned.asked is None:
        marks = beside.mark_line(interpolate="step", strokeWidth=2)
    else:
        marks = beside.mark_tick(thickness=3)
    return altair.layer(bars, marks.encode(layers, share, colour, tooltip=tips)).properties(
        title=f"{parent.arch} pruned by {method}: {_cost(outcome)}"
    )


def rows_of(parent: Network, outcome: Outcome) -> list[dict[str, Any]]:
    """One row a layer (or group of tied layers) and mark: the share of its channels or weights that is kept."""
    pruned = outcome.pruned
    if pruned.asked is not None:
        left = densities_left(parent, pruned.network)
        asked = zip(pruned.asked.layers.names, pruned.asked.densities.values.tolist(), strict=True)
        return [*_rows(_LEFT, left), *_rows(_ASKED, dict(asked))]
    if pruned.masks is not None:
        return _rows(
            _KEPT, {name.removesuffix(".weight"): float(mask.float().mean()) for name, mask in pruned.masks.items()}
        )
    channels = channels_of(parent)
    named = group_names(channels)
    if not pruned.kept:  # whole blocks are gone: so are the channels inside them
        return _rows(_KEPT, pruned.notes["kept_by_group"], named)
    uniform = _uniform(parent, outcome)
    kept = {group: len(indices) / channels.count(group) for group, indices in pruned.kept.items()}
    same = {group: uniform[group] / channels.count(group) for group in kept if group in uniform}
    return [*_rows(_KEPT, kept, named), *_rows(_UNIFORM, same, named)]


def _rows(
    what: str, fractions: Mapping[str, float], named: Mapping[str, GroupName] = MappingProxyType({})
) -> list[dict[str, Any]]:
    """Rows in the order of the fractions; what has no name for readers is a layer, and called as it is."""
    rows = []
    for key, fraction in fractions.items():
        name = named.get(key, GroupName(key, key))
        rows.append({"layer": name.short, "layers": name.full, "what": what, "fraction": fraction})
    return rows


def _cost(outcome: Outcome) -> str:
    if outcome.pruned.masks is not None:
        return "masked, cost as dense"
    macs, params = (
        f"{short(own)} ({own / dense:.1%} of dense)"
        for own, dense in zip(outcome.cost, outcome.dense_cost, strict=True)
    )
    return f"{macs} MACs, {params} parameters"


def _uniform(parent: Network, outcome: Outcome) -> dict[str, int]:
    """The counts of the same groups if each gave up the same fraction, for the MACs that came out."""
    cost = Budget.parse("macs", outcome.cost.macs)
    limits = Limits(parent.arch, [cost], outcome.dense_cost)
    return Target(parent, limits=limits).counts(channels_of(parent), outcome.movable)
