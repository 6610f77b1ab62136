"""What the rule promises, on random boards and on ours."""

from __future__ import annotations

import itertools
import math
import random
from dataclasses import replace
from decimal import Decimal
from pathlib import Path

from hypothesis import assume, given, settings
from hypothesis import strategies as st

from thinresnet.leaderboard.bar import Bar, Tie
from thinresnet.leaderboard.references import ALL_ASSUMPTIONS, BUDGETS, Assumptions, may_be_the_bar
from thinresnet.leaderboard.schema import Entry, parse
from thinresnet.leaderboard.store import read_board
from thinresnet.leaderboard.verdicts import OUTRIGHT, Verdict, all_verdicts, judge

BOARD = Path(__file__).parents[2] / "leaderboard.csv"
NO_SPREAD = Tie(0.0, None)
ADMITTED = ("resnet50", "tv_in1k", 224, None)
CELLS = {
    "id": "x00", "source": "published", "dataset": "imagenet", "arch": "resnet50", "method": "x", "family": "pruned",
    "accuracy_unit": "accuracy", "top1_printed": "75", "cost_unit": "macs", "cost_printed_g": "2",
    "params_printed_m": "12", "paper": "someone2020", "locator": "Table 1", "hand": "first",
}  # fmt: skip
PUBLISHED = parse(CELLS)[0]
MEASURED = parse({**CELLS, "source": "measured", "n": "3", "top1_std": "0.3", "recipe": "classic"})[0]
assert PUBLISHED is not None
assert MEASURED is not None

costs = st.integers(20, 800).map(lambda hundredths: Decimal(hundredths) / 100)
accuracies = st.integers(600, 820).map(lambda tenths: Decimal(tenths) / 10)
archs = st.sampled_from(["resnet50", "resnet50", "resnet34", "vgg16"])
spreads = st.sampled_from([None, None, Decimal("0.1"), Decimal("0.5"), Decimal("1.5")])
recipes = st.sampled_from(["tv_in1k", "a1_in1k", ""])
pixels = st.sampled_from([224, 224, 160])


def network(template: Entry, number: int, family: str, values: tuple[object, ...]) -> Entry:
    top1, macs, params, arch, recipe, pixels, std = values
    measured = {"recipe": template.recipe, "top1_std": std or Decimal("0.2")}
    rest = measured if template.source == "measured" else {"recipe": recipe, "top1_std": std}
    return replace(  # type: ignore[arg-type]
        template, id=f"{family}-{number}", family=family, top1_printed=top1, cost_printed_g=macs,
        params_printed_m=params, arch=arch, test_resolution=pixels, **rest,
    )  # fmt: skip


figures = st.tuples(
    accuracies,
    costs,
    costs,
    archs,
    st.sampled_from(["tv_in1k", "a1_in1k", ""]),
    st.sampled_from([224, 224, 160]),
    spreads,
)
# References that every cell admits.
admitted = figures.map(lambda values: (*values[:3], *ADMITTED))


def boards(template: Entry, of: st.SearchStrategy[tuple[object, ...]] = figures) -> st.SearchStrategy[list[Entry]]:
    return st.lists(of, min_size=1, max_size=9).map(
        lambda drawn: [network(template, number, "scaled", values) for number, values in enumerate(drawn)]
    )


rows = figures.map(lambda values: network(PUBLISHED, 0, "pruned", (*values[:3], "resnet50", *values[4:])))
under = st.sampled_from(ALL_ASSUMPTIONS)
places = st.tuples(st.floats(0, 1), st.floats(0, 1))
one_cost = st.sampled_from([each for each in ALL_ASSUMPTIONS if each.budget != "both"])


def better(row: Entry, points: Decimal, macs: Decimal, params: Decimal) -> Entry:
    assert row.top1_printed is not None
    assert row.cost_printed_g is not None
    assert row.params_printed_m is not None
    return replace(
        row,
        top1_printed=min(row.top1_printed + points, Decimal(99)),
        cost_printed_g=row.cost_printed_g * macs,
        params_printed_m=row.params_printed_m * params,
    )


