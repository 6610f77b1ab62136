"""`leaderboard show`, `compare` and `holes` as people type them."""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from thinresnet.cli import app
from thinresnet.errors import InputError
from thinresnet.leaderboard.schema import Entry, parse
from thinresnet.leaderboard.store import read_board, render

BOARD = Path(__file__).parents[2] / "leaderboard.csv"
ROW = {
    "id": "lin2020hrank-resnet50-000001", "source": "published", "dataset": "imagenet", "arch": "resnet50",
    "method": "HRank", "family": "pruned", "accuracy_unit": "accuracy", "top1_printed": "74.98", "cost_unit": "macs",
    "cost_printed_g": "2.3", "paper": "lin2020hrank", "locator": "Table 4, row 2", "hand": "first",
}  # fmt: skip


def made(**cells: str) -> Entry:
    entry, faults = parse({name: cell for name, cell in {**ROW, **cells}.items() if cell})
    assert entry is not None, faults
    return entry


@pytest.fixture
def board(tmp_path: Path) -> Path:
    """Two results and two references: 72.75 % at 1.5 G, ResNet-18d with 76 % at 2.0537 G."""
    entries = [
        made(),
        made(id="lin2020hrank-resnet50-000002", top1_printed="71.98", cost_printed_g="1.7"),
        made(id="ref-half", family="scaled", top1_printed="72.75", cost_printed_g="1.5", paper="adlik", method="w0.5"),
        made(
            id="ref-18d", family="dense", arch="resnet18d", top1_printed="76", cost_printed_g="",
            method="[bold]18d[/]", paper="wightman_timm", train_epochs="3600",
        ),
    ]  # fmt: skip
    path = tmp_path / "leaderboard.csv"
    path.write_text(render(entries), encoding="utf-8")
    shutil.copy(BOARD.with_suffix(".bib"), path.with_suffix(".bib"))
    return path


@pytest.fixture
def said(board: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., str]:
    """What a verb prints in a terminal of some width; what it raises is raised."""

    def run(*arguments: object, width: int = 200, own: bool = True, **rest: Any) -> str:
        monkeypatch.setenv("COLUMNS", str(width))
        where = ["--board", str(board)] if own else []
        done = CliRunner().invoke(app, ["leaderboard", *map(str, arguments), *where], **rest)
        if done.exception is not None and not isinstance(done.exception, SystemExit):
            raise done.exception
        assert done.exit_code == 0, done.output
        return done.output

    return run


def test_show_prints_rows_and_how_many_there_are(said: Callable[..., str]) -> None:
    text = said("show")
    assert "4 of 4 rows. Verdicts against plain ResNets (for ResNets) or the same architecture" in text
    assert "[bold]18d[/]" in text
    assert text.count("loses") == 2
    assert "1 of 2 rows; --limit 0 shows all" in said("show", "--family", "pruned", "--limit", 1)
    assert "1 of 2 rows; --limit 0 shows all" in said("show", "--verdict", "loses", "--limit", 1)
    assert "ref-18d" not in said("show", "--method", "hrank", "--year", "2020")


def test_show_fits_80_columns_with_ids_and_methods_whole(said: Callable[..., str]) -> None:
    text = said("show", "--arch", "resnet50", width=80, own=False)
    assert max(map(len, text.splitlines())) <= 80
    for entry in [entry for entry in read_board(BOARD) if entry.arch == "resnet50" and entry.dataset == "imagenet"][
        :40
    ]:
        assert entry.id in text


def test_show_speaks_one_format_at_a_time(said: Callable[..., str]) -> None:
    listed = json.loads(said("show", "--json"))
    assert (listed["rules"], listed["rows"][0]["printed"]["id"]) == (2, "ref-18d")
    assert said("show", "--csv").startswith("id,dataset,network,method,")
    assert said("show", "--csv", "--columns", "id,gap").splitlines()[0] == "id,gap,rules"
    assert said("show", "--markdown").startswith("| id | dataset | network |")
    assert r"\toprule" in said("show", "--latex")
    with pytest.raises(InputError, match=r"--json and --csv: one format at a time"):
        said("show", "--json", "--csv")


def test_compare_a_claim(said: Callable[..., str]) -> None:
    text = " ".join(said("compare", "--arch", "resnet50", "--macs", "2.0G", "--top1", "74").split())
    assert "resnet50 on imagenet, typed in: 74 %, 2 G MACs, spread unknown (runs not stated)." in text
    assert "plain ResNets any any loses 1.73 outright 75.73" not in text  # 72.75 at 1.5 G is no better than 74
    assert "plain ResNets any any loses 1.73 interpolated 75.73" in text
    assert (
        "The bar is 75.73 % between resnet50 w0.5 [adlik] (1.5 G, 72.75 %) and "
        "resnet18d [bold]18d[/] [wightman_timm] (2.054 G, 76 %)." in text
    )
    assert "On parameters: its parameters were not given." in text


