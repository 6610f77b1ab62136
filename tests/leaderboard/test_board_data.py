"""The board itself: every row keeps every rule, and the known errors of the literature are not on it."""

from __future__ import annotations

from collections import Counter
from decimal import Decimal
from pathlib import Path

import pytest

import thinresnet
from thinresnet.leaderboard.check import check
from thinresnet.leaderboard.papers import Paper, bib_beside, read_bib
from thinresnet.leaderboard.schema import Entry
from thinresnet.leaderboard.store import read_board

BOARD = Path(thinresnet.__file__).parents[1] / "leaderboard.csv"


@pytest.fixture(scope="module")
def entries() -> list[Entry]:
    return read_board(BOARD)


@pytest.fixture(scope="module")
def papers() -> dict[str, Paper]:
    return read_bib(bib_beside(BOARD))


def of(entries: list[Entry], **cells: str) -> list[Entry]:
    return [entry for entry in entries if all(getattr(entry, name) == value for name, value in cells.items())]


def test_every_row_keeps_every_rule() -> None:
    assert [str(problem) for problem in check(BOARD)] == []


def test_there_are_as_many_published_results_as_promised(entries: list[Entry]) -> None:
    published = of(entries, source="published")
    assert len(published) >= 1700
    assert {name: count >= 250 for name, count in Counter(entry.dataset for entry in published).items()} == {
        "imagenet": True,
        "cifar10": True,
        "cifar100": True,
    }
    pruned = [entry for entry in published if entry.family in ("pruned", "init")]
    assert len({(entry.paper, entry.dataset, entry.arch, entry.method, entry.top1) for entry in pruned}) > 800
    assert len({entry.paper for entry in published}) > 90


def test_most_rows_have_canonical_macs_and_the_others_say_why(entries: list[Entry]) -> None:
    without = [entry for entry in entries if entry.macs_g is None]
    assert len(without) < len(entries) / 10
    for entry in without:
        relative = (entry.cost_cut_pct, entry.cost_kept_pct, entry.speedup_x)
        unknown = entry.cost_unit == "unknown" or entry.cost_printed_g is None
        assert "cost-doubtful" in entry.flags or (unknown and relative == (None, None, None)), entry.id


def test_no_row_is_a_quotation_where_the_own_source_was_read(entries: list[Entry]) -> None:
    costs = {}
    for entry in entries:
        if entry.hand == "first" and entry.top1:
            key = (entry.paper, entry.dataset, entry.arch, entry.family, round(entry.top1, 2))
            costs.setdefault(key, []).append(entry.macs_ratio)
    assert costs
    for entry in entries:
        if entry.hand == "second" and entry.top1 is not None and entry.macs_ratio is not None:
            key = (entry.paper, entry.dataset, entry.arch, entry.family, round(entry.top1, 2))
            for ratio in costs.get(key, []):
                assert ratio is None or abs(ratio - entry.macs_ratio) > 0.02, entry.id


# Paper, architecture, top-1 that stands on the board, top-1 or cut that other tables print and that does not.
KNOWN_ERRORS = [
    ("sui2021chip", "resnet50", "76.41", "76.30"),
    ("sui2021chip", "resnet50", "73.30", "72.30"),
    ("lin2020abcpruner", "resnet50", "74.843", "72.84"),
    ("he2017cp", "resnet50", "72.3", "75.06"),
    ("lin2018gdp", "resnet50", "71.89", "71.19"),
    ("lin2020hrank", "resnet56_cifar", "93.17", "92.17"),
]


@pytest.mark.parametrize(("paper", "arch", "right", "wrong"), KNOWN_ERRORS)
def test_a_known_misquotation_is_not_on_the_board(
    entries: list[Entry], paper: str, arch: str, right: str, wrong: str
) -> None:
    accuracies = {entry.top1 for entry in of(entries, paper=paper, arch=arch)}
    assert Decimal(right) in accuracies
    assert Decimal(wrong) not in accuracies


def test_a_cut_of_parameters_is_not_a_cut_of_cost(entries: list[Entry]) -> None:
    (pfp,) = (e for e in of(entries, paper="liebenwein2020pfp", arch="resnet50") if e.top1 == Decimal("75.21"))
    assert pfp.macs_ratio == pytest.approx(0.56, abs=0.005)
    assert pfp.params_ratio == pytest.approx(0.70, abs=0.005)


