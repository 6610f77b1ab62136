"""The matrix of assumptions and the decomposition of the gap, counted by hand; and on the board."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from thinresnet.leaderboard.bar import Bar
from thinresnet.leaderboard.matrix import Matrix, matrix
from thinresnet.leaderboard.records import matrix_record
from thinresnet.leaderboard.references import ALL_ASSUMPTIONS, PLAIN_RESNETS, SAME_ARCHITECTURE, Assumptions
from thinresnet.leaderboard.schema import Entry
from thinresnet.leaderboard.store import read_board

Make = Callable[..., Entry]
BOARD = Path(__file__).parents[2] / "leaderboard.csv"
BARE = {"dense_top1_printed": "", "cost_printed_g": "", "dense_cost_printed_g": ""}


@pytest.fixture(scope="module")
def made(make: Make) -> Matrix:
    """A modern bar of 76 % and a classical one of 74 %, both from 1 to 4 G, and a few results."""

    def network(name: str, top1: str, **cells: str) -> Entry:
        return make(id=name, **{**BARE, "cost_printed_g": "2", "top1_printed": top1, **cells})

    references = [
        network(f"ref-{recipe}-{cost}", top1, family="scaled", recipe=recipe, cost_printed_g=cost)
        for recipe, low, high in (("a1_in1k", "76", "76.5"), ("tv_in1k", "74", "74.5"))
        for cost, top1 in (("1", low), ("2", high))
    ]
    results = [
        network("loses-both", "74.00"), network("between", "75.50"), network("ties", "76.50"),
        network("clears", "77.50", family="init"), network("unknown", "77", cost_unit="unknown"),
        network("scratch", "70", family="scratch"), network("measured", "70", source="measured"),
        network("control", "70", method="PruningBench Random"), network("control-too", "70", method="Random DCP"),
        network("other-net", "70", arch="resnet34"), network("other-data", "70", dataset="cifar10"),
    ]  # fmt: skip
    return matrix([*references, *results], Bar([*references, *results]))


def test_every_cell_counts_each_published_pruning_result_once(made: Matrix) -> None:
    assert [cell.assumptions for cell in made.cells] == list(ALL_ASSUMPTIONS)
    assert {cell.results for cell in made.cells} == {5}
    any_ = made.cell(Assumptions())
    assert (any_.loses, any_.ties, any_.clears, any_.unjudged, any_.judged) == (2, 1, 1, 1, 4)
    assert any_.median_gap == pytest.approx((-1.0 + 0.0) / 2)
    assert [verdict.entry.id for verdict in any_.having("loses")] == ["loses-both", "between"]
    classical = made.cell(Assumptions(recipes="classical"))
    assert (classical.loses, classical.ties, classical.clears) == (1, 0, 3)
    params = made.cell(Assumptions(budget="params"))
    assert (params.judged, params.unjudged, params.median_gap) == (0, 5, None)


def test_the_decomposition(made: Matrix) -> None:
    part = next(part for part in made.decomposition if part.assumptions == Assumptions(PLAIN_RESNETS))
    # Gaps to the modern bar -2.5, -1, 0, 1; to the classical one -0.5, 1, 2, 3; the recipe is worth 2 points.
    assert part.results == 4
    assert (part.median_gap, part.shape, part.recipe) == (-0.5, 1.5, 2.0)
    params = next(part for part in made.decomposition if part.assumptions.budget == "params")
    assert (params.results, params.median_gap, params.shape, params.recipe) == (0, None, None, None)


def test_the_record_has_exactly_these_keys(made: Matrix) -> None:
    said = json.loads(json.dumps(matrix_record(made)))
    assert list(said) == ["rules", "arch", "dataset", "matrix", "decomposition"]
    assert (said["rules"], said["arch"], said["dataset"]) == (2, "resnet50", "imagenet")
    assert len(said["matrix"]) == 36
    assert said["matrix"][0] == {
        "references": SAME_ARCHITECTURE, "recipes": "any", "resolution": "any", "budget": "macs", "results": 5,
        "judged": 4, "loses": 2, "ties": 1, "clears": 1, "unjudged": 1, "median_gap": -0.5,
    }  # fmt: skip
    assert said["decomposition"]["parts"][0] == {
        "references": SAME_ARCHITECTURE, "resolution": "any", "budget": "macs", "results": 4, "median_gap": -0.5,
        "recipe": 2.0, "shape": 1.5,
    }  # fmt: skip


def test_the_boards_matrix_adds_up_and_its_parts_are_gaps() -> None:
    board = read_board(BOARD)
    made = matrix(board, Bar(board))
    for cell in made.cells:
        assert cell.judged + cell.unjudged == cell.results == len(cell.verdicts) > 150
        assert cell.judged == len([verdict for verdict in cell.verdicts if verdict.judged])
        assert sum(len(cell.having(outcome)) for outcome in ("loses", "ties", "clears")) == cell.judged
    # Row by row the gap is the shape less the recipe.
    for cell in made.cells:
        if cell.assumptions.recipes == "any":
            for any_, classical in zip(
                cell.verdicts, made.cell(replace(cell.assumptions, recipes="classical")).verdicts, strict=True
            ):
                if None not in (any_.bar, classical.bar, any_.gap, classical.gap):
                    assert any_.gap == pytest.approx(classical.gap - (any_.bar - classical.bar))  # type: ignore[operator]
