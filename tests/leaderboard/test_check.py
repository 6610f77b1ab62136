"""The check: every rule, broken once, is named by file, line, column, value and what is allowed."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from thinresnet.leaderboard.check import check, papers_missing
from thinresnet.leaderboard.schema import NAMES, Entry
from thinresnet.leaderboard.store import read_board, render
from thinresnet.leaderboard.tidying import tidy

ERRORS = {"top1_printed": "25.02", "dense_top1_printed": "23.85", "accuracy_unit": "error"}
DENSE = {"family": "dense", "dense_cost_printed_g": "", "cost_printed_g": "4.09"}
# Changes to a faultless row, the column that is blamed (empty: no fault), a word of what is allowed.
RULES: dict[str, tuple[dict[str, str], str, str]] = {
    "errors are fine": (ERRORS, "", ""),
    "no accuracy": ({"top1_printed": "", "dense_top1_printed": ""}, "top1_printed", "a row has an accuracy"),
    "spread without mean": ({"top1_printed": "", "top1_drop_printed": "1", "top1_std": "0.1"}, "top1_std", "without"),
    "not read anywhere": ({"read_repo": ""}, "read_repo", "was read"),
    "evidence of a paper": ({"evidence": "baselines/results/x"}, "evidence", "locator"),
    "the JPEG copy": ({"dataset": "cifar10-jpeg", "arch": "resnet56_cifar", "cost_unit": "unknown"}, "dataset", "copy"),
    "an unknown network": ({"arch": "resnet5l"}, "arch", "did you mean 'resnet50'"),
    "a network of another dataset": ({"arch": "resnet56_cifar"}, "arch", "counted for imagenet"),
    "a dense row with a cut": ({**DENSE, "cost_cut_pct": "0"}, "cost_cut_pct", "dense row"),
    "a dense row of another network": ({**DENSE, "cost_printed_g": "2.1"}, "cost_printed_g", "near"),
    "a dense row, two a MAC": ({**DENSE, "cost_printed_g": "8.2", "cost_unit": "2-per-mac"}, "", ""),
    "a dense row of other parameters": ({**DENSE, "params_printed_m": "12.1"}, "params_printed_m", "near"),
    "epochs of its own for a pruned row": ({"train_epochs": "90"}, "train_epochs", "dense_epochs"),
    "tuning of a scaled row": ({"family": "scaled", "tune_epochs": "9"}, "tune_epochs", "train_epochs"),
    "a cut that does not fit": ({"cost_cut_pct": "30.0"}, "cost_cut_pct", "56.2% kept"),
    "a cut that fits": ({"cost_cut_pct": "43.7"}, "", ""),
    "a cut within a point": ({"cost_cut_pct": "44.8"}, "", ""),
    "a cut just beyond": ({"cost_cut_pct": "45.1"}, "cost_cut_pct", "cost-doubtful"),
    "a whole-numbered cut": ({"cost_cut_pct": "45"}, "", ""),
    "a speed-up that does not fit": ({"speedup_x": "2.5"}, "speedup_x", "cost-doubtful"),
    "a speed-up that fits": ({"speedup_x": "1.78"}, "", ""),
    "doubtful, without a reason": ({"speedup_x": "2.5", "flags": "cost-doubtful"}, "note", "cost-doubtful"),
    "doubtful, with a reason": (
        {"speedup_x": "2.5", "flags": "cost-doubtful", "note": "x2.5 is of the convolutions"},
        "",
        "",
    ),
    "parameters that do not fit": (
        {"params_cut_pct": "50", "params_kept_pct": "30"},
        "params_cut_pct",
        "params-doubtful",
    ),
    "a drop that does not fit": ({"top1_drop_printed": "0.17"}, "top1_drop_printed", "1.17"),
    "a drop that fits": ({"top1_drop_printed": "1.17"}, "", ""),
    "a rounded drop": ({"top1_drop_printed": "1.2"}, "", ""),
    "a drop of errors": ({**ERRORS, "top1_drop_printed": "1.17"}, "", ""),
    "below guessing": ({"top1_printed": "0.01"}, "top1_printed", "guessing"),
    "above the best": ({"top1_printed": "97.1"}, "top1_printed", "best"),
    "an error called accuracy": ({"dense_top1_printed": "93.2"}, "dense_top1_printed", "best"),
    "top-5 below top-1": ({"top5_printed": "70.1"}, "top5_printed", "top-1"),
    "an unknown paper": ({"paper": "lin2020hrnk"}, "paper", "did you mean 'lin2020hrank'"),
    "measured without a run": ({"source": "measured"}, "evidence", "empty for a measured row"),
}


@pytest.mark.parametrize("case", RULES)
def test_a_broken_rule_is_named(board: Path, make: Callable[..., Entry], case: str) -> None:
    changes, column, said = RULES[case]
    rows = [
        make(top1_printed="68.98"),
        make(id="lin2020hrank-resnet50-000003", **{"top1_printed": "70.11", "dense_top1_printed": "", **changes}),
    ]
    if "top1_drop_printed" in changes or changes.get("accuracy_unit") == "error" or "dense_top1_printed" in changes:
        rows[1] = make(id="lin2020hrank-resnet50-000003", **{"locator": "Table 5", "n": "1", **changes})
    board.write_text(render(rows), encoding="utf-8")
    problems = check(board)
    if not column:
        assert not problems, [str(problem) for problem in problems]
        return
    found = problems[0]
    line = 2 + [entry.id for entry in read_board(board)].index("lin2020hrank-resnet50-000003")
    assert (found.file, found.line, found.column) == (str(board), line, column)
    assert said in found.allowed
    assert found.value in (changes.get(column, ""), found.value)
    assert "\n" not in str(found)


def test_a_clean_board_has_no_problem(board: Path) -> None:
    assert check(board) == []


def test_every_broken_cell_of_every_row_is_told_at_once(board: Path) -> None:
    text = board.read_text().replace("74.98", "nan").replace("71.98", "71,98").replace("imagenet", "Imagenet")
    board.write_text(text)
    problems = check(board)
    assert {(problem.line, problem.column) for problem in problems} >= {(2, "dataset"), (3, "row"), (2, "top1_printed")}


def test_one_row_twice_is_told_by_both_lines(board: Path, make: Callable[..., Entry]) -> None:
    rows = [make(), make(note="read again")]
    board.write_text(render(rows), encoding="utf-8")
    assert [(problem.line, problem.column) for problem in check(board)] == [(3, "id"), (3, "row")]
    assert "line 2" in check(board)[0].allowed


@pytest.mark.parametrize(
    ("data", "line", "said"),
    [
        (b"\xff\xfe", 1, "UTF-8"),
        (b"id\nx\n", 1, "missing"),
        (",".join(NAMES).encode() + b'\n\n"x', 3, "quoting"),
    ],
)
def test_a_file_that_is_no_board_is_one_problem(board: Path, data: bytes, line: int, said: str) -> None:
    board.write_bytes(data)
    problems = check(board)
    assert problems[0].line == line
    assert said in str(problems[0])


def test_an_optional_column_that_is_not_there_is_empty_and_filled_in(board: Path) -> None:
    """A board written before a column existed: read as it is, told to be untidy, rewritten by `check --fix`."""
    before = read_board(board)
    lines = [line.split(",") for line in board.read_text().splitlines()]
    at = lines[0].index("note")
    board.write_text("\n".join(",".join(cells[:at] + cells[at + 1 :]) for cells in lines) + "\n")
    assert read_board(board) == before
    assert [(problem.line, problem.column) for problem in check(board)] == [(1, "form")]
    assert "--fix" in check(board)[0].allowed
    assert tidy(board)
    assert check(board) == []
    assert read_board(board) == before


def test_a_required_column_that_is_not_there_is_refused(board: Path) -> None:
    board.write_text(board.read_text().replace("id,source,dataset", "id,source,dataaset", 1))
    assert "'dataaset' is not a column" in str(check(board)[0])
    board.write_text("\n".join(line.split(",", 1)[1] for line in board.read_text().splitlines()) + "\n")
    assert "dataaset" in str(check(board)[0]) or "'id' is missing" in str(check(board)[0])


def test_what_is_not_known_of_a_paper_is_said(board: Path) -> None:
    assert papers_missing(board) == {"thinresnet": ["authors", "year", "link"]}


def test_the_papers_are_checked_too(board: Path) -> None:
    bib = board.with_suffix(".bib")
    clean = bib.read_text()
    bib.write_text(clean + "\n@misc{zz1, title = {A & B}}\n")
    assert [(problem.file, problem.line) for problem in check(board)] == [(str(bib), 14)]
    bib.write_text(clean.replace("  year", "year"))
    assert [(problem.line, problem.column) for problem in check(board)] == [(4, "form")]
    bib.unlink()
    assert "cannot be read" in str(check(board)[0])


def test_a_measured_row_is_worked_out_again_from_its_evidence(
    board: Path,
    make: Callable[..., Entry],
    run_result: Callable[..., dict[str, object]],
    write_run: Callable[..., None],
) -> None:
    from thinresnet.leaderboard.measured import cells_of

    results = [run_result(seed=seed, correct=300 + seed) for seed in (1, 2, 3)]
    row = {**cells_of(results, "scaled", ema=False), "evidence": "baselines/results/x", "family": "scaled"}
    row |= {"paper": "thinresnet", "cost_unit": "macs", "dense_top1_printed": "", "locator": "result.json"}
    board.write_text(render([make(**row)]), encoding="utf-8")
    assert [problem.column for problem in check(board)] == ["evidence"]
    for result in results:
        folder = board.parent / "baselines/results/x" / str(result["run"])
        write_run(folder, result)
    assert check(board) == []
    shutil.rmtree(folder)
    write_run(folder, run_result(seed=3, correct=350))
    assert [problem.column for problem in check(board)] == ["top1_printed", "top1_std"]
