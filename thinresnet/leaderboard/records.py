"""Verdicts and matrices as plain values, for JSON: one form for programs, with the version of the rule in it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from decimal import Decimal

from thinresnet.leaderboard.matrix import Cell, Matrix, Part
from thinresnet.leaderboard.references import RULES, Assumptions
from thinresnet.leaderboard.verdicts import Verdict


def verdict_record(verdict: Verdict) -> dict[str, object]:
    """One verdict: its assumptions, its outcome and what it rests on."""
    return {
        **_assumptions(verdict.assumptions),
        "outcome": verdict.outcome,
        "decided": verdict.decided,
        "gap": plain(verdict.gap),
        "tie_within": plain(verdict.tie_within),
        "neighbours": [entry.id for entry in verdict.neighbours],
        "says": verdict.says,
    }


def claim_record(claim: Mapping[str, object], verdicts: Sequence[Verdict]) -> dict[str, object]:
    """A claim, or a row of the board, under every set of assumptions."""
    return {"rules": RULES, "claim": dict(claim), "verdicts": [verdict_record(verdict) for verdict in verdicts]}


def matrix_record(matrix: Matrix) -> dict[str, object]:
    """The matrix of one network, with the decomposition of its gaps."""
    return {
        "rules": matrix.rules,
        "arch": matrix.arch,
        "dataset": matrix.dataset,
        "matrix": [_cell(cell) for cell in matrix.cells],
        "decomposition": {
            "says": "gap = shape - recipe, row by row; medians over the results that lie on both curves",
            "parts": [_part(part) for part in matrix.decomposition],
        },
    }


def plain(value: object) -> object:
    """A figure as JSON knows it, with no more digits than it means."""
    return round(float(value), 6) if isinstance(value, Decimal | float) else value


def _cell(cell: Cell) -> dict[str, object]:
    names = ("results", "judged", "loses", "ties", "clears", "unjudged", "median_gap")
    return {**_assumptions(cell.assumptions), **{name: plain(getattr(cell, name)) for name in names}}


def _part(part: Part) -> dict[str, object]:
    held = {name: value for name, value in _assumptions(part.assumptions).items() if name != "recipes"}
    names = ("results", "median_gap", "recipe", "shape")
    return {**held, **{name: plain(getattr(part, name)) for name in names}}


def _assumptions(assumptions: Assumptions) -> dict[str, object]:
    return {name: getattr(assumptions, name) for name in ("references", "recipes", "resolution", "budget")}
