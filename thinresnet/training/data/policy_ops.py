"""RandAugment and TrivialAugment for whole batches, on the device that the images lie on.

The operations are those of timm (which calls Pillow) and agree with Pillow's arithmetic, rounding included; the ranges
are timm's for `rand-…` and torchvision's for `ta_wide`. Images are float (N, 3, H, W) with whole values 0 to 255.
Every image of a batch gets its own operations, drawn on the host; those that share one are handled together.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from thinresnet.policy import Policy
from thinresnet.training.data.plan import Draws
from thinresnet.training.data.transfer import constant
from thinresnet.training.data.transfer import moved as to_device

# timm: a magnitude of 10 is the whole range.
_WHOLE = 10.0
_TRIVIAL_BINS = 31
_LAST_BITS = 1e-3

Operation = Callable[[Tensor, Tensor], Tensor]
Value = Callable[[Tensor, Tensor, int], Tensor]


@dataclass(frozen=True)
class Geometry:
    """An operation that moves pixels: from its value and the image side to the matrix of `affine`."""

    matrix: Callable[[Tensor, int], Tensor]


@dataclass(frozen=True)
class Step:
    """An operation of a layer on some of the images, all on their device."""

    operation: Operation
    rows: Tensor
    amounts: Tensor


def apply_policy(images: Tensor, choices: Choices, mean: tuple[float, ...], interpolation: str) -> Tensor:
    """The images after the chosen operations. `interpolation` is bilinear, bicubic or random (either, by draw).

    Which images an operation is for is known on the host: nothing is read back from the device.
    """
    fill = (0.0,) * 3 if choices.table is _TRIVIAL else tuple(float(min(255, round(255 * value))) for value in mean)
    images = images.clone()
    for step in _steps(choices, images.shape[-1], fill, interpolation, images.device):
        changed = step.operation(images.index_select(0, step.rows), step.amounts)
        images.index_copy_(0, step.rows, changed)
    return images


def _steps(
    choices: Choices, side: int, fill: tuple[float, ...], interpolation: str, device: torch.device
) -> Iterator[Step]:
    """What is to be done, in order; sent to the device at once."""
    found: list[tuple[Operation, Tensor, Tensor]] = []
    for layer in choices.layers:
        matrices = torch.zeros(len(layer.operation), 6)
        moved = torch.zeros(len(layer.operation), dtype=torch.bool)
        for number, (operation, value) in enumerate(choices.table):
            rows = torch.nonzero((layer.operation == number) & layer.applied)[:, 0]
            if len(rows) == 0 or operation is None:
                continue
            amounts = value(layer.level[rows], layer.sign[rows], side).float()
            if isinstance(operation, Geometry):
                matrices[rows], moved[rows] = operation.matrix(amounts, side), True
            else:
                found.append((operation, rows, amounts))
        cubic = layer.cubic if interpolation == "random" else torch.full_like(layer.cubic, interpolation == "bicubic")
        for chosen, lookup in ((moved & ~cubic, _linear), (moved & cubic, _cubic)):
            if len(rows := torch.nonzero(chosen)[:, 0]):
                found.append((functools.partial(affine, fill=fill, lookup=lookup), rows, matrices[rows]))
    there = to_device(device, *(part for _, *parts in found for part in parts))
    for place, (operation, _, _) in enumerate(found):
        yield Step(operation, there[2 * place], there[2 * place + 1])


@dataclass(frozen=True)
class Layer:
    """What is drawn for each image of a batch (N) in one layer of a policy; on the CPU."""

    operation: Tensor
    applied: Tensor
    level: Tensor
    sign: Tensor
    cubic: Tensor


@dataclass(frozen=True)
class Choices:
    """A policy's draws for one batch, and the table that they index."""

    table: list[tuple[Operation | Geometry | None, Value]]
    layers: tuple[Layer, ...]


