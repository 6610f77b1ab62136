"""Rows chosen and sorted, with their verdicts; `tables` writes them out."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from decimal import Decimal

from thinresnet.budget import Budget
from thinresnet.errors import InputError, nearest
from thinresnet.leaderboard.bar import Bar
from thinresnet.leaderboard.papers import Paper
from thinresnet.leaderboard.references import Assumptions, may_be_the_bar, usual_references
from thinresnet.leaderboard.schema import Entry, format_row
from thinresnet.leaderboard.verdicts import OUTCOMES, Verdict, judge

REFERENCE = "reference"
VERDICTS = (*OUTCOMES, REFERENCE)


@dataclass(frozen=True)
class Row:
    """A row as it is shown: with its year and its verdict, None where it serves as a reference itself."""

    entry: Entry
    year: int | None
    verdict: Verdict | None

    @property
    def says(self) -> str:
        """The verdict in a word or two."""
        return REFERENCE if self.verdict is None else self.verdict.in_words

    @property
    def outcome(self) -> str:
        """One of `VERDICTS`."""
        return REFERENCE if self.verdict is None else self.verdict.outcome


Key = Callable[[Row], float | Decimal | str | None]
# Sorting keys: the figure, and whether the largest comes first. Rows without the figure come last.
SORTS: Mapping[str, tuple[Key, bool]] = {
    "top1": (lambda row: row.entry.top1, True),
    "macs": (lambda row: row.entry.macs_g, False),
    "params": (lambda row: row.entry.params_m, False),
    "ratio": (lambda row: row.entry.macs_ratio, False),
    "drop": (lambda row: row.entry.top1_drop, False),
    "year": (lambda row: row.year, False),
    "gap": (lambda row: row.verdict.gap if row.verdict and row.verdict.judged else None, True),
    "method": (lambda row: row.entry.method.lower(), False),
    "paper": (lambda row: row.entry.paper, False),
}


@dataclass(frozen=True)
class Choice:
    """Which rows to show; an empty field chooses all."""

    dataset: str = ""
    arch: str = ""
    family: str = ""
    source: str = ""
    paper: str = ""
    years: str = ""
    macs: str = ""
    params: str = ""
    search: str = ""
    method: str = ""


@dataclass(frozen=True)
class Under:
    """The assumptions for rows of any architecture: without `references`, each row's usual set."""

    references: str = ""
    recipes: str = "any"
    resolution: str = "any"
    budget: str = "macs"

    def of(self, entry: Entry) -> Assumptions:
        """The assumptions for one row."""
        return Assumptions(self.references or usual_references(entry.arch), self.recipes, self.resolution, self.budget)

    @property
    def says(self) -> str:
        """The assumptions in words."""
        if self.references:
            return Assumptions(self.references, self.recipes, self.resolution, self.budget).says
        said = Assumptions(recipes=self.recipes, resolution=self.resolution, budget=self.budget).says
        return said.replace("same architecture", "plain ResNets (for ResNets) or the same architecture", 1)


def choose(entries: Sequence[Entry], papers: Mapping[str, Paper], choice: Choice) -> list[Entry]:
    """The rows that a choice leaves; a name that stands nowhere on the board is refused with the nearest one."""
    tests: list[Callable[[Entry], bool]] = []
    for field in ("dataset", "arch", "family", "source", "paper"):
        wanted = getattr(choice, field)
        if not wanted:
            continue
        known = {str(getattr(entry, field)) for entry in entries}
        if wanted not in known:
            raise InputError(f"--{field} {wanted}: no row of this board has it{nearest(wanted, known)}")
        tests.append(lambda entry, field=field, wanted=wanted: getattr(entry, field) == wanted)  # type: ignore[misc]
    if choice.method:
        tests.append(_method(choice.method, entries))
    if choice.years:
        first, last = _years(choice.years)
        tests.append(lambda entry: first <= (_year(entry, papers) or 0) <= last)
    tests += [_within(name, text) for name, text in (("macs", choice.macs), ("params", choice.params)) if text]
    words = choice.search.casefold().split()
    if words:
        tests.append(lambda entry: all(word in " ".join(format_row(entry)).casefold() for word in words))
    return [entry for entry in entries if all(test(entry) for test in tests)]


