"""A pruned run folder's own account: `pruning.json` and the names of the files beside it.

It is written last: a folder that has it is complete.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from thinresnet.convert import convert
from thinresnet.errors import InputError
from thinresnet.files import read_object, write_atomically
from thinresnet.runs import MASKS_FILE

FORMAT = 2
FILE = "pruning.json"
MASKS = MASKS_FILE
OWN_MASKS = "own_masks.safetensors"  # of the network before: which weights a method at initialisation would keep
PICTURE = "kept"


@dataclass(frozen=True)
class PruningRecord:
    """What was pruned, how, what came out and what it cost; the keys of pruning.json."""

    run: str
    method: str
    when: str
    paper: str
    reconstruction: str | None
    source_sha256: str | None  # of the file of a method from outside
    settings: dict[str, Any]
    budgets: dict[str, str]
    to: dict[str, Any] | None
    scope: str
    stream: bool
    round_to: int
    preconfig: bool
    seed: int
    parent: dict[str, Any]
    dataset: str | None
    recipe_hash: str | None
    holdout: float
    macs: int
    params: int
    parent_macs: int
    parent_params: int
    dense_macs: int
    dense_params: int
    masked: bool  # then the cost above is that of the whole network: zeros are computed too
    channels: dict[str, int]
    kept: dict[str, list[int]]
    locked: dict[str, str]
    layers: dict[str, dict[str, float]]  # at initialisation: weights, MACs, density asked for and density left
    groups: dict[str, dict[str, float]]  # at initialisation: channels, of how many, factor before rounding
    notes: dict[str, Any]
    images_at: dict[str, int]  # images seen by the side of the training image, pixels
    images_seen: int  # forward and backward, by scores and training
    updates: int
    training_macs: int
    seconds: float
    holdout_before: dict[str, Any] | None  # accuracy on held-out images
    holdout_pruned: dict[str, Any] | None  # the same after pruning, before fine-tuning
    parent_run: dict[str, Any] | None
    device: str
    git_commit: str | None
    git_clean: bool | None
    versions: dict[str, str]
    command: list[str] | None
    finished: str
    revision: int = 1  # of what the method's name means
    recalibrate: int = 0  # images asked for, for the batch norms of what came out
    forward_at: dict[str, int] = field(default_factory=dict)  # images that went forward only, by scores
    recalibrated_at: dict[str, int] = field(default_factory=dict)  # images forward through what came out
    latency: dict[str, Any] | None = None  # of a budget in latency: predicted, measured, and by which table

    def to_json(self) -> dict[str, Any]:
        """The object of pruning.json."""
        return {"format": FORMAT, **asdict(self)}

    def write(self, folder: Path) -> None:
        """Write pruning.json: from then on the folder is complete."""
        write_atomically(folder / FILE, json.dumps(self.to_json(), indent=1, allow_nan=False) + "\n")


def read_pruning(folder: Path) -> PruningRecord:
    """The account of a pruned folder, checked."""
    path = folder / FILE
    found = read_object(path, missing=f"{path}: no such file; was {folder} written by `thinresnet prune`?")
    if found.pop("format", None) != FORMAT:
        raise InputError(f"{path}: not of format {FORMAT}; prune again with this version")
    return convert(PruningRecord, found, str(path), unknown="ignore")
