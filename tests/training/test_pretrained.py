"""Pretrained weights as a start: the loader's, kept once, and one line where there are none."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import timm
import torch
from typer.testing import CliRunner

from thinresnet.cli import app, train
from thinresnet.errors import InputError
from thinresnet.networks import count, load, read_network, scale
from thinresnet.training.pretrained import pretrained_weights

ARCH = "resnet10t"


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> list[str]:
    """What is asked of a hub that has weights of everything."""
    made, make = [], timm.create_model

    def create_model(name: str, pretrained: bool = False, **kwargs: Any) -> Any:
        made.extend([name] * pretrained)
        return make(name, **kwargs)

    monkeypatch.setattr(timm, "create_model", create_model)
    monkeypatch.setenv("THINRESNET_CACHE", str(tmp_path / "cache"))
    return made


def test_weights_are_asked_for_once(asked: list[str]) -> None:
    network, weights = pretrained_weights(ARCH, 10)
    assert pretrained_weights(ARCH, 10) == (network, weights)
    assert asked == [ARCH]
    assert load(weights.parent)[0] == network
    assert weights.parent.name == f"{ARCH}.c3_in1k-10-classes"
    assert pretrained_weights(ARCH, 7)[1] != weights


def test_a_pretrained_network_is_pruned_in_one_command(asked: list[str], tmp_path: Path) -> None:
    flags = ["prune", "l1", ARCH, "--pretrained", "--num-classes", "10", "--macs", "60%", "-o", str(tmp_path / "out")]
    done = CliRunner().invoke(app, flags)
    assert done.exit_code == 0, done.output
    (folder,) = (tmp_path / "out").iterdir()
    assert count(read_network(folder)).macs <= 0.6 * count(scale(ARCH, num_classes=10)).macs
    assert "No weights were given" not in done.output
    for wrong, said in (
        (["synflow"], "acts at initialisation"),
        (["l1", "--input", "32"], "leave out --weights, --arch and --input"),
    ):
        refused = CliRunner().invoke(app, ["prune", wrong[0], ARCH, "--pretrained", "--macs", "50%", *wrong[1:]])
        assert isinstance(refused.exception, InputError)
        assert said in str(refused.exception)


def test_training_starts_from_them(asked: list[str]) -> None:
    options, recipe, _ = train.read_flags(["--recipe", "imagenet-a3", "--arch", ARCH, "--pretrained"])
    started = train._from_pretrained(options, recipe)
    assert started.initial_checkpoint.endswith("c3_in1k/model.safetensors")
    for flags, said in (
        (["--width", "0.5"], "leave out --width"),
        (["--initial-checkpoint", "x"], "leave out --initial"),
    ):
        options, recipe, _ = train.read_flags(["--recipe", "imagenet-a3", "--pretrained", *flags])
        with pytest.raises(InputError, match=said):
            train._from_pretrained(options, recipe)


def test_an_absent_hub_is_one_line(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("THINRESNET_CACHE", str(tmp_path))

    real = timm.create_model

    def absent(*args: Any, pretrained: bool = False, **kwargs: Any) -> Any:
        if pretrained:
            raise ConnectionError("no route\nto the hub")
        return real(*args, **kwargs)

    monkeypatch.setattr(timm, "create_model", absent)
    with pytest.raises(InputError) as refusal:
        pretrained_weights("resnet18")
    assert "could not be loaded from the Hugging Face hub (no route to the hub)" in str(refusal.value)
    assert not list(tmp_path.rglob("*.safetensors"))
    with pytest.raises(InputError, match="timm has no weights of 'resnet20_cifar'"):
        pretrained_weights("resnet20_cifar")


def test_a_thin_network_by_name_says_that_it_is_drawn(tmp_path: Path) -> None:
    done = CliRunner().invoke(app, ["prune", "l1", "thinresnet20-w8", "--macs", "12%", "-o", str(tmp_path)])
    assert done.exit_code == 0, done.output
    assert "drawn from the random seed. Its pretrained weights: --pretrained" in done.output
    (folder,) = tmp_path.iterdir()
    assert read_network(folder).channels["conv1"] == 8  # inside the blocks alone
    refused = CliRunner().invoke(app, ["prune", "l1", "thinresnet20-w8", "--macs", "50%", "-o", str(tmp_path / "no")])
    assert "costs no more already" in str(refused.exception)
    assert not (tmp_path / "no").exists()


def test_classifiers_are_drawn_in_the_same_way(asked: list[str]) -> None:
    before = torch.random.get_rng_state()
    pretrained_weights(ARCH, 3)
    assert torch.equal(torch.random.get_rng_state(), before)
