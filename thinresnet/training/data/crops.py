"""The random crops and flips of a step, drawn alike for every loader that cuts its own images."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from thinresnet.recipe import Recipe
from thinresnet.training.data.plan import Draws, Plan
from thinresnet.training.data.resample import CROP_DRAWS, random_boxes


@dataclass(frozen=True)
class Crops:
    """What is cut out of each image of this process (N): a shift within the padding, or a box; and whether to flip."""

    flips: Tensor
    cubic: Tensor
    shifts: Tensor | None
    boxes: Tensor | None


def draw_crops(recipe: Recipe, plan: Plan, draws: Draws, heights: Tensor, widths: Tensor) -> Crops:
    """Draw for the images of this process, whose `heights` and `widths` (N) these are."""
    flip, cubic = draws.uniform(2).unbind(1)
    flips = flip < recipe.hflip
    cubic = cubic < 0.5 if recipe.train_interpolation == "random" else cubic < (recipe.train_interpolation == "bicubic")
    if recipe.crop_padding:
        return Crops(flips, cubic, draws.integers(2 * recipe.crop_padding + 1, 2), None)
    boxes = random_boxes(draws.uniform(CROP_DRAWS), heights, widths, recipe.scale, recipe.ratio)
    return Crops(flips, cubic, None, boxes)
