"""Rules between rows: clean on the board, and each finds the errors that it was made for when they are put back."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterable
from dataclasses import replace
from pathlib import Path

import pytest

import thinresnet
from thinresnet.leaderboard.between import faults_between
from thinresnet.leaderboard.schema import Entry
from thinresnet.leaderboard.store import read_board

BOARD = Path(thinresnet.__file__).parents[1] / "leaderboard.csv"
WIDENED = {f"liu2019metapruning-mobilenetv2_100-{end}" for end in ("5a3560", "aa33db", "bba25e")}


@pytest.fixture(scope="module")
def entries() -> list[Entry]:
    return read_board(BOARD)


def found(entries: Iterable[Entry]) -> list[tuple[str, str]]:
    return sorted((entry.id, fault.column) for entry, fault in faults_between(list(entries)))


def test_the_board_is_clean(entries: list[Entry]) -> None:
    assert found(entries) == []


def test_references_in_the_wrong_unit_are_too_good_to_be_true(entries: list[Entry]) -> None:
    """MetaPruning's uniform MobileNetV2 stood in operations, two a MAC: exactly those three are found."""
    wrong = [replace(entry, cost_unit="2-per-mac") if entry.id in WIDENED else entry for entry in entries]
    assert found(wrong) == sorted((id_, "cost_printed_g") for id_ in WIDENED)
    fault = next(fault for _, fault in faults_between(wrong))
    assert "1.3 to 1.7 times" in fault.allowed


def test_a_note_that_names_the_beaten_row_says_that_both_were_read(make: Callable[..., Entry]) -> None:
    def scaled(id_: str, top1: str, cost: str, paper: str, note: str = "") -> Entry:
        return make(id=id_, top1_printed=top1, cost_printed_g=cost, paper=paper, note=note, family="scaled")

    dearer = [scaled("row-b", "72.0", "3.0", "paper-b"), scaled("row-c", "71.0", "2.8", "paper-c")]
    assert found([scaled("row-a", "73.0", "2.0", "paper-a"), *dearer]) == [("row-a", "cost_printed_g")]
    assert found([scaled("row-a", "73.0", "2.0", "paper-a", note="read again beside row-b"), *dearer]) == []
    assert found([scaled("row-a", "71.5", "2.0", "paper-a"), *dearer]) == []
    assert found([scaled("row-a", "73.0", "2.0", "paper-a"), dearer[0]]) == []
    assert found([scaled("row-a", "73.0", "2.0", "paper-b"), *dearer]) == []


def test_a_pruned_network_above_its_dense_one_is_found(entries: list[Entry], make: Callable[..., Entry]) -> None:
    """Group Fisher prunes MobileNetV2 from a width of 2 and more: without the flag its cost is above width 1."""
    from_wider = [entry for entry in entries if "from-wider" in entry.flags]
    without = found(replace(entry, flags=(), dense_cost_printed_g=None) for entry in from_wider)
    assert ("liu2021gfp-mobilenetv2_100-fd95c2", "cost_printed_g") in without
    assert found(from_wider) == []
    above = {"dense_cost_printed_g": "", "top1_printed": "74.98"}
    assert found([make(cost_printed_g="4.5", **above)]) == [("lin2020hrank-resnet50-000001", "cost_printed_g")]
    assert found([make(cost_printed_g="4.11", **above)]) == []
    assert found([make(cost_printed_g="4.5", test_resolution="256", **above)]) == []


def copy_of(entries: list[Entry], id_: str, **cells: object) -> list[Entry]:
    (original,) = (entry for entry in entries if entry.id == id_)
    return [*entries, replace(original, id="the-copy", **cells)]  # type: ignore[arg-type]


COPIES = {
    "another table of one paper": (
        "liu2021gfp-resnet50-d83739",
        {"method": "Group Fisher", "params_printed_m": None, "dense_params_printed_m": None},
    ),
    "another source, without the cost": (
        "liu2019rethinking-resnet56_cifar-600b8b",
        {"method": "Scratch-B", "read_repo": "JJGO/shrinkbench", "cost_printed_g": None, "params_printed_m": None},
    ),
    "a scaled network that another paper quotes": (
        "dli14-mobilenetv2_100-fc5742",
        {"paper": "luo2020autopruner", "params_printed_m": None},
    ),
    "a scaled network under another name": ("liu2021gfp-mobilenetv2_100-9a0c93", {"method": "dense baseline"}),
}


@pytest.mark.parametrize("case", COPIES)
def test_a_result_that_stands_twice_is_found(entries: list[Entry], case: str) -> None:
    id_, cells = COPIES[case]
    twice = copy_of(entries, id_, **cells)
    assert [column for _, column in found(twice)] == ["row"]
    (original,) = (entry for entry in entries if entry.id == id_)
    assert found(copy_of(entries, id_, **{**cells, "note": f"{original.note}; not {id_}: read both"})) == []


def test_two_results_that_are_alike_are_two(make: Callable[..., Entry]) -> None:
    first = make(params_printed_m="16.1")
    alike: dict[str, dict[str, str]] = {
        "another row of the table": {"method": "FPGM"},
        "another shape": {"params_printed_m": "12.0", "method": "HRank, again"},
        "another accuracy": {"top1_printed": "74.97"},
        "another cost": {"cost_printed_g": "2.10"},
        "another paper": {"paper": "sui2021chip"},
    }
    for case, cells in alike.items():
        assert found([first, make(id="lin2020hrank-resnet50-000009", **cells)]) == [], case
    assert len(found([first, make(id="lin2020hrank-resnet50-000009", method="HRank (Table 4)")])) == 1


def test_what_is_found_does_not_depend_on_the_order(entries: list[Entry]) -> None:
    wrong = [replace(entry, cost_unit="2-per-mac") if entry.id in WIDENED else entry for entry in entries]
    wrong = copy_of(wrong, "liu2021gfp-resnet50-d83739", method="Group Fisher")
    expected = found(wrong)
    random.Random(1).shuffle(wrong)
    assert found(wrong) == expected
