"""BibTeX from strangers: plain entries are read, anything that could run or mislead is refused by line."""

from __future__ import annotations

import unicodedata
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from thinresnet.errors import InputError
from thinresnet.leaderboard.papers import Paper, escape, parse_bib, read_bib, render_bib

GOOD = r"""% a comment line
@InProceedings{lin2020hrank,
  title = {{HRank}: Filter Pruning using
           High-Rank Feature Map},
  author = "Lin, Mingbao and M{\"u}ller, J{\'e}r{\^o}me",
  year = 2020, booktitle = {CVPR}, eprint = {2002.10179},
}

@misc{repo_1, title = {Prune \& Tune 100\%}, url = {https://example.org/a_b?c=1%20d}}
"""


def test_plain_entries_are_read_whatever_their_layout() -> None:
    papers, faults = parse_bib(GOOD)
    assert not faults
    paper = papers["lin2020hrank"]
    assert (paper.kind, paper.year, paper.venue, paper.eprint) == ("inproceedings", 2020, "CVPR", "2002.10179")
    assert paper.title == "HRank: Filter Pruning using High-Rank Feature Map"
    assert paper.authors == "Lin, Mingbao and Müller, Jérôme"
    assert paper.url == "https://arxiv.org/abs/2002.10179"
    repo = papers["repo_1"]
    assert (repo.title, repo.year, repo.authors) == ("Prune & Tune 100%", None, "")
    assert repo.url == "https://example.org/a_b?c=1%20d"


def test_the_canonical_form_is_read_back_to_itself() -> None:
    papers, _ = parse_bib(GOOD)
    text = render_bib(papers.values())
    again, faults = parse_bib(text)
    assert not faults
    assert again == papers
    assert render_bib(again.values()) == text


BAD = {
    "a string macro": ('@string{x = "y"}', 1, "comma"),
    "a preamble": (r'@preamble{"\input{/etc/passwd}"}', 1, ""),
    "a comment entry": ("@comment{x}", 1, ""),
    "text between entries": ("\n\nhello\n", 3, "an entry"),
    "a TeX command": ("@misc{abc, title = {A \\input{/etc/passwd}}}", 1, "TeX commands"),
    "a shell escape": ("@misc{abc, title = {\\immediate\\write18{rm -rf x}}}", 1, "TeX commands"),
    "an open brace": ("@misc{abc,\n title = {A {B}\n", 2, "balanced"),
    "no end": ("@misc{abc, title = {A}", 1, "comma"),
    "no key": ("@misc{, title = {A}}", 1, "a key"),
    "a strange key": ("@misc{A B, title = {A}}", 1, "comma"),
    "a concatenation": ('@misc{abc, title = "A" # "B"}', 1, "comma"),
    "an unknown type": ("@inproceeding{abc, title = {A}, year = {2020}, booktitle = {C}}", 1, "inproceedings"),
    "an unknown field": ("@misc{abc, title = {A}, autor = {B}}", 1, "author"),
    "a field twice": ("@misc{abc, title = {A}, title = {B}}", 1, "once"),
    "a key twice": ("@misc{abc, title = {A}}\n@misc{abc, title = {B}}", 2, "once only"),
    "no title": ("@misc{abc, year = {2020}}", 1, "needs it"),
    "no year": ("@article{abc, title = {A}, journal = {J}}", 1, "needs it"),
    "a year in words": ("@misc{abc, title = {A}, year = {last year}}", 1, "form"),
    "a script for a URL": ("@misc{abc, title = {A}, url = {javascript:alert(1)}}", 1, "form"),
    "a bare sign of TeX": ("@misc{abc, title = {Prune & Tune}}", 1, "safe for TeX"),
    "a bare underscore": ("@misc{abc, title = {A_B}}", 1, "safe for TeX"),
    "right-to-left text": ("@misc{abc, title = {A\u202eB}}", 1, "right-to-left"),
    "a control character": ("@misc{abc, title = {A\x07B}}", 1, "control"),
    "a very long value": (f"@misc{{abc, title = {{{'x' * 3000}}}}}", 1, "characters"),
}


@pytest.mark.parametrize("case", BAD)
def test_anything_else_is_refused_by_line(tmp_path: Path, case: str) -> None:
    text, line, said = BAD[case]
    _, faults = parse_bib(text)
    assert faults[0].line == line
    assert said in str(faults[0])
    path = tmp_path / "leaderboard.bib"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(InputError, match=f"leaderboard.bib, line {line}, ") as refused:
        read_bib(path)
    assert "\n" not in str(refused.value)


@settings(max_examples=150, deadline=None)
@given(st.text(st.characters(codec="utf-8", exclude_categories=("C", "Z")), min_size=1, max_size=40))
def test_any_plain_title_survives_as_it_is(title: str) -> None:
    paper = Paper("abc", "misc", {"title": escape(title)})
    papers, faults = parse_bib(paper.bibtex)
    assert not faults, (title, faults)
    assert papers["abc"].fields == paper.fields
    expected = title.translate({ord("\\"): "/", ord("{"): "(", ord("}"): ")"})
    assert papers["abc"].title == unicodedata.normalize("NFC", expected)


@settings(max_examples=200, deadline=None)
@given(st.text(alphabet='@{}"=,\\% \nabcmisctitle123', max_size=80))
def test_no_text_breaks_the_parser(text: str) -> None:
    papers, faults = parse_bib(text)
    if not faults:
        assert parse_bib(render_bib(papers.values())) == (papers, [])
