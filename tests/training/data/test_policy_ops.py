"""Each batched operation against timm's (Pillow's) own, and the draws of a policy against its string."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from timm.data import auto_augment as timm_ops
from torchvision.transforms import TrivialAugmentWide

from thinresnet.errors import InputError
from thinresnet.policy import Policy, parse_policy
from thinresnet.training.data import policy_ops as ops
from thinresnet.training.data.plan import Draws

SIDE = 24
FILL = (120, 110, 100)


def pictures() -> torch.Tensor:
    """Noise, a smooth picture, a flat one, one of few levels and one with a narrow range."""
    rng = np.random.default_rng(0)
    noise = rng.integers(0, 256, (SIDE, SIDE, 3), dtype=np.uint8)
    smooth = np.asarray(Image.fromarray(noise).resize((4, 4)).resize((SIDE, SIDE), Image.Resampling.BICUBIC))
    flat = np.full_like(noise, 77)
    few = (noise // 100 * 100).astype(np.uint8)
    narrow = (noise // 4 + 60).astype(np.uint8)
    return torch.from_numpy(np.stack([noise, smooth, flat, few, narrow])).permute(0, 3, 1, 2).float()


def by_pillow(images: torch.Tensor, operation: Callable[[Image.Image], Image.Image]) -> torch.Tensor:
    planes = [np.asarray(operation(Image.fromarray(image.permute(1, 2, 0).byte().numpy()))) for image in images]
    return torch.from_numpy(np.stack(planes)).permute(0, 3, 1, 2).float()


def apply(operation: Any, value: float, image: Image.Image, **rest: Any) -> Image.Image:
    return operation(image, value, **rest)  # type: ignore[no-any-return]


def close(found: torch.Tensor, expected: torch.Tensor, *, off_by_one: float = 0.0) -> None:
    """Equal but for a share of pixels that are off by one level (single precision against Pillow's double)."""
    difference = (found - expected).abs()
    assert difference.max() <= (1 if off_by_one else 0)
    assert (difference > 0).float().mean() <= off_by_one


def amounts(value: float) -> torch.Tensor:
    return torch.full((5,), float(value))


@pytest.mark.parametrize(
    ("ours", "theirs"),
    [
        (ops.autocontrast, timm_ops.auto_contrast),
        (ops.equalize, timm_ops.equalize),
        (lambda images: 255 - images, timm_ops.invert),
    ],
)
def test_operations_without_a_value(ours: Callable[[torch.Tensor], torch.Tensor], theirs: Any) -> None:
    close(ours(pictures()), by_pillow(pictures(), theirs))


@pytest.mark.parametrize(
    ("ours", "theirs", "values"),
    [
        (ops.brightness, timm_ops.brightness, (0.1, 0.73, 1.0, 1.9)),
        (ops.contrast, timm_ops.contrast, (0.1, 0.73, 1.0, 1.9)),
        (ops.colour, timm_ops.color, (0.1, 0.73, 1.0, 1.9)),
        (ops.sharpness, timm_ops.sharpness, (0.1, 0.73, 1.0, 1.9)),
        (ops.posterize, timm_ops.posterize, (1, 3, 4, 8)),
        (ops.solarize, timm_ops.solarize, (0, 100, 255, 256)),
        (ops.solarize_add, timm_ops.solarize_add, (0, 55, 110)),
    ],
)
def test_operations_with_a_value(ours: Any, theirs: Any, values: tuple[float, ...]) -> None:
    for value in values:
        close(
            ours(pictures(), amounts(value)),
            by_pillow(pictures(), partial(apply, theirs, value)),
            off_by_one=0.002,
        )


def test_keeping_no_bits_is_black() -> None:
    assert ops.posterize(pictures(), amounts(0)).max() == 0


@pytest.mark.parametrize("cubic", [False, True])
@pytest.mark.parametrize(
    ("ours", "theirs", "values"),
    [
        (ops._ROTATE, timm_ops.rotate, (-30, 7.5, 22)),
        (ops._SHEAR_X, timm_ops.shear_x, (-0.3, 0.11, 0.3)),
        (ops._SHEAR_Y, timm_ops.shear_y, (-0.3, 0.11, 0.3)),
        (ops._TRANSLATE_X, timm_ops.translate_x_abs, (-9.7, 3, 4.25)),
        (ops._TRANSLATE_Y, timm_ops.translate_y_abs, (-9.7, 3, 4.25)),
    ],
)
def test_geometry(ours: ops.Geometry, theirs: Any, values: tuple[float, ...], cubic: bool) -> None:
    mode = Image.Resampling.BICUBIC if cubic else Image.Resampling.BILINEAR
    lookup = ops._cubic if cubic else ops._linear
    for value in values:
        found = ops.affine(pictures(), ours.matrix(amounts(value), SIDE), [float(part) for part in FILL], lookup)
        expected = by_pillow(pictures(), partial(apply, theirs, value, fillcolor=FILL, resample=mode))
        # Where the exact value is whole, Pillow's last bit decides whether it stays so.
        close(found, expected, off_by_one=0.05)


def levels_of(table: list[Any]) -> dict[str, Callable[[float, float], float]]:
    """The value that each operation of a table gets for a level and a sign, by the name that timm has for it."""
    names = {
        "autocontrast": "AutoContrast", "equalize": "Equalize", "posterize": "Posterize", "solarize": "Solarize",
        "solarize_add": "SolarizeAdd", "colour": "Color", "contrast": "Contrast", "brightness": "Brightness",
        "sharpness": "Sharpness",
    }  # fmt: skip
    geometry = {ops._ROTATE: "Rotate", ops._SHEAR_X: "ShearX", ops._SHEAR_Y: "ShearY"}
    geometry |= {ops._TRANSLATE_X: "TranslateXRel", ops._TRANSLATE_Y: "TranslateYRel"}
    found = {}
    for operation, value in table:
        name = geometry.get(operation) or names.get(getattr(operation, "__name__", ""))
        if name:
            found[name] = lambda level, sign, value=value: float(
                value(torch.tensor([level]), torch.tensor([sign]), SIDE)
            )
    return found


@pytest.mark.parametrize("increasing", [False, True])
def test_levels_become_the_values_of_timm(increasing: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    found = levels_of(ops._RAND_INCREASING if increasing else ops._RAND)
    assert len(found) == 12
    for sign, drawn in ((1.0, 0.0), (-1.0, 0.9)):  # timm turns a value round where its draw is above one half
        monkeypatch.setattr(timm_ops.random, "random", lambda drawn=drawn: drawn)
        for name, ours in found.items():
            changes = increasing and name in ("Posterize", "Solarize", "Color", "Contrast", "Brightness", "Sharpness")
            for level in (0.0, 2.5, 7.0, 9.3, 10.0):
                (theirs,) = timm_ops.LEVEL_TO_ARG[name + "Increasing" * changes](level, {})
                theirs *= SIDE if name.startswith("Translate") else 1
                assert ours(level, sign) == pytest.approx(theirs, abs=1e-4), (name, level)


def test_the_same_operations_as_timm_and_torchvision() -> None:
    assert len(ops._RAND) == len(timm_ops._RAND_TRANSFORMS) == 15
    assert len(ops._RAND_INCREASING) == len(timm_ops._RAND_INCREASING_TRANSFORMS)
    space = TrivialAugmentWide()._augmentation_space(31)
    assert len(ops._TRIVIAL) == len(space) == 14
    found = levels_of(ops._TRIVIAL)
    pairs = {"ShearX": "ShearX", "Rotate": "Rotate", "Solarize": "Solarize", "Posterize": "Posterize"}
    for theirs, ours in {**pairs, "TranslateX": "TranslateXRel"}.items():
        for place in (0, 3, 17, 30):
            magnitude = float(space[theirs][0][place])
            magnitude = int(magnitude) if theirs == "TranslateX" else magnitude  # torchvision moves by whole pixels
            assert found[ours](place / 30, 1.0) == pytest.approx(magnitude, abs=1e-4), (theirs, place)


def test_what_is_drawn_follows_the_string() -> None:
    count = 20_000
    draws = Draws(0, torch.arange(count))
    choices = ops.draw(parse_policy("rand-m9-n3-p0.3-mstd0.5-inc1"), draws)
    assert choices.table is ops._RAND_INCREASING
    assert len(choices.layers) == 3
    for layer in choices.layers:
        assert layer.applied.float().mean() == pytest.approx(0.3, abs=0.02)
        assert layer.level.mean() == pytest.approx(9.0, abs=0.05)
        assert layer.level.max() == 10
        assert torch.bincount(layer.operation, minlength=15).min() > count / 15 * 0.85
        assert layer.sign.mean() == pytest.approx(0, abs=0.03)
    (layer,) = ops.draw(parse_policy("rand-m10-n1-p1-mstd101-inc1"), draws).layers
    assert layer.applied.all()
    assert torch.quantile(layer.level, torch.tensor([0.1, 0.5, 0.9])).tolist() == pytest.approx([1, 5, 9], abs=0.25)


def test_a_policy_changes_only_the_images_it_was_drawn_for() -> None:
    images = pictures()
    layer = ops.Layer(
        operation=torch.zeros(5, dtype=torch.long), applied=torch.tensor([True, False, False, True, True]),
        level=torch.full((5,), 9.0), sign=torch.ones(5), cubic=torch.zeros(5, dtype=torch.bool),
    )  # fmt: skip
    found = ops.apply_policy(images, ops.Choices(ops._RAND, (layer,)), (0.5, 0.5, 0.5), "random")
    assert torch.equal(found[1:3], images[1:3])
    assert torch.equal(found[0], ops.autocontrast(images[:1])[0])
    assert torch.equal(found[3:], ops.autocontrast(images[3:]))


@pytest.mark.parametrize(
    "text", ["rand-m9-mstd0.5-inc1", "ta_wide", "rand-m10-n1-p1-mstd101-inc1", "rand-n4-mmax30-m20"]
)
@pytest.mark.parametrize("interpolation", ["random", "bicubic"])
def test_whole_policies_stay_within_whole_levels(text: str, interpolation: str) -> None:
    images = pictures().repeat(20, 1, 1, 1)
    choices = ops.draw(parse_policy(text), Draws(1, torch.arange(100)))
    found = ops.apply_policy(images, choices, (0.5, 0.4, 0.3), interpolation)
    assert found.min() >= 0
    assert found.max() <= 255
    assert torch.equal(found, found.floor())
    assert not torch.equal(found, images)


def test_policies_are_read_as_timm_reads_them() -> None:
    assert parse_policy("rand-m7-mstd0.5-inc1") == Policy("rand", 7.0, 2, 0.5, 0.5, 10.0, True)
    theirs = timm_ops.rand_augment_transform("rand-m7-n3-mstd0.5-inc1-p0.7-mmax12", {})
    ours = parse_policy("rand-m7-n3-mstd0.5-inc1-p0.7-mmax12")
    first = theirs.ops[0]
    assert (theirs.num_layers, first.magnitude, first.magnitude_std, first.prob, first.magnitude_max) == (
        ours.layers, ours.magnitude, ours.magnitude_std, ours.probability, ours.magnitude_max,
    )  # fmt: skip
    assert parse_policy("rand").magnitude == timm_ops.rand_augment_transform("rand", {}).ops[0].magnitude
    for text in ("augmix-m5-w4-d2", "original-mstd0.5", "v0r", "3a", "rand-tweights-n2"):
        assert parse_policy(text)


@pytest.mark.parametrize(
    "text", ["", "rand-", "rand-m", "rand-n0", "rand-m9.5", "augmix-x1", "v1", "rand-p2", "rand-twhat", "a" * 500]
)
def test_what_is_no_policy_is_refused(text: str) -> None:
    with pytest.raises(InputError, match=r"write one such as|write a policy such as|n is at least 1"):
        parse_policy(text)
