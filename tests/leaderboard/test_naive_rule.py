"""The rule a second time, as plainly as docs/leaderboard-rules.md says it, agrees with the first everywhere.

It shares no code with the first but the classes of recipes, and works everything out anew for every question.
"""

from __future__ import annotations

import itertools
import math
import random
import re
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
from scipy.stats import t as student

from thinresnet.leaderboard.bar import Bar
from thinresnet.leaderboard.recipe_classes import recipe_class
from thinresnet.leaderboard.references import ALL_ASSUMPTIONS, Assumptions, may_be_the_bar
from thinresnet.leaderboard.schema import Entry
from thinresnet.leaderboard.store import read_board
from thinresnet.leaderboard.verdicts import all_verdicts

BOARD = Path(__file__).parents[2] / "leaderboard.csv"
QUANTITIES = {"macs": ("macs",), "params": ("params",), "both": ("macs", "params")}

RESNETS = re.compile(
    "resnet(18|26|34|50|101)|resnet(18|26|34|50|101)[dt]|resnet(18|26|34|50|101)_cifar"
    "|resnet20_cifar|resnet32_cifar|resnet44_cifar|resnet56_cifar|resnet110_cifar"
)
CNNS = re.compile(
    r"(|pre|wide_)resnet(v2_)?\d.*|(|pre|wide_)resnetv2\d.*|wrn\d.*|resnext\d.*|vgg\d.*|densenet.*|googlenet|inception.*"
    r"|mobilenet(_|)v[12](_.*|\d*)|convnext_(atto|femto|pico|nano|tiny|small|base|large)"
)


class Plain:
    """A row with the figures that the rule asks for worked out once; the rest is the row's own."""

    def __init__(self, entry: Entry) -> None:
        self.entry = entry
        self.top1 = None if entry.top1 is None else float(entry.top1)
        self.costs = {"macs": entry.macs_g, "params": entry.params_m}
        self.std = float(entry.top1_std or 0)
        self.resolution = entry.resolution
        self.classical = recipe_class(entry) == "classical"
        self.serves = (
            entry.family in ("dense", "scaled")
            and not entry.teacher
            and not entry.extra_data
            and set(entry.flags) <= {"from-image", "best-epoch"}
            and self.top1 is not None
        )
        self.resnet = RESNETS.fullmatch(entry.arch) is not None
        self.cnn = CNNS.fullmatch(entry.arch) is not None and "resnetrs" not in entry.arch
        self.seeds = entry.n is not None and entry.n >= 3 and entry.top1_std is not None


def references_for(row: Plain, board: Sequence[Plain], cell: dict[str, str]) -> list[Plain]:
    """The rows of the board that are the bar for this row."""
    found = []
    for reference in board:
        other, own = reference.entry, row.entry
        if not reference.serves or other.id == own.id or other.dataset != own.dataset:
            continue
        if cell["references"] == "same architecture" and other.arch != own.arch:
            continue
        if cell["references"] == "plain ResNets" and not reference.resnet:
            continue
        if cell["references"] == "any plain CNN" and not reference.cnn:
            continue
        if any(reference.costs[quantity] is None for quantity in QUANTITIES[cell["budget"]]):
            continue
        if cell["recipes"] == "classical" and not reference.classical:
            continue
        if cell["resolution"] == "own" and reference.resolution != row.resolution:
            continue
        if own.source == "measured":
            epochs = [e.dense_epochs if e.train_epochs is None else e.train_epochs for e in (own, other)]
            if other.source != "measured" or other.recipe != own.recipe or epochs[0] != epochs[1]:
                continue
        elif other.source == "measured" and (other.n or 1) < 3:
            continue
        found.append(reference)
    if row.entry.source == "measured" and any(each.seeds for each in found):
        found = [each for each in found if each.seeds]
    return found


