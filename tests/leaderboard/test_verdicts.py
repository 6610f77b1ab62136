"""Verdicts worked out by hand, read back from a CSV; what may be the bar; the headline; typed-in figures; a run."""

from __future__ import annotations

import csv
import json
import re
from collections.abc import Callable
from dataclasses import replace
from decimal import Decimal
from pathlib import Path

import pytest

from thinresnet.errors import InputError
from thinresnet.leaderboard.schema import FLAGS, Entry
from thinresnet.leaderboard.store import default_board, read_board, render
from thinresnet.leaderboard.verdicts import (
    ANY_PLAIN_CNN,
    CLEARS,
    NEAR,
    PLAIN_RESNETS,
    SAME_ARCHITECTURE,
    UNJUDGED,
    Bar,
    caveats,
    describe,
    family_named,
    headline,
    may_be_the_bar,
    place,
    serves_as,
    typed_in,
    uncertainty_of,
    usual_references,
)

Make = Callable[..., Entry]
BARE = {"dense_top1_printed": "", "cost_printed_g": "", "dense_cost_printed_g": ""}
# What frozen_verdicts.csv was worked out with, by hand. Counted at 224 px: ResNet-50 4.089184256 G and 25.557032 M
# (176 px: 2.608132096 G), ResNet-101 7.80140544 G, ResNet-18d 2.05371392 G and 11.708744 M, MobileNetV1 0.56874 G;
# on CIFAR ResNet-20 0.04055104 G and ResNet-56 0.125485696 G.
REFERENCES = {
    "ref-rn50": {"family": "dense", "top1_printed": "80.86", "train_epochs": "600"},
    "ref-rn50-176": {"family": "dense", "top1_printed": "79.43", "test_resolution": "176", "train_epochs": "600"},
    # 1.07 / 4.12 x 4.089184256 = 1.0620 G
    "ref-rn50-half": {
        "family": "scaled", "top1_printed": "72.75", "cost_printed_g": "1.07", "dense_cost_printed_g": "4.12",
        "params_printed_m": "6.92", "train_epochs": "100",
    },
    "ref-rn18d": {"family": "dense", "arch": "resnet18d", "top1_printed": "74.36", "train_epochs": "3600"},
    "ref-rn101": {"family": "dense", "arch": "resnet101", "top1_printed": "81.9"},
    "ref-mnv1": {"family": "dense", "arch": "mobilenetv1_100", "top1_printed": "75.4"},
    "ref-c10-rn20": {
        "family": "dense", "dataset": "cifar10", "arch": "resnet20_cifar", "top1_printed": "92.5", "top1_std": "0.2",
        "n": "5",
    },
    "ref-jpeg-rn20": {"family": "dense", "dataset": "cifar10-jpeg", "arch": "resnet20_cifar", "top1_printed": "91.0"},
    # None of these may ever be the bar, however good.
    "no-searched": {"family": "searched", "top1_printed": "77.0", "cost_printed_g": "1.0"},
    "no-pruned": {"family": "pruned", "top1_printed": "80.0", "cost_printed_g": "1.0"},
    "no-scratch": {"family": "scratch", "top1_printed": "80.0", "cost_printed_g": "1.0"},
    "no-teacher": {"family": "dense", "top1_printed": "83.0", "teacher": "resnet152"},
    "no-extra-data": {"family": "dense", "top1_printed": "84.0", "extra_data": "ImageNet-21k"},
    "no-shared": {"family": "scaled", "top1_printed": "77.0", "cost_printed_g": "1.0", "flags": "shared-weights"},
    "no-best-epoch": {
        "family": "dense", "dataset": "cifar10", "arch": "resnet20_cifar", "top1_printed": "93.9",
        "flags": "best-epoch",
    },
}  # fmt: skip


@pytest.fixture(scope="module")
def bar(make: Make, tmp_path_factory: pytest.TempPathFactory) -> Bar:
    """The references as a CSV says them."""
    path = tmp_path_factory.mktemp("bar") / "leaderboard.csv"
    rows = [make(id=name, **{**BARE, **cells}) for name, cells in REFERENCES.items()]
    path.write_text(render(rows), encoding="utf-8")
    return Bar(read_board(path))


