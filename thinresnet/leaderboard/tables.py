"""One table of rows, written for a terminal, JSON, CSV, Markdown or LaTeX."""

from __future__ import annotations

import csv
import io
import json
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal

from thinresnet.errors import InputError, nearest
from thinresnet.leaderboard.latex import latex
from thinresnet.leaderboard.records import plain, verdict_record
from thinresnet.leaderboard.references import RULES
from thinresnet.leaderboard.schema import NAMES, Entry, format_row
from thinresnet.leaderboard.show import Row, Under


@dataclass(frozen=True)
class Shown:
    """One column of a table: its header, what stands in it and whether it holds numbers."""

    header: str
    text: Callable[[Row], str]
    number: bool = False


def _figure(value: float | Decimal | None, digits: str = ".2f") -> str:
    return "" if value is None else f"{value:{digits}}"


# Columns by the names that `--columns` takes.
SHOWN: Mapping[str, Shown] = {
    "id": Shown("id", lambda row: row.entry.id),
    "dataset": Shown("dataset", lambda row: row.entry.dataset),
    "arch": Shown("network", lambda row: row.entry.arch),
    "method": Shown("method", lambda row: row.entry.method),
    "family": Shown("family", lambda row: row.entry.family),
    "top1": Shown("top-1 %", lambda row: _figure(row.entry.top1), number=True),
    "drop": Shown("drop", lambda row: _figure(row.entry.top1_drop), number=True),
    "macs": Shown("MACs G", lambda row: _figure(row.entry.macs_g, ".4g"), number=True),
    "ratio": Shown("of dense", lambda row: _figure(row.entry.macs_ratio, ".1%"), number=True),
    "params": Shown("params M", lambda row: _figure(row.entry.params_m, ".4g"), number=True),
    "year": Shown("year", lambda row: str(row.year or ""), number=True),
    "paper": Shown("paper", lambda row: row.entry.paper),
    "verdict": Shown("verdict", lambda row: row.says),
    "gap": Shown("gap", lambda row: _figure(row.verdict.gap if row.verdict else None, "+.2f"), number=True),
}
_ALL = tuple(name for name in SHOWN if name != "gap")
# A LaTeX table fits one column of a paper with these.
_IN_ONE_COLUMN = ("method", "top1", "macs", "verdict")
# What a terminal always shows, and what it adds while it has room, the most telling first.
_ALWAYS = ("id", "method", "top1", "macs", "verdict")
_WHERE_WIDE = ("arch", "dataset", "params", "ratio", "year", "family", "drop")
# A method's name has at least so much room on a line of its own; else it stands above its id.
_METHOD_WIDTH = 24
# Between two columns of a terminal's table.
_GAP = 2


def columns_named(text: str) -> tuple[str, ...]:
    """The columns that a user lists, `method,top1,macs`; none where nothing is listed."""
    names = tuple(name.strip() for name in text.split(",")) if text else ()
    for name in names:
        if name not in SHOWN:
            raise InputError(f"--columns {name}: one of {', '.join(SHOWN)}{nearest(name, SHOWN)}")
        if names.count(name) > 1:
            raise InputError(f"--columns {text}: {name} stands there twice; each column once")
    return names


def columns_that_fit(shown: Sequence[Row], width: int) -> tuple[str, ...]:
    """The columns for a terminal of this width; without `id` where that belongs below the method."""
    widths = {name: _width(name, shown) for name in SHOWN}
    used = sum(widths[name] + _GAP for name in _ALWAYS)
    kept = list(_ALWAYS)
    if used > width:
        kept.remove("id")
        used -= widths["id"] + widths["method"] + _GAP - max(widths["id"], widths["method"])
    for name in _WHERE_WIDE:
        # What is the same in every row is said in the title, and what no row has nowhere.
        texts = {SHOWN[name].text(row) for row in shown}
        if texts == {""} or (name in ("arch", "dataset") and len(texts) == 1):
            continue
        if used + widths[name] + _GAP <= width:
            used += widths[name] + _GAP
            kept.append(name)
    return tuple(name for name in SHOWN if name in kept)


def _width(name: str, shown: Sequence[Row]) -> int:
    longest = max([len(SHOWN[name].header), *(len(SHOWN[name].text(row)) for row in shown)])
    return min(longest, _METHOD_WIDTH) if name == "method" else longest


