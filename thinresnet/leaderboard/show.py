"""Rows chosen, sorted and written out: for a terminal, JSON, CSV, Markdown and LaTeX."""

from __future__ import annotations

import csv
import io
import json
import re
import unicodedata
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from decimal import Decimal

from thinresnet.budget import Budget
from thinresnet.errors import InputError, nearest
from thinresnet.leaderboard.holes import Hole
from thinresnet.leaderboard.papers import Paper
from thinresnet.leaderboard.schema import NAMES, Entry, format_row
from thinresnet.leaderboard.verdicts import CLEARS, LOSES, TIES, Bar, Headline, Verdict, may_be_the_bar


@dataclass(frozen=True)
class Row:
    """An entry as it is shown: with its year and its verdict on MACs, None where it is part of the bar itself."""

    entry: Entry
    year: int | None
    verdict: Verdict | None

    @property
    def says(self) -> str:
        """The verdict in a word or two."""
        if self.verdict is None:
            return "reference"
        if not self.verdict.settled:
            return "no reference" if self.verdict.gap is not None else "not judged"
        gap = abs(self.verdict.gap or Decimal(0))
        return {LOSES: f"loses {gap:.2f}", TIES: "ties", CLEARS: f"clears {gap:.2f}"}[self.verdict.outcome]


@dataclass(frozen=True)
class Shown:
    """One column of a table: what stands in it and whether it holds numbers."""

    header: str
    text: Callable[[Row], str]
    number: bool = False


def _figure(value: float | Decimal | None, digits: str = ".2f") -> str:
    return "" if value is None else f"{value:{digits}}"