def half_tie(row: Plain, other: Plain) -> float:
    """Half the width of the tie between the row and one reference."""
    if row.entry.source == "published" or not row.seeds:
        return max(0.2, row.std, other.std)
    if not other.seeds:
        return math.inf
    n, m = row.entry.n or 0, other.entry.n or 0
    one, two = row.std**2 / n, other.std**2 / m
    if one + two == 0:
        return 0.0
    freedom = (one + two) ** 2 / (one**2 / (n - 1) + two**2 / (m - 1))
    return float(student.ppf(0.975, freedom)) * math.sqrt(one + two)


def line(points: list[tuple[float, float]], cost: float) -> float:
    """Through these points, straight in log cost; flat beyond the ends."""
    if cost <= points[0][0]:
        return points[0][1]
    if cost >= points[-1][0]:
        return points[-1][1]
    for (left, low), (right, high) in itertools.pairwise(points):
        if left <= cost <= right:
            return low + (high - low) * (math.log(cost) - math.log(left)) / (math.log(right) - math.log(left))
    raise AssertionError


def naive(row: Plain, board: Sequence[Plain], cell: dict[str, str]) -> tuple[str, str | None, list[str], float | None]:
    """Outcome, how it was decided, between which references, and the gap, under one cell of the matrix."""
    costs = {quantity: row.costs[quantity] for quantity in QUANTITIES[cell["budget"]]}
    everyone = references_for(row, board, cell)
    if row.top1 is None or "accuracy-doubtful" in row.entry.flags or None in costs.values() or not everyone:
        return "unjudged", None, [], None
    seen = [seen_on(quantity, cost, row, everyone) for quantity, cost in costs.items() if cost is not None]
    cheap = any(each["where"] == "cheap" for each in seen)
    inside = [each for each in seen if each["where"] == "on"]
    # Beyond the dearest reference of one cost only, the other cost decides.
    lowest = min(inside + [each for each in seen if each["where"] == "cheap"] or seen, key=lambda each: each["bar"])
    gap, ids = row.top1 - lowest["bar"], [each.entry.id for each in lowest["between"]]
    few = row.entry.source == "measured" and not all(each.seeds for each in (row, *lowest["between"]))
    if cheap:
        clears = gap >= 0 and not few
        return ("clears", "outright", ids, gap) if clears else ("unjudged", None, ids, None)
    if not inside:
        loses = gap <= 0 and not few
        return ("loses", "outright", ids, gap) if loses else ("unjudged", None, ids, None)
    if few:
        return "unjudged", None, ids, gap
    return (*decide(row, costs, everyone, inside), ids, gap)


def seen_on(quantity: str, cost: float, row: Plain, everyone: list[Plain]) -> dict[str, Any]:
    """Where a cost lies on the curve of one quantity, the bar there and the edges of the tie."""
    ordered = sorted(everyone, key=lambda each: (each.costs[quantity], -(each.top1 or 0), each.entry.id))
    front: list[Plain] = []
    for each in ordered:
        if all((each.top1 or 0) > (other.top1 or 0) for other in front):
            front.append(each)
    at = [(each.costs[quantity] or 0.0, each.top1 or 0.0) for each in front]
    halves = [half_tie(row, each) for each in front]
    upper = [(x, max(at[i][1] + halves[i] for i in range(place + 1))) for place, (x, _) in enumerate(at)]
    lower = [(x, min(at[i][1] - halves[i] for i in range(place, len(at)))) for place, (x, _) in enumerate(at)]
    if cost < 0.99 * at[0][0]:
        where, between = "cheap", front[:1]
    elif cost > 1.01 * at[-1][0]:
        where, between = "dear", front[-1:]
    else:
        below = [each for each, (x, _) in zip(front, at, strict=True) if x <= cost][-1:]
        above = [each for each, (x, _) in zip(front, at, strict=True) if x >= cost][:1]
        where, between = "on", above if below == above else below + above
    bar, high, low = (line(points, cost) for points in (at, upper, lower))
    return {"where": where, "bar": bar, "upper": high, "lower": low, "between": between}


