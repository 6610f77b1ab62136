"""The figures of several networks as panels of one, with one legend; captions and data of all."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import altair as alt

from thinresnet.charts import rendered
from thinresnet.errors import InputError
from thinresnet.files import write_atomically
from thinresnet.leaderboard.figure import FORMATS, Figure, draw, dressed

_COLUMNS = 2


@dataclass(frozen=True)
class Panels:
    """Figures that are shown together."""

    figures: Sequence[Figure]

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write them as PDF, SVG or PNG, by the ending of `path`."""
        suffix = Path(path).suffix.lower()
        if suffix not in FORMATS:
            raise InputError(f"{path}: a figure ends in {', '.join(FORMATS)}")
        write_atomically(path, rendered(self.chart.to_json(), suffix[1:], scale=3))

    @property
    def chart(self) -> alt.ConcatChart:
        """All of them as one Altair chart."""
        families = {verdict.entry.family for figure in self.figures for verdict, _ in figure.published}
        return dressed(alt.concat(*(draw(figure, families) for figure in self.figures), columns=_COLUMNS))

    @property
    def caption(self) -> str:
        """A caption a panel."""
        return "\n\n".join(figure.caption for figure in self.figures)

    @property
    def csv(self) -> str:
        """The data of all, under one header, with the network of each row before it."""
        lines = [(figure.arch, figure.csv.splitlines()) for figure in self.figures]
        header = f"arch,{lines[0][1][0]}"
        return "\n".join([header, *(f"{arch},{row}" for arch, (_, *rows) in lines for row in rows), ""])
