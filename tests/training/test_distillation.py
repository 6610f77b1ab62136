"""Distillation: the loss by its formula, what the teacher gets to see, what a run records, and teachers by any name."""

from __future__ import annotations

import json
import math
import shutil
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import timm
import torch
from accelerate import Accelerator
from torch import nn

from thinresnet import networks, public_weights
from thinresnet import recipe as recipes
from thinresnet.cli import train as command
from thinresnet.errors import InputError
from thinresnet.recipe import Recipe
from thinresnet.result import Result
from thinresnet.stopping import StopRequest
from thinresnet.training import loop, teachers, train
from thinresnet.training.data.augment import Normalise
from thinresnet.training.distillation import Distillation, Teacher, soft_loss
from thinresnet.training.importing import Wanted, open_weights, write
from thinresnet.training.run import RunFolder
from thinresnet.training.teachers import open_teacher

NETWORK = networks.scale("resnet20_cifar", width=0.125, num_classes=10, input_size=(3, 8, 8))
TEN = [str(number) for number in range(10)]
torch.set_num_threads(1)


def digits(**changes: Any) -> Recipe:
    return recipes.load("digits", {"epochs": 1, "warmup_epochs": 0, "batch_size": 512, **changes})


def taught(model: nn.Module, **changes: Any) -> Teacher:
    given = {"name": "t", "source": "s", "network": NETWORK, "model": model, "mean": (0.5,) * 3, "std": (0.25,) * 3}
    return Teacher(**{**given, **changes})


# --- the loss ---------------------------------------------------------------------------------------------------------


def test_the_soft_loss_is_the_divergence_of_softened_probabilities_times_the_temperature_squared() -> None:
    output, logits = torch.tensor([[2.0, 0.0, -1.0], [0.0, 0.0, 0.0]]), torch.tensor([[0.0, 1.0, 0.0], [4.0, 0.0, 0.0]])
    for temperature in (1.0, 4.0):
        expected = 0.0
        for ours, theirs in zip(output.tolist(), logits.tolist(), strict=True):
            q, p = ([math.exp(v / temperature) for v in own] for own in (ours, theirs))
            q, p = [v / sum(q) for v in q], [v / sum(p) for v in p]
            expected += sum(b * math.log(b / a) for a, b in zip(q, p, strict=True)) / 2
        found = soft_loss(output, logits, temperature)
        assert found.item() == pytest.approx(temperature**2 * expected, rel=1e-5)
    assert soft_loss(output, output + 3, 2.0).item() == pytest.approx(0, abs=1e-7)
    assert torch.isfinite(soft_loss(1e4 * output.half(), logits.half(), 1.0))


def test_alpha_weighs_the_two_parts() -> None:
    own = Distillation(taught(nn.Identity()), Recipe(distill_alpha=0.25, distill_temperature=2), 8, torch.device("cpu"))
    output, logits = torch.tensor([[1.0, 0.0]]), torch.tensor([[0.0, 1.0]])
    expected = 0.75 * 5 + 0.25 * soft_loss(output, logits, 2.0)
    assert own.loss(torch.tensor(5.0), output, logits).item() == pytest.approx(expected.item())


def training(recipe: Recipe, model: nn.Module, teacher: Teacher, folder: Path) -> loop.Training:
    data = SimpleNamespace(train=SimpleNamespace(steps_per_epoch=4), num_classes=10)
    distillation = Distillation(teacher, recipe, 8, torch.device("cpu"))
    return loop.Training(
        Accelerator(cpu=True), recipe, model, data, RunFolder(folder, {}), stop_request=StopRequest(),  # type: ignore[arg-type]
        checkpoint_minutes=0, distillation=distillation,
    )  # fmt: skip


def flat() -> nn.Module:
    return nn.Sequential(nn.Flatten(), nn.Linear(192, 10))


