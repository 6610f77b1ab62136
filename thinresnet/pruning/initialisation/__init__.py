"""Pruning at initialisation: how dense each layer should be before anything is trained, and the channels that follow.

A criterion says which share of each layer's weights should stay (`registry.py`); `crop` turns that into channel
counts under an exact budget, `masks` into masks of the same densities. The names below are imported when they are first
used, so that importing the room costs nothing.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from thinresnet.pruning.initialisation.cropping import Cropped, crop
    from thinresnet.pruning.initialisation.densities import densities_left
    from thinresnet.pruning.initialisation.masking import masks
    from thinresnet.pruning.initialisation.registry import criteria, criterion

_HOMES = {
    "Cropped": "cropping",
    "criteria": "registry",
    "criterion": "registry",
    "crop": "cropping",
    "densities_left": "densities",
    "masks": "masking",
}

__all__ = ["Cropped", "criteria", "criterion", "crop", "densities_left", "masks"]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    found = getattr(importlib.import_module(f"{__name__}.{_HOMES[name]}"), name)
    globals()[name] = found
    return found
