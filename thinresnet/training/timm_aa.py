"""`ta_wide` for timm's own train.py: `--device-modules thinresnet.training.timm_aa --aa ta_wide`.

timm has no name for torchvision's TrivialAugment with its wide ranges. Imported before train.py makes its transforms,
this module teaches its factory the name; every other policy stays timm's.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from PIL import Image
from timm.data import transforms_factory
from torchvision.transforms import InterpolationMode, TrivialAugmentWide

_timms = transforms_factory.auto_augment_transform


def trivial_augment(bicubic: bool) -> TrivialAugmentWide:
    """torchvision's policy with one filter for all images; its reference takes the bilinear one."""
    return TrivialAugmentWide(interpolation=InterpolationMode.BICUBIC if bicubic else InterpolationMode.BILINEAR)


def auto_augment_transform(config: str, hparams: Mapping[str, Any]) -> Any:
    """timm's policy of that name, or `ta_wide`."""
    if config != "ta_wide":
        return _timms(config, hparams)
    return trivial_augment(hparams.get("interpolation") == Image.Resampling.BICUBIC)


transforms_factory.auto_augment_transform = auto_augment_transform
