"""The board as one HTML file that needs no network: headline, chart, table, how to add, how to cite.

Jinja escapes every cell; the browser's content security policy, written with the hashes of this very page's scripts
and style, lets nothing else run and nothing leave. The table is real HTML, which the page's own script
sorts and filters together with the chart: itables takes a data frame, which nothing else here needs, adds 0.7 MB, and
leaves no table where there is no JavaScript.
"""

from __future__ import annotations

import base64
import hashlib
import re
from collections.abc import Iterable, Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any

import thinresnet
from thinresnet.leaderboard import cite, plot
from thinresnet.leaderboard.holes import holes
from thinresnet.leaderboard.papers import Paper
from thinresnet.leaderboard.schema import Entry
from thinresnet.leaderboard.show import plain
from thinresnet.leaderboard.verdicts import (
    BUDGETS,
    CLEARS,
    LARGEST_ROUNDING,
    LOSES,
    NEAR,
    REFERENCES,
    SAME_ARCHITECTURE,
    TIES,
    UNJUDGED,
    Bar,
    Headline,
    Verdict,
    caveats,
    counts_for_headline,
    may_be_the_bar,
    uncertainty_of,
    usual_references,
)

_HERE = Path(__file__).parent
_OUTCOMES = (LOSES, TIES, CLEARS, UNJUDGED)
_FIRST = ("imagenet", "resnet50")
_HOLES_SHOWN = 12
_SCALES = ("log", "linear")


def page(entries: Sequence[Entry], papers: Mapping[str, Paper]) -> str:
    """The whole page."""
    import jinja2

    bar = Bar(entries)
    index = {entry.id: number for number, entry in enumerate(entries)}
    pairs = _pairs(entries)
    reasons: list[str] = [""]
    verdicts = {entry.id: bar.all_verdicts(entry) for entry in entries if not may_be_the_bar(entry)}
    headlines = _headlines(verdict for group in verdicts.values() for verdict in group)
    first = f"{pairs[0][0]} {pairs[0][1]} {usual_references(pairs[0][1])} MACs" if pairs else ""
    data = {
        "rows": [_row(entry, verdicts.get(entry.id), index, reasons) for entry in entries],
        "reasons": reasons,
        "papers": {entry.paper: _paper(papers[entry.paper]) for entry in entries if entry.paper in papers},
        "pairs": pairs,
        "usual": {arch: usual_references(arch) for _, arch in pairs},
        "dense": {f"{dataset} {arch}": _dense_g(dataset, arch) for dataset, arch in pairs},
        "bars": _bars(bar, pairs, index),
        "headlines": headlines,
        "families": list(REFERENCES),
        "budgets": list(BUDGETS),
        "outcomes": _OUTCOMES,
        "near": f"{100 * NEAR:.0f} % as much",
        "marks": plot.FAMILY_MARKS,
        "specs": {f"{axis} {log}": plot.specification(axis, log=log == "log") for axis in plot.AXES for log in _SCALES},
    }
    runtime = _bundle()
    script = (_HERE / "page.js").read_text(encoding="utf-8")
    style = (_HERE / "page.css").read_text(encoding="utf-8")
    # `|tojson` writes <, > and & as escapes, so no text in the data can end its element.
    environment = jinja2.Environment(autoescape=True, undefined=jinja2.StrictUndefined, trim_blocks=True)
    return environment.from_string((_HERE / "page.html").read_text(encoding="utf-8")).render(
        data=data,
        entries=entries,
        papers=papers,
        is_bar=may_be_the_bar,
        marks=plot.FAMILY_MARKS,
        references=REFERENCES,
        axes=plot.AXES,
        headline=headlines.get(first),
        holes=holes(entries, bar)[:_HOLES_SHOWN],
        baseline=cite.BASELINE,
        project=cite.PROJECT,
        near=f"{100 * NEAR:.0f} %",
        rounding=f"{100 * LARGEST_ROUNDING:.0f} %",
        version=thinresnet.__version__,
        runtime=runtime,
        script=script,
        style=style,
        policy=_policy([runtime, script], [style]),
    )


@cache
def _bundle() -> str:
    """Vega and Vega-Lite as one script, offline."""
    import vl_convert

    bundle = str(vl_convert.javascript_bundle("window.vegaEmbed = vegaEmbed;"))
    # The one thing that may not stand inside a script element.
    return re.sub(r"</(?=script)", r"<\\/", bundle, flags=re.IGNORECASE)


def _policy(scripts: list[str], styles: list[str]) -> str:
    """Only these scripts and styles; no connection, no image, no font, no frame, no form from anywhere."""

    def hashes(texts: list[str]) -> str:
        digests = (base64.b64encode(hashlib.sha256(text.encode()).digest()).decode() for text in texts)
        return " ".join(f"'sha256-{digest}'" for digest in digests)

    return (
        f"default-src 'none'; script-src {hashes(scripts)}; style-src {hashes(styles)}; "
        "base-uri 'none'; form-action 'none'"
    )


