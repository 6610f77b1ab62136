"""`thinresnet data info` and `thinresnet data write`."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from typer.testing import CliRunner

from thinresnet.cli import app
from thinresnet.errors import InputError
from thinresnet.recipe import Recipe
from thinresnet.training.data import open_data

Folder = Callable[..., Path]


def said(*arguments: object) -> str:
    done = CliRunner().invoke(app, ["data", *map(str, arguments)], catch_exceptions=False)
    assert done.exit_code == 0
    return done.stdout


def test_info_of_a_folder(folder: Folder) -> None:
    root = folder(uneven=True)
    found = json.loads(said("info", "--data-dir", root, "--json"))
    assert (found["name"], found["classes"]) == ("pictures", 3)
    assert found["train"] == {
        "images": 36, "fewest_in_a_class": 12, "most_in_a_class": 12, "broken": [],
        "sizes": {"16x16": 9, "17x18": 9, "18x20": 9, "19x22": 9},
    }  # fmt: skip
    assert "images: 15" in said("info", "--data-dir", root)


def test_checking_names_every_broken_file(folder: Folder) -> None:
    root = folder(size=(40, 40))
    bad = [root / "train" / "class0" / "001.jpg", root / "val" / "class2" / "004.jpg"]
    for file in bad:
        file.write_bytes(file.read_bytes()[:-100])
    assert json.loads(said("info", "--data-dir", root, "--json"))["train"]["broken"] == []  # heads alone are whole
    found = json.loads(said("info", "--data-dir", root, "--json", "--check"))
    assert [found["train"]["broken"][0].split(":")[0], found["test"]["broken"][0].split(":")[0]] == [
        str(file) for file in bad
    ]
    assert str(bad[0]) in said("info", "--data-dir", root, "--check")


def test_info_of_digits() -> None:
    found = json.loads(said("info", "--dataset", "digits", "--json"))
    assert (found["train"]["images"], found["test"]["images"], found["train"]["sizes"]) == (1438, 359, {"8x8": 1438})


def test_what_was_written_is_what_the_loader_opens(folder: Folder, cache: Path, ffcv_installed: None) -> None:
    root = folder(uneven=True)
    written = [Path(line) for line in said("write", "--data-dir", root, "--mode", "jpg").splitlines()]
    assert sorted(cache.glob("*.beton")) == sorted(written)
    assert "mode: jpg" in said("info", written[0])
    assert json.loads(said("info", written[0], "--json"))["count"] == 36
    before = written[0].stat().st_mtime_ns
    recipe = Recipe(data_dir=str(root), img_size=16, batch_size=4)
    with open_data(recipe, input_size=None, device=torch.device("cpu"), loader="beton") as data:
        assert len(next(data.train.epoch(0))[0]) == 4
    assert said("write", "--data-dir", root, "--json")
    assert written[0].stat().st_mtime_ns == before


def test_a_mode_that_does_not_exist(folder: Folder, cache: Path, ffcv_installed: None) -> None:
    with pytest.raises(InputError, match="takes one of auto, raw, jpg, proportion"):
        said("write", "--data-dir", folder(), "--mode", "png")
    assert not cache.exists()
