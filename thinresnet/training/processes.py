"""accelerate started for a recipe: processes, devices, precision; and what the processes tell each other."""

from __future__ import annotations

import itertools
import os
import re
import sys
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import torch
from accelerate import Accelerator
from accelerate.state import AcceleratorState, GradientState, PartialState
from accelerate.utils import broadcast, reduce
from torch import nn

from thinresnet.errors import InputError
from thinresnet.recipe import Recipe
from thinresnet.stopping import TrainingError
from thinresnet.training.device_defaults import on_device
from thinresnet.training.memory import keep_freed_memory
from thinresnet.training.preparing import check_backend
from thinresnet.training.tracking import trackers

_PRECISION = {"float16": "fp16", "bfloat16": "bf16"}
# What accelerate may be told for a whole launch and a recipe has its own word for, or no meaning; and what to do.
_NOT_OURS = {
    "ACCELERATE_USE_FSDP": ("FSDP is not supported", "networks here fit a GPU: choose plain multi-GPU"),
    "ACCELERATE_USE_DEEPSPEED": ("DeepSpeed is not supported", "networks here fit a GPU: choose plain multi-GPU"),
    "ACCELERATE_USE_MEGATRON_LM": ("Megatron-LM is not supported", "it is for language models"),
    "ACCELERATE_USE_PARALLELISM_CONFIG": ("parallelism within a network is not supported", "choose plain multi-GPU"),
    "ACCELERATE_GRADIENT_ACCUMULATION_STEPS": (
        "accelerate's accumulation would divide gradients a second time", "say it with --grad-accum-steps",
    ),
    "ACCELERATE_DYNAMO_BACKEND": (
        "accelerate's compilation is not part of a run's identity", "say it with --torchcompile BACKEND",
    ),
}  # fmt: skip
_LEFT_OUT = ("", "0", "1", "no", "none", "false")
_SECONDS_TO_BE_SEEN, _SECONDS_BETWEEN_LOOKS = 20.0, 0.1
_SOURCE_LINE = re.compile(r"^\[\S+\] ")  # of gloo's own source
_rounds = itertools.count(1)


def start_accelerator(recipe: Recipe, *, by_device: bool = False) -> Accelerator:
    """One accelerator for one run; what cannot be started is refused in one line.

    `by_device`: a recipe that says nothing of mixed precision has what the device does best, and otherwise none.
    """
    _check_launch()
    _check_devices()
    check_backend(recipe)
    log_with = trackers(recipe)
    # accelerate keeps its state for a whole process; a second run in it may have another precision.
    AcceleratorState._reset_state()
    GradientState._reset_state()
    several = int(os.environ.get("WORLD_SIZE", "1")) > 1
    # Without a device accelerate would take several processes for as many runs of one, unless it is told.
    cpu = several and not _has_device()
    try:
        if by_device:
            recipe = on_device(recipe, PartialState(cpu=cpu).device)
        precision = _PRECISION[recipe.amp_dtype] if recipe.amp else None
        accelerator = Accelerator(cpu=cpu, mixed_precision=precision, log_with=log_with or None)
    except RuntimeError as error:
        # Before PyTorch 2.5 a port that is taken was a plain one.
        if not isinstance(error, torch.distributed.DistNetworkError) and "EADDRINUSE" not in str(error):
            raise
        where = f"{os.environ.get('MASTER_ADDR')}:{os.environ.get('MASTER_PORT')}"
        raise InputError(
            f"the processes cannot meet at {where}: {_first_line(error)}; if the port is taken by another run, give "
            "accelerate launch another one with --main_process_port"
        ) from error
    if accelerator.mixed_precision == "fp16" and accelerator.device.type == "cpu":
        raise InputError("amp: float16 needs a GPU; on a CPU add --no-amp, or --amp-dtype bfloat16")
    if accelerator.device.type == "cpu":
        keep_freed_memory()
    if accelerator.device.type == "cuda":
        torch.backends.cudnn.benchmark = True
        torch.set_float32_matmul_precision("high")
    return accelerator


def _has_device() -> bool:
    """Whether there is anything but the CPU to train on here."""
    kind = torch.get_device_module()  # of the kind that torch was built for
    return kind is not torch.cpu and kind.device_count() > 0


def _check_launch() -> None:
    """Refuse what accelerate was told that would change what is learned without a word of it in the run."""
    for variable, (why, instead) in _NOT_OURS.items():
        said = os.environ.get(variable, "").lower()
        is_on = said == "1" and variable.startswith("ACCELERATE_USE_")
        if is_on or said not in _LEFT_OUT:
            raise InputError(
                f"{variable}={said}: {why}; leave it out of accelerate's configuration (accelerate config, or the "
                f"flags of accelerate launch): {instead}"
            )


def processes_here(processes: int) -> int:
    """How many of the processes are on this machine and share its cores."""
    return min(processes, int(os.environ.get("LOCAL_WORLD_SIZE", processes)))


