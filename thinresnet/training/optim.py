"""From a recipe to what updates the weights: optimizer, schedule, mixup, loss, clipping, moving average.

All of it is timm's own, made by timm's factories, so that a recipe means here what it means under timm's train.py. The
schedule is a function of the epoch and of the number of updates alone: nothing of it has to be saved. `plateau` alone
follows the training loss, and is led again through the losses of a run that resumes.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterable
from dataclasses import replace
from typing import Any

import torch
from timm.data import Mixup
from timm.loss import BinaryCrossEntropy, JsdCrossEntropy, LabelSmoothingCrossEntropy, SoftTargetCrossEntropy
from timm.models import model_parameters
from timm.optim import create_optimizer_v2, optimizer_kwargs, param_groups_weight_decay
from timm.scheduler import PlateauLRScheduler, create_scheduler_v2, scheduler_kwargs
from timm.scheduler.scheduler import Scheduler
from timm.utils import ModelEmaV3
from timm.utils.clip_grad import dispatch_clip_grad
from torch import Tensor, nn

from thinresnet.errors import InputError
from thinresnet.recipe import Recipe

# Of these torch has a kernel that updates all weights at once, with the same arithmetic up to rounding.
_FUSED = (torch.optim.SGD, torch.optim.Adam, torch.optim.AdamW)


def build_optimizer(recipe: Recipe, model: nn.Module, processes: int, *, fused: bool = False) -> torch.optim.Optimizer:
    """timm's optimizer; biases and norms are not decayed unless `opt_kwargs` has `filter_bias_and_bn: false`.

    `weight_decay_also` names those that are decayed all the same. `fused`: in one kernel, where torch has one for it
    and `opt_kwargs` says nothing of it.
    """
    found = _build_optimizer(recipe, model, processes)
    if not fused or type(found) not in _FUSED or {"fused", "foreach"} & set(recipe.opt_kwargs):
        return found
    return _build_optimizer(recipe.replace(opt_kwargs={**recipe.opt_kwargs, "fused": True}), model, processes)


def fuses(recipe: Recipe, device: torch.device) -> bool:
    """Whether training on this device updates all weights in one kernel."""
    if device.type != "cuda":
        return False
    tried = build_optimizer(recipe, nn.Linear(1, 1), 1, fused=True)
    return any(group.get("fused") for group in tried.param_groups)


def _build_optimizer(recipe: Recipe, model: nn.Module, processes: int) -> torch.optim.Optimizer:
    settings = replace(recipe, lr=recipe.learning_rate(processes))
    kwargs: dict[str, Any] = {**optimizer_kwargs(cfg=settings), **recipe.opt_kwargs}
    if recipe.weight_decay_also is not None:
        groups = param_groups_weight_decay(
            model, recipe.weight_decay, weight_decay_exclude_1d=False, no_weight_decay_list=_undecayed(recipe, model)
        )
        kwargs["param_group_fn"] = lambda _: groups
    try:
        return create_optimizer_v2(model, **kwargs)
    except (TypeError, ValueError, AssertionError) as error:
        raise InputError(f"opt {recipe.opt} with opt_kwargs {recipe.opt_kwargs} cannot be made: {error}") from error


def build_schedule(
    recipe: Recipe, optimizer: torch.optim.Optimizer, updates_per_epoch: int
) -> tuple[Scheduler | None, int]:
    """timm's schedule and the number of epochs to train, cooldown (and warm-up, where it comes on top) included."""
    kwargs = scheduler_kwargs(recipe, decreasing_metric=True)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", FutureWarning)  # of plateau, whose state timm does not keep
            schedule, epochs = create_scheduler_v2(optimizer, **kwargs, updates_per_epoch=updates_per_epoch)
    except ValueError as error:
        raise InputError(f"sched {recipe.sched}: {error}") from error
    return schedule, int(epochs)


def set_rate(schedule: Scheduler | None, epoch: int, updates: int) -> None:
    """Give the optimizer the rate of the update to come: `updates` were made before it, in epochs 0 … `epoch`."""
    if schedule is not None and not isinstance(schedule, PlateauLRScheduler):
        schedule.step(epoch)
        schedule.step_update(updates)


