"""The recipes that are shipped: each is one that timm's train.py takes as it stands, and does what its source says.

docs/reference/timm-flags.json states the flags of timm's train.py (which the wheel does not carry): names, kinds,
defaults. Where the variable TIMM_TRAIN names a real train.py, that one is asked as well, and trains with each recipe.
"""

from __future__ import annotations

import argparse
import dataclasses
import importlib.util
import json
import math
import os
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import yaml
from PIL import Image
from timm.scheduler.scheduler_factory import create_scheduler_v2, scheduler_kwargs

from thinresnet import recipe as recipes
from thinresnet.cli import timm_flags
from thinresnet.identity import LEFT_TO_THE_DEVICE
from thinresnet.recipe import Recipe
from thinresnet.training.data.loading import size_schedule
from thinresnet.training.data.plan import Plan

TIMM_FLAGS = timm_flags.read_flags()
OURS = {
    "crop_padding", "crop_padding_mode", "distill_alpha", "distill_temperature", "log_tensorboard", "weight_decay_also",
}  # fmt: skip
FOR_TIMM = [name for name in recipes.names() if name != "digits"]
ROOT = Path(recipes.__file__).parents[1]


def timm_parser() -> argparse.ArgumentParser:
    """timm's parser as far as types and defaults go."""
    parser = argparse.ArgumentParser()
    kinds: dict[str, Any] = {"int": int, "float": float, "str": str}
    for name, flag in TIMM_FLAGS.items():
        option = "--" + name.replace("_", "-")
        if flag["kind"] == "flag":
            parser.add_argument(option, dest=name, action="store_true", default=flag["default"])
        elif flag["kind"] == "kwargs":
            parser.add_argument(option, dest=name, nargs="*", default=flag["default"])
        else:
            rest = {key: flag[key] for key in ("nargs", "choices") if key in flag}
            parser.add_argument(option, dest=name, type=kinds[flag["kind"]], default=flag["default"], **rest)
    return parser


def real_train() -> Any:
    spec = importlib.util.spec_from_file_location("timm_train", os.environ["TIMM_TRAIN"])
    assert spec
    assert spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def check_parsed(name: str, parsed: argparse.Namespace) -> None:
    """What timm would work with is what we work with."""
    written = yaml.safe_load(recipes.find(name).read_text())
    recipe = recipes.load(name)
    for key in written:
        ours = getattr(recipe, key)
        assert getattr(parsed, key) == (list(ours) if isinstance(ours, tuple) else ours), key
        if key not in OURS:
            kind = {"int": int, "flag": bool, "str": str}.get(TIMM_FLAGS[key]["kind"])
            values = written[key] if isinstance(written[key], list) else [written[key]]
            assert kind is None or all(type(value) is kind for value in values), key


def test_every_field_is_a_flag_of_timm_with_timm_s_default() -> None:
    for field in dataclasses.fields(Recipe):
        if field.name not in OURS:
            # What is left to the device is off in timm.
            default = False if field.name in LEFT_TO_THE_DEVICE else getattr(Recipe(), field.name)
            assert TIMM_FLAGS[field.name]["default"] == (list(default) if isinstance(default, tuple) else default), (
                field.name
            )


@pytest.mark.real_timm
def test_the_flags_stated_here_are_those_of_the_real_one() -> None:
    assert json.loads(json.dumps(timm_flags.flags_of(Path(real_train().__file__)))) == TIMM_FLAGS


@pytest.mark.parametrize("name", FOR_TIMM)
def test_timm_s_parser_takes_each_recipe(name: str) -> None:
    parser = timm_parser()
    parser.set_defaults(**yaml.safe_load(recipes.find(name).read_text()))
    check_parsed(name, parser.parse_args([]))


