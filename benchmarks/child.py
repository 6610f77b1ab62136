"""What the benchmarks share: Python in a process of its own, and the account of where a result was measured."""

from __future__ import annotations

import json
import os
import platform
import subprocess
import sys
from collections.abc import Mapping, Sequence
from datetime import datetime, timezone
from importlib.metadata import version
from pathlib import Path
from typing import Any

from thinresnet.machine import processor

ROOT = Path(__file__).resolve().parents[1]


def output_of(command: Sequence[str], environment: Mapping[str, str] | None = None, folder: Path | None = None) -> str:
    """What a Python command prints, errors included; one that fails ends the benchmark with the end of its output."""
    done = subprocess.run(
        [sys.executable, *command],
        check=False,
        text=True,
        cwd=folder,
        env={**os.environ, "PYTHONPATH": str(ROOT), **(environment or {})},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
    )
    if done.returncode:
        raise SystemExit(f"{' '.join(command)[:300]} failed:\n{done.stdout[-3000:]}")
    return done.stdout


def measured_by_child(what: str) -> dict[str, Any]:
    """What this very command prints as a line of JSON when it is given `--child` once more."""
    lines = output_of([*sys.argv, "--child", what]).splitlines()
    row: dict[str, Any] = json.loads(next(line for line in reversed(lines) if line.startswith("{")))
    return row


def account(*packages: str) -> dict[str, Any]:
    """When, on which machine and with which versions a result was measured."""
    return {
        "when": datetime.now(timezone.utc).isoformat(timespec="seconds"),
        "machine": f"{processor()}, {os.cpu_count()} cores",
        "python": platform.python_version(),
        "versions": {name: version(name) for name in packages},
    }