with Path(__file__).with_name("frozen_verdicts.csv").open(encoding="utf-8", newline="") as table:
    FROZEN = list(csv.DictReader(table))


@pytest.mark.parametrize("case", FROZEN, ids=[case["case"] for case in FROZEN])
def test_the_frozen_verdicts(bar: Bar, make: Make, case: dict[str, str]) -> None:
    cells = dict(cell.split("=", 1) for cell in case["row"].split("; ") if cell)
    found = bar.verdict(make(**{**BARE, **cells}), case["family"], case["budget"])
    assert (found.outcome, found.why) == (case["outcome"], case["why"])
    assert found.gap == (Decimal(case["gap"]) if case["gap"] else None)
    assert (found.reference.id if found.reference else "") == case["reference"]
    assert found.family in found.says
    if found.outcome == UNJUDGED:
        assert not found.settled
        assert found.why in found.says
    else:
        assert found.near == (case["near"] == "yes")
        assert found.settled == (found.outcome != CLEARS or found.near)
        assert found.rests_on


def test_between_equals_the_cheaper_reference_is_named_and_order_does_not_matter(make: Make) -> None:
    dear = make(id="dear", **BARE, family="dense", arch="resnet50", top1_printed="75.0")
    cheap = make(id="cheap", **BARE, family="dense", arch="resnet34", top1_printed="75.00")
    row = make(**{**BARE, "cost_printed_g": "4.09"})
    for order in ([dear, cheap], [cheap, dear]):
        assert Bar(order).verdict(row, PLAIN_RESNETS).reference == cheap


def test_a_reference_is_held_against_the_others_never_against_itself(make: Make) -> None:
    worse = make(id="worse", **BARE, family="dense", top1_printed="76.1")
    better = make(id="better", **BARE, family="dense", top1_printed="80.8")
    bar = Bar([worse, better])
    assert (bar.verdict(better).reference, bar.verdict(worse).reference) == (worse, better)
    assert Bar([better]).verdict(better).outcome == UNJUDGED


@pytest.mark.parametrize("flag", FLAGS)
def test_a_row_with_any_flag_is_never_the_bar(make: Make, flag: str) -> None:
    plain = make(**BARE, family="dense", top1_printed="80.8")
    assert may_be_the_bar(plain)
    assert not may_be_the_bar(replace(plain, flags=(flag,)))


def test_a_verdict_never_changes_because_of_rows_that_may_not_be_the_bar(make: Make) -> None:
    board = read_board(default_board())
    lean, whole = Bar([entry for entry in board if may_be_the_bar(entry)]), Bar(board)
    for entry in board:
        if entry.arch == "resnet50" and entry.family == "pruned":
            assert lean.verdict(entry) == whole.verdict(entry)


def test_no_verdict_of_the_board_uses_a_dearer_or_a_forbidden_reference() -> None:
    board = read_board(default_board())
    bar = Bar(board)
    judged = 0
    for entry in board:
        if may_be_the_bar(entry):
            continue
        for verdict in bar.all_verdicts(entry):
            reference = verdict.reference
            if reference is None:
                continue
            judged += 1
            assert reference.dataset == entry.dataset
            assert reference.family in ("dense", "scaled")
            assert (reference.teacher, reference.extra_data, reference.flags) == ("", "", ())
            assert serves_as(reference.arch, verdict.family, entry.arch)
            if verdict.family != SAME_ARCHITECTURE:
                assert not reference.arch_searched
            if verdict.budget != "parameters":
                assert reference.macs_g is not None
                assert entry.macs_g is not None
                assert reference.macs_g <= entry.macs_g * 1.0203
            if "parameters" in verdict.budget:
                assert reference.params_m is not None
                assert entry.params_m is not None
                assert reference.params_m <= entry.params_m * 1.0203
    assert judged > 1000


