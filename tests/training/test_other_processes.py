"""A run that goes on with another number of processes, whose updates have the same images; and what is refused."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from thinresnet import recipe as recipes
from thinresnet.errors import InputError
from thinresnet.networks import describe
from thinresnet.recipe import Recipe
from thinresnet.stopping import StopRequest, TrainingInterruptedError
from thinresnet.studies.devices import together
from thinresnet.training import Result, loop, session, train
from thinresnet.training.checkpoint import batch_of, check_identity

# No batch norm, whose statistics each process takes of its own images; and nothing random but the order of the images.
NETWORK = ("convnext_atto", {"depths": (1, 1, 1, 1), "dims": (4, 6, 8, 10), "num_classes": 10}, (3, 32, 32))
FLAGS: dict[str, Any] = {
    "epochs": 1, "warmup_epochs": 0, "img_size": 32, "lr_base": 0.05, "smoothing": 0.0, "aa": None, "hflip": 0.0,
    "scale": (1.0, 1.0), "ratio": (1.0, 1.0), "crop_padding": 0, "color_jitter": 0.0,
    "mixup": 0.0, "cutmix": 0.0, "reprob": 0.0, "drop_path": None, "workers": 0, "opt": "sgd",
    "train_interpolation": "bilinear",
}  # fmt: skip
BATCH, IMAGES = 200, 1437 // 200 * 200  # as many in batches of 100


def recipe(batch_size: int, **flags: Any) -> Recipe:
    return recipes.load("digits", {**FLAGS, "batch_size": batch_size, **flags})


def go(folder: str, own: Recipe, *, stops: bool) -> None:
    """Train, or go on; to the end, or to the next update."""

    @contextmanager
    def asked() -> Iterator[StopRequest]:
        request = StopRequest()
        request.made = stops
        yield request

    session.stop_on_signals = asked
    torch.set_num_threads(1)
    arch, kwargs, input_size = NETWORK
    network = describe(arch, input_size=input_size, **kwargs)
    try:
        train(own, network, folder=Path(folder))
    except TrainingInterruptedError:
        assert stops


@pytest.fixture
def in_one_process(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(session, "stop_on_signals", session.stop_on_signals)  # put back what `go` sets


@pytest.mark.usefixtures("in_one_process")
def test_from_one_process_to_two_and_back(tmp_path: Path) -> None:
    whole, folder = tmp_path / "whole", tmp_path / "run"
    go(str(whole), recipe(BATCH), stops=False)
    go(str(folder), recipe(BATCH), stops=True)
    together(2, go_with_stop, str(folder), recipe(BATCH // 2))
    with pytest.raises(InputError, match=r"was trained with 200 images an update .* x 2 processes"):
        go(str(folder), recipe(BATCH // 2), stops=False)
    go(str(folder), recipe(BATCH // 2, grad_accum_steps=2), stops=False)
    one, other = Result.read(whole), Result.read(folder)
    assert (other.updates, other.images_seen, other.epochs) == (IMAGES // BATCH, IMAGES, 1)
    assert (other.sessions, other.batch_size, one.images_seen) == (3, BATCH, IMAGES)
    before, after = (load_file(own / "model.safetensors") for own in (whole, folder))
    for name, values in before.items():
        torch.testing.assert_close(after[name], values, rtol=1e-3, atol=1e-5)


def go_with_stop(folder: str, own: Recipe) -> None:
    go(folder, own, stops=True)


def identity(batch_size: int, accumulated: int, processes: int) -> dict[str, Any]:
    own = {"batch_size": batch_size, "grad_accum_steps": accumulated, "lr_base": 0.5}
    return {"recipe": own, "network": {"arch": "resnet18"}, "processes": processes}


def test_the_same_run_is_one_whose_updates_have_as_many_images() -> None:
    found = identity(64, 1, 1)
    for same in (identity(32, 1, 2), identity(16, 2, 2), identity(8, 1, 8)):
        check_identity(Path("run"), found, same)
        check_identity(Path("run"), same, found)
    for other in (identity(64, 1, 2), identity(64, 2, 2), identity(32, 1, 4)):
        with pytest.raises(InputError, match=r"run: was trained with 64 images an update \(batch_size 64 x"):
            check_identity(Path("run"), found, other)
    # In as many processes a batch that is split is another run, as it was.
    with pytest.raises(InputError, match="its recipe: batch_size is 64, here it is 32"):
        check_identity(Path("run"), found, identity(32, 2, 1))
    with pytest.raises(InputError, match=r"its recipe: lr_base is 0\.5, here it is 0\.1"):
        check_identity(Path("run"), found, {**identity(32, 1, 2), "recipe": {"batch_size": 32}})


@pytest.mark.parametrize(
    "wrong", [{"recipe": 3}, {"recipe": {"batch_size": "64"}, "processes": 2}, {"processes": 0}, {}]
)
def test_what_no_run_wrote_tells_no_batch(wrong: dict[str, Any]) -> None:
    assert batch_of(wrong) is None


def test_an_epoch_has_to_have_as_many_images() -> None:
    def training(batch_size: int, processes: int) -> Any:
        data = SimpleNamespace(train=SimpleNamespace(count=1438, steps_per_epoch=1438 // (batch_size * processes)))
        return SimpleNamespace(
            recipe=SimpleNamespace(batch_size=batch_size), accelerator=SimpleNamespace(num_processes=processes),
            data=data, run=SimpleNamespace(path="run"),
        )  # fmt: skip

    assert loop.Training._step_of(training(64, 1), 3, (128, 1, 1)) == 6
    assert loop.Training._step_of(training(64, 2), 6, (64, 2, 1)) == 3
    assert loop.Training._step_of(training(48, 2), 5, (96, 1, 1)) == 5
    with pytest.raises(InputError, match="an epoch was 1344 images in batches of 96, here it is 1392 in batches of 48"):
        loop.Training._step_of(training(24, 2), 3, (96, 1, 1))
