"""Missing runs: wide gaps first, then what nothing judges, counted by hand; and that a run there closes them."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace
from decimal import Decimal
from pathlib import Path

import pytest

from thinresnet.errors import InputError
from thinresnet.leaderboard.bar import Bar
from thinresnet.leaderboard.holes import ABOVE, BELOW, NONE, WIDE, Hole, holes
from thinresnet.leaderboard.schema import Entry
from thinresnet.leaderboard.store import read_board

Make = Callable[..., Entry]
BOARD = Path(__file__).parents[2] / "leaderboard.csv"
BARE = {"dense_top1_printed": "", "cost_printed_g": "", "dense_cost_printed_g": ""}


@pytest.fixture
def board(make: Make) -> list[Entry]:
    def network(name: str, macs: str, top1: str, **cells: str) -> Entry:
        return make(id=name, **{**BARE, "cost_printed_g": macs, "top1_printed": top1, **cells})

    return [
        network("ref-1", "1", "70", family="scaled"),
        network("ref-4", "4", "78", family="scaled"),
        network("in-gap", "2", "72"),
        network("in-gap-too", "3", "79", arch="resnet34"),
        network("below", "0.5", "60"),
        network("far-below", "0.4", "50"),
        network("below-clears", "0.5", "71"),
        network("above", "5", "79"),
        network("above-loses", "5", "77"),
        network("alone", "3", "70", arch="vgg16"),
        network("unknown", "3", "70", cost_unit="unknown"),
        network("scratch", "3", "70", family="scratch"),
    ]


def test_what_each_run_would_serve(board: list[Entry]) -> None:
    found = holes(board, Bar(board))
    said = [(hole.kind, hole.archs, [verdict.entry.id for verdict in hole.verdicts], hole.cost) for hole in found]
    assert said == [
        (WIDE, ("resnet50", "resnet34"), ["in-gap", "in-gap-too"], pytest.approx(2)),
        (BELOW, ("resnet50",), ["below", "far-below"], 0.4),
        (ABOVE, ("resnet50",), ["above"], 5.0),
        (NONE, ("vgg16",), ["alone"], 3.0),
    ]
    assert found[0].factor == 4.0
    assert found[0].top1 == (Decimal(72), Decimal(79))
    assert found[0].share is None
    assert found[1].share == pytest.approx(0.4 / 4.089184256)


def test_a_choice_of_networks_references_and_budget(board: list[Entry]) -> None:
    bar = Bar(board)
    assert {hole.kind for hole in holes(board, bar, arch="vgg16")} == {NONE}
    assert holes(board, bar, dataset="cifar10") == []
    same = holes(board, bar, references="same architecture")
    assert [hole.archs for hole in same if hole.kind == NONE] == [("resnet34",), ("vgg16",)]
    assert holes(board, bar, budget="params") == []
    with pytest.raises(InputError, match="--on both: a hole is a place on one cost"):
        holes(board, bar, budget="both")


def _with_a_run(board: list[Entry], hole: Hole, top1: str) -> list[Hole]:
    template = next(entry for entry in board if entry.arch == hole.archs[0])
    run = replace(
        template, id="run", family="scaled", accuracy_unit="accuracy", cost_unit="macs", flags=(), teacher="",
        dataset=hole.dataset, cost_printed_g=Decimal(hole.cost), top1_printed=Decimal(top1), extra_data="",
        dense_cost_printed_g=None, cost_kept_pct=None, cost_cut_pct=None, speedup_x=None, test_resolution=None,
    )  # fmt: skip
    return holes([*board, run], Bar([*board, run]), dataset=hole.dataset)


def test_running_it_closes_the_gap(board: list[Entry]) -> None:
    first = holes(board, Bar(board))[0]
    assert not [hole for hole in _with_a_run(board, first, "75") if hole.kind == WIDE]
    lowest = next(hole for hole in holes(board, Bar(board)) if hole.kind == BELOW)
    assert BELOW not in {hole.kind for hole in _with_a_run(board, lowest, "40")}


def test_the_boards_holes() -> None:
    board = read_board(BOARD)
    found = holes(board, Bar(board))
    kinds = [hole.kind for hole in found]
    assert kinds == sorted(kinds, key=lambda kind: kind != WIDE)
    for hole in found:
        assert hole.verdicts
        assert 0 < hole.cost < math.inf
        if hole.kind == WIDE:
            assert hole.factor is not None
            assert hole.factor > 2
            assert all(verdict.wide for verdict in hole.verdicts)
        else:
            assert all(verdict.outcome == "unjudged" for verdict in hole.verdicts)
    served = [verdict.entry.id for hole in found for verdict in hole.verdicts]
    assert len(served) == len(set(served))