@pytest.mark.parametrize("changes", [{}, {"bce_loss": True}])
def test_accumulated_batches_are_one_bigger_batch(tmp_path: Path, changes: Mapping[str, Any]) -> None:
    images, targets = torch.randn(24, 3, 8, 8), torch.arange(24) % 10
    teacher = taught(flat())

    def updated(parts: list[int]) -> torch.Tensor:
        torch.manual_seed(0)
        model = flat()
        recipe = Recipe(lr=0.5, batch_size=8, grad_accum_steps=3, warmup_epochs=0, epochs=1, **changes)
        parted = list(zip(images.split(parts), targets.split(parts), strict=True))
        loss = training(recipe, model, teacher, tmp_path)._update(parted)
        return torch.cat([loss.flatten(), *(p.detach().flatten() for p in model.parameters())])

    whole = updated([24])
    assert torch.allclose(updated([10, 10, 4]), whole, atol=1e-6)


# --- what the teacher sees --------------------------------------------------------------------------------------------


class Seeing(nn.Module):
    """Keeps what it was shown."""

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        assert not torch.is_grad_enabled()
        assert not self.training
        self.seen = images
        return images.mean((2, 3))


@pytest.mark.parametrize("mean", [(0.5, 0.5, 0.5), (0.485, 0.456, 0.406)])
def test_the_teacher_s_own_normalisation_is_put_on(mean: tuple[float, float, float]) -> None:
    recipe, pixels = Recipe(mean=(0.485, 0.456, 0.406), std=(0.2,)), torch.rand(2, 3, 8, 8)
    model = Seeing()
    own = Distillation(taught(model, mean=mean, std=(0.25,) * 3), recipe, 8, torch.device("cpu"))
    own.logits(Normalise.of(recipe).planes(255 * pixels))
    expected = Normalise(mean, (0.25,) * 3, channels_last=False).planes(255 * pixels)
    assert torch.allclose(model.seen, expected, atol=1e-5)


def test_images_are_resized_in_the_proportion_of_the_two_networks_and_counted_so() -> None:
    recipe, model = Recipe(), Seeing()
    own = Distillation(taught(model), recipe, side_px=16, device=torch.device("cpu"))  # its network takes 8
    own.logits(torch.ones(1, 3, 12, 12))
    assert model.seen.shape == (1, 3, 6, 6)
    expected = 5 * networks.count(NETWORK, (3, 6, 6)).macs + 7 * networks.count(NETWORK, (3, 8, 8)).macs
    assert own.forward_macs({12: 5, 16: 7}) == expected


def test_outputs_come_in_the_order_of_the_images_classes() -> None:
    order = teachers._order(["cat", "dog", "ape"], ["ape", "cat", "dog"])
    assert order == (2, 0, 1)
    own = Distillation(taught(Seeing(), order=order), Recipe(mean=(0.5,), std=(0.25,)), 8, torch.device("cpu"))
    assert own.logits(torch.tensor([1.0, 2.0, 3.0])[None, :, None, None]).tolist() == [[3.0, 1.0, 2.0]]
    assert teachers._order(["cat", "dog"], ["cat", "dog"]) is None
    assert teachers._order(["cat", "dog"], ["0", "1"]) is None


# --- whole runs -------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def teacher(tmp_path_factory: pytest.TempPathFactory) -> Result:
    return train(digits(), NETWORK, shape="w0.125", folder=tmp_path_factory.mktemp("teacher") / "parent")


@pytest.fixture(scope="module")
def distilled(teacher: Result, tmp_path_factory: pytest.TempPathFactory) -> Result:
    recipe = digits(seed=7, mixup=0.2, bce_loss=True, amp=True, amp_dtype="bfloat16", model_ema=True)
    return train(recipe, NETWORK, folder=tmp_path_factory.mktemp("run") / "run", teacher=str(teacher.folder))


