"""Crops and resizing in batches against Pillow, torchvision and timm, image by image."""

from __future__ import annotations

import random

import numpy as np
import pytest
import torch
from PIL import Image
from timm.data import create_transform
from timm.data.transforms import RandomResizedCropAndInterpolation
from torchvision.transforms import functional as F  # noqa: N812

from thinresnet.training.data.resample import CROP_DRAWS, padded_crop, random_boxes, resize_and_centre, resized_crop


def pictures(count: int, height: int, width: int, seed: int = 0) -> torch.Tensor:
    """Smooth and noisy images, so that both averaging and ringing show."""
    rough = np.random.default_rng(seed).integers(0, 256, (count, height, width, 3), dtype=np.uint8)
    smooth = [
        Image.fromarray(image).resize((5, 5)).resize((width, height), Image.Resampling.BICUBIC) for image in rough[::2]
    ]
    rough[::2] = [np.asarray(image) for image in smooth]
    return torch.from_numpy(rough)


@pytest.mark.parametrize("cubic", [False, True])
@pytest.mark.parametrize("size", [8, 17, 32, 45])
def test_a_resized_crop_is_that_of_pillow(size: int, cubic: bool) -> None:
    images = pictures(6, 32, 40)
    boxes = torch.tensor(
        [[0, 0, 32, 40], [3, 5, 20, 11], [31, 0, 1, 1], [0, 8, 32, 32], [10, 10, 8, 30], [5, 0, 27, 17]]
    )
    flips = torch.tensor([False, True] * 3)
    found = resized_crop(images, boxes, size, torch.full((6,), cubic), flips)
    kind = Image.Resampling.BICUBIC if cubic else Image.Resampling.BILINEAR
    for image, (top, left, height, width), flip, got in zip(images, boxes.tolist(), flips, found, strict=True):
        cut = Image.fromarray(image.numpy()).crop((left, top, left + width, top + height))
        expected = cut.resize((size, height), kind).resize((size, size), kind)
        expected = F.hflip(expected) if flip else expected
        difference = np.abs(np.asarray(expected).astype(int) - got.numpy().astype(int))
        # Pillow computes in fixed point: where an exact value lies half-way, either pass may go the other way.
        assert difference.max() <= 2
        assert difference.mean() < 0.1


def test_a_filter_may_differ_from_image_to_image() -> None:
    images = pictures(2, 16, 16)[:1].repeat(2, 1, 1, 1)
    boxes = torch.tensor([[0, 0, 16, 16]] * 2)
    both = resized_crop(images, boxes, 24, torch.tensor([True, False]), torch.zeros(2, dtype=torch.bool))
    assert not torch.equal(both[0], both[1])


@pytest.mark.parametrize(("height", "width"), [(32, 32), (40, 32), (32, 51)])
@pytest.mark.parametrize("crop_pct", [0.875, 0.95, 1.0])
@pytest.mark.parametrize("cubic", [False, True])
def test_the_test_transform_is_timm_s(height: int, width: int, crop_pct: float, cubic: bool) -> None:
    images = pictures(3, height, width)
    name = "bicubic" if cubic else "bilinear"
    transform = create_transform(24, interpolation=name, crop_pct=crop_pct, use_prefetcher=True)
    found = resize_and_centre(images, 24, crop_pct, cubic)
    for image, got in zip(images, found, strict=True):
        expected = transform(Image.fromarray(image.numpy())).permute(1, 2, 0)
        assert (expected.int() - got.int()).abs().max() <= 1


@pytest.mark.parametrize("mode", ["constant", "reflect"])
@pytest.mark.parametrize("padding", [4, 40])  # more than an image can reflect at once
def test_a_padded_crop_is_torchvision_s_pixel_by_pixel(mode: str, padding: int) -> None:
    images = pictures(4, 12, 12)
    tops, lefts = torch.tensor([0, 3, 4, 2 * padding]), torch.tensor([2 * padding, 0, 4, 1])
    flips = torch.tensor([True, False, False, True])
    found = padded_crop(images, tops, lefts, flips, padding, mode)
    for place, image in enumerate(images):
        padded = F.pad(Image.fromarray(image.numpy()), [padding] * 4, padding_mode=mode)
        expected = F.crop(padded, int(tops[place]), int(lefts[place]), 12, 12)
        expected = F.hflip(expected) if flips[place] else expected
        assert np.array_equal(np.asarray(expected), found[place].numpy())


def test_boxes_follow_the_rule_of_timm() -> None:
    """The same distribution of position, area and aspect as timm's own draws, at 4,000 draws each."""
    count, height, width = 4000, 90, 140
    drawn = torch.rand(count, CROP_DRAWS, generator=torch.Generator().manual_seed(0))
    sides = torch.full((count,), height), torch.full((count,), width)
    ours = random_boxes(drawn, *sides, (0.08, 1.0), (3 / 4, 4 / 3)).double()
    random.seed(0)
    crop = RandomResizedCropAndInterpolation(32, (0.08, 1.0), (3 / 4, 4 / 3))
    image = Image.new("RGB", (width, height))
    theirs = torch.tensor([crop.get_params(image, crop.scale, crop.ratio) for _ in range(count)], dtype=torch.float64)
    assert (ours[:, 0] + ours[:, 2] <= height).all()
    assert (ours[:, 1] + ours[:, 3] <= width).all()
    assert ours.min() >= 0
    measures = [lambda box, place=place: box[:, place] for place in range(2)]
    for measure in (*measures, lambda box: box[:, 2] * box[:, 3], lambda box: box[:, 3] / box[:, 2]):
        quantiles = torch.linspace(0.05, 0.95, 10, dtype=torch.float64)
        one, other = (torch.quantile(measure(box), quantiles) for box in (ours, theirs))
        spread = measure(theirs).std()
        assert ((one - other).abs() < 0.1 * spread).all()


def test_a_box_that_never_fits_is_the_largest_allowed_one_in_the_middle() -> None:
    drawn = torch.ones(1, CROP_DRAWS) * 0.999
    assert random_boxes(drawn, torch.tensor([10]), torch.tensor([100]), (1.0, 1.0), (3 / 4, 4 / 3)).tolist() == [
        [0, 43, 10, 13]
    ]
    assert random_boxes(drawn, torch.tensor([100]), torch.tensor([10]), (1.0, 1.0), (3 / 4, 4 / 3)).tolist() == [
        [43, 0, 13, 10]
    ]
    whole = random_boxes(drawn, torch.tensor([32]), torch.tensor([32]), (1.0, 1.0), (1.0, 1.0))
    assert whole.tolist() == [[0, 0, 32, 32]]
