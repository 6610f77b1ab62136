"""What is done to an image before a network sees it at test time: it belongs to the weights. Standard library only."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from typing import Any

from thinresnet.errors import InputError, nearest

INTERPOLATIONS = ("bilinear", "bicubic")
# Where it is resized: the 8-bit image, rounded to whole levels (Pillow), or the tensor, which is not (torchvision).
RESIZED_ON = ("image", "tensor")
LARGEST_SIDE_PX = 4096


@dataclass(frozen=True)
class Preprocessing:
    """Resize the shorter side to `resize_px`, crop the centre, subtract the mean, divide by the deviation.

    None leaves the image at its own size. Resizing is antialiased, bilinear or bicubic.
    """

    mean: tuple[float, float, float]
    std: tuple[float, float, float]
    resize_px: int | None = None
    crop_px: int | None = None
    interpolation: str = "bilinear"
    resized_on: str = "image"

    def __post_init__(self) -> None:
        for name in ("mean", "std"):
            object.__setattr__(self, name, _three(name, getattr(self, name)))
        for name in ("resize_px", "crop_px"):
            value = getattr(self, name)
            if value is not None and (type(value) is not int or not 1 <= value <= LARGEST_SIDE_PX):
                raise InputError(f"{name}: {value!r:.40}; it is 1 to {LARGEST_SIDE_PX} pixels, or null")
        for name, allowed in (("interpolation", INTERPOLATIONS), ("resized_on", RESIZED_ON)):
            if getattr(self, name) not in allowed:
                raise InputError(f"{name}: {getattr(self, name)!r:.40} is not one of {', '.join(allowed)}")

    def to_json(self) -> dict[str, Any]:
        return {name: list(value) if isinstance(value, tuple) else value for name, value in asdict(self).items()}

    @classmethod
    def from_json(cls, values: Any, where: str) -> Preprocessing:
        """Read what `to_json` wrote; `where` begins a refusal."""
        names = [field.name for field in fields(cls)]
        if not isinstance(values, Mapping):
            raise InputError(f"{where}: preprocessing is an object with the keys {', '.join(names)}")
        for key in values:
            if key not in names:
                raise InputError(f"{where}: preprocessing: unknown key {key!r:.40}{nearest(str(key), names)}")
        if missing := [name for name in ("mean", "std") if name not in values]:
            raise InputError(f"{where}: preprocessing: the key {missing[0]!r} is missing")
        try:
            return cls(**values)
        except InputError as error:
            raise InputError(f"{where}: preprocessing: {error}") from None

    @property
    def in_words(self) -> str:
        """`resize 232 (bilinear, tensor), crop 224, mean 0.485 …, std 0.229 …`."""
        parts = [f"resize {self.resize_px} ({self.interpolation}, {self.resized_on})"] if self.resize_px else []
        parts += [f"crop {self.crop_px}"] if self.crop_px else []
        parts += [f"{name} {' '.join(f'{value:g}' for value in getattr(self, name))}" for name in ("mean", "std")]
        return ", ".join(parts)


def _three(name: str, value: Any) -> tuple[float, ...]:
    right = isinstance(value, (list, tuple)) and len(value) == 3
    if not right or any(isinstance(one, bool) or not isinstance(one, (int, float)) for one in value):
        raise InputError(f"{name}: {value!r:.60} is not three numbers, one a colour")
    low = 0.0 if name == "mean" else 1e-3
    if not all(math.isfinite(one) and low <= one <= 1 for one in value):
        raise InputError(f"{name}: {list(value)!r:.60}; each is {low:g} to 1, for images from 0 to 1")
    return tuple(float(one) for one in value)


IMAGENET_MEAN, IMAGENET_STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
