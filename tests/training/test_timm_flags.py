"""Whole trainings with flags of timm: what they leave behind, and a teacher's loss against timm's own task."""

from __future__ import annotations

import importlib
import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import timm
import torch
from accelerate import Accelerator
from PIL import Image
from safetensors.torch import load_file
from timm.data import create_transform
from timm.task import LogitDistillationTask
from torch import nn
from torchvision.transforms import InterpolationMode, TrivialAugmentWide

from thinresnet import networks
from thinresnet import recipe as recipes
from thinresnet.recipe import Recipe
from thinresnet.training import train
from thinresnet.training.distillation import loss_weights, soft_loss
from thinresnet.training.evaluation import open_subject
from thinresnet.training.processes import average_buffers

NETWORK = networks.scale("resnet20_cifar", width=0.125, num_classes=10, input_size=(3, 8, 8))
torch.set_num_threads(1)


def digits(**changes: Any) -> Recipe:
    return recipes.load("digits", {"epochs": 1, "warmup_epochs": 0, "batch_size": 128, **changes})


def test_versions_with_batch_norms_of_their_own_leave_a_plain_network(tmp_path: Path) -> None:
    recipe = digits(aug_splits=2, jsd_loss=True, split_bn=True, resplit=True, reprob=0.5, model_ema=True)
    result = train(recipe, NETWORK, folder=tmp_path / "run")
    assert result.images_seen == 2 * result.images_train // 128 * 128 or result.images_seen % 256 == 0
    plain = networks.build(NETWORK).state_dict().keys()
    for name in ("model.safetensors", "model_ema.safetensors"):
        assert load_file(tmp_path / "run" / name).keys() == plain
    _, model = networks.load(tmp_path / "run")
    assert isinstance(model, nn.Module)


def test_images_are_prepared_as_the_model_asks_and_the_run_says_so(tmp_path: Path) -> None:
    recipe = digits(crop_pct=None, mean=None)
    result = train(recipe, NETWORK, folder=tmp_path / "run")
    assert result.recipe_hash == recipe.hash  # of what was asked for, whatever the network
    settings = json.loads((tmp_path / "run" / "run.json").read_text())
    asked = {"crop_pct": 1.0, "mean": [0.4914, 0.4822, 0.4465], "interpolation": "bilinear"}
    assert settings["preprocessing"] == settings["defined_by"]["preprocessing"] == asked
    assert recipes.load(tmp_path / "run" / "recipe.yaml").crop_pct is None
    prepared = open_subject(tmp_path / "run").preprocessing
    assert (prepared.resize_px, prepared.mean, prepared.interpolation) == (8, tuple(asked["mean"]), "bilinear")
    assert train(recipe, NETWORK, folder=tmp_path / "run").finished == result.finished  # complete: it is the same run


def test_a_plateau_is_followed_by_the_run(tmp_path: Path) -> None:
    recipe = digits(sched="plateau", sched_on_updates=False, epochs=3, patience_epochs=0, lr=1e-9, decay_rate=0.5)
    train(recipe.replace(smoothing=0.0), NETWORK, folder=tmp_path / "run")
    rows = (tmp_path / "run" / "metrics.csv").read_text().splitlines()
    place = rows[0].split(",").index("lr")
    rates = [float(row.split(",")[place]) for row in rows[1:]]
    assert len(rates) == 3
    assert rates[0] == 1e-9


@pytest.mark.parametrize(
    ("task", "teacher", "expected"),
    [
        (None, None, None),
        (0.3, None, (0.3, 0.7)),
        (None, 0.4, (1.0, 0.4)),
        (0.5, 2.0, (0.5, 2.0)),
        (1.0, 1.0, (1.0, 1.0)),
    ],
)
def test_a_teacher_weighs_as_in_timm(
    task: float | None, teacher: float | None, expected: tuple[float, float] | None
) -> None:
    weights = loss_weights(Recipe(task_loss_weight=task, distill_loss_weight=teacher))
    if expected is None:
        assert weights == (1 - 0.9, 0.9)
        return
    assert weights == pytest.approx(expected)
    torch.manual_seed(0)
    student, master = (timm.create_model("resnet10t", num_classes=4).eval() for _ in range(2))
    theirs = LogitDistillationTask(
        student, master, criterion=nn.CrossEntropyLoss(), task_loss_weight=task, distill_loss_weight=teacher,
        temperature=3.0, verbose=False, device=torch.device("cpu"),
    )  # fmt: skip
    images, classes = torch.randn(4, 3, 32, 32), torch.arange(4)
    with torch.no_grad():
        output, logits = student(images), master(images)
        ours = weights[0] * nn.functional.cross_entropy(output, classes) + weights[1] * soft_loss(output, logits, 3.0)
        assert ours.item() == pytest.approx(theirs(images, classes)["loss"].item(), rel=1e-5)


def test_batch_norm_statistics_are_the_mean_of_the_processes(monkeypatch: pytest.MonkeyPatch) -> None:
    model = nn.BatchNorm2d(2)
    model.running_mean = torch.tensor([1.0, 2.0])
    monkeypatch.setattr("thinresnet.training.processes.reduce", lambda buffer, how: (buffer + 3) / 2)
    average_buffers(SimpleNamespace(num_processes=2), model)  # type: ignore[arg-type]
    assert model.running_mean.tolist() == [2.0, 2.5]
    assert model.num_batches_tracked.item() == 0  # type: ignore[union-attr]
    average_buffers(Accelerator(cpu=True), model)
    assert model.running_mean.tolist() == [2.0, 2.5]


def test_timm_learns_what_recipes_here_say() -> None:
    """As its train.py does: the module is imported before the transforms are made."""
    timm_aa = importlib.import_module("thinresnet.training.timm_aa")
    for interpolation, expected in (("bicubic", InterpolationMode.BICUBIC), ("random", InterpolationMode.BILINEAR)):
        made = create_transform(16, is_training=True, auto_augment="ta_wide", interpolation=interpolation)
        (policy,) = [part for part in made.transforms if isinstance(part, TrivialAugmentWide)]
        assert policy.interpolation == expected
    image = Image.new("RGB", (4, 4), (200, 100, 50))
    assert timm_aa.auto_augment.AugmentOp("PosterizeIncreasing", prob=1.0, magnitude=10)(image).getextrema()[0] == (
        0,
        0,
    )
    made = create_transform(16, is_training=True, auto_augment="rand-m9")
    assert any(isinstance(part, timm_aa.auto_augment.RandAugment) for part in made.transforms)
