"""Freed memory is kept: the next step finds it where it was."""

from __future__ import annotations

import subprocess
import sys

_STEPS = """
import resource, sys
import torch
from thinresnet.training.memory import keep_freed_memory

kept = keep_freed_memory() if sys.argv[1] == "keep" else False

def step():
    maps = [torch.ones(1 << 20) for _ in range(8)]  # 4 MiB each: 1,024 pages

for _ in range(3):
    step()
before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
for _ in range(5):
    step()
print(int(kept), resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""


def _run(what: str) -> tuple[int, int]:
    done = subprocess.run([sys.executable, "-c", _STEPS, what], capture_output=True, text=True, check=True)
    kept, faults = map(int, done.stdout.split())
    return kept, faults


def test_steps_take_no_new_pages() -> None:
    kept, faults = _run("keep")
    assert kept == int(sys.platform.startswith("linux"))
    if kept:
        assert faults < 1024  # left to itself: up to 8,192 a step
