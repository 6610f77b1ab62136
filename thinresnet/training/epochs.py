"""A recipe over another number of epochs: its schedule stretched or compressed, so that it ends where training ends.

What a recipe tells in epochs or updates goes along in proportion: warm-up, cool-down, milestones, steps, the end of
mixing, the memory of the moving average; the shares of image sizes follow `epochs` by themselves. One function serves
Scratch-B, fine-tuning in studies, and the `epochs` of methods that train while pruning.
"""

from __future__ import annotations

import itertools
import math
from fractions import Fraction
from typing import Any

from thinresnet.errors import InputError
from thinresnet.recipe import Recipe


def over_epochs(recipe: Recipe, total_epochs: int) -> Recipe:
    """The recipe over so many epochs in all, warm-up and cool-down included.

    Epochs are rounded down, so a warm-up of less than one is left out. A schedule that is compressed moves with the
    updates, so that the last one is made near its end. Milestones that a short training cannot tell apart, or that fall
    into its first epoch, become as many steps of equal length: the last rate is reached all the same.
    """
    if total_epochs < 1:
        raise InputError(f"epochs: {total_epochs} make no training; give at least 1")
    if recipe.lr_cycle_limit > 1:
        raise InputError(
            f"lr_cycle_limit: a schedule of {recipe.lr_cycle_limit} cycles is not stretched to other epochs; give 1"
        )
    times = Fraction(total_epochs, recipe.total_epochs)
    if times == 1:
        return recipe

    def whole(epochs: int) -> int:
        return math.floor(epochs * times)

    warmup, cooldown = whole(recipe.warmup_epochs), whole(recipe.cooldown_epochs)
    return recipe.replace(
        epochs=total_epochs - (cooldown if recipe.cools_down else 0) - (warmup if recipe.warmup_prefix else 0),
        warmup_epochs=warmup,
        cooldown_epochs=cooldown,
        # Off from the first epoch on would be written as 0, which means never.
        mixup_off_epoch=max(1, whole(recipe.mixup_off_epoch)) if recipe.mixup_off_epoch else 0,
        # An average over a share of the training stays one over that share.
        model_ema_decay=recipe.model_ema_decay ** float(1 / times),
        **_steps(recipe, times, total_epochs),
    )


def _steps(recipe: Recipe, times: Fraction, total_epochs: int) -> dict[str, Any]:
    """What of the schedule is told in steps, and whether it moves with epochs or updates."""
    # timm steps one epoch before the number: 81 is after 80 epochs, and 80 is what goes along.
    milestones = tuple(max(0, math.floor((step - 1) * times) + 1) for step in recipe.decay_milestones)
    apart = all(later > earlier for earlier, later in itertools.pairwise(milestones))
    made = [step for step in recipe.decay_milestones if 1 < step <= recipe.total_epochs]
    if recipe.sched == "plateau":  # moves at the end of an epoch, whatever the length
        return {"patience_epochs": math.floor(recipe.patience_epochs * times)}
    share = recipe.sched in ("wsd", "rsqrt") and recipe.decay_epochs < 1  # of the schedule: goes along by itself
    found: dict[str, Any] = {"decay_epochs": recipe.decay_epochs * (1.0 if share else float(times))}
    if recipe.sched != "multistep":
        found["sched_on_updates"] = recipe.sched_on_updates or times < 1
        if apart:
            found["decay_milestones"] = milestones
    elif apart and (times > 1 or min(milestones) > 1 or not made):
        found["decay_milestones"] = milestones
    else:
        found |= {"sched": "step", "sched_on_updates": True, "decay_epochs": total_epochs / (len(made) + 1)}
    return found