def rows(
    chosen: Iterable[Entry],
    bar: Bar,
    papers: Mapping[str, Paper],
    *,
    under: Under = Under(),
    verdict: str = "",
    sort: str = "",
    limit: int = 0,
) -> list[Row]:
    """Rows with their verdicts, sorted; in the board's own order without a sorting key."""
    if sort and sort not in SORTS:
        raise InputError(f"--sort {sort}: one of {', '.join(SORTS)}{nearest(sort, SORTS)}")
    if verdict and verdict not in VERDICTS:
        raise InputError(f"--verdict {verdict}: one of {', '.join(VERDICTS)}{nearest(verdict, VERDICTS)}")

    def judged(row: Row) -> Row:
        entry = row.entry
        return row if may_be_the_bar(entry) else replace(row, verdict=judge(bar, entry, under.of(entry)))

    ready = [Row(entry, _year(entry, papers), None) for entry in chosen]
    # Only these choices need every verdict; otherwise those of the rows that are shown will do.
    all_judged = sort == "gap" or bool(verdict)
    if all_judged:
        ready = [row for row in map(judged, ready) if verdict in ("", row.outcome)]
    if sort:
        key, largest_first = SORTS[sort]
        known = [row for row in ready if key(row) is not None]
        known.sort(key=key, reverse=largest_first)  # type: ignore[arg-type]
        ready = known + [row for row in ready if key(row) is None]
    shown = ready[:limit] if limit else ready
    return shown if all_judged else [judged(row) for row in shown]


def _method(wanted: str, entries: Iterable[Entry]) -> Callable[[Entry], bool]:
    """Whether a method's name holds these words, in any case."""
    words = wanted.casefold().split()

    def holds(entry: Entry) -> bool:
        return all(word in entry.method.casefold() for word in words)

    if not any(map(holds, entries)):
        methods = {entry.method.casefold(): entry.method for entry in entries}
        words_of = {word: word for name in methods for word in re.split(r"[^\w.+-]+", name) if word}
        close = nearest(wanted.casefold(), [*methods, *words_of])
        raise InputError(f"--method {wanted}: no method on this board has it in its name{close}")
    return holds


def _year(entry: Entry, papers: Mapping[str, Paper]) -> int | None:
    paper = papers.get(entry.paper)
    return paper.year if paper else None


def _years(text: str) -> tuple[int, int]:
    found = re.fullmatch(r"((?:19|20)\d\d)?(-)?((?:19|20)\d\d)?", text, re.ASCII)
    if not found or not (found[1] or found[3]) or (found[1] and found[3] and not found[2]):
        raise InputError(f"--year {text}: a year or a span such as 2019, 2019-2022, 2020- or -2018")
    first = int(found[1] or 0)
    return first, int(found[3] or (9999 if found[2] else first))


def _within(name: str, text: str) -> Callable[[Entry], bool]:
    """Whether a row stays within a budget that is typed as elsewhere: `2.05G` or, of its dense network, `50%`."""
    budget = Budget.parse(name, text)
    # A share that was printed as 50 % comes back from a product of floats.
    amount = float(budget.amount) * (1 + 1e-9)
    if budget.relative:
        return lambda entry: ((entry.macs_ratio if name == "macs" else entry.params_ratio) or float("inf")) <= amount
    if name == "macs":
        return lambda entry: (float("inf") if entry.macs_g is None else entry.macs_g * 1e9) <= amount
    return lambda entry: (float("inf") if entry.params_m is None else entry.params_m * 1e6) <= amount
