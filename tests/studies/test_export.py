"""From a study onto a board: one row a line, evidence of every seed, no weights, and the board's own rules kept."""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from tests.studies.conftest import STUDY
from thinresnet.errors import InputError
from thinresnet.leaderboard.adding import add_runs
from thinresnet.leaderboard.check import check
from thinresnet.leaderboard.cite import PROJECT
from thinresnet.leaderboard.papers import render_bib
from thinresnet.leaderboard.store import read_board, render
from thinresnet.studies.export import export
from thinresnet.studies.graphs import read_graphs
from thinresnet.studies.report import markdown, tables, write_report
from thinresnet.studies.summaries import distinct, summaries
from thinresnet.studies.verdicts import MACS, bar_of, verdict

Finish = Callable[..., Any]


@pytest.fixture
def board(tmp_path: Path) -> Path:
    """An empty board."""
    path = tmp_path / "leaderboard.csv"
    path.write_text(render([]), encoding="utf-8")
    path.with_suffix(".bib").write_text(render_bib([PROJECT]), encoding="utf-8")
    return path


def test_rows_and_evidence(finish: Finish, board: Path) -> None:
    graph, store = finish()
    said = export(graph, store, add_runs, board=board)
    assert said[-1] == "0 stood there already, 0 wait for seeds"
    rows = {row.method: row for row in read_board(board)}
    families = {name.split(", macs 50%")[0]: row.family for name, row in rows.items()}
    assert families == {
        "dense, short": "dense",
        "plain width": "scaled",
        "interior width": "scaled",
        "l1, fine-tuned": "pruned",
        "l1, Scratch-E": "scratch",
        "l1, guided (our rule)": "scratch",
    }
    assert check(board) == []
    found = {line.name: line for line in summaries(graph, store)}
    tuned = rows["l1, fine-tuned, macs 50%, short"]
    assert (tuned.n, tuned.top1_printed, tuned.dense_epochs, tuned.tune_epochs) == (2, Decimal("83.611"), 2, 1)
    assert tuned.prune_epochs == math.ceil(1000 / 1293)
    assert tuned.training_macs == pytest.approx(found["l1, fine-tuned"].training_macs_with_search)
    # Each seed found a shape of its own: the costliest is what the row says.
    assert tuned.macs_g == pytest.approx(max(result.macs for result in found["l1, fine-tuned"].results) / 1e9)
    kept = sorted(
        path.relative_to(board.parent / tuned.evidence).as_posix()
        for path in (board.parent / tuned.evidence).rglob("*.*")
    )
    names = [folder.name for folder in found["l1, fine-tuned"].folders]
    files = ("metrics.csv", "network.json", "recipe.yaml", "result.json")
    assert kept == sorted(f"{name}/{file}" for name in names for file in files)
    assert "with the search" in rows["l1, Scratch-E, macs 50%, short"].note


def test_distilled_rows_have_their_teacher_and_the_parent_s_training(
    finish: Finish, board: Path, tmp_path: Path
) -> None:
    path = tmp_path / "distilled.yaml"
    protocols = "protocols: [dense, scaled-width, prune-finetune]\ndistill: [none, dense]\n"
    path.write_text(re.sub("protocols: .*\n", protocols, STUDY), encoding="utf-8")
    (made,) = read_graphs(path)
    graph, store = finish(of=made)
    said = export(graph, store, add_runs, board=board)
    assert said[-1] == "0 stood there already, 0 wait for seeds"
    rows = {row.method: row for row in read_board(board)}
    assert {name: row.teacher for name, row in rows.items()} == {
        "dense, short": "",  # once, though both ways of training list it
        "plain width, macs 50%, short": "",
        "plain width, distilled, macs 50%, short-distilled": "resnet20_cifar dense",
        "l1, fine-tuned, macs 50%, short": "",
        "l1, fine-tuned, distilled, macs 50%, short-distilled": "resnet20_cifar dense",
    }
    width = rows["plain width, distilled, macs 50%, short-distilled"]
    parent, own = rows["dense, short"].training_macs, rows["plain width, macs 50%, short"].training_macs
    # The teacher's passes are not in results that nothing trained: the parent's training is.
    assert width.training_macs == pytest.approx(parent + own, rel=1e-6)
    assert check(board) == []
    found = {line.name: line for line in summaries(graph, store)}
    # Held against distilled plain width alone: against the dense network, which has no teacher, nothing is said.
    judged = verdict(found["l1, fine-tuned, distilled"], list(found.values()), MACS)
    assert judged.reference is found["plain width, distilled"]
    assert bar_of(found["l1, fine-tuned, distilled"], list(found.values())) is found["plain width, distilled"]


