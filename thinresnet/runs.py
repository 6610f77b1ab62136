"""The files of a run folder by name, and what files of weights are called. Standard library only."""

from __future__ import annotations

from pathlib import Path

from thinresnet.errors import InputError

NETWORK_FILE = "network.json"
CONFIG_FILE = "config.json"  # what timm and the Hugging Face hub read of a folder
WEIGHTS_FILE = "model.safetensors"
EMA_WEIGHTS_FILE = "model_ema.safetensors"
MASKS_FILE = "masks.safetensors"  # of the network in the folder: which weights are not held at zero
RECIPE_FILE = "recipe.yaml"
SETTINGS_FILE = "run.json"
RESULT_FILE = "result.json"
METRICS_FILE = "metrics.csv"
TIMING_FILE = "timing.csv"
IMPORTED_FILE = "imported.json"
EVALUATION_FILE = "evaluation.json"
WEIGHTS_SUFFIXES = (".pt", ".pth", ".th", ".tar", ".bin", ".ckpt", ".safetensors")


def names_weights(what: str, arch: str | None) -> bool:
    """Whether a user points at a file of weights; `--arch`, which says what such a file is of, is refused otherwise."""
    found = is_weights_file(what)
    if arch is not None and not found:
        raise InputError(f"--arch {arch}: it says what a file of weights is of; {what} is none")
    return found


def is_weights_file(what: str) -> bool:
    """Whether a user points at a file of weights, and at no description of a network."""
    return what.lower().endswith(WEIGHTS_SUFFIXES) and Path(what).is_file()
