"""Studies from Python: read, run, table."""

from __future__ import annotations

import io
import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from thinresnet import studies
from thinresnet.errors import InputError
from thinresnet.studies.graph import StudyGraph

STUDY = """
study: tiny
arch: resnet20_cifar
dataset: digits
recipes: {short: {recipe: digits, epochs: 1, warmup_epochs: 0}}
budgets: [macs: 3%]
protocols: [scaled-width]
seeds: [1]
"""


def test_a_table_has_what_show_prints(graph: StudyGraph, finish: Callable[..., Any]) -> None:
    _, store = finish()
    table = studies.table(graph, store.root.parent)
    assert repr(table) == f"<StudyTable made-up: {len(table.records)} of {len(table.records)} rows have results>"
    width = next(record for record in table.records if record["name"] == "plain width")
    assert width["top1"]["values"] == pytest.approx([90.0, 100 * 328 / 360])
    shown = table._repr_html_()
    assert "<td" in shown
    assert "plain width" in shown
    assert str(table).startswith("# made-up\n")
    assert json.dumps(table.records)


def test_nothing_finished_is_refused_in_a_line(graph: StudyGraph, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"^study made-up: nothing is finished in .*; studies\.run it first$"):
        studies.table(graph, tmp_path)


def test_read_run_and_run_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It trains for a second, says so where somebody looks on, and is not done again."""
    file = tmp_path / "study.yaml"
    file.write_text(STUDY, encoding="utf-8")
    (study,) = studies.read(file)
    assert repr(study) == f"<StudyGraph tiny: {len(study.stages)} stages>"
    monkeypatch.setattr(sys, "stderr", io.StringIO())
    assert studies.run(study, tmp_path / "runs") == {}
    assert sys.stderr.getvalue() == ""
    monkeypatch.setitem(sys.modules, "ipykernel", sys)
    assert studies.run(study, tmp_path / "runs") == {}
    assert f"{len(study.stages)} of {len(study.stages)} stages are finished already" in sys.stderr.getvalue()
    assert studies.table(study, tmp_path / "runs").records[-1]["seeds"] == [1]
    with pytest.raises(InputError, match=r"^studies\.run: jobs: takes 1 or more, got 0$"):
        studies.run(study, tmp_path, jobs=0)
    with pytest.raises(InputError, match="no such study"):
        studies.read(file, only="other")
