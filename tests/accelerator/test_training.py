"""Every recipe, loader, kind of loss and update on a pretended GPU; evaluation, teachers and timing there, too."""

from __future__ import annotations

import itertools
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from tests.accelerator.pretend import Pretend
from thinresnet import networks
from thinresnet import recipe as recipes
from thinresnet.errors import InputError
from thinresnet.networks import timing
from thinresnet.networks.latency_measuring import measured_table
from thinresnet.recipe import Recipe
from thinresnet.training import device_defaults, evaluation, optim, train
from thinresnet.training.data import LOADERS, open_data

NETWORK = networks.scale("resnet10t", width=0.0625, num_classes=10, input_size=(3, 8, 8))
DIGITS = {
    "dataset": "digits", "data_dir": None, "dataset_download": False, "num_classes": 10, "img_size": 8,
    "train_img_sizes": None, "train_size_schedule": "constant", "batch_size": 430, "workers": 0, "epochs": 1,
    "warmup_epochs": 0, "cooldown_epochs": 0, "mixup_off_epoch": 0, "aug_repeats": 0.0,
}  # fmt: skip
# What no recipe that comes along asks for, each under a name.
MORE: dict[str, dict[str, Any]] = {
    "fp16": {"amp": True, "model_ema": True, "clip_grad": 1.0},
    "bf16": {"amp": True, "amp_dtype": "bfloat16", "channels_last": True},
    "channels_last": {"channels_last": True},
    "by value": {"clip_grad": 0.1, "clip_mode": "value", "grad_accum_steps": 3, "mixup": 0.2, "mixup_mode": "elem"},
    "adaptively": {"clip_grad": 0.1, "clip_mode": "agc", "cutmix": 1.0, "mixup_mode": "pair"},
    "ta_wide": {"aa": "ta_wide", "reprob": 0.5, "remode": "pixel", "recount": 3},
    "jitter": {"color_jitter": 0.4, "crop_padding": 0, "reprob": 0.5, "remode": "rand"},
    "ema": {"model_ema": True, "model_ema_warmup": True, "opt": "adamw", "drop_path": 0.1, "drop": 0.1},
    "binary": {"bce_loss": True, "bce_target_thresh": 0.2, "smoothing": 0.1, "opt": "rmsproptf", "lr": 0.01},
    "lookahead": {"opt": "lookahead_sgd", "lr": 0.01},
    "black": {"crop_padding": 2, "crop_padding_mode": "constant"},
}


@pytest.mark.parametrize("name", recipes.names())
def test_every_recipe(name: str, cuda: Pretend, tmp_path: Path) -> None:
    recipe = recipes.load(name).replace(**DIGITS).replace(batch_size=200)
    result = train(recipe, NETWORK, output=tmp_path, holdout=0.6)  # two steps
    assert result.test.images == 359
    assert cuda.operations["convolution_backward"]


@pytest.mark.parametrize("changes", MORE.values(), ids=MORE)
def test_what_recipes_may_ask_for(changes: dict[str, Any], cuda: Pretend, tmp_path: Path) -> None:
    recipe = recipes.load("digits").replace(**DIGITS).replace(**changes)
    assert train(recipe, NETWORK, output=tmp_path).test.images == 359


