"""Writing a chart as PNG, SVG and an HTML page that works offline. Nothing is imported before a chart is written."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from thinresnet.files import write_atomically

if TYPE_CHECKING:
    import altair

FORMATS = ("png", "svg", "html")
# Colours that differ in lightness too, for readers who do not see all of them (Okabe and Ito), as far as they reach.
COLOURS = ["#0072b2", "#d55e00", "#009e73", "#cc79a7", "#56b4e9", "#e69f00", "#000000", "#8c564b"]


def write_chart(chart: altair.TopLevelMixin, target: Path, names: Sequence[str] = ()) -> list[Path]:
    """Write a chart to `target` with the suffixes of `FORMATS`; returns the files.

    `names` are texts in the chart that come from outside, such as names of folders.
    """
    written = []
    for suffix in FORMATS:
        path = target.with_name(f"{target.name}.{suffix}")
        write_atomically(path, _rendered(chart, suffix, names))
        written.append(path)
    return written


def _rendered(chart: altair.TopLevelMixin, suffix: str, names: Sequence[str]) -> str | bytes:
    import vl_convert

    if suffix == "html":
        page = str(chart.to_html(inline=True))
        for name in names:  # it stands in a script element, where `<` could open another
            page = page.replace(json.dumps(name), json.dumps(name).replace("<", "\\u003c"))
        return page
    specification = chart.to_json()
    if suffix == "svg":
        return str(vl_convert.vegalite_to_svg(specification))
    return bytes(vl_convert.vegalite_to_png(specification, scale=2))