@contextmanager
def agreed(accelerator: Accelerator) -> Iterator[None]:
    """What is done inside succeeds on every process or ends all of them, with the reason of one that it failed on.

    They tell each other through the store in which they met, not by a collective operation: however long one of them
    writes a data file, none of the others runs into the time limit of such an operation.
    """
    failed: InputError | None = None
    try:
        yield
    except InputError as error:
        failed = error
    if accelerator.num_processes > 1:
        said = _answers(accelerator, "" if failed is None else str(failed) or "failed")
        if failed is None and said:
            rank, text = next(iter(said.items()))
            raise InputError(f"process {rank} of {accelerator.num_processes}: {text}")
    if failed is not None:
        raise failed


def _answers(accelerator: Accelerator, own: str) -> dict[int, str]:
    """What went wrong by process; returns once all have answered, or at the first failure."""
    number, store = next(_rounds), torch.distributed.distributed_c10d._get_default_store()
    keys = [f"thinresnet/{number}/{rank}" for rank in range(accelerator.num_processes)]
    store.set(keys[accelerator.process_index], f"-{own}")
    waiting = dict(enumerate(keys))
    while waiting:
        for rank, key in list(waiting.items()):
            if store.check([key]):
                del waiting[rank]
                if text := store.get(key).decode().removeprefix("-"):
                    return {rank: text}
        time.sleep(_SECONDS_BETWEEN_LOOKS if waiting else 0)
    return {}


def check_shared(accelerator: Accelerator, folder: Path) -> None:
    """Refuse a run folder that is not the same one for all processes, before anything is trained into it."""
    if accelerator.num_processes == 1:
        return
    path = folder / f".seen-{_same_for_all(accelerator, uuid.uuid4().hex)}"
    try:
        with agreed(accelerator):
            if accelerator.is_main_process:
                _touch(path)
        with agreed(accelerator):
            until = time.monotonic() + _SECONDS_TO_BE_SEEN  # of network disks, that tell other machines late
            while not path.exists():
                if time.monotonic() > until:
                    raise InputError(
                        f"{folder}: what the main process writes there is not seen on {os.uname().nodename}: "
                        "give an --output on a disk that all machines share"
                    )
                time.sleep(_SECONDS_BETWEEN_LOOKS)
    finally:
        if accelerator.is_main_process:
            with suppress(OSError):  # it may never have been made: that has been said
                path.unlink()


def _same_for_all(accelerator: Accelerator, text: str) -> str:
    """The main process's text, on every process."""
    found = [text]
    torch.distributed.broadcast_object_list(found, src=0, device=accelerator.device)
    return found[0]


def _touch(path: Path) -> None:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    except OSError as error:
        raise InputError(f"{path.parent}: cannot be written ({error.strerror}); give another --output") from None


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


@contextmanager
def lost_process_as_one_line(accelerator: Accelerator) -> Iterator[None]:
    """What gloo, NCCL or the store raise where another process is gone is one line, told once on each machine."""
    try:
        yield
    except RuntimeError as error:
        line = lost_process_line(error)
        if not line or accelerator.num_processes == 1:
            raise
        if accelerator.is_local_main_process and not accelerator.is_main_process:  # which may be the one that is gone
            print(f"process {accelerator.process_index} of {accelerator.num_processes}: {line}", file=sys.stderr)
        raise TrainingError(line) from error


def lost_process_line(error: RuntimeError) -> str:
    """What to do where another process is gone, as gloo, NCCL or the store tell it; empty for any other error."""
    of_gloo = type(error) is RuntimeError and "gloo" in str(error)
    if not of_gloo and not isinstance(error, torch.distributed.DistError):
        return ""
    reason = _SOURCE_LINE.sub("", _first_line(error)).partition(". ")[0].rstrip(".")
    return (
        f"another process of the training is gone or cannot be reached ({reason}); see what it said on its machine, "
        "then give the same command on all machines: it resumes from the last checkpoint"
    )


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
    with torch.inference_mode(mode=False):  # gloo of torch 2.4 cannot gather into what is made in it
        gathered = accelerator.gather(torch.tensor([value], dtype=torch.float64, device=accelerator.device))
    return [float(one) for one in gathered.tolist()]


def share_buffers(accelerator: Accelerator, model: nn.Module) -> None:
    """Give every process the main one's buffers (batch-norm statistics), so that all measure the same network."""
    if accelerator.num_processes > 1:
        for buffer in model.buffers():
            buffer.copy_(broadcast(buffer))


def average_buffers(accelerator: Accelerator, model: nn.Module) -> None:
    """Give every process the mean of all processes' batch-norm statistics, as timm does at the end of an epoch.

    Before the next update they are the same again, so that a run that is resumed within an epoch is the same run.
    """
    if accelerator.num_processes > 1:
        for buffer in model.buffers():
            if buffer.is_floating_point():
                buffer.copy_(reduce(buffer, "mean"))


def _first_line(error: Exception) -> str:
    return str(error).strip().partition("\n")[0]
