"""How long a pruned shape trains from scratch: Scratch-E and Scratch-B of Liu et al. (arXiv:1810.05270).

Scratch-E is the dense network's recipe as it is. Scratch-B trains for as much computation as the dense network took:
dense MACs / MACs times the epochs, rounded down. Their code for CIFAR goes as far as that takes, their code for L1 and
ThiNet on ImageNet to twice the epochs at most: that is `cap`. The recipe's schedule is stretched with it.

Equal totals are this project's: what a total of training MACs leaves after the dense parent and the search, in epochs.
"""

from __future__ import annotations

from fractions import Fraction

from thinresnet.budget import short
from thinresnet.errors import InputError
from thinresnet.recipe import Recipe
from thinresnet.training.epochs import over_epochs


def scratch_b_epochs(epochs: int, *, dense_macs: int, macs: int, cap: int | None = None) -> int:
    """The epochs in which a network of `macs` computes what one of `dense_macs` does in `epochs`."""
    if not 0 < macs <= dense_macs:
        raise InputError(
            f"scratch-b: the network has {short(macs)} MACs, the dense one {short(dense_macs)}: it is for smaller ones"
        )
    equal = epochs * dense_macs // macs
    return equal if cap is None else min(equal, cap * epochs)


def epochs_left(total: int, spent: int, epoch: Fraction) -> int:
    """The whole epochs, of so many training MACs each, that a total leaves after what was spent before."""
    epochs = int((total - spent) // epoch)
    if epochs < 1:
        raise InputError(
            f"total_training: {short(total)} MACs, of which the dense parent and the search take {short(spent)}: less "
            f"than an epoch is left ({short(round(epoch))}); raise it, or leave the equal totals out of the "
            "method's `protocols`"
        )
    return epochs


def scratch_b(recipe: Recipe, *, dense_macs: int, macs: int, cap: int | None = None) -> Recipe:
    """The dense network's recipe, stretched for a network of `macs`."""
    return over_epochs(recipe, scratch_b_epochs(recipe.total_epochs, dense_macs=dense_macs, macs=macs, cap=cap))
