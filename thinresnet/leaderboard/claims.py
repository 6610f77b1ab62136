"""Claims: figures that somebody types, and the run that has just finished, held against the board."""

from __future__ import annotations

from collections.abc import Mapping
from decimal import Decimal, InvalidOperation
from pathlib import Path
from typing import Any

from thinresnet.budget import Budget, short
from thinresnet.errors import InputError, nearest
from thinresnet.leaderboard import dense
from thinresnet.leaderboard.bar import Bar
from thinresnet.leaderboard.describing import TYPED_IN
from thinresnet.leaderboard.references import Assumptions, usual_references
from thinresnet.leaderboard.schema import DATASETS, Entry, parse
from thinresnet.leaderboard.store import default_board, read_board
from thinresnet.leaderboard.verdicts import judge
from thinresnet.result import teacher_of


def typed_in(
    *, arch: str, top1: str, macs: str = "", params: str = "", dataset: str = "imagenet", family: str = "pruned"
) -> Entry:
    """A row from figures that somebody typed: `macs` and `params` as budgets are written, `2.05G` or `50%`."""
    if dataset not in DATASETS:
        raise InputError(f"--dataset {dataset}: one of {', '.join(DATASETS)}{nearest(dataset, DATASETS)}")
    if arch not in dense.archs() and (macs.endswith("%") or params.endswith("%")):
        raise InputError(
            f"--arch {arch}: its dense cost has not been counted, so a share of it says nothing; give the cost itself"
            f"{nearest(arch, dense.archs())}"
        )
    cells = {
        "id": TYPED_IN, "source": "published", "dataset": dataset, "arch": arch, "method": "typed in",
        "family": family, "accuracy_unit": "accuracy", "top1_printed": top1, "cost_unit": "macs",
        "paper": TYPED_IN, "locator": "typed in", "hand": "first",
    }  # fmt: skip
    cells |= _typed_cost("macs", macs, "cost_printed_g", -9, "cost_kept_pct")
    cells |= _typed_cost("params", params, "params_printed_m", -6, "params_kept_pct")
    return _row(cells)


def in_percent(top1: str) -> str:
    """A typed accuracy, unless it looks like a fraction of one instead of percent."""
    try:
        figure = Decimal(top1)
    except InvalidOperation:
        return top1
    if 0 < figure <= 1:
        raise InputError(f"--top1 {top1}: top-1 accuracy is in percent; did you mean {(100 * figure).normalize():f}?")
    return top1


def place(result: Mapping[str, Any], board: Path | None = None) -> str:
    """Where a finished run (the mapping of its result.json) lands on the board, in one line."""
    dataset = str(result["dataset"])
    if dataset not in DATASETS:
        return f"not placed on the board: it has no dataset {dataset!r}"
    if result.get("top1_test") is None:
        return "not placed on the board: it was not tested"
    try:
        row = _row_of_run(result)
        bar = Bar(read_board(board or default_board()))
        assumptions = Assumptions(usual_references(row.arch))
        measured = judge(bar, row, assumptions)
        # Without a measured reference of its own kind, the published bar tells at least where it lies.
        said = measured.says if measured.neighbours else f"beside published results it {_published(bar, result)}"
    except InputError as error:
        # A run that is finished does not fail because of the board.
        return f"not placed on the board: {error}"
    return f"{row.top1} % top-1 at {short(result['macs'])} MACs on {dataset}: {said}"


def _published(bar: Bar, result: Mapping[str, Any]) -> str:
    claim = typed_in(
        arch=str(result["arch"]),
        dataset=str(result["dataset"]),
        top1=f"{result['top1_test']:.3f}",
        macs=str(result["macs"]),
        params=str(result["params"]),
    )
    said = judge(bar, claim, Assumptions(usual_references(claim.arch))).says
    return f"is {said}" if said.startswith("not") else said


def _row_of_run(result: Mapping[str, Any]) -> Entry:
    cells = {
        "id": "this-run", "source": "measured", "dataset": str(result["dataset"]), "arch": str(result["arch"]),
        "method": "this run", "family": "pruned" if result.get("initial_checkpoint") else "scaled",
        "accuracy_unit": "accuracy", "top1_printed": f"{result['top1_test']:.3f}", "n": "1", "cost_unit": "macs",
        "cost_printed_g": _scaled(str(result["macs"]), -9), "params_printed_m": _scaled(str(result["params"]), -6),
        "recipe": str(result.get("recipe") or ""), "teacher": teacher_of(result),
        "paper": "this-run", "locator": "result.json", "hand": "first",
    }  # fmt: skip
    # A fine-tuned run does not say how long its dense parent was trained: it has no measured rows of its kind.
    for column, key in (
        ("tune_epochs" if result.get("initial_checkpoint") else "train_epochs", "epochs"),
        ("test_resolution", "test_resolution"),
        ("train_resolution", "train_resolution"),
    ):
        if result.get(key) is not None:
            cells[column] = str(result[key])
    return _row(cells)


def _row(cells: Mapping[str, str]) -> Entry:
    entry, faults = parse({name: cell for name, cell in cells.items() if cell})
    if entry is None:
        raise InputError("; ".join(str(fault) for fault in faults))
    return entry


def _typed_cost(quantity: str, text: str, column: str, scale: int, share: str) -> dict[str, str]:
    """The cell of a typed budget, with as many digits as were typed."""
    if not text:
        return {}
    budget = Budget.parse(quantity, text)
    if budget.relative:
        return {share: format(Decimal(text.strip().rstrip("%")), "f")}
    figure = text.strip().rstrip("kKmMgGbBtT")
    exponent = {"k": 3, "m": 6, "g": 9, "b": 9, "t": 12}.get(text.strip()[-1].lower(), 0)
    return {column: _scaled(figure, exponent + scale)}


def _scaled(figure: str, exponent: int) -> str:
    return format(Decimal(figure).scaleb(exponent), "f")
