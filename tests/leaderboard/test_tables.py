"""One table in every format; what stands in a cell stays text in all of them."""

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
from thinresnet.leaderboard.bar import Bar
from thinresnet.leaderboard.latex import latex
from thinresnet.leaderboard.papers import Paper
from thinresnet.leaderboard.schema import Entry, parse
from thinresnet.leaderboard.show import Row, Under, rows
from thinresnet.leaderboard.store import read_board
from thinresnet.leaderboard.tables import (
    SHOWN,
    as_csv,
    as_json,
    as_latex,
    as_markdown,
    columns_named,
    columns_that_fit,
)

Make = Callable[..., Entry]
BOARD = Path(__file__).parents[2] / "leaderboard.csv"
PAPERS = {"lin2020hrank": Paper("lin2020hrank", "misc", {"title": "HRank", "year": "2020"})}
HOSTILE = r"""A|B `x` <script>alert(1)</script> \textbf{b} $\alpha$ 50% #1 a_b ~ ^ & "q" [l](http://x) *s* {j} ×é≥"""


@pytest.fixture
def entries(make: Make) -> list[Entry]:
    bare = {"dense_top1_printed": "", "cost_printed_g": "", "dense_cost_printed_g": ""}
    return [
        make(id="a-pruned", params_printed_m="16.16"),
        make(id="b-cheap", top1_printed="72.00", cost_printed_g="1.00", method=HOSTILE),
        make(id="c-ref", family="dense", top1_printed="76.15", **bare),
        make(id="d-ref", family="scaled", top1_printed="71", **{**bare, "cost_printed_g": "0.99"}),
    ]


@pytest.fixture
def shown(entries: list[Entry]) -> list[Row]:
    return rows(entries, Bar(entries), PAPERS)


def test_json_holds_what_was_printed_and_what_follows(shown: list[Row], entries: list[Entry]) -> None:
    said = json.loads(as_json(shown, Under()))
    assert (said["rules"], said["verdicts"]) == (2, Under().says)
    first, second, third, _ = said["rows"]
    assert first["printed"]["top1_printed"] == "74.98"
    assert first["derived"]["macs_g"] == pytest.approx(2.30 / 4.09 * 4.089184256, abs=1e-6)
    assert second["printed"]["method"] == HOSTILE
    assert (second["verdict"]["outcome"], second["verdict"]["neighbours"]) == ("clears", ["d-ref", "c-ref"])
    assert "settled" not in second["verdict"]
    assert (third["reference"], third["verdict"]) == (True, None)
    for record, entry in zip(said["rows"], entries, strict=True):
        assert parse(record["printed"])[0] == entry
    assert json.loads(as_json(shown, Under(), ("id", "verdict")))["rows"][2] == {"id": "c-ref", "verdict": "reference"}


def test_csv_reads_back_and_holds_no_formula(shown: list[Row]) -> None:
    read = list(csv.DictReader(io.StringIO(as_csv(shown, Under()))))
    assert [row["id"] for row in read] == ["a-pruned", "b-cheap", "c-ref", "d-ref"]
    assert read[1]["method"] == HOSTILE
    assert {row["rules"] for row in read} == {"2"}
    for row in read:
        for cell in row.values():
            assert not cell.startswith(("=", "+", "@"))
            assert not cell.startswith("-") or float(cell) < 0
    assert as_csv(shown, Under(), ("method", "top1")).splitlines()[0] == "method,top-1 %,rules"


def test_markdown_cells_stay_cells(shown: list[Row]) -> None:
    lines = as_markdown(shown, Under()).splitlines()
    assert lines[-1] == f"Verdicts by rule 2: {Under().says}."
    for line in lines[: 2 + len(shown)]:
        unescaped = [index for index, char in enumerate(line) if char == "|" and line[index - 1] != "\\"]
        assert len(unescaped) == len(SHOWN) - 1 + 1
    assert r"\<script\>alert(1)\</script\>" in lines[3]
    assert r"\[l\](http://x)" in lines[3]


def test_latex_has_booktabs_and_no_command_from_a_cell(shown: list[Row]) -> None:
    text = as_latex(shown, Under())
    for rule in (r"\toprule", r"\midrule", r"\bottomrule", r"\begin{tabular}{p{0.4\columnwidth}rrl}", r"\end{tabular}"):
        assert text.count(rule) == 1
    assert r"\textbackslash{}textbf\{b\}" in text
    assert r"\$\textbackslash{}alpha\$" in text
    assert "% verdicts by rule 2 of thinresnet" in text
    body = text.split(r"\midrule")[1].split(r"\bottomrule")[0].strip().splitlines()
    assert len(body) == len(shown)
    assert body[0].startswith(r"{\raggedright HRank~\cite{lin2020hrank}\par} & 74.98 & 2.3 & ")
    assert r"\begin{tabular}{llrr}" in as_latex(shown, Under(), ("id", "dataset", "params", "gap"))


def _compiled(table: str, folder: Path, pdflatex: str, packages: str = "") -> str:
    head = rf"\documentclass[twocolumn]{{article}}\usepackage{{booktabs}}{packages}"
    document = rf"{head}\begin{{document}}\noindent {table}\end{{document}}"
    (folder / "table.tex").write_text(document, encoding="utf-8")
    command = [pdflatex, "-interaction=nonstopmode", "-halt-on-error", "table.tex"]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, errors="replace", check=False)
    assert done.returncode == 0, done.stdout[-1500:]
    return done.stdout


def test_latex_compiles(shown: list[Row], tmp_path: Path, pdflatex: str) -> None:
    _compiled(as_latex(shown, Under(), tuple(SHOWN)), tmp_path, pdflatex)
    assert (tmp_path / "table.pdf").exists()


def test_latex_fits_one_column(tmp_path: Path, pdflatex: str) -> None:
    board = read_board(BOARD)
    chosen = [entry for entry in board if entry.arch == "resnet50" and entry.dataset == "imagenet"][:40]
    # The keys of citations are longer than what stands for them in a paper.
    table = as_latex(rows(chosen, Bar(board), PAPERS), Under())
    assert r"Overfull \hbox" not in _compiled(table, tmp_path, pdflatex, r"\renewcommand{\cite}[1]{[12]}")


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


def test_columns_by_name() -> None:
    assert columns_named("") == ()
    assert columns_named("method, top1,gap") == ("method", "top1", "gap")
    with pytest.raises(InputError, match=r"--columns top-1: one of .*did you mean 'top1'"):
        columns_named("method,top-1")
    with pytest.raises(InputError, match=r"--columns id,id: id stands there twice"):
        columns_named("id,id")


@pytest.mark.parametrize("dataset", ["imagenet", "cifar10", "cifar100", "cifar10-jpeg"])
def test_a_terminal_of_80_columns_shows_ids_methods_and_verdicts_whole(dataset: str) -> None:
    board = [entry for entry in read_board(BOARD) if entry.dataset == dataset]
    found = rows(board, Bar(board), {})
    names = columns_that_fit(found, 80)
    assert {"method", "top1", "macs", "verdict"} <= set(names)
    used = {name: max(len(SHOWN[name].header), *(len(SHOWN[name].text(row)) for row in found)) for name in names}
    longest_id = max(len(row.entry.id) for row in found)
    method = used.pop("method")
    room = 80 - sum(used.values()) - 2 * len(names)
    assert room >= (min(method, 24) if "id" in names else min(longest_id, 43))
    assert "family" in columns_that_fit(found, 200)
