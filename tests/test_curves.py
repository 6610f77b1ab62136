"""Curves: every panel drawn, three files, nothing fetched from anywhere."""

from __future__ import annotations

import json
import re
import shutil
import struct
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from thinresnet import cli, curves
from thinresnet.curves import plot
from thinresnet.errors import InputError

METRICS = """epoch,updates,lr,train_loss,test_loss,test_top1,test_top5,holdout_loss,holdout_top1,holdout_top5
1,10,0.1,2.3,2.0,31.5,70.0,2.1,,
2,20,0.05,1.9,1.5,52.25,81.0,1.6,50.0,80.0
"""
TIMING = "epoch,seconds,images_per_second\n1,2.0,320.0\n2,1.0,640.0\n"


@pytest.fixture
def run(tmp_path: Path) -> Path:
    folder = tmp_path / "a-run"
    folder.mkdir()
    (folder / "metrics.csv").write_text(METRICS)
    (folder / "timing.csv").write_text(TIMING)
    return folder


def test_three_files_that_need_no_network(run: Path, tmp_path: Path) -> None:
    png, svg, html = plot([run], tmp_path / "curves")
    width, height = struct.unpack(">II", png.read_bytes()[16:24])
    assert png.read_bytes().startswith(b"\x89PNG")
    assert width > 800
    assert height > 600
    for words in ("top-1 (%)", "cross-entropy", "learning rate", "images per second", "a-run", "hold-out"):
        assert words in svg.read_text()
    page = html.read_text()
    assert not re.search(r"<(script|link|img)[^>]+(src|href)=[\"']?(https?:)?//", page)
    assert "52.25" in page


def test_what_was_not_measured_is_not_drawn(run: Path, tmp_path: Path) -> None:
    _, svg, html = plot([run], tmp_path / "curves")
    assert "EMA" not in svg.read_text()
    values = re.findall(r'"kind": ?"top1", ?"part": ?"hold-out", ?"epoch": ?(\d)', html.read_text())
    assert set(values) == {"2"}


@pytest.mark.parametrize("epochs", [1, 10, 11, 300])
def test_runs_of_any_length(run: Path, tmp_path: Path, epochs: int) -> None:
    lines = [f"{epoch},{10 * epoch},0.1,2.3,2.0,31.5,70.0,2.1,," for epoch in range(1, epochs + 1)]
    (run / "metrics.csv").write_text("\n".join([METRICS.splitlines()[0], *lines]) + "\n")
    _, svg, html = plot([run], tmp_path / "curves")
    assert '"values": null' not in html.read_text()
    ticks = {int(text) for text in re.findall(r">(\d+)</text>", svg.read_text())}
    assert epochs in ticks or epochs > 10
    assert len([tick for tick in ticks if tick <= epochs]) <= 25


def test_names_of_runs_are_text_not_markup(run: Path, tmp_path: Path) -> None:
    evil = run.rename(tmp_path / "<script>alert(1)<")
    _, svg, html = plot([evil], tmp_path / "curves")
    assert "<script>alert" not in svg.read_text()
    assert "<script>alert" not in html.read_text()


@pytest.mark.parametrize("text", [None, "", METRICS.splitlines()[0]])
def test_a_folder_without_curves_is_refused_by_name(run: Path, tmp_path: Path, text: str | None) -> None:
    if text is None:
        (run / "metrics.csv").unlink()
    else:
        (run / "metrics.csv").write_text(text)
    with pytest.raises(InputError, match=r"metrics\.csv: "):
        plot([run], tmp_path / "curves")
    assert not list(tmp_path.glob("curves*"))


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("1,10,", "x,10,", "epoch: takes an integer, 1 to 1,000,000, got 'x'"),
        ("2,20,", f"{10**9},20,", "epoch: takes an integer"),
        ("2,20,", "1" * 400 + ",20,", "epoch: takes an integer"),
        ("lr,", "rate,", "lr: takes a number in every epoch, got None"),
        ("31.5", "much", "test_top1: takes a number in every epoch, got 'much'"),
        ("2.1,,", "2.1", "line 2: not as many cells"),
    ],
)
def test_a_damaged_table_is_refused_by_name(run: Path, tmp_path: Path, old: str, new: str, said: str) -> None:
    (run / "metrics.csv").write_text(METRICS.replace(old, new))
    with pytest.raises(InputError, match=rf"metrics\.csv.*{said}"):
        plot([run], tmp_path / "curves")


