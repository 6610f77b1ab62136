"""From a parent to new run folders, one a budget: network, weights, what was removed, what it cost, a picture.

`pruning.json` is written last: a folder that has it is whole, and the same call again leaves it as it is.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from thinresnet import networks
from thinresnet.budget import Budget
from thinresnet.errors import InputError
from thinresnet.files import read_object, write_atomically
from thinresnet.networks import Network
from thinresnet.pruning.parent import Parent
from thinresnet.pruning.picture import draw
from thinresnet.pruning.registry import Method
from thinresnet.pruning.session import Outcome, prune, settings_of
from thinresnet.recipe import Recipe
from thinresnet.runs import RECIPE_FILE
from thinresnet.training import provenance
from thinresnet.training.loop import evaluate
from thinresnet.training.processes import start_accelerator
from thinresnet.training.run import readable_id

if TYPE_CHECKING:
    from accelerate import Accelerator

    from thinresnet.training.data import Data

FORMAT = 1
FILE = "pruning.json"
MASKS = "masks.safetensors"


@dataclass(frozen=True)
class How:
    """How to prune: everything but the method and what it is done to."""

    budgets: tuple[tuple[Budget, ...], ...] = ()  # one set for each folder, loosest first
    to: Network | None = None  # instead of budgets: the counts to prune to
    to_name: str | None = None
    scope: str | None = None
    stream: bool = False
    round_to: int = 1
    seed: int = 42


def prune_to_folders(
    method: Method,
    parent: Parent,
    how: How,
    *,
    output: Path,
    command: list[str] | None = None,
    progress: Callable[[str, int, int], None] = lambda what, done, total: None,
) -> Iterator[tuple[Path, dict[str, Any]]]:
    """Prune and write; each folder with what its pruning.json says, as soon as it is whole."""
    accelerator = start_accelerator(parent.recipe or Recipe())
    looks = bool(method.needs) or parent.holdout > 0
    with parent.data(accelerator.device, needed=bool(method.needs)) if looks else nullcontext() as data:
        known = {tag: _identity(method, parent, how, budgets, data) for tag, budgets in _tags(how)}
        folders = {tag: output / _name(method, parent, tag, how.seed, data, known[tag]) for tag in known}
        if folders and all((folder / FILE).exists() for folder in folders.values()):
            for folder in folders.values():
                yield folder, read_pruning(folder)
            return
        model = parent.model(how.seed, accelerator.device)
        before = _holdout(accelerator, model, data)
        outcomes = prune(
            method,
            parent.network,
            model,
            how.budgets,
            to=how.to,
            scope=how.scope,
            stream=how.stream,
            round_to=how.round_to,
            data=data if parent.recipe else None,
            recipe=parent.recipe,
            seed=how.seed,
            progress=progress,
        )
        for tag, outcome in zip(folders, outcomes, strict=True):
            record = {
                "format": FORMAT,
                "run": folders[tag].name,
                **known[tag],
                **_found(outcome),
                "holdout_before": before,
                "holdout_before_tuning": _holdout(accelerator, outcome.pruned.model, data),
                "parent_run": _parent_run(parent),
                "device": provenance.device_name(accelerator),
                **dict(zip(("git_commit", "git_clean"), provenance.git_state(), strict=True)),
                "versions": provenance.versions(),
                "command": command,
                "finished": provenance.now(),
            }
            _write(folders[tag], parent, outcome, record)
            yield folders[tag], record


def read_pruning(folder: Path) -> dict[str, Any]:
    """What a pruned folder says of itself."""
    path = folder / FILE
    found = read_object(path, missing=f"{path}: no such file; is {folder} what `thinresnet prune` has written?")
    if found.get("format") != FORMAT:
        raise InputError(f"{path}: not a pruning of format {FORMAT}")
    return found


def write_masks(path: Path, masks: Mapping[str, Tensor]) -> None:
    """Masks by parameter, as `keep_masks` takes them when they are read again."""
    from safetensors.torch import save

    write_atomically(path, save({name: mask.to(torch.uint8) for name, mask in masks.items()}))


def _tags(how: How) -> Iterator[tuple[str, tuple[Budget, ...]]]:
    """What each folder is called by, and its budgets."""
    if how.to is not None:
        yield how.to_name or f"net_{how.to.sha256[:6]}", ()
    for budgets in how.budgets:
        yield "-".join(budget.tag for budget in budgets), budgets


def _identity(method: Method, parent: Parent, how: How, budgets: Sequence[Budget], data: Data | None) -> dict[str, Any]:
    """Everything that decides what comes out, as JSON values."""
    trains = bool(method.needs)
    return {
        "method": method.name,
        "paper": method.paper,
        "settings": settings_of(method),
        "budgets": {budget.quantity: budget.text for budget in budgets},
        "to": None if how.to is None else json.loads(how.to.to_json()),
        "scope": how.scope or method.scope,
        "stream": how.stream,
        "round_to": how.round_to,
        "seed": how.seed,
        "parent": {
            "name": parent.name,
            "network_sha256": parent.network.sha256,
            "weights_sha256": parent.weights_sha256(),
        },
        "dataset": data.name if data else None,
        "recipe_hash": parent.recipe.hash if parent.recipe and trains else None,
        "holdout": parent.holdout,
    }


def _name(method: Method, parent: Parent, tag: str, seed: int, data: Data | None, known: dict[str, Any]) -> str:
    # What the parent is called does not decide what comes out.
    decides = {**known, "parent": {key: value for key, value in known["parent"].items() if key != "name"}}
    dataset = data.name if data else (parent.result or {}).get("dataset") or "nodata"
    return readable_id(parent.network.arch, f"{method.name}-{tag}", dataset, dataset, seed, decides)


def _found(outcome: Outcome) -> dict[str, Any]:
    pruned = outcome.pruned
    macs, params = outcome.cost
    parent_macs, parent_params = outcome.parent_cost
    dense_macs, dense_params = outcome.dense_cost
    return {
        "macs": macs,
        "params": params,
        "parent_macs": parent_macs,
        "parent_params": parent_params,
        "dense_macs": dense_macs,
        "dense_params": dense_params,
        "masked": pruned.masks is not None,  # then the cost above is that of the whole network: zeros are computed too
        "channels": dict(pruned.network.channels),
        "kept": dict(pruned.kept),
        "locked": dict(outcome.locked),
        "notes": dict(pruned.notes),
        "images_seen": outcome.images_seen,
        "updates": outcome.updates,
        # Forward and backward through the parent, whole or masked: nothing is saved before the cut.
        "training_macs": 3 * parent_macs * outcome.images_seen,
        "seconds": outcome.seconds,
    }


def _holdout(accelerator: Accelerator, model: nn.Module, data: Data | None) -> dict[str, Any] | None:
    """The accuracy on images kept aside from training; the test set is for what is finished."""
    if data is None or data.holdout is None:
        return None
    training = model.training
    score = evaluate(accelerator, model, data.holdout, data.num_classes)
    model.train(training)
    return {**asdict(score), "top1": score.top1, "top5": score.top5}


def _parent_run(parent: Parent) -> dict[str, Any] | None:
    """What the bill of everything pruned from a run begins with."""
    keys = ("run", "recipe", "recipe_hash", "epochs", "images_seen", "training_macs", "top1_test", "seed")
    return None if parent.result is None else {key: parent.result.get(key) for key in keys}


def _write(folder: Path, parent: Parent, outcome: Outcome, record: dict[str, Any]) -> None:
    pruned = outcome.pruned
    networks.save(folder, pruned.network, pruned.model)
    if pruned.masks is not None:
        write_masks(folder / MASKS, pruned.masks)
    if parent.recipe is not None:
        write_atomically(folder / RECIPE_FILE, parent.recipe.to_yaml())
    draw(parent.network, outcome, folder / "kept")
    write_atomically(folder / FILE, json.dumps(record, indent=1, allow_nan=False) + "\n")
