"""The loop: updates, accumulation, exact evaluation, what it refuses, and what a run leaves behind."""

from __future__ import annotations

import csv
import errno
import gc
import hashlib
import json
import math
import os
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any, NoReturn

import pytest
import torch
from accelerate import Accelerator
from safetensors.torch import load_file
from torch import nn
from torch._dynamo import register_backend
from torch._subclasses.fake_tensor import FakeTensor

from thinresnet import networks
from thinresnet import recipe as recipes
from thinresnet.errors import InputError
from thinresnet.leaderboard.evidence import check_evidence
from thinresnet.networks.hub import read_config
from thinresnet.recipe import Recipe
from thinresnet.result import Result
from thinresnet.stopping import StopRequest
from thinresnet.training import TrainingError, device_defaults, loop, measuring, train
from thinresnet.training.run import RunFolder

NETWORK = networks.scale("resnet20_cifar", width=0.125, num_classes=10, input_size=(3, 8, 8))
torch.set_num_threads(1)


def digits(**changes: Any) -> Recipe:
    return recipes.load("digits", {"epochs": 2, "warmup_epochs": 0, "batch_size": 128, **changes})


def rows(folder: Path, name: str = "metrics.csv") -> list[dict[str, str]]:
    with (folder / name).open(newline="") as file:
        return list(csv.DictReader(file))


# --- updates ----------------------------------------------------------------------------------------------------------


def training(recipe: Recipe, model: nn.Module, folder: Path) -> loop.Training:
    data = SimpleNamespace(train=SimpleNamespace(steps_per_epoch=4), num_classes=10)
    run = RunFolder(folder, {})
    return loop.Training(
        Accelerator(cpu=True), recipe, model, data, run, stop_request=StopRequest(), checkpoint_minutes=0
    )  # type: ignore[arg-type]


def test_accumulated_batches_are_one_bigger_batch_even_if_uneven(tmp_path: Path) -> None:
    images, targets = torch.randn(24, 3, 2, 2), torch.arange(24) % 10

    def updated(parts: list[int]) -> torch.Tensor:
        torch.manual_seed(0)
        model = nn.Sequential(nn.Flatten(), nn.Linear(12, 10))
        recipe = Recipe(lr=0.5, batch_size=8, grad_accum_steps=3, clip_grad=0.7, warmup_epochs=0, epochs=1)
        parted = list(zip(images.split(parts), targets.split(parts), strict=True))
        loss = training(recipe, model, tmp_path)._update(parted)
        return torch.cat([loss.flatten(), *(p.detach().flatten() for p in model.parameters())])

    whole = updated([24])
    assert torch.allclose(updated([8, 8, 8]), whole, atol=1e-6)
    assert torch.allclose(updated([10, 10, 4]), whole, atol=1e-6)


def test_batches_are_grouped_and_the_last_group_may_be_short() -> None:
    assert [len(group) for group in loop.grouped(iter(range(7)), 3)] == [3, 3, 1]  # type: ignore[arg-type,misc]
    assert list(loop.grouped(iter(()), 3)) == []


def test_every_update_and_process_has_random_numbers_of_its_own() -> None:
    def draw(*place: int) -> float:
        loop.seed_update(*place)
        return torch.rand(1).item()

    places = [(0, 0, 0, 0), (1, 0, 0, 0), (0, 1, 0, 0), (0, 0, 1, 0), (0, 0, 0, 1)]
    assert len({draw(*place) for place in places}) == len(places)
    assert draw(3, 2, 1, 0) == draw(3, 2, 1, 0)


def test_evaluation_counts_every_image_once() -> None:
    logits = torch.randn(103, 10, generator=torch.Generator().manual_seed(0))
    targets = torch.randint(10, (103,), generator=torch.Generator().manual_seed(1))
    split = list(zip(logits.split(16), targets.split(16), strict=True))
    score = measuring.evaluate(Accelerator(cpu=True), nn.Identity(), split, classes=10)
    ranks = (logits > logits.gather(1, targets[:, None])).sum(1)
    assert (score.images, score.correct1, score.correct5) == (103, int((ranks < 1).sum()), int((ranks < 5).sum()))
    assert score.loss == pytest.approx(nn.functional.cross_entropy(logits, targets).item(), rel=1e-5)
    assert measuring.evaluate(Accelerator(cpu=True), nn.Identity(), split, classes=5).correct5 is None


