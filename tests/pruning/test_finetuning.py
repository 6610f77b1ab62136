"""Training while pruning: its rate, its schedule over other epochs, the end of mixing, and what it counts."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import torch

from thinresnet import recipe as recipes
from thinresnet.networks import build, scale
from thinresnet.progress import silent
from thinresnet.pruning.finetuning import FineTuning
from thinresnet.recipe import Recipe
from thinresnet.training.data import Data, open_data

NETWORK = scale("resnet20_cifar", depths=[1, 1, 1], width=0.25, input_size=(3, 8, 8), num_classes=10)
PER_EPOCH = 1437 // 256


@pytest.fixture(scope="module")
def digits() -> Iterator[tuple[Recipe, Data]]:
    recipe = recipes.load("digits", {"epochs": 10, "warmup_epochs": 4, "warmup_lr": 0.03, "batch_size": 256})
    with open_data(recipe, input_size=(3, 8, 8), device=torch.device("cpu")) as data:
        yield recipe, data


def trained(
    data: Data, recipe: Recipe, *, epochs: int | None = None, updates: int | None = None, lr: float | None = None
) -> tuple[FineTuning, list[float], torch.Tensor]:
    """After training: the rates of its updates, and a weight."""
    model = build(NETWORK, seed=0)
    tuning = FineTuning(model, recipe, data, epochs=epochs, updates=updates, lr=lr, progress=silent)
    rates = []
    for batches in tuning.batches():
        rates.append(tuning.rate)
        tuning.step(batches)
    return tuning, rates, model.get_parameter("conv1.weight").detach()


@pytest.mark.parametrize("sched", ["cosine", "multistep"])
def test_a_rate_of_its_own_is_the_rate_under_any_recipe(digits: tuple[Recipe, Data], sched: str) -> None:
    recipe, data = digits
    weights = []
    for lr in (0.0, 1e-6, 8e-4):
        _, rates, weight = trained(data, recipe.replace(sched=sched), updates=3, lr=lr)
        assert rates == [lr] * 3
        weights.append(weight)
    assert torch.equal(weights[0], build(NETWORK, seed=0).get_parameter("conv1.weight"))
    assert not torch.equal(weights[0], weights[1])
    assert not torch.equal(weights[1], weights[2])


def test_fewer_epochs_compress_the_schedule(digits: tuple[Recipe, Data]) -> None:
    recipe, data = digits
    tuning, rates, _ = trained(data, recipe, epochs=1)
    assert (tuning.updates, sum(tuning.images_at.values())) == (PER_EPOCH, PER_EPOCH * 256)
    assert rates[0] == recipe.learning_rate(1)
    assert rates[-1] < 0.2 * rates[0]


def test_mixing_ends_where_the_recipe_says(digits: tuple[Recipe, Data]) -> None:
    recipe, data = digits
    mixing = recipe.replace(epochs=2, warmup_epochs=0, mixup=1.0, mixup_off_epoch=1)
    tuning = FineTuning(
        build(NETWORK, seed=0), mixing, data, epochs=None, updates=None, lr=None, progress=silent
    )  # fmt: skip
    assert tuning._mixup is not None
    on = []
    for batches in tuning.batches():
        on.append(bool(tuning._mixup.mixup_enabled))
        tuning.step(batches)
    assert on == [True] * PER_EPOCH + [False] * PER_EPOCH


def test_image_sizes_go_along(digits: tuple[Recipe, Data]) -> None:
    """Cut off after one of three epochs, all images would have been small."""
    recipe = digits[0].replace(
        epochs=9, warmup_epochs=0, img_size=8, train_img_sizes=(4, 8), train_size_schedule="progressive",
        train_size_random_mix=0.0, crop_padding=0, batch_size=256,
    )  # fmt: skip
    with open_data(recipe, input_size=(3, 8, 8), device=torch.device("cpu")) as data:
        tuning, _, _ = trained(data, recipe, epochs=3)
        assert set(tuning.images_at) == {4, 8}
