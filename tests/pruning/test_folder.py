"""From a run's folder to a pruned one, through the command line: what is written, what is measured, what is refused."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from typer.testing import CliRunner

from thinresnet import networks
from thinresnet import recipe as recipes
from thinresnet.cli import app
from thinresnet.errors import InputError
from thinresnet.networks import count, describe, read_network
from thinresnet.pruning.folder import read_pruning
from thinresnet.pruning.presets import preset
from thinresnet.training import Result, train


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A network trained for two epochs on the embedded images, a tenth of them held out."""
    recipe = recipes.load("digits", {"epochs": 2, "warmup_epochs": 0})
    network = networks.scale("resnet20_cifar", width=0.5, input_size=(3, 8, 8), num_classes=10)
    return train(recipe, network, holdout=0.1, output=tmp_path_factory.mktemp("runs")).folder


def prune(*arguments: Any) -> tuple[int, str, Exception | None]:
    """The verb, as a user types it."""
    done = CliRunner().invoke(app, ["prune", *map(str, arguments)])
    return done.exit_code, done.stdout, done.exception if isinstance(done.exception, InputError) else None


def test_a_run_becomes_a_smaller_run(run: Path, tmp_path: Path) -> None:
    code, printed, _ = prune("l1", run, "--macs", "20%", "--output", tmp_path, "--json")
    assert code == 0
    (record,) = json.loads(printed)
    folder = Path(record["folder"])
    network, model = networks.load(folder)
    cost = count(network)
    assert (cost.macs, cost.params) == (record["macs"], record["params"])
    limit = 0.2 * record["dense_macs"]
    assert 0.98 * limit <= cost.macs <= limit
    # What was kept of the first block is what the run's weights say.
    parent = networks.load(run)[1]
    norms = parent.layer1[0].conv1.weight.detach().abs().sum((1, 2, 3))
    kept = record["kept"]["layer1.0.conv1"]
    assert sorted(kept) == sorted(norms.argsort(descending=True)[: len(kept)].tolist())
    assert torch.equal(model.layer1[0].conv1.weight, parent.layer1[0].conv1.weight[kept])
    # Measured on what was held out, before as the run had measured it.
    before = Result.read(run).holdout
    assert before is not None
    assert record["holdout_before"]["correct1"] == before.correct1
    assert record["holdout_before"]["images"] == record["holdout_pruned"]["images"] == before.images
    assert record["parent_run"]["training_macs"] == Result.read(run).training_macs
    for suffix in ("png", "svg", "html"):
        assert (folder / f"kept.{suffix}").stat().st_size > 1000
    assert {key: record[key] for key in record if key != "folder"} == read_pruning(folder).to_json()
    # The same command again changes nothing; tuning goes on from the folder.
    written = {path: path.stat().st_mtime_ns for path in folder.iterdir()}
    assert prune("l1", run, "--macs", "20%", "--output", tmp_path)[0] == 0
    assert written == {path: path.stat().st_mtime_ns for path in folder.iterdir()}
    recipe = recipes.load(folder / "recipe.yaml", {"epochs": 1, "initial_checkpoint": str(folder)})
    tuned = train(recipe, network, holdout=0.1, output=tmp_path / "tuned")
    assert tuned.macs == record["macs"]


def test_two_budgets_come_from_one_training(run: Path, tmp_path: Path) -> None:
    flags = ("--macs", "22%", "--macs", "18%", "--set", "epochs=1", "--set", "sparsity=0.01", "--json")
    code, printed, _ = prune("slimming", run, *flags, "--output", tmp_path)
    assert code == 0
    looser, tighter = json.loads(printed)
    assert looser["macs"] > tighter["macs"]
    assert looser["updates"] == tighter["updates"] > 0
    trained = 3 * looser["parent_macs"] * looser["images_seen"]
    for record in (looser, tighter):  # and forward through what was cut, for its batch norms
        assert record["recalibrated_at"] == {"8": record["images_seen"]}
        assert record["training_macs"] == trained + record["macs"] * record["images_seen"]
    assert set(tighter["kept"]["layer3.0.conv1"]) <= set(looser["kept"]["layer3.0.conv1"])


def test_norms_are_measured_anew_unless_left_out(run: Path, tmp_path: Path) -> None:
    """What comes out differs, so the folder is another; a network without images at hand is cut all the same."""
    found = {}
    for images in ("0", "512"):
        flags = ("--macs", "20%", "--recalibrate", images, "--output", tmp_path, "--json")
        (found[images],) = json.loads(prune("l1", run, *flags)[1])
    left, measured = found["0"], found["512"]
    assert left["folder"] != measured["folder"]
    assert left["kept"] == measured["kept"]
    assert (left["training_macs"], measured["training_macs"]) == (0, 512 * measured["macs"])
    assert left["holdout_pruned"]["loss"] > measured["holdout_pruned"]["loss"]


