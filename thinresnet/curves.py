"""Curves of runs: accuracy, loss, learning rate and speed over the epochs, as PNG, SVG and HTML that works offline."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import altair

from thinresnet.charts import COLOURS, write_chart
from thinresnet.convert import brief, number
from thinresnet.errors import InputError
from thinresnet.files import read_table
from thinresnet.result import PARTS
from thinresnet.runs import METRICS_FILE, TIMING_FILE

# What is measured, by the name of its columns: how it is called, and how its line is drawn.
_DASHES = {"train": [1, 3], "test": [1, 0], "test_ema": [6, 2], "holdout": [2, 2], "holdout_ema": [6, 2, 2, 2]}
_PARTS = {part: (PARTS.get(part, part), dash) for part, dash in _DASHES.items()}
_SHAPES = ["circle", "square", "triangle-up", "diamond", "cross"]
_WIDTH, _HEIGHT = 420, 240
_MOST_TICKS = 10
_MOST_EPOCHS = 1_000_000


def plot(folders: Sequence[Path], target: Path, labels: Sequence[str] = ()) -> list[Path]:
    """Draw the curves of some runs to `target` as PNG, SVG and HTML; returns the files.

    `labels` say what each run is called in the legend, instead of the name of its folder.
    """
    names = list(labels) or [folder.name for folder in folders]
    if len(names) != len(folders):
        raise InputError(f"plot: {len(names)} labels for {len(folders)} runs; give one for each, in their order")
    if twice := next((name for name in names if names.count(name) > 1), None):
        raise InputError(f"plot: two runs are called {twice}; tell them apart by --label, one for each, in their order")
    runs = list(zip(folders, names, strict=True))
    metrics = [{**row, "run": name} for folder, name in runs for row in _long(folder)]
    timing = [{**row, "run": name} for folder, name in runs for row in _speed(folder)]
    return write_chart(draw(metrics, timing), target, names)


def draw(metrics: list[dict[str, Any]], timing: list[dict[str, Any]]) -> altair.VConcatChart:
    """Four panels: top-1, loss, learning rate, images per second."""
    runs = list(dict.fromkeys(row["run"] for row in metrics))
    single = max(_epochs_of_runs(metrics)) == 1
    colour = altair.Color("run:N", title=None, scale=altair.Scale(domain=runs, range=COLOURS)).legend(
        orient="bottom", columns=1, labelLimit=800, symbolType="square" if single else "stroke", symbolStrokeWidth=3
    )
    named = [name for name, _ in _PARTS.values() if any(row["part"] == name for row in metrics)]
    dashes = [dash for name, dash in _PARTS.values() if name in named]
    dash = altair.StrokeDash("part:N", title=None, scale=altair.Scale(domain=named, range=dashes)).legend(
        orient="bottom", labelLimit=400, symbolType="stroke", symbolStrokeColor="#333333", symbolSize=400
    )
    last = max(row["epoch"] for row in metrics)
    shape = altair.Shape("part:N", title=None, scale=altair.Scale(domain=named, range=_SHAPES[: len(named)])).legend(
        orient="bottom", labelLimit=400, symbolFillColor="#333333", symbolStrokeColor="#333333"
    )
    # A single epoch is a point, which has no dashes: its shape tells train from test.
    told_apart = shape if single else dash
    # Of a few epochs each is a tick; otherwise Vega chooses them.
    ticks = {"values": list(range(1, last + 1))} if last <= _MOST_TICKS else {"tickCount": _MOST_TICKS}

    def panel(rows: list[dict[str, Any]], title: str, format_: str, *encodings: Any) -> altair.Chart:
        tips = [altair.Tooltip("run:N"), altair.Tooltip("part:N"), "epoch:Q", altair.Tooltip("value:Q", format=format_)]
        base = altair.Chart(altair.Data(values=rows), width=_WIDTH, height=_HEIGHT)
        x = altair.Scale(nice=False, domain=[1, last] if last > 1 else [0, 2])  # one epoch stands in the middle
        counts = _epochs_of_runs(rows)
        line = base.mark_line(strokeWidth=1.8, point=min(counts) == 1)  # of a run with one epoch there is no line
        return (base.mark_point(filled=True, size=70) if max(counts) == 1 else line).encode(
            altair.X("epoch:Q", title="epoch", scale=x).axis(format="d", **ticks),
            altair.Y("value:Q", title=title, scale=altair.Scale(zero=False)).axis(format=format_),
            colour,
            *encodings,
            tooltip=tips,
        )

    def of(kind: str) -> list[dict[str, Any]]:
        return [row for row in metrics if row["kind"] == kind]

    top = panel(of("top1"), "top-1 (%)", ".6~g", told_apart) | panel(of("loss"), "cross-entropy", ".6~g", told_apart)
    below = panel(of("lr"), "learning rate", ".6~g") | panel(timing, "images per second, training", ",.0f")
    return (top & below).configure_axis(gridOpacity=0.4).configure_view(strokeOpacity=0.3)


def _epochs_of_runs(rows: Sequence[Mapping[str, Any]]) -> list[int]:
    """After how many epochs each run was measured."""
    epochs: dict[str, set[int]] = {}
    for row in rows:
        epochs.setdefault(row["run"], set()).add(row["epoch"])
    return [len(own) for own in epochs.values()]


def _long(folder: Path) -> Iterator[dict[str, Any]]:
    """metrics.csv as one row a point."""
    path = folder / METRICS_FILE
    for row in _rows(path):
        epoch = _epoch(path, row)
        yield {"run": folder.name, "kind": "lr", "part": "train", "epoch": epoch, "value": _number(path, row, "lr")}
        for part, (name, _) in _PARTS.items():
            for kind in ("top1", "loss"):
                if row.get(f"{part}_{kind}", "").lower() not in ("", "nan", "inf", "-inf"):  # of a run that failed
                    value = _number(path, row, f"{part}_{kind}")
                    yield {"run": folder.name, "kind": kind, "part": name, "epoch": epoch, "value": value}


def _speed(folder: Path) -> Iterator[dict[str, Any]]:
    path = folder / TIMING_FILE
    for row in _rows(path):
        epoch, value = _epoch(path, row), _number(path, row, "images_per_second")
        yield {"run": folder.name, "kind": "rate", "part": "train", "epoch": epoch, "value": value}


def _rows(path: Path) -> list[dict[str, str]]:
    rows = read_table(path, missing=f"{path}: no such file; give the folder of a run, such as runs/<id>")
    if not rows:
        raise InputError(f"{path}: no epoch has been measured yet")
    return rows


def _epoch(path: Path, row: Mapping[str, str]) -> int:
    found = number(int, row.get("epoch", ""))
    if found is None or not 1 <= found <= _MOST_EPOCHS:
        raise InputError(f"{path}: epoch: takes an integer, 1 to {_MOST_EPOCHS:,}, got {brief(row.get('epoch'))}")
    return int(found)


def _number(path: Path, row: Mapping[str, str], name: str) -> float:
    found = number(float, row.get(name, ""))
    if found is None:
        raise InputError(f"{path}: {name}: takes a number in every epoch, got {brief(row.get(name))}")
    return float(found)
