"""Cropping and resizing whole batches: crops as boxes, and resizing with Pillow's filters as two matrix products.

Images are uint8 (N, H, W, 3). A box is (top, left, height, width) in pixels of the source. Resizing agrees with Pillow
to a rounding step, antialiasing included, and takes another box, filter and flip for every image of a batch at once.
Rows come first, as in Pillow before 13 (which takes columns first where an image is tall).
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from thinresnet.training.data.transfer import moved

_ATTEMPTS = 10
CROP_DRAWS = _ATTEMPTS * 4


def random_boxes(
    drawn: Tensor, heights: Tensor, widths: Tensor, scale: tuple[float, ...], ratio: tuple[float, ...]
) -> Tensor:
    """Random resized crops (N, 4) by timm's rule, from `drawn` (N, CROP_DRAWS) in [0, 1).

    Area and log aspect are even draws; up to ten are tried until one fits, else the largest centred box is taken whose
    aspect ratio is allowed.
    """
    area_draw, aspect_draw, top_draw, left_draw = drawn.double().view(-1, _ATTEMPTS, 4).unbind(2)
    heights, widths = heights.double()[:, None], widths.double()[:, None]
    area = (scale[0] + (scale[1] - scale[0]) * area_draw) * heights * widths
    low, high = math.log(ratio[0]), math.log(ratio[1])
    aspect = torch.exp(low + (high - low) * aspect_draw)
    box_widths, box_heights = torch.round(torch.sqrt(area * aspect)), torch.round(torch.sqrt(area / aspect))
    fits = (box_widths <= widths) & (box_heights <= heights) & (box_widths > 0) & (box_heights > 0)
    tops = torch.floor(top_draw * (heights - box_heights + 1))
    lefts = torch.floor(left_draw * (widths - box_widths + 1))
    tried = torch.stack([tops, lefts, box_heights, box_widths], 2)
    first = torch.argmax(fits.to(torch.uint8), 1)
    chosen = tried[torch.arange(len(tried)), first]
    return torch.where(fits.any(1, keepdim=True), chosen, _centred(heights[:, 0], widths[:, 0], ratio)).long()


def _centred(heights: Tensor, widths: Tensor, ratio: tuple[float, ...]) -> Tensor:
    box_widths = torch.minimum(widths, torch.round(heights * ratio[1]))
    box_heights = torch.minimum(heights, torch.round(widths / ratio[0]))
    tops, lefts = (heights - box_heights) // 2, (widths - box_widths) // 2
    return torch.stack([tops, lefts, box_heights, box_widths], 1)


def padded_crop(
    images: Tensor, tops: Tensor, lefts: Tensor, flips: Tensor, padding: int, mode: str, indices: Tensor | None = None
) -> Tensor:
    """A crop of the image's own size out of the image with `padding` pixels around it, flipped where asked.

    Every output pixel is looked up, so that the pixels are those of the source exactly: of `images[indices]`, without
    a copy of them. Where the draws are on the host the places are found there and sent to the device of the images.
    """
    _, height, width, channels = images.shape
    place, count = tops.device, len(tops)
    numbers = torch.arange(count, device=place) if indices is None else indices.to(place)
    rows = tops[:, None] + torch.arange(-padding, height - padding, device=place)
    columns = torch.arange(width, device=place).expand(count, width)
    columns = torch.where(flips[:, None], width - 1 - columns, columns) + lefts[:, None] - padding
    down, across = (_reflected(part, side) for part, side in ((rows, height), (columns, width)))
    parts = [(numbers[:, None] * height + down) * width, across]
    black = padding > 0 and mode != "reflect"
    if black:
        parts += [(rows == down).to(torch.uint8), (columns == across).to(torch.uint8)]
    if place != images.device:
        parts = moved(images.device, *parts)
    flat = parts[0][:, :, None] + parts[1][:, None, :]
    found = images.reshape(-1, channels)[flat.reshape(-1)].view(count, height, width, channels)
    return found.mul_((parts[2][:, :, None] * parts[3][:, None, :])[..., None]) if black else found


def _reflected(places: Tensor, side: int) -> Tensor:
    """Places outside of 0 to side - 1 mirrored at its ends, as often as it takes (a padding may be any)."""
    if side == 1:
        return torch.zeros_like(places)
    period = 2 * (side - 1)
    within = places.remainder(period)
    return torch.minimum(within, period - within)


def resized_crop(images: Tensor, boxes: Tensor, size: int, cubic: Tensor | None, flips: Tensor) -> Tensor:
    """The boxes of `images`, resized to (size, size): bicubic where `cubic`, else bilinear; flipped where `flips`."""
    planes = images.permute(0, 3, 1, 2).to(torch.float32)
    boxes = boxes.to(torch.float32)
    across = _weights(boxes[:, 1], boxes[:, 3], images.shape[2], size, cubic)
    across = torch.where(flips[:, None, None], across.flip(1), across)
    down = _weights(boxes[:, 0], boxes[:, 2], images.shape[1], size, cubic)
    wide = _as_bytes(planes @ across.transpose(1, 2)[:, None])  # Pillow rounds between the passes
    return _as_bytes(down[:, None] @ wide).to(torch.uint8).permute(0, 2, 3, 1)


def centre_box(height: int, width: int, size: int, crop_pct: float) -> tuple[int, int, int]:
    """(resized height, resized width, crop side): the test transform of timm: shorter side to size / crop_pct."""
    short = math.floor(size / crop_pct)
    if height <= width:
        return short, int(short * width / height), size
    return int(short * height / width), short, size


def resize_and_centre(images: Tensor, size: int, crop_pct: float, cubic: bool) -> Tensor:
    """timm's test transform for images of one shape: resize the shorter side, crop the centre."""
    height, width = images.shape[1:3]
    new_height, new_width, _ = centre_box(height, width, size, crop_pct)
    if (new_height, new_width) != (height, width):
        kind = torch.ones(1, dtype=torch.bool, device=images.device) if cubic else None
        zero = torch.zeros(1, device=images.device)
        across = _weights(zero, zero + width, width, new_width, kind)
        down = _weights(zero, zero + height, height, new_height, kind)
        planes = images.permute(0, 3, 1, 2).to(torch.float32)
        images = _as_bytes(down @ _as_bytes(planes @ across.transpose(1, 2))).to(torch.uint8).permute(0, 2, 3, 1)
    top, left = round((new_height - size) / 2), round((new_width - size) / 2)
    return images[:, top : top + size, left : left + size]


def _as_bytes(planes: Tensor) -> Tensor:
    # Half up, as Pillow; torch.round would take halves to the even side.
    return planes.add_(0.5).floor_().clamp_(0, 255)


def _weights(first: Tensor, length: Tensor, source: int, size: int, cubic: Tensor | None) -> Tensor:
    """What each of `source` pixels adds to each of `size` output pixels (N, size, source), by Pillow's filters."""
    device = first.device
    pixels = torch.arange(source, device=device)[None, None, :] - first[:, None, None]
    step = (length / size)[:, None, None]
    centres = (torch.arange(size, device=device)[None, :, None] + 0.5) * step
    distance = ((pixels + 0.5 - centres) / step.clamp(min=1)).abs()
    linear = (1 - distance).clamp(min=0)
    if cubic is not None:
        near = (1.5 * distance - 2.5) * distance * distance + 1
        far = ((-0.5 * distance + 2.5) * distance - 4) * distance + 2
        curve = torch.where(distance < 1, near, torch.where(distance < 2, far, torch.zeros_like(far)))
        linear = torch.where(cubic[:, None, None], curve, linear)
    inside = (pixels >= 0) & (pixels < length[:, None, None])
    linear = linear * inside
    return linear / linear.sum(2, keepdim=True)
