"""Every rule over every row, offline: what a contributor runs before a pull request, and CI runs."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from decimal import Decimal
from itertools import pairwise
from operator import attrgetter
from pathlib import Path

from thinresnet.errors import nearest
from thinresnet.files import FormError, read_text
from thinresnet.leaderboard import dense
from thinresnet.leaderboard.between import faults_between
from thinresnet.leaderboard.figures import contradictions, half_digit, implausible
from thinresnet.leaderboard.measured import evidence_faults
from thinresnet.leaderboard.papers import bib_beside, missing, parse_bib, read_bib, render_bib
from thinresnet.leaderboard.schema import DATASETS, NAMES, SAME_NETWORK, Entry, Fault, order
from thinresnet.leaderboard.store import Line, read_lines, render

TRAINED_ALONE = ("train_epochs",)
TRAINED_IN_STAGES = ("dense_epochs", "prune_epochs", "tune_epochs")
FLAGS_WITH_REASON = ("accuracy-doubtful", "cost-doubtful", "params-doubtful", "drop-doubtful")
# What tells two rows apart: everything but their name, where they were read and what is remarked.
_NOT_TELLING = ("id", "locator", "hand", "read_repo", "read_path", "read_commit", "note")
identity: Callable[[Entry], tuple[object, ...]] = attrgetter(*(name for name in NAMES if name not in _NOT_TELLING))


@dataclass(frozen=True)
class Problem:
    """A rule that a file of the board breaks: where, the value, and what is allowed there."""

    file: str
    line: int
    column: str
    value: str
    allowed: str

    def __str__(self) -> str:
        shown = self.value if len(self.value) <= 60 else f"{self.value[:57]}..."
        found = f"{shown!r} is not " if self.value or self.column != "form" else ""
        return f"{self.file}, line {self.line}, {self.column}: {found}{self.allowed}"


def check(board: str | os.PathLike[str]) -> list[Problem]:
    """All problems of a board and of the .bib file beside it; an empty list is a clean board."""
    board = Path(board)
    bib = bib_beside(board)
    try:
        lines = list(read_lines(board))
        bib_text = read_text(bib)
    except FormError as error:
        return [Problem(error.path, error.line, "form", "", error.reason)]
    papers, bib_faults = parse_bib(bib_text)
    problems = [Problem(str(bib), fault.line, fault.where, fault.value, fault.allowed) for fault in bib_faults]
    if not bib_faults and bib_text != render_bib(papers.values()):
        problems.append(Problem(str(bib), _first_difference(bib_text, render_bib(papers.values())), "form", "", _TIDY))

    absent: dict[Path, list[int]] = {}  # folders of evidence that were not copied with the board, and their rows
    for line in lines:
        faults = list(line.faults)
        if line.entry:
            faults += entry_faults(line.entry)
            if not bib_faults and line.entry.paper not in papers:
                faults.append(_unknown_paper(line.entry, papers))
            if line.entry.evidence and not (home := (board.parent / line.entry.evidence).parent).is_dir():
                absent.setdefault(home, []).append(line.number)
            elif line.entry.evidence:
                faults += evidence_faults(board.parent, line.entry)
        problems += [Problem(str(board), line.number, fault.column, fault.value, fault.allowed) for fault in faults]
    for home, rows in absent.items():
        where = home.relative_to(board.parent).as_posix()
        allowed = f"a folder beside the board; the evidence of {len(rows)} rows lies there: copy it along"
        problems.append(Problem(str(board), rows[0], "evidence", where, allowed))
    problems += _between_rows(board, lines)
    if not problems:
        problems += _form(board, [line.entry for line in lines if line.entry])
    return problems


def papers_missing(board: str | os.PathLike[str]) -> dict[str, list[str]]:
    """What is not known of which paper of a board: authors, year or link, by citation key."""
    papers = read_bib(bib_beside(board))
    return {key: unknown for key, paper in papers.items() if (unknown := missing(paper))}


def entry_faults(entry: Entry) -> Iterator[Fault]:
    """The rules of one row that need nothing but the row."""
    yield from _source_faults(entry)
    yield from _network_faults(entry)
    yield from _stage_faults(entry)
    yield from contradictions(entry)
    if "accuracy-doubtful" not in entry.flags:
        yield from implausible(entry)
    for flag in FLAGS_WITH_REASON:
        if flag in entry.flags and not entry.note:
            yield Fault("note", "", f"empty where the flag {flag} stands: say what contradicts what")


def _source_faults(entry: Entry) -> Iterator[Fault]:
    accuracies = (entry.top1_printed, entry.top5_printed, entry.top1_drop_printed, entry.top5_drop_printed)
    if all(figure is None for figure in accuracies):
        yield Fault("top1_printed", "", "empty together with top-5 and both drops: a row has an accuracy")
    if entry.top1_std is not None and entry.top1_printed is None:
        yield Fault("top1_std", str(entry.top1_std), "there without the accuracy that it belongs to")
    if entry.source == "published":
        if not (entry.read_repo or entry.read_path):
            yield Fault("read_repo", "", "empty for a published row: say which repository, page or file was read")
        if entry.evidence:
            yield Fault("evidence", entry.evidence, "there for a published row: its evidence is the locator")
        if entry.dataset == "cifar10-jpeg":
            yield Fault("dataset", entry.dataset, "a dataset of published rows: it is this project's copy of CIFAR-10")
        return
    for name in ("evidence", "n", "top1_printed", "cost_printed_g", "params_printed_m", "test_resolution"):
        if not getattr(entry, name):
            yield Fault(name, "", "empty for a measured row")
    if entry.cost_unit != "macs" or entry.accuracy_unit != "accuracy" or entry.hand != "first":
        yield Fault("cost_unit", entry.cost_unit, "other than macs, accuracy and first hand in a measured row")


def _network_faults(entry: Entry) -> Iterator[Fault]:
    if entry.arch not in dense.archs():
        yield Fault(
            "arch",
            entry.arch,
            f"a counted architecture{nearest(entry.arch, dense.archs())} "
            "(a new one: count it with `thinresnet count NAME` and add the line to thinresnet/leaderboard/dense.csv)",
        )
    elif entry.source == "published" and entry.dense is None:
        yield Fault("arch", entry.arch, f"counted for {entry.dataset} at {entry.usual_resolution} px")
    if entry.family != "dense":
        return
    yield from _not_this_network(entry)
    for name in ("dense_cost_printed_g", "cost_cut_pct", "cost_kept_pct", "speedup_x", "dense_params_printed_m"):
        if (value := getattr(entry, name)) is not None:
            yield Fault(name, str(value), "there for a dense row: it is its own dense network")


def _not_this_network(entry: Entry) -> Iterator[Fault]:
    """A dense row whose printed cost is that of another network than the one it names."""
    counted = dense.dense_cost(entry.arch, entry.resolution, DATASETS[entry.dataset].classes)
    per_mac = {"macs": 1, "2-per-mac": 2}.get(entry.cost_unit)
    if counted is None:
        return
    if entry.cost_printed_g is not None and per_mac and "cost-doubtful" not in entry.flags:
        yield from _far("cost_printed_g", entry.cost_printed_g, counted.macs * per_mac / 1e9)
    if entry.params_printed_m is not None and "params-doubtful" not in entry.flags:
        yield from _far("params_printed_m", entry.params_printed_m, counted.params / 1e6)


def _far(column: str, printed: Decimal, counted: float) -> Iterator[Fault]:
    if abs(float(printed) - counted) > SAME_NETWORK * counted + float(half_digit(printed)):
        yield Fault(
            column,
            str(printed),
            f"near what this network costs ({counted:.4g}); correct arch, resolution or unit, or flag it",
        )


def _stage_faults(entry: Entry) -> Iterator[Fault]:
    names = TRAINED_ALONE if entry.family == "pruned" else TRAINED_IN_STAGES
    for name in names:
        if (value := getattr(entry, name)) is not None:
            yield Fault(
                name,
                str(value),
                f"there for a row of family {entry.family}: pruned rows have {', '.join(TRAINED_IN_STAGES)}, "
                "the others train_epochs",
            )


def _unknown_paper(entry: Entry, papers: Iterable[str]) -> Fault:
    return Fault("paper", entry.paper, f"a key of the .bib file{nearest(entry.paper, papers)}")


def _between_rows(board: Path, lines: list[Line]) -> Iterator[Problem]:
    ids: dict[str, int] = {}
    seen: dict[tuple[object, ...], int] = {}
    once: list[Entry] = []
    for line in lines:
        if not line.entry:
            continue
        if line.entry.id in ids:
            allowed = f"unique: line {ids[line.entry.id]} has it too"
            yield Problem(str(board), line.number, "id", line.entry.id, allowed)
        figures = identity(line.entry)
        if figures in seen:
            allowed = f"another result than that of line {seen[figures]}: all figures are the same"
            yield Problem(str(board), line.number, "row", line.entry.id, allowed)
        if line.entry.id not in ids and figures not in seen:
            once.append(line.entry)
        ids.setdefault(line.entry.id, line.number)
        seen.setdefault(figures, line.number)
    for entry, fault in faults_between(once):
        yield Problem(str(board), ids[entry.id], fault.column, fault.value, fault.allowed)


_TIDY = "not in canonical form and order; `thinresnet leaderboard check --fix` rewrites it"


def _form(board: Path, entries: list[Entry]) -> Iterator[Problem]:
    for number, (earlier, later) in enumerate(pairwise(entries), 3):
        if order(earlier) > order(later):
            yield Problem(str(board), number, "form", "", f"row {later.id} stands after {earlier.id}: {_TIDY}")
            return
    data, canonical = board.read_bytes(), render(entries).encode()
    if data != canonical:
        text = data.decode()
        what = "a byte-order mark: " if text[:1] == "\ufeff" else "Windows line ends: " if "\r" in text else ""
        yield Problem(str(board), _first_difference(text, canonical.decode()), "form", "", what + _TIDY)


def _first_difference(text: str, other: str) -> int:
    pairs = enumerate(zip(text.split("\n"), other.split("\n"), strict=False), 1)
    return next((number for number, (one, two) in pairs if one != two), min(text.count("\n"), other.count("\n")) + 1)