@pytest.mark.real_timm
@pytest.mark.parametrize("name", FOR_TIMM)
def test_the_real_parser_takes_each_recipe(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    module = real_train()
    monkeypatch.setattr(sys, "argv", ["train.py", "--config", str(recipes.find(name))])
    check_parsed(name, module._parse_args()[0])


@pytest.mark.parametrize("name", FOR_TIMM)
def test_a_resolved_recipe_goes_to_timm_too(name: str) -> None:
    parser = timm_parser()
    recipe = recipes.load(name)
    parser.set_defaults(**yaml.safe_load(recipe.to_yaml()))
    parsed = vars(parser.parse_args([]))
    for field in dataclasses.fields(Recipe):
        value = getattr(recipe, field.name)
        assert parsed[field.name] == (list(value) if isinstance(value, tuple) else value), field.name


@pytest.mark.parametrize("name", recipes.names())
def test_each_number_says_where_it_was_read(name: str) -> None:
    text = recipes.find(name).read_text()
    head, _, body = text.partition("\n\n") if name == "digits" else text.partition("\nmodel: ")
    if name == "digits":
        assert "Ours" in head
        return
    listed = set(re.findall(r"^#   \[(\d)\] \S+", text, re.MULTILINE))
    cited = set(re.findall(r"\[(\d)\]", body))
    assert cited
    assert cited <= listed
    assert listed <= cited | set(re.findall(r"\[(\d)\]", head.split("# Source", 1)[1].split("\n", 1)[1]))


def rates(recipe: Recipe, processes: int, times: np.ndarray, updates: int = 4) -> np.ndarray:
    """The learning rate at these epochs (counted in updates where the recipe asks for that), from timm's factory."""
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=recipe.learning_rate(processes))
    schedule, epochs = create_scheduler_v2(optimizer, **scheduler_kwargs(recipe), updates_per_epoch=updates)
    assert epochs == recipe.total_epochs
    assert schedule is not None
    found = []
    for time in times:
        if recipe.sched_on_updates:
            schedule.step_update(round(time * updates))
        else:
            schedule.step(int(time))
        found.append(optimizer.param_groups[0]["lr"])
    return np.array(found)


def cosine(peak: float, low: float, epochs: int, warmup: int, start: float, *, after: bool) -> Callable[[float], float]:
    """A linear warm-up, then half a cosine: over all epochs, or over those `after` the warm-up."""

    def at(time: float) -> float:
        if time < warmup:
            return start + (peak - start) * time / warmup
        place = (time - warmup) / epochs if after else time / epochs
        return low + (peak - low) * (1 + math.cos(math.pi * place)) / 2

    return at


def noisy(time: float) -> float:
    """RA2: a rate that falls by steps, with timm's noise from 40 to 90 % of the epochs, drawn from seed and epoch."""
    rate = 1e-5 + (0.082 - 1e-5) * time / 5 if time < 5 else 0.082 * 0.988**time
    if not 0.4 * 700 <= time < 0.9 * 700:
        return rate
    generator = torch.Generator().manual_seed(42 + int(time))
    noise = 1.0
    while abs(noise) >= 0.67:
        noise = torch.randn(1, generator=generator).item()
    return rate * (1 + noise)


