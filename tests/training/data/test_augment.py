"""What follows the crop: colour jitter, normalising and erasing against torchvision's and timm's own."""

from __future__ import annotations

import math
import random

import numpy as np
import pytest
import torch
from PIL import Image
from timm.data.random_erasing import RandomErasing
from torchvision.transforms import ColorJitter
from torchvision.transforms import functional as F  # noqa: N812

from thinresnet.policy import parse_policy
from thinresnet.recipe import Recipe
from thinresnet.training.data.augment import Augment, Normalise, colour_jitter, erase, erase_boxes, on_device
from thinresnet.training.data.plan import Plan


def pictures(count: int, side: int = 16) -> torch.Tensor:
    return torch.from_numpy(np.random.default_rng(0).integers(0, 256, (count, side, side, 3), dtype=np.uint8))


@pytest.mark.parametrize("channels_last", [False, True])
def test_normalising_is_torchvision_s(channels_last: bool) -> None:
    recipe = Recipe(mean=(0.4, 0.5, 0.6), std=(0.2, 0.3, 0.1), channels_last=channels_last)
    images = pictures(4)
    found = Normalise.of(recipe)(images)
    expected = torch.stack([F.normalize(F.to_tensor(image.numpy()), recipe.mean, recipe.std) for image in images])
    assert torch.allclose(found, expected, atol=1e-5)
    assert found.is_contiguous(memory_format=torch.channels_last if channels_last else torch.contiguous_format)


def test_one_mean_stands_for_all_channels_and_imagenet_s_for_none() -> None:
    assert Normalise.of(Recipe(mean=(0.5,), std=(0.25,))).mean == (0.5, 0.5, 0.5)
    assert Normalise.of(Recipe()).std == (0.229, 0.224, 0.225)


def test_colour_jitter_is_torchvision_s_in_every_order() -> None:
    images = pictures(6)
    orders = torch.tensor([[0, 1, 2], [0, 2, 1], [1, 0, 2], [1, 2, 0], [2, 0, 1], [2, 1, 0]])
    factors = torch.tensor(
        [[0.6, 1.4, 0.8], [1.0, 1.0, 1.0], [1.3, 0.7, 1.2], [0.0, 0.5, 1.5], [1.4, 1.4, 1.4], [0.7, 0.9, 0.6]]
    )
    found = colour_jitter(images.permute(0, 3, 1, 2).float(), orders, factors)
    changes = (F.adjust_brightness, F.adjust_contrast, F.adjust_saturation)
    for place, order in enumerate(orders.tolist()):
        image = Image.fromarray(images[place].numpy())
        for number in order:
            image = changes[number](image, float(factors[place, number]))
        difference = np.abs(np.asarray(image).astype(int) - found[place].permute(1, 2, 0).numpy())
        assert difference.max() <= 2  # one level a step, in single precision
        assert difference.mean() < 0.05


@pytest.mark.parametrize("most", [1, 3])
def test_erased_rectangles_are_drawn_as_timm_draws_them(most: int) -> None:
    """Share of images, area and position over 4,000 images against timm's own."""
    count, side, probability = 4000, 24, 0.4
    drawn = torch.rand(count, 2 + most * 40, generator=torch.Generator().manual_seed(0))
    ours = torch.ones(count, 3, side, side)
    erase(ours, erase_boxes(drawn, side, side, probability, most), "const", torch.Generator())
    random.seed(0)
    theirs = RandomErasing(probability, mode="const", max_count=most, device="cpu")(torch.ones(count, 3, side, side))
    for measure in (
        lambda gone: gone.flatten(1).any(1).float().mean(),
        lambda gone: gone.float().mean(),
        lambda gone: gone.float().mean((0, 2)).std(),
    ):
        one, other = (float(measure(images[:, 0] == 0)) for images in (ours, theirs))
        assert one == pytest.approx(other, rel=0.12, abs=0.004)