SHOWN = (
    Shown("data set", lambda row: row.entry.dataset),
    Shown("network", lambda row: row.entry.arch),
    Shown("method", lambda row: row.entry.method),
    Shown("family", lambda row: row.entry.family),
    Shown("top-1 %", lambda row: _figure(row.entry.top1), number=True),
    Shown("drop", lambda row: _figure(row.entry.top1_drop), number=True),
    Shown("MACs G", lambda row: _figure(row.entry.macs_g, ".4g"), number=True),
    Shown("of dense", lambda row: _figure(row.entry.macs_ratio, ".1%"), number=True),
    Shown("params M", lambda row: _figure(row.entry.params_m, ".4g"), number=True),
    Shown("year", lambda row: str(row.year or ""), number=True),
    Shown("paper", lambda row: row.entry.paper),
    Shown("verdict", lambda row: row.says),
)
# Sorting keys: the figure, and whether the largest comes first. Rows without the figure come last.
SORTS: Mapping[str, tuple[Callable[[Row], float | Decimal | str | None], bool]] = {
    "top1": (lambda row: row.entry.top1, True),
    "macs": (lambda row: row.entry.macs_g, False),
    "params": (lambda row: row.entry.params_m, False),
    "ratio": (lambda row: row.entry.macs_ratio, False),
    "drop": (lambda row: row.entry.top1_drop, False),
    "year": (lambda row: row.year, False),
    "gap": (lambda row: row.verdict.gap if row.verdict and row.verdict.settled else None, True),
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


def choose(entries: Sequence[Entry], papers: Mapping[str, Paper], choice: Choice) -> list[Entry]:
    """The entries that a choice leaves; a name that stands nowhere on the board is refused with the nearest one."""
    tests: list[Callable[[Entry], bool]] = []
    for field in ("dataset", "arch", "family", "source", "paper"):
        wanted = getattr(choice, field)
        if not wanted:
            continue
        known = {str(getattr(entry, field)) for entry in entries}
        if wanted not in known:
            raise InputError(f"--{field} {wanted}: no row of this board has it{nearest(wanted, known)}")
        tests.append(lambda entry, field=field, wanted=wanted: getattr(entry, field) == wanted)  # type: ignore[misc]
    if choice.years:
        first, last = _years(choice.years)
        tests.append(lambda entry: first <= (_year(entry, papers) or 0) <= last)
    tests += [_within(name, text) for name, text in (("macs", choice.macs), ("params", choice.params)) if text]
    words = choice.search.casefold().split()
    if words:
        tests.append(lambda entry: all(word in " ".join(format_row(entry)).casefold() for word in words))
    return [entry for entry in entries if all(test(entry) for test in tests)]


def rows(
    chosen: Iterable[Entry], bar: Bar, papers: Mapping[str, Paper], *, against: str = "", sort: str = "", limit: int = 0
) -> list[Row]:
    """Rows with their verdicts, sorted; in the board's own order without a sorting key."""
    if sort and sort not in SORTS:
        raise InputError(f"--sort {sort}: one of {', '.join(SORTS)}{nearest(sort, SORTS)}")

    def judged(row: Row) -> Row:
        return row if may_be_the_bar(row.entry) else replace(row, verdict=bar.verdict(row.entry, against))

    ready = [Row(entry, _year(entry, papers), None) for entry in chosen]
    if sort == "gap":
        # Only this order needs every verdict; otherwise those of the rows that are shown will do.
        ready = [judged(row) for row in ready]
    if sort:
        key, largest_first = SORTS[sort]
        known = [row for row in ready if key(row) is not None]
        known.sort(key=key, reverse=largest_first)  # type: ignore[arg-type]
        ready = known + [row for row in ready if key(row) is None]
    shown = ready[:limit] if limit else ready
    return shown if sort == "gap" else [judged(row) for row in shown]


def as_json(shown: Iterable[Row]) -> str:
    """Everything that is known of the rows: as printed, as derived, and the verdict."""
    return json.dumps([record(row) for row in shown], indent=1, ensure_ascii=False) + "\n"


def record(row: Row) -> dict[str, object]:
    """One row as plain values."""
    entry = row.entry
    derived = {
        "top1": entry.top1, "top5": entry.top5, "top1_drop": entry.top1_drop, "macs_g": entry.macs_g,
        "macs_ratio": entry.macs_ratio, "macs_basis": entry.macs_basis or None, "params_m": entry.params_m,
        "params_ratio": entry.params_ratio, "params_basis": entry.params_basis or None,
        "training_macs": entry.training_macs, "year": row.year,
    }  # fmt: skip
    verdict = None if row.verdict is None else verdict_record(row.verdict)
    return {
        "printed": cells(entry),
        "derived": {name: plain(value) for name, value in derived.items()},
        "reference": row.verdict is None,
        "verdict": verdict,
    }


def cells(entry: Entry) -> dict[str, str]:
    """The cells of a row that are not empty."""
    return {name: cell for name, cell in zip(NAMES, format_row(entry), strict=True) if cell}


def verdict_record(verdict: Verdict) -> dict[str, object]:
    """A verdict as plain values."""
    return {
        "family": verdict.family,
        "budget": verdict.budget,
        "outcome": verdict.outcome,
        "why": verdict.why,
        "reference": verdict.reference.id if verdict.reference else None,
        "gap": plain(verdict.gap),
        "uncertainty": plain(verdict.uncertainty),
        "near": verdict.near,
        "settled": verdict.settled,
        "rests_on": verdict.rests_on,
        "says": verdict.says,
    }


def headline_record(said: Headline) -> dict[str, object]:
    """A headline as plain values, with the rows behind every count."""
    groups = {
        "beaten": said.beaten, "tied": said.tied, "clear": said.stand, "no_reference": said.no_reference,
        "unknown": said.unknown,
    }  # fmt: skip
    return {
        "dataset": said.dataset,
        "arch": said.arch,
        "against": said.family,
        "on": said.budget,
        "says": said.says,
        "points": len(said.verdicts),
        "median_lead": plain(said.median_lead),
        **{
            name: [verdict_record(verdict) | {"id": verdict.entry.id} for verdict in group]
            for name, group in groups.items()
        },
    }


def hole_record(hole: Hole) -> dict[str, object]:
    """A hole as plain values."""
    return {
        "dataset": hole.dataset,
        "arch": hole.arch,
        "against": hole.family,
        "on": hole.budget,
        "at_most": hole.cost,
        "of_dense": hole.share,
        "judges": [verdict.entry.id for verdict in hole.judges],
        "top1": [plain(figure) for figure in hole.top1],
    }


def plain(value: object) -> object:
    """A figure as JSON knows it."""
    return float(value) if isinstance(value, Decimal) else value


def as_csv(shown: Iterable[Row]) -> str:
    """The table as CSV, with the rows' ids first. Cells hold no formulas: the board refuses text that begins as one."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(["id", *(column.header for column in SHOWN)])
    writer.writerows([row.entry.id, *(column.text(row) for column in SHOWN)] for row in shown)
    return text.getvalue()


def as_markdown(shown: Iterable[Row]) -> str:
    """The table in Markdown; what stands in a cell is text, never markup."""
    head = "| " + " | ".join(column.header for column in SHOWN) + " |\n"
    rule = "|" + "|".join("---:" if column.number else "---" for column in SHOWN) + "|\n"
    body = ("| " + " | ".join(_markdown(column.text(row)) for column in SHOWN) + " |\n" for row in shown)
    return head + rule + "".join(body)


def as_latex(shown: Iterable[Row]) -> str:
    """The table as a tabular with booktabs' rules, for pdfLaTeX; what stands in a cell is text, never a command."""
    columns = [column for column in SHOWN if column.header != "paper"]
    align = "".join("r" if column.number else "l" for column in columns)
    head = " & ".join(latex(column.header) for column in columns)
    body = []
    for row in shown:
        cells = [latex(column.text(row)) for column in columns]
        method = columns.index(next(column for column in columns if column.header == "method"))
        cells[method] += rf"~\cite{{{row.entry.paper}}}"
        body.append(" & ".join(cells) + r" \\")
    lines = [
        r"% needs \usepackage{booktabs}; `thinresnet leaderboard cite` prints the BibTeX of the papers",
        rf"\begin{{tabular}}{{{align}}}",
        r"\toprule",
        head + r" \\",
        r"\midrule",
        *body,
        r"\bottomrule",
        r"\end{tabular}",
    ]
    return "\n".join(lines) + "\n"


_LATEX = {
    "\\": r"\textbackslash{}", "{": r"\{", "}": r"\}", "&": r"\&", "%": r"\%", "$": r"\$", "#": r"\#", "_": r"\_",
    "~": r"\textasciitilde{}", "^": r"\textasciicircum{}", "<": r"\textless{}", ">": r"\textgreater{}",
    "|": r"\textbar{}", "\u00d7": r"$\times$", "\u00f7": r"$\div$", "\u00b1": r"$\pm$", "\u2264": r"$\leq$",
    "\u2265": r"$\geq$", "\u2248": r"$\approx$", "\u2192": r"$\to$", "\u221e": r"$\infty$", "\u00b7": r"$\cdot$",
    "\u2013": "--", "\u2014": "---", "\u2212": "$-$", "\u2018": "`", "\u2019": "'", "\u201c": "``", "\u201d": "''",
    "\u00b0": r"\textdegree{}", "\u2020": r"\dag{}", "\u2021": r"\ddag{}", "\u2191": r"$\uparrow$",
    "\u2193": r"$\downarrow$", "\u00b5": r"$\mu$", "\u2713": r"yes",
}  # fmt: skip
# Latin letters that LaTeX's default font encoding cannot set.
_NOT_IN_OT1 = frozenset("ÐÞðþĄąĐđĘęĦħĮįĸĿŀŉŊŋŦŧŲųſ")
_GREEK = re.compile(r"GREEK (SMALL|CAPITAL) LETTER (\w+)")
# Capitals that look like Latin ones have no command of their own.
_GREEK_CAPITALS = ("GAMMA", "DELTA", "THETA", "LAMBDA", "XI", "PI", "SIGMA", "UPSILON", "PHI", "PSI", "OMEGA")


def latex(text: str) -> str:
    """Plain text for pdfLaTeX: nothing in it is a command, and what its fonts lack is named by its code point."""
    return "".join(_latex_char(char) for char in text)


def _latex_char(char: str) -> str:
    if char in _LATEX:
        return _LATEX[char]
    if char.isascii() or ("\u00c0" <= char <= "\u017f" and char not in _NOT_IN_OT1):
        return char
    greek = _GREEK.fullmatch(unicodedata.name(char, "")) if "\u0391" <= char <= "\u03c9" else None
    if greek and (greek[1] == "SMALL" or greek[2] in _GREEK_CAPITALS) and greek[2] != "OMICRON":
        name = {"LAMDA": "LAMBDA"}.get(greek[2], greek[2])
        return rf"$\{name.lower() if greek[1] == 'SMALL' else name.capitalize()}$"
    folded = unicodedata.normalize("NFKD", char).encode("ascii", "ignore").decode()
    return "".join(_LATEX.get(each, each) for each in folded) or rf"\texttt{{U+{ord(char):04X}}}"


def _markdown(text: str) -> str:
    return re.sub(r"([\\`*_{}\[\]<>|#~&!])", r"\\\1", text)


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
    """Whether an entry stays within a budget that is typed as elsewhere: `2.05G` or, of its dense network, `50%`."""
    budget = Budget.parse(name, text)
    # A share that was printed as 50 % comes back from a product of floats.
    amount = float(budget.amount) * (1 + 1e-9)
    if budget.relative:
        return lambda entry: ((entry.macs_ratio if name == "macs" else entry.params_ratio) or float("inf")) <= amount
    if name == "macs":
        return lambda entry: (float("inf") if entry.macs_g is None else entry.macs_g * 1e9) <= amount
    return lambda entry: (float("inf") if entry.params_m is None else entry.params_m * 1e6) <= amount