shares = st.sampled_from([Decimal(share) for share in ("1", "0.999", "0.99", "0.9", "0.5", "0.1")])
leads = st.sampled_from([Decimal(points) for points in ("0", "0.05", "0.2", "1", "10")])


def never_worse(before: Verdict, after: Verdict) -> bool:
    return (before.standing is None) == (after.standing is None) and (before.standing or 0) <= (after.standing or 0)


@settings(max_examples=300, deadline=None)
@given(boards(PUBLISHED), rows, under, leads, shares, shares)
def test_more_accurate_or_cheaper_is_never_worse(
    board: list[Entry], row: Entry, cell: Assumptions, points: Decimal, macs: Decimal, params: Decimal
) -> None:
    bar = Bar(board)
    assert never_worse(judge(bar, row, cell), judge(bar, better(row, points, macs, params), cell))


@settings(max_examples=300, deadline=None)
@given(boards(MEASURED), rows, under, leads, shares, shares)
def test_nor_among_measured_rows(
    board: list[Entry], row: Entry, cell: Assumptions, points: Decimal, macs: Decimal, params: Decimal
) -> None:
    bar = Bar(board)
    own = replace(row, source="measured", n=3, top1_std=row.top1_std or Decimal("0.4"), recipe="classic")
    assert never_worse(judge(bar, own, cell), judge(bar, better(own, points, macs, params), cell))


def test_nor_on_our_board() -> None:
    board = read_board(BOARD)
    bar = Bar(board)
    chosen = random.Random(0).sample([entry for entry in board if not may_be_the_bar(entry)], 50)
    for entry in chosen:
        if entry.macs_g is None or entry.top1 is None:
            continue
        plain = replace(
            entry, accuracy_unit="accuracy", top1_printed=entry.top1, cost_unit="macs", dense_cost_printed_g=None,
            cost_printed_g=Decimal(entry.macs_g), cost_kept_pct=None, cost_cut_pct=None, speedup_x=None,
            params_printed_m=None if entry.params_m is None else Decimal(entry.params_m), family="searched",
        )  # fmt: skip
        steps = [plain, replace(plain, top1_printed=entry.top1 + Decimal("0.15"))]
        for share in ("0.995", "0.97", "0.9", "0.7", "0.4"):
            costs = {"cost_printed_g": Decimal(entry.macs_g) * Decimal(share)}
            if plain.params_printed_m is not None:
                costs["params_printed_m"] = plain.params_printed_m * Decimal(share)
            steps.append(replace(steps[1], **costs))  # type: ignore[arg-type]
        for before, after in itertools.pairwise(steps):
            for one, other in zip(all_verdicts(bar, before), all_verdicts(bar, after), strict=True):
                assert never_worse(one, other), (one.says, other.says)


@settings(max_examples=200, deadline=None)
@given(boards(PUBLISHED), rows, under)
def test_one_per_cent_of_cost_moves_a_gap_by_no_more_than_the_slope(
    board: list[Entry], row: Entry, cell: Assumptions
) -> None:
    bar = Bar(board)
    one, other = judge(bar, row, cell), judge(bar, better(row, Decimal(0), Decimal("1.01"), Decimal("1.01")), cell)
    assume(one.bar is not None and other.bar is not None)
    slopes = [0.0]
    for quantity in BUDGETS[cell.budget]:
        curve = bar.curve(row.dataset, row.arch, row.resolution, cell, quantity)
        assert curve is not None
        points = curve.points
        for left, right in itertools.pairwise(points):
            slopes.append((right.top1 - left.top1) / math.log(right.cost / left.cost))
    assert one.gap is not None
    assert other.gap is not None
    assert 0 <= one.gap - other.gap + 1e-6 <= max(slopes) * math.log(1.01) + 2e-6