def test_a_table_that_a_spreadsheet_saved_and_losses_that_are_not_finite(run: Path) -> None:
    (run / "metrics.csv").write_bytes(b"\xef\xbb\xbf" + METRICS.replace("2.0,31.5", "nan,31.5").encode())
    losses = [row for row in curves._long(run) if row["kind"] == "loss" and row["part"] == "test"]
    assert [row["epoch"] for row in losses] == [2]


def test_the_verbs(run: Path) -> None:
    answer = CliRunner().invoke(cli.app, ["plot", str(run), "--json"])
    assert answer.exit_code == 0
    assert [Path(name).suffix for name in json.loads(answer.stdout)] == [".png", ".svg", ".html"]
    assert (run / "curves.html").exists()
    answer = CliRunner().invoke(cli.app, ["recipes", "--json"])
    assert {"digits", "imagenet-a2", "cifar-modern"} <= {row["recipe"] for row in json.loads(answer.stdout)}
    assert "Sources" in CliRunner().invoke(cli.app, ["recipes", "imagenet-a2"]).stdout


def test_one_epoch_is_points_whose_shapes_tell_train_from_test_and_more_are_lines() -> None:
    def first_panel(epochs: int) -> dict[str, Any]:
        rows = [
            {"run": "a", "kind": kind, "part": part, "epoch": epoch, "value": 1.0}
            for kind in ("top1", "loss", "lr") for part in ("train", "test") for epoch in range(1, epochs + 1)
        ]  # fmt: skip
        found = curves.draw(rows, [row for row in rows if row["kind"] == "lr"]).to_dict()
        return dict(found["vconcat"][0]["hconcat"][0])

    one, more = first_panel(1), first_panel(2)
    assert one["mark"]["type"] == "point"
    assert one["encoding"]["shape"]["field"] == "part"
    assert len(set(one["encoding"]["shape"]["scale"]["range"])) == 2
    assert more["mark"]["type"] == "line"
    assert more["encoding"]["strokeDash"]["field"] == "part"
    # A stroke in the legend takes the colour of lines, which points do not have.
    assert [panel["encoding"]["color"]["legend"]["symbolType"] for panel in (one, more)] == ["square", "stroke"]
    assert [panel["encoding"]["x"]["scale"]["domain"] for panel in (one, more)] == [[0, 2], [1, 2]], "in the middle"


def test_runs_that_were_measured_once_at_their_end_are_points() -> None:
    """Epochs go on where nothing is measured (val_interval), so that the last one is not the first."""

    def marks(epochs: dict[str, tuple[int, ...]]) -> dict[str, Any]:
        rows = [
            {"run": run, "kind": kind, "part": "test", "epoch": epoch, "value": 1.0}
            for run, own in epochs.items() for kind in ("top1", "loss", "lr") for epoch in own
        ]  # fmt: skip
        found = curves.draw(rows, [row for row in rows if row["kind"] == "lr"]).to_dict()
        return dict(found["vconcat"][0]["hconcat"][0]["mark"])

    assert marks({"a": (3,), "b": (3,)})["type"] == "point"
    assert marks({"a": (3,), "b": (1, 2, 3)})["point"]
    assert not marks({"a": (1, 2), "b": (1, 2, 3)})["point"]


def test_a_suffix_is_no_part_of_the_name(run: Path, tmp_path: Path) -> None:
    assert [path.name for path in curves.plot([run], tmp_path / "c.png")] == ["c.png", "c.svg", "c.html"]
    assert [path.name for path in curves.plot([run], tmp_path / "w0.5")] == ["w0.5.png", "w0.5.svg", "w0.5.html"]


def test_labels_stand_for_folders_one_for_each(run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    drawn: list[Any] = []
    monkeypatch.setattr(
        curves, "write_chart", lambda chart, target, names: drawn.append((chart.to_dict(), names)) or []
    )
    other = tmp_path / "other" / run.name
    shutil.copytree(run, other)
    plot([run, other], tmp_path / "curves", ["thin", "dense"])
    assert drawn[0][1] == ["thin", "dense"]
    assert drawn[0][0]["vconcat"][0]["hconcat"][0]["encoding"]["color"]["scale"]["domain"] == ["thin", "dense"]
    with pytest.raises(InputError, match="two runs are called a-run; tell them apart by --label"):
        plot([run, other], tmp_path / "curves")
    with pytest.raises(InputError, match="1 labels for 2 runs"):
        plot([run, other], tmp_path / "curves", ["thin"])