def test_two_operations_a_mac_are_halved(entries: list[Entry]) -> None:
    (half,) = (e for e in of(entries, paper="luo2020autopruner", arch="resnet50") if e.top1 == Decimal("74.76"))
    assert half.cost_unit == "2-per-mac"
    assert half.macs_g == pytest.approx(2.0, abs=0.03)
    assert half.macs_ratio == pytest.approx(4.00 / 8.18, abs=0.001)


def test_the_original_variant_carries_its_share_only(entries: list[Entry]) -> None:
    (row,) = of(entries, paper="gfiap")
    assert (row.cost_unit, str(row.dense_cost_printed_g)) == ("unknown", "3.89")
    assert row.macs_ratio == pytest.approx(2.23 / 3.89)


def test_a_printed_drop_that_is_none_is_flagged(entries: list[Entry]) -> None:
    doubtful = [entry for entry in entries if "drop-doubtful" in entry.flags]
    assert doubtful
    assert all(entry.note for entry in doubtful)


def test_help_from_elsewhere_is_said(entries: list[Entry]) -> None:
    assert all(entry.teacher for entry in of(entries, paper="shen2020mealv2"))
    assert all("shared-weights" in entry.flags for entry in of(entries, paper="yu2019usnets"))
    assert all("decomposed" in entry.flags for entry in of(entries, paper="pham2024norton", family="pruned"))


def test_the_modern_bar_is_there(entries: list[Entry]) -> None:
    timm = of(entries, dataset="imagenet", arch="resnet50", recipe="a1_in1k")
    assert {(entry.test_resolution, str(entry.top1_printed)) for entry in timm} >= {(224, "80.382"), (288, "81.240")}
    v2 = of(entries, paper="torchvision", arch="resnet50")
    assert Decimal("80.858") in {entry.top1 for entry in v2}
    widths = [
        e for e in of(entries, dataset="imagenet", arch="resnet50", family="scaled") if "shared-weights" not in e.flags
    ]
    assert len(widths) >= 8


def test_every_paper_has_rows_and_a_title(entries: list[Entry], papers: dict[str, Paper]) -> None:
    used = {entry.paper for entry in entries}
    assert used - set(papers) == set()
    assert set(papers) - used <= {"thinresnet"}
    assert all(paper.title for paper in papers.values())
    assert len({paper.title for paper in papers.values()}) == len(papers)


def test_closer_look_and_rethinking_say_what_they_said(entries: list[Entry]) -> None:
    """Claims that the project sets out to reproduce: reduced networks beat pruned and tuned ones at 500K parameters."""
    crowley = {e.method: e.top1 for e in of(entries, paper="crowley2018closer") if "500K" in e.method}
    tuned = max(top1 for method, top1 in crowley.items() if "prune and tune" in method and top1)
    assert all(top1 > tuned for method, top1 in crowley.items() if method.startswith("reduced") and top1)
    rethinking = {e.method: e.top1 for e in of(entries, paper="liu2019rethinking", dataset="cifar10")}
    for network in ("VGG-16-A", "ResNet-56-A", "ResNet-56-B", "ResNet-110-A", "ResNet-110-B"):
        stem = f"L1 filter pruning {network}"
        assert rethinking[f"{stem}, Scratch-B"] >= rethinking[f"{stem}, fine-tuned"]


def bottlenecks(share: float) -> int:
    """MACs of a ResNet-50 whose bottlenecks keep a share of their inner channels, as ThiNet-30, -50 and -70 do."""
    macs, inputs = 3 * 64 * 49 * 112**2, 64
    for width, blocks, side in ((64, 3, 56), (128, 4, 28), (256, 6, 14), (512, 3, 7)):
        kept, outputs = int(width * share), 4 * width
        for block in range(blocks):
            before = side if block or width == 64 else 2 * side
            macs += inputs * kept * before**2 + (9 * kept * kept + kept * outputs) * side**2
            macs += 0 if block else inputs * outputs * side**2
            inputs = outputs
    return macs + 2048 * 1000