def test_a_result_says_the_teacher_and_counts_its_passes(teacher: Result, distilled: Result) -> None:
    said = distilled.teacher
    assert said is not None
    assert (said["name"], said["source"]) == ("resnet20_cifar w0.125", "parent/model.safetensors")
    assert said["weights_sha256"] == teacher.weights_sha256
    assert (said["alpha"], said["temperature"]) == (0.9, 4.0)
    assert said["forward_macs"] == teacher.macs * distilled.images_seen
    assert distilled.training_macs == (3 * distilled.macs + teacher.macs) * distilled.images_seen
    assert Result.read(distilled.folder) == distilled
    assert teacher.teacher is None
    settings = json.loads((distilled.folder / "run.json").read_text())
    assert settings["defined_by"]["teacher"] == said["sha256"]
    assert settings["teacher"] == str(teacher.folder)


def test_the_teacher_moves_the_weights_and_its_own_stay(teacher: Result, tmp_path: Path) -> None:
    before = (teacher.folder / "model.safetensors").read_bytes()
    alone = train(digits(seed=7), NETWORK, folder=tmp_path / "alone")
    shares = {a: train(digits(seed=7, distill_alpha=a), NETWORK, folder=tmp_path / str(a), teacher=str(teacher.folder))
              for a in (0.5, 1.0)}  # fmt: skip
    assert len({alone.weights_sha256, *(one.weights_sha256 for one in shares.values())}) == 3
    assert shares[0.5].recipe_hash != shares[1.0].recipe_hash
    assert (teacher.folder / "model.safetensors").read_bytes() == before


def test_another_teacher_is_refused_where_a_run_goes_on(teacher: Result, distilled: Result, tmp_path: Path) -> None:
    recipe = recipes.load(distilled.folder / "recipe.yaml")
    other = tmp_path / "other"
    shutil.copytree(teacher.folder, other)
    assert train(recipe, NETWORK, folder=distilled.folder, teacher=str(other)) == distilled  # the same, elsewhere
    networks.save(other, NETWORK, networks.build(NETWORK, seed=1))
    for given in (str(other), None):
        with pytest.raises(InputError, match="belongs to another run: its teacher is") as caught:
            train(recipe, NETWORK, folder=distilled.folder, teacher=given)
        assert "\n" not in str(caught.value)


