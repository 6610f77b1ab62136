"""A run folder after a death at a bad moment, after a move, and after a loss that is not finite."""

from __future__ import annotations

import csv
import math
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

from thinresnet import networks
from thinresnet import recipe as recipes
from thinresnet.errors import InputError
from thinresnet.result import Result, Score
from thinresnet.stopping import TrainingError
from thinresnet.training import loop, train

NETWORK = networks.scale("resnet20_cifar", width=0.125, num_classes=10, input_size=(3, 8, 8))
torch.set_num_threads(1)


class Death(BaseException):
    """What no handler of errors catches, as little as SIGKILL."""


def run(folder: Path, **changes: Any) -> Result:
    recipe = recipes.load("digits", {"epochs": 2, "warmup_epochs": 0, "batch_size": 256, **changes})
    return train(recipe, NETWORK, folder=folder, checkpoint_minutes=0)  # a checkpoint after each epoch, however short


def epochs(folder: Path, name: str = "metrics.csv") -> list[str]:
    with (folder / name).open(newline="") as file:
        return [row["epoch"] for row in csv.DictReader(file)]


def leftovers(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.rglob("*") if path.name.startswith(".") or path.name == "checkpoints")


def dying(monkeypatch: pytest.MonkeyPatch, owner: object, name: str, at_call: int) -> None:
    """Let the n-th call of a function be the last thing that the process does."""
    real, calls = getattr(owner, name), iter(range(1, 1000))

    def call(*args: Any, **kwargs: Any) -> Any:
        if next(calls) == at_call:
            raise Death
        return real(*args, **kwargs)

    monkeypatch.setattr(owner, name, call)


def test_tables_are_whole_after_a_death_between_the_last_checkpoint_and_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "run"
    with monkeypatch.context() as patch:
        dying(patch, loop.Training, "write_tables", at_call=3)  # at the start, and after each of two epochs
        with pytest.raises(Death):
            run(folder)
    assert epochs(folder) == ["1"]
    run(folder)
    assert epochs(folder) == epochs(folder, "timing.csv") == ["1", "2"]


def test_tables_of_lost_checkpoints_do_not_stay(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tmp_path / "run"
    (folder / "checkpoints").mkdir(parents=True)
    (folder / "metrics.csv").write_text("epoch\n1\n2\n3\n")
    with monkeypatch.context() as patch:
        dying(patch, loop.Training, "_train_epoch", at_call=1)
        with pytest.raises(Death):
            run(folder)
    assert not (folder / "metrics.csv").exists()


def test_what_killed_writers_left_is_removed(tmp_path: Path) -> None:
    folder = tmp_path / "run"
    (folder / "checkpoints").mkdir(parents=True)
    for left in (".model.safetensors.abcd1234.part", "checkpoints/.epoch000001-step00000000.pt.x_1y2z3w.part"):
        (folder / left).write_bytes(b"half")
    run(folder)
    assert leftovers(folder) == []


def test_a_complete_run_loses_the_checkpoints_that_a_kill_kept(tmp_path: Path) -> None:
    folder = tmp_path / "run"
    first = run(folder)
    (folder / "checkpoints").mkdir()
    (folder / "checkpoints" / "epoch000002-step00000000.pt").write_bytes(b"kept")
    (folder / ".result.json.abcd1234.part").write_bytes(b"half")
    assert run(folder) == first
    assert leftovers(folder) == []


def test_a_loss_that_is_not_finite_at_the_end_is_a_failed_run_now_and_later(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    bad = Score(images=10, correct1=1, correct5=5, loss=math.nan)
    monkeypatch.setattr(loop, "evaluate_all", lambda _, models, *rest: [bad] * len(models))
    folder = tmp_path / "run"
    for _ in range(2):
        with pytest.raises(
            TrainingError, match=r"failed: non-finite loss of test after the last epoch.*--lr"
        ) as caught:
            run(folder)
        assert "\n" not in str(caught.value)
        monkeypatch.setattr(loop.Training, "_train_epoch", None)  # the second time nothing is trained
    assert epochs(folder) == ["1", "2"]
    assert not (folder / "result.json").exists()


def test_a_run_folder_that_is_moved_while_training_is_not_split(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder, moved = tmp_path / "run", tmp_path / "moved"
    whole = run(tmp_path / "whole")
    real = loop.Training._end_epoch

    def move(self: loop.Training) -> Any:
        if self.progress.epoch == 1:
            folder.rename(moved)
        return real(self)

    with monkeypatch.context() as patch:
        patch.setattr(loop.Training, "_end_epoch", move)
        with pytest.raises(TrainingError, match="was moved or deleted while training"):
            run(folder)
    assert not folder.exists()
    assert run(moved).weights_sha256 == whole.weights_sha256


@pytest.mark.parametrize("dtype", [torch.int32, torch.bool, torch.complex64, torch.uint8])
def test_weights_of_another_kind_of_number_are_refused(tmp_path: Path, dtype: torch.dtype) -> None:
    model = networks.build(NETWORK, seed=0)
    networks.save(tmp_path, NETWORK, model)
    path = tmp_path / "model.safetensors"
    state = load_file(path)
    name = next(name for name in state if name.endswith("conv1.weight"))
    save_file({**state, name: state[name].to(dtype)}, path)
    with pytest.raises(InputError, match=rf"{name} holds {str(dtype)[6:]}; it takes floating-point numbers"):
        networks.load(tmp_path)
    save_file({**state, name: state[name].to(torch.float16)}, path)
    networks.load(tmp_path)


def test_counts_given_as_floating_point_numbers_are_refused(tmp_path: Path) -> None:
    networks.save(tmp_path, NETWORK, networks.build(NETWORK, seed=0))
    path = tmp_path / "model.safetensors"
    state = load_file(path)
    name = next(name for name in state if name.endswith("num_batches_tracked"))
    save_file({**state, name: state[name].double()}, path)
    with pytest.raises(InputError, match=rf"{name} holds float64; it takes integers"):
        networks.load(tmp_path)
