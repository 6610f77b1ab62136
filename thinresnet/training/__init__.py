"""The main job: train a network by a recipe, with accelerate, into a run's folder.

The names below are imported when they are first used, so that importing the room costs nothing.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from thinresnet.training.recipe import Recipe
    from thinresnet.training.result import Result
    from thinresnet.training.session import train
    from thinresnet.training.stopping import TrainingError, TrainingInterruptedError

_HOMES = {
    "Recipe": "recipe",
    "Result": "result",
    "TrainingError": "stopping",
    "TrainingInterruptedError": "stopping",
    "train": "session",
}

__all__ = ["Recipe", "Result", "TrainingError", "TrainingInterruptedError", "train"]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f"{__name__}.{_HOMES[name]}"), name)
