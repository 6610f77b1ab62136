"""`thinresnet prune` at initialisation and by methods of one's own: files, figures, refusals that change nothing."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from safetensors.torch import load_file
from typer.testing import CliRunner, Result

from thinresnet.cli import app
from thinresnet.errors import InputError
from thinresnet.networks import count, read_network, scale
from thinresnet.pruning.initialisation.densities import densities_left
from thinresnet.pruning.record import read_pruning

SMALL = ["--input", "8", "--num-classes", "10"]
OWN = '''
from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from thinresnet.pruning import Job, Method


@dataclass(frozen=True)
class Last(Method):
    """The channels with the highest numbers leave."""

    name: ClassVar[str] = "last"
    paper: ClassVar[str] = "nobody's"
    slope: float = 1.0

    def scores(self, job: Job) -> np.ndarray:
        return -self.slope * np.arange(job.channels.total, dtype=float)
'''


def _run(*arguments: str) -> Result:
    return CliRunner().invoke(app, ["prune", *arguments])


def test_a_network_is_pruned_at_initialisation(tmp_path: Path) -> None:
    result = _run("synexp", "resnet20_cifar", "--macs", "50%", "--params", "40%", "-o", str(tmp_path))
    assert result.exit_code == 0, result.output
    (folder,) = tmp_path.iterdir()
    record, network = read_pruning(folder), read_network(folder)
    cost = count(network)
    assert (record.macs, record.params) == (cost.macs, cost.params)
    assert cost.params <= 0.4 * record.dense_params
    assert record.when == "at initialisation"
    assert str(record.reconstruction).startswith("ours")
    assert record.budgets == {"macs": "50%", "params": "40%"}
    assert record.groups["conv1"]["channels"] == network.channels["conv1"]
    weights = sum(layer["weights"] * layer["left"] for layer in record.layers.values())
    assert weights == pytest.approx(sum(own.params for own in cost.layers if own.macs) - 10)  # but the classes' biases
    left = densities_left(scale("resnet20_cifar"), network)
    assert {name: layer["left"] for name, layer in record.layers.items()} == left
    # No weights: training draws them. No masks either: this criterion ranks no weights.
    assert sorted(path.name for path in folder.iterdir()) == sorted(
        ["network.json", "pruning.json", "kept.png", "kept.svg", "kept.html"]
    )
    assert "layer3.2.conv2" in (folder / "kept.svg").read_text()
    assert "Reconstruction, ours" in result.output
    again = _run("uniform", str(folder), "--macs", "20%", "--json", "-o", str(tmp_path / "again"))
    assert json.loads(again.stdout)[0]["parent_macs"] == cost.macs  # what came out is a network to prune


def test_criteria_that_read_images(tmp_path: Path) -> None:
    refused = _run("snip", "resnet20_cifar", *SMALL, "--macs", "30%", "-o", str(tmp_path))
    assert isinstance(refused.exception, InputError)
    assert "--recipe and --data-dir" in str(refused.exception)
    assert not list(tmp_path.iterdir())
    flags = ["--macs", "30%", "--macs", "20%", "--recipe", "digits", "--json", "--seed", "7", "-o", str(tmp_path)]
    result = _run("snip", "resnet20_cifar", *SMALL, *flags)
    assert result.exit_code == 0, result.output
    looser, tighter = json.loads(result.stdout)
    for found, share in ((looser, 0.3), (tighter, 0.2)):
        assert found["dataset"] == "digits"
        assert found["seed"] == 7
        assert found["images_seen"] > 0
        assert found["training_macs"] == 3 * found["parent_macs"] * found["images_seen"]
        assert found["macs"] <= share * found["dense_macs"]
        # Its own masks are of the network before, at the densities that it asked for.
        masks = load_file(Path(found["folder"]) / "own_masks.safetensors")
        asked = {name: layer["asked"] for name, layer in found["layers"].items()}
        assert {name.removesuffix(".weight"): float(mask.double().mean()) for name, mask in masks.items()} == asked


def test_a_search_is_counted_at_the_size_of_its_images(tmp_path: Path) -> None:
    """Digits enlarged to 16 pixels, for a network that is tested at 8: four times the MACs of an image of 8 pixels."""
    recipe = tmp_path / "larger.yaml"
    text = (Path(__file__).parents[2] / "recipes" / "digits.yaml").read_text()
    recipe.write_text(text.replace("crop_padding: 1\n", "train_img_sizes: [16]\n"))
    flags = ["--macs", "30%", "--recipe", str(recipe), "--json", "-o", str(tmp_path)]
    result = _run("snip", "resnet20_cifar", *SMALL, *flags)
    assert result.exit_code == 0, result.output
    (found,) = json.loads(result.stdout)
    macs = count(scale("resnet20_cifar", input_size=(3, 8, 8), num_classes=10), (3, 16, 16)).macs
    assert found["images_at"] == {"16": found["images_seen"]}
    assert found["training_macs"] == 3 * macs * found["images_seen"] > 3 * found["parent_macs"] * found["images_seen"]


def test_layers_may_grow(tmp_path: Path) -> None:
    result = _run("synexp", "resnet20_cifar", "--macs", "100%", "--preconfig", "--json", "-o", str(tmp_path))
    assert result.exit_code == 0, result.output
    (found,) = json.loads(result.stdout)
    assert found["preconfig"]
    assert max(layer["left"] for layer in found["layers"].values()) > 1


def test_methods_are_listed_with_when_they_act() -> None:
    found = {one["method"]: one for one in json.loads(_run("--list", "--json").stdout)}
    early = {name for name, one in found.items() if one["when"] == "at initialisation"}
    assert early == {"erk", "force", "grasp", "iter-snip", "snip", "synexp", "synflow", "uniform"}
    assert found["l1"]["when"] == "trained network"
    assert found["slimming"]["when"] == "while training"
    assert found["synexp"]["reconstruction"].startswith("ours")
    assert found["synflow"]["settings"] == {"rounds": 100}
    assert "--set rounds=100" in _run("synflow", "--list").output
    printed = _run("--list").output
    assert all(heading in printed for heading in ("Trained network", "While training", "At initialisation"))


def test_a_method_of_ones_own_is_one_file(tmp_path: Path) -> None:
    file, runs = tmp_path / "mine.py", tmp_path / "runs"
    file.write_text(OWN)
    flags = ["resnet20_cifar", *SMALL, "--macs", "50%", "--set", "slope=2", "-o", str(runs)]
    result = _run("--method", f"{file}:last", *flags)
    assert result.exit_code == 0, result.output
    (folder,) = runs.iterdir()
    record = read_pruning(folder)
    assert (record.method, record.settings) == ("last", {"slope": 2.0})
    assert all(kept == list(range(len(kept))) for kept in record.kept.values())
    assert "--set slope=1.0" in _run("--method", f"{file}:last", "--list").output
    # Another file of the same name is another method: its code decides what comes out.
    file.write_text(OWN.replace("-self.slope", "self.slope"))
    assert _run("--method", f"{file}:last", *flags).exit_code == 0
    assert len(list(runs.iterdir())) == 2
    # Only --method reads it: as a name it is unknown.
    unknown = _run("last", *flags)
    assert isinstance(unknown.exception, InputError)
    assert "unknown method 'last'" in str(unknown.exception)


@pytest.mark.parametrize(
    ("text", "method", "message"),
    [
        (OWN, "missing.py:last", "no such Python file"),
        (OWN, "mine.py:lost", "no such method; did you mean 'last'?; it has last"),
        (OWN, "mine.py", "it has last"),
        ("x = 1\n", "mine.py:last", "defines no subclass of thinresnet.pruning.Method"),
        ("1 / 0\n", "mine.py:last", "ZeroDivisionError"),
        (OWN.replace('    paper: ClassVar[str] = "nobody\'s"\n', ""), "mine.py:last", "has no `paper`"),
        (OWN.replace("(frozen=True)", ""), "mine.py:last", "no frozen dataclass"),
        (OWN, "last", "neither a method of thinresnet nor an entry point of the group thinresnet.methods"),
    ],
)
def test_own_methods_that_cannot_be(text: str, method: str, message: str, tmp_path: Path) -> None:
    (tmp_path / "mine.py").write_text(text)
    named = str(tmp_path / method) if ".py" in method else method
    result = _run("--method", named, "resnet20_cifar", *SMALL, "--macs", "50%", "-o", str(tmp_path / "runs"))
    assert isinstance(result.exception, InputError)
    assert message in str(result.exception)
    assert "\n" not in str(result.exception)
    assert not (tmp_path / "runs").exists()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["synexp"], "give a method and what to prune"),
        (["--method", "l1", "l1", "resnet20_cifar"], "give the network alone"),
        (["synexp", "resnet20_cifar"], "give a budget"),
        (["synexp", "resnet20_cifr", "--macs", "50%"], "unknown architecture"),
        (["synflow", "resnet20_cifar", "--macs", "50%", "--set", "rounds"], "write NAME=VALUE"),
        (["sinexp", "resnet20_cifar", "--macs", "50%"], "did you mean 'synexp'"),
        (["synexp", "resnet20_cifar", "--macs", "50%", "--stream"], "--stream: synexp acts at initialisation"),
        (["synexp", "resnet20_cifar", "--macs", "50%", "--scope", "layer"], "--scope: synexp acts at initialisation"),
        (["synexp", "resnet20_cifar", "--to", "R56-A"], "for resnet56_cifar, not for resnet20_cifar"),
        (["l1", "resnet20_cifar", "--macs", "50%", "--preconfig"], "--preconfig: l1"),
        (["snip", "resnet20_cifar", "--macs", "50%", "--preconfig"], "--preconfig: snip"),
    ],
)
def test_refusals(arguments: list[str], message: str, tmp_path: Path) -> None:
    result = _run(*arguments, "-o", str(tmp_path / "runs"))
    assert result.exit_code != 0
    assert message in str(result.exception)
    assert "\n" not in str(result.exception)
    assert not (tmp_path / "runs").exists()