# --- a whole run ------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Result:
    recipe = digits(model_ema=True, model_ema_decay=0.5, cooldown_epochs=1, mixup=0.2)
    return train(
        recipe, NETWORK, recipe_name="digits", shape="w0.125", output=tmp_path_factory.mktemp("runs"), holdout=0.1
    )


def test_a_run_leaves_all_that_repeats_it(finished: Result) -> None:
    folder = finished.folder
    assert {path.name for path in folder.iterdir()} == {
        "recipe.yaml", "network.json", "run.json", "metrics.csv", "timing.csv", "model.safetensors",
        "model_ema.safetensors", "result.json", "config.json",
    }  # fmt: skip
    assert folder.name.startswith("resnet20_cifar-w0.125-digits-s42-")
    assert recipes.load(folder / "recipe.yaml").hash == finished.recipe_hash
    network, model = networks.load(folder)
    assert network == NETWORK
    assert read_config(folder, 10)[1] == tuple("0123456789")  # the names of the classes
    assert hashlib.sha256((folder / "model.safetensors").read_bytes()).hexdigest() == finished.weights_sha256
    assert set(load_file(folder / "model_ema.safetensors")) == set(model.state_dict())


def test_the_result_is_the_last_epoch_and_its_counts_are_exact(finished: Result) -> None:
    table = rows(finished.folder)
    last = table[-1]
    assert [row["epoch"] for row in table] == ["1", "2", "3"]
    for part in ("test", "test_ema", "holdout", "holdout_ema"):
        score = getattr(finished, part)
        assert float(last[f"{part}_top1"]) == score.top1 == 100 * score.correct1 / score.images
        assert float(last[f"{part}_top5"]) == score.top5
    assert finished.test.images == finished.images_test
    assert finished.images_train + finished.images_holdout + finished.images_test == 1797
    assert finished.test != finished.test_ema
    assert Result.read(finished.folder) == finished


def test_the_bill_is_three_forward_passes_an_image_seen(finished: Result) -> None:
    steps = finished.images_train // 128
    assert finished.images_seen == 3 * steps * 128 == 128 * finished.updates
    assert finished.macs == networks.count(NETWORK).macs == finished.macs_train
    assert finished.training_macs == 3 * finished.macs * finished.images_seen
    dense = networks.count(networks.scale("resnet20_cifar", num_classes=10, input_size=(3, 8, 8)))
    assert (finished.dense_macs, finished.dense_params) == (dense.macs, dense.params)