def _pairs(entries: Sequence[Entry]) -> list[tuple[str, str]]:
    """Data sets and networks to choose from: those with something to judge, the most results first."""
    counts: dict[tuple[str, str], int] = {}
    for entry in entries:
        if not may_be_the_bar(entry):
            pair = (entry.dataset, entry.arch)
            counts[pair] = counts.get(pair, 0) + 1
    return sorted(counts, key=lambda pair: (pair != _FIRST, -counts[pair], pair))


def _row(entry: Entry, verdicts: list[Verdict] | None, index: Mapping[str, int], reasons: list[str]) -> dict[str, Any]:
    figures = {
        "top1": entry.top1, "drop": entry.top1_drop, "macs": entry.macs_g, "ratio": entry.macs_ratio,
        "params": entry.params_m,
    }  # fmt: skip
    texts = {
        "id": entry.id, "dataset": entry.dataset, "arch": entry.arch, "method": entry.method, "family": entry.family,
        "source": entry.source, "paper": entry.paper, "locator": entry.locator, "read": _read_at(entry),
        "recipe": entry.recipe, "note": entry.note, "evidence": entry.evidence, "spread": uncertainty_of(entry),
        "macsBasis": entry.macs_basis, "paramsBasis": entry.params_basis, "caveats": "; ".join(caveats(entry)),
    }  # fmt: skip
    return {
        **{name: None if value is None else float(f"{value:.6g}") for name, value in figures.items()},
        **{name: text for name, text in texts.items() if text},
        "pixels": entry.resolution if entry.resolution_scaled else None,
        "link": _link(entry),
        "verdicts": None if verdicts is None else [_verdict(verdict, index, reasons) for verdict in verdicts],
    }


def _verdict(verdict: Verdict, index: Mapping[str, int], reasons: list[str]) -> list[object]:
    """Outcome, gap, row of the reference, whether it is near, and why nothing is said, as few letters as will do."""
    if verdict.why not in reasons:
        reasons.append(verdict.why)
    reference = index[verdict.reference.id] if verdict.reference else None
    outcome, why = _OUTCOMES.index(verdict.outcome), reasons.index(verdict.why)
    return [outcome, plain(verdict.gap), reference, int(verdict.near), why]


def _read_at(entry: Entry) -> str:
    return " ".join(part for part in (entry.read_repo, entry.read_path, entry.read_commit[:10]) if part)


def _link(entry: Entry) -> str:
    """Where the number can be looked up, if what was read is a repository or a page."""
    if re.fullmatch(r"https?://[!-~]+", entry.read_repo):
        return entry.read_repo
    if not re.fullmatch(r"[\w.-]+/[\w.-]+", entry.read_repo, re.ASCII):
        return ""
    root = f"https://github.com/{entry.read_repo}"
    if entry.read_commit and re.fullmatch(r"[\w./-]+", entry.read_path, re.ASCII):
        return f"{root}/blob/{entry.read_commit}/{entry.read_path}"
    return root


def _paper(paper: Paper) -> dict[str, object]:
    return {
        "title": paper.title,
        "authors": paper.authors,
        "venue": paper.venue,
        "year": paper.year,
        "url": paper.url,
        "bibtex": paper.bibtex,
    }


def _dense_g(dataset: str, arch: str) -> float | None:
    dense = plot.dense_of(dataset, arch)
    return dense.macs / 1e9 if dense else None


def _bars(bar: Bar, pairs: Sequence[tuple[str, str]], index: Mapping[str, int]) -> dict[str, list[int]]:
    """Rows of the bar, cheapest first, by data set, reference family (and network) and budget."""
    return {
        f"{dataset} {arch if family == SAME_ARCHITECTURE else ''} {family} {budget}": [
            index[point.entry.id] for point in reversed(bar.frontier(dataset, arch, family, budget))
        ]
        for dataset, arch in pairs
        for family in REFERENCES
        for _, budget in plot.AXES.values()
    }


def _headlines(verdicts: Iterable[Verdict]) -> dict[str, dict[str, object]]:
    """What is said of every data set and network under every family and every budget that an axis shows."""
    shown = {budget for _, budget in plot.AXES.values()}
    groups: dict[tuple[str, str, str, str], list[Verdict]] = {}
    for verdict in verdicts:
        entry = verdict.entry
        if counts_for_headline(entry) and verdict.budget in shown:
            groups.setdefault((entry.dataset, entry.arch, verdict.family, verdict.budget), []).append(verdict)
    found = {}
    for key, group in groups.items():
        said = Headline(*key, tuple(group))
        counts = [len(each) for each in (said.beaten, said.tied, said.stand, said.no_reference, said.unknown)]
        found[" ".join(key)] = {"says": said.says, "counts": counts, "lead": plain(said.median_lead)}
    return found