@pytest.mark.parametrize(
    ("arch", "plain_resnet", "plain_cnn"),
    [
        ("resnet18", True, True), ("resnet101", True, True), ("resnet50d", True, True), ("resnet26t", True, True),
        ("resnet56_cifar", True, True), ("resnet110_cifar", True, True), ("resnet18_cifar", True, True),
        ("resnet152", False, True), ("resnet14t", False, True), ("resnet164_cifar", False, True),
        ("resnetv2_50", False, True), ("wide_resnet50_2", False, True), ("resnext50_32x4d", False, True),
        ("vgg16_bn", False, True), ("densenet121", False, True), ("mobilenetv2_100", False, True),
        ("mobilenetv1_125", False, True), ("convnext_tiny", False, True), ("inception_v3", False, True),
        ("resnetrs50", False, False), ("mobilenetv3_large_100", False, False), ("efficientnet_b0", False, False),
        ("mobilenetv4_conv_small", False, False), ("regnetx_008", False, False), ("seresnet50", False, False),
        ("vit_small_patch16_224", False, False), ("ecaresnet50d", False, False), ("xresnet50", False, False),
    ],
)  # fmt: skip
def test_the_reference_families(arch: str, plain_resnet: bool, plain_cnn: bool) -> None:
    assert serves_as(arch, PLAIN_RESNETS, "resnet50") == plain_resnet
    assert serves_as(arch, ANY_PLAIN_CNN, "resnet50") == plain_cnn
    assert serves_as(arch, SAME_ARCHITECTURE, arch)
    assert not serves_as(arch, SAME_ARCHITECTURE, "other_net")
    assert usual_references(arch) == (PLAIN_RESNETS if plain_resnet else SAME_ARCHITECTURE)


def test_families_are_named_as_people_type_them() -> None:
    assert family_named("plain-resnets", "vgg16") == PLAIN_RESNETS
    assert family_named("Any plain CNN", "vgg16") == ANY_PLAIN_CNN
    assert family_named("", "vgg16") == SAME_ARCHITECTURE
    with pytest.raises(InputError, match=r"--against plain-resnet: .*did you mean 'plain-resnets'"):
        family_named("plain-resnet", "vgg16")


def test_the_headline_counts_each_published_pruning_point_once(bar: Bar, make: Make) -> None:
    def point(name: str, **cells: str) -> Entry:
        return make(id=name, **{**BARE, **cells})

    rows = [
        point("loses-far", cost_printed_g="4.08", top1_printed="76.43"),  # 3.00 below 79.43 at 64 % of its cost
        point("loses-near", cost_cut_pct="50", top1_printed="73.36"),  # 1.00 below 74.36
        point("ties", cost_cut_pct="50", top1_printed="74.36"),
        point("clears", cost_cut_pct="50", top1_printed="76.36"),  # 2.00 above
        point("clears-helped", cost_cut_pct="50", top1_printed="77.36", teacher="resnet101"),  # 3.00 above
        point("far", cost_printed_g="1.70", top1_printed="75"),  # above 72.75, which costs 62 %
        point("none", cost_printed_g="0.5", top1_printed="70"),
        point("unit", cost_printed_g="2.05", cost_unit="unknown"),
        point("init", family="init", cost_cut_pct="50", top1_printed="72.36"),  # 2.00 below
        point("measured", source="measured", cost_printed_g="2", top1_printed="60"),
        point("scratch", family="scratch", cost_printed_g="2", top1_printed="60"),
        point("other-net", arch="resnet34", cost_printed_g="2", top1_printed="60"),
        point("other-data", dataset="cifar10", cost_printed_g="2", top1_printed="60"),
    ]
    said = headline(rows, bar)
    names = [[verdict.entry.id for verdict in group] for group in (said.beaten, said.tied, said.stand)]
    assert names == [["loses-far", "init", "loses-near"], ["ties"], ["clears-helped", "clears"]]
    assert [verdict.entry.id for verdict in said.no_reference] == ["far", "none"]
    assert [verdict.entry.id for verdict in said.unknown] == ["unit"]
    # Leads over the six that are settled: 3, 2, 1, 0, -2, -3; the middle of 1 and 0.
    assert said.median_lead == Decimal("0.5")
    assert said.says == (
        "Of 9 published pruning results for resnet50 on imagenet, 6 can be judged on MACs against plain ResNets: "
        "simple scaling beats 3 at no greater cost (1 of them by a network tested at another resolution), 1 tie, "
        "2 clear the bar (1 with a teacher or extra data). The median lead of scaling over the 6 is 0.50 points. "
        "2 cannot be judged for want of a reference near their cost, 1 because their cost or accuracy is not known."
    )


