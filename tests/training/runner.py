"""Starts runs in processes of their own, quickly: one interpreter imports everything, then forks a child for each run.

Used by test_resume. Reads one JSON job a line and answers with the child's exit: its code, or minus the signal that
ended it. A job with a signal sends it some milliseconds after the child has written so many checkpoints.
"""

from __future__ import annotations

import gc
import json
import os
import signal
import sys
import time
import traceback
from pathlib import Path

gc.disable()  # a quarter of what the imports take

import torch  # noqa: E402

from thinresnet import networks  # noqa: E402
from thinresnet import recipe as recipes  # noqa: E402
from thinresnet.stopping import REQUEUE_EXIT_CODE, TrainingInterruptedError  # noqa: E402
from thinresnet.training import loop, train  # noqa: E402


def child(job: dict[str, object]) -> int:
    torch.set_num_threads(1)
    if job["every_update"]:
        loop._SECONDS_BETWEEN_LOOKS = 0.0
    recipe = recipes.load("digits", job["recipe"])
    network = networks.scale("resnet10t", width=0.125, num_classes=10, input_size=(3, 8, 8))
    try:
        train(
            recipe,
            network,
            folder=Path(job["folder"]),
            holdout=0.1,
            teacher=job["teacher"],
            checkpoint_minutes=1e-9 if job["every_update"] else 0,
        )
    except TrainingInterruptedError:
        return REQUEUE_EXIT_CODE
    return 0


def wait_for_saves(folder: Path, count: int, number: int) -> None:
    before = newest(folder)
    seen: set[str] = set()
    while len(seen) < count and os.waitid(os.P_PID, number, os.WEXITED | os.WNOHANG | os.WNOWAIT) is None:
        if (name := newest(folder)) > before:
            seen.add(name)
        time.sleep(0.001)


def newest(folder: Path) -> str:
    return max((path.name for path in folder.glob("*.pt")), default="")


def run(job: dict[str, object]) -> int:
    number = os.fork()
    if number == 0:
        code = 1
        try:
            code = child(job)
        except BaseException:
            traceback.print_exc()
        os._exit(code)
    if job["signal"] is not None:
        wait_for_saves(Path(job["folder"]) / "checkpoints", job["saves"], number)
        time.sleep(job["milliseconds"] / 1000)
        os.kill(number, getattr(signal, job["signal"]))
    _, status = os.waitpid(number, 0)
    return os.waitstatus_to_exitcode(status)


gc.enable()
for line in sys.stdin:
    print(run(json.loads(line)), flush=True)
