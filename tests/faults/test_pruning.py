"""Pruned folders appear whole or not at all, are built by one process at a time, and know what was held out."""

from __future__ import annotations

import math
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch

from thinresnet import networks
from thinresnet import recipe as recipes
from thinresnet.budget import Budget
from thinresnet.errors import InputError
from thinresnet.files import building
from thinresnet.pruning import folder as pruning_folder
from thinresnet.pruning.folder import prune_to_folders
from thinresnet.pruning.parent import read_parent
from thinresnet.pruning.record import PruningRecord
from thinresnet.pruning.registry import method
from thinresnet.pruning.session import How
from thinresnet.result import Score
from thinresnet.stopping import TrainingError
from thinresnet.training import train

torch.set_num_threads(1)


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    recipe = recipes.load("digits", {"epochs": 1, "warmup_epochs": 0, "batch_size": 256})
    network = networks.scale("resnet20_cifar", width=0.125, num_classes=10, input_size=(3, 8, 8))
    return train(recipe, network, holdout=0.1, output=tmp_path_factory.mktemp("runs")).folder


def prune(run: Path, output: Path, *shares: str) -> list[Path]:
    how = How(
        budgets=tuple((Budget.parse("macs", share),) for share in shares or ("1%",)),
        to=None,
        to_name=None,
        scope=None,
        stream=False,
        round_to=1,
        grow=False,
        seed=42,
    )
    return [folder for folder, _ in prune_to_folders(method("l1"), read_parent(str(run)), how, output=output)]


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_a_death_leaves_no_folder_that_looks_whole_and_the_next_time_leaves_nothing(
    trained: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = prune(trained, tmp_path / "whole")[0]

    def die(self: PruningRecord, folder: Path) -> None:
        shutil.copytree(folder, tmp_path / "seen")  # what a kill would leave
        raise KeyboardInterrupt

    output = tmp_path / "killed"
    with monkeypatch.context() as patch:
        patch.setattr(PruningRecord, "write", die)
        with pytest.raises(KeyboardInterrupt):
            prune(trained, output)
    assert names(output) == []
    (tmp_path / "seen").rename(output / f".{whole.name}.part")
    again = prune(trained, output)[0]
    assert names(output) == [whole.name]
    assert (again / "model.safetensors").read_bytes() == (whole / "model.safetensors").read_bytes()
    assert names(again) == names(whole)


@pytest.mark.parametrize("left", [".old.part", ".part"])
def test_what_kills_left_beside_a_complete_folder_goes_too(trained: Path, tmp_path: Path, left: str) -> None:
    """A kill before the removal of what gave way, or while a complete folder of several was built again."""
    whole = prune(trained, tmp_path)[0]
    shutil.copytree(whole, tmp_path / f".{whole.name}{left}")
    assert prune(trained, tmp_path) == [whole]
    assert names(tmp_path) == [whole.name]


def test_a_complete_folder_stays_as_it_is_when_another_budget_is_asked_for_beside_it(
    trained: Path, tmp_path: Path
) -> None:
    (first,) = prune(trained, tmp_path, "1%")
    before = {path: (path.read_bytes(), path.stat().st_mtime_ns) for path in first.iterdir()}
    both = prune(trained, tmp_path, "1.5%", "1%")
    assert both[1] == first != both[0]
    assert {path: (path.read_bytes(), path.stat().st_mtime_ns) for path in first.iterdir()} == before
    assert names(both[0]) == names(first)


def test_what_another_process_builds_beside_a_complete_folder_is_let_be(trained: Path, tmp_path: Path) -> None:
    whole = prune(trained, tmp_path)[0]
    with building(whole) as part:
        (part / "x").write_text("theirs")
        assert prune(trained, tmp_path) == [whole]
        assert (part / "x").read_text() == "theirs"


def test_a_second_prune_into_the_same_folder_is_refused(trained: Path, tmp_path: Path) -> None:
    folder = prune(trained, tmp_path / "first")[0]
    with (
        building(tmp_path / folder.name),
        pytest.raises(InputError, match=rf"{folder.name}: another process is writing it"),
    ):
        prune(trained, tmp_path)
    assert names(tmp_path) == ["first"]


def test_the_same_budget_twice_is_refused(trained: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="the same budget is given twice"):
        prune(trained, tmp_path, "1%", "1%")


@pytest.mark.parametrize("content", [None, "{}", '{"holdout": 2}', '{"holdout": "x"}'])
def test_without_what_says_what_was_held_out_nothing_is_pruned(
    trained: Path, tmp_path: Path, content: str | None
) -> None:
    run = tmp_path / "run"
    shutil.copytree(trained, run)
    (run / "run.json").unlink()
    if content is not None:
        (run / "run.json").write_text(content)
    with pytest.raises(InputError, match=r"run\.json: .*(held out|holdout)"):
        prune(run, tmp_path / "pruned")


def test_a_pruned_folder_is_pruned_further_with_its_hold_out(trained: Path, tmp_path: Path) -> None:
    assert read_parent(str(prune(trained, tmp_path)[0])).holdout == 0.1


def test_a_loss_that_is_not_finite_is_one_line(trained: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def evaluate(*_: Any) -> Score:
        return Score(images=10, correct1=1, correct5=5, loss=math.inf)

    monkeypatch.setattr(pruning_folder, "evaluate", evaluate)
    with pytest.raises(TrainingError, match=r"^\S+, l1: failed: non-finite loss on the held-out images"):
        prune(trained, tmp_path)
    assert names(tmp_path) == []