def end_epoch(schedule: Scheduler | None, epochs: int, train_loss: float) -> None:
    """Tell a schedule that follows the training loss of the mean of it over the last of so many epochs."""
    if isinstance(schedule, PlateauLRScheduler):
        schedule.step(epochs, train_loss)


def build_mixup(recipe: Recipe, classes: int) -> Mixup | None:
    """timm's mixup and cutmix, which also smooth the labels; None where the recipe has neither."""
    if not recipe.mixes:
        return None
    return Mixup(
        mixup_alpha=recipe.mixup,
        cutmix_alpha=recipe.cutmix,
        cutmix_minmax=recipe.cutmix_minmax,
        prob=recipe.mixup_prob,
        switch_prob=recipe.mixup_switch_prob,
        mode=recipe.mixup_mode,
        label_smoothing=recipe.smoothing,
        num_classes=classes,
    )


def set_mixing(mixup: Mixup | None, recipe: Recipe, epoch: int) -> None:
    """Mix in this epoch, or not any more."""
    if mixup is not None:
        mixup.mixup_enabled = not recipe.mixup_off_epoch or epoch < recipe.mixup_off_epoch


def build_loss(recipe: Recipe) -> nn.Module:
    """Cross-entropy or binary cross-entropy, with the labels smoothed here unless mixup has done it."""
    if recipe.jsd_loss:
        loss: nn.Module = JsdCrossEntropy(num_splits=recipe.aug_splits, smoothing=recipe.smoothing)
    elif recipe.bce_loss:
        loss = BinaryCrossEntropy(
            recipe.smoothing,
            target_threshold=recipe.bce_target_thresh,
            sum_classes=recipe.bce_sum,
            pos_weight=recipe.bce_pos_weight,
        )
    elif recipe.mixes:
        loss = SoftTargetCrossEntropy()
    else:
        loss = LabelSmoothingCrossEntropy(recipe.smoothing) if recipe.smoothing else nn.CrossEntropyLoss()
    return loss


class Average(ModelEmaV3):
    """timm's moving average, which finds the tensors of both networks once instead of at every update."""

    _pairs: tuple[tuple[list[Tensor], list[Tensor]], tuple[list[Tensor], list[Tensor]]] | None = None

    def apply_update_(self, model: nn.Module, decay: float) -> None:
        """Numbers move towards the network's; counts are copied."""
        if self._pairs is None:
            pairs = list(zip(self.module.state_dict().values(), model.state_dict().values(), strict=True))
            moving, copied = (
                ([own for own, _ in chosen], [other for _, other in chosen])
                for chosen in (
                    [pair for pair in pairs if pair[0].is_floating_point()],
                    [pair for pair in pairs if not pair[0].is_floating_point()],
                )
            )
            self._pairs = moving, copied
        self._foreach_lerp_(*self._pairs[0], weight=1.0 - decay)
        if self._pairs[1][0]:
            torch._foreach_copy_(*self._pairs[1])


def _undecayed(recipe: Recipe, model: nn.Module) -> list[str]:
    """Names of the norms and biases without those that `weight_decay_also` names; another network may have none."""
    known = set(getattr(model, "no_weight_decay", set)())
    small = [name for name, parameter in model.named_parameters() if parameter.ndim <= 1 or name in known]
    also = recipe.weight_decay_also or ()
    return [name for name in small if not any(part in name for part in also)]


def build_ema(recipe: Recipe, model: nn.Module) -> ModelEmaV3 | None:
    """The moving average of weights and buffers, on the training device; None where the recipe keeps none."""
    if not recipe.model_ema:
        return None
    return Average(model, decay=recipe.model_ema_decay, use_warmup=recipe.model_ema_warmup)


def clip(recipe: Recipe, model: nn.Module) -> None:
    """Clip the gradients in place as the recipe says: by norm, by value, or adaptively (which leaves out the head)."""
    if recipe.clip_grad is not None:
        parameters: Iterable[nn.Parameter] = model_parameters(model, exclude_head=recipe.clip_mode == "agc")
        dispatch_clip_grad(parameters, recipe.clip_grad, mode=recipe.clip_mode)