def basic_blocks(kept: tuple[float, ...], whole: tuple[int, ...]) -> int:
    """MACs of a ResNet-34 whose blocks keep a share of their inner channels, but those at the numbers in `whole`."""
    macs, inputs, layer = 3 * 64 * 49 * 112**2, 64, 0
    for (width, blocks, side), share in zip(((64, 3, 56), (128, 4, 28), (256, 6, 14), (512, 3, 7)), kept, strict=True):
        for block in range(blocks):
            layer += 2
            inner = width if layer in whole else int(width * share)
            macs += 9 * (inputs + width) * inner * side**2
            macs += 0 if block or width == 64 else inputs * width * side**2
            inputs = width
    return macs + 512 * 1000


def test_costs_that_were_counted_are_the_closed_form(entries: list[Entry]) -> None:
    """The shapes that Rethinking trained from scratch: its code defines them, its tables print no cost."""
    counted = {entry.method: entry.macs_g for entry in entries if "cost-counted" in entry.flags}
    assert bottlenecks(1.0) == 4_089_184_256
    for share in (0.3, 0.5, 0.7):
        name = f"ThiNet-{round(100 * share)} (scratch-B)"
        assert counted[name] == pytest.approx(bottlenecks(share) / 1e9, abs=1e-4)
    whole = (2, 8, 14, 16, 26, 28, 30, 32)
    for letter, kept in {"A": (0.7, 0.7, 0.7, 1.0), "B": (0.5, 0.4, 0.6, 1.0)}.items():
        name = f"L1-norm filter pruning ResNet-34-{letter} (scratch-E)"
        assert counted[name] == pytest.approx(basic_blocks(kept, whole) / 1e9, abs=1e-4)
    assert all(entry.note for entry in entries if "cost-counted" in entry.flags)


def test_the_units_that_turned_headlines_around_stay_right(entries: list[Entry]) -> None:
    uniform = {
        e.macs_g: e.top1 for e in of(entries, paper="liu2019metapruning", arch="mobilenetv2_100", family="scaled")
    }
    assert uniform == {
        0.043: Decimal("54.6"),
        0.14: Decimal("67.2"),
        0.313: Decimal("72.0"),
        0.585: Decimal("74.7"),
    }
    wider = [entry for entry in entries if "from-wider" in entry.flags]
    assert len(wider) >= 7
    assert all(entry.macs_basis.startswith("printed MACs") for entry in wider)


def test_width_multipliers_are_scaled_networks_and_more_data_is_said(entries: list[Entry]) -> None:
    multipliers = [entry for entry in of(entries, paper="zhuang2018dcp") if entry.method.startswith("WM")]
    assert len(multipliers) == 10
    assert {entry.family for entry in multipliers} == {"scaled"}
    assert all(entry.macs_g is not None for entry in of(entries, paper="zhuang2018dcp"))
    assert all(entry.extra_data for entry in of(entries, paper="torchdag", arch="convnextv2_nano"))


def test_epochs_that_are_public_facts_are_filled_in(entries: list[Entry]) -> None:
    for recipe, epochs in {"a1_in1k": 600, "a2_in1k": 300, "a3_in1k": 100}.items():
        rows = of(entries, paper="wightman2021rsb", recipe=recipe)
        assert {entry.train_epochs for entry in rows} == {epochs}
        assert recipe != "a3_in1k" or {entry.train_resolution for entry in rows} == {160}
    resnet50 = of(entries, dataset="imagenet", arch="resnet50", family="pruned")
    with_parent = [entry for entry in resnet50 if entry.dense_epochs]
    assert len(with_parent) >= 110
    assert all("epochs" in entry.note or entry.tune_epochs is not None for entry in with_parent)


def test_cifar_has_plain_references_of_the_last_epoch(entries: list[Entry]) -> None:
    for dataset in ("cifar10", "cifar100"):
        plain = [entry for entry in of(entries, paper="chenyaofo", dataset=dataset) if not entry.flags]
        assert {entry.arch for entry in plain} >= {f"resnet{depth}_cifar" for depth in (20, 32, 44, 56)}
        assert all("last epoch" in entry.method and entry.train_epochs == 200 for entry in plain)


def test_the_benchmark_with_one_protocol_has_its_random_controls(entries: list[Entry]) -> None:
    for arch in ("resnet18", "resnet50"):
        rows = of(entries, paper="pruningbench2024", dataset="imagenet", arch=arch)
        assert len(rows) == 51
        assert len([entry for entry in rows if entry.method == "PruningBench Random"]) == 3
