"""What timm's own train.py lacks for recipes here: `--device-modules thinresnet.training.timm_aa`.

timm has no name for torchvision's TrivialAugment with its wide ranges: imported before train.py makes its transforms,
this module teaches its factory `--aa ta_wide`. And timm's strongest posterize, which strengths with a deviation reach,
asks for no bits at all, which Pillow 13 refuses: here it is black, as it was.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from PIL import Image
from timm.data import auto_augment, transforms_factory
from torchvision.transforms import InterpolationMode, TrivialAugmentWide

from thinresnet.training.data.torch_loader import posterize

_timms = transforms_factory.auto_augment_transform


def auto_augment_transform(config: str, hparams: Mapping[str, Any]) -> Any:
    """timm's policy of that name, or `ta_wide`: one filter for all images, as torchvision has it."""
    if config != "ta_wide":
        return _timms(config, hparams)
    bicubic = hparams.get("interpolation") == Image.Resampling.BICUBIC
    return TrivialAugmentWide(interpolation=InterpolationMode.BICUBIC if bicubic else InterpolationMode.BILINEAR)


transforms_factory.auto_augment_transform = auto_augment_transform
for _name in ("Posterize", "PosterizeIncreasing", "PosterizeOriginal"):
    auto_augment.NAME_TO_OP[_name] = posterize