def test_a_network_without_a_run_and_a_papers_list(tmp_path: Path) -> None:
    done = CliRunner().invoke(app, ["prune", "l1", "resnet56_cifar", "--to", "R56-A", "--output", str(tmp_path)])
    assert done.exit_code == 0
    assert "No weights were given" in done.stderr
    (folder,) = tmp_path.iterdir()
    assert folder.name.startswith("resnet56_cifar-l1_R56_A-")
    assert read_network(folder) == preset("R56-A", networks.scale("resnet56_cifar"))
    assert read_pruning(folder).holdout_before is None


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["l11", "resnet20_cifar", "--macs", "50%"], "unknown method 'l11'.*l1"),
        (["l1", "resnet20_cifar"], "give budgets"),
        (["l1", "resnet20_cifar", "--macs", "1%"], "the smallest has"),
        (["l1", "resnet20_cifar", "--macs", "50%", "--set", "p=2"], "unknown setting 'p'"),
        (["taylor-oneshot", "resnet20_cifar", "--macs", "50%", "--set", "images"], "NAME=VALUE"),
        (["taylor-oneshot", "resnet20_cifar", "--macs", "50%"], "needs data, gradients"),
        (["l1", "resnet20_cifar", "--to", "R56-A"], "for resnet56_cifar, not for resnet20_cifar"),
        (["l1", "resnet20_cifar", "--to", "R65-A"], "R56-A"),
        (["l1", "no/such/run", "--macs", "50%"], "no/such/run"),
        (["l1", "resnet20_cifar", "--macs", "50%", "--scope", "globl"], "global"),
        (["l1", "resnet20_cifar", "--macs", "50%", "--weights", "none.safetensors"], "no such file"),
        (["l1", "resnet20_cifar", "--macs", "50%", "--data-dir", "d"], "--recipe"),
        (
            ["l1", "resnet20_cifar", "--macs", "50%", "--macs", "25%", "--params", "50%"],
            "each folder takes one of each",
        ),
        (["l1", "resnet20_cifar", "--macs", "25%", "--macs", "50%"], "loosest to the tightest"),
        (["l1"], "give a method and what to prune"),
    ],
)
def test_what_cannot_be_is_one_line(arguments: list[str], message: str, tmp_path: Path) -> None:
    code, _, error = prune(*arguments, "--output", tmp_path)
    assert code != 0
    assert error is not None
    with pytest.raises(InputError, match=message):
        raise error
    assert "\n" not in str(error)
    assert not list(tmp_path.iterdir())


def test_data_that_are_gone_are_missed_only_where_needed(run: Path, tmp_path: Path) -> None:
    network = describe("resnet20_cifar", input_size=(3, 32, 32), num_classes=10)
    (tmp_path / "network.json").write_text(network.to_json())
    flags = ["--macs", "50%", "--recipe", "cifar-modern", "--data-dir", tmp_path / "gone", "--output", tmp_path / "out"]
    networks.save(tmp_path, network, networks.build(network, seed=0))
    done = CliRunner().invoke(app, ["prune", "l1", str(tmp_path), *map(str, flags)])
    assert done.exit_code == 0
    assert "for want of images" in done.stderr
    error = prune("taylor-oneshot", tmp_path / "network.json", *flags)[2]
    assert error is not None
    assert "gone" in str(error)


def test_the_list_says_what_each_method_needs() -> None:
    code, printed, _ = prune("--list", "--json")
    assert code == 0
    rows = {row["method"]: row for row in json.loads(printed)}
    assert rows["l1"]["needs"] == ["weights"]
    assert rows["fisher-oneshot"]["needs"] == ["weights", "data", "gradients"]
    assert rows["slimming"]["settings"]["sparsity"] == 1e-4
    assert all(row["does"] and row["paper"] and row["serves"] for row in rows.values())
    assert "sparsity" in prune("slimming", "--list")[1]
    printed = prune("--list")[1]
    assert all(name in printed for name in rows)


def test_a_ranking_knows_no_counts(run: Path, tmp_path: Path) -> None:
    flags = (["--to", run], ["--macs", "20%", "--scope", "layer"])
    for method in ("fisher", "sss", "magnitude"):
        for given in flags:
            error = prune(method, run, *given, "--output", tmp_path)[2]
            assert error is not None
            assert "leave by one ranking" in str(error)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(("method", "masked"), [("sss", False), ("magnitude", True), ("lottery", True)])
def test_blocks_and_weights_leave_too(method: str, masked: bool, run: Path, tmp_path: Path) -> None:
    flags = ("--macs", "20%", *(("--set", "epochs=1") if method == "sss" else ()))
    code, printed, _ = prune(method, run, *flags, "--output", tmp_path)
    assert code == 0
    assert ("in theory" in printed) == masked
    (folder,) = tmp_path.iterdir()
    record, (network, _) = read_pruning(folder), networks.load(folder)
    assert record.macs == count(network).macs
    assert record.masked == (folder / "masks.safetensors").exists() == masked
    # What masks save is theory: the cost stays that of the network.
    cost = record.notes["theoretical_macs"] if masked else record.macs
    assert cost <= 0.2 * record.dense_macs < record.parent_macs
    assert (record.macs == record.parent_macs) == masked
    assert (folder / "kept.png").stat().st_size > 1000
