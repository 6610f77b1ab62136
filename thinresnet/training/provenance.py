"""Where a run comes from: commit, versions, device, time. What result.json needs to be believed."""

from __future__ import annotations

import hashlib
import importlib.util
import platform
import subprocess
from datetime import datetime, timezone
from importlib import metadata
from pathlib import Path

import torch
from accelerate import Accelerator

import thinresnet
from thinresnet.machine import processor as processor

_PACKAGES = ("torch", "torchvision", "timm", "accelerate", "numpy", "ffcv")


def file_sha256(path: Path) -> str:
    """The hash of a file's bytes."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while block := file.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()


def versions() -> dict[str, str]:
    """Versions of what a number may depend on; a package that is not installed is left out."""
    found = {"python": platform.python_version(), "thinresnet": thinresnet.__version__}
    installed = {package: importlib.util.find_spec(package) is not None for package in _PACKAGES}
    return found | {package: metadata.version(package) for package, there in installed.items() if there}


def git_state() -> tuple[str | None, bool | None]:
    """The commit of the checkout this package runs from and whether its files are unchanged; None outside one."""
    folder = Path(__file__).resolve().parent
    commit = _git(folder, "rev-parse", "HEAD")
    changed = _git(folder, "status", "--porcelain", "--untracked-files=no") if commit else None
    return commit, None if changed is None else not changed


def device_name(accelerator: Accelerator) -> str:
    """`2 x NVIDIA H100 80GB HBM3`, or the processor and its threads a process."""
    if accelerator.device.type == "cuda":
        name = torch.cuda.get_device_name(accelerator.device)
        return f"{accelerator.num_processes} x {name}" if accelerator.num_processes > 1 else name
    return f"{processor()} ({torch.get_num_threads()} threads a process)"


def now() -> str:
    """The time in UTC, to the second."""
    return datetime.now(timezone.utc).isoformat(timespec="seconds")


def _git(folder: Path, *arguments: str) -> str | None:
    try:
        answer = subprocess.run(
            ["git", "-C", str(folder), *arguments], capture_output=True, text=True, timeout=20, check=True
        )
    except (OSError, subprocess.SubprocessError):
        return None
    return answer.stdout.strip()
