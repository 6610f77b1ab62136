"""BibTeX of rows, papers, the baseline and the project."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from thinresnet.errors import InputError
from thinresnet.leaderboard.cite import BASELINE, PROJECT, cite
from thinresnet.leaderboard.papers import bib_beside, parse_bib, read_bib
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
