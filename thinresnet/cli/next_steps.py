"""The commands that verbs print for what comes next: complete, so that they run as they are pasted.

Only DATA stands for a folder that nobody else can know. `thinresnet train` rather than `accelerate launch train.py`: it
works without a checkout, and where one process is meant a launcher only hides its exit code and its last words.
"""

from __future__ import annotations

from pathlib import Path

DATA = "DATA"
EMBEDDED = "digits"
_EMBEDDED_SIDE_PX, _LARGEST_CIFAR_SIDE_PX = 8, 64


def family_of(side_px: int) -> str:
    """The family of recipes for images of this side: `digits`, `cifar` or `imagenet`."""
    if side_px <= _EMBEDDED_SIDE_PX:
        return EMBEDDED
    return "cifar" if side_px <= _LARGEST_CIFAR_SIDE_PX else "imagenet"


def training_line(network: Path, side_px: int, *, fine_tune: bool = False) -> str:
    """The command that trains a network in a file or folder from scratch, or fine-tunes the weights beside it."""
    family = family_of(side_px)
    recipes = {"cifar": ("cifar-modern", "cifar-finetune"), "imagenet": ("imagenet-a2", "imagenet-finetune")}
    recipe = EMBEDDED if family == EMBEDDED else recipes[family][fine_tune]
    words = ["thinresnet train --recipe", recipe, "--network", str(network)]
    words += ["--initial-checkpoint", str(network)] if fine_tune else []
    words += [] if family == EMBEDDED else ["--data-dir", DATA]
    return " ".join(words + (["--download"] if family == "cifar" else []))
