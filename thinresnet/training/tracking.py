"""Weights & Biases and TensorBoard through accelerate's trackers: a help that must never cost a run.

Both are optional packages; one that is asked for and missing is refused before anything else happens. Without an
account, or with a server that does not answer, Weights & Biases records offline in the run's folder (`wandb sync`
uploads it later). Whatever else fails in a tracker is shown once, and training continues without that tracker. A run
that is resumed continues in the same run of Weights & Biases and the same folder of TensorBoard.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Mapping
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from accelerate import Accelerator
from accelerate.tracking import GeneralTracker, TensorBoardTracker

from thinresnet.errors import InputError
from thinresnet.recipe import Recipe

try:
    import wandb
except ImportError:  # optional: thinresnet[wandb]
    wandb = None  # type: ignore[assignment]

PROJECT = "thinresnet"
TENSORBOARD_FOLDER = "tensorboard"
_SECONDS_FOR_SERVER = 20
_SECONDS_TO_UPLOAD = 60  # at the end; what is left then is uploaded by `wandb sync`


class FolderTensorBoard(TensorBoardTracker):
    """accelerate's TensorBoard tracker in one folder of the run for all its sessions.

    The folder is known only after the data were opened, and accelerate's own way of storing settings would make a new
    subfolder, hence a new run in TensorBoard, at each resume.
    """

    def __init__(self) -> None:
        super().__init__(TENSORBOARD_FOLDER, "")

    def place(self, folder: Path, updates: int) -> None:
        """Write below `folder`; what an earlier session wrote after `updates` is done again, and hidden."""
        self.logging_dir_param = str(folder)
        self.init_kwargs = {"purge_step": updates + 1}

    def store_init_configuration(self, values: Mapping[str, Any]) -> None:
        """Keep the settings as text, where accelerate keeps scalars alone."""
        self.writer.add_text("settings", f"```\n{json.dumps(values, indent=1, default=str)}\n```", global_step=0)


def trackers(recipe: Recipe) -> list[str | GeneralTracker]:
    """What accelerate logs with; a tracker whose package is missing is refused, with the command that installs it."""
    wanted: list[str | GeneralTracker] = []
    if recipe.log_wandb:
        if wandb is None:
            raise _missing("log_wandb", "wandb")
        wanted.append("wandb")
    if recipe.log_tensorboard:
        if find_spec("tensorboard") is None:
            raise _missing("log_tensorboard", "tensorboard")
        wanted.append(FolderTensorBoard())
    return wanted


def _missing(field: str, package: str) -> InputError:
    flag = f"--{field.replace('_', '-')}"
    return InputError(
        f"{field}: {package} is not installed; pip install 'thinresnet[{package}]', or leave out {flag} "
        "(metrics.csv has every epoch without it)"
    )


class Tracking:
    """Passes figures on to accelerate's trackers, to each until it fails; the main process alone tracks."""

    def __init__(
        self,
        accelerator: Accelerator,
        folder: Path,
        config: Mapping[str, Any],
        say: Callable[[str], None],
        *,
        updates: int = 0,
    ) -> None:
        self._accelerator, self._say = accelerator, say
        self._running: dict[str, GeneralTracker] = {}
        for service in accelerator.log_with if accelerator.is_main_process else ():
            if isinstance(service, FolderTensorBoard):
                service.place(folder, updates)
                self._start("TensorBoard", service, config)
            else:
                self._start_wandb(service, folder, config)

    def log(self, values: Mapping[str, Any], *, step: int) -> None:
        """Record some figures; None values are left out."""
        kept = {key: value for key, value in values.items() if value is not None}
        for name, tracker in list(self._running.items()):
            self._try(name, partial(tracker.log, kept, step=step))

    def finish(self) -> None:
        """Flush and close."""
        for name, tracker in list(self._running.items()):
            self._try(name, tracker.finish)

    def _start_wandb(self, service: object, folder: Path, config: Mapping[str, Any]) -> None:
        os.environ.setdefault("WANDB_SILENT", "true")
        settings = wandb.Settings(
            init_timeout=_SECONDS_FOR_SERVER, finish_timeout=_SECONDS_TO_UPLOAD, console="off", silent=True
        )
        options = {"name": folder.name, "id": folder.name, "resume": "allow", "dir": str(folder), "settings": settings}
        for mode in ["online", "offline"] if _has_account() else ["offline"]:
            wandb.teardown()  # of an attempt before, which would still hold the run's name
            if self._start("Weights & Biases", service, config, {**options, "mode": mode}, how=f" ({mode})"):
                if mode == "offline":
                    self._say(f"Weights & Biases: recording offline in {folder / 'wandb'}; upload with `wandb sync`")
                return

    def _start(
        self,
        name: str,
        service: object,
        config: Mapping[str, Any],
        wandb_options: Mapping[str, Any] | None = None,
        how: str = "",
    ) -> bool:
        """Start one tracker by itself, so that one that fails takes none of the others along."""

        def start() -> None:
            self._accelerator.trackers.clear()
            self._accelerator.log_with = [service]
            options = {"wandb": dict(wandb_options or {})}
            self._accelerator.init_trackers(PROJECT, config=dict(config), init_kwargs=options)
            self._running[name] = self._accelerator.trackers[-1]

        return self._try(name, start, how)

    def _try(self, name: str, act: Callable[[], object], how: str = "") -> bool:
        try:
            act()
        except Exception as error:  # a tracker's trouble, of whatever kind, is never the run's
            self._running.pop(name, None)
            line = str(error).strip().partition("\n")[0]
            self._say(f"{name}{how}: {type(error).__name__}: {line}; continuing without it")
            return False
        return True


def _has_account() -> bool:
    """Whether wandb could log in without asking: never prompt in the middle of a run."""
    try:
        return os.environ.get("WANDB_MODE", "online") == "online" and bool(wandb.login(prompt=False))
    except Exception:  # a damaged configuration of it
        return False
