"""What notebooks show: tables that escape what strangers wrote, short reprs, and public names for tab completion."""

from __future__ import annotations

import dataclasses
import html.parser
import importlib
from pathlib import Path

import pytest

from thinresnet import leaderboard, networks
from thinresnet.evaluation import Evaluation
from thinresnet.notebook import html_details, html_facts, html_table
from thinresnet.preprocessing import Preprocessing
from thinresnet.result import Result, Score

NASTY = "<script>alert('x')</script>&"
NETWORK = networks.scale("resnet20_cifar", width=0.5, num_classes=10)


class Balanced(html.parser.HTMLParser):
    """Collects the text, and that each tag is closed in its turn."""

    def __init__(self, source: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.text: list[str] = []
        self.feed(source)
        assert not self.open

    def handle_starttag(self, tag: str, attrs: object) -> None:
        assert tag in {"table", "caption", "thead", "tbody", "tr", "th", "td", "details", "summary"}
        self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.text.append(data)


def test_cells_are_escaped_and_tags_closed() -> None:
    table = html_table(("name", NASTY), [(NASTY, 1), (None, 2.5)], caption=NASTY)
    assert Balanced(table).text == [NASTY, "name", NASTY, NASTY, "1", "2.5"]
    assert Balanced(html_facts("title", {"a": None, "b": NASTY})).text == ["title", "b", NASTY]
    assert Balanced(html_details(NASTY, table)).text[0] == NASTY


def test_a_network() -> None:
    assert repr(NETWORK) == (
        "<Network resnet20_cifar, num_classes=10, input 3×32×32, 10.25M MACs, 68.05k parameters, "
        "12 groups of 8 to 32 channels, "
        f"sha256 {NETWORK.sha256[:6]}>"
    )
    shown = Balanced(NETWORK._repr_html_()).text
    assert {"resnet20_cifar", "3×32×32", "68.05k", "layer1.0.conv1", "32"} <= set(shown)
    stranger = dataclasses.replace(NETWORK, arch=NASTY, kwargs={NASTY: NASTY}, channels={NASTY: 3})
    assert NASTY in Balanced(stranger._repr_html_()).text
    assert "MACs" not in repr(stranger)  # it cannot be built


def test_a_cost() -> None:
    cost = networks.count(NETWORK)
    assert repr(cost) == (
        f"<Cost of an image 3×32×32: {cost.macs:,} MACs, 68,050 parameters, {cost.activations:,} activations, "
        f"{len(cost.layers)} layers>"
    )
    assert {"68,050", "68.05k", "layer1.0.conv1", "8×3×3×3"} <= set(Balanced(cost._repr_html_()).text)


def test_save_returns_the_folder(tmp_path: Path) -> None:
    folder = networks.save(str(tmp_path / "one"), NETWORK, networks.build(NETWORK, seed=0))
    assert folder == tmp_path / "one"
    assert networks.load(folder)[0] == NETWORK


@pytest.fixture(scope="module")
def board() -> list[leaderboard.Entry]:
    return leaderboard.read_board()


def test_a_matrix_and_a_claim(board: list[leaderboard.Entry]) -> None:
    matrix = leaderboard.compare("resnet50", board=board)
    assert repr(matrix) == (
        f"<Matrix: {matrix.cells[0].results} results of resnet50 on imagenet under {len(matrix.cells)} sets of "
        "assumptions>"
    )
    text = Balanced(matrix._repr_html_()).text
    assert text.count("same architecture") == sum(
        cell.assumptions.references == "same architecture" for cell in matrix.cells
    )
    claim = leaderboard.compare("resnet50", macs="2.05G", top1=60.0, board=board)
    loses = sum(verdict.assumptions.budget == "macs" for verdict in claim.verdicts)
    unjudged = len(claim.verdicts) - loses  # its parameters were not given
    assert repr(claim) == f"<Claim resnet50 60.0 % on imagenet: loses {loses}, unjudged {unjudged}>"
    assert all(verdict.in_words in Balanced(claim._repr_html_()).text for verdict in claim.verdicts)


def test_a_verdict(board: list[leaderboard.Entry]) -> None:
    row = next(entry for entry in board if entry.family == "pruned" and entry.arch == "resnet50")
    verdict = leaderboard.verdict(row, board=board)
    assert repr(verdict).startswith(f"<Verdict: {row.id} {verdict.in_words}, against ")
    assert {row.id, verdict.in_words, verdict.says} <= set(Balanced(verdict._repr_html_()).text)


def test_an_evaluation() -> None:
    evaluation = Evaluation(
        name=NASTY, arch="resnet20_cifar", arch_kwargs={}, shape="w1", network_sha256="", weights_sha256="", ema=False,
        dataset="digits", images=4, images_sha256="", classes=["one", "two"], outputs=2, restricted=False, correct1=3,
        correct5=None, correct1_of_all_outputs=3, loss=0.5, confusion=[[2, 0], [1, 1]], resolution=32, macs=1000,
        params=10, preprocessing=Preprocessing((0.5,) * 3, (0.5,) * 3), images_per_second=1.0, device="cpu",
        versions={}, finished="",
    )  # fmt: skip
    assert "top-1 75.00 % (95 %: 30.06 to 95.44)" in repr(evaluation)
    assert {NASTY, "50.00", "100.00"} <= set(Balanced(evaluation._repr_html_()).text)


def test_a_result() -> None:
    result = Result(
        run="a-run", arch="resnet20_cifar", arch_kwargs={}, shape="w0.5", network_sha256="", dataset="digits",
        classes=10, images_train=1437, images_holdout=0, images_test=360, train_resolution=8, test_resolution=8,
        macs=500, params=50, activations=1, macs_train=500, dense_macs=2000, dense_params=100, training_macs=1,
        epochs=2, updates=1, images_seen=1, batch_size=1, test=Score(360, 90, None, 0.5), test_ema=None, holdout=None,
        holdout_ema=None, seed=3, recipe="digits", recipe_hash="", initial_checkpoint=None, weights_sha256="",
        weights_ema_sha256=None, seconds=1.0, seconds_total=1.0, images_per_second=1.0, peak_memory_mib=1.0,
        loader="memory", precision="no", processes=1, device="cpu", git_commit=None, git_clean=None, versions={},
        command=None, started="", finished="", sessions=1,
    )  # fmt: skip
    assert repr(result) == "<Result a-run: top-1 25.00 %, 500 MACs, 50 parameters>"
    assert {"25.00 % (90 of 360)", "500 (25.0% of dense)"} <= set(Balanced(result._repr_html_()).text)


@pytest.mark.parametrize("package", ["networks", "training", "pruning", "leaderboard", "studies"])
def test_tab_completion_offers_the_public_names(package: str) -> None:
    module = importlib.import_module(f"thinresnet.{package}")
    assert dir(module) == sorted(module.__all__)
    assert all(hasattr(module, name) for name in dir(module))
