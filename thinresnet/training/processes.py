"""accelerate started for a recipe: processes, devices, precision; and what the processes tell each other."""

from __future__ import annotations

import os

import torch
from accelerate import Accelerator
from accelerate.state import AcceleratorState, GradientState, PartialState
from accelerate.utils import broadcast
from torch import nn

from thinresnet.errors import InputError
from thinresnet.recipe import Recipe
from thinresnet.training.memory import keep_freed_memory
from thinresnet.training.tracking import trackers

_PRECISION = {"float16": "fp16", "bfloat16": "bf16"}


def start_accelerator(recipe: Recipe) -> Accelerator:
    """One accelerator for one run; what cannot be started is refused in one line."""
    _check_devices()
    log_with = trackers(recipe)
    # accelerate keeps its state for a whole process; a second run in it may have another precision.
    AcceleratorState._reset_state()
    GradientState._reset_state()
    several = int(os.environ.get("WORLD_SIZE", "1")) > 1
    try:
        accelerator = Accelerator(
            # Without a device accelerate would take several processes for as many runs of one, unless it is told.
            cpu=several and not torch.accelerator.is_available(),
            mixed_precision=_PRECISION[recipe.amp_dtype] if recipe.amp else None,
            log_with=log_with or None,
        )
    except torch.distributed.DistNetworkError as error:
        where = f"{os.environ.get('MASTER_ADDR')}:{os.environ.get('MASTER_PORT')}"
        raise InputError(
            f"the processes cannot meet at {where}: {_first_line(error)}; if the port is taken by another run, give "
            "accelerate launch another one with --main_process_port"
        ) from error
    if accelerator.mixed_precision == "fp16" and accelerator.device.type == "cpu":
        raise InputError("float16 needs a GPU; on a CPU use --amp-dtype bfloat16, or leave out --amp")
    if accelerator.device.type == "cpu":
        keep_freed_memory()
    if accelerator.device.type == "cuda":
        torch.backends.cudnn.benchmark = True
        torch.set_float32_matmul_precision("high")
    return accelerator


def _check_devices() -> None:
    local = int(os.environ.get("LOCAL_WORLD_SIZE", "1"))
    forced_cpu = os.environ.get("ACCELERATE_USE_CPU", "").lower() in ("1", "true", "yes")
    devices = 0 if forced_cpu else torch.cuda.device_count()
    if devices and local > devices:
        raise InputError(
            f"{local} processes on this machine, which has {devices} GPU{'s' if devices > 1 else ''}: "
            f"use accelerate launch --num_processes {devices}, or --cpu"
        )


def end_processes() -> None:
    """Let go of the other processes, once there is nothing more to say to them."""
    if torch.distributed.is_available() and torch.distributed.is_initialized():
        torch.distributed.destroy_process_group()
        PartialState._reset_state()  # what is started next in this process meets anew


def largest(accelerator: Accelerator, values: list[int]) -> list[int]:
    """Element by element the largest value over all processes: how they agree on when to stop or save."""
    if accelerator.num_processes == 1:
        return values
    gathered = accelerator.gather(torch.tensor([values], dtype=torch.int64, device=accelerator.device))
    return [int(value) for value in gathered.amax(0).tolist()]


def from_each(accelerator: Accelerator, value: float) -> list[float]:
    """The value of every process, in order."""
    if accelerator.num_processes == 1:
        return [value]
    gathered = accelerator.gather(torch.tensor([value], dtype=torch.float64, device=accelerator.device))
    return [float(one) for one in gathered.tolist()]


def share_buffers(accelerator: Accelerator, model: nn.Module) -> None:
    """Give every process the main one's buffers (batch-norm statistics), so that all measure the same network."""
    if accelerator.num_processes > 1:
        for buffer in model.buffers():
            buffer.copy_(broadcast(buffer))


def _first_line(error: Exception) -> str:
    return str(error).strip().partition("\n")[0]
