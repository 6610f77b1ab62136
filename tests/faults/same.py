"""The same command on the same machine gives the same weights, to the bit: however it is done, as far as promised."""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

from tests.faults import child
from tests.faults.child import Command
from tests.faults.commands import SMALL, Home
from tests.faults.crash import Case, begin, seconds_since

ROOT = Path(__file__).parents[2]
_FOLDERS = (
    "train", *SMALL, "--data-dir", "data", "--dataset", "", "--epochs", "2", "--batch-size", "4", "--loader", "torch",
)  # fmt: skip
# What may differ between two commands without changing a bit, by the flags that say so.
WAYS = {
    "again": (),
    "no worker": ("--workers", "0"),
    "three workers": ("--workers", "3"),
    "saved after every update": ("--checkpoint-minutes", "0.0000001"),
    "another folder": ("--output", "elsewhere"),
}


def campaign(home: Home, *, processes: bool) -> Iterator[Case]:
    """Each way to run a training on folders of images, against the plainest; and two processes against themselves."""
    command = Command("train folders", (*_FOLDERS, "--workers", "1"), home.pictures)
    expected = _weights(command, home, ())
    for what, flags in WAYS.items() if processes else [("three workers", WAYS["three workers"])]:
        start = time.monotonic()
        found = _weights(command, home, flags)
        wrong = "" if found == expected else f"weights {found}, not {expected}"
        yield Case("same", command.name, what, wrong, seconds_since(start))
    if processes:
        start = time.monotonic()
        one, two = (_by_two(command, home) for _ in range(2))
        yield Case(
            "same", command.name, "two processes, twice", "" if one == two else f"{one}, {two}", seconds_since(start)
        )


def _weights(command: Command, home: Home, flags: tuple[str, ...]) -> str:
    begin(command, home.root)
    ended = child.run((*command.arguments, *flags), home.root)
    return _hash(home.root) if ended.code == 0 else ended.said


def _by_two(command: Command, home: Home) -> str:
    begin(command, home.root)
    launch = ("-m", "accelerate.commands.launch", "--cpu", "--num_processes", "2", "--main_process_port", "0")
    line = [sys.executable, *launch, ROOT / "train.py", *command.arguments[1:]]
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    done = subprocess.run(
        line, cwd=home.root, env=environment, capture_output=True, text=True, timeout=300, check=False
    )
    return _hash(home.root) if done.returncode == 0 else done.stderr[-300:]


def _hash(root: Path) -> str:
    found = sorted(root.rglob("model*.safetensors"))
    return hashlib.sha256(b"".join(path.read_bytes() for path in found)).hexdigest()[:16]
