"""`thinresnet predict` and `export`: names of classes, images of every kind, files that answer as the network does."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from typer.testing import CliRunner, Result

from thinresnet.cli import app
from thinresnet.errors import InputError
from thinresnet.networks import build, export, load, save, scale
from thinresnet.networks.hub import carry_over, read_config, write_config
from thinresnet.preprocessing import Preprocessing
from thinresnet.training.classes import in_english

NETWORK = scale("resnet20_cifar", width=0.125, num_classes=3, input_size=(3, 8, 8))
NAMES = ("n01440764", "[bold]cat", "dog")
HOW = Preprocessing((0.1, 0.2, 0.3), (0.5, 0.6, 0.7))


@pytest.fixture
def run(tmp_path: Path) -> Path:
    folder = tmp_path / "run"
    folder.mkdir()
    save(folder, NETWORK, build(NETWORK, seed=1))
    write_config(folder, NETWORK, HOW, NAMES)
    return folder


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    folder = tmp_path / "photos" / "of a day"
    folder.mkdir(parents=True)
    for number in range(3):
        pixels = np.random.default_rng(number).integers(0, 256, (8, 8, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(folder / f"{number}.png")
    return folder.parent


def _verb(*arguments: object) -> Result:
    return CliRunner().invoke(app, [*map(str, arguments)], env={"COLUMNS": "150"})


def _refusal(*arguments: object) -> str:
    found = _verb(*arguments)
    assert isinstance(found.exception, InputError), found.output
    return str(found.exception)


def test_classes_have_the_networks_own_probabilities_and_their_names(run: Path, photos: Path) -> None:
    one = photos / "of a day" / "2.png"
    found = json.loads(_verb("predict", run, photos, one, "--json", "--batch-size", 2).stdout)
    assert [Path(each["image"]).name for each in found] == ["0.png", "1.png", "2.png"]  # each once
    pixels = torch.from_numpy(np.asarray(Image.open(one)).transpose(2, 0, 1).copy()) / 255
    mean, std = (torch.tensor(values)[:, None, None] for values in (HOW.mean, HOW.std))
    _, model = load(run)
    with torch.inference_mode():
        expected = model.eval()(((pixels - mean) / std)[None]).double().softmax(1)[0]
    guesses = found[2]["classes"]
    assert [guess["class"] for guess in guesses] == [NAMES[index] for index in expected.argsort(descending=True)]
    assert [guess["probability"] for guess in guesses] == pytest.approx(expected.sort(descending=True).values.tolist())
    assert {guess["description"] for guess in guesses} == {in_english("n01440764"), "[bold]cat", "dog"}
    printed = _verb("predict", run, one, "--top", 3).stdout
    assert "[bold]cat" in printed  # a name is no markup
    assert "tench" in printed


def test_what_cannot_be_predicted(run: Path, photos: Path, tmp_path: Path) -> None:
    assert "no such image" in _refusal("predict", run, photos / "none.png")
    (tmp_path / "empty").mkdir()
    assert "no images in this folder" in _refusal("predict", run, tmp_path / "empty")
    broken = tmp_path / "broken.png"
    broken.write_bytes(b"\x89PNG\r\n")
    assert "broken.png: not an image that can be decoded" in _refusal("predict", run, broken)
    Image.new("RGB", (20, 10)).save(tmp_path / "wide.png")
    assert "--resize 8 --crop 8" in _refusal("predict", run, tmp_path / "wide.png")
    assert _verb("predict", run, tmp_path / "wide.png", "--resize", 8, "--crop", 8).exit_code == 0
    assert "no run folder" in _refusal("predict", photos, tmp_path / "wide.png")
    config = json.loads((run / "config.json").read_text())
    (run / "config.json").write_text(json.dumps({**config, "label_names": ["a", "b"]}))
    assert "label_names: takes a list of 3 names" in _refusal("predict", run, photos)


def test_a_network_made_from_another_keeps_its_images_and_classes(run: Path, tmp_path: Path) -> None:
    thinner = scale("resnet20_cifar", width=0.0625, num_classes=3, input_size=(3, 8, 8))
    carry_over(run, tmp_path, thinner)
    assert read_config(tmp_path, 3) == (HOW, NAMES)
    written = json.loads((tmp_path / "config.json").read_text())
    assert written["model_args"]["network"] == json.loads(thinner.to_json())
    assert written["pretrained_cfg"]["input_size"] == [3, 8, 8]
    carry_over(tmp_path / "nowhere", tmp_path / "nowhere", thinner)  # nothing is known: nothing is written


@pytest.mark.parametrize("to", sorted(export.FORMATS))
def test_what_is_exported_answers_as_the_network_does(to: str, run: Path, tmp_path: Path) -> None:
    target = tmp_path / f"network.{to}"
    done = _verb("export", run, "--to", to, "--output", target, "--json")
    assert done.exit_code == 0, done.output
    record = json.loads(done.stdout)
    assert record["max_abs_difference"] <= record["tolerance"]
    inside = export.metadata_of(target.read_bytes(), to)
    assert inside["classes"] == list(NAMES)
    assert Preprocessing.from_json(inside["preprocessing"], "file") == HOW
    _, model = load(run)
    images = torch.randn(7, 3, 8, 8)
    with torch.inference_mode():
        theirs = export.FORMATS[to][1](target.read_bytes())(images)
        torch.testing.assert_close(theirs, model.eval()(images), atol=1e-4, rtol=0)


def test_a_file_that_answers_otherwise_is_not_kept(run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    target = tmp_path / "network.bin"
    assert "one of onnx, torchscript, torch-export" in _refusal("export", run, "--to", "onxx", "-o", target)
    write, _ = export.FORMATS["torchscript"]
    monkeypatch.setitem(export.FORMATS, "torchscript", (write, lambda content: lambda images: torch.ones(1)))
    assert "nothing was written" in _refusal("export", run, "--to", "torchscript", "-o", target)
    monkeypatch.setitem(
        export.FORMATS, "torchscript", (write, lambda content: lambda images: torch.full((1,), torch.nan))
    )
    assert "nothing was written" in _refusal("export", run, "--to", "torchscript", "-o", target)
    monkeypatch.setattr(export, "onnxruntime", None)
    assert "pip install 'thinresnet[onnx]'" in _refusal("export", run, "--to", "onnx", "-o", target)
    assert not target.exists()
