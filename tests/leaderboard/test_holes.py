"""Missing runs: what each would judge, counted by hand, and that running it would indeed judge that."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from decimal import Decimal

import pytest

from thinresnet.leaderboard.holes import holes
from thinresnet.leaderboard.schema import Entry
from thinresnet.leaderboard.store import default_board, read_board
from thinresnet.leaderboard.verdicts import Bar

Make = Callable[..., Entry]
DENSE_G = 4.089184256


def point(make: Make, name: str, macs: str, top1: str = "75", **cells: str) -> Entry:
    return make(
        id=name, dense_top1_printed="", dense_cost_printed_g="", cost_printed_g=macs, top1_printed=top1, **cells
    )


def test_the_run_that_judges_most_comes_first_and_the_next_counts_what_is_left(make: Make) -> None:
    reference = point(make, "ref", "1.00", "70", family="scaled")
    rows = [
        reference,
        # A run at 1.80 G is near up to 2.00 G; one at 1.90 up to 2.11: four against three, then one is left.
        *(point(make, f"point-{number}", macs) for number, macs in enumerate(["1.80", "1.85", "1.90", "2.00", "2.05"])),
        point(make, "beaten", "1.90", "69"),  # judged by the cheap reference already
        point(make, "near", "1.05", "72"),  # judged: 1.00 is near
        point(make, "cheap", "0.50", "60"),  # nothing costs as little
        point(make, "scratch", "1.90", family="scratch"),
        point(make, "measured", "1.90", source="measured"),
        point(make, "unknown", "1.90", cost_unit="unknown"),
    ]
    found = holes(rows, Bar(rows))
    assert [(hole.cost, [verdict.entry.id for verdict in hole.judges]) for hole in found] == [
        (1.80, ["point-0", "point-1", "point-2", "point-3"]),
        (0.50, ["cheap"]),
        (2.05, ["point-4"]),
    ]
    assert found[0].share == pytest.approx(1.80 / DENSE_G)
    assert [str(figure) for figure in found[0].top1] == ["75", "75"]


def test_only_what_is_asked_for(make: Make) -> None:
    rows = [
        point(make, "one", "1.0"),
        point(make, "two", "1.0", arch="resnet34"),
        point(make, "three", "0.1", arch="resnet56_cifar", dataset="cifar10"),
    ]
    bar = Bar(rows)
    assert [hole.arch for hole in holes(rows, bar, dataset="imagenet")] == ["resnet34", "resnet50"]
    assert [hole.dataset for hole in holes(rows, bar, arch="resnet56_cifar")] == ["cifar10"]
    assert holes(rows, bar, budget="parameters") == []


def test_the_missing_run_would_judge_what_it_says() -> None:
    board = read_board(default_board())
    first = holes(board, Bar(board), dataset="imagenet", arch="resnet50")[0]
    assert len(first.judges) >= 10
    scaled = replace(
        first.judges[0].entry,
        id="the-run",
        family="scaled",
        accuracy_unit="accuracy",
        top1_printed=Decimal("77.7"),
        cost_unit="macs",
        cost_printed_g=Decimal(f"{first.cost:.9f}"),
        dense_cost_printed_g=None,
        cost_cut_pct=None,
        cost_kept_pct=None,
        speedup_x=None,
        test_resolution=None,
        teacher="",
        extra_data="",
        flags=(),
    )
    bar = Bar([*board, scaled])
    assert all(not verdict.settled for verdict in first.judges)
    assert all(bar.verdict(verdict.entry, first.family).settled for verdict in first.judges)
