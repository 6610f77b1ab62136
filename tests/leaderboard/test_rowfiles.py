"""Rows from YAML and CSV files: as they are written, in any order, or refused in one line."""

from __future__ import annotations

import csv
import io
from decimal import Decimal
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from thinresnet.errors import InputError
from thinresnet.leaderboard.adding import propose_all
from thinresnet.leaderboard.papers import bib_beside, read_bib
from thinresnet.leaderboard.rowfiles import KNOWN, rows_from_file, template
from thinresnet.leaderboard.store import read_board

ROW = {
    "paper": "lin2020hrank", "dataset": "imagenet", "arch": "resnet50", "method": "HRank, third", "family": "pruned",
    "top1": "69.10", "macs": "0.98G", "dense_macs": "4.09G", "locator": "Table 4, row 3", "read_repo": "lmbxmu/HRank",
}  # fmt: skip


def test_yaml_is_read_as_it_is_written(tmp_path: Path) -> None:
    path = tmp_path / "row.yaml"
    path.write_text("\n".join(f"{name}: {value}" for name, value in ROW.items()))
    assert rows_from_file(path) == [ROW]
    path.write_text("- top1: 1e1\n- top1: 0x10\n  bibtex: |\n    @misc{abc, title = {A}}\n  note:\n")
    assert rows_from_file(path) == [{"top1": "1e1"}, {"top1": "0x10", "bibtex": "@misc{abc, title = {A}}\n"}]


def test_what_is_common_stands_once_and_a_row_may_say_otherwise(tmp_path: Path) -> None:
    path = tmp_path / "rows.yml"
    path.write_text("rows:\n- top1: 70.1\n- {top1: 71.20, arch: resnet34}\ncommon:\n  arch: resnet50\n  note:\n")
    assert rows_from_file(path) == [{"arch": "resnet50", "top1": "70.1"}, {"arch": "resnet34", "top1": "71.20"}]


def test_csv_is_read_as_it_is_written(tmp_path: Path) -> None:
    path = tmp_path / "rows.csv"
    path.write_text('\ufefftop1,method,macs\r\n76.10,"A, with comma",2.05G\r\n\r\n75.0,B,\r\n', encoding="utf-8")
    assert rows_from_file(path) == [
        {"top1": "76.10", "method": "A, with comma", "macs": "2.05G"},
        {"top1": "75.0", "method": "B"},
    ]


@given(
    st.lists(
        st.dictionaries(
            st.sampled_from(KNOWN), st.text(st.characters(codec="utf-8", exclude_characters="\r\0"), max_size=9)
        ),
        min_size=1,
    )
)
def test_any_csv_comes_back_as_its_filled_cells(tmp_path_factory: pytest.TempPathFactory, rows: list) -> None:
    names = sorted({name for row in rows for name in row}) or ["note"]
    text = io.StringIO()
    writer = csv.DictWriter(text, names, restval="")
    writer.writeheader()
    writer.writerows(rows)
    path = tmp_path_factory.getbasetemp() / "any.csv"
    path.write_text(text.getvalue(), encoding="utf-8", newline="")
    filled = [each for row in rows if (each := {name: cell for name, cell in row.items() if cell.strip()})]
    if filled:
        assert rows_from_file(path) == filled
    else:
        with pytest.raises(InputError, match="no rows"):
            rows_from_file(path)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("top1: 5\ntop5: [1", "line 2: not plain YAML"),
        ("top1: {a: 1}", "row 1: not a mapping of names to plain values"),
        ("- 5", "row 1"),
        ("", "row 1"),
        ("[]", "no rows"),
        ("topl: 5", "row 1: 'topl' is not a column.*top1"),
        ("rows: [{top1: 5}]\nmore: 1", "'more' stands beside `rows`"),
        ("rows: [{top1: 5}]\ncommon: [1]", "common: not a mapping"),
        ("top1: !!python/object/apply:os.system ['touch hacked']", "row 1: not a mapping"),
    ],
)
def test_yaml_from_a_stranger_is_refused(tmp_path: Path, text: str, said: str) -> None:
    path = tmp_path / "row.yaml"
    path.write_text(text)
    with pytest.raises(InputError, match=rf"row\.yaml.*{said}") as refused:
        rows_from_file(path)
    assert "\n" not in str(refused.value)
    assert not Path("hacked").exists()


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("top1,top1\n1,2\n", "column 'top1' stands there twice"),
        ("top1,topl\n1,2\n", "'topl' is not a column"),
        ("top1\n1,2\n", "row 1: 2 cells; the header has 1"),
        ('top1\n"1\n', "broken quoting"),
        ("top1\n", "no rows"),
        ("", "no rows"),
    ],
)
def test_csv_from_a_stranger_is_refused(tmp_path: Path, text: str, said: str) -> None:
    path = tmp_path / "rows.csv"
    path.write_text(text)
    with pytest.raises(InputError, match=said):
        rows_from_file(path)


def test_other_endings_are_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"ending in \.yaml, \.yml, \.csv"):
        rows_from_file(tmp_path / "rows.xlsx")


def test_the_template_says_what_is_missing_and_holds_rows_once_filled_in(tmp_path: Path, board: Path) -> None:
    path = tmp_path / "rows.yaml"
    path.write_text(template())
    with pytest.raises(InputError, match=r"row 1: method, top1, top1_drop … are all empty; fill in"):
        rows_from_file(path)
    filled = template()
    for name, value in ROW.items():
        assert f"{name}:" in filled
        filled = filled.replace(f" {name}:", f" {name}: {value}", 1)
    path.write_text(filled)
    (row,) = rows_from_file(path)
    assert row == ROW
    (proposal,) = propose_all([row], read_board(board), read_bib(bib_beside(board)))
    assert proposal.entry.top1_printed == Decimal("69.10")
