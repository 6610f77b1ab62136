"""Verdicts under each cost, against intervals and neighbours worked out by hand; names of one network put together."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import pytest

from thinresnet.networks import Network, fit, scale
from thinresnet.networks.cost import macs_and_params
from thinresnet.studies import shapes
from thinresnet.studies.graph import Experiment
from thinresnet.studies.records import as_records
from thinresnet.studies.report import tables
from thinresnet.studies.shapes import uniform_scaling
from thinresnet.studies.summaries import Summary, distinct, summaries
from thinresnet.studies.verdicts import verdicts
from thinresnet.welch import Sample, half_interval

Finish = Callable[..., Any]
ARCH: dict[str, Any] = {"arch": "resnet20_cifar", "input_size": (3, 8, 8)}


@pytest.fixture
def rows(finish: Finish) -> dict[str, Summary]:
    """The rows of the made-up study by their names."""
    return {line.name: line for line in summaries(*finish())}


def made(
    row: Summary, correct: Sequence[int], *, macs: int = 500, params: int = 500, training: int = 500, **changes: Any
) -> Summary:
    """The row with a seed for each number of right test images, of 360, at costs that are easy to read."""
    first = row.results[0]
    test = first.test
    assert test is not None
    results = tuple(
        replace(first, seed=seed, test=replace(test, correct1=right), macs=macs, params=params)
        for seed, right in enumerate(correct)
    )
    costs = (training,) * len(results)
    changed = replace(row, results=results, costs_with_search=costs, limit=row.limit._replace(macs=500, params=1000))
    return replace(changed, **changes)


def said(row: Summary, *references: Summary) -> list[str]:
    """What the table says under MACs, parameters and training."""
    return [own.says for own in verdicts(row, [*references, row]).values()]


STEADY = (324, 325, 326)  # mean 325: 90.28 %, standard deviation 0.28 points


def test_the_tie_is_welchs_interval_to_both_sides(rows: dict[str, Summary]) -> None:
    bar = made(rows["plain width"], STEADY)
    tie = half_interval(Sample(3, 100 / 360), Sample(3, 100 / 360)) * 3.6  # in images: 2.78 x root of 2/3
    assert tie == pytest.approx(2.267, abs=1e-3)
    for more, outcome in ((3, "clears +0.83"), (2, "ties +0.56"), (-2, "ties -0.56"), (-3, "loses -0.83")):
        row = made(rows["l1, fine-tuned"], [right + more for right in STEADY])
        assert said(row, bar) == [outcome] * 3, more


def test_intervals_of_one_deviation_that_overlap_no_longer_decide(rows: dict[str, Summary]) -> None:
    """Means 3 deviations apart were a win before; with three seeds so noisy they are a tie."""
    bar = made(rows["plain width"], (320, 321, 322, 330))
    assert said(made(rows["l1, fine-tuned"], (329, 330, 331, 331)), bar)[0].startswith("ties +")


@pytest.mark.parametrize(("own", "bars"), [(2, 5), (5, 2), (1, 3)])
def test_fewer_than_three_seeds_on_either_side_never_decide(rows: dict[str, Summary], own: int, bars: int) -> None:
    bar = made(rows["plain width"], [300] * bars)
    row = made(rows["l1, fine-tuned"], [350] * own)
    assert said(row, bar) == [f"undecided (n={min(own, bars)})"] * 3


def test_each_cost_has_a_verdict_of_its_own(rows: dict[str, Summary]) -> None:
    bar = made(rows["plain width"], STEADY)
    better = [right + 9 for right in STEADY]
    # More parameters and more training than the bar: better, but at equal or less of neither.
    assert said(made(rows["l1, fine-tuned"], better, params=600, training=1500), bar) == [
        "clears +2.50", "not judged", "not judged",
    ]  # fmt: skip
    worse = [right - 9 for right in STEADY]
    # Fewer parameters: worse, but the bar does not have as few.
    assert said(made(rows["l1, fine-tuned"], worse, params=100, training=1500), bar) == [
        "loses -2.50", "not judged", "loses -2.50",
    ]  # fmt: skip
    # As accurate as what costs more is a tie.
    assert said(made(rows["l1, fine-tuned"], STEADY, params=100, training=1500), bar) == ["ties +0.00"] * 3


def test_references_are_chosen_by_cost_from_plain_width_at_all_budgets(rows: dict[str, Summary]) -> None:
    bar, dense = made(rows["plain width"], STEADY), made(rows["dense"], (340, 341, 342), macs=900, params=900)
    other = replace(bar.experiment, point="macs10pct")
    small = made(rows["plain width"], (300, 301, 302), macs=100, params=100, experiment=other)
    row = made(rows["l1, fine-tuned"], (310, 311, 312), params=120)
    # 120 parameters: better than plain width of 100, worse than that of 500 that costs more.
    assert said(row, bar, dense, small) == ["loses -3.89", "not judged", "loses -3.89"]
    assert said(replace(row, results=tuple(replace(one, params=101) for one in row.results)), bar, dense, small)[1] == (
        "not judged"
    )
    assert said(replace(row, results=tuple(replace(one, params=100) for one in row.results)), bar, dense, small)[1] == (
        "clears +2.78"
    )
    # As many parameters as dense has: held against it, and not only against plain width of half.
    assert said(replace(row, results=tuple(replace(one, params=900) for one in row.results)), bar, dense, small)[1] == (
        "loses -8.33"
    )
    # The dense parent is no reference for training cost: it does not keep the budget. Plain width trained longer is.
    longer = made(
        rows["plain width"], (330, 331, 332), training=1000,
        experiment=replace(bar.experiment, protocol="scaled-width-b"),
    )  # fmt: skip
    better = made(rows["l1, fine-tuned"], (327, 328, 329), training=1200)
    assert said(better, bar, dense) == ["clears +0.83", "clears +0.83", "not judged"]
    assert said(better, bar, dense, longer) == ["clears +0.83", "clears +0.83", "loses -0.83"]


def test_a_network_with_several_names_is_one_row(rows: dict[str, Summary]) -> None:
    inside, scratch = rows["interior width"], rows["l1, Scratch-E"]
    same = replace(scratch, results=inside.results, folders=inside.folders)
    found = list({**rows, "l1, Scratch-E": same}.values())
    names = [line.names for line in distinct(found)]
    assert len(names) == len(found) - 1
    assert names.count("interior width = l1, Scratch-E") == 1
    (row,) = [line for line in distinct(found) if line.also]
    assert row.training_macs_with_search == inside.training_macs_with_search < scratch.training_macs_with_search
    record = next(record for record in as_records(distinct(found)) if record["also"])
    assert record["also"][0]["training_macs_with_search"] == scratch.training_macs_with_search
    (table,) = tables(distinct(found))
    assert [cells[0] for cells in table.points["macs 50%"]].count("interior width = l1, Scratch-E") == 1


def test_weights_that_were_there_before_make_another_row(rows: dict[str, Summary]) -> None:
    inside, finetuned = rows["interior width"], rows["l1, fine-tuned"]
    started = tuple(replace(one, initial_checkpoint={"path": "x", "sha256": "y"}) for one in inside.results)
    same = replace(finetuned, results=started, folders=inside.folders)
    found = list({**rows, "l1, fine-tuned": same}.values())
    assert len(distinct(found)) == len(found)
    # The shape is said all the same.
    assert same.scaling is not None
    assert same.names == f"l1, fine-tuned = interior width {same.scaling.factor:g}"
    assert rows["l1, fine-tuned"].names == "l1, fine-tuned", "four or five channels of each group are no scaling"


DENSE_MACS = macs_and_params(scale(**ARCH)).macs


def test_narrow_blocks_beside_removed_ones_are_no_scaling() -> None:
    fewer = scale(interior=0.7, **{**ARCH, "depths": [1, 1, 2]})
    assert uniform_scaling(fewer, DENSE_MACS) is None
    assert (
        str(uniform_scaling(fewer, macs_and_params(scale(**{**ARCH, "depths": [1, 1, 2]})).macs))
        == "interior width 0.7"
    )


@pytest.mark.parametrize(
    ("network", "says"),
    [
        (scale(width=0.5, **ARCH), "width 0.5"),
        (scale(interior=0.7, **ARCH), "interior width 0.7"),
        (fit(macs="50%", scaling="interior", **ARCH), "interior width 0.49"),
        (scale(**ARCH), "None"),
    ],
)
def test_scalings_are_recognised(network: Network, says: str) -> None:
    assert str(uniform_scaling(network, DENSE_MACS)) == says


def test_a_shape_that_is_no_scaling_is_not_called_one() -> None:
    network = scale(interior=0.7, **ARCH)
    inside = next(name for name, width in network.channels.items() if name.startswith("layer3") and width < 64)
    for count in (30, 60):
        other = Network(network.arch, network.kwargs, network.input_size, {**network.channels, inside: count})
        assert uniform_scaling(other, DENSE_MACS) is None
    # One step of rounding is allowed; the factor explains every count.
    assert shapes._factor([(11, 16, 1), (22, 32, 1), (46, 64, 1)]) == 0.71
    assert shapes._factor([(8, 16, 1), (32, 32, 1)]) is None


def test_rows_of_one_total_cost_the_same_training(rows: dict[str, Summary], monkeypatch: pytest.MonkeyPatch) -> None:
    """Whole epochs of networks of other sizes: 2 % apart, which is not the same but under one total."""
    row = made(rows["l1, fine-tuned"], [right - 9 for right in STEADY], training=490)
    bar = made(rows["plain width"], STEADY, training=500)
    assert said(row, bar)[-1] == "not judged"
    monkeypatch.setattr(Experiment, "total_macs", 501)
    assert said(row, bar)[-1] == "loses -2.50"