@settings(max_examples=250, deadline=None)
@given(boards(PUBLISHED, admitted), figures, places, st.floats(-9, -0.25), under)
def test_another_reference_never_undoes_an_outright_loss(
    board: list[Entry], values: tuple[object, ...], here: tuple[float, float], points: float, cell: Assumptions
) -> None:
    bar = Bar(board)
    row = on_the_curve(bar, cell, here, points, "pruned")
    before, after = judge(bar, row, cell), judge(Bar([*board, network(PUBLISHED, 98, "scaled", values)]), row, cell)
    if (before.outcome, before.decided) == ("loses", OUTRIGHT):
        assert (after.outcome, after.decided) == ("loses", OUTRIGHT)


def on_the_curve(bar: Bar, cell: Assumptions, where: tuple[float, float], points: float, name: str) -> Entry:
    """A row at these places between the ends of the curves, so many points from the higher of the bars there."""
    costs, levels = {"macs": 1.0, "params": 1.0}, []
    for quantity in BUDGETS[cell.budget]:
        curve = bar.curve("imagenet", "resnet50", 224, cell, quantity)
        assert curve is not None
        first, last = curve.costs[0], curve.costs[-1]
        share = where[quantity == "params"]
        costs[quantity] = min(max(first * (last / first) ** share, first), last)
        levels.append(curve.at(costs[quantity], NO_SPREAD).low)
    values = (Decimal(max(levels) + points), Decimal(costs["macs"]), Decimal(costs["params"]), *ADMITTED)
    return network(PUBLISHED, 99, name, values)


@settings(max_examples=250, deadline=None)
@given(boards(PUBLISHED, admitted), places, st.floats(0, 5), places, st.floats(-6, 3), under)
def test_another_reference_on_or_above_the_bar_never_helps(
    board: list[Entry],
    there: tuple[float, float],
    above: float,
    here: tuple[float, float],
    points: float,
    cell: Assumptions,
) -> None:
    bar = Bar(board)
    new, row = on_the_curve(bar, cell, there, above, "scaled"), on_the_curve(bar, cell, here, points, "pruned")
    before, after = judge(bar, row, cell), judge(Bar([*board, new]), row, cell)
    assert before.gap is not None
    # Without a gap: the new reference ends the front before this row's cost, and the row is better than it.
    assert after.standing == 1 if after.gap is None else after.gap <= before.gap + 1e-8
    assert after.standing is not None
    assert before.standing is not None
    assert after.standing <= before.standing


@settings(max_examples=250, deadline=None)
@given(boards(PUBLISHED, admitted), places, st.floats(-9, -0.001), places, st.floats(-6, 3), one_cost)
def test_one_below_the_bar_moves_only_what_was_interpolated_between_its_neighbours(
    board: list[Entry],
    there: tuple[float, float],
    below: float,
    here: tuple[float, float],
    points: float,
    cell: Assumptions,
) -> None:
    bar = Bar(board)
    new, row = on_the_curve(bar, cell, there, below, "scaled"), on_the_curve(bar, cell, here, points, "pruned")
    before, after = judge(bar, row, cell), judge(Bar([*board, new]), row, cell)
    curve = bar.curve("imagenet", "resnet50", 224, cell)
    assert curve is not None
    cost = new.macs_g if cell.budget == "macs" else new.params_m
    assert cost is not None
    around = {each.entry.id for each in curve.at(cost, NO_SPREAD).neighbours}
    if after.gap != before.gap:
        assert {each.id for each in before.neighbours} == around
        assert before.decided != OUTRIGHT or before.outcome != "loses" or after.outcome == "loses"


@settings(max_examples=60, deadline=None)
@given(boards(PUBLISHED), rows, figures, st.randoms())
def test_neither_the_order_of_rows_nor_those_that_are_no_references_say_anything(
    board: list[Entry], row: Entry, values: tuple[object, ...], dice: random.Random
) -> None:
    others = [network(PUBLISHED, 99, family, values) for family in ("pruned", "init", "scratch", "searched")]
    shuffled = dice.sample([*board, *others, row], len(board) + 5)
    assert all_verdicts(Bar(board), row) == all_verdicts(Bar(shuffled), row)
