"""Freed memory is kept: the next step finds it where it was."""

from __future__ import annotations

import subprocess
import sys

from thinresnet.training import memory

_STEPS = """
import resource, runpy, sys
import torch

kept = runpy.run_path(sys.argv[1])["keep_freed_memory"]()

def step():
    maps = [torch.ones(1 << 20) for _ in range(8)]  # 4 MiB each: 1,024 pages

for _ in range(3):
    step()
before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
for _ in range(5):
    step()
print(int(kept), resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""


def _run() -> tuple[int, int]:
    # The file alone: its package would be imported for three times as long as torch.
    done = subprocess.run([sys.executable, "-c", _STEPS, memory.__file__], capture_output=True, text=True, check=True)
    kept, faults = map(int, done.stdout.split())
    return kept, faults


def test_steps_take_no_new_pages() -> None:
    kept, faults = _run()
    assert kept == int(sys.platform.startswith("linux"))
    if kept:
        assert faults < 1024  # left to itself: up to 8,192 a step
