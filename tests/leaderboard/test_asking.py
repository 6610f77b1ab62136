"""The questions of `add`: few, with choices, each answer checked at once; slips of scale are asked about."""

from __future__ import annotations

from pathlib import Path

import pytest

from thinresnet.leaderboard.adding import Proposal, add
from thinresnet.leaderboard.asking import Talk, interview
from thinresnet.leaderboard.check import check
from thinresnet.leaderboard.papers import bib_beside, read_bib
from thinresnet.leaderboard.store import read_board

GOOD = [
    "lin2020hrank",
    "1",
    "resnet50",
    "HRank, third",
    "",
    "69.10",
    "0.98G MACs",
    "4.09G",
    "Table 4, row 3",
    "lmbxmu/HRank",
    "",
]


def talked(board: Path, answers: list[str]) -> tuple[Proposal, list[str], list[str]]:
    """The proposal, what was asked and what was said; every answer is used up."""
    asked: list[str] = []
    said: list[str] = []
    left = list(answers)

    def ask(question: str, default: str) -> str:
        asked.append(question)
        return left.pop(0) or default

    proposal = interview(read_board(board), read_bib(bib_beside(board)), Talk(ask, said.append))
    assert not left
    return proposal, asked, said


def test_eleven_questions_make_a_row(board: Path) -> None:
    proposal, asked, said = talked(board, GOOD)
    entry = proposal.entry
    assert (entry.dataset, entry.family, entry.cost_unit, str(entry.top1), entry.macs_g) == (
        "imagenet", "pruned", "macs", "69.10", pytest.approx(0.98 / 4.09 * 4.0891, rel=1e-3),
    )  # fmt: skip
    assert (len(asked), said) == (11, [])
    assert "counted here: 4.089G MACs" in asked[7]
    add(board, [proposal])
    assert not check(board)


def _with(number: int, *answers: str) -> list[str]:
    return [*GOOD[:number], *answers, *GOOD[number + 1 :]]


@pytest.mark.parametrize(
    ("answers", "said"),
    [
        (_with(0, "lin2020hrnk", "lin2020hrank"), "did you mean 'lin2020hrank'"),
        (_with(0, "2002.10179"), "On the board as lin2020hrank"),
        (_with(0, "https://arxiv.org/abs/2002.10179v2"), "On the board as lin2020hrank"),
        (_with(1, "imagenett", "imagenet"), "did you mean 'imagenet'"),
        (_with(1, "99", "1"), "is none of"),
        (_with(2, "resnet5o", "1"), "did you mean 'resnet50'"),
        (_with(3, "=cmd()", "HRank, third"), "formula"),
        (_with(4, "prned", "pruned"), "did you mean 'pruned'"),
        (_with(5, "seventy", "69.10"), "top1_printed: 'seventy'"),
        (_with(6, "0.98", "0.98G"), "has no unit; write 0.98G"),
        ([*GOOD[:6], "24%", "24% kept", *GOOD[8:]], "24% of what"),
        (_with(8, "", "Table 4"), "locator"),
        (_with(10, "parms=3M", "params=3M", ""), "did you mean 'params'"),
        (_with(10, "params=3", "params=3M", ""), "write 3M for millions"),
    ],
)
def test_a_slip_is_said_and_asked_again(board: Path, answers: list[str], said: str) -> None:
    _, _, heard = talked(board, answers)
    assert [said in words for words in heard] == [True]


def test_a_fraction_is_asked_about(board: Path) -> None:
    proposal, asked, _ = talked(board, _with(5, "0.6910", "y"))
    assert str(proposal.entry.top1_printed) == "69.10"
    assert "0.6910 is a fraction. Did you mean 69.10 percent? (y/n)" in asked
    proposal, _, _ = talked(board, _with(5, "0.6910", "n"))
    assert str(proposal.entry.top1_printed) == "0.6910"
    assert "is a fraction" in proposal.doubts[0].question


@pytest.mark.parametrize(
    ("dense", "more", "unit"),
    [("4.1G", [], "macs"), ("8.2G", [], "2-per-mac"), ("6G", ["2"], "2-per-mac"), ("", [""], "unknown")],
)
def test_what_flops_count_is_worked_out_or_asked(board: Path, dense: str, more: list[str], unit: str) -> None:
    answers = [*GOOD[:6], "0.98 GFLOPs", dense, *more, *GOOD[8:]]
    proposal, _, _ = talked(board, answers)
    assert proposal.entry.cost_unit == unit


@pytest.mark.parametrize(
    ("cost", "column", "figure"),
    [("50.4% cut", "cost_cut_pct", "50.4"), ("49.6 % kept", "cost_kept_pct", "49.6"), ("2.02x", "speedup_x", "2.02")],
)
def test_a_cost_may_be_a_share(board: Path, cost: str, column: str, figure: str) -> None:
    proposal, _, _ = talked(board, [*GOOD[:6], cost, *GOOD[8:]])
    assert str(getattr(proposal.entry, column)) == figure


def test_a_new_paper_comes_from_pasted_bibtex_a_file_or_its_number(board: Path, tmp_path: Path) -> None:
    pasted = [
        "@inproceedings{DBLP:conf/x/Y27,",
        "  author = {Jane Doe},",
        "title = {Thin},",
        "booktitle={C}, year=2027",
        "}",
    ]
    proposal, asked, said = talked(board, [*pasted, *GOOD[1:]])
    assert [paper.key for paper in proposal.papers] == ["doe2027thin"]
    assert asked.count("") == 4
    assert said == ["Read as doe2027thin: Thin"]
    file = tmp_path / "paper.bib"
    file.write_text("\n".join(pasted))
    assert talked(board, [str(file), *GOOD[1:]])[0].entry.paper == "doe2027thin"
    proposal, _, _ = talked(board, ["arXiv:2701.00001", "Thin and Quick", "Jane Doe", *GOOD[1:]])
    assert proposal.papers[0].bibtex.startswith("@misc{doe2027thin,")
    assert proposal.entry.read_repo == "lmbxmu/HRank"
    add(board, [proposal])
    assert not check(board)
