"""What the fields of a recipe say together, which no field can say alone. Standard library only."""

from __future__ import annotations

import itertools
from typing import Any

from thinresnet.errors import InputError


def check_together(recipe: Any) -> None:
    """Refuse values of a recipe that contradict each other; its fields are checked already."""
    _check_ranges(recipe)
    _check_schedule(recipe)
    _check_sizes(recipe)
    _check_splits(recipe)
    _check_mixing(recipe)
    _check_optimizer(recipe)


def _check_ranges(recipe: Any) -> None:
    for name in ("scale", "ratio", "cutmix_minmax", "lr_noise"):
        values: tuple[float, ...] = getattr(recipe, name) or ()
        if len(values) == 2 and values[0] > values[1]:
            raise InputError(f"{name}: the first value is at most the second, got {values[0]:g} {values[1]:g}")
    for name in ("mean", "std"):
        if len(getattr(recipe, name) or (0,)) == 2:
            raise InputError(f"{name}: takes 1 or 3 values, got 2")
    if recipe.crop_padding and (recipe.no_aug or recipe.train_crop_mode):
        other = "no_aug" if recipe.no_aug else f"train_crop_mode {recipe.train_crop_mode}"
        raise InputError(f"crop_padding: is a way to crop, and {other} is another; leave one out")


def _check_schedule(recipe: Any) -> None:
    steps = recipe.decay_milestones
    if any(later <= earlier for earlier, later in itertools.pairwise(steps)):
        raise InputError(f"decay_milestones: must increase, got {' '.join(map(str, steps))}")
    if not recipe.warmup_prefix and recipe.warmup_epochs > recipe.epochs:
        raise InputError(
            f"warmup_epochs: {recipe.warmup_epochs} are more than epochs ({recipe.epochs}); set warmup_epochs too, or "
            "warmup_prefix to warm up before them"
        )
    if recipe.sched == "plateau" and recipe.sched_on_updates:
        raise InputError("sched: plateau moves at the end of an epoch; leave out sched_on_updates")
    if recipe.sched == "plateau" and recipe.decay_rate >= 1:
        raise InputError(f"decay_rate: is below 1 with sched plateau, got {recipe.decay_rate:g}")


def _check_sizes(recipe: Any) -> None:
    sizes, shares = recipe.train_img_sizes or (), recipe.train_size_probs
    if recipe.train_size_schedule == "progressive" and len(sizes) < 2:
        raise InputError("train_size_schedule: progressive needs two or more train_img_sizes")
    if shares is not None and (len(shares) != len(sizes) or not sum(shares)):
        raise InputError(
            f"train_size_probs: one share for each of train_img_sizes ({len(sizes)}), not all 0; got {len(shares)}"
        )


def _check_splits(recipe: Any) -> None:
    if recipe.aug_splits == 1:
        raise InputError("aug_splits: takes 0 or at least 2, got 1")
    for name in ("jsd_loss", "split_bn", "resplit"):
        if getattr(recipe, name) and not recipe.aug_splits:
            raise InputError(f"{name}: is about the versions of an image; give aug_splits too, such as 3")
    if not recipe.aug_splits:
        return
    if recipe.mixes or recipe.no_aug:
        other = "no_aug" if recipe.no_aug else "mixup and cutmix"
        raise InputError(
            f"aug_splits: the versions of an image are compared, and {other} would undo that; leave it out"
        )
    if recipe.split_bn and recipe.sync_bn:
        raise InputError("split_bn: timm has no batch norm that is both split and synchronised; leave out sync_bn")


def _check_mixing(recipe: Any) -> None:
    if recipe.mixes and recipe.batch_size % 2:
        raise InputError(
            f"batch_size: mixup and cutmix mix pairs, so it is even; got {recipe.batch_size}, give "
            f"{recipe.batch_size + 1}"
        )
    weights = [name for name in ("task_loss_weight", "distill_loss_weight") if getattr(recipe, name) is not None]
    if weights and recipe.distill_alpha != 0.9:
        raise InputError(f"distill_alpha: weighs both losses, and so does {weights[0]}; leave one out")
    if weights == ["task_loss_weight"] and recipe.task_loss_weight > 1:
        raise InputError(
            f"task_loss_weight: alone it leaves the rest of 1 to the teacher, so at most 1, got "
            f"{recipe.task_loss_weight:g}; give distill_loss_weight too"
        )
    if recipe.distill_loss_weight == 0 == recipe.task_loss_weight:
        raise InputError("distill_loss_weight: both it and task_loss_weight are 0; nothing would be learned")


def _check_optimizer(recipe: Any) -> None:
    if "adahessian" in recipe.opt.lower():
        raise InputError(
            f"opt: {recipe.opt} needs the second derivatives of the loss, which training here does not compute; "
            "use another, such as adamw or lamb"
        )
    if recipe.weight_decay_also is not None:
        if recipe.layer_decay is not None:
            raise InputError("weight_decay_also: is not known together with layer_decay; leave one out")
        if not recipe.opt_kwargs.get("filter_bias_and_bn", True):
            raise InputError(
                "weight_decay_also: with opt_kwargs filter_bias_and_bn=false all are decayed; leave it out"
            )
