"""Rows chosen and sorted, with their verdicts."""

from __future__ import annotations

import math
from collections.abc import Callable

import pytest

from thinresnet.errors import InputError
from thinresnet.leaderboard.bar import Bar
from thinresnet.leaderboard.papers import Paper
from thinresnet.leaderboard.schema import Entry
from thinresnet.leaderboard.show import Choice, Row, Under, choose, rows

Make = Callable[..., Entry]
PAPERS = {
    "lin2020hrank": Paper("lin2020hrank", "misc", {"title": "HRank", "year": "2020"}),
    "li2017l1": Paper("li2017l1", "misc", {"title": "L1", "year": "2017"}),
    "undated": Paper("undated", "misc", {"title": "A repository"}),
}
HOSTILE = r"""A|B `x` <script>alert(1)</script> \textbf{b} $\alpha$ 50% #1 a_b ~ ^ & "q" [l](http://x) *s* {j} ×α≥"""


@pytest.fixture
def board(make: Make) -> list[Entry]:
    dense = {"dense_top1_printed": "", "cost_printed_g": "", "dense_cost_printed_g": ""}
    return [
        make(id="a-pruned", paper="lin2020hrank", params_printed_m="16.16"),
        make(id="b-cheap", paper="li2017l1", top1_printed="72.00", cost_printed_g="1.00", method=HOSTILE),
        make(id="c-ref", paper="undated", family="dense", top1_printed="76.15", **dense),
        make(id="d-cifar", dataset="cifar10", arch="resnet56_cifar", top1_printed="93", cost_cut_pct="50", **dense),
        make(id="e-none", top1_printed="", **{**dense, "cost_printed_g": "2", "dense_top1_printed": "76"}),
        make(id="f-ref", family="scaled", top1_printed="71", **{**dense, "cost_printed_g": "0.99"}),
    ]


@pytest.mark.parametrize(
    ("choice", "ids"),
    [
        (Choice(), "abcdef"),
        (Choice(dataset="cifar10"), "d"),
        (Choice(arch="resnet50", family="pruned"), "abe"),
        (Choice(paper="li2017l1"), "b"),
        (Choice(years="2020"), "adef"),
        (Choice(years="-2019"), "bc"),
        (Choice(years="2018-"), "adef"),
        (Choice(years="2016-2018"), "b"),
        (Choice(macs="1G"), "bdf"),
        (Choice(macs="50%"), "bdef"),
        (Choice(params="17M"), "a"),
        (Choice(params="100%"), "ac"),
        (Choice(search="HRANK resnet56"), "d"),
        (Choice(method="hrank"), "acdef"),
        (Choice(method="SCRIPT textbf"), "b"),
    ],
)
def test_choosing(board: list[Entry], choice: Choice, ids: str) -> None:
    chosen = choose(board, PAPERS, choice)
    # A repository without a year belongs to every span that has no beginning, and to no other.
    assert "".join(entry.id[0] for entry in chosen) == ids


@pytest.mark.parametrize(
    ("choice", "said"),
    [
        (Choice(arch="resnet5"), r"--arch resnet5: no row of this board has it; did you mean 'resnet50'"),
        (Choice(years="20"), r"--year 20: a year or a span"),
        (Choice(years="20192020"), r"--year 20192020: a year or a span"),
        (Choice(years="-"), r"--year -: a year or a span"),
        (Choice(paper="lin2020hrnk"), r"--paper lin2020hrnk: no row of this board has it; did you mean 'lin2020hrank'"),
        (Choice(method="hrnak"), r"--method hrnak: no method on this board has it in its name; did you mean 'hrank'"),
        (Choice(macs="lots"), r"--macs lots: not a budget"),
    ],
)
def test_a_choice_that_names_nothing_is_refused(board: list[Entry], choice: Choice, said: str) -> None:
    with pytest.raises(InputError, match=said):
        choose(board, PAPERS, choice)


@pytest.mark.parametrize(
    ("key", "ids"),
    [
        ("", "abcdef"), ("top1", "dcabfe"), ("macs", "dfbeac"), ("params", "acbdef"), ("year", "badefc"),
        ("gap", "bacdef"), ("ratio", "fbedac"),
    ],
)  # fmt: skip
def test_sorting_puts_what_is_unknown_last(board: list[Entry], key: str, ids: str) -> None:
    shown = rows(board, Bar(board), PAPERS, sort=key)
    assert "".join(row.entry.id[0] for row in shown) == ids
    assert [row.entry.id for row in rows(board, Bar(board), PAPERS, sort=key, limit=2)] == [
        row.entry.id for row in shown[:2]
    ]


def test_what_the_verdict_column_says(board: list[Entry]) -> None:
    said = {row.entry.id: row.says for row in rows(board, Bar(board), PAPERS)}
    bar_at_a = 71 + 5.15 * math.log(2.30 / 4.09 * 4.089184256 / 0.99) / math.log(4.089184256 / 0.99)
    bar_at_b = 71 + 5.15 * math.log(1.00 / 4.09 * 4.089184256 / 0.99) / math.log(4.089184256 / 0.99)
    assert said == {
        "a-pruned": f"clears {74.98 - bar_at_a:.2f}",
        "b-cheap": f"clears {72.00 - bar_at_b:.2f}",
        "c-ref": "reference",
        "d-cifar": "not judged",
        "e-none": "not judged",
        "f-ref": "reference",
    }


@pytest.mark.parametrize(
    ("verdict", "ids"), [("clears", "ab"), ("reference", "cf"), ("unjudged", "de"), ("loses", ""), ("", "abcdef")]
)
def test_choosing_by_verdict(board: list[Entry], verdict: str, ids: str) -> None:
    shown = rows(board, Bar(board), PAPERS, verdict=verdict)
    assert "".join(row.entry.id[0] for row in shown) == ids
    assert len(rows(board, Bar(board), PAPERS, verdict=verdict, limit=1)) == min(len(ids), 1)


def test_an_unknown_verdict_is_refused(board: list[Entry]) -> None:
    with pytest.raises(InputError, match=r"--verdict lose: one of loses, ties, .*did you mean 'loses'"):
        rows(board, Bar(board), PAPERS, verdict="lose")


def test_the_assumptions_are_said(board: list[Entry]) -> None:
    assert Under().says == "plain ResNets (for ResNets) or the same architecture, any recipe, on MACs"
    assert Under("plain ResNets", "classical", "own", "both").says == (
        "plain ResNets, classical recipe at its own resolution, on MACs and parameters"
    )
    under = Under(references="same architecture", recipes="classical")
    shown: list[Row] = rows(board, Bar(board), PAPERS, under=under)
    assert {row.outcome for row in shown} == {"unjudged", "reference"}


def test_an_unknown_order_is_refused(board: list[Entry]) -> None:
    with pytest.raises(InputError, match=r"--sort top-1: one of .*did you mean 'top1'"):
        rows(board, Bar(board), PAPERS, sort="top-1")