def test_the_training_loss_and_rate_are_those_of_the_epoch(finished: Result) -> None:
    table = rows(finished.folder)
    assert float(table[-1]["lr"]) == 0.0  # cooled down
    assert all(0 < float(row["train_loss"]) < 10 for row in table)
    assert [int(row["updates"]) for row in table] == [finished.updates // 3 * n for n in (1, 2, 3)]
    assert len(rows(finished.folder, "timing.csv")) == 3


def test_the_same_call_again_returns_the_result_and_trains_nothing(
    finished: Result, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(loop.Training, "go", lambda *_: pytest.fail("trained again"))
    recipe = digits(model_ema=True, model_ema_decay=0.5, cooldown_epochs=1, mixup=0.2)
    again = train(recipe, NETWORK, recipe_name="digits", shape="w0.125", output=finished.folder.parent, holdout=0.1)
    assert again == finished


@pytest.mark.parametrize("change", [{"lr": 0.2}, {"seed": 7}, {"epochs": 3}])
def test_what_defines_a_run_gives_it_a_folder_of_its_own(
    finished: Result, monkeypatch: pytest.MonkeyPatch, change: dict[str, Any]
) -> None:
    seen: list[Path] = []

    def note(self: loop.Training, *_: object) -> None:
        seen.append(self.run.path)
        raise KeyboardInterrupt

    monkeypatch.setattr(loop.Training, "go", note)
    recipe = digits(model_ema=True, model_ema_decay=0.5, cooldown_epochs=1, mixup=0.2).replace(**change)
    with pytest.raises(KeyboardInterrupt):
        train(recipe, NETWORK, recipe_name="digits", shape="w0.125", output=finished.folder.parent, holdout=0.1)
    assert seen[0] != finished.folder


def test_a_folder_of_another_run_is_refused_and_left_as_it_is(finished: Result) -> None:
    before = {path.name: path.read_bytes() for path in finished.folder.iterdir()}
    with pytest.raises(InputError, match="belongs to another run: its recipe: "):
        train(digits(lr=0.3), NETWORK, folder=finished.folder)
    assert {path.name: path.read_bytes() for path in finished.folder.iterdir()} == before


def test_a_run_may_start_from_the_weights_of_another(finished: Result, tmp_path: Path) -> None:
    recipe = digits(epochs=1, lr=0.0, lr_base=0.0, initial_checkpoint=str(finished.folder), weight_decay=0.0)
    tuned = train(recipe, NETWORK, output=tmp_path)
    assert tuned.initial_checkpoint is not None
    assert tuned.initial_checkpoint["sha256"] == finished.weights_sha256
    before, after = (load_file(f.folder / "model.safetensors") for f in (finished, tuned))
    assert torch.equal(before["conv1.weight"], after["conv1.weight"])


def test_weights_may_be_measured_as_they_are(finished: Result, tmp_path: Path) -> None:
    recipe = digits(model_ema=True, initial_checkpoint=str(finished.folder))
    measured = train(recipe, NETWORK, output=tmp_path, holdout=0.1, measure_only=True)
    assert (measured.test, measured.holdout, measured.test_ema) == (finished.test, finished.holdout, None)
    counts = (measured.epochs, measured.updates, measured.images_seen, measured.training_macs)
    assert counts == (0, 0, 0, 0)
    before, after = (load_file(own.folder / "model.safetensors") for own in (finished, measured))
    assert all(torch.equal(before[name], after[name]) for name in before)
    (row,) = rows(measured.folder, "metrics.csv")
    assert (row["epoch"], row["lr"], row["train_loss"]) == ("0", "", "")
    assert float(row["test_top1"]) == finished.test.top1
    check_evidence(measured.folder, measured)
    assert not (measured.folder / "checkpoints").exists()
    # Once; and a training from the same weights is another run.
    assert train(recipe, NETWORK, output=tmp_path, holdout=0.1, measure_only=True) == measured
    with pytest.raises(InputError, match="belongs to another run: its measure_only is True"):
        train(recipe, NETWORK, folder=measured.folder, holdout=0.1)
    with pytest.raises(InputError, match="there are no weights to measure"):
        train(digits(), NETWORK, output=tmp_path, measure_only=True)


def test_two_seeds_give_two_networks_and_one_seed_gives_one(tmp_path: Path) -> None:
    weights = [
        train(digits(epochs=1, seed=seed), NETWORK, output=tmp_path / str(n)).weights_sha256
        for n, seed in enumerate((1, 1, 2))
    ]
    assert weights[0] == weights[1] != weights[2]


def _mixed_precision(training: loop.Training) -> bool:
    return training.accelerator.mixed_precision == "bf16"


def _channels_last_lamb_bce_cutmix(training: loop.Training) -> bool:
    weight = next(
        parameter for parameter in training.raw.parameters() if parameter.dim() == 4 and parameter.shape[1] > 1
    )
    return (
        weight.is_contiguous(memory_format=torch.channels_last)
        and not weight.is_contiguous()
        and type(training.optimizer.optimizer).__name__ == "Lamb"
        and type(training.loss).__name__ == "BinaryCrossEntropy"
        and training.mixup.cutmix_alpha == 1.0
    )


def _rmsprop_with_drops(training: loop.Training) -> bool:
    paths = [module.drop_prob for module in training.raw.modules() if type(module).__name__ == "DropPath"]
    return (
        type(training.optimizer.optimizer).__name__ == "RMSpropTF" and training.raw.drop_rate == 0.1 and max(paths) > 0
    )


def _adamw_every_fourth_batch(training: loop.Training) -> bool:
    return (
        type(training.optimizer.optimizer).__name__ == "AdamW"
        and training.updates_per_epoch == math.ceil(training.data.train.steps_per_epoch / 4)
        and training.progress.updates == 2 * training.updates_per_epoch
    )


@pytest.mark.parametrize(
    ("change", "takes_effect"),
    [
        ({"amp": True, "amp_dtype": "bfloat16"}, _mixed_precision),
        (
            {"channels_last": True, "opt": "lamb", "bce_loss": True, "bce_target_thresh": 0.2, "cutmix": 1.0},
            _channels_last_lamb_bce_cutmix,
        ),
        (
            {"opt": "rmsproptf", "aa": "rand-m6-n2-mstd0.5-inc1", "reprob": 0.3, "drop_path": 0.1, "drop": 0.1,
             "lr": 0.01},
            _rmsprop_with_drops,
        ),
        (
            {"opt": "adamw", "lr": 0.002, "clip_grad": 0.02, "clip_mode": "agc", "val_interval": 2,
             "grad_accum_steps": 4},
            _adamw_every_fourth_batch,
        ),
    ],
)  # fmt: skip
def test_what_recipes_name_takes_effect_together(
    tmp_path: Path,
    change: dict[str, Any],
    takes_effect: Callable[[loop.Training], bool],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    trained: list[loop.Training] = []
    go = loop.Training.go

    def kept(self: loop.Training, *arguments: Any) -> None:
        go(self, *arguments)
        trained.append(self)

    monkeypatch.setattr(loop.Training, "go", kept)
    result = train(digits(**change), NETWORK, output=tmp_path)
    assert takes_effect(trained[0])
    assert len(rows(result.folder)) == 2 // change.get("val_interval", 1)
    losses = [float(row["train_loss"]) for row in rows(result.folder)]
    assert losses == sorted(losses, reverse=True)


def test_compiled_it_learns_the_same(tmp_path: Path) -> None:
    # the eager backend captures the graph as inductor does, without waiting for a C++ compiler
    plain = train(digits(epochs=1), NETWORK, output=tmp_path)
    compiled = train(digits(epochs=1, torchcompile="eager"), NETWORK, output=tmp_path)
    assert plain.folder != compiled.folder
    assert compiled.test.loss == pytest.approx(plain.test.loss, rel=1e-2)


def test_a_compiler_that_fails_is_said_in_a_line(tmp_path: Path) -> None:
    def broken(graph: object, inputs: object) -> NoReturn:
        raise ImportError("/tmp/cache/abc.main.so: file too short")

    register_backend(broken, name="broken")
    with pytest.raises(TrainingError, match=r"abc\.main\.so: file too short; delete a file that it names") as raised:
        train(digits(epochs=1, torchcompile="broken"), NETWORK, output=tmp_path)
    assert "\n" not in str(raised.value)


def test_a_long_training_on_a_cpu_is_compiled_unless_it_is_told_not_to(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    backends: list[str] = []
    # Noted, not done: inductor's compiler would take twenty seconds.
    monkeypatch.setattr(nn.Module, "compile", lambda self, backend, mode: backends.append(backend))
    train(digits(epochs=1), NETWORK, output=tmp_path)
    assert backends == []
    monkeypatch.setattr(device_defaults, "_LONG_TRAINING_MACS", 0)
    monkeypatch.setattr(device_defaults.shutil, "which", lambda name: "a compiler")
    folder = train(digits(epochs=1, seed=1), NETWORK, output=tmp_path).folder
    assert recipes.load(folder / "recipe.yaml").torchcompile == "inductor"
    train(digits(epochs=1, torchcompile="eager"), NETWORK, output=tmp_path)
    assert backends == ["inductor", "eager"]
    monkeypatch.setattr(device_defaults.shutil, "which", lambda name: None)
    train(digits(epochs=1, seed=2), NETWORK, output=tmp_path)
    assert backends == ["inductor", "eager"]


def test_no_tensor_outlives_its_epoch(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    held: list[int] = []
    save = loop.Training.save

    def measured(self: loop.Training) -> None:
        save(self)
        gc.collect()
        kinds = ((found, type(found)) for found in gc.get_objects())
        # What an export elsewhere left has shapes and no bytes.
        tensors = [
            found for found, kind in kinds if issubclass(kind, torch.Tensor) and not issubclass(kind, FakeTensor)
        ]
        held.append(sum(tensor.numel() * tensor.element_size() for tensor in tensors))

    monkeypatch.setattr(loop.Training, "save", measured)
    train(digits(epochs=5, model_ema=True, mixup=0.1, reprob=0.2), NETWORK, output=tmp_path, checkpoint_minutes=0)
    assert len(held) == 5
    assert len(set(held[1:])) == 1  # bytes; the first epoch makes the state of the optimizer


# --- what goes wrong --------------------------------------------------------------------------------------------------


def break_update(monkeypatch: pytest.MonkeyPatch, number: int, spoil: Callable[[loop.Training], None]) -> None:
    update = loop.Training._update

    def broken(self: loop.Training, batches: list[loop.Batch]) -> torch.Tensor:
        loss = update(self, batches)
        if self.progress.updates + 1 == number:
            spoil(self)
            return loss * float("nan") if spoil is nothing else loss
        return loss

    monkeypatch.setattr(loop.Training, "_update", broken)


def nothing(_: loop.Training) -> None:
    """Spoil the loss alone."""


def spoil_weight(run: loop.Training) -> None:
    with torch.no_grad():
        next(run.raw.parameters()).view(-1)[0] = float("inf")


def test_a_non_finite_loss_stops_and_the_last_good_checkpoint_stays(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "run"
    with monkeypatch.context() as patched:
        break_update(patched, 15, nothing)
        with pytest.raises(TrainingError, match=r"non-finite loss at update 15 \(epoch 2\)") as caught:
            train(digits(), NETWORK, folder=folder, checkpoint_minutes=0)
    kept = [path.name for path in (folder / "checkpoints").glob("*.pt")]
    assert kept == ["epoch000001-step00000000.pt"]
    assert kept[0] in str(caught.value)
    whole = train(digits(), NETWORK, folder=tmp_path / "whole")
    assert train(digits(), NETWORK, folder=folder).weights_sha256 == whole.weights_sha256


def test_non_finite_weights_are_never_saved(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    break_update(monkeypatch, 11, spoil_weight)  # the last update of the first epoch: no loss tells any more
    with pytest.raises(TrainingError, match=r"not a finite number at update 11 .*there was no checkpoint yet"):
        train(digits(), NETWORK, folder=tmp_path, checkpoint_minutes=0)
    assert not list((tmp_path / "checkpoints").glob("*.pt"))


def test_a_full_disk_is_one_line_and_nothing_is_lost(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder, fsync, room = tmp_path / "run", os.fsync, [8]

    def full(handle: int) -> None:
        room[0] -= 1
        if room[0] < 0:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        fsync(handle)

    with monkeypatch.context() as patched:
        patched.setattr(os, "fsync", full)
        with pytest.raises(TrainingError, match="what was saved before is whole: make room") as caught:
            train(digits(), NETWORK, folder=folder)
    assert "\n" not in str(caught.value)
    assert not list(folder.rglob("*.part"))
    whole = train(digits(), NETWORK, folder=tmp_path / "whole")
    assert train(digits(), NETWORK, folder=folder).weights_sha256 == whole.weights_sha256


def test_two_runs_never_share_a_folder(tmp_path: Path) -> None:
    with RunFolder(tmp_path, {}).lock(), pytest.raises(InputError, match="another process is training in this folder"):
        train(digits(), NETWORK, folder=tmp_path)


def test_a_network_for_other_classes_is_refused(tmp_path: Path) -> None:
    hundred = networks.scale("resnet20_cifar", width=0.125, num_classes=100, input_size=(3, 8, 8))
    with pytest.raises(InputError, match=r"100 classes, digits has 10.*num_classes=10"):
        train(digits(), hundred, output=tmp_path)
    assert not list(tmp_path.iterdir())


def test_a_missing_initial_checkpoint_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"--initial-checkpoint .*no such file"):
        train(digits(initial_checkpoint=str(tmp_path / "none.safetensors")), NETWORK, output=tmp_path)


def test_a_result_that_is_no_result_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no such file; the run is unfinished"):
        Result.read(tmp_path)
    for text, message in [
        ("{", "line 1: not valid JSON"),
        ("[]", "not a JSON object"),
        ("{}", "not a result of format 1"),
        ('{"format": 1}', "is missing"),
    ]:
        (tmp_path / "result.json").write_text(text)
        with pytest.raises(InputError, match=message):
            Result.read(tmp_path)


def test_run_json_says_what_defines_the_run(finished: Result) -> None:
    defined = json.loads((finished.folder / "run.json").read_text())["defined_by"]
    assert defined["seed"] == 42
    assert defined["network"] == json.loads((finished.folder / "network.json").read_text())
    assert "workers" not in defined["recipe"]
