"""The random crops and flips of a step, drawn alike for every loader that cuts its own images."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from thinresnet.recipe import Recipe
from thinresnet.training.data.plan import Plan
from thinresnet.training.data.resample import CROP_DRAWS, random_boxes


@dataclass(frozen=True)
class Crops:
    """What is cut out of each image of this process (N): a shift within the padding, or a box; and whether to flip."""

    flips: Tensor
    cubic: Tensor
    shifts: Tensor | None
    boxes: Tensor | None


def draw_crops(recipe: Recipe, plan: Plan, generator: torch.Generator, heights: Tensor, widths: Tensor) -> Crops:
    """Draw for the whole step; `heights` and `widths` (N) are those of this process's images."""
    flip, cubic = plan.own(torch.rand(plan.global_batch, 2, generator=generator)).unbind(1)
    flips = flip < recipe.hflip
    cubic = cubic < 0.5 if recipe.train_interpolation == "random" else cubic < (recipe.train_interpolation == "bicubic")
    if recipe.crop_padding:
        shifts = torch.randint(2 * recipe.crop_padding + 1, (plan.global_batch, 2), generator=generator)
        return Crops(flips, cubic, plan.own(shifts), None)
    drawn = plan.own(torch.rand(plan.global_batch, CROP_DRAWS, generator=generator))
    return Crops(flips, cubic, None, random_boxes(drawn, heights, widths, recipe.scale, recipe.ratio))
