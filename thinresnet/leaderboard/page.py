"""The board as one HTML file that needs no network: matrix of assumptions, chart, table, papers, how to add and cite.

Jinja escapes every cell; the browser's content security policy, written with the hashes of this very page's scripts
and style, lets nothing else run and nothing leave. The verdicts are made here, by the rule itself, and travel packed
(`packed`); the page's own scripts draw the table and the chart, of which a plotting library would be 0.9 MB in every
copy and two seconds of every writing.
"""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import jinja2

import thinresnet
from thinresnet.leaderboard import cite, packed
from thinresnet.leaderboard.bar import TIE, WIDE_GAP, Bar
from thinresnet.leaderboard.holes import holes
from thinresnet.leaderboard.marks import AXES, FAMILY_MARKS, label_of
from thinresnet.leaderboard.matrix import Matrix, matrix_of
from thinresnet.leaderboard.papers import Paper
from thinresnet.leaderboard.references import (
    ALL_ASSUMPTIONS,
    BUDGET_NAMES,
    RECIPES,
    REFERENCES,
    RESOLUTIONS,
    RULES,
    Assumptions,
    may_be_the_bar,
    usual_references,
)
from thinresnet.leaderboard.schema import Entry
from thinresnet.leaderboard.verdicts import Verdict, all_verdicts, counts_for_headline, points

_HERE = Path(__file__).parent
_SCRIPTS = ("page_chart.js", "page_table.js", "page.js")
_FIRST = ("imagenet", "resnet50")
_HOLES_SHOWN = 12
_BUDGETS_DRAWN = ("macs", "params")

Pair = tuple[str, str]
Verdicts = Mapping[str, list[Verdict]]


