"""Rows, verdicts and matrices in few letters, for the page: 60,000 verdicts are a third of a megabyte.

Under one set of assumptions the verdicts of all rows are one string of `WIDTH` letters a row, which say the number of
a kind (outcome, what decided it, whether it rests on a wide gap, why there is none, the references), and the gaps in
hundredths of a point, in the order of the rows that have one.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from decimal import Decimal
from typing import Any

from thinresnet.leaderboard.describing import caveats, uncertainty_of
from thinresnet.leaderboard.matrix import Matrix
from thinresnet.leaderboard.references import ALL_ASSUMPTIONS
from thinresnet.leaderboard.schema import Entry
from thinresnet.leaderboard.verdicts import OUTCOMES, Verdict

DIGITS = "0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"
TEXTS = (
    "id", "dataset", "arch", "method", "family", "source", "paper", "locator", "read", "link", "recipe", "note",
    "evidence", "spread", "macsBasis", "paramsBasis", "caveats",
)  # fmt: skip
REFERENCE = "reference"


def numbers(values: Iterable[float | Decimal | None]) -> list[float | None]:
    """Figures with six digits."""
    return [None if value is None else float(f"{value:.6g}") for value in values]


def words(values: Sequence[str]) -> dict[str, list[Any]]:
    """A column of words: each once, and for every row which."""
    seen: dict[str, int] = {}
    rows = [seen.setdefault(value, len(seen)) for value in values]
    # Where nearly every row has a word of its own, which one is no news.
    return {"words": list(values)} if len(seen) == len(rows) else {"words": list(seen), "rows": rows}


def counts(values: Iterable[str]) -> Mapping[str, int]:
    """How often each occurs."""
    return Counter(values)


def text_of(name: str, entry: Entry) -> str:
    """What stands in one column of words."""
    made = {
        "read": lambda: " ".join(part for part in (entry.read_repo, entry.read_path, entry.read_commit[:10]) if part),
        "link": lambda: link(entry),
        "spread": lambda: uncertainty_of(entry),
        "macsBasis": lambda: entry.macs_basis,
        "paramsBasis": lambda: entry.params_basis,
        "caveats": lambda: "; ".join(caveats(entry)),
    }
    return made[name]() if name in made else str(getattr(entry, name))


def link(entry: Entry) -> str:
    """Where the number can be looked up, if what was read is a repository or a page."""
    if re.fullmatch(r"https?://[!-~]+", entry.read_repo):
        return entry.read_repo
    if not re.fullmatch(r"[\w.-]+/[\w.-]+", entry.read_repo, re.ASCII):
        return ""
    root = f"https://github.com/{entry.read_repo}"
    if entry.read_commit and re.fullmatch(r"[\w./-]+", entry.read_path, re.ASCII):
        return f"{root}/blob/{entry.read_commit}/{entry.read_path}"
    return root


def verdicts(
    entries: Sequence[Entry], judged: Mapping[str, Sequence[Verdict]], index: Mapping[str, int]
) -> dict[str, Any]:
    """All verdicts of all rows: the kinds that occur, and under each set of assumptions which row has which."""
    kinds: dict[tuple[object, ...], int] = {(REFERENCE, None, 0, "", ()): 0}
    cells: list[tuple[list[int], list[int]]] = []
    for number in range(len(ALL_ASSUMPTIONS)):
        which: list[int] = []
        gaps: list[int] = []
        for entry in entries:
            if entry.id not in judged:
                which.append(0)
                continue
            verdict = judged[entry.id][number]
            near = tuple(index[each.id] for each in verdict.neighbours if each.id in index)
            has_gap = int(verdict.gap is not None)
            kind = (verdict.outcome, verdict.decided, int(verdict.wide) + 2 * has_gap, verdict.why, near)
            which.append(kinds.setdefault(kind, len(kinds)))
            if verdict.gap is not None:
                gaps.append(round(100 * verdict.gap))
        cells.append((which, gaps))
    width = len(_letters(len(kinds)))
    return {
        "width": width,
        "kinds": list(kinds),
        "cells": [["".join(_letters(each).rjust(width, "0") for each in which), gaps] for which, gaps in cells],
    }


def matrix(found: Matrix) -> dict[str, Any]:
    """How many lose, tie, clear and are not judged, and the median gap, in each cell; and the gap taken apart."""
    return {
        "results": found.cells[0].results,
        "cells": [
            [*(len(cell.having(outcome)) for outcome in OUTCOMES), _hundredths(cell.median_gap)] for cell in found.cells
        ],
        "parts": [
            [part.results, *map(_hundredths, (part.median_gap, part.shape, part.recipe))]
            for part in found.decomposition
        ],
    }


def spread(found: Matrix) -> str:
    """Of the sets of assumptions on MACs, the smallest and the largest share that loses: `62 to 170 of 170`."""
    cells = [cell for cell in found.cells if cell.assumptions.budget == "macs" and cell.judged]
    if not cells:
        return ""
    few, *_, many = sorted((cell.loses / cell.judged, cell.loses, cell.judged) for cell in cells * 2)
    if few[1:] == many[1:]:
        return f"{many[1]} of {many[2]}"
    of_fewest = "" if few[2] == many[2] else f" of {few[2]}"
    return f"{few[1]}{of_fewest} to {many[1]} of {many[2]}"


def _hundredths(value: float | None) -> int | None:
    return None if value is None else round(100 * value)


def _letters(number: int) -> str:
    text = DIGITS[number % len(DIGITS)]
    while number := number // len(DIGITS):
        text = DIGITS[number % len(DIGITS)] + text
    return text