def draw(policy: Policy, draws: Draws) -> Choices:
    """Draw a policy's operations for the images of `draws`."""
    if policy.family == "ta_wide":
        bins = draws.integers(_TRIVIAL_BINS, 1)[:, 0] / (_TRIVIAL_BINS - 1)
        return Choices(_TRIVIAL, (_layer(len(_TRIVIAL), 1.0, bins, draws),))
    table = _RAND_INCREASING if policy.increasing else _RAND
    layers = []
    for _ in range(policy.layers):
        if math.isinf(policy.magnitude_std):
            level = policy.magnitude * draws.uniform(1)[:, 0]
        elif policy.magnitude_std:
            level = policy.magnitude + policy.magnitude_std * draws.normal()
        else:
            level = torch.full((draws.count,), policy.magnitude)
        layers.append(_layer(len(table), policy.probability, level.clamp(0, policy.magnitude_max), draws))
    return Choices(table, tuple(layers))


def _layer(operations: int, probability: float, level: Tensor, draws: Draws) -> Layer:
    applied, sign, cubic, operation = draws.uniform(4).unbind(1)
    return Layer(
        operation=(operation * operations).long(),
        applied=applied < probability,
        level=level,
        sign=torch.where(sign < 0.5, -1.0, 1.0),
        cubic=cubic < 0.5,
    )


def brightness(images: Tensor, factor: Tensor) -> Tensor:
    """Pillow's brightness: away from black by `factor` (N)."""
    return _blend(torch.zeros_like(images), images, factor)


def contrast(images: Tensor, factor: Tensor) -> Tensor:
    """Pillow's contrast: away from the mean grey of each image."""
    grey = torch.floor(_grey(images).mean((1, 2, 3), keepdim=True) + 0.5)
    return _blend(grey.expand_as(images), images, factor)


def colour(images: Tensor, factor: Tensor) -> Tensor:
    """Pillow's colour (saturation): away from the grey image."""
    return _blend(_grey(images).expand_as(images), images, factor)


def sharpness(images: Tensor, factor: Tensor) -> Tensor:
    """Pillow's sharpness: away from the smoothed image, whose border stays as it is."""
    smooth = images.clone()
    if min(images.shape[2:]) > 2:
        kernel = constant((1.0, 1.0, 1.0, 1.0, 5.0, 1.0, 1.0, 1.0, 1.0) * 3, (3, 1, 3, 3), images.device)
        inner = torch.nn.functional.conv2d(images, kernel, groups=3) / 13
        smooth[:, :, 1:-1, 1:-1] = torch.floor(inner + 0.5)
    return _blend(smooth, images, factor)


def autocontrast(images: Tensor) -> Tensor:
    """Each channel stretched to 0 to 255."""
    low, high = images.amin((2, 3), keepdim=True), images.amax((2, 3), keepdim=True)
    if images.device.type == "mps":  # has no double precision: whole results are not left to its last bit
        table = torch.div((images - low) * 255, (high - low).clamp(min=1), rounding_mode="floor")
        return torch.where(high > low, table, images)
    span = (high - low).double().clamp(min=1)
    scale = torch.full_like(span, 255) / span  # 255 / span would be 255 times a rounded reciprocal
    stretched = torch.trunc(images * scale - low * scale).clamp(0, 255).float()
    return torch.where(high > low, stretched, images)


