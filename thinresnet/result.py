"""The result of a finished run: the keys of result.json. Standard library only.

Nothing in it says where files lay: a path is relative, or its last name.
"""

from __future__ import annotations

import dataclasses
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

from thinresnet.convert import convert, setting
from thinresnet.errors import InputError
from thinresnet.files import read_object, write_atomically
from thinresnet.notebook import html_facts
from thinresnet.runs import RECIPE_FILE, RESULT_FILE

FORMAT = 1
PARTS = {"test": "test", "test_ema": "test, EMA", "holdout": "hold-out", "holdout_ema": "hold-out, EMA"}  # as shown
FORWARD_AND_BACKWARD = 3  # a training update costs so many times the MACs of the forward pass
# Keys that results had not from the beginning: where there is nothing to say they are not there, as in older results.
_LEFT_OUT = ("masks", "teacher")
# An absolute path as a value, perhaps behind `--flag=`: what comes before it, and its last name.
_ABSOLUTE = re.compile(r"\A(--[\w-]+=)?(?:[/~]|[A-Za-z]:[\\/]).*?([^\\/]+)[\\/]?\Z", re.DOTALL)
# A recipe has absolute paths as values, because the run resumes by it.
_PATH_IN_YAML = re.compile(rb"^(\w+: )['\"]?(?:[/~]|[A-Za-z]:[\\/]).*?([^\\/\n'\"]+)[\\/]?['\"]?$", re.MULTILINE)


@dataclass(frozen=True)
class Score:
    """One network measured on one split: exact counts, and the mean cross-entropy."""

    images: int = setting(low=1)
    correct1: int = setting(low=0)
    correct5: int | None = setting(low=0)
    loss: float = setting()

    def __post_init__(self) -> None:
        for name in ("correct1", "correct5"):
            if (getattr(self, name) or 0) > self.images:
                raise InputError(f"{name}: {getattr(self, name)} of {self.images} images")

    @property
    def top1(self) -> float:
        """Percent of the images whose most likely class is right."""
        return 100 * self.correct1 / self.images

    @property
    def top5(self) -> float | None:
        """Percent of the images whose class is among the five most likely; None with fewer than six classes."""
        return None if self.correct5 is None else 100 * self.correct5 / self.images


