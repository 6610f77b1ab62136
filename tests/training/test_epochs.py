"""A recipe over other epochs: everything that is told in epochs goes along, and the last rate is the schedule's."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from thinresnet import recipe as recipes
from thinresnet.errors import InputError
from thinresnet.recipe import Recipe
from thinresnet.training import optim
from thinresnet.training.epochs import over_epochs
from thinresnet.training.loop import seed_update

PER_EPOCH = 10


def rates(recipe: Recipe) -> list[float]:
    """The rate of every update."""
    optimizer = optim.build_optimizer(recipe, nn.Linear(2, 2), 1)
    schedule, epochs = optim.build_schedule(recipe, optimizer, PER_EPOCH)
    assert epochs == recipe.total_epochs
    found = []
    for updates in range(epochs * PER_EPOCH):
        optim.set_rate(schedule, updates // PER_EPOCH, updates)
        found.append(optimizer.param_groups[0]["lr"])
    return found


def test_a_modern_schedule_is_stretched_as_a_whole() -> None:
    modern = recipes.load("cifar-modern", {"mixup_off_epoch": 250, "cooldown_epochs": 10})
    longer = over_epochs(modern, 465)  # 310 with the cool-down, half as much again
    assert (longer.epochs, longer.warmup_epochs, longer.cooldown_epochs) == (450, 7, 15)
    assert longer.mixup_off_epoch == 375
    # What is left of an image's weight after a share of the training is the same.
    assert math.isclose(longer.model_ema_decay**1500, modern.model_ema_decay**1000)
    prefixed = recipes.load("imagenet-torchvision-v2")
    assert (prefixed.total_epochs, over_epochs(prefixed, 1200).total_epochs) == (600, 1200)
    assert (over_epochs(prefixed, 1200).epochs, over_epochs(prefixed, 1200).warmup_epochs) == (1190, 10)
    assert over_epochs(recipes.load("imagenet-classic"), 180).decay_epochs == 60


def test_a_schedule_is_compressed_as_a_whole() -> None:
    modern = recipes.load("cifar-modern", {"mixup_off_epoch": 250, "cooldown_epochs": 10})
    shorter = over_epochs(modern, 62)  # a fifth
    assert (shorter.epochs, shorter.warmup_epochs, shorter.cooldown_epochs) == (60, 1, 2)
    assert (shorter.mixup_off_epoch, over_epochs(modern, 1).mixup_off_epoch) == (50, 1)
    assert over_epochs(recipes.load("imagenet-classic"), 30).decay_epochs == 10
    assert over_epochs(recipes.load("cifar-classic-160"), 40).decay_milestones == (21, 31)


@pytest.mark.parametrize("epochs", [1, 2, 3, 5, 20])
@pytest.mark.parametrize("name", [name for name in recipes.names() if not name.endswith("-finetune")])  # constant
def test_training_ends_where_the_schedule_ends(name: str, epochs: int) -> None:
    """Cut off after so many epochs, the rate was that of the warm-up or of the peak."""
    recipe = over_epochs(recipes.load(name), epochs)
    found = rates(recipe)
    assert recipe.total_epochs == epochs
    # Steps have all been made; a straight line is one update from its end.
    stepped = {"cifar-classic-160": 0.0101, "cifar-classic-200": 0.0081, "imagenet-classic": 0.0101}
    assert found[-1] <= stepped.get(name, 1.2 / len(found)) * recipe.learning_rate(1)
    assert max(found) > 0.9 * recipe.learning_rate(1)


def test_milestones_that_a_short_training_cannot_tell_apart_are_all_made() -> None:
    classic = recipes.load("cifar-classic-160")
    found = rates(over_epochs(classic, 1))
    assert found == pytest.approx([0.1] * 4 + [0.01] * 3 + [0.001] * 3, rel=1e-6)


@settings(max_examples=60, deadline=None)
@given(
    epochs=st.integers(1, 400),
    total=st.integers(1, 900),
    warmup=st.integers(0, 20),
    cooldown=st.integers(0, 20),
    prefix=st.booleans(),
    sched=st.sampled_from(["cosine", "multistep", "step"]),
)
def test_the_total_is_what_was_asked_for(
    epochs: int, total: int, warmup: int, cooldown: int, prefix: bool, sched: str
) -> None:
    values: dict[str, Any] = {"warmup_epochs": min(warmup, epochs), "warmup_prefix": prefix, "sched": sched}
    recipe = Recipe(epochs=epochs, cooldown_epochs=cooldown, decay_milestones=(0, 1, 2, 300), **values)
    assert over_epochs(recipe, recipe.total_epochs) == recipe
    assert over_epochs(recipe, total).total_epochs == total


def test_no_epochs_are_no_training() -> None:
    with pytest.raises(InputError, match="0 make no training"):
        over_epochs(recipes.load("digits"), 0)


def test_mixing_ends() -> None:
    recipe = recipes.load("cifar-modern", {"mixup_off_epoch": 2})
    mixup = optim.build_mixup(recipe, 10)
    assert mixup is not None
    images, targets = torch.rand(8, 3, 4, 4), torch.arange(8)
    for epoch, mixed in ((1, True), (2, False)):
        optim.set_mixing(mixup, recipe, epoch)
        seed_update(1, 2, 3, 0)
        assert torch.equal(mixup(images.clone(), targets)[0], images) is not mixed


def test_a_plateau_keeps_moving_with_epochs_and_a_share_stays_one() -> None:
    half = over_epochs(Recipe(sched="plateau", epochs=20, patience_epochs=4, warmup_epochs=2), 10)
    assert (half.epochs, half.patience_epochs, half.sched_on_updates) == (10, 2, False)
    assert over_epochs(Recipe(sched="wsd", epochs=20, decay_epochs=0.25, warmup_epochs=2), 10).decay_epochs == 0.25
    assert over_epochs(Recipe(sched="wsd", epochs=20, decay_epochs=8.0, warmup_epochs=2), 10).decay_epochs == 4.0


def test_a_cool_down_of_a_schedule_without_an_end_takes_no_epochs() -> None:
    recipe = over_epochs(Recipe(sched="step", epochs=20, cooldown_epochs=10, warmup_epochs=2), 10)
    assert (recipe.epochs, recipe.total_epochs) == (10, 10)


def test_cycles_are_not_stretched() -> None:
    with pytest.raises(InputError, match="lr_cycle_limit: a schedule of 3 cycles is not stretched"):
        over_epochs(Recipe(epochs=20, lr_cycle_limit=3), 30)
