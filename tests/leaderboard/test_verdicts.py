"""Verdicts worked out by hand: the curve and its ends, the tie, what decides, two budgets, measured rows, training."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from thinresnet.errors import InputError
from thinresnet.leaderboard.bar import Bar
from thinresnet.leaderboard.references import (
    ALL_ASSUMPTIONS,
    ANY_PLAIN_CNN,
    CAVEATS,
    PLAIN_RESNETS,
    SAME_ARCHITECTURE,
    Assumptions,
    may_be_the_bar,
    references_named,
    serves_as,
    usual_references,
)
from thinresnet.leaderboard.schema import FLAGS, REFERENCE_FLAGS, Entry
from thinresnet.leaderboard.store import read_board
from thinresnet.leaderboard.verdicts import Verdict, judge, points
from thinresnet.welch import Sample, half_interval

Make = Callable[..., Entry]
BOARD = Path(__file__).parents[2] / "leaderboard.csv"
BARE = {"dense_top1_printed": "", "cost_printed_g": "", "dense_cost_printed_g": ""}
# Three references of ResNet-50: 70 % at 1 G, 76 % at 2 G, 78 % at 8 G, the last two a wide gap apart.
REFERENCES = {"low": ("1", "70"), "middle": ("2", "76"), "high": ("8", "78")}


@pytest.fixture(scope="module")
def bar(make: Make) -> Bar:
    return Bar(
        make(id=f"ref-{name}", **{**BARE, "family": "scaled", "cost_printed_g": cost, "top1_printed": top1})
        for name, (cost, top1) in REFERENCES.items()
    )


@pytest.fixture(scope="module")
def at(make: Make, bar: Bar) -> Callable[..., Verdict]:
    """The verdict on a row of this cost and accuracy, against the three references."""

    def verdict_of(macs_g: str, top1: str, **cells: str) -> Verdict:
        return judge(bar, make(**{**BARE, "cost_printed_g": macs_g, "top1_printed": top1, **cells}), Assumptions())

    return verdict_of


BETWEEN = 70 + 6 * math.log2(1.5)  # the bar at 1.5 G: 73.5098


@pytest.mark.parametrize(
    ("macs_g", "top1", "outcome", "decided", "gap", "neighbours"),
    [
        ("1", "69.79", "loses", "outright", -0.21, ["ref-low"]),
        ("1", "69.80", "ties", None, -0.2, ["ref-low"]),
        ("1", "70.20", "ties", None, 0.2, ["ref-low"]),
        ("1", "70.21", "clears", "outright", 0.21, ["ref-low"]),
        ("1.5", "73.20", "loses", "interpolated", 73.2 - BETWEEN, ["ref-low", "ref-middle"]),
        ("1.5", "73.40", "ties", None, 73.4 - BETWEEN, ["ref-low", "ref-middle"]),
        ("1.5", "73.80", "clears", "interpolated", 73.8 - BETWEEN, ["ref-low", "ref-middle"]),
        ("1.5", "69.70", "loses", "outright", 69.7 - BETWEEN, ["ref-low", "ref-middle"]),
        ("1.5", "76.00", "clears", "outright", 76 - BETWEEN, ["ref-low", "ref-middle"]),
        ("4", "76.50", "loses", "interpolated", -0.5, ["ref-middle", "ref-high"]),  # the bar is 77 there
        # Off the curve, and within one per cent of its ends.
        ("0.98", "69.99", "unjudged", None, None, ["ref-low"]),
        ("0.98", "70.00", "clears", "outright", 0.0, ["ref-low"]),
        ("0.995", "69.70", "loses", "interpolated", -0.3, ["ref-low"]),
        ("8.05", "78.30", "clears", "outright", 0.3, ["ref-high"]),
        ("9", "78.00", "loses", "outright", 0.0, ["ref-high"]),
        ("9", "75.00", "loses", "outright", -3.0, ["ref-high"]),
        ("9", "78.01", "unjudged", None, None, ["ref-high"]),
    ],
)
def test_the_curve_and_its_ends(
    at: Callable[..., Verdict],
    macs_g: str,
    top1: str,
    outcome: str,
    decided: str | None,
    gap: float | None,
    neighbours: list[str],
) -> None:
    found = at(macs_g, top1)
    assert (found.outcome, found.decided) == (outcome, decided)
    assert found.gap == pytest.approx(gap, abs=1e-8)
    assert [entry.id for entry in found.neighbours] == neighbours
    assert found.wide == (neighbours == ["ref-middle", "ref-high"])
    assert ("Wide gap" in found.says) == found.wide


def test_better_never_stands_lower_across_the_ends(at: Callable[..., Verdict]) -> None:
    # Dearer than all and better: less than a tie, for on the curve it would at least tie; cheaper than all: more.
    ladder = [at("9", "77"), at("9", "79"), at("8", "78"), at("1", "70"), at("0.5", "69"), at("0.4", "71")]
    standings = [verdict.standing for verdict in ladder]
    assert standings == [0, 1, 2, 2, 3, 4]
    assert [verdict.in_words for verdict in ladder] == [
        "loses 1.00", "not judged", "ties", "ties", "not judged", "clears 1.00",
    ]  # fmt: skip


def test_the_tie_is_as_wide_as_the_spreads_that_are_known(make: Make, at: Callable[..., Verdict], bar: Bar) -> None:
    assert at("2", "75.6").outcome == "loses"
    noisy = at("2", "75.6", top1_std="0.5")
    assert (noisy.outcome, noisy.tie_within) == ("ties", 0.5)
    reference = make(id="ref", **{**BARE, "family": "scaled", "cost_printed_g": "2", "top1_std": "0.7"})
    row = make(**{**BARE, "cost_printed_g": "2", "top1_printed": "74.4"})
    assert judge(Bar([reference]), row, Assumptions()).outcome == "ties"
    # But a noisier reference that is better never takes back what a calm one decides.
    calm = replace(reference, id="calm", top1_std=None)
    found = judge(Bar([reference, calm]), row, Assumptions())
    assert (found.outcome, found.decider, found.gap) == ("loses", calm, -0.58)


def test_a_reference_is_held_against_the_others_never_against_itself(make: Make) -> None:
    worse = make(id="worse", **BARE, family="dense", top1_printed="76.1")
    better = make(id="better", **BARE, family="dense", top1_printed="80.8")
    bar = Bar([worse, better])
    assert [entry.id for entry in judge(bar, worse, Assumptions()).neighbours] == ["better"]
    assert judge(bar, better, Assumptions()).outcome == "clears"
    assert judge(Bar([better]), better, Assumptions()).why == "no such reference with known MACs on imagenet"


@pytest.mark.parametrize(
    "cells",
    [
        {"family": "pruned"}, {"family": "init"}, {"family": "scratch"}, {"family": "searched"},
        {"teacher": "resnet152"}, {"extra_data": "ImageNet-21k"},
        *({"flags": flag} for flag in FLAGS if flag not in CAVEATS),
    ],
)  # fmt: skip
def test_what_is_never_the_bar(make: Make, cells: dict[str, str]) -> None:
    assert set(CAVEATS) == REFERENCE_FLAGS
    assert may_be_the_bar(make(**{**BARE, "family": "scaled"}))
    assert not may_be_the_bar(make(**{**BARE, "family": "scaled", **cells}))


def test_a_distilled_row_is_held_against_undistilled_ones_in_words_only(make: Make) -> None:
    bar = Bar([make(id="ref", **{**BARE, "family": "scaled", "cost_printed_g": "2", "top1_printed": "75"})])
    cells = {**BARE, "cost_printed_g": "2", "top1_printed": "76"}
    alone, taught = (judge(bar, make(**cells, **more), Assumptions()) for more in ({}, {"teacher": "resnet50"}))
    assert taught.outcome == alone.outcome == "clears"
    assert "The row was distilled from a teacher (resnet50), the references were not." in taught.says
    assert "distilled" not in alone.says


@pytest.mark.parametrize(
    ("flag", "said"),
    [("best-epoch", "reports its best epoch on the test set"), ("from-image", "was read off an image of a table")],
)
def test_a_flagged_reference_serves_and_says_so(make: Make, flag: str, said: str) -> None:
    reference = make(id="ref", **{**BARE, "family": "scaled", "cost_printed_g": "2", "flags": flag})
    row = make(**{**BARE, "cost_printed_g": "2", "top1_printed": "70"})
    assert judge(Bar([reference]), row, Assumptions()).reservations == [f"ref {said}"]


def test_assumptions_choose_the_references(make: Make) -> None:
    def reference(name: str, top1: str, **cells: str) -> Entry:
        return make(id=name, **{**BARE, "family": "scaled", "cost_printed_g": "2", "top1_printed": top1, **cells})

    bar = Bar(
        [
            reference("classical", "74", recipe="tv_in1k"),
            reference("modern", "76", recipe="a1_in1k"),
            reference("unknown", "75"),
            reference("small", "77", test_resolution="160", recipe="tv_in1k"),
            reference("plain", "78", arch="resnet34", recipe="tv_in1k"),
            reference("cnn", "79", arch="vgg16", recipe="a1_in1k"),
            reference("other-data", "90", dataset="cifar10"),
        ]
    )
    row = make(**{**BARE, "cost_printed_g": "2", "top1_printed": "70"})
    first = {
        (each.references, each.recipes, each.resolution): judge(bar, row, each).neighbours[0].id
        for each in ALL_ASSUMPTIONS
        if each.budget == "macs"
    }
    assert first == {
        (SAME_ARCHITECTURE, "any", "any"): "small",
        (SAME_ARCHITECTURE, "any", "own"): "modern",
        (SAME_ARCHITECTURE, "classical", "any"): "small",
        (SAME_ARCHITECTURE, "classical", "own"): "classical",
        (PLAIN_RESNETS, "any", "any"): "plain",
        (PLAIN_RESNETS, "any", "own"): "plain",
        (PLAIN_RESNETS, "classical", "any"): "plain",
        (PLAIN_RESNETS, "classical", "own"): "plain",
        (ANY_PLAIN_CNN, "any", "any"): "cnn",
        (ANY_PLAIN_CNN, "any", "own"): "cnn",
        (ANY_PLAIN_CNN, "classical", "any"): "plain",
        (ANY_PLAIN_CNN, "classical", "own"): "plain",
    }
    small = replace(row, test_resolution=160)
    assert judge(bar, small, Assumptions(resolution="own")).neighbours[0].id == "small"


def test_two_budgets_hold_a_row_against_the_lower_bar(make: Make) -> None:
    def network(name: str, top1: str, macs: str, params: str, family: str = "scaled") -> Entry:
        cells = {"cost_printed_g": macs, "params_printed_m": params, "top1_printed": top1, "family": family}
        return make(id=name, **{**BARE, **cells})

    bar = Bar(
        [
            network("small", "70", "1", "10"),
            network("large", "76", "2", "20"),
            make(id="no-params", **{**BARE, "family": "scaled", "cost_printed_g": "2", "top1_printed": "90"}),
        ]
    )
    both = Assumptions(budget="both")
    # The MACs of the large, the parameters of the small one: the bar is the small one's.
    lean = judge(bar, network("lean", "71", "2", "10", "pruned"), both)
    assert (lean.outcome, lean.gap, lean.bar) == ("clears", 1.0, 70.0)
    assert judge(bar, network("dear", "75", "2", "40", "pruned"), both).gap == -1.0  # parameters: beyond the dearest
    assert judge(bar, network("tiny", "60", "0.5", "40", "pruned"), both).standing == 3
    assert judge(bar, network("tiny", "70", "0.5", "40", "pruned"), both).outcome == "clears"
    assert judge(bar, network("huge", "76", "3", "40", "pruned"), both).outcome == "loses"
    assert judge(bar, network("huge", "77", "3", "40", "pruned"), both).standing == 1
    lost = judge(bar, network("lost", "69", "2", "10", "pruned"), both)
    assert (lost.decided, lost.decider and lost.decider.id) == ("outright", "small")


def test_measured_rows_meet_only_their_own_kind(make: Make) -> None:
    def network(name: str, family: str, macs: str, top1: str, **cells: str) -> Entry:
        base = {"source": "measured", "n": "3", "top1_std": "0.3", "recipe": "classic", "train_epochs": "5"}
        figures = {"family": family, "cost_printed_g": macs, "top1_printed": top1}
        return make(id=name, **{**BARE, **base, **figures, **cells})

    # A pruned network beside plain width that costs 0.05 % more, as on the board.
    wide = network("wide", "scaled", "2.027", "72", n="4", top1_std="0.4")
    others = [
        network("longer", "scaled", "2.027", "80", train_epochs="90"),
        network("modern", "scaled", "2.027", "80", recipe="modern"),
        network("one-seed", "scaled", "2.027", "80", n="1", top1_std=""),
        network("published", "scaled", "2.027", "80", source="published"),
    ]
    bar = Bar([wide, *others])
    pruned = {"train_epochs": "", "dense_epochs": "5", "tune_epochs": "1"}
    half = half_interval(Sample(3, 0.3), Sample(4, 0.4))
    for ahead, outcome in ((0.99, "ties"), (1.01, "clears"), (-0.99, "ties"), (-1.01, "loses")):
        found = judge(bar, network("row", "pruned", "2.026", f"{72 + ahead * half:.4f}", **pruned), Assumptions())
        assert (found.outcome, [entry.id for entry in found.neighbours]) == (outcome, ["wide"])
        assert found.tie_within == pytest.approx(half)
    single = judge(bar, network("row", "pruned", "2.026", "71", n="1", top1_std="", **pruned), Assumptions())
    assert (single.outcome, single.gap, single.why) == ("unjudged", -1.0, "1 seed: no verdict")
    assert single.in_words == "n<3 (-1.00)"
    assert judge(Bar([wide]), network("row", "pruned", "2", "70", recipe="short"), Assumptions()).why == (
        "no reference was measured with its dataset, recipe and epochs"
    )
    few = judge(Bar([replace(wide, n=2)]), network("row", "pruned", "2.026", "71", **pruned), Assumptions())
    assert (few.outcome, few.why) == ("unjudged", "2 seeds of a reference: no verdict")
    # A published row meets a measured reference only if that has three seeds.
    row = make(**{**BARE, "cost_printed_g": "2.027"})
    assert judge(Bar([wide, others[2]]), row, Assumptions()).neighbours == (wide,)


def test_a_reference_that_is_cheaper_to_train_is_said_to_be(make: Make) -> None:
    reference = make(
        id="ref-a3", family="dense", top1_printed="76", **BARE, test_resolution="160", train_resolution="160",
        train_epochs="100",
    )  # fmt: skip
    row = {**BARE, "cost_printed_g": "2.1", "top1_printed": "75"}
    said = judge(Bar([reference]), make(**row, dense_epochs="90"), Assumptions()).cheaper_to_train
    assert said == "The reference is cheaper to train, too: 208.7 epoch-GMACs against at least 368"
    assert judge(Bar([reference]), make(**row, dense_epochs="40"), Assumptions()).cheaper_to_train == ""
    assert judge(Bar([reference]), make(**row), Assumptions()).cheaper_to_train == ""


@pytest.mark.parametrize(
    ("cells", "why"),
    [
        ({"top1_printed": ""}, "its top-1 accuracy does not follow from what was printed"),
        ({"flags": "accuracy-doubtful"}, "its sources disagree about its accuracy"),
        ({"flags": "cost-doubtful"}, "its sources disagree about its MACs"),
        ({"cost_unit": "unknown"}, "the unit of its cost is unknown"),
        ({"cost_printed_g": ""}, "its MACs do not follow from what was printed"),
    ],
)
def test_what_cannot_be_judged_says_why(bar: Bar, make: Make, cells: dict[str, str], why: str) -> None:
    found = judge(bar, make(**{**BARE, "cost_printed_g": "2", **cells}), Assumptions())
    assert (found.outcome, found.why, found.gap, found.standing) == ("unjudged", why, None, None)
    assert found.says == f"not judged against same architecture, any recipe, on MACs: {why}."


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
def test_the_reference_sets(arch: str, plain_resnet: bool, plain_cnn: bool) -> None:
    assert serves_as(arch, PLAIN_RESNETS, "resnet50") == plain_resnet
    assert serves_as(arch, ANY_PLAIN_CNN, "resnet50") == plain_cnn
    assert serves_as(arch, SAME_ARCHITECTURE, arch)
    assert not serves_as(arch, SAME_ARCHITECTURE, "other_net")
    assert usual_references(arch) == (PLAIN_RESNETS if plain_resnet else SAME_ARCHITECTURE)


def test_names_as_people_type_them() -> None:
    assert references_named("plain-resnets", "vgg16") == PLAIN_RESNETS
    assert references_named("Any plain CNN", "vgg16") == ANY_PLAIN_CNN
    assert references_named("", "vgg16") == SAME_ARCHITECTURE
    with pytest.raises(InputError, match=r"--against plain-resnet: .*did you mean 'plain-resnets'"):
        references_named("plain-resnet", "vgg16")
    with pytest.raises(InputError, match=r"recipes 'classic': one of any, classical; did you mean 'classical'"):
        Assumptions(recipes="classic")


def test_points_for_a_drawing(bar: Bar) -> None:
    drawn = points(bar, "imagenet", "resnet50", Assumptions())
    assert [(point.cost, point.top1, point.wide_after) for point in drawn] == [
        (1.0, 70.0, False), (2.0, 76.0, True), (8.0, 78.0, False),
    ]  # fmt: skip
    assert points(bar, "imagenet", "vgg16", Assumptions()) == ()


def test_no_verdict_of_the_board_rests_on_a_forbidden_reference() -> None:
    board = read_board(BOARD)
    bar = Bar(board)
    neighbours = 0
    for entry in board:
        if may_be_the_bar(entry):
            continue
        for cell in ALL_ASSUMPTIONS[::5]:
            for reference in judge(bar, entry, cell).neighbours:
                neighbours += 1
                assert reference.dataset == entry.dataset
                assert reference.family in ("dense", "scaled")
                assert (reference.teacher, reference.extra_data) == ("", "")
                assert set(reference.flags) <= REFERENCE_FLAGS
                assert serves_as(reference.arch, cell.references, entry.arch)
                assert cell.references == SAME_ARCHITECTURE or not reference.arch_searched
                assert cell.resolution == "any" or reference.resolution == entry.resolution
    assert neighbours > 1000
