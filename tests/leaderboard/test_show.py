"""Rows chosen, sorted and written out; what stands in a cell stays text in every format."""

from __future__ import annotations

import csv
import io
import json
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from thinresnet.errors import InputError
from thinresnet.leaderboard.papers import Paper
from thinresnet.leaderboard.schema import Entry, parse
from thinresnet.leaderboard.show import SHOWN, Choice, as_csv, as_json, as_latex, as_markdown, choose, latex, rows
from thinresnet.leaderboard.verdicts import Bar

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
    assert said == {
        "a-pruned": "no reference",  # above 71, which costs less than half
        "b-cheap": "clears 1.00",
        "c-ref": "reference",
        "d-cifar": "not judged",
        "e-none": "not judged",
        "f-ref": "reference",
    }


def test_an_unknown_order_is_refused(board: list[Entry]) -> None:
    with pytest.raises(InputError, match=r"--sort top-1: one of .*did you mean 'top1'"):
        rows(board, Bar(board), PAPERS, sort="top-1")


def test_json_holds_what_was_printed_and_what_follows(board: list[Entry]) -> None:
    said = json.loads(as_json(rows(board, Bar(board), PAPERS)))
    first, second = said[0], said[1]
    assert first["printed"]["top1_printed"] == "74.98"
    assert first["derived"]["macs_g"] == pytest.approx(2.30 / 4.09 * 4.089184256)
    assert second["printed"]["method"] == HOSTILE
    assert second["verdict"]["reference"] == "f-ref"
    assert (second["verdict"]["outcome"], second["verdict"]["gap"]) == ("clears the bar", 1.0)
    assert said[2]["reference"] is True
    assert said[2]["verdict"] is None
    for record, entry in zip(said, board, strict=True):
        assert parse(record["printed"])[0] == entry


def test_csv_reads_back_and_holds_no_formula(board: list[Entry]) -> None:
    text = as_csv(rows(board, Bar(board), PAPERS))
    read = list(csv.DictReader(io.StringIO(text)))
    assert [row["id"] for row in read] == [entry.id for entry in board]
    assert read[1]["method"] == HOSTILE
    for row in read:
        for cell in row.values():
            assert not cell.startswith(("=", "+", "@"))
            assert not cell.startswith("-") or float(cell) < 0


def test_markdown_cells_stay_cells(board: list[Entry]) -> None:
    lines = as_markdown(rows(board, Bar(board), PAPERS)).splitlines()
    assert len(lines) == 2 + len(board)
    for line in lines:
        unescaped = [index for index, char in enumerate(line) if char == "|" and line[index - 1] != "\\"]
        assert len(unescaped) == len(SHOWN) + 1
    assert r"\<script\>alert(1)\</script\>" in lines[3]
    assert r"\[l\](http://x)" in lines[3]


def test_latex_has_booktabs_and_no_command_from_a_cell(board: list[Entry]) -> None:
    text = as_latex(rows(board, Bar(board), PAPERS))
    for rule in (r"\toprule", r"\midrule", r"\bottomrule", r"\begin{tabular}{llllrrrrrrl}", r"\end{tabular}"):
        assert text.count(rule) == 1
    assert r"\textbackslash{}textbf\{b\}" in text
    assert r"\$\textbackslash{}alpha\$" in text
    assert text.count(r"\\" + "\n") == 1 + len(board)
    body = text.split(r"\midrule")[1].split(r"\bottomrule")[0].strip().splitlines()
    for line in body:
        assert line.replace(r"\&", "").count("&") == len(SHOWN) - 2


def test_latex_compiles(board: list[Entry], tmp_path: Path, pdflatex: str) -> None:
    table = as_latex(rows(board, Bar(board), PAPERS))
    document = rf"\documentclass{{article}}\usepackage{{booktabs}}\begin{{document}}{table}\end{{document}}"
    (tmp_path / "table.tex").write_text(document, encoding="utf-8")
    command = [pdflatex, "-interaction=nonstopmode", "-halt-on-error", "table.tex"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, errors="replace", check=False)
    assert done.returncode == 0, done.stdout[-1500:]
    assert (tmp_path / "table.pdf").exists()


@given(st.text(st.characters(codec="utf-8", exclude_categories=("C", "Z")), max_size=60))
def test_latex_leaves_no_active_character(text: str) -> None:
    said = latex(text)
    for safe in (r"\textbackslash{}", r"\textasciitilde{}", r"\textasciicircum{}", r"\textless{}", r"\textgreater{}"):
        said = said.replace(safe, "")
    for escaped in (r"\{", r"\}", r"\&", r"\%", r"\$", r"\#", r"\_"):
        said = said.replace(escaped, "")
    assert not set(said) & set("&%#_~^")
    assert said.count("{") == said.count("}")
    assert said.count("$") % 2 == 0
    assert all(char.isascii() or "\u00c0" <= char <= "\u017f" for char in said)