def test_every_choice_of_assumptions_is_heeded(said: Callable[..., str]) -> None:
    claim = ("compare", "--arch", "resnet50", "--macs", "2.0G", "--top1", "74", "--json")
    assert len(json.loads(said(*claim))["verdicts"]) == 36
    for flags, count in (
        (("--against", "plain-resnets"), 12), (("--recipes", "classical"), 18), (("--resolution", "own"), 18),
        (("--on", "both"), 12), (("--against", "any-plain-cnn", "--recipes", "any", "--resolution", "any"), 3),
    ):  # fmt: skip
        assert len(json.loads(said(*claim, *flags))["verdicts"]) == count
        assert len(json.loads(said("compare", "lin2020hrank", "--json", *flags))["verdicts"]) == 2 * count
        assert len(json.loads(said("compare", "--json", *flags))["matrix"]) == count


def test_compare_a_row_and_a_paper(said: Callable[..., str]) -> None:
    row = json.loads(said("compare", "lin2020hrank-resnet50-000001", "--json"))
    assert row["claim"]["id"] == "lin2020hrank-resnet50-000001"
    verdict = next(each for each in row["verdicts"] if each["references"] == "plain ResNets")
    # Dearer than the dearest reference and no better: the loss is what that reference leads by.
    assert (verdict["outcome"], verdict["decided"], verdict["gap"]) == ("loses", "outright", -1.02)
    assert verdict["neighbours"] == ["ref-18d"]
    text = " ".join(said("compare", "lin2020hrank").split())
    assert "lin2020hrank-resnet50-000001 74.98 not judged loses 1.02 loses 1.02" in text
    text = " ".join(said("compare", "ref-half").split())
    assert "resnet50 on imagenet, w0.5: 72.75 %" in text


def test_compare_a_network(said: Callable[..., str]) -> None:
    text = " ".join(said("compare").split())
    assert "2 published pruning results for resnet50 on imagenet against the bar of scaled networks" in text
    assert "on MACs references recipe pixels loses ties clears unjudged median" in text
    assert "plain ResNets any any 2 0 0 0" in text
    matrix = json.loads(said("compare", "--json"))
    assert list(matrix) == ["rules", "arch", "dataset", "matrix", "decomposition"]


def test_compare_our_board_shows_the_matrix_and_the_decomposition(said: Callable[..., str]) -> None:
    text = said("compare", "--arch", "resnet50", own=False)
    assert text.count("classical  any") == 9
    assert "The gap in parts: shape (row - classical bar) less recipe (bar - classical bar)." in text
    narrow = said("compare", "--arch", "resnet50", own=False, width=80)
    assert max(map(len, narrow.splitlines())) <= 80
    assert "…" not in narrow + said("holes", own=False, width=80)
    assert narrow.count("same architecture  any        any") == 3


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["compare", "nobody2020"], r"'nobody2020' is neither a row nor a paper"),
        (["compare", "lin2020hrank", "--top1", "76"], r"a row or paper has its own figures"),
        (["compare", "lin2020hrank", "--dataset", "imagenet"], r"a row or paper has its own figures"),
        (["compare", "--macs", "2G"], r"a claim needs --arch and --top1, and --macs or --params"),
        (["compare", "--arch", "resnet50", "--top1", "76"], r"a claim needs --arch and --top1, and --macs or --params"),
        (["compare", "--arch", "resnet50", "--macs", "2G", "--top1", "0.76"], r"--top1 0\.76: .*did you mean 76\?"),
        (["compare", "--arch", "resnet51"], r"--arch resnet51: no row on imagenet has it; did you mean 'resnet50'"),
        (["compare", "--on", "flops"], r"--on flops: one of macs, params, both"),
        (["compare", "--recipes", "classic"], r"--recipes classic: one of any, classical; did you mean 'classical'"),
        (["compare", "--resolution", "owm"], r"--resolution owm: one of any, own; did you mean 'own'"),
        (["compare", "--against", "resnets"], r"--against resnets: one of same-architecture"),
        (["show", "--verdict", "lost"], r"--verdict lost: one of loses"),
        (["show", "--paper", "lin2020hrnk"], r"did you mean 'lin2020hrank'"),
        (["show", "--columns", "topp1"], r"--columns topp1: one of .*did you mean 'top1'"),
        (["holes", "--arch", "resnet51"], r"--arch resnet51: no row of this board has it"),
        (["holes", "--on", "both"], r"--on both: a hole is a place on one cost"),
    ],
)
def test_what_is_refused_says_what_is_allowed(said: Callable[..., str], arguments: list[str], message: str) -> None:
    with pytest.raises(InputError, match=message):
        said(*arguments)


def test_holes(said: Callable[..., str]) -> None:
    assert "0 of 0 missing runs" in said("holes")
    found = json.loads(said("holes", "--json", "--against", "same-architecture"))
    assert found["rules"] == 2
    (hole,) = found["holes"]
    assert (hole["kind"], hole["archs"], hole["cost"]) == ("above the bar", ["resnet50"], 2.3)
    assert hole["results"] == ["lin2020hrank-resnet50-000001"]
    text = said("holes", own=False)
    assert text.index("wide gap") < text.index("below the bar")
    # Public weights: a line each, as many as there are lines of runs, and the commands once.
    assert text.count("thinresnet evaluate thinresnet") == text.count("thinresnet leaderboard add ") == 1
    few, every = said("holes", "--limit", "3", own=False), said("holes", "--limit", "0", own=False)
    assert few.count(" results\n") == 3
    assert re.search(r"  and \d+ more; --limit 0 shows all", few)
    assert " more; " not in every
    assert every.count(" results\n") > 10
