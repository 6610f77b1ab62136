"""Weights & Biases through accelerate's trackers: a help that must never cost a run.

Without an account, or with a server that does not answer, the run is recorded offline in its own folder (`wandb sync`
uploads it later); whatever else fails in tracking is shown once, and training continues without it.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any

import wandb
from accelerate import Accelerator

PROJECT = "thinresnet"
_SECONDS_FOR_SERVER = 20
_SECONDS_TO_UPLOAD = 60  # at the end; what is left then is uploaded by `wandb sync`


class Tracking:
    """Passes figures on to accelerate's trackers until one of them fails."""

    def __init__(
        self, accelerator: Accelerator, folder: Path, config: Mapping[str, Any], say: Callable[[str], None]
    ) -> None:
        self._accelerator = accelerator
        self._say = say
        self._on = bool(accelerator.log_with)
        if not self._on:
            return
        os.environ.setdefault("WANDB_SILENT", "true")
        modes = ["online", "offline"] if _has_account() else ["offline"]
        for mode in modes:
            if self._try(partial(self._start, folder, config, mode), f"Weights & Biases ({mode})"):
                if mode == "offline":
                    say(f"Weights & Biases: recording offline in {folder / 'wandb'}; upload with `wandb sync`")
                self._on = True
                return

    def log(self, values: Mapping[str, Any], *, step: int) -> None:
        """Record some figures; None values are left out."""
        if self._on:
            kept = {key: value for key, value in values.items() if value is not None}
            self._try(lambda: self._accelerator.log(kept, step=step), "Weights & Biases")

    def finish(self) -> None:
        """Flush and close."""
        if self._on:
            self._try(self._accelerator.end_training, "Weights & Biases")

    def _start(self, folder: Path, config: Mapping[str, Any], mode: str) -> None:
        settings = wandb.Settings(
            init_timeout=_SECONDS_FOR_SERVER, finish_timeout=_SECONDS_TO_UPLOAD, console="off", silent=True
        )
        options = {
            "name": folder.name,
            "id": folder.name,
            "resume": "allow",
            "dir": str(folder),
            "mode": mode,
            "settings": settings,
        }
        self._accelerator.trackers.clear()
        wandb.teardown()  # of an attempt before, which would still hold the run's name
        self._accelerator.init_trackers(PROJECT, config=dict(config), init_kwargs={"wandb": options})

    def _try(self, act: Callable[[], object], what: str) -> bool:
        try:
            act()
        except Exception as error:  # a tracker's trouble, of whatever kind, is never the run's
            self._on = False
            self._say(
                f"{what}: {type(error).__name__}: {str(error).strip().partition(chr(10))[0]}; continuing without it"
            )
            return False
        return True


def _has_account() -> bool:
    """Whether wandb could log in without asking: never prompt in the middle of a run."""
    try:
        return os.environ.get("WANDB_MODE", "online") == "online" and bool(wandb.login(prompt=False))
    except Exception:  # no wandb, or a damaged configuration of it
        return False