def page(entries: Sequence[Entry], papers: Mapping[str, Paper]) -> str:
    """The whole page."""
    bar = Bar(entries)
    verdicts = {entry.id: all_verdicts(bar, entry) for entry in entries if not may_be_the_bar(entry)}
    pairs = _pairs(entries, verdicts)
    matrices = {pair: _matrix(entries, verdicts, pair) for pair in pairs}
    script = "\n".join((_HERE / name).read_text(encoding="utf-8") for name in _SCRIPTS)
    style = (_HERE / "page.css").read_text(encoding="utf-8")
    cited = sorted({entry.paper for entry in entries if entry.paper in papers})
    environment = jinja2.Environment(
        autoescape=True, undefined=jinja2.StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    return environment.from_string((_HERE / "page.html").read_text(encoding="utf-8")).render(
        data=_script_json(_data(entries, papers, bar, verdicts, matrices)),
        entries=entries,
        papers=papers,
        cited=cited,
        counts=packed.counts([entry.paper for entry in entries]),
        says=_usual_words(entries, verdicts),
        marks=FAMILY_MARKS,
        references=REFERENCES,
        recipes=RECIPES,
        resolutions=RESOLUTIONS,
        first=matrices[pairs[0]] if pairs else None,
        spread=packed.spread(matrices[pairs[0]]) if pairs else None,
        holes=holes(entries, bar)[:_HOLES_SHOWN],
        baseline=cite.BASELINE,
        project=cite.PROJECT,
        rules=RULES,
        tie=TIE,
        wide=WIDE_GAP,
        version=thinresnet.__version__,
        script=script,
        style=style,
        policy=_policy(script, style),
    )


def _data(
    entries: Sequence[Entry],
    papers: Mapping[str, Paper],
    bar: Bar,
    verdicts: Verdicts,
    matrices: Mapping[Pair, Matrix],
) -> dict[str, Any]:
    """Everything that the page's scripts show, column by column."""
    index = {entry.id: number for number, entry in enumerate(entries)}
    curves, bars = _curves(bar, list(matrices), index)
    return {
        "rules": RULES,
        "columns": _columns(entries, papers),
        "verdicts": packed.verdicts(entries, verdicts, index),
        "assumptions": [[a.references, a.recipes, a.resolution, a.budget] for a in ALL_ASSUMPTIONS],
        "pairs": list(matrices),
        "matrices": [packed.matrix(each) for each in matrices.values()],
        "curves": curves,
        "bars": bars,
        "usual": {arch: usual_references(arch) for _, arch in matrices},
        "dense": [_dense_g(entries, pair) for pair in matrices],
        "labels": {index[entry.id]: label_of(entry) for entry in entries if may_be_the_bar(entry)},
        "papers": {key: [each.title, each.venue, each.year, each.url] for key, each in papers.items()},
        "budgets": BUDGET_NAMES,
        "marks": FAMILY_MARKS,
        "axes": AXES,
        "wide": WIDE_GAP,
    }


def _columns(entries: Sequence[Entry], papers: Mapping[str, Paper]) -> dict[str, Any]:
    """The rows, column by column: figures as numbers, words as a list of those that occur and where."""
    numbers: dict[str, list[Any]] = {
        "top1": [entry.top1 for entry in entries],
        "drop": [entry.top1_drop for entry in entries],
        "macs": [entry.macs_g for entry in entries],
        "ratio": [entry.macs_ratio for entry in entries],
        "params": [entry.params_m for entry in entries],
        "year": [papers[entry.paper].year if entry.paper in papers else None for entry in entries],
        "pixels": [entry.resolution if entry.resolution_scaled else None for entry in entries],
    }
    return {
        **{name: packed.numbers(values) for name, values in numbers.items()},
        **{name: packed.words([packed.text_of(name, entry) for entry in entries]) for name in packed.TEXTS},
    }


def _script_json(data: object) -> str:
    """JSON for a script element: nothing in it can end the element or open another."""
    text = json.dumps(data, ensure_ascii=False, separators=(",", ":"), allow_nan=False)
    for sign in "<>&\u2028\u2029":
        text = text.replace(sign, f"\\u{ord(sign):04x}")
    return text


def _policy(script: str, style: str) -> str:
    """Only this script and style; no connection, no image, no font, no frame, no form from anywhere."""
    hashes = [base64.b64encode(hashlib.sha256(text.encode()).digest()).decode() for text in (script, style)]
    return (
        f"default-src 'none'; script-src 'sha256-{hashes[0]}'; style-src 'sha256-{hashes[1]}'; "
        "base-uri 'none'; form-action 'none'"
    )


def _pairs(entries: Sequence[Entry], verdicts: Verdicts) -> list[Pair]:
    """Datasets and networks to choose from: the usual first, then those with the most that is judged."""
    judged: dict[Pair, int] = {}
    for entry in entries:
        if entry.id in verdicts:
            pair = (entry.dataset, entry.arch)
            judged[pair] = judged.get(pair, 0) + any(verdict.judged for verdict in verdicts[entry.id])
    return sorted(judged, key=lambda pair: (pair != _FIRST or not judged[pair], -judged[pair], pair))


def _matrix(entries: Sequence[Entry], verdicts: Verdicts, pair: Pair) -> Matrix:
    rows = [entry for entry in entries if (entry.dataset, entry.arch) == pair and counts_for_headline(entry)]
    return matrix_of(*pair, [verdicts[entry.id] for entry in rows])


def _usual_words(entries: Sequence[Entry], verdicts: Verdicts) -> dict[str, str]:
    """The verdict of every row where only one can stand: on MACs, against its usual references."""
    places = {each: number for number, each in enumerate(ALL_ASSUMPTIONS)}
    return {
        entry.id: verdicts[entry.id][places[Assumptions(usual_references(entry.arch))]].in_words
        if entry.id in verdicts
        else "reference"
        for entry in entries
    }


def _dense_g(entries: Sequence[Entry], pair: Pair) -> float | None:
    dense = next(entry.dense for entry in entries if (entry.dataset, entry.arch) == pair)
    return dense.macs / 1e9 if dense else None


def _curves(bar: Bar, pairs: Sequence[Pair], index: Mapping[str, int]) -> tuple[list[list[int]], list[list[int]]]:
    """The bars that can be drawn, each once, as rows from the cheapest; and for each pair which ones are its own."""
    numbers: dict[tuple[int, ...], int] = {}
    bars = []
    for dataset, arch in pairs:
        own = []
        for assumptions in ALL_ASSUMPTIONS:
            if assumptions.budget not in _BUDGETS_DRAWN:
                continue
            curve = tuple(index[point.entry.id] for point in points(bar, dataset, arch, assumptions))
            own.append(numbers.setdefault(curve, len(numbers)))
        bars.append(own)
    return [list(curve) for curve in numbers], bars