CLOSED_FORMS: dict[str, tuple[int, int, Callable[[float], float]]] = {
    "imagenet-a1": (8, 600, cosine(5e-3, 1e-6, 600, 5, 1e-4, after=False)),
    "imagenet-a2": (8, 300, cosine(5e-3, 1e-6, 300, 5, 1e-4, after=False)),
    "imagenet-a3": (8, 100, cosine(8e-3, 1e-6, 100, 5, 1e-4, after=False)),
    "imagenet-torchvision-v2": (8, 600, cosine(0.5, 0, 595, 5, 5e-3, after=True)),
    "imagenet-ra": (
        2,
        450,
        lambda time: 1e-6 + (0.048 - 1e-6) * time / 5 if time < 5 else 0.048 * 0.97 ** (time // 2.4),
    ),
    "imagenet-ra2": (2, 700, noisy),
    "imagenet-jsd": (2, 200, cosine(0.05, 0, 200, 5, 1e-5, after=False)),
    "imagenet-ffcv": (8, 16, lambda time: float(np.interp(time, [0, 2, 16], [1.7e-4, 1.7, 0]))),
    "imagenet-classic": (1, 90, lambda time: 0.1 * 0.1 ** (time // 30)),
    "cifar-classic-160": (1, 160, lambda time: 0.1 * 0.1 ** sum(time >= step for step in (80, 120))),
    "cifar-classic-200": (1, 200, lambda time: 0.1 * 0.2 ** sum(time >= step for step in (60, 120, 160))),
    "cifar-finetune": (1, 40, lambda time: 1e-3),
    "cifar-adapt": (1, 10, cosine(0.005, 0, 10, 0, 0.005, after=False)),
    "imagenet-finetune": (1, 20, lambda time: 1e-3),
    "cifar-modern": (1, 300, cosine(0.1, 0, 300, 5, 1e-3, after=False)),
    "cifar-thinresnet": (1, 1928, cosine(0.5, 0, 1923, 5, 5e-3, after=True)),
    "imagenet-thinresnet": (8, 605, cosine(0.5, 0, 600, 5, 5e-3, after=True)),
    "digits": (1, 20, cosine(0.1, 0, 20, 2, 0.01, after=False)),
}


@pytest.mark.parametrize("name", recipes.names())
def test_each_schedule_is_its_closed_form(name: str) -> None:
    processes, epochs, closed = CLOSED_FORMS[name]
    recipe = recipes.load(name)
    assert recipe.total_epochs == epochs
    times = np.arange(0, epochs, 0.25 if recipe.sched_on_updates else 1)
    assert rates(recipe, processes, times) == pytest.approx([closed(time) for time in times], rel=1e-6, abs=1e-12)


# By ffcv-imagenet's rn50_configs: epochs, and the first (from 0) at 192 pixels; then the flags that say so here.
FFCV = [
    (16, 12, 14, [160] * 4 + [192]),
    (24, 19, 22, [160] * 4 + [192]),
    (32, 25, 30, [160] * 3 + [192]),
    (40, 32, 38, [160] * 9 + [192] * 2),
    (56, 45, 54, [160] * 3 + [192]),
    (88, 71, 86, [160] * 3 + [192]),
]
RAMPS = {16: (11, 13), 24: (17, 20), 32: (23, 27), 40: (29, 34), 56: (41, 48), 88: (65, 76)}


@pytest.mark.parametrize(("total", "first", "epochs", "sizes"), FFCV)
def test_the_ffcv_family_has_its_lengths_and_its_resolutions(
    total: int, first: int, epochs: int, sizes: list[int]
) -> None:
    recipe = recipes.load("imagenet-ffcv", {"epochs": epochs, "train_img_sizes": sizes})
    assert recipe.total_epochs == total
    assert total not in (16, 24) or sizes == list(recipes.load("imagenet-ffcv").train_img_sizes or ())
    schedule = size_schedule(recipe, Plan(count=64, batch_size=8, seed=0), tuple(sizes))
    assert schedule is not None
    for epoch in range(total):
        schedule.set_epoch(epoch)
        found = {sizes[choice] for ((_, choice),) in schedule}
        # Its own rule: between both ends of the ramp the nearest multiple of 32 to a straight line.
        line = np.interp(epoch, RAMPS[total], (160, 192))
        assert found == {round(line / 32) * 32} == {192 if epoch >= first else 160}, epoch


def test_the_moving_average_of_torchvision_a_step() -> None:
    every_32_steps = 1 - (1 - 0.99998) * 1024 * 32 / 600
    assert recipes.load("imagenet-torchvision-v2").model_ema_decay == round(every_32_steps ** (1 / 32), 6)


@pytest.mark.parametrize(("name", "batches", "processes"), [("cifar", 390, 1), ("imagenet", 1251, 8)])
def test_the_updates_of_the_thinresnet_authors(name: str, batches: int, processes: int) -> None:
    recipe = recipes.load(f"{name}-thinresnet")
    assert abs(recipe.epochs * batches - 750_000) < batches
    assert recipe.learning_rate(processes) == 0.5
    assert recipe.model_ema_decay == round(0.999 ** (1 / 32), 7)


def pictures(folder: Path, side: int, classes: int = 10) -> Path:
    """A few images of noise in class folders."""
    for split in ("train", "validation"):
        for number in range(classes):
            place = folder / "data" / split / f"n{number:08}"
            place.mkdir(parents=True)
            for image in range(4):
                pixels = np.random.default_rng(image).integers(0, 256, (side, side, 3), dtype=np.uint8)
                Image.fromarray(pixels).save(place / f"{image}.jpg")
    return folder / "data"


def run_timm(*arguments: object) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, os.environ["TIMM_TRAIN"], *map(str, arguments)]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run(command, check=False, capture_output=True, text=True, env=environment, timeout=300)
    assert done.returncode == 0, done.stderr[-2000:]
    return done


@pytest.mark.real_timm
@pytest.mark.parametrize("name", FOR_TIMM)
def test_the_real_train_py_trains_with_it(name: str, tmp_path: Path) -> None:
    """Unchanged but for what the machine and the time ask for: folder, device, few images, few epochs, a thin network.

    Repeated augmentation needs several processes there, and half precision a GPU to be quick.
    """
    flags: dict[str, object] = {
        "--config": recipes.find(name), "--data-dir": pictures(tmp_path, 32), "--dataset": "", "--device": "cpu",
        "--output": tmp_path / "out", "--epochs": 2, "--warmup-epochs": 1, "--batch-size": 16, "--workers": 0,
        "--num-classes": 10, "--aug-repeats": 0, "--amp-dtype": "bfloat16",
    }  # fmt: skip
    if "thinresnet" in name:
        flags["--model"] = "thinresnet20-w2" if "cifar" in name else "thinresnet50-w8"
    else:
        flags["--model-kwargs"] = "width=0.125"
    if "cifar" not in name:
        flags["--img-size"] = 64
    done = run_timm(*(part for pair in flags.items() for part in pair))
    assert "Train: 1 [" in done.stderr
    assert "--result" in done.stdout


@pytest.mark.real_timm
def test_the_args_that_are_kept_here_are_those_that_timm_writes(tmp_path: Path) -> None:
    kept = Path(__file__).with_name("timm_args.yaml")
    data = pictures(tmp_path, 32, classes=4)
    run_timm(
        data, "--model", "resnet10t", "--img-size", 32, "--num-classes", 4, "-b", 8, "--epochs", 1,
        "--warmup-epochs", 0,
        "--device", "cpu", "--workers", 0, "--output", tmp_path / "out", "--experiment", "run", "--opt", "lamb",
        "--lr", "5e-3", "--weight-decay", 0.02, "--bce-loss", "--bce-target-thresh", 0.2, "--smoothing", 0,
        "--mixup", 0.1, "--cutmix", 1.0, "--aa", "rand-m7-mstd0.5-inc1", "--drop-path", 0.05, "--log-interval", 1,
        "--pin-mem", "--no-prefetcher", "--model-kwargs", "layers=[1,1,2,1]", "stem_width=16", "--lr-noise", 0.4, 0.9,
        "--layer-decay", 0.9, "--head-init-scale", 0.5, "--vflip", 0.1,
    )  # fmt: skip
    fresh = yaml.safe_load((tmp_path / "out" / "run" / "args.yaml").read_text())
    assert {**fresh, "data": "data", "output": "out"} == yaml.safe_load(kept.read_text())
    assert recipes.load(tmp_path / "out" / "run" / "args.yaml").opt == "lamb"
