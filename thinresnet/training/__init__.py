"""Training: a network by a recipe, with accelerate, into a run folder."""

from __future__ import annotations

from thinresnet.recipe import Recipe
from thinresnet.result import Result
from thinresnet.stopping import TrainingError, TrainingInterruptedError
from thinresnet.training.session import train

__all__ = ["Recipe", "Result", "TrainingError", "TrainingInterruptedError", "train"]


def __dir__() -> list[str]:
    """What tab completion offers: the public names."""
    return sorted(__all__)