def decide(
    row: Plain, costs: dict[str, float | None], everyone: list[Plain], inside: list[dict[str, Any]]
) -> tuple[str, str | None]:
    """The outcome on the curve, and whether an actual reference decides it."""
    own = row.top1 or 0.0

    def costs_no_more(one: dict[str, float | None], other: dict[str, float | None], factor: float = 1) -> bool:
        return all((one[quantity] or 0) <= (other[quantity] or 0) * factor for quantity in costs)

    better = [
        other
        for other in everyone
        if costs_no_more(other.costs, costs) and round((other.top1 or 0) - own, 9) > half_tie(row, other)
    ]
    if better or round(own - min(each["lower"] for each in inside), 9) < 0:
        return "loses", "outright" if better else "interpolated"
    if round(own - min(each["upper"] for each in inside), 9) <= 0:
        return "ties", None

    def beaten(one: Plain) -> bool:
        return any(
            (other.top1 or 0) >= (one.top1 or 0)
            and costs_no_more(other.costs, one.costs)
            and (other.top1, *(other.costs[q] for q in costs)) != (one.top1, *(one.costs[q] for q in costs))
            for other in everyone
        )

    worse = [
        other
        for other in everyone
        if costs_no_more(costs, other.costs, 1.01) and (other.top1 or 0) <= own and not beaten(other)
    ]
    return "clears", "outright" if worse else "interpolated"


def agrees(board: Sequence[Plain], row: Plain, bar: Bar, under: Sequence[Assumptions] = ALL_ASSUMPTIONS) -> set[str]:
    outcomes = set()
    for found in all_verdicts(bar, row.entry, under):
        outcome, decided, neighbours, gap = naive(row, board, vars(found.assumptions))
        said = (found.outcome, found.decided, [each.id for each in found.neighbours])
        assert said == (outcome, decided, neighbours), (row.entry.id, found.says)
        assert (found.gap is None) == (gap is None)
        assert found.gap == pytest.approx(gap, abs=1e-6)
        outcomes.add(outcome)
    return outcomes


def test_on_the_whole_board() -> None:
    board = read_board(BOARD)
    bar, plain = Bar(board), [Plain(entry) for entry in board]
    serving = [each for each in plain if may_be_the_bar(each.entry)]
    by_dataset = {
        each.entry.dataset: [other for other in serving if other.entry.dataset == each.entry.dataset]
        for each in serving
    }
    judged = [each for each in plain if not may_be_the_bar(each.entry) and each.top1 is not None]
    for number, row in enumerate(judged):
        # Every row under every fourth cell, each cell for a quarter of the rows: all of it would take a minute.
        agrees(by_dataset.get(row.entry.dataset, []), row, bar, ALL_ASSUMPTIONS[number % 4 :: 4])


@pytest.mark.parametrize("source", ["published", "measured"])
def test_on_random_boards(make: Callable[..., Entry], source: str) -> None:
    dice = random.Random(source)
    outcomes: set[str] = set()

    def network(name: str, family: str) -> Entry:
        recipes = ("classic",) if source == "measured" else ("tv_in1k", "a1_in1k", "")
        std, n = dice.choice([("", ""), ("0.1", "3"), ("0.9", "5"), ("0.4", "2"), ("1.5", "3")])
        return make(
            id=name, source=source, family=family, top1_printed=f"{dice.uniform(60, 80):.1f}", top1_std=std, n=n,
            dense_top1_printed="", dense_cost_printed_g="", cost_printed_g=f"{dice.uniform(0.5, 5):.2f}",
            params_printed_m=f"{dice.uniform(0.5, 5):.2f}", recipe=dice.choice(recipes),
            arch=dice.choice(("resnet50", "resnet50", "resnet34", "vgg16")), train_epochs="5",
            test_resolution=dice.choice(("224", "224", "160")),
        )  # fmt: skip

    for _ in range(40):
        board = [network(f"ref-{number}", "scaled") for number in range(dice.randint(1, 9))]
        for number in range(4):
            row = Plain(network(f"row-{number}", "pruned"))
            outcomes |= agrees([Plain(entry) for entry in board], row, Bar(board))
    assert outcomes == {"loses", "ties", "clears", "unjudged"}