def test_a_row_without_a_dense_parent_states_no_epochs_of_one(finish: Finish, board: Path, tmp_path: Path) -> None:
    path = tmp_path / "sparse.yaml"
    changed = re.sub("protocols: .*\n", "protocols: [prune-finetune, sparse-train]\n", STUDY)
    path.write_text(changed.replace("[l1]", "[slimming]"), encoding="utf-8")
    (made,) = read_graphs(path)
    graph, store = finish(of=made)
    export(graph, store, add_runs, board=board)
    rows = {row.method.partition(", macs")[0]: row for row in read_board(board)}
    sparse, tuned = rows["slimming, trained sparsely from scratch"], rows["slimming, fine-tuned"]
    epochs = [(row.dense_epochs, row.prune_epochs, row.tune_epochs, row.train_epochs) for row in (sparse, tuned)]
    assert epochs == [(None, 1, 1, None), (2, 1, 1, None)]
    found = {line.name: line for line in summaries(graph, store)}
    # What it cost is said in full, so no epochs of a parent have to be known.
    cost = found["slimming, trained sparsely from scratch"].training_macs_with_search
    assert sparse.training_macs == pytest.approx(cost, rel=1e-6)
    assert check(board) == []


def test_a_row_that_was_not_finetuned_states_no_epochs_of_it(finish: Finish, board: Path, tmp_path: Path) -> None:
    path = tmp_path / "measured.yaml"
    changed = re.sub("protocols: .*\n", "protocols: [sparse-train, sparse-train-equal-total]\n", STUDY)
    path.write_text(changed.replace("[l1]", "[sfp]"), encoding="utf-8")
    (made,) = read_graphs(path)
    graph, store = finish(of=made)
    export(graph, store, add_runs, board=board)
    rows = read_board(board)
    assert [(row.family, row.dense_epochs, row.prune_epochs, row.tune_epochs) for row in rows] == [
        ("pruned", None, 1, 0),
        ("pruned", None, 1, 0),
    ]
    # All that was trained is the sparse training, as its records say.
    assert [row.training_macs for row in rows] == [pytest.approx((7_000_000 + 14_000_000) / 2)] * 2
    assert check(board) == []
    found = distinct(summaries(graph, store))
    (table,) = tables(found)
    total, spent = found[1].experiment.total_macs, found[1].training_macs_with_search
    assert total is not None
    by_name = {cells[0]: dict(zip(table.columns, cells, strict=True)) for cells in table.points["macs 50%"]}
    plain, equal = (by_name[name] for name in (own.name for own in found))
    assert (plain["last training"], plain["unspent %"]) == ("none", "")
    assert equal["unspent %"] == f"{100 * (total - spent) / total:.1f}" == "100.0"
    assert "unspent %: of an equal total" in markdown("measured", found)
    assert (tmp_path / "report").mkdir() is None
    assert all(file.stat().st_size for file in write_report(graph, found, tmp_path / "report"))


def test_again_adds_nothing(finish: Finish, board: Path) -> None:
    graph, store = finish()
    export(graph, store, add_runs, board=board)
    before = board.read_bytes()
    assert export(graph, store, add_runs, board=board) == ["6 stood there already, 0 wait for seeds"]
    assert board.read_bytes() == before


def test_lines_without_all_their_seeds_wait(finish: Finish, board: Path) -> None:
    graph, store = finish(when=lambda name: "scaled" in name or name.endswith("-s1"))
    assert export(graph, store, add_runs, board=board)[-1] == "0 stood there already, 4 wait for seeds"
    assert len(read_board(board)) == 2


def test_nothing_finished_is_one_line(finish: Finish, board: Path) -> None:
    graph, store = finish(when=lambda name: False)
    with pytest.raises(InputError, match="no experiment has all its seeds"):
        export(graph, store, add_runs, board=board)
