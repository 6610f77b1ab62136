"""How long a pruned shape trains from scratch: Scratch-E and Scratch-B of Liu et al. (arXiv:1810.05270).

Scratch-E is the dense network's recipe as it is. Scratch-B trains for as much computation as the dense network took:
dense MACs / MACs times the epochs, rounded down. Their code for CIFAR goes as far as that takes, their code for L1 and
ThiNet on ImageNet to twice the epochs at most: that is `cap`. What a recipe tells in epochs or updates goes along:
milestones, steps, warm-up, cool-down, the end of mixing, the memory of the moving average. Schedules without steps
follow the epochs by themselves.
"""

from __future__ import annotations

import math
from fractions import Fraction

from thinresnet.budget import short
from thinresnet.errors import InputError
from thinresnet.recipe import Recipe


def scratch_b_epochs(epochs: int, *, dense_macs: int, macs: int, cap: int | None = None) -> int:
    """The epochs in which a network of `macs` computes what one of `dense_macs` does in `epochs`."""
    if not 0 < macs <= dense_macs:
        raise InputError(
            f"scratch-b: the network has {short(macs)} MACs, the dense one {short(dense_macs)}: it is for smaller ones"
        )
    equal = epochs * dense_macs // macs
    return equal if cap is None else min(equal, cap * epochs)


def scratch_b(recipe: Recipe, *, dense_macs: int, macs: int, cap: int | None = None) -> Recipe:
    """The dense network's recipe, stretched for a network of `macs`."""
    return stretched(recipe, scratch_b_epochs(recipe.total_epochs, dense_macs=dense_macs, macs=macs, cap=cap))


def stretched(recipe: Recipe, total_epochs: int) -> Recipe:
    """The recipe over so many epochs, warm-up and cool-down included; at least as many as it has."""
    if total_epochs < recipe.total_epochs:
        raise InputError(f"epochs: {total_epochs} are less than the recipe's {recipe.total_epochs}; it only stretches")
    longer = Fraction(total_epochs, recipe.total_epochs)

    def whole(epochs: int) -> int:
        return math.floor(epochs * longer)

    warmup, cooldown = whole(recipe.warmup_epochs), whole(recipe.cooldown_epochs)
    return recipe.replace(
        epochs=total_epochs - cooldown - (warmup if recipe.warmup_prefix else 0),
        warmup_epochs=warmup,
        cooldown_epochs=cooldown,
        decay_epochs=recipe.decay_epochs * float(longer),
        # timm steps one epoch before the number: 81 is after 80 epochs, and 80 is what is stretched.
        decay_milestones=tuple(max(0, math.floor((step - 1) * longer) + 1) for step in recipe.decay_milestones),
        mixup_off_epoch=whole(recipe.mixup_off_epoch),
        # An average over a share of the training stays one over that share.
        model_ema_decay=recipe.model_ema_decay ** float(1 / longer),
    )
