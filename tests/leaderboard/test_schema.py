"""A row: what may stand in a cell, and what code derives from the figures that a source printed."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from decimal import Decimal

import pytest

from thinresnet.leaderboard.dense import dense_cost, table
from thinresnet.leaderboard.schema import COLUMNS, DATASETS, FLAGS, NAMES, Entry, format_row, order, parse

RESNET50 = 4.089184256


def test_the_columns_are_the_fields_and_say_what_is_allowed() -> None:
    assert tuple(field.name for field in dataclasses.fields(Entry)) == NAMES
    assert len(set(NAMES)) == len(NAMES)
    for column in COLUMNS:
        assert column.help
        assert column.allowed
    assert all(FLAGS.values())


@pytest.mark.parametrize(
    ("column", "text"),
    [
        *(("method", start + "HRank") for start in "=+-@"),
        ("method", " HRank"),
        ("method", "HRank "),
        ("method", "H\tRank"),
        ("method", "H\nRank"),
        ("method", "H\x00Rank"),
        ("method", "H\u202eknaR"),
        ("method", "H\u200bRank"),
        ("method", "H\u00a0Rank"),
        ("method", "e\u0301toile"),
        ("method", "x" * 401),
        *(
            ("top1_printed", text)
            for text in ("76,1", "76.1%", "nan", "inf", "-inf", "1e2", "+76.1", "076.1", "76.", ".5")
        ),
        *(
            ("top1_printed", text)
            for text in ("100.01", "-0.1", "-0", "\uff17\uff16.1", "7_6", "0x4C", " 76.1", "76.1 ")
        ),
        *(("cost_printed_g", text) for text in ("0", "10001", "4.09G", "4 .09", "1" * 30)),
        *(("n", text) for text in ("0", "1.0", "-1", "1001", "five")),
        *(("test_resolution", text) for text in ("7", "4096", "224px")),
        ("dataset", "Imagenet"),
        ("family", "pruning"),
        ("cost_unit", "flops"),
        ("flags", "dynamic+best-epoch"),
        ("flags", "dynamic+dynamic"),
        ("flags", "slow"),
        ("id", "HRank 1"),
        ("id", "../../etc/passwd"),
        ("paper", "lin 2020"),
        ("arch", "ResNet-50"),
        ("read_commit", "main"),
        ("evidence", "/etc"),
        ("evidence", "baselines/results/../../secrets"),
    ],
)
def test_a_cell_that_breaks_its_rule_is_named(cells: dict[str, str], column: str, text: str) -> None:
    entry, faults = parse({**cells, column: text})
    assert entry is None
    assert [fault.column for fault in faults] == [column]
    assert faults[0].value == text
    assert faults[0].allowed
    assert "\n" not in str(faults[0])


@pytest.mark.parametrize(
    ("column", "text"),
    [
        ("method", "<script>alert(1)</script>"),
        ("method", 'ThiNet "50", r=0.5'),
        ("method", "Élagage à 50 %"),
        ("method", "剪枝"),
        ("top1_printed", "76.10"),
        ("top1_printed", "0"),
        ("top1_drop_printed", "-0.14"),
        ("cost_cut_pct", "-12.5"),
        ("flags", "best-epoch+dynamic"),
    ],
)
def test_what_is_allowed_comes_back_as_it_was(cells: dict[str, str], column: str, text: str) -> None:
    entry, faults = parse({**cells, column: text})
    assert not faults
    assert entry is not None
    assert format_row(entry)[NAMES.index(column)] == text


@pytest.mark.parametrize("column", [column.name for column in COLUMNS if column.required])
def test_what_is_required_may_not_be_empty(cells: dict[str, str], column: str) -> None:
    entry, faults = parse({**cells, column: ""})
    assert entry is None
    assert [fault.column for fault in faults] == [column]


def test_an_unknown_column_is_refused_with_the_nearest(cells: dict[str, str]) -> None:
    _, faults = parse({**cells, "top1": "76.1"})
    assert faults[0].column == "header"
    _, faults = parse({**cells, "spedup_x": "2"})
    assert "speedup_x" in faults[0].allowed


# Cells that replace the figures of a ResNet-50 row, and what follows: MACs in G, their basis, MAC ratio.
COSTS = {
    "both printed": ({"cost_printed_g": "2.045", "dense_cost_printed_g": "4.09"}, 0.5, "printed cost / printed dense"),
    "other unit, both printed": (
        {"cost_printed_g": "4.00", "dense_cost_printed_g": "8.00", "cost_unit": "2-per-mac"},
        0.5,
        "printed cost / printed dense",
    ),
    "original variant": (
        {"cost_printed_g": "1.93", "dense_cost_printed_g": "3.86", "cost_unit": "unknown"},
        0.5,
        "printed cost / printed dense",
    ),
    "cut": ({"cost_cut_pct": "53.5"}, 0.465, "printed cut"),
    "kept": ({"cost_kept_pct": "46.5"}, 0.465, "printed share kept"),
    "speed-up": ({"speedup_x": "2.00"}, 0.5, "printed speed-up"),
    "absolute, MACs": ({"cost_printed_g": "2.044592128"}, 0.5, "printed MACs"),
    "absolute, two a MAC": (
        {"cost_printed_g": "4.089184256", "cost_unit": "2-per-mac"},
        0.5,
        "printed operations, two a MAC",
    ),
    "absolute, unknown": ({"cost_printed_g": "2.05", "cost_unit": "unknown"}, None, ""),
    "nothing": ({}, None, ""),
    "doubtful": ({"cost_cut_pct": "50", "flags": "cost-doubtful"}, None, ""),
    "nominal": ({"cost_cut_pct": "50", "flags": "cost-nominal"}, 0.5, "printed cut x counted dense, a nominal target"),
    "a wider dense network, unit unknown": (
        {"cost_printed_g": "4.09", "dense_cost_printed_g": "14.2", "cost_unit": "unknown"},
        None,
        "",
    ),
    "two a MAC in an unknown unit is the same network": (
        {"cost_printed_g": "4.09", "dense_cost_printed_g": "8.18", "cost_unit": "unknown"},
        0.5,
        "printed cost / printed dense",
    ),
    "pruned from wider: no share of this network": ({"cost_cut_pct": "50", "flags": "from-wider"}, None, ""),
    "counted from the source's code": (
        {"cost_printed_g": "2.044592128", "flags": "cost-counted"},
        0.5,
        "counted: the shape in the source's code",
    ),
    "a wider dense network": (
        {"cost_printed_g": "4.089184256", "dense_cost_printed_g": "8.1"},
        1.0,
        "printed MACs",
    ),
}


@pytest.mark.parametrize("case", COSTS)
def test_macs_follow_from_what_is_printed(make: Callable[..., Entry], case: str) -> None:
    changes, ratio, basis = COSTS[case]
    entry = make(**{"cost_printed_g": "", "dense_cost_printed_g": "", **changes})
    assert entry.macs_basis.startswith(basis)
    assert bool(entry.macs_basis) == bool(basis)
    if ratio is None:
        assert entry.macs_g is None
        assert entry.macs_ratio is None
    else:
        assert entry.macs_ratio == pytest.approx(ratio)
        assert entry.macs_g == pytest.approx(ratio * RESNET50)


def test_a_dense_row_costs_what_is_counted_at_its_resolution(make: Callable[..., Entry]) -> None:
    plain = {"family": "dense", "dense_top1_printed": "", "dense_cost_printed_g": "", "cost_printed_g": "4.12"}
    usual = make(**plain)
    assert usual.macs_g == pytest.approx(RESNET50)
    assert not usual.resolution_scaled
    larger = make(**plain, test_resolution="288")
    assert larger.resolution_scaled
    counted = dense_cost("resnet50", 288, 1000)
    assert counted is not None
    assert larger.macs_g == counted.macs / 1e9
    assert larger.macs_ratio == pytest.approx(counted.macs / 4089184256)


def test_parameters_follow_likewise(make: Callable[..., Entry]) -> None:
    assert make().params_m is None
    assert make(params_printed_m="12.78").params_m == 12.78
    assert make(params_cut_pct="50").params_m == pytest.approx(25.557032 / 2)
    assert make(params_shrink_x="2.0").params_ratio == pytest.approx(0.5)
    assert make(params_kept_pct="25", flags="params-doubtful").params_ratio is None


def test_accuracies_follow_from_errors_and_drops(make: Callable[..., Entry]) -> None:
    assert make().top1_drop == Decimal("1.17")
    error = make(accuracy_unit="error", top1_printed="25.02", dense_top1_printed="23.85")
    assert (error.top1, error.dense_top1, error.top1_drop) == (Decimal("74.98"), Decimal("76.15"), Decimal("1.17"))
    dropped = make(top1_printed="", top1_drop_printed="-0.14")
    assert (dropped.top1, dropped.top1_drop) == (Decimal("76.29"), Decimal("-0.14"))
    only = make(top1_printed="", dense_top1_printed="", top1_drop_printed="0.89")
    assert (only.top1, only.dense_top1, only.top1_drop) == (None, None, Decimal("0.89"))


def test_the_dense_parent_is_on_the_bill(make: Callable[..., Entry]) -> None:
    half = {"cost_printed_g": "", "dense_cost_printed_g": "", "speedup_x": "2"}
    images, dense = 1_281_167, 4089184256
    assert make(**half, tune_epochs="60").training_macs is None
    pruned = make(**half, dense_epochs="90", prune_epochs="10", tune_epochs="60")
    assert pruned.training_macs == pytest.approx(3 * images * (100 * dense + 60 * dense / 2))
    assert make(**half, dense_epochs="90", tune_epochs="60").training_macs == pytest.approx(3 * images * 120 * dense)
    scaled = make(**half, family="scaled", train_epochs="100")
    assert scaled.training_macs == pytest.approx(3 * images * 100 * dense / 2)
    small_images = make(**half, family="scaled", train_epochs="100", train_resolution="112")
    assert small_images.training_macs == pytest.approx(3 * images * 100 * dense / 2 / 4)
    counted = make(**half, training_macs_printed_g="123.5", family="scaled", train_epochs="100")
    assert counted.training_macs == pytest.approx(123.5e9)


def test_a_measured_row_has_its_own_counts(make: Callable[..., Entry]) -> None:
    measured = make(source="measured", dataset="digits", arch="resnet20_cifar", params_printed_m="0.069")
    assert measured.macs_basis == "counted"
    assert measured.macs_g == 2.30
    assert measured.dense is None
    assert measured.macs_ratio == pytest.approx(2.30 / 4.09)


def test_an_architecture_that_was_searched_is_known_as_such(make: Callable[..., Entry]) -> None:
    for arch in ("efficientnet_b0", "mobilenetv3_large_100", "mnasnet_100", "regnety_004", "tf_efficientnet_lite0"):
        assert make(arch=arch).arch_searched, arch
    for arch in ("resnet50", "resnet50d", "mobilenetv2_100", "vgg16_bn", "densenet121"):
        assert not make(arch=arch).arch_searched, arch


def test_order_puts_a_network_together_and_never_ties(make: Callable[..., Entry]) -> None:
    one, two = make(), make(id="lin2020hrank-resnet50-000009")
    assert order(one) < order(two)
    assert order(make(dataset="cifar10", arch="vgg16_cifar")) < order(one)


def test_every_dense_network_has_a_data_set_that_it_is_counted_for() -> None:
    classes = {each.classes for each in DATASETS.values()}
    for (arch, input_size, count), cost in table().items():
        assert count in classes, arch
        assert 8 <= input_size <= 600
        assert cost.macs > cost.params / 4, arch
