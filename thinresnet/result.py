"""The result of a finished run: the keys of result.json. Standard library only."""

from __future__ import annotations

import json
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

from thinresnet.errors import InputError
from thinresnet.files import read_object, write_atomically
from thinresnet.runs import RESULT_FILE

FORMAT = 1
PARTS = ("test", "test_ema", "holdout", "holdout_ema")


@dataclass(frozen=True)
class Score:
    """One network measured on one split: exact counts, and the mean cross-entropy."""

    images: int
    correct1: int
    correct5: int | None
    loss: float

    @property
    def top1(self) -> float:
        """Percent of the images whose most likely class is right."""
        return 100 * self.correct1 / self.images

    @property
    def top5(self) -> float | None:
        """Percent of the images whose class is among the five most likely; None with fewer than six classes."""
        return None if self.correct5 is None else 100 * self.correct5 / self.images


@dataclass(frozen=True)
class Result:
    """A finished run. Accuracies in percent, counts as whole numbers, None where something does not apply."""

    run: str
    folder: Path
    arch: str
    arch_kwargs: dict[str, Any]
    shape: str
    network_sha256: str
    dataset: str
    classes: int
    images_train: int
    images_holdout: int
    images_test: int
    train_resolution: int
    test_resolution: int
    macs: int
    params: int
    activations: int
    macs_train: int
    dense_macs: int
    dense_params: int
    training_macs: int
    epochs: int
    updates: int
    images_seen: int
    batch_size: int
    test: Score
    test_ema: Score | None
    holdout: Score | None
    holdout_ema: Score | None
    seed: int
    recipe: str
    recipe_hash: str
    initial_checkpoint: dict[str, str] | None
    weights_sha256: str
    weights_ema_sha256: str | None
    seconds: float
    seconds_total: float
    images_per_second: float
    peak_memory_mib: float
    loader: str
    precision: str
    processes: int
    device: str
    git_commit: str | None
    git_clean: bool | None
    versions: dict[str, str]
    command: list[str] | None
    started: str
    finished: str
    sessions: int

    def to_json(self) -> dict[str, Any]:
        """The flat object of result.json; the folder is left out, because a run may be moved."""
        flat: dict[str, Any] = {"format": FORMAT}
        for field in fields(self):
            value = getattr(self, field.name)
            if field.name in PARTS:
                for key in ("top1", "top5", "loss", "correct1", "correct5"):
                    flat[f"{key}_{field.name}"] = None if value is None else getattr(value, key)
            elif field.name != "folder":
                flat[field.name] = value
        return flat

    def write(self) -> None:
        """Write result.json into the run's folder: from then on the run is complete."""
        write_atomically(self.folder / RESULT_FILE, json.dumps(self.to_json(), indent=2, allow_nan=False) + "\n")

    @classmethod
    def read(cls, folder: Path) -> Result:
        """The result of a complete run."""
        path = folder / RESULT_FILE
        flat = read_object(path, missing=f"{path}: no such file; is the run complete, and is {folder} a run's folder?")
        if flat.get("format") != FORMAT:
            raise InputError(f"{path}: not a result of format {FORMAT}")
        images = {"test": "images_test", "holdout": "images_holdout"}
        values: dict[str, Any] = {}
        try:
            for field in fields(cls):
                name = field.name
                if name in PARTS:
                    known = flat[f"correct1_{name}"] is not None
                    values[name] = _score(flat, name, images[name.removesuffix("_ema")]) if known else None
                else:
                    values[name] = folder if name == "folder" else flat[name]
        except KeyError as error:
            raise InputError(f"{path}: the key {error} is missing") from error
        return cls(**values)


def _score(flat: dict[str, Any], part: str, images: str) -> Score:
    return Score(flat[images], flat[f"correct1_{part}"], flat[f"correct5_{part}"], flat[f"loss_{part}"])
