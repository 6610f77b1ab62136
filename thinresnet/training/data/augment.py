"""From cropped and flipped images to what the network gets: everything that follows the crop, on the device.

Random numbers are drawn on the host, image by image (so that they do not depend on the device or on the number of
processes), sent at once, and applied in batches on the training device, which the host never waits for.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from thinresnet.policy import Policy
from thinresnet.recipe import Recipe
from thinresnet.training.data import policy_ops
from thinresnet.training.data.plan import Draws, Plan, mixed_seed
from thinresnet.training.data.transfer import constant, moved

IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)
_ERASE_ATTEMPTS = 10
_ERASE_AREA = (0.02, 1 / 3)
_ERASE_LOG_ASPECT = math.log(1 / 0.3)
_NOISE = 3


def on_device(policy: Policy | None) -> bool:
    """Whether this policy has batched operations here; the others need timm's, image by image."""
    return policy is None or policy.family == "ta_wide" or (policy.family == "rand" and not policy.operations)


@dataclass(frozen=True)
class Normalise:
    """uint8 (N, H, W, 3) to float (N, 3, H, W), minus the mean, over the deviation."""

    mean: tuple[float, ...]
    std: tuple[float, ...]
    channels_last: bool

    @classmethod
    def of(cls, recipe: Recipe) -> Normalise:
        """The recipe's own values, or ImageNet's as timm has it."""
        mean, std = recipe.mean or IMAGENET_MEAN, recipe.std or IMAGENET_STD
        return cls(mean * (3 // len(mean)), std * (3 // len(std)), bool(recipe.channels_last))

    def __call__(self, images: Tensor) -> Tensor:
        return self.planes(images.permute(0, 3, 1, 2).to(torch.float32))

    def planes(self, planes: Tensor) -> Tensor:
        """The same from float (N, 3, H, W) with values 0 to 255."""
        scale = constant(tuple(1 / (255 * value) for value in self.std), (3, 1, 1), planes.device)
        shifts = tuple(-mean / std for mean, std in zip(self.mean, self.std, strict=True))
        layout = torch.channels_last if self.channels_last else torch.contiguous_format
        shift = constant(shifts, (3, 1, 1), planes.device)
        return torch.addcmul(shift, planes, scale).contiguous(memory_format=layout)


@dataclass(frozen=True)
class Augment:
    """What follows the crop and the flip, in timm's order: policy or colour jitter, normalising, erasing."""

    recipe: Recipe
    plan: Plan
    normalise: Normalise
    policy: Policy | None
    jitter: float

    def __call__(self, images: Tensor, epoch: int, step: int, draws: Draws) -> Tensor:
        """`images` uint8 (N, H, W, 3) of this process; `draws` are the step's, after the crops were drawn."""
        planes = images.permute(0, 3, 1, 2).to(torch.float32)
        if self.policy:
            planes = planes.contiguous()
            choices = policy_ops.draw(self.policy, draws)
            # torchvision's policy has one filter for all images; its reference takes the bilinear one.
            either = self.policy.family == "ta_wide" and self.recipe.train_interpolation == "random"
            interpolation = "bilinear" if either else self.recipe.train_interpolation
            planes = policy_ops.apply_policy(planes, choices, self.normalise.mean, interpolation)
        elif self.jitter:
            orders = draws.uniform(3).argsort(1)
            drawn = draws.uniform(3)
            # Above 1 it is drawn from 0 to 1 + strength; up to 1 in the form that runs were trained with.
            factors = 1 + self.jitter * (2 * drawn - 1) if self.jitter <= 1 else (1 + self.jitter) * drawn
            planes = colour_jitter(planes.contiguous(), orders, factors)
        found = self.normalise.planes(planes)
        if self.recipe.reprob:
            self._erase(found, epoch, step, draws)
        return found

    def _erase(self, images: Tensor, epoch: int, step: int, draws: Draws) -> None:
        """Erase in place; noise is drawn on the device, step by step."""
        recipe, plan = self.recipe, self.plan
        drawn = draws.uniform(2 + recipe.recount * _ERASE_ATTEMPTS * 4)
        boxes = erase_boxes(drawn, images.shape[2], images.shape[3], recipe.reprob, recipe.recount)
        alone = len(images) if recipe.remode == "const" else max(1, len(images) // plan.together)
        for place in range(0, len(images), alone):
            noise = torch.Generator(images.device)
            number = step * plan.together + place // alone
            noise.manual_seed(mixed_seed(plan.seed, _NOISE, epoch, number, plan.process_index))
            erase(images[place : place + alone], boxes[place : place + alone], recipe.remode, noise)


def colour_jitter(images: Tensor, orders: Tensor, factors: Tensor) -> Tensor:
    """torchvision's brightness, contrast and saturation, in an order of its own for every image.

    `orders` (N, 3) says which comes first, second, third; `factors` (N, 3) how strong each of the three is; both are on
    the host.
    """
    blends = (policy_ops.brightness, policy_ops.contrast, policy_ops.colour)
    images = images.clone()
    chosen = [torch.nonzero(orders[:, place] == number)[:, 0] for place in range(3) for number in range(3)]
    amounts = [factors[rows, number % 3] for number, rows in enumerate(chosen)]
    there = moved(images.device, *chosen, *amounts)
    for number, (rows, amount) in enumerate(zip(there[:9], there[9:], strict=True)):
        if len(rows):
            images.index_copy_(0, rows, blends[number % 3](images.index_select(0, rows), amount))
    return images


def erase_boxes(drawn: Tensor, height: int, width: int, probability: float, most: int) -> Tensor:
    """Rectangles to erase (N, most, 4) as top, left, height, width by timm's rule; an unused one has no height."""
    chosen, number = drawn[:, 0] < probability, torch.floor(drawn[:, 1] * most) + 1
    area_draw, aspect_draw, top_draw, left_draw = drawn[:, 2:].view(len(drawn), most, _ERASE_ATTEMPTS, 4).unbind(3)
    low, high = _ERASE_AREA
    area = (low + (high - low) * area_draw) * height * width / number[:, None, None]
    aspect = torch.exp((2 * aspect_draw - 1) * _ERASE_LOG_ASPECT)
    heights, widths = torch.round(torch.sqrt(area * aspect)), torch.round(torch.sqrt(area / aspect))
    fits = (heights < height) & (widths < width)
    tops = torch.floor(top_draw * (height - heights + 1))
    lefts = torch.floor(left_draw * (width - widths + 1))
    tried = torch.stack([tops, lefts, heights, widths], 3)
    first = fits.to(torch.uint8).argmax(2)
    boxes = tried.gather(2, first[:, :, None, None].expand(-1, -1, 1, 4))[:, :, 0]
    used = fits.any(2) & chosen[:, None] & (torch.arange(most) < number[:, None])
    return torch.where(used[:, :, None], boxes, torch.zeros(4)).long()


def erase(images: Tensor, boxes: Tensor, mode: str, noise: torch.Generator) -> None:
    """Fill the boxes of normalised `images` in place: noise (pixel), one random colour (rand) or the mean (const)."""
    height, width = images.shape[2:]
    down = torch.arange(height, device=images.device)[None, :, None]
    across = torch.arange(width, device=images.device)[None, None, :]
    used = [torch.nonzero(boxes[:, number, 2])[:, 0] for number in range(boxes.shape[1])]
    used = [rows for rows in used if len(rows)]  # a first box comes before a second one
    there = moved(images.device, *used, *(boxes[rows, number] for number, rows in enumerate(used)))
    for rows, box in zip(there[: len(used)], there[len(used) :], strict=True):
        top, left, tall, wide = box[:, :, None, None].unbind(1)
        inside = (down >= top) & (down < top + tall) & (across >= left) & (across < left + wide)
        shape = (len(rows), 3, *((height, width) if mode == "pixel" else (1, 1)))
        fill = torch.zeros(shape, device=images.device)
        if mode != "const":
            fill.normal_(generator=noise)
        images.index_copy_(0, rows, torch.where(inside[:, None], fill, images.index_select(0, rows)))
