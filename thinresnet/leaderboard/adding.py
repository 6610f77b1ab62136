"""Adding rows: from typed values or run folders to a proposal with its doubts, and from there onto the board.

A proposal is refused where a rule is broken; where it is only odd (a near copy, a cut that does not fit its own
figures, an accuracy out of range) it comes with doubts, and whoever accepts them has the row flagged and annotated.
"""

from __future__ import annotations

import hashlib
import os
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from decimal import Decimal
from pathlib import Path
from typing import Any

from thinresnet.errors import InputError, nearest
from thinresnet.files import write_atomically
from thinresnet.leaderboard import weights
from thinresnet.leaderboard.amounts import MACS, SHORT, UNITS, read_amount, unit_of_flops
from thinresnet.leaderboard.bibtex import Read, read_bibtex
from thinresnet.leaderboard.boards import writable_board
from thinresnet.leaderboard.check import entry_faults, identity
from thinresnet.leaderboard.figures import contradictions, implausible
from thinresnet.leaderboard.locking import locked
from thinresnet.leaderboard.measured import (
    EMA,
    EVIDENCE_FOLDER,
    PROJECT_KEY,
    cells_of,
    family_of,
    keep_evidence,
    read_results,
)
from thinresnet.leaderboard.papers import Paper, bib_beside, read_bib, render_bib
from thinresnet.leaderboard.schema import MAX_TEXT, NAMES, SAME_NETWORK, Entry, Fault, format_row, parse
from thinresnet.leaderboard.store import default_board, read_board, write_board
from thinresnet.result import teacher_of

_DEFAULTS = {"source": "published", "accuracy_unit": "accuracy", "cost_unit": "unknown", "hand": "first"}
NEAR_TOP1 = Decimal("0.06")
NEAR_COST = 0.02
# Families whose networks are cut from a dense one, and how much of it they may cost before one asks.
CUT = ("pruned", "scratch", "init")
MOST_OF_DENSE = 1.02
LEAST_OF_DENSE = 0.004


@dataclass(frozen=True)
class Doubt:
    """Something odd about a proposal: the question in words, and the flag that the row gets if it stands."""

    question: str
    flag: str = ""


@dataclass(frozen=True)
class Proposal:
    """A row that breaks no rule of its own, the doubts about it, and the paper and evidence that come with it."""

    entry: Entry
    doubts: tuple[Doubt, ...] = ()
    papers: tuple[Paper, ...] = ()
    run_folders: tuple[Path, ...] = ()

    def accepted(self) -> Entry:
        """The row as it goes onto the board once its doubts have been looked at: flagged, with the reason noted."""
        flagged = [doubt for doubt in self.doubts if doubt.flag]
        flags = tuple(sorted({*self.entry.flags, *(doubt.flag for doubt in flagged)}))
        reason = "; ".join([part for part in (self.entry.note, *(doubt.question for doubt in flagged)) if part])
        return replace(self.entry, flags=flags, note=self.entry.note if not flagged else _short(reason))


def propose(
    values: Mapping[str, str], entries: Sequence[Entry], papers: Mapping[str, Paper], *, bibtex: str = ""
) -> Proposal:
    """A row from typed values (columns, or the names in `SHORT`), with the doubts that the board raises about it."""
    cells = _cells(values)
    read = _new_papers(bibtex, papers)
    new = tuple(each.paper for each in read if each.paper.key not in papers)
    known = {**papers, **{paper.key: paper for paper in new}}
    cells.setdefault("paper", read[0].paper.key if len(read) == 1 else "")
    printed = {each.printed_key: each.paper.key for each in read}
    cells["paper"] = printed.get(cells["paper"], cells["paper"])
    entry = _entry(cells)
    if entry.paper not in known:
        raise InputError(
            f"paper: {entry.paper!r} is not in the .bib file{nearest(entry.paper, known)}; "
            "name a known key, or give the new paper's BibTeX too"
        )
    return Proposal(entry, tuple(_doubts(entry, entries)) + tuple(_paper_doubts(new, papers)), new)