@dataclass(frozen=True, kw_only=True)
class Result:
    """A finished run: counts are integers, and None says that something does not apply."""

    run: str
    folder: Path = Path()
    arch: str
    arch_kwargs: dict[str, Any]
    shape: str
    network_sha256: str
    dataset: str
    classes: int = setting(low=1)
    images_train: int = setting(low=0)
    images_holdout: int = setting(low=0)
    images_test: int = setting(low=0)
    train_resolution: int = setting(low=1)
    test_resolution: int = setting(low=1)
    macs: int = setting(low=0)
    params: int = setting(low=0)
    activations: int = setting(low=0)
    macs_train: int = setting(low=0)
    dense_macs: int = setting(low=0)
    dense_params: int = setting(low=0)
    training_macs: int = setting(low=0)
    epochs: int = setting(low=0)
    updates: int = setting(low=0)
    images_seen: int = setting(low=0)
    batch_size: int = setting(low=1)
    test: Score
    test_ema: Score | None
    holdout: Score | None
    holdout_ema: Score | None
    seed: int = setting(low=0)
    recipe: str
    recipe_hash: str
    initial_checkpoint: dict[str, str] | None
    masks: dict[str, Any] | None = setting(None)  # weights that were held at zero: of which masks, how many
    teacher: dict[str, Any] | None = setting(None)  # what it was distilled from, and the MACs of the teacher's passes
    weights_sha256: str
    weights_ema_sha256: str | None
    seconds: float = setting(low=0)
    seconds_total: float = setting(low=0)
    images_per_second: float = setting(low=0)
    peak_memory_mib: float = setting(low=0)
    loader: str
    precision: str
    processes: int = setting(low=1)
    device: str
    git_commit: str | None
    git_clean: bool | None
    versions: dict[str, str]
    command: list[str] | None = setting(lines=True)
    started: str
    finished: str
    sessions: int = setting(low=0)

    def __repr__(self) -> str:
        return f"<Result {self.run}: top-1 {self.test.top1:.2f} %, {self.macs:,} MACs, {self.params:,} parameters>"

    def _repr_html_(self) -> str:
        shares = self.macs / self.dense_macs if self.dense_macs else 1, self.params / max(1, self.dense_params)
        scores = {
            f"top-1, {shown}": f"{score.top1:.2f} % ({score.correct1:,} of {score.images:,})"
            for part, shown in PARTS.items()
            if (score := getattr(self, part)) is not None
        }
        facts = {
            **scores,
            "MACs": f"{self.macs:,} ({shares[0]:.1%} of dense)",
            "parameters": f"{self.params:,} ({shares[1]:.1%} of dense)",
            "training": f"{self.epochs} epochs of {self.images_train:,} images, recipe {self.recipe}, seed {self.seed}",
            "folder": self.folder,
        }
        return html_facts(f"{self.arch} {self.shape} on {self.dataset}", facts)

    def to_json(self) -> dict[str, Any]:
        """The flat object of result.json; the folder is left out, because a run may be moved."""
        flat: dict[str, Any] = {"format": FORMAT}
        for field in fields(self):
            value = getattr(self, field.name)
            if field.name in PARTS:
                for key in ("top1", "top5", "loss", "correct1", "correct5"):
                    flat[f"{key}_{field.name}"] = None if value is None else getattr(value, key)
            elif field.name != "folder" and not (field.name in _LEFT_OUT and value is None):
                flat[field.name] = value
        return flat

    def write(self) -> None:
        """Write result.json into the run's folder: from then on the run is complete."""
        write_atomically(self.folder / RESULT_FILE, json.dumps(self.to_json(), indent=2, allow_nan=False) + "\n")

    @classmethod
    def read(cls, folder: Path) -> Result:
        """The result of a complete run."""
        path = folder / RESULT_FILE
        missing = f"{path}: no such file; the run is unfinished (resume it), or {folder} is not a run folder"
        return cls.from_json(read_object(path, missing=missing), folder, str(path))

    @classmethod
    def from_json(cls, flat: Mapping[str, Any], folder: Path, where: str) -> Result:
        """The result that the object of a result.json states, checked; keys of newer versions are left out."""
        if flat.get("format") != FORMAT:
            raise InputError(f"{where}: not a result of format {FORMAT}")
        values = {name: value for name, value in flat.items() if name not in ("folder", *PARTS)}
        values |= {part: _score(flat, part, where) for part in PARTS}
        return dataclasses.replace(convert(cls, values, where, unknown="ignore"), folder=folder)


def _score(flat: Mapping[str, Any], part: str, where: str) -> dict[str, Any] | None:
    """The keys of one score out of the flat object; None where that part was not measured."""
    names = {"correct1": f"correct1_{part}", "correct5": f"correct5_{part}", "loss": f"loss_{part}"}
    if flat.get(names["correct1"]) is None and part != "test":
        return None
    for name in names.values():
        if name not in flat:
            raise InputError(f"{where}: the key {name!r} is missing")
    images = "images_" + part.removesuffix("_ema")
    score = {"images": flat.get(images), **{key: flat[name] for key, name in names.items()}}
    try:
        convert(Score, score, "")
    except InputError as error:  # named as the flat object names it
        key, _, rest = str(error).partition(": ")
        raise InputError(f"{where}: {names.get(key, images)}: {rest}") from None
    return score


def teacher_of(result: Mapping[str, Any]) -> str:
    """What the object of a result.json says that the run was distilled from; empty where there was no teacher."""
    return str((result.get("teacher") or {}).get("name", ""))


def without_folders(value: Any) -> Any:
    """JSON values in which every absolute path is its last name: where files lay on a machine is nobody's business."""
    if isinstance(value, dict):
        return {key: without_folders(own) for key, own in value.items()}
    if isinstance(value, (list, tuple)):
        return [without_folders(own) for own in value]
    return _ABSOLUTE.sub(r"\1\2", value) if isinstance(value, str) else value


def published(path: Path) -> bytes:
    """A file of a run as evidence: without the folders of the machine that it ran on."""
    written = path.read_bytes()
    if path.name == RECIPE_FILE:
        return _PATH_IN_YAML.sub(rb"\1\2", written)
    if path.suffix != ".json":
        return written
    found = json.loads(written)
    without = without_folders(found)
    return written if without == found else (json.dumps(without, indent=2) + "\n").encode()