@pytest.mark.parametrize("mode", ["pixel", "const", "rand"])
def test_what_is_filled_in(mode: str) -> None:
    images = torch.full((3, 3, 12, 12), 7.0)
    boxes = torch.tensor([[[2, 3, 4, 5]], [[0, 0, 0, 0]], [[0, 0, 11, 11]]])
    erase(images, boxes, mode, torch.Generator().manual_seed(0))
    assert (images[1] == 7).all()
    kept = torch.ones(12, 12, dtype=torch.bool)
    kept[2:6, 3:8] = False
    assert (images[0][:, kept] == 7).all()
    inside = images[0][:, 2:6, 3:8]
    if mode == "const":
        assert (inside == 0).all()
    elif mode == "rand":
        assert (inside == inside[:, :1, :1]).all()
        assert len(inside.unique()) == 3
    else:
        assert len(inside.unique()) == 60
        filled = images[2][:, :11, :11]
        assert abs(float(filled.mean())) < 0.3
        assert float(filled.std()) == pytest.approx(1, abs=0.2)


def test_a_rectangle_stays_smaller_than_the_image() -> None:
    drawn = torch.rand(500, 42, generator=torch.Generator().manual_seed(1))
    boxes = erase_boxes(drawn, 8, 20, 1.0, 1)[:, 0]
    assert (boxes[:, 2] < 8).all()
    assert (boxes[:, 3] < 20).all()
    assert (boxes[:, 0] + boxes[:, 2] <= 8).all()
    assert (boxes[:, 1] + boxes[:, 3] <= 20).all()
    assert math.isclose(float((boxes[:, 2] > 0).float().mean()), 1, abs_tol=0.05)


@pytest.mark.parametrize("settings", [{"aa": "rand-m9-mstd0.5-inc1"}, {"color_jitter": 0.4}, {"aa": "ta_wide"}])
def test_a_batch_does_not_depend_on_the_number_of_processes(settings: dict[str, object]) -> None:
    recipe = Recipe(batch_size=12, reprob=0.5, remode="const").replace(**settings)
    images = pictures(12)

    def augmented(plan: Plan) -> torch.Tensor:
        policy = parse_policy(recipe.aa) if recipe.aa else None
        augment = Augment(recipe, plan, Normalise.of(recipe), policy, 0.0 if policy else 0.4)
        return augment(images[plan.process_index :: plan.process_count], 1, 2, plan.generator(1, 2))

    whole = augmented(Plan(100, 12, 5))
    parts = [augmented(Plan(100, 4, 5, index, 3)) for index in range(3)]
    assert torch.equal(torch.stack(parts, 1).flatten(0, 1), whole)


def test_which_policies_have_a_batched_form() -> None:
    assert on_device(None)
    assert all(on_device(parse_policy(text)) for text in ("rand-m9", "ta_wide"))
    assert not any(on_device(parse_policy(text)) for text in ("augmix-m3", "original", "3a", "rand-tweights"))


@pytest.mark.parametrize("strength", [0.5, 1.0, 3.0])
def test_the_factors_of_colour_jitter_are_torchvision_s(strength: float, monkeypatch: pytest.MonkeyPatch) -> None:
    """Evenly from max(0, 1 - strength) to 1 + strength: above 1 nothing heaps up at 0."""
    found: list[torch.Tensor] = []

    def keep(images: torch.Tensor, orders: torch.Tensor, factors: torch.Tensor) -> torch.Tensor:
        found.append(factors)
        return images

    monkeypatch.setattr("thinresnet.training.data.augment.colour_jitter", keep)
    plan = Plan(count=600, batch_size=600, seed=0)
    augment = Augment(Recipe(), plan, Normalise.of(Recipe()), None, strength)
    augment(torch.zeros(600, 2, 2, 3, dtype=torch.uint8), 0, 0, plan.generator(0, 0))
    low, high = ColorJitter(brightness=strength).brightness
    spread = found[0].flatten().sort().values
    even = torch.linspace(low, high, len(spread))
    assert (spread - even).abs().max() < 0.05 * (high - low)