def test_the_boards_own_headline_adds_up() -> None:
    board = read_board(default_board())
    bar = Bar(board)
    for family in (PLAIN_RESNETS, SAME_ARCHITECTURE, ANY_PLAIN_CNN):
        said = headline(board, bar, family=family)
        groups = (said.beaten, said.tied, said.stand, said.no_reference, said.unknown)
        ids = [verdict.entry.id for group in groups for verdict in group]
        assert len(ids) == len(set(ids)) == len(said.verdicts) > 150
        assert all(verdict.near for verdict in said.stand)
        for verdict in said.beaten:
            assert verdict.reference is not None
            assert verdict.reference.top1 is not None
            assert verdict.entry.top1 is not None
            assert verdict.reference.top1 > verdict.entry.top1


def test_a_wider_family_never_lowers_the_bar() -> None:
    board = read_board(default_board())
    bar = Bar(board)
    for entry in board:
        if entry.arch == "resnet50" and not may_be_the_bar(entry):
            gaps = [bar.verdict(entry, family).gap for family in (SAME_ARCHITECTURE, PLAIN_RESNETS, ANY_PLAIN_CNN)]
            known = [gap for gap in gaps if gap is not None]
            assert known == sorted(known, reverse=True)


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
    result = {"dataset": "imagenet", "arch": "resnet50", "top1_test": 81.5, "macs": 4089184256, "params": 25557032}
    line = place(json.loads(json.dumps(result)), board)
    assert line.startswith("81.500 % top-1 at 4.089G MACs on imagenet: clears the bar by 0.640 points: resnet50")
    assert "\n" not in line
    assert place({**result, "dataset": "my photos"}, board) == (
        "not placed on the board: it has no data set 'my photos'"
    )
    assert place({**result, "dataset": "cifar10"}, board).endswith("none of plain ResNets costs as little")
    missing = place(result, tmp_path / "none.csv")
    assert re.match(r"not placed on the board: .*none\.csv.*cannot be read", missing)
    assert place({**result, "top1_test": None}, board) == "not placed on the board: it was not tested"
    assert place({**result, "top1_test": float("nan")}, board).startswith("not placed on the board: top1_printed")


def test_words_about_a_row(make: Make) -> None:
    scaled = make(**BARE, family="dense", arch="resnet50", method="resnet50.tv2_in1k", test_resolution="176")
    assert describe(scaled) == (
        "resnet50.tv2_in1k at 176 px (resolution scaled) [lin2020hrank] with 74.98 %, 2.608 G MACs, 25.56 M parameters"
    )
    assert uncertainty_of(make(top1_std="0.12", n="3")) == "±0.12 (3 runs)"
    assert uncertainty_of(make(n="1")) == "spread unknown (1 run)"
    assert uncertainty_of(make()) == "spread unknown (runs not stated)"
    doubtful = make(teacher="resnet101", extra_data="JFT", hand="second", flags="best-epoch", test_resolution="288")
    assert caveats(doubtful) == [
        "distilled from a teacher: resnet101",
        "trained on extra data: JFT",
        "tested at 288 px, not at 224",
        "quoted by another source (lmbxmu/HRank)",
        "best-epoch: the accuracy is that of the best epoch on the test set",
    ]


def test_near_means_nine_tenths(make: Make) -> None:
    reference = make(id="ref", **BARE, family="dense", top1_printed="70")  # 4.089184256 G
    bar = Bar([reference])
    at = {"dense_top1_printed": "", "dense_cost_printed_g": ""}
    assert pytest.approx(4.089184256 / 4.5435, abs=1e-4) == NEAR
    assert bar.verdict(make(**at, cost_printed_g="4.543")).near
    assert not bar.verdict(make(**at, cost_printed_g="4.544")).near
