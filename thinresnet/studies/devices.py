"""Which GPUs a stage works on: jobs take turns with those there are, and a stage may have several.

A job sees its own GPUs only (CUDA_VISIBLE_DEVICES), the first of which is its `cuda:0`. With more jobs than groups of
GPUs, several share one. A stage on several GPUs trains in as many processes, which split its batch: what is trained is
the same, but for the batch-norm statistics that each process takes of its own part.
"""

from __future__ import annotations

import os
import pickle
import socket
from collections.abc import Callable, Sequence
from multiprocessing import get_context
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess
from typing import Any

import torch

from thinresnet import child_process
from thinresnet.errors import InputError
from thinresnet.stopping import TrainingError

VISIBLE = "CUDA_VISIBLE_DEVICES"
_SECONDS_TO_SAVE = 60.0  # for processes that are asked to stop because another one failed


def visible_devices() -> tuple[str, ...]:
    """The GPUs of this machine, as CUDA_VISIBLE_DEVICES names them."""
    count = torch.cuda.device_count()
    given = [name.strip() for name in os.environ.get(VISIBLE, "").split(",") if name.strip()]
    return tuple(given[:count] or map(str, range(count)))


def environments(jobs: int, gpus_per_stage: int = 1) -> list[dict[str, str]]:
    """What each job has in its environment: its GPUs, if there are any."""
    devices = visible_devices()
    if gpus_per_stage > max(1, len(devices)):
        raise InputError(
            f"--gpus-per-stage {gpus_per_stage}: this machine has {len(devices)} GPU{'' if len(devices) == 1 else 's'}"
        )
    groups = [
        ",".join(devices[first : first + gpus_per_stage])
        for first in range(0, len(devices) - gpus_per_stage + 1, gpus_per_stage)
    ]
    return [{VISIBLE: groups[job % len(groups)]} if groups else {} for job in range(jobs)]


def rank_environments(processes: int) -> list[dict[str, str]]:
    """What each of several processes of one training has in its environment, as torchrun would set it."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    shared = {
        "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port), "WORLD_SIZE": str(processes),
        "LOCAL_WORLD_SIZE": str(processes),
    }  # fmt: skip
    return [{**shared, "RANK": str(rank), "LOCAL_RANK": str(rank)} for rank in range(processes)]


def together(processes: int, function: Callable[..., Any], *arguments: Any) -> Any:
    """What the first of several processes returns that all call the function, as ranks of one process group.

    What the first one to fail raised is raised here, once the others have ended.
    """
    context, call = get_context("spawn"), pickle.dumps((function, *arguments))
    receivers, ranks = [], []
    for environment in rank_environments(processes):
        receiver, sender = context.Pipe(duplex=False)
        rank = context.Process(target=child_process.answer, args=(environment, call, sender))
        rank.start()
        sender.close()  # here: what is left open there tells that the process is alive
        receivers.append(receiver)
        ranks.append(rank)
    try:
        answers = _received(receivers)
    except BaseException:
        _end(ranks)
        raise
    for rank in ranks:
        rank.join()
    return answers[0]


def _received(receivers: Sequence[Connection]) -> list[Any]:
    """The answers, in order; the first error to come is raised."""
    answers: dict[int, Any] = {}
    while len(answers) < len(receivers):
        waiting = [number for number in range(len(receivers)) if number not in answers]
        ready = wait([receivers[number] for number in waiting])
        for number in (number for number in waiting if receivers[number] in ready):
            try:
                answers[number], error = receivers[number].recv()
            except EOFError:
                raise TrainingError("a process of the training was killed; the same command resumes") from None
            if error is not None:
                raise error
    return [answers[number] for number in range(len(receivers))]


def _end(processes: Sequence[BaseProcess]) -> None:
    """Processes whose training another one has left: they save, if they still can."""
    for process in processes:
        process.terminate()
    for process in processes:
        process.join(_SECONDS_TO_SAVE)
        if process.is_alive():
            process.kill()
            process.join()
