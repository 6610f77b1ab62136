"""Figures that somebody types, the run that has just finished, and the Python API around them."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from thinresnet import leaderboard
from thinresnet.errors import InputError
from thinresnet.leaderboard.adding import add_rows
from thinresnet.leaderboard.claims import place, typed_in
from thinresnet.leaderboard.records import claim_record
from thinresnet.leaderboard.schema import Entry
from thinresnet.leaderboard.store import render

Make = Callable[..., Entry]
BARE = {"dense_top1_printed": "", "cost_printed_g": "", "dense_cost_printed_g": ""}


def test_figures_typed_in_keep_their_digits() -> None:
    claim = typed_in(arch="resnet50", top1="76.0", macs="2050M", params="12.5M")
    assert (str(claim.cost_printed_g), str(claim.params_printed_m), str(claim.top1)) == ("2.050", "12.5", "76.0")
    share = typed_in(arch="resnet50", top1="76", macs="50%", params="50%")
    assert share.macs_g == pytest.approx(4.089184256 / 2)
    assert share.params_m == pytest.approx(25.557032 / 2)
    assert str(typed_in(arch="resnet50", top1="76", macs="4089184256").cost_printed_g) == "4.089184256"
    assert str(typed_in(arch="resnet50", top1="76", macs="2.05e9").cost_printed_g) == "2.05"


@pytest.mark.parametrize(
    ("figures", "said"),
    [
        ({"top1": "760"}, r"top1_printed: '760' is not a plain number"),
        ({"top1": "seventy"}, r"top1_printed: 'seventy' is not a plain number"),
        ({"macs": "2.05Q"}, r"--macs 2\.05Q: not a budget"),
        ({"macs": "0"}, r"--macs 0: a budget is greater than zero"),
        ({"dataset": "imagnet"}, r"--dataset imagnet: .*did you mean 'imagenet'"),
        ({"arch": "resnet42", "macs": "50%"}, r"--arch resnet42: its dense cost has not been counted"),
        ({"arch": "ResNet 50"}, r"arch: 'ResNet 50' is not"),
    ],
)
def test_wrong_figures_are_refused_with_what_is_allowed(figures: dict[str, str], said: str) -> None:
    with pytest.raises(InputError, match=said):
        typed_in(**{"arch": "resnet50", "top1": "76", **figures})  # type: ignore[arg-type]


def test_a_run_is_placed_in_one_line(make: Make, tmp_path: Path) -> None:
    board = tmp_path / "leaderboard.csv"
    board.write_text(render([make(id="ref", **BARE, family="dense", top1_printed="80.86")]), encoding="utf-8")
    result = {
        "dataset": "imagenet", "arch": "resnet50", "top1_test": 81.5, "macs": 4089184256, "params": 25557032,
        "recipe": "imagenet-a3", "epochs": 100, "test_resolution": 224, "train_resolution": 160,
        "initial_checkpoint": None,
    }  # fmt: skip
    line = place(json.loads(json.dumps(result)), board)
    start = "81.500 % top-1 at 4.089G MACs on imagenet: beside published results it clears by 0.64 points against plain"
    assert line.startswith(start)
    assert "\n" not in line
    assert place({**result, "dataset": "my photos"}, board) == "not placed on the board: it has no dataset 'my photos'"
    assert "it is not judged against plain ResNets" in place({**result, "dataset": "cifar10"}, board)
    missing = place(result, tmp_path / "none.csv")
    assert re.match(r"not placed on the board: .*none\.csv.*cannot be read", missing)
    assert place({**result, "top1_test": None}, board) == "not placed on the board: it was not tested"
    assert place({**result, "top1_test": float("nan")}, board).startswith("not placed on the board: top1_printed")


def test_a_run_beside_measured_ones_of_its_kind(make: Make, tmp_path: Path) -> None:
    board = tmp_path / "leaderboard.csv"
    own = {"source": "measured", "recipe": "imagenet-a3", "train_epochs": "100", "n": "3", "top1_std": "0.2"}
    measured = make(id="ref", **{**BARE, "family": "scaled", "cost_printed_g": "2", "top1_printed": "75", **own})
    board.write_text(render([measured]), encoding="utf-8")
    result = {
        "dataset": "imagenet", "arch": "resnet50", "top1_test": 74, "macs": 2000000000, "params": 12000000,
        "recipe": "imagenet-a3", "epochs": 100,
    }  # fmt: skip
    assert place(result, board) == (
        "74.000 % top-1 at 2G MACs on imagenet: not judged against plain ResNets, any recipe, on MACs: "
        "1 seed: no verdict, gap -1.00 points."
    )
    tuned = place({**result, "initial_checkpoint": {"sha256": "ab"}}, board)
    assert tuned.startswith("74.000 % top-1 at 2G MACs on imagenet: beside published results it loses by 1.00 points")


def test_the_api_answers_with_the_same_as_dataclasses(make: Make) -> None:
    reference = make(id="ref", **{**BARE, "family": "scaled", "cost_printed_g": "2", "top1_printed": "75"})
    row = make(**{**BARE, "cost_printed_g": "2.0", "top1_printed": "76"})
    board = [reference, row]
    found = leaderboard.compare("resnet50", board=board)
    assert isinstance(found, leaderboard.Matrix)
    assert found.cells[0].clears == 1
    claim = leaderboard.compare("resnet50", macs="2G", top1=76.0, board=board)
    assert [each.assumptions for each in claim.verdicts] == list(leaderboard.ALL_ASSUMPTIONS)
    assert claim.verdicts[0].gap == 1.0
    assert leaderboard.compare("resnet50", params=12e6, top1="76", board=board).entry.params_m == 12
    assert leaderboard.verdict(row, board=board).assumptions == leaderboard.Assumptions("plain ResNets")
    assert leaderboard.verdict(row, board=leaderboard.Bar(board)).outcome == "clears"
    assert len(leaderboard.read_board()) > 1000
    with pytest.raises(InputError, match="macs, params: the costs of a claim"):
        leaderboard.compare("resnet50", macs="2G", board=board)  # type: ignore[call-overload]
    with pytest.raises(InputError, match="top1: the accuracy of a claim"):
        leaderboard.compare("resnet50", top1=76, board=board)
    with pytest.raises(InputError, match="did you mean 'resnet50'"):
        leaderboard.compare("resnet51", board=board)


def test_the_api_adds_rows_whole_or_not_at_all(board: Path) -> None:
    row = {
        "paper": "lin2020hrank", "dataset": "imagenet", "arch": "resnet50", "method": "HRank again",
        "family": "pruned", "top1": "69.10", "dense_top1": "76.15", "macs": "0.98G", "dense_macs": "4.09G",
        "locator": "Table 4, row 4", "read_repo": "lmbxmu/HRank",
    }  # fmt: skip
    before = board.read_bytes()
    with pytest.raises(InputError, match=r"row 2: .*arch"):
        add_rows(row, {**row, "arch": "ResNet 50", "method": "another"}, board=board)
    with pytest.raises(InputError, match="accept_doubts=True"):
        add_rows({**row, "top1": "99.10"}, board=board)
    assert board.read_bytes() == before
    (added,) = add_rows(row, board=board)
    assert added in leaderboard.read_board(board)


def test_the_record_of_a_claim_has_exactly_these_keys(make: Make) -> None:
    reference = make(id="ref", **{**BARE, "family": "scaled", "cost_printed_g": "2", "top1_printed": "75"})
    claim = leaderboard.compare("resnet50", macs="2G", top1=76.0, board=[reference])
    said = claim_record({"arch": "resnet50"}, claim.verdicts)
    assert list(said) == ["rules", "claim", "verdicts"]
    first = json.loads(json.dumps(said))["verdicts"][0]
    assert {name: value for name, value in first.items() if name != "says"} == {
        "references": "same architecture", "recipes": "any", "resolution": "any", "budget": "macs",
        "outcome": "clears", "decided": "outright", "gap": 1.0, "tie_within": 0.2, "neighbours": ["ref"],
    }  # fmt: skip


def test_importing_the_api_is_light() -> None:
    code = (
        "import sys; before = set(sys.modules); import thinresnet.leaderboard\n"
        "print(sorted({'torch', 'timm', 'numpy', 'pandas', 'rich', 'typer', 'jinja2', 'altair'}"
        " & (set(sys.modules) - before)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
