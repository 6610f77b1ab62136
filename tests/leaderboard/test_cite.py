"""BibTeX of rows, papers, the baseline and the project."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from thinresnet.errors import InputError
from thinresnet.leaderboard.cite import BASELINE, PROJECT, cite
from thinresnet.leaderboard.papers import Paper, bib_beside, missing, parse_bib, read_bib
from thinresnet.leaderboard.schema import Entry
from thinresnet.leaderboard.store import default_board, read_board


def test_a_row_and_its_paper_are_one_citation(board: Path) -> None:
    entries, papers = read_board(board), read_bib(bib_beside(board))
    found = cite([entries[0].id, entries[1].id, "lin2020hrank", BASELINE.key], entries, papers)
    assert [paper.key for paper in found] == ["lin2020hrank", "tessier2023thinresnet"]


def test_without_names_the_baseline_and_the_project(make: Callable[..., Entry]) -> None:
    found = cite([], [], {})
    assert [paper.key for paper in found] == ["tessier2023thinresnet", "thinresnet"]
    assert BASELINE.eprint == "2309.12854"
    # What is printed is BibTeX that the board itself would take.
    papers, faults = parse_bib("\n".join(paper.bibtex for paper in found))
    assert (list(papers), faults) == ([BASELINE.key, PROJECT.key], [])


def test_every_row_of_the_board_can_be_cited() -> None:
    entries = read_board(default_board())
    papers = read_bib(bib_beside(default_board()))
    for entry in entries:
        assert cite([entry.id], [entry], papers)[0].title


def test_an_unknown_name_is_refused_with_the_nearest(board: Path) -> None:
    with pytest.raises(InputError, match=r"'lin2020hrnk' is neither a row nor a paper.*did you mean 'lin2020hrank'"):
        cite(["lin2020hrnk"], read_board(board), read_bib(bib_beside(board)))


def test_a_paper_without_known_authors_is_cited_without_a_warning(board: Path) -> None:
    """BibTeX's plain style wants authors of an article and something to sort a @misc by; none are made up."""
    fields = {"title": "{CATRO}", "year": "2023", "journal": "Neural Networks \\& Systems", "pages": "1"}
    paper = Paper("catro2023", "article", fields)
    (cited,) = cite(["catro2023"], [], {"catro2023": paper})
    assert (cited.kind, cited.fields["key"], cited.fields["year"]) == ("misc", "{CATRO}", "2023")
    assert "author" not in cited.fields
    assert "journal" not in cited.fields
    assert "pages" not in cited.fields
    papers, faults = parse_bib(cited.bibtex)
    assert not faults, faults
    assert papers["catro2023"].venue == "Neural Networks & Systems"


def test_the_project_has_an_author_and_a_year() -> None:
    assert missing(PROJECT) == ["link"]  # until it has a public address
    on_the_board = read_bib(bib_beside(default_board()))[PROJECT.key]
    assert all(PROJECT.fields[name] == value for name, value in on_the_board.fields.items())


def test_bibtex_itself_warns_of_nothing(tmp_path: Path) -> None:
    """Every paper of the board in the plain style; only the rules are checked where BibTeX is not installed."""
    papers = read_bib(bib_beside(default_board()))
    cited = [*cite(sorted(papers), [], papers), *cite([], [], {})]
    for paper in cited:
        assert "author" in paper.fields or "key" in paper.fields, paper.key
        assert paper.kind == "misc" or "author" in paper.fields, paper.key
    bibtex = shutil.which("bibtex")
    if bibtex:
        (tmp_path / "all.bib").write_text("\n".join(paper.bibtex for paper in {p.key: p for p in cited}.values()))
        citations = "".join(f"\\citation{{{paper.key}}}\n" for paper in cited)
        (tmp_path / "a.aux").write_text(f"\\relax\n{citations}\\bibstyle{{plain}}\n\\bibdata{{all}}\n")
        said = subprocess.run([bibtex, "a"], cwd=tmp_path, capture_output=True, text=True, timeout=60, check=False)
        assert "Warning" not in said.stdout, said.stdout
        assert said.returncode == 0, said.stdout