def propose_all(
    rows: Sequence[Mapping[str, str]], entries: Sequence[Entry], papers: Mapping[str, Paper], *, where: str = ""
) -> list[Proposal]:
    """A proposal for each of many rows, held against the board and against one another; one refusal refuses all."""
    known, all_papers = list(entries), dict(papers)
    proposals: list[Proposal] = []
    for number, row in enumerate(rows, 1):
        try:
            proposal = propose(row, known, all_papers, bibtex=row.get("bibtex", ""))
        except InputError as error:
            raise InputError(f"{where}, row {number}: {error}" if where else f"row {number}: {error}") from None
        known.append(proposal.entry)
        all_papers.update((paper.key, paper) for paper in proposal.papers)
        proposals.append(proposal)
    return proposals


def propose_run(
    folders: Sequence[str | os.PathLike[str]],
    entries: Sequence[Entry],
    *,
    values: Mapping[str, str] | None = None,
    ema: bool = False,
) -> Proposal:
    """A measured row from the folders of one run's seeds; `values` says what no run knows (method, family, note)."""
    given = dict(values or {})
    results = read_results(folders, given.get("family", ""))
    family = given.pop("family", "") or family_of(results[0])
    if not family:
        raise InputError(f"{folders[0]}: shape {results[0]['shape']!r} does not tell the family; say --family")
    cells = cells_of(results, family, ema=ema)
    if taken := sorted(set(_cells(given)) & set(cells)):
        raise InputError(f"{taken[0]}: a run's own figure is not typed by hand; leave it out")
    theirs = results[0].get("weights") == "theirs"
    usual = weights.method_of(results[0]) if theirs else f"{results[0]['arch']} {results[0]['shape']}"
    method = given.pop("method", "") or usual
    cells.update(
        family=family,
        method=method + (EMA if ema else ""),
        paper=PROJECT_KEY,
        locator="evaluation.json" if theirs else "result.json of every seed",
        evidence=f"{EVIDENCE_FOLDER}/{_slug(results[0], ema=ema)}",
    )
    entry = _entry({**cells, **_cells(given)})
    return Proposal(entry, tuple(_doubts(entry, entries)), (), tuple(Path(folder) for folder in folders))


def add_runs(
    board: str | os.PathLike[str] | None, runs: Sequence[tuple[Sequence[Path], Mapping[str, str]]]
) -> list[Entry]:
    """A measured row for each of several runs, doubts accepted: folders of its seeds, and what no run knows.

    What stands there already, figures and evidence alike, stays; all of the others are added, or none.
    """
    path = Path(board) if board is not None else default_board()
    entries = read_board(path)
    proposals = [propose_run(folders, entries, values=values) for folders, values in runs]
    known = {identity(entry) for entry in entries}
    return add(path, [proposal for proposal in proposals if identity(proposal.accepted()) not in known])


def standing(proposals: Sequence[Proposal], entries: Sequence[Entry]) -> list[Proposal]:
    """Those whose row is on the board to the letter: the same command was given before, and perhaps killed."""
    rows = {tuple(format_row(entry)) for entry in entries}
    return [proposal for proposal in proposals if tuple(format_row(proposal.accepted())) in rows]


def add(board: str | os.PathLike[str], proposals: Sequence[Proposal]) -> list[Entry]:
    """Put accepted proposals on the board: all of them, or none; returns the new rows.

    The board is read afresh under its lock. A row that stands there to the letter stays as it is.
    """
    board = Path(board)
    bib = bib_beside(board)
    with locked(board):
        entries, papers = read_board(board), read_bib(bib)
        added: list[Entry] = []
        known = {id(proposal) for proposal in standing(proposals, entries)}
        for proposal in proposals:
            if id(proposal) in known:
                continue
            entry = proposal.accepted()
            _refuse_copy(entry, entries + added)
            for paper in proposal.papers:
                if papers.setdefault(paper.key, paper) != paper:
                    raise InputError(f"{bib}: {paper.key} stands there for another paper; choose another key")
            if entry.paper not in papers:
                raise InputError(f"{bib}: {entry.paper} is not there; give its BibTeX")
            added.append(entry)
        for proposal in proposals:
            if proposal.run_folders:
                keep_evidence(board, proposal.entry.evidence, proposal.run_folders)
        if not added:
            return []
        # The papers go first: a kill in between leaves a paper without rows, which is no fault, never the reverse.
        write_atomically(bib, render_bib(papers.values()))
        write_board(board, entries + added)
    return added


