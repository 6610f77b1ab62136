"""What changed between two boards."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from decimal import Decimal
from pathlib import Path

from typer.testing import CliRunner

from thinresnet.cli import app
from thinresnet.leaderboard.difference import Difference, difference
from thinresnet.leaderboard.schema import Entry
from thinresnet.leaderboard.store import render

DENSE = {"family": "scaled", "dense_top1_printed": "", "dense_cost_printed_g": ""}


def _boards(make: Callable[..., Entry]) -> tuple[list[Entry], list[Entry]]:
    """A row clears the one reference; then a better one comes, a row is corrected and another leaves."""
    weak = make(id="ref-weak", top1_printed="74.00", cost_printed_g="2.30", **DENSE)
    rows = [weak, make(id="row-same"), make(id="row-corrected", top1_printed="71.00"), make(id="row-gone")]
    strong = make(id="ref-strong", top1_printed="76.00", cost_printed_g="2.29", **DENSE)
    corrected = replace(rows[2], top1_printed=Decimal("71.50"))
    return rows, [weak, strong, rows[1], corrected]


def test_new_changed_gone_and_moved(make: Callable[..., Entry]) -> None:
    before, after = _boards(make)
    found = difference(before, after)
    assert [row.entry.id for row in found.new] == ["ref-strong"]
    assert [(one.row.entry.id, one.columns) for one in found.changed] == [("row-corrected", ("top1_printed",))]
    assert [entry.id for entry in found.gone] == ["row-gone"]
    assert [(one.after.entry.id, one.before.outcome, one.after.outcome) for one in found.moved] == [
        ("row-same", "clears", "loses")
    ]
    assert difference(after, after) == Difference((), (), (), ())


def test_the_verb_says_it(make: Callable[..., Entry], tmp_path: Path) -> None:
    for name, rows in zip(("before", "after"), _boards(make), strict=True):
        (tmp_path / f"{name}.csv").write_text(render(rows), encoding="utf-8")
    words = ["leaderboard", "diff", str(tmp_path / "before.csv"), "--board", str(tmp_path / "after.csv")]
    said = CliRunner().invoke(app, words)
    assert said.exit_code == 0, said.output
    assert "moved    row-same: clears 0.98, now loses 1.02" in said.output
    assert said.output.endswith("1 new, 1 changed, 1 gone, 1 verdicts of other rows moved\n")
    read = json.loads(CliRunner().invoke(app, [*words, "--json"]).output)
    assert read["moved"] == [{"id": "row-same", "before": "clears 0.98", "after": "loses 1.02"}]
