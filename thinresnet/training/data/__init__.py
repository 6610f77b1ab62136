"""Images for training: which ones, in which order, augmented how, by one of three loaders behind one interface.

`open_data` is the door. Which images make up a step and what is drawn for them is a pure function of the seed, the
epoch, the step and the process (see `plan`), so there is no loader state to save: a resumed run asks for the next step.
Nothing heavy is imported before `open_data` is called.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import torch

    from thinresnet.training.data.loading import Data, EvalSplit, TrainSplit
    from thinresnet.training.recipe import Recipe

__all__ = ["LOADERS", "Data", "EvalSplit", "TrainSplit", "open_data"]

LOADERS = ("auto", "memory", "torch", "ffcv")


def open_data(
    recipe: Recipe,
    *,
    input_size: tuple[int, int, int] | None,
    device: torch.device,
    holdout: float = 0.0,
    loader: str = "auto",
    process_index: int = 0,
    process_count: int = 1,
    progress: Callable[[str, int, int], None] | None = None,
    cache_dir: Path | None = None,
) -> Data:
    """Open the images that a recipe names.

    `input_size` is the network's (C, H, W), which `recipe.img_size` overrules; None where the recipe alone decides.
    `holdout` is the share of the training set to keep away from training. `progress` is told what is being done, how
    much of it is done, and how much there is. `cache_dir` is for .beton files and decoded images.
    """
    from thinresnet.training.data.loading import open_data as open_now

    return open_now(
        recipe,
        input_size=input_size,
        device=device,
        holdout=holdout,
        loader=loader,
        process_index=process_index,
        process_count=process_count,
        progress=progress,
        cache_dir=cache_dir,
    )


def __getattr__(name: str) -> Any:
    if name in ("Data", "EvalSplit", "TrainSplit"):
        from thinresnet.training.data import loading

        return getattr(loading, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