def as_json(shown: Iterable[Row], under: Under, columns: Sequence[str] = ()) -> str:
    """Everything that is known of the rows: as printed, as derived, and the verdict; or only some columns."""
    if columns:
        listed = [{name: SHOWN[name].text(row) for name in columns} for row in shown]
    else:
        listed = [record(row) for row in shown]  # type: ignore[misc]
    value = {"rules": RULES, "verdicts": under.says, "rows": listed}
    return json.dumps(value, indent=1, ensure_ascii=False) + "\n"


def record(row: Row) -> dict[str, object]:
    """One row as plain values."""
    entry = row.entry
    derived = {
        "top1": entry.top1, "top5": entry.top5, "top1_drop": entry.top1_drop, "macs_g": entry.macs_g,
        "macs_ratio": entry.macs_ratio, "macs_basis": entry.macs_basis or None, "params_m": entry.params_m,
        "params_ratio": entry.params_ratio, "params_basis": entry.params_basis or None,
        "training_macs": entry.training_macs, "year": row.year,
    }  # fmt: skip
    return {
        "printed": cells(entry),
        "derived": {name: plain(value) for name, value in derived.items()},
        "reference": row.verdict is None,
        "verdict": None if row.verdict is None else verdict_record(row.verdict),
    }


def cells(entry: Entry) -> dict[str, str]:
    """The cells of a row that are not empty."""
    return {name: cell for name, cell in zip(NAMES, format_row(entry), strict=True) if cell}


def as_csv(shown: Iterable[Row], _: Under, columns: Sequence[str] = ()) -> str:
    """The table as CSV, with the version of the rule in every row.

    Cells hold no formulas: the board refuses text that begins as one.
    """
    names = columns or _ALL
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow([*(SHOWN[name].header for name in names), "rules"])
    writer.writerows([*(SHOWN[name].text(row) for name in names), RULES] for row in shown)
    return text.getvalue()


def as_markdown(shown: Iterable[Row], under: Under, columns: Sequence[str] = ()) -> str:
    """The table in Markdown; what stands in a cell is text, never markup."""
    chosen = [SHOWN[name] for name in columns or _ALL]
    head = "| " + " | ".join(column.header for column in chosen) + " |\n"
    rule = "|" + "|".join("---:" if column.number else "---" for column in chosen) + "|\n"
    body = ("| " + " | ".join(_markdown(column.text(row)) for column in chosen) + " |\n" for row in shown)
    return f"{head}{rule}{''.join(body)}\nVerdicts by rule {RULES}: {under.says}.\n"


def as_latex(shown: Iterable[Row], under: Under, columns: Sequence[str] = ()) -> str:
    """The table as a tabular with booktabs' rules; what stands in a cell is text, never a command."""
    names = columns or _IN_ONE_COLUMN
    chosen = [SHOWN[name] for name in names]
    # A method's name may be long: its column is as wide as what the figures leave of a paper's column.
    kinds = {"method": r"p{0.4\columnwidth}"} if not columns else {}
    align = "".join(kinds.get(name, "r" if SHOWN[name].number else "l") for name in names)
    cited = names.index("method") if "method" in names else -1
    body = []
    for row in shown:
        texts = [latex(column.text(row)) for column in chosen]
        if cited >= 0:
            texts[cited] += rf"~\cite{{{row.entry.paper}}}"
        if kinds:
            texts[cited] = rf"{{\raggedright {texts[cited]}\par}}"
        body.append(" & ".join(texts) + r" \\")
    lines = [
        r"% needs \usepackage{booktabs}; `thinresnet leaderboard cite` prints the BibTeX of the papers",
        f"% verdicts by rule {RULES} of thinresnet: {latex(under.says)}",
        r"{\small\setlength{\tabcolsep}{3pt}%",
        rf"\begin{{tabular}}{{{align}}}",
        r"\toprule",
        " & ".join(latex(column.header) for column in chosen) + r" \\",
        r"\midrule",
        *body,
        r"\bottomrule",
        r"\end{tabular}}",
    ]
    return "\n".join(lines) + "\n"


def _markdown(text: str) -> str:
    return re.sub(r"([\\`*_{}\[\]<>|#~&!])", r"\\\1", text)
