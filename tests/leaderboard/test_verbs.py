"""The verbs as people type them: what they print, what they refuse, and what they leave on disk."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from thinresnet.cli import app
from thinresnet.cli import leaderboard_add as adding_verb
from thinresnet.errors import InputError
from thinresnet.leaderboard.amounts import SHORT
from thinresnet.leaderboard.figure import figure
from thinresnet.leaderboard.schema import NAMES, Entry
from thinresnet.leaderboard.store import read_board, render

Make = Callable[..., Entry]
NEW = [
    "--paper", "lin2020hrank", "--dataset", "imagenet", "--arch", "resnet50", "--method", "HRank again", "--family",
    "pruned", "--top1", "69.10", "--dense-top1", "76.15", "--macs", "0.98G", "--dense-macs", "4.09G", "--locator",
    "Table 4, row 4", "--read-repo", "lmbxmu/HRank",
]  # fmt: skip
BIBTEX = "@misc{new2024paper,\n  title = {A New Paper},\n  year = {2024},\n}\n"


def said(*arguments: object, **rest: Any) -> str:
    """What a verb prints; what it raises is raised."""
    done = CliRunner().invoke(app, ["leaderboard", *map(str, arguments)], **rest)
    if done.exception is not None and not isinstance(done.exception, SystemExit):
        raise done.exception
    assert done.exit_code == 0, done.output
    return done.output


@pytest.fixture
def judged(board: Path, make: Make) -> Path:
    """The small board with two references."""
    bare = {"dense_top1_printed": "", "cost_printed_g": "", "dense_cost_printed_g": ""}
    references = [
        make(id="ref-half", family="scaled", **{**bare, "top1_printed": "72.75", "cost_printed_g": "1.5"}),
        make(id="ref-18d", family="dense", arch="resnet18d", **{**bare, "top1_printed": "76"}, method="[bold]18d[/]"),
    ]
    board.write_text(render([*read_board(board), *references]), encoding="utf-8")
    return board


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["figure", "-o", "x.gif"], r"x\.gif: a figure ends in \.pdf, \.svg, \.png"),
        (["figure", "-o", "x.png", "--cost", "time"], r"--cost time: one of macs, params, ratio"),
        (["figure", "-o", "x.png", "--cost", "params"], r"nothing to draw"),
        (["show", "--board", "nowhere.csv"], r"nowhere\.csv.*cannot be read"),
        (["cite", "nobody2020"], r"'nobody2020' is neither a row nor a paper"),
    ],
)
def test_what_is_refused_says_what_is_allowed(board: Path, arguments: list[str], message: str) -> None:
    where = [] if "--board" in arguments else ["--board", board]
    with pytest.raises(InputError, match=message):
        said(*arguments, *where)


def test_check_names_what_is_wrong_and_ends_with_2(board: Path) -> None:
    assert "every rule kept" in said("check", "--board", board)
    text = board.read_text("utf-8")
    board.write_text(text.replace("74.98", "749.8"), encoding="utf-8")
    done = CliRunner().invoke(app, ["leaderboard", "check", "--board", str(board)])
    assert done.exit_code == 2
    assert f"{board}, line " in done.output
    assert "top1_printed" in done.output
    done = CliRunner().invoke(app, ["leaderboard", "check", "--board", str(board), "--json"])
    assert done.exit_code == 2
    assert json.loads(done.stdout)[0]["value"] == "749.8"


def test_check_fix_rewrites_the_form_only(board: Path) -> None:
    text = board.read_text("utf-8")
    board.write_text("\ufeff" + text.replace("\n", "\r\n"), encoding="utf-8")
    assert "every rule kept" in said("check", "--fix", "--board", board)
    assert board.read_text("utf-8") == text


def test_cite(board: Path) -> None:
    assert said("cite").startswith("@misc{tessier2023thinresnet,")
    assert said("cite", "lin2020hrank-resnet50-000001", "--board", board).startswith("@inproceedings{lin2020hrank,")


@pytest.mark.parametrize(("suffix", "start"), [("png", b"\x89PNG"), ("svg", b"<svg"), ("pdf", b"%PDF")])
def test_figure(judged: Path, tmp_path: Path, suffix: str, start: bytes) -> None:
    file = tmp_path / f"chart.{suffix}"
    data = tmp_path / "figure.csv"
    text = said("figure", "-o", file, "--board", judged, "--linear", "--mine", "Ours:73.5@1.6G", "--csv", data)
    assert "Ours (73.5 %)" in text
    assert "plain ResNets, any recipe" in text
    assert data.read_text().startswith(
        "what,id,name,family,paper,macs_g,top1,verdict,gap,wide_gap_after\nbar,ref-half,"
    )
    data = file.read_bytes()
    assert data.startswith(start)
    if suffix == "svg":
        assert b"the line is the bar: plain ResNets" in data
        assert data.count(b'aria-roledescription="point"') == 0


def test_several_networks_have_a_panel_each_and_names_where_there_is_room(judged: Path, tmp_path: Path) -> None:
    file, data = tmp_path / "panels.svg", tmp_path / "panels.csv"
    said("figure", "-o", file, "--board", judged, "--arch", "resnet50", "--arch", "resnet50", "--labels", "--csv", data)
    drawn = file.read_text("utf-8")
    assert drawn.count(">resnet50 on imagenet</text>") == 2
    assert ">HRank</text>" in drawn
    rows = data.read_text().splitlines()
    assert rows[0].startswith("arch,what,id")
    assert all(row.startswith("resnet50,") for row in rows[1:])
    assert len(rows) % 2 == 1


def test_the_band_lies_between_references_that_state_their_spread(make: Callable[..., Entry]) -> None:
    plain = {"family": "scaled", "dense_top1_printed": "", "dense_cost_printed_g": "4.09"}
    rows = [
        make(id=f"ref-{place}", method=f"width {place}", top1_printed=top1, cost_printed_g=cost, top1_std=std, **plain)
        for place, (top1, cost, std) in enumerate([("70", "1.0", "0.2"), ("73", "2.0", "0.1"), ("75", "3.0", "")])
    ]
    drawing = figure([*rows, make()], arch="resnet50")
    bands = [layer for layer in drawing.chart.to_dict()["layer"] if layer["mark"]["type"] == "area"]
    assert len(bands) == 1
    assert "The band is one standard deviation" in drawing.caption
    assert "The band" not in figure([*rows[1:], make()], arch="resnet50").caption


def test_page(board: Path, tmp_path: Path) -> None:
    assert "2 rows" in said("page", "--board", board, "--output", tmp_path / "site" / "index.html")
    assert "Content-Security-Policy" in (tmp_path / "site" / "index.html").read_text("utf-8")


def test_add_from_flags_shows_the_row_and_its_verdict(judged: Path) -> None:
    text = " ".join(said("add", *NEW, "--board", judged).split())
    assert "HRank again" in text
    assert "ot judged against plain ResNets, any recipe, on MACs: it is cheaper than every" in text
    assert "added lin2020hrank-resnet50-" in text
    rows = [entry for entry in read_board(judged) if entry.method == "HRank again"]
    assert [(str(row.top1), str(row.cost_printed_g), row.flags) for row in rows] == [("69.10", "0.98", ())]
    assert "every rule kept" in said("check", "--board", judged)


def test_add_asks_before_it_takes_something_odd(judged: Path) -> None:
    before = judged.read_bytes()
    near = [*NEW]
    near[near.index("69.10")] = "99.10"
    with pytest.raises(InputError, match=r"nothing added: look at the doubts, then say --yes"):
        said("add", *near, "--board", judged)
    assert judged.read_bytes() == before
    assert "Doubt: " in said("add", *near, "--board", judged, "--yes")
    assert any("accuracy-doubtful" in entry.flags for entry in read_board(judged))


def test_add_from_yaml_with_a_new_paper(judged: Path, tmp_path: Path) -> None:
    typed = dict(zip((flag[2:].replace("-", "_") for flag in NEW[2::2]), NEW[3::2], strict=True))
    row = "\n".join(f"  {name}: {value!r}" for name, value in typed.items())
    file = tmp_path / "rows.yaml"
    bibtex = "".join(f"    {line}\n" for line in BIBTEX.splitlines())
    file.write_text(f"-\n{row}\n  paper: new2024paper\n  bibtex: |\n{bibtex}", encoding="utf-8")
    said("add", "--yaml", file, "--board", judged)
    assert "A New Paper" in judged.with_suffix(".bib").read_text("utf-8")
    assert "every rule kept" in said("check", "--board", judged)


def test_add_refuses_what_it_cannot_take_and_changes_nothing(judged: Path, tmp_path: Path) -> None:
    before = judged.read_bytes()
    (tmp_path / "x.yaml").write_text("top1: 76\n", encoding="utf-8")
    for arguments, message in (
        ([], r"nothing to add"),
        (["--yaml", tmp_path / "x.yaml", "--top1", "76"], r"--file: the file says it all"),
        (["--top1", "760"], r"top1"),
        ([*NEW, "--family", "prunned"], r"'prunned' is not one of .*did you mean 'pruned'"),
        ([tmp_path], r"result\.json"),
    ):
        with pytest.raises(InputError, match=message):
            said("add", *arguments, "--board", judged)
        assert judged.read_bytes() == before


def test_add_has_a_flag_for_every_column() -> None:
    typed = {column: short for short, column in SHORT.items()}
    text = said("add", "--help", terminal_width=200)
    for name in NAMES:
        assert (f"--{typed.get(name, name).replace('_', '-')} " in text) == (name != "id")


def test_questions_come_through_the_terminal(judged: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    answers = [
        "lin2020hrank", "1", "resnet50", "HRank again", "", "0.691", "y", "0.98G", "4.09G", "Table 4, row 4",
        "lmbxmu/HRank", "",
    ]  # fmt: skip
    asked: list[str] = []

    def prompt(question: str, default: str = "", **_: object) -> str:
        asked.append(question)
        return answers.pop(0) or default

    confirmed: list[str] = []
    monkeypatch.setattr(adding_verb.typer, "prompt", prompt)
    monkeypatch.setattr(adding_verb.typer, "confirm", lambda question: confirmed.append(question) or True)
    monkeypatch.setattr(adding_verb.sys, "stdin", type("Terminal", (), {"isatty": lambda self: True})())
    adding_verb.add(board=judged)
    assert (len(asked), answers, confirmed) == (12, [], ["Add it?"])
    assert [str(row.top1) for row in read_board(judged) if row.method == "HRank again"] == ["69.1"]


def test_add_shows_verdicts_before_it_writes_and_a_dry_run_writes_nothing(judged: Path) -> None:
    before = judged.read_bytes()
    text = said("add", *NEW, "--dry-run", "--board", judged)
    assert "against plain ResNets, any recipe, on MACs" in text
    assert "nothing written" in text
    assert judged.read_bytes() == before


def test_a_file_of_many_rows_is_added_whole_or_not_at_all(judged: Path, tmp_path: Path) -> None:
    row = {flag[2:].replace("-", "_"): value for flag, value in zip(NEW[::2], NEW[1::2], strict=True)}
    names = list(row)
    lines = [",".join(f'"{cell}"' for cell in ({**row, "top1": top1}).values()) for top1 in ("69.1", "70.5", "0.7")]
    path = tmp_path / "rows.csv"
    path.write_text("\n".join([",".join(names), *lines]), encoding="utf-8")
    before = judged.read_bytes()
    with pytest.raises(InputError, match="nothing added: look at the doubts"):
        said("add", "--file", path, "--board", judged)
    assert judged.read_bytes() == before
    path.write_text("\n".join([",".join(names), *lines[:2]]), encoding="utf-8")
    text = said("add", "--file", path, "--board", judged)
    assert text.count("added lin2020hrank-resnet50-") == 2
    assert len(read_board(judged)) == 6


def test_the_template_is_printed_as_it_is() -> None:
    assert said("add", "--template").startswith("# Results of one paper")
    with pytest.raises(InputError, match="--template: it is printed as it is"):
        said("add", "--template", "--yes")
    with pytest.raises(InputError, match="--ema: only run folders"):
        said("add", *NEW, "--ema")


def test_wrong_input_is_one_line_and_code_2(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "thinresnet", "leaderboard", "show", "--board", str(tmp_path / "none.csv")]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert done.stdout == ""
    assert len(done.stderr.splitlines()) == 1


def test_nothing_heavy_is_imported_to_answer(tmp_path: Path) -> None:
    program = (
        "import sys, pkgutil, importlib, thinresnet.leaderboard as room\n"
        "for module in pkgutil.iter_modules(room.__path__):\n"
        "    if module.name not in ('figure', 'panels', 'page', 'authors_chart', 'authors_page'):\n"
        "        importlib.import_module(f'{room.__name__}.{module.name}')\n"
        "heavy = {'torch', 'timm', 'numpy', 'pandas', 'altair', 'vl_convert', 'jinja2', 'rich.table', 'accelerate'}\n"
        "print(sorted(heavy & set(sys.modules)))\n"
        "from typer.testing import CliRunner\n"
        "from thinresnet.cli import app\n"
        "for words in (['show'], ['compare'], ['check'], ['holes'], ['cite']):\n"
        "    assert CliRunner().invoke(app, ['leaderboard', *words]).exit_code == 0, words\n"
        "print(sorted((heavy - {'rich.table'}) & set(sys.modules)))\n"
    )
    root = Path(adding_verb.__file__).parents[2]
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True, cwd=root)
    assert done.stdout.splitlines() == ["[]", "[]"]
