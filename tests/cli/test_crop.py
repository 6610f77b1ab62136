"""`thinresnet crop`: files, figures, refusals that change nothing."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from thinresnet.cli import app
from thinresnet.errors import InputError
from thinresnet.networks import count, read_network

SMALL = ["--input", "8", "--num-classes", "10"]


def _run(*arguments: str) -> Result:
    return CliRunner().invoke(app, ["crop", *arguments])


def test_a_crop_is_written(tmp_path: Path) -> None:
    folder = tmp_path / "crop"
    result = _run("synexp", "resnet20_cifar", "--macs", "50%", "--params", "40%", "-o", str(folder))
    assert result.exit_code == 0, result.output
    found = json.loads((folder / "densities.json").read_text())
    network = read_network(folder)
    cost = count(network)
    assert (found["macs"], found["params"]) == (cost.macs, cost.params)
    assert cost.params <= 0.4 * found["dense_params"]
    assert found["reconstruction"].startswith("ours")
    assert found["budgets"] == {"macs": "50%", "params": "40%"}
    assert found["groups"]["conv1"]["channels"] == network.channels["conv1"]
    weights = sum(layer["weights"] * layer["cropped"] for layer in found["layers"].values())
    assert weights == pytest.approx(sum(own.params for own in cost.layers if own.macs) - 10)  # but the classes' biases
    assert {path.suffix for path in folder.glob("densities.*")} == {".json", ".png", ".svg", ".html"}
    assert "layer3.2.conv2" in (folder / "densities.svg").read_text()
    assert "Reconstruction, ours" in result.output
    again = _run("uniform", str(folder), "--macs", "20%", "--json")  # a crop is a network to crop
    assert json.loads(again.stdout)["parent_macs"] == cost.macs


def test_criteria_that_read_images(tmp_path: Path) -> None:
    refused = _run("snip", "resnet20_cifar", *SMALL, "--macs", "30%", "-o", str(tmp_path / "crop"))
    assert isinstance(refused.exception, InputError)
    assert "--recipe and --data-dir" in str(refused.exception)
    assert not (tmp_path / "crop").exists()
    result = _run("snip", "resnet20_cifar", *SMALL, "--macs", "30%", "--recipe", "digits", "--json", "--seed", "7")
    assert result.exit_code == 0, result.output
    found = json.loads(result.stdout)
    assert found["dataset"] == "digits"
    assert found["seed"] == 7
    assert found["images_seen"] > 0
    assert found["macs"] <= 0.3 * found["dense_macs"]


def test_criteria_are_listed() -> None:
    result = _run("--list", "--json")
    found = {one["criterion"]: one for one in json.loads(result.stdout)}
    assert set(found) == {"erk", "force", "grasp", "iter-snip", "snip", "synexp", "synflow", "uniform"}
    assert found["synexp"]["reconstruction"].startswith("ours")
    assert found["synflow"]["settings"] == {"rounds": 100}
    assert "--set rounds=100" in _run("synflow", "--list").output


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["synexp"], "say a criterion and a network"),
        (["synexp", "resnet20_cifar"], "give a budget"),
        (["synexp", "resnet20_cifr", "--macs", "50%"], "unknown architecture"),
        (["synflow", "resnet20_cifar", "--macs", "50%", "--set", "rounds"], "write NAME=VALUE"),
        (["sinexp", "resnet20_cifar", "--macs", "50%"], "did you mean 'synexp'"),
    ],
)
def test_refusals(arguments: list[str], message: str) -> None:
    result = _run(*arguments)
    assert isinstance(result.exception, InputError)
    assert message in str(result.exception)
    assert "\n" not in str(result.exception)