def equalize(images: Tensor) -> Tensor:
    """Each channel with a flat histogram, in whole steps as Pillow."""
    flat = images.flatten(0, 1).flatten(1).long()
    counts = torch.zeros(len(flat), 256, dtype=torch.long, device=images.device)
    counts.scatter_add_(1, flat, torch.ones_like(flat))
    last = flat.amax(1, keepdim=True)
    step = (counts.sum(1, keepdim=True) - counts.gather(1, last)) // 255
    before = counts.cumsum(1) - counts
    table = ((step // 2 + before) // step.clamp(min=1)).clamp(max=255)
    table = torch.where(step > 0, table, torch.arange(256, device=images.device))
    return table.gather(1, flat).view_as(images).float()


def posterize(images: Tensor, bits: Tensor) -> Tensor:
    """Only the upper `bits` of each value."""
    unit = torch.exp2(8 - bits)[:, None, None, None]
    return torch.floor(images / unit) * unit


def solarize(images: Tensor, threshold: Tensor) -> Tensor:
    """Values from `threshold` up are inverted."""
    return torch.where(images < threshold[:, None, None, None], images, 255 - images)


def solarize_add(images: Tensor, amount: Tensor) -> Tensor:
    """`amount` more where a value is below 128."""
    return torch.where(images < 128, (images + amount[:, None, None, None]).clamp(max=255), images)


def affine(
    images: Tensor, matrix: Tensor, fill: Sequence[float], lookup: Callable[[Tensor, Tensor, Tensor], Tensor]
) -> Tensor:
    """Pillow's affine transform: `matrix` (N, 6) leads from output to source coordinates; pixels centre at halves."""
    height, width = images.shape[2:]
    columns = torch.arange(width, device=images.device) + 0.5
    rows = torch.arange(height, device=images.device)[:, None] + 0.5
    a, b, c, d, e, f = matrix[:, :, None, None].unbind(1)
    across, down = a * columns + b * rows + c, d * columns + e * rows + f
    inside = (across >= 0) & (across < width) & (down >= 0) & (down < height)
    # Pillow cuts off fractions; what is whole must not fall below itself by the last bit of a float.
    found = torch.floor((lookup(images, across, down) + _LAST_BITS).clamp(0, 255))
    return torch.where(inside[:, None], found, constant(tuple(fill), (3, 1, 1), images.device))


def _linear(images: Tensor, across: Tensor, down: Tensor) -> Tensor:
    height, width = images.shape[2:]
    grid = torch.stack([across * (2 / width) - 1, down * (2 / height) - 1], 3)
    return torch.nn.functional.grid_sample(images, grid, padding_mode="border", align_corners=False)


def _cubic(images: Tensor, across: Tensor, down: Tensor) -> Tensor:
    """Pillow's cubic for transforms (a = -1), another one than for resizing and than torch's."""
    height, width = images.shape[2:]
    left, top = torch.floor(across - 0.5), torch.floor(down - 0.5)
    columns = [(left + number).clamp(0, width - 1).long() for number in range(-1, 3)]
    rows = [(top + number).clamp(0, height - 1).long() * width for number in range(-1, 3)]
    column_weights, row_weights = _cubic_weights(across - 0.5 - left), _cubic_weights(down - 0.5 - top)
    flat = images.flatten(2)
    total = torch.zeros_like(images)
    for row, row_weight in zip(rows, row_weights, strict=True):
        for column, column_weight in zip(columns, column_weights, strict=True):
            place = (row + column).flatten(1)
            value = flat.gather(2, place[:, None].expand(-1, 3, -1)).view_as(images)
            total += value * (row_weight * column_weight)[:, None]
    return total


def _cubic_weights(part: Tensor) -> tuple[Tensor, ...]:
    square, cube = part * part, part * part * part
    return (2 * square - part - cube, 1 - 2 * square + cube, part + square - cube, cube - square)


def _blend(base: Tensor, images: Tensor, factor: Tensor) -> Tensor:
    return torch.trunc((base + factor[:, None, None, None] * (images - base)).clamp(0, 255))


def _grey(images: Tensor) -> Tensor:
    red, green, blue = images.unbind(1)
    return torch.floor((red * 19595 + green * 38470 + blue * 7471 + 32768) / 65536)[:, None]


def _matrix(value: Tensor, **places: Tensor | float) -> Tensor:
    matrix = torch.zeros(len(value), 6)
    matrix[:, 0] = matrix[:, 4] = 1
    for name, number in places.items():
        matrix[:, "abcdef".index(name)] = number
    return matrix


def _rotation(degrees: Tensor, side: int) -> Tensor:
    angle = -torch.deg2rad(degrees.double())
    cosine, sine, middle = torch.cos(angle), torch.sin(angle), side / 2
    return _matrix(
        degrees,
        a=cosine, b=sine, c=middle * (1 - cosine - sine),
        d=-sine, e=cosine, f=middle * (1 + sine - cosine),
    )  # fmt: skip


_ROTATE = Geometry(_rotation)
_SHEAR_X = Geometry(lambda value, _: _matrix(value, b=value))
_SHEAR_Y = Geometry(lambda value, _: _matrix(value, d=value))
_TRANSLATE_X = Geometry(lambda value, _: _matrix(value, c=value))
_TRANSLATE_Y = Geometry(lambda value, _: _matrix(value, f=value))


def _plain(operation: Callable[[Tensor], Tensor]) -> Operation:
    return lambda images, _: operation(images)


def _whole_range(level: Tensor, top: float) -> Tensor:
    return torch.trunc(level.double() / _WHOLE * top)


def _nothing(level: Tensor, sign: Tensor, size: int) -> Tensor:
    return level


_Row = tuple[Operation | Geometry | None, Value]
_UNVALUED: list[_Row] = [
    (_plain(autocontrast), _nothing),
    (_plain(equalize), _nothing),
    (_plain(lambda images: 255 - images), _nothing),
]
_SHARED: list[_Row] = [
    *_UNVALUED,
    (_ROTATE, lambda level, sign, size: sign * level / _WHOLE * 30),
    (solarize_add, lambda level, sign, size: _whole_range(level, 110).clamp(max=128)),
    (_SHEAR_X, lambda level, sign, size: sign * level / _WHOLE * 0.3),
    (_SHEAR_Y, lambda level, sign, size: sign * level / _WHOLE * 0.3),
    (_TRANSLATE_X, lambda level, sign, size: sign * level / _WHOLE * 0.45 * size),
    (_TRANSLATE_Y, lambda level, sign, size: sign * level / _WHOLE * 0.45 * size),
]
_BLENDS: list[Operation] = [colour, contrast, brightness, sharpness]
_RAND: list[_Row] = [
    *_SHARED,
    (posterize, lambda level, sign, size: _whole_range(level, 4)),
    (solarize, lambda level, sign, size: _whole_range(level, 256).clamp(max=256)),
    *((blend, lambda level, sign, size: level / _WHOLE * 1.8 + 0.1) for blend in _BLENDS),
]
_RAND_INCREASING: list[_Row] = [
    *_SHARED,
    (posterize, lambda level, sign, size: (4 - _whole_range(level, 4)).clamp(min=0)),
    (solarize, lambda level, sign, size: 256 - _whole_range(level, 256).clamp(max=256)),
    *((blend, lambda level, sign, size: (1 + sign * level / _WHOLE * 0.9).clamp(min=0.1)) for blend in _BLENDS),
]
# torchvision's TrivialAugmentWide; the level is the drawn bin, 0 to 1.
_TRIVIAL: list[_Row] = [
    (None, _nothing),
    *_UNVALUED[:2],
    (_ROTATE, lambda level, sign, size: sign * level * 135),
    (_SHEAR_X, lambda level, sign, size: sign * level * 0.99),
    (_SHEAR_Y, lambda level, sign, size: sign * level * 0.99),
    (_TRANSLATE_X, lambda level, sign, size: torch.trunc(sign * level * 32)),
    (_TRANSLATE_Y, lambda level, sign, size: torch.trunc(sign * level * 32)),
    (posterize, lambda level, sign, size: 8 - torch.round(level * 6)),
    (solarize, lambda level, sign, size: 255 - level * 255),
    *((blend, lambda level, sign, size: 1 + sign * level * 0.99) for blend in _BLENDS),
]
