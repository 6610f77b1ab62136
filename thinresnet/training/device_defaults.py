"""What a recipe leaves to the device that it is trained on: precision, memory layout and compilation.

A recipe that says nothing of them is trained as its device does it best, and the run's identity has what that was. What
a recipe is known by (its hash, the keys of a study's stages) holds only what it says: it is the same on every machine.
"""

from __future__ import annotations

import importlib.util
import os
import shutil
from collections.abc import Iterator

import torch

from thinresnet.recipe import Recipe

# Some six minutes, uncompiled, on two cores; on a GPU what is shorter is done before it would be compiled.
_LONG_TRAINING_MACS = 10**13
# Steps of images up to this side, pixels, are so short on a GPU that to launch their kernels takes longer than to run
# them: CUDA graphs (reduce-overhead) launch all at once.
_LARGEST_SIDE_OF_GRAPHS = 64
_OLDEST_COMPILED_FOR = (7, 0)  # compute capability that Triton knows


def on_device(recipe: Recipe, device: torch.device) -> Recipe:
    """The recipe with precision and layout said: left open they are bfloat16 and channels-last on CUDA, off elsewhere.

    A precision that accelerate was launched with (--mixed_precision) counts as said.
    """
    cuda, changes = device.type == "cuda", dict[str, object]()
    if recipe.channels_last is None:
        changes["channels_last"] = cuda
    if recipe.amp is None:
        told = os.environ.get("ACCELERATE_MIXED_PRECISION", "").lower() not in ("", "no")
        changes["amp"] = cuda and not told and torch.cuda.is_bf16_supported(including_emulation=False)
        if changes["amp"]:
            changes["amp_dtype"] = "bfloat16"
    return recipe.replace(**changes)


def compiled_if_long(recipe: Recipe, macs: int, side: int, *, device: torch.device, processes: int) -> Recipe:
    """The recipe with torch.compile where it says nothing of it and that pays: `--torchcompile eager` leaves it out.

    `macs` are those of the whole training, `side` is that of its images in pixels; with several sizes it would be done
    for each. On two cores compiling takes some twenty seconds and saves a quarter of each step of a thin network. With
    several processes on a CPU it was not measured.
    """
    if recipe.torchcompile is not None or recipe.train_img_sizes or macs < _LONG_TRAINING_MACS:
        return recipe
    alone = processes == 1
    if device.type == "cpu":
        compiler = shutil.which(os.environ.get("CXX") or "g++") or shutil.which("clang++")
        return recipe.replace(torchcompile="inductor") if alone and compiler else recipe
    if device.type != "cuda" or recipe.sync_bn or not _triton_runs_on(device):
        return recipe
    # Graphs keep their outputs in memory of their own, where gradients of several batches or processes would have to
    # be collected: there the step is compiled without them.
    graphs = alone and recipe.grad_accum_steps == 1 and side <= _LARGEST_SIDE_OF_GRAPHS
    mode = recipe.torchcompile_mode or ("reduce-overhead" if graphs else None)
    return recipe.replace(torchcompile="inductor", torchcompile_mode=mode)


def chosen(stated: Recipe, trained: Recipe, *, fused: bool) -> Iterator[str]:
    """A line about what was left to the device, and the flags that leave it out; none where that is nothing."""
    found, flags = [], []
    if stated.amp is None and trained.amp:
        found.append(trained.amp_dtype)
        flags.append("--no-amp")
    if stated.channels_last is None and trained.channels_last:
        found.append("channels-last")
        flags.append("--no-channels-last")
    if stated.torchcompile is None and trained.torchcompile is not None:
        mode = f", {trained.torchcompile_mode}" if trained.torchcompile_mode else ""
        found.append(f"torch.compile ({trained.torchcompile}{mode})")
        flags.append("--torchcompile eager")
    if fused:
        found.append("fused optimizer")
        flags.append("--opt-kwargs fused=False")
    if found:
        yield f"by default here: {', '.join(found)} (leave out by {', '.join(flags)}; that is then another run)"


def _triton_runs_on(device: torch.device) -> bool:
    """Whether torch.compile's kernels can be made for this GPU."""
    capable = torch.cuda.get_device_capability(device) >= _OLDEST_COMPILED_FOR
    return capable and importlib.util.find_spec("triton") is not None
