"""Writing a chart as PNG, SVG and an HTML page that works offline. Imports altair, so only what draws imports this."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

import altair
import vl_convert

from thinresnet.files import write_atomically

FORMATS = ("png", "svg", "html")
# Colours that differ in lightness too, for readers who do not see all of them (Okabe, Ito, Tol), as far as they reach.
COLOURS = [
    "#0072b2", "#d55e00", "#009e73", "#cc79a7", "#56b4e9", "#e69f00", "#000000", "#8c564b", "#882255", "#999933",
    "#332288", "#44aa99",
]  # fmt: skip


def write_chart(chart: altair.TopLevelMixin, target: Path, names: Sequence[str] = ()) -> list[Path]:
    """Write a chart to `target` with the suffixes of `FORMATS`, each in place of one of them; returns the files.

    `names` are strings in the chart that come from outside, such as names of folders.
    """
    written = []
    stem = target.stem if target.suffix[1:] in FORMATS else target.name
    for suffix in FORMATS:
        path = target.with_name(f"{stem}.{suffix}")
        write_atomically(path, _page(chart, names) if suffix == "html" else rendered(chart.to_json(), suffix))
        written.append(path)
    return written


def rendered(specification: str, suffix: str, *, scale: float = 2) -> str | bytes:
    """A Vega-Lite specification (JSON) as an SVG text, PNG or PDF; `scale` is that of the pixels of a PNG."""
    if suffix == "svg":
        return str(vl_convert.vegalite_to_svg(specification))
    if suffix == "pdf":
        return bytes(vl_convert.vegalite_to_pdf(specification))
    return bytes(vl_convert.vegalite_to_png(specification, scale=scale))


def _page(chart: altair.TopLevelMixin, names: Sequence[str]) -> str:
    page = str(chart.to_html(inline=True))
    for name in names:  # it stands in a script element, where `<` could open another
        page = page.replace(json.dumps(name), json.dumps(name).replace("<", "\\u003c"))
    return page
