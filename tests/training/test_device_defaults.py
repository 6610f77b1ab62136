"""What a recipe leaves to the device: what it becomes there, what wins over that, and what is told of it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
import torch

from thinresnet.recipe import Recipe
from thinresnet.training import device_defaults
from thinresnet.training.device_defaults import chosen, compiled_if_long, on_device

CPU, CUDA = torch.device("cpu"), torch.device("cuda")
LONG = 10**14
INDUCTOR, GRAPHS = ("inductor", None), ("inductor", "reduce-overhead")


@pytest.fixture(autouse=True)
def card(monkeypatch: pytest.MonkeyPatch) -> Iterator[dict[str, Any]]:
    """A card with all that it may have."""
    has: dict[str, Any] = {"bfloat16": True, "capability": (9, 0), "triton": True}
    monkeypatch.delenv("ACCELERATE_MIXED_PRECISION", raising=False)
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda **_: has["bfloat16"])
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda *_: has["capability"])
    monkeypatch.setattr(device_defaults.importlib.util, "find_spec", lambda _: has["triton"] or None)
    monkeypatch.setattr(device_defaults.shutil, "which", lambda _: "a compiler")
    return has


def test_a_cpu_turns_nothing_on() -> None:
    found = on_device(Recipe(), CPU)
    assert (found.amp, found.channels_last) == (False, False)
    assert found.differing() == Recipe().differing() == {}


def test_cuda_has_bfloat16_and_channels_last() -> None:
    assert on_device(Recipe(), CUDA).differing() == {"amp": True, "amp_dtype": "bfloat16", "channels_last": True}


@pytest.mark.parametrize("device", [CPU, CUDA])
@pytest.mark.parametrize("amp", [False, True])
def test_what_a_recipe_says_wins(device: torch.device, amp: bool) -> None:
    recipe = Recipe(amp=amp, channels_last=not amp)
    assert on_device(recipe, device) == recipe


def test_a_card_without_bfloat16_trains_in_single_precision(card: dict[str, Any]) -> None:
    card["bfloat16"] = False
    assert on_device(Recipe(), CUDA).differing() == {"channels_last": True}


def test_what_accelerate_was_told_counts_as_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ACCELERATE_MIXED_PRECISION", "fp16")
    assert on_device(Recipe(), CUDA).amp is False
    monkeypatch.setenv("ACCELERATE_MIXED_PRECISION", "no")  # which accelerate launch sets where it is told nothing
    assert on_device(Recipe(), CUDA).amp is True


@pytest.mark.parametrize(
    ("changes", "place", "compiled"),
    [
        ({}, {}, GRAPHS),
        ({}, {"side": 64}, GRAPHS),
        ({}, {"side": 224}, INDUCTOR),
        ({}, {"processes": 8}, INDUCTOR),
        ({"grad_accum_steps": 2}, {}, INDUCTOR),
        ({"torchcompile_mode": "default"}, {}, ("inductor", "default")),
        ({"torchcompile": "eager"}, {}, ("eager", None)),
        ({"train_img_sizes": (16, 32)}, {}, (None, None)),
        ({"sync_bn": True}, {}, (None, None)),
        ({}, {"macs": 10**12}, (None, None)),
        ({}, {"device": torch.device("mps")}, (None, None)),
        ({}, {"device": CPU}, INDUCTOR),
        ({}, {"device": CPU, "processes": 2}, (None, None)),
    ],
)
def test_long_trainings_are_compiled(
    changes: dict[str, Any], place: dict[str, Any], compiled: tuple[str | None, str | None]
) -> None:
    place = {"macs": LONG, "side": 32, "device": CUDA, "processes": 1, **place}
    found = compiled_if_long(Recipe(**changes), place.pop("macs"), place.pop("side"), **place)
    assert (found.torchcompile, found.torchcompile_mode) == compiled


@pytest.mark.parametrize("lacks", [{"capability": (6, 1)}, {"triton": False}])
def test_what_cannot_be_compiled_for_is_not(lacks: dict[str, Any], card: dict[str, Any]) -> None:
    card.update(lacks)
    assert compiled_if_long(Recipe(), LONG, 32, device=CUDA, processes=1).torchcompile is None


def test_what_was_left_to_the_device_is_told_with_what_leaves_it_out() -> None:
    stated = Recipe()
    trained = compiled_if_long(on_device(stated, CUDA), LONG, 32, device=CUDA, processes=1)
    (line,) = chosen(stated, trained, fused=True)
    assert line.startswith(
        "by default here: bfloat16, channels-last, torch.compile (inductor, reduce-overhead), fused optimizer"
    )
    for flag in ("--no-amp", "--no-channels-last", "--torchcompile eager", "--opt-kwargs fused=False"):
        assert flag in line
    assert list(chosen(trained, trained, fused=False)) == []
    assert list(chosen(stated, on_device(stated, CPU), fused=False)) == []
