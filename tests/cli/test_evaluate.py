"""`thinresnet import` and `evaluate` as a shell runs them, with tiny networks and images; and what goes wrong."""

from __future__ import annotations

import csv
import math
import pickle
import sys
import threading
from collections.abc import Iterator
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor

from thinresnet.cli import main
from thinresnet.evaluation import Evaluation
from thinresnet.imported import Imported
from thinresnet.networks import build, describe, load, save

CLASSES = ("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck")


def _run(monkeypatch: pytest.MonkeyPatch, *words: object) -> int:
    monkeypatch.setattr(sys, "argv", ["thinresnet", *map(str, words)])
    try:
        main()
    except SystemExit as stop:
        return int(stop.code or 0)
    return 0


def _theirs(name: str, classes: int = 10, seed: int = 0) -> dict[str, Tensor]:
    state = build(describe(name, num_classes=classes), seed=seed).state_dict()
    renamed = {}
    for key, tensor in state.items():
        head, _, rest = key.partition(".")
        renamed[f"module.{ {'conv1': 'embed.0', 'bn1': 'embed.1'}.get(head, head) }.{rest}"] = tensor
    return renamed


@pytest.fixture
def weights(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Two small files of the authors' form, in the folder that the test works in."""
    monkeypatch.chdir(tmp_path)
    for width in (1, 2):
        torch.save(_theirs(f"thinresnet20-w{width}"), tmp_path / f"w{width}.pt")
    return tmp_path


@pytest.fixture
def images(tmp_path: Path) -> Path:
    """Three images a class of CIFAR-10's, 32 pixels."""
    random = np.random.default_rng(0)
    for name in CLASSES:
        folder = tmp_path / "pictures" / "test" / name
        folder.mkdir(parents=True)
        for number in range(3):
            pixels = random.integers(0, 256, (32, 32, 3), dtype=np.uint8)
            Image.fromarray(pixels).save(folder / f"{number}.png")
    return tmp_path / "pictures"


def _left(folder: Path) -> set[str]:
    return {path.name for path in folder.rglob("*")}


def test_import_writes_a_run_folder(
    weights: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert (
        _run(monkeypatch, "import", "w2.pt", "--arch", "thinresnet20-w2", "--dataset", "cifar10", "--licence", "MIT")
        == 0
    )
    folder = weights / "runs" / "w2"
    expected = {"network.json", "model.safetensors", "imported.json", "config.json"}
    assert {path.name for path in folder.iterdir()} == expected
    imported = Imported.read(folder)
    assert (imported.shape, imported.dataset, imported.origin.licence) == ("thinresnet20-w2", "cifar10", "MIT")
    assert imported.preprocessing.mean == (0.485, 0.456, 0.406)
    network, model = load(folder)
    assert network == describe("thinresnet20-w2", num_classes=10)
    assert torch.equal(model.state_dict()["conv1.weight"], _theirs("thinresnet20-w2")["module.embed.0.weight"])
    assert "thinresnet evaluate" in capsys.readouterr().out
    before = (folder / "imported.json").read_bytes()
    assert _run(monkeypatch, "import", "w2.pt", "--dataset", "cifar10", "--licence", "MIT") == 0  # again: the same
    assert (folder / "imported.json").read_bytes() == before
    assert _run(monkeypatch, "import", "w1.pt", "--output", folder) == 2
    assert "something else is there already" in capsys.readouterr().err


def test_names_by_order_are_shown_and_asked_for(
    weights: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    state = _theirs("thinresnet20-w1")
    torch.save({f"p{number}": value for number, value in enumerate(state.values()) if value.dim()}, "strange.pt")
    assert _run(monkeypatch, "import", "strange.pt", "--arch", "thinresnet20-w1") == 2
    said = capsys.readouterr().err
    assert "p0  ->  conv1.weight  (1, 3, 3, 3)" in said
    assert "look, then give --yes" in said
    assert not (weights / "runs").exists()
    assert _run(monkeypatch, "import", "strange.pt", "--arch", "thinresnet20-w1", "--yes") == 0
    assert Imported.read(weights / "runs" / "strange").origin.rule == "by order and shape"


def test_evaluate_files_beside_each_other(
    weights: Path, images: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (weights / "LICENSE").write_text("MIT")
    monkeypatch.setenv("COLUMNS", "200")
    assert (
        _run(monkeypatch, "evaluate", "w1.pt", "w2.pt", "LICENSE", "--data-dir", images, "--per-class", "--confusion")
        == 0
    )
    printed = capsys.readouterr()
    assert "LICENSE: passed over" in printed.err
    assert "class \\ prediction" in printed.out
    home = weights / "evaluations"
    written = {path.name for path in home.iterdir()}
    assert written == {"w1", "w2", "evaluations.csv", "evaluations.png", "evaluations.svg", "evaluations.html"}
    with (home / "evaluations.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    for row in rows:
        found = Evaluation.read(home / row["name"])
        assert (found.images, len(found.confusion), found.dataset) == (30, 10, "pictures")
        assert row["top1"] == f"{100 * found.correct1 / 30:.2f}"
        assert found.top1 == pytest.approx(_top1(home / row["name"], images))


def _top1(folder: Path, images: Path) -> float:
    """The same accuracy, one image at a time and by hand."""
    _, model = load(folder)
    right = 0
    for number, name in enumerate(CLASSES):
        for path in sorted((images / "test" / name).iterdir()):
            pixels = torch.from_numpy(np.asarray(Image.open(path))).permute(2, 0, 1) / 255
            mean, std = torch.tensor([0.485, 0.456, 0.406]), torch.tensor([0.229, 0.224, 0.225])
            with torch.no_grad():
                logits = model.eval()(((pixels - mean[:, None, None]) / std[:, None, None])[None])
            right += int(logits.argmax()) == number
    return 100 * right / 30


def test_a_run_is_evaluated_in_its_folder(
    weights: Path, images: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Two classes only, with other preprocessing than the weights' own, which the evaluation says."""
    assert _run(monkeypatch, "import", "w1.pt") == 0
    words = ("--classes", "cat,dog", "--mean", "0.5,0.5,0.5", "--std", "0.5,0.5,0.5", "--resize", "40", "--crop", "32")
    assert _run(monkeypatch, "evaluate", "runs/w1", "--data-dir", images, *words) == 0
    found = Evaluation.read(weights / "runs" / "w1")
    assert (found.classes, found.restricted, found.images, found.outputs) == (["cat", "dog"], True, 6, 10)
    assert (found.preprocessing.resize_px, found.preprocessing.mean) == (40, (0.5, 0.5, 0.5))
    assert found.correct1_of_all_outputs <= found.correct1
    assert Imported.read(weights / "runs" / "w1").preprocessing.resize_px is None
    assert not (weights / "evaluations").exists()
    assert "predictions among 2 of 10 classes" in capsys.readouterr().out


def test_images_of_another_size_ask_for_a_crop(
    weights: Path, images: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    Image.new("RGB", (48, 40)).save(images / "test" / "cat" / "0.png")
    assert _run(monkeypatch, "evaluate", "w1.pt", "--data-dir", images) == 2
    assert "the images differ in size" in capsys.readouterr().err
    assert _run(monkeypatch, "evaluate", "w1.pt", "--data-dir", images, "--resize", "36", "--crop", "32") == 0


def test_a_training_keeps_its_result(images: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A run of this project is prepared as its recipe says, and its own files are not touched."""
    network = describe("thinresnet20-w1", num_classes=10)
    folder = tmp_path / "run"
    save(folder, network, build(network, seed=0))
    (folder / "recipe.yaml").write_text("img_size: 32\ncrop_pct: 1.0\nmean: [0.4, 0.4, 0.4]\nstd: [0.2, 0.2, 0.2]\n")
    before = {path.name: path.read_bytes() for path in folder.iterdir()}
    assert _run(monkeypatch, "evaluate", folder, "--data-dir", images) == 0
    assert {name: (folder / name).read_bytes() for name in before} == before
    assert Evaluation.read(folder).preprocessing.mean == (0.4, 0.4, 0.4)
    assert _run(monkeypatch, "evaluate", folder, "--data-dir", images, "--ema") == 2


def _spoil(kind: str, path: Path) -> None:
    state = _theirs("thinresnet20-w1")
    if kind == "truncated":
        path.write_bytes(path.read_bytes()[:5000])
    elif kind == "pickle":
        path.write_bytes(pickle.dumps({"conv1.weight": np.zeros(3)}))
    elif kind == "nan":
        torch.save({**state, "module.fc.bias": torch.full((10,), math.nan)}, path)
    elif kind == "classes":
        torch.save(_theirs("thinresnet20-w1", classes=7), path)
    elif kind == "another network":
        torch.save({"encoder.weight": torch.zeros(3, 3)}, path)


@pytest.mark.parametrize("kind", ["truncated", "pickle", "nan", "classes", "another network"])
@pytest.mark.parametrize("verb", ["import", "evaluate"])
def test_bad_files_are_a_line_and_leave_nothing(
    kind: str,
    verb: str,
    weights: Path,
    images: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    _spoil(kind, weights / "w1.pt")
    before = _left(weights)
    more = ("--dataset", "cifar10") if verb == "import" else ("w2.pt", "--data-dir", images)
    assert _run(monkeypatch, verb, "w1.pt", *more) == 2
    said = capsys.readouterr().err.strip().splitlines()
    assert len(said) == 1
    assert "w1" in said[0]
    assert _left(weights) == before


class _Server(SimpleHTTPRequestHandler):
    def do_GET(self) -> None:
        if self.path == "/huge.pt":
            self.send_response(200)
            self.send_header("Content-Length", str(5 * 2**30))
            self.end_headers()
            return
        super().do_GET()

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def server(weights: Path) -> Iterator[str]:
    found = ThreadingHTTPServer(("127.0.0.1", 0), partial(_Server, directory=str(weights)))
    threading.Thread(target=found.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{found.server_port}"
    found.shutdown()
    found.server_close()


def test_an_address_is_imported(
    weights: Path, server: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert _run(monkeypatch, "import", f"{server}/w1.pt") == 0
    assert Imported.read(weights / "runs" / "w1").origin.url == f"{server}/w1.pt"
    capsys.readouterr()
    before = _left(weights)
    for name, said in (("none.pt", "404"), ("huge.pt", "5,368,709,120 bytes"), ("../x.pt", "404")):
        assert _run(monkeypatch, "import", f"{server}/{name}", "--output", "elsewhere") == 2
        lines = capsys.readouterr().err.strip().splitlines()
        assert len(lines) == 1
        assert said in lines[0]
    assert _left(weights) == before


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("evaluate", "w1.pt"), "no images: give --data-dir"),
        (("evaluate", "w1.pt", "--data-dir", "nowhere"), "nowhere: no such folder"),
        (("evaluate", "thinresnet20-w40", "--data-dir", "pictures"), "no public weights are known"),
        (("evaluate", "runs", "--data-dir", "pictures"), "runs"),
        (("evaluate", "w1.pt", "--data-dir", "pictures", "--classes", "cat,dgo"), "no class 'dgo'; did you mean 'dog'"),
        (("evaluate", "w1.pt", "--data-dir", "pictures", "--mean", "1,2"), "three numbers"),
        (("evaluate", "w1.pt", "--data-dir", "pictures", "--crop", "99999"), "crop_px: 99999"),
        (("evaluate", "w1.pt", "--data-dir", "pictures", "--device", "cudda"), "--device cudda"),
        (("import", "w1.pt", "--model-kwargs", "shortcut"), "takes key=value"),
        (("import", "nothing.pt"), "nothing.pt: cannot be read"),
    ],
)
def test_slips(
    words: tuple[str, ...], said: str, weights: Path, images: Path, monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    assert _run(monkeypatch, *words) == 2
    lines = capsys.readouterr().err.strip().splitlines()
    assert said in lines[-1]
    assert not (weights / "evaluations").exists()