def test_what_a_recipe_leaves_open_is_as_the_device_does_it_best(
    request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Said when the run begins, and in its identity; the recipe is known by what it says. No step is compiled here:
    torch.compile does not run under the modes of the pretended GPU."""
    compiled: list[tuple[str, str | None]] = []
    recipe = recipes.load("digits").replace(**DIGITS)
    on_cpu = train(recipe, NETWORK, folder=tmp_path / "cpu")
    cuda: Pretend = request.getfixturevalue("cuda")
    monkeypatch.setattr(torch.nn.Module, "compile", lambda self, backend, mode: compiled.append((backend, mode)))
    monkeypatch.setattr(device_defaults, "_LONG_TRAINING_MACS", 0)
    result = train(recipe, NETWORK, output=tmp_path, quiet=False)
    out = " ".join(capsys.readouterr().err.split())
    assert "by default here: bfloat16, channels-last, torch.compile (inductor, reduce-overhead), fused optimizer" in out
    assert cuda.operations["_fused_sgd_"]
    assert compiled == [("inductor", "reduce-overhead")]
    assert (on_cpu.precision, result.precision) == ("no", "bf16")
    assert on_cpu.recipe_hash == result.recipe_hash == recipe.hash == recipes.load(result.folder / "recipe.yaml").hash
    known, known_on_cpu = (json.loads((one.folder / "run.json").read_text())["defined_by"] for one in (result, on_cpu))
    left = {"amp": True, "amp_dtype": "bfloat16", "channels_last": True, "torchcompile": "inductor"}
    assert known["recipe"] == {**known_on_cpu["recipe"], **left, "torchcompile_mode": "reduce-overhead"}
    assert known["fused"] is True

    out_of_it = recipe.replace(amp=False, channels_last=False, torchcompile="eager", opt_kwargs={"fused": False})
    plain = train(out_of_it, NETWORK, output=tmp_path)
    assert plain.precision == "no"
    assert json.loads((plain.folder / "run.json").read_text())["defined_by"].get("fused") is None
    assert plain.folder != result.folder
    with pytest.raises(InputError, match="belongs to another run"):  # as --resume on another kind of device
        train(recipes.load(on_cpu.folder / "recipe.yaml"), NETWORK, folder=on_cpu.folder)


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    random = np.random.default_rng(0)
    for split in ("train", "val"):
        for number in range(8):
            file = tmp_path / "photos" / split / f"class{number % 2}" / f"{number}.jpg"
            file.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(random.integers(0, 256, (12, 12, 3), dtype=np.uint8)).save(file)
    return tmp_path / "photos"


@pytest.mark.parametrize("loader", [name for name in LOADERS if name != "auto"])
@pytest.mark.parametrize("changes", [{"aa": "rand-m9-mstd0.5-inc1", "reprob": 0.3}, {"aa": None, "hflip": 0.5}])
def test_every_loader(
    loader: str, changes: dict[str, Any], photos: Path, cuda: Pretend, request: pytest.FixtureRequest
) -> None:
    if loader in ("beton", "ffcv"):
        request.getfixturevalue("ffcv_in_python")
    recipe = Recipe(data_dir=str(photos), img_size=8, batch_size=4, workers=0, **changes)
    with open_data(recipe, input_size=(3, 8, 8), device=torch.device("cuda"), loader=loader, holdout=0.25) as data:
        for split in (data.train.epoch(0), data.test, data.holdout):
            for images, targets in split:
                assert images.is_cuda
                assert targets.is_cuda


@pytest.mark.parametrize(("name", "most"), [("cifar-classic-200", 4), ("cifar-modern", 30), ("imagenet-a2", 60)])
def test_the_host_waits_for_no_step_and_asks_for_few_operations(name: str, most: int, cuda: Pretend) -> None:
    """What docs/training.md counts: images and labels of a step of 16, mixed, where steps are prepared together."""
    recipe = recipes.load(name).replace(**DIGITS).replace(batch_size=16)
    mixup = optim.build_mixup(recipe, 10)
    with open_data(recipe, input_size=(3, 8, 8), device=torch.device("cuda"), loader="memory") as data:
        batches, steps = data.train.epoch(0), 2 * data.train.plan.together
        next(batches)  # constants are sent once
        with cuda.counting() as counts:
            for batch in itertools.islice(batches, steps):
                if mixup is not None:
                    mixup(*batch)
    assert not counts.waits
    assert 0 < counts.operations.total() / steps <= most


@pytest.mark.parametrize("policy", ["original", "v0r", "augmix-m3", "3a", "rand-m5-n2"])
def test_policies_image_by_image(policy: str, photos: Path, cuda: Pretend) -> None:
    recipe = Recipe(data_dir=str(photos), img_size=8, batch_size=4, workers=0, aa=policy)
    with open_data(recipe, input_size=(3, 8, 8), device=torch.device("cuda"), loader="torch") as data:
        assert all(images.is_cuda for images, _ in data.train.epoch(0))


def test_a_teacher_masks_and_a_resumed_run(cuda: Pretend, tmp_path: Path) -> None:
    teacher = tmp_path / "teacher"
    networks.save(teacher, NETWORK, networks.build(NETWORK, seed=0))
    recipe = recipes.load("digits").replace(**{**DIGITS, "epochs": 2})
    result = train(recipe, NETWORK, output=tmp_path, teacher=str(teacher))
    assert result.test.images == 359
    (subject,) = [evaluation.open_subject(result.folder)]
    test = evaluation.TestImages.open("", "digits")
    (found,) = evaluation.evaluate([subject], test, batch_size=180, device=torch.device("cuda"), progress=False)
    assert found.top1 == pytest.approx(result.test.top1, abs=1.0)


def test_latency_is_timed_there(cuda: Pretend) -> None:
    for training in (False, True):
        (timed,) = timing.measure([NETWORK], batch_size=2, runs=3, device="cuda", training=training, progress=False)
        assert timed.latency_ms > 0
    assert measured_table(NETWORK, runs=3, device="cuda", progress=False).device == "a pretended GPU"


@pytest.mark.parametrize("changes", [{"aa": "rand-m9-n3-p1-inc1"}, {"aa": "ta_wide"}, {"color_jitter": 0.4}])
def test_the_data_path_needs_no_double_precision(changes: dict[str, Any]) -> None:
    recipe = recipes.load("digits").replace(**{**DIGITS, "color_jitter": None, **changes})
    with (
        Pretend("mps"),
        open_data(recipe.replace(reprob=0.3), input_size=(3, 8, 8), device=torch.device("mps")) as data,
    ):
        for images, _ in data.train.epoch(0):
            assert images.device.type == "mps"
        assert len(list(data.test)) == 1
