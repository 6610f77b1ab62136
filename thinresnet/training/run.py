"""The folder of a run: its name, what defines it, its lock, and the files written while it goes."""

from __future__ import annotations

import csv
import io
import json
import re
import shutil
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import filelock

from thinresnet.errors import InputError
from thinresnet.files import read_object, write_atomically
from thinresnet.identity import FORMAT, FREE_IN_A_RUN, RUN_DEFAULTS, canonical_sha256, differing
from thinresnet.network import Network
from thinresnet.recipe import Recipe
from thinresnet.runs import NETWORK_FILE, RECIPE_FILE, SETTINGS_FILE
from thinresnet.stopping import TrainingError
from thinresnet.training.checkpoint import check_identity

_LOCK = ".lock"


@dataclass(frozen=True)
class RunFolder:
    """The folder of a run, and the identity that a run must have to resume in it."""

    path: Path
    identity: dict[str, Any]

    @property
    def checkpoints(self) -> Path:
        """Where the checkpoints are while the run is unfinished."""
        return self.path / "checkpoints"

    def lock(self) -> AbstractContextManager[object]:
        """Held by the main process while it trains: two runs in one folder would ruin each other."""
        lock = filelock.FileLock(self.checkpoints / _LOCK, blocking=False)
        try:
            self.checkpoints.mkdir(parents=True, exist_ok=True)
            return lock.acquire()
        except (PermissionError, FileNotFoundError, FileExistsError, NotADirectoryError) as error:
            raise InputError(f"{self.path}: cannot be made ({error.strerror}); give another --output") from None
        except filelock.Timeout:
            raise InputError(
                f"{self.path}: another process is training in this folder; wait for it, or use another --output"
            ) from None

    def begin(self, recipe: Recipe, network: Network, settings: Mapping[str, Any]) -> None:
        """Write what defines the run, so that `--resume` needs the folder alone."""
        write_atomically(self.path / RECIPE_FILE, recipe.to_yaml())
        write_atomically(self.path / NETWORK_FILE, network.to_json())
        write_atomically(
            self.path / SETTINGS_FILE, json.dumps({**settings, "defined_by": self.identity}, indent=2) + "\n"
        )

    def check(self) -> None:
        """Refuse a folder that holds another run."""
        if (self.path / SETTINGS_FILE).exists():
            check_identity(self.path, read_settings(self.path).get("defined_by", {}), self.identity)

    def check_place(self) -> None:
        """Refuse to go on in a folder that was moved away: the rest of the run would go into another one."""
        if not (self.checkpoints / _LOCK).exists():
            raise TrainingError(
                f"{self.path}: was moved or deleted while training; move it back, or resume where it is now: "
                "thinresnet train --resume RUN"
            )

    def remove_checkpoints(self) -> None:
        """Of a complete run; a process that was killed before it came to that leaves them all."""
        shutil.rmtree(self.checkpoints, ignore_errors=True)

    def write_table(self, name: str, rows: Sequence[Mapping[str, Any]]) -> None:
        """Replace a CSV table by all of its rows, so that it never holds more than the state that goes with it."""
        if not rows:
            (self.path / name).unlink(missing_ok=True)
            return
        text = io.StringIO()
        writer = csv.DictWriter(text, fieldnames=list(rows[0]), lineterminator="\n")
        writer.writeheader()
        writer.writerows({key: _cell(value) for key, value in row.items()} for row in rows)
        write_atomically(self.path / name, text.getvalue())


def identity(recipe: Recipe, network: Network, settings: Mapping[str, Any]) -> dict[str, Any]:
    """Everything that decides the weights that come out and is not at its documented default, as plain JSON values."""
    kept = {name: value for name, value in recipe.differing().items() if name not in FREE_IN_A_RUN}
    facts = differing(settings, RUN_DEFAULTS)
    return {"format": FORMAT, "network": json.loads(network.to_json()), "recipe": kept, **facts}


def readable_id(arch: str, shape: str, dataset: str, recipe_name: str, seed: int, identity: Mapping[str, Any]) -> str:
    """`resnet20_cifar-w0.5-digits-s42-3f9a1c`: readable first, unique by the hash of what defines the run."""
    names = [arch, shape, dataset, *([recipe_name] if recipe_name != dataset else []), f"s{seed}"]
    readable = "-".join(re.sub(r"[^A-Za-z0-9_.]+", "_", name) for name in names)
    return f"{readable}-{canonical_sha256(identity)[:6]}"


def read_settings(folder: Path) -> dict[str, Any]:
    """The run.json of a run to resume."""
    missing = f"--resume {folder}: no run there (no run.json); give a folder such as runs/<id>"
    return read_object(folder / SETTINGS_FILE, missing=missing)


def _cell(value: Any) -> str:
    """Numbers in full (repr round-trips a float), nothing where there is none."""
    return "" if value is None else repr(value) if isinstance(value, float) else str(value)