def _cells(values: Mapping[str, str]) -> dict[str, str]:
    """Typed values as cells: short names to columns, amounts such as 2.05G to the column's unit."""
    cells: dict[str, str] = {}
    in_flops = False
    for name, value in values.items():
        text = str(value).strip()
        if name == "bibtex" or not text:
            continue
        column = SHORT.get(name, name)
        if column not in NAMES:
            raise InputError(f"{name!r} is not a column of the board{nearest(name, [*NAMES, *SHORT])}")
        if column in cells:
            raise InputError(f"{name}: {column} is given twice")
        if name in UNITS:
            text, flops = read_amount(name, text)
            in_flops |= flops
        cells[column] = text
    if not cells.get("cost_unit") and any(values.get(name) for name in MACS):
        cells["cost_unit"] = unit_of_flops(cells) if in_flops else "macs"
    return cells


def _entry(cells: Mapping[str, str]) -> Entry:
    """The entry in these cells under a name made from its contents; a broken rule refuses it."""
    filled = {**_DEFAULTS, **{name: text for name, text in cells.items() if text}}
    filled.setdefault("id", _id(filled))
    entry, faults = parse(filled)
    if entry is None:
        raise InputError("; ".join(str(fault) for fault in faults[:5]))
    odd = {(fault.column, fault.allowed) for fault in (*contradictions(entry), *implausible(entry))}
    broken = [fault for fault in entry_faults(entry) if (fault.column, fault.allowed) not in odd]
    if broken:
        raise InputError("; ".join(str(fault) for fault in broken[:5]))
    return entry


def _id(cells: Mapping[str, str]) -> str:
    contents = "|".join(f"{name}={cells.get(name, '')}" for name in NAMES if name not in ("id", "note"))
    stem = re.sub(r"[^a-z0-9._-]", "-", f"{cells.get('paper') or 'row'}-{cells.get('arch', '')}".lower())[:100]
    return f"{stem}-{hashlib.sha256(contents.encode()).hexdigest()[:6]}"


def _new_papers(bibtex: str, papers: Mapping[str, Paper]) -> list[Read]:
    """The papers of the given BibTeX, in the board's form; one that the board has word for word is not new."""
    read = read_bibtex(bibtex)
    for each in read:
        key, paper = each.paper.key, each.paper
        if papers.get(key, paper) != paper and not _same_paper(papers[key], paper):
            raise InputError(f"BibTeX: {key} is the key of another paper already ({papers[key].title}); choose another")
    # What the board says of a paper stays as it is.
    return [Read(each.printed_key, papers.get(each.paper.key, each.paper)) for each in read]


def _doubts(entry: Entry, entries: Sequence[Entry]) -> Iterator[Doubt]:
    figures = identity(entry)
    for other in entries:
        if identity(other) == figures:
            yield Doubt(f"an exact copy: row {other.id} has the same figures, and the board takes each result once")
        elif _near(entry, other):
            yield Doubt(
                f"a near copy of row {other.id} ({other.method}, top-1 {other.top1}): another result, or the same one "
                "read elsewhere?"
            )
    yield from _scale_doubts(entry)
    for fault in contradictions(entry):
        yield Doubt(_said(fault), _FLAG_OF.get(fault.column.split("_")[0], "drop-doubtful"))
    fractions = {name for name, _ in _fractions(entry)}
    for fault in implausible(entry):
        if fault.column not in fractions:
            yield Doubt(_said(fault), "accuracy-doubtful")


def _fractions(entry: Entry) -> Iterator[tuple[str, Decimal]]:
    """Accuracies between 0 and 1: percent are asked for, and 0.759 is how programs print 75.9."""
    for name in ("top1_printed", "top5_printed", "dense_top1_printed", "dense_top5_printed"):
        figure: Decimal | None = getattr(entry, name)
        if figure is not None and 0 < figure <= 1:
            yield name, figure