def test_a_run_is_resumed_by_its_folder_alone(
    distilled: Result, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(loop.Training, "go", None)
    assert command.main(["--resume", str(distilled.folder)]) == 0
    said = capfd.readouterr().out
    assert "is complete already" in said
    assert "resnet20_cifar w0.125 (parent/model.safetensors), alpha 0.9, temperature 4" in said


# --- teachers by name -------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Weights under the names of the ThinResNet authors."""
    path = tmp_path_factory.mktemp("file") / "weights.pt"
    state = networks.build("thinresnet20-w1", num_classes=10).state_dict()
    theirs = {"conv1": "embed.0", "bn1": "embed.1"}
    torch.save({".".join([theirs.get((p := n.partition("."))[0], p[0]), p[2]]): v for n, v in state.items()}, path)
    return path


def test_a_file_and_the_run_made_of_it_are_one_teacher(file: Path, tmp_path: Path) -> None:
    write(open_weights(str(file), Wanted()), tmp_path / "imported")
    of_file, of_run = (open_teacher(str(given), "images", TEN) for given in (file, tmp_path / "imported"))
    assert (of_file.name, of_run.name) == ("thinresnet20-w1", "thinresnet20-w1")
    assert (of_file.source, of_run.source) == ("weights.pt", "imported/model.safetensors")
    assert of_file.sha256 == of_run.sha256
    assert replace(of_file, mean=(0.1, 0.1, 0.1)).sha256 != of_file.sha256
    assert of_file.mean == (0.485, 0.456, 0.406)


def test_known_weights_are_downloaded_once(file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("THINRESNET_CACHE", str(tmp_path))
    known = replace(public_weights.find("thinresnet20-w1", "cifar10"), git_blob=public_weights.git_hash(file))
    monkeypatch.setattr(public_weights, "find", lambda *_: known)
    asked = []

    def download(url: str, target: Path, **_: Any) -> None:
        asked.append(url)
        target.write_bytes(file.read_bytes())

    monkeypatch.setattr(teachers, "download", download)
    found = [open_teacher("thinresnet20-w1", "cifar10-copy", TEN) for _ in range(2)]
    assert asked == [known.url]
    assert found[0].sha256 == found[1].sha256 == open_teacher(str(file), "cifar10-copy", TEN).sha256
    assert found[0].source.startswith("brain-bzh/baseline-pruning ")
    monkeypatch.setattr(teachers, "download", lambda url, target, **_: target.write_bytes(b"another"))
    shutil.rmtree(tmp_path / "weights")
    with pytest.raises(InputError, match=r"--teacher thinresnet20-w1: .*not the file that was known there"):
        open_teacher("thinresnet20-w1", "cifar10-copy", TEN)


def test_pretrained_weights_of_timm(monkeypatch: pytest.MonkeyPatch) -> None:
    classes = [str(number) for number in range(1000)]
    model = timm.create_model("mobilenetv3_small_050")
    monkeypatch.setattr(teachers, "create_model", lambda *_, **__: model)
    found = open_teacher("mobilenetv3_small_050.lamb_in1k", "images", classes)
    assert (found.name, found.source, found.mean) == ("mobilenetv3_small_050.lamb_in1k", "timm", (0.485, 0.456, 0.406))
    images = torch.randn(2, 3, 64, 64)
    assert torch.equal(found.model.eval()(images), model.eval()(images))

    def offline(*_: Any, **__: Any) -> nn.Module:
        raise RuntimeError("no connection\nto the hub")

    monkeypatch.setattr(teachers, "create_model", offline)
    with pytest.raises(InputError, match="timm cannot get its weights \\(no connection to the hub\\)"):
        open_teacher("mobilenetv3_small_050", "images", classes)


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ("nowhere", "no run folder, no file of weights, no known public weights and no model of timm"),
        ("resnet20_cifr", "did you mean 'resnet20_cifar'"),
        ("thinresnet20-w61", "no pretrained weights of it are known"),
        ("resnet50", "it has 1000 classes, the images have 10"),
        ("resnet50.a9_in1k", "Invalid pretrained tag"),
        ("vgg16_cifar", "no pretrained weights of it are known"),
    ],
)
def test_what_cannot_teach_is_refused_in_a_line(given: str, said: str) -> None:
    with pytest.raises(InputError) as caught:
        open_teacher(given, "digits", TEN)
    message = str(caught.value)
    assert message.startswith(f"--teacher {given}: ")
    assert said in message
    assert "\n" not in message


def test_other_classes_are_refused(teacher: Result, file: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="it has 10 classes, mine has 3"):
        open_teacher(str(teacher.folder), "mine", ["a", "b", "c"])
    with pytest.raises(InputError, match="known public weights have 10, 100, 1000 classes, the images have 3"):
        open_teacher("thinresnet20-w16", "mine", ["a", "b", "c"])
    with pytest.raises(InputError, match="it was trained on digits, these images are cifar10"):
        open_teacher(str(teacher.folder), "cifar10", TEN)
    with pytest.raises(InputError, match="it was trained on cifar10, these images are digits"):
        open_teacher(str(file), "digits", TEN)
    # In any order of the keys its names say which is which; under names of nobody's they would be guessed.
    strange = tmp_path / "strange.pt"
    torch.save({f"x.{name}": value for name, value in torch.load(file).items()}, strange)
    with pytest.raises(InputError, match="thinresnet import"):
        open_teacher(str(strange), "cifar10", TEN)


@pytest.mark.parametrize("flag", ["--distill-alpha", "--distill-temperature"])
def test_what_is_said_of_no_teacher_is_refused(flag: str, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    assert command.main([flag, "0.5", "--output", str(tmp_path / "runs")]) == 2
    assert (
        f"{flag[2:].replace('-', '_')}: is about a teacher, and there is none; give --teacher" in capfd.readouterr().err
    )
    assert not list(tmp_path.iterdir())