def _scale_doubts(entry: Entry) -> Iterator[Doubt]:
    """Slips of scale: a fraction for percent, a pruned network beyond its dense one, a thousandth of it."""
    for name, figure in _fractions(entry):
        yield Doubt(
            f"{name} {figure} is a fraction? In percent it is {(figure * 100).normalize():f}", "accuracy-doubtful"
        )
    ratios = (("cost", entry.macs_ratio, "cost-doubtful"), ("params", entry.params_ratio, "params-doubtful"))
    for name, ratio, flag in ratios:
        what = "MACs" if name == "cost" else "parameters"
        if ratio is None:
            continue
        if entry.family in CUT and ratio > MOST_OF_DENSE:
            yield Doubt(f"{what} of a {entry.family} network are {ratio:.3g} times those of dense {entry.arch}", flag)
        elif ratio < LEAST_OF_DENSE:
            yield Doubt(f"{what} are {ratio:.2g} of those of dense {entry.arch}: is the unit right?", flag)
    if (printed := entry.dense_cost_printed_g) is not None and entry.dense and entry.cost_unit == "macs":
        times = float(printed) * 1e9 / entry.dense.macs
        if abs(times / 2 - 1) < SAME_NETWORK:
            yield Doubt(
                f"the dense network's {printed} G are twice its counted {entry.dense.macs / 1e9:.4g} G MACs: where a "
                "source counts two operations a MAC, cost_unit is 2-per-mac",
                "cost-doubtful",
            )


def _near(entry: Entry, other: Entry) -> bool:
    if (entry.dataset, entry.arch, entry.paper) != (other.dataset, other.arch, other.paper):
        return False
    if entry.top1 is None or other.top1 is None or abs(entry.top1 - other.top1) > NEAR_TOP1:
        return False
    one, two = entry.macs_ratio, other.macs_ratio
    return one is None or two is None or abs(one - two) <= NEAR_COST * max(one, two)


_FLAG_OF = {"cost": "cost-doubtful", "speedup": "cost-doubtful", "params": "params-doubtful"}


def _said(fault: Fault) -> str:
    return f"{fault.column} ({fault.value}) does not fit {fault.allowed.split(';')[0].removeprefix('what ')}"


def _same_paper(one: Paper, other: Paper) -> bool:
    return _letters(one.title) == _letters(other.title) or bool(one.eprint and one.eprint == other.eprint)


def _paper_doubts(new: Iterable[Paper], papers: Mapping[str, Paper]) -> Iterator[Doubt]:
    for paper in new:
        for known in papers.values():
            if known.key != paper.key and _same_paper(known, paper):
                yield Doubt(f"the paper {paper.key} looks like {known.key}, which the board has: use that key?")


def _refuse_copy(entry: Entry, entries: Iterable[Entry]) -> None:
    figures = identity(entry)
    for other in entries:
        if identity(other) == figures:
            raise InputError(f"row {other.id} has the same figures already: nothing is added")
        if entry.evidence and other.evidence == entry.evidence:
            raise InputError(
                f"row {other.id} averages seeds of this run already; remove it with its evidence and add all at once"
            )
        if other.id == entry.id:
            raise InputError(f"id {entry.id!r} is taken by another row; choose another")


def _letters(text: str) -> str:
    return re.sub(r"[^a-z0-9]", "", text.lower())


def _slug(result: Mapping[str, Any], *, ema: bool) -> str:
    stem = "-".join(str(result[name]) for name in ("arch", "shape", "dataset", "recipe"))
    contents = f"{result['network_sha256']}{result['recipe_hash']}{ema}{teacher_of(result)}"
    return f"{re.sub(r'[^A-Za-z0-9._-]', '-', stem)}-{hashlib.sha256(contents.encode()).hexdigest()[:6]}"


def _short(text: str) -> str:
    return text if len(text) <= MAX_TEXT else f"{text[: MAX_TEXT - 3]}..."


def add_rows(
    *rows: Mapping[str, str],
    bibtex: str = "",
    accept_doubts: bool = False,
    board: str | os.PathLike[str] | None = None,
) -> list[Entry]:
    """Put rows on a board, all of them or none, and return them as they stand there.

    A row is columns as text, or the short names of `leaderboard add` (`top1="75.3"`, `macs="2.05G"`); `bibtex` holds
    its papers where they are new. What breaks a rule is refused; what looks odd is refused, too, unless
    `accept_doubts`, which adds it with the flag and the reason.
    """
    path = writable_board(board).path
    entries, papers = read_board(path), read_bib(bib_beside(path))
    typed = [{**row, **({"bibtex": bibtex} if bibtex else {})} for row in rows]
    proposals = propose_all(typed, entries, papers)
    doubts = [doubt.question for proposal in proposals for doubt in proposal.doubts]
    if doubts and not accept_doubts:
        raise InputError(f"{doubts[0]}; correct the row, or add it with accept_doubts=True")
    return add(path, proposals)
