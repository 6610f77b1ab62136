"""From a parent to new run folders, one a budget: network, weights, what was removed, what it cost, a picture.

A folder appears when it is complete, and the same call again leaves it as it is.
"""

from __future__ import annotations

import inspect
import json
import math
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, nullcontext
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import torch
from accelerate import Accelerator
from safetensors.torch import save
from torch import Tensor, nn

import thinresnet
from thinresnet import networks
from thinresnet.budget import Budget
from thinresnet.errors import InputError
from thinresnet.files import building, publish, remove_left_of, write_atomically
from thinresnet.identity import differing
from thinresnet.network import Network
from thinresnet.networks import hub
from thinresnet.networks.cost import count
from thinresnet.networks.latency_measuring import latency_record, table_of
from thinresnet.progress import Progress, silent
from thinresnet.pruning.initialisation.densities import densities_left
from thinresnet.pruning.job import Asked
from thinresnet.pruning.method import INITIALISATION, Method, settings_of
from thinresnet.pruning.parent import Parent
from thinresnet.pruning.picture import draw
from thinresnet.pruning.record import FILE, FORMAT, MASKS, OWN_MASKS, PICTURE, PruningRecord, read_pruning
from thinresnet.pruning.session import How, Outcome, check_targets, prune, recalibrates
from thinresnet.recipe import Recipe
from thinresnet.result import FORWARD_AND_BACKWARD
from thinresnet.runs import NETWORK_FILE, RECIPE_FILE
from thinresnet.stopping import TrainingError
from thinresnet.training import provenance
from thinresnet.training.data import Data
from thinresnet.training.measuring import evaluate
from thinresnet.training.processes import start_accelerator
from thinresnet.training.run import readable_id

# What a pruning is identified by beside these: a new field whose default says "as before" moves no folder. Another
# default here is a new format.
_DEFAULTS: dict[str, Any] = {
    "revision": 1,
    "source_sha256": None,
    "settings": {},
    "to": None,
    "stream": False,
    "round_to": 1,
    "preconfig": False,
    "latency_table": None,
    "recalibrate": 0,
    "dataset": None,
    "recipe_hash": None,
    "holdout": 0.0,
}


@dataclass(frozen=True)
class _Work:
    """One call: what is to be done, and what it is recorded with."""

    method: Method
    parent: Parent
    how: How
    accelerator: Accelerator
    data: Data | None
    command: list[str] | None


def prune_to_folders(
    method: Method,
    parent: Parent,
    how: How,
    *,
    output: Path,
    command: list[str] | None = None,
    progress: Progress = silent,
) -> Iterator[tuple[Path, PruningRecord]]:
    """Prune and write; each folder with its record, as soon as it is complete.

    At initialisation the network is taken as it is drawn from the seed: weights that a run has learnt are not read.
    """
    if method.when == INITIALISATION:
        parent = replace(parent, weights=None, result=None)
    if how.bounds_latency and how.latency_table is None:
        how = replace(how, latency_table=table_of(parent.network, progress=progress))
    accelerator = start_accelerator(parent.recipe or Recipe())
    needed = "data" in method.needs
    looks = recalibrates(method) and how.recalibrate > 0
    measures = parent.holdout > 0 and method.when != INITIALISATION
    with parent.data(accelerator.device, needed=needed) if needed or measures or looks else nullcontext() as data:
        work = _Work(method, parent, how, accelerator, data, command)
        known = [_identity(work, budgets) for budgets in ([()] if how.to else how.budgets)]
        folders = [output / _name(work, tag, own) for tag, own in zip(_tags(how), known, strict=True)]
        done = _done(folders, method)
        if folders and done == folders:
            yield from ((folder, read_pruning(folder)) for folder in folders)
            return
        if twice := next((folder for folder in folders if folders.count(folder) > 1), None):
            raise InputError(f"{twice}: the same budget is given twice; give it once")
        # What is refused leaves no folder behind, so it is refused before one is made.
        check_targets(
            method, parent.network, how.budgets, to=how.to, scope=how.scope, stream=how.stream, round_to=how.round_to,
            grow=how.grow, latency_table=how.latency_table,
        )  # fmt: skip
        with ExitStack() as stack:
            parts = {folder: stack.enter_context(building(folder)) for folder in folders if folder not in done}
            model = parent.model(how.seed, accelerator.device) if "weights" in method.needs else None
            if measures:
                progress("measuring on the hold-out", 0, 0)
            before = _holdout(work, model)
            outcomes = _pruned(work, model, progress)
            for folder, own, outcome in zip(folders, known, outcomes, strict=True):
                if folder in done:
                    yield folder, read_pruning(folder)
                    continue
                record = PruningRecord(
                    run=folder.name,
                    **own,
                    **_result(parent.network, outcome),
                    latency=_latency(how, outcome.pruned.network),
                    holdout_before=before,
                    holdout_pruned=_holdout(work, outcome.pruned.model),
                    **_provenance(work),
                )
                progress("drawing and writing", 0, 0)
                _write(parts[folder], work, outcome, record)
                publish(parts[folder], folder)
                yield folder, record


def write_masks(path: Path, masks: Mapping[str, Tensor]) -> None:
    """Masks by parameter, as `keep_masks` takes them when they are read again."""
    write_atomically(path, save({name: mask.to(torch.uint8) for name, mask in masks.items()}))


def _pruned(work: _Work, model: nn.Module | None, progress: Progress) -> Iterator[Outcome]:
    how, parent = work.how, work.parent
    return prune(
        work.method,
        parent.network,
        model,
        how.budgets,
        to=how.to,
        scope=how.scope,
        stream=how.stream,
        round_to=how.round_to,
        grow=how.grow,
        latency_table=how.latency_table,
        data=work.data if parent.recipe else None,
        recipe=parent.recipe,
        seed=how.seed,
        recalibrate=how.recalibrate,
        progress=progress,
    )


def _tags(how: How) -> list[str]:
    """What each folder is called by."""
    if how.to is not None:
        return [how.to_name or f"net_{how.to.sha256[:6]}"]
    return ["-".join(budget.tag for budget in budgets) for budgets in how.budgets]


def _identity(work: _Work, budgets: Sequence[Budget]) -> dict[str, Any]:
    """Everything that decides what comes out, as JSON values."""
    method, parent, how = work.method, work.parent, work.how
    return {
        "method": method.name,
        "revision": method.revision,
        "when": method.when,
        "paper": method.paper,
        "reconstruction": method.reconstruction,
        "source_sha256": _source_sha256(method),
        "settings": settings_of(method),
        "budgets": {budget.quantity: budget.text for budget in budgets},
        "to": None if how.to is None else json.loads(how.to.to_json()),
        "scope": how.scope or method.scope,
        "stream": how.stream_of(method),
        "round_to": how.round_to,
        "preconfig": how.grow,
        "recalibrate": how.recalibrate if work.data is not None and recalibrates(method) else 0,
        "seed": how.seed,
        "parent": {
            "name": parent.name,
            "network_sha256": parent.network.sha256,
            "weights_sha256": parent.weights_sha256(),
        },
        "dataset": work.data.name if work.data else None,
        "recipe_hash": parent.recipe.hash if parent.recipe and "data" in method.needs else None,
        "holdout": parent.holdout,
    }


def _name(work: _Work, tag: str, known: Mapping[str, Any]) -> str:
    """A readable name, unique by the hash of what decides what comes out."""
    parent, method = work.parent, work.method
    # What these are called does not decide anything.
    decides = {key: value for key, value in known.items() if key not in ("paper", "reconstruction", "when")}
    decides["settings"] = differing(method)
    decides["parent"] = {key: value for key, value in known["parent"].items() if key != "name"}
    dataset = work.data.name if work.data else (parent.result or {}).get("dataset") or "nodata"
    if work.how.bounds_latency and work.how.latency_table is not None:
        decides["latency_table"] = work.how.latency_table.sha256
    identity = {"format": FORMAT, **differing(decides, _DEFAULTS)}
    return readable_id(parent.network.arch, f"{method.name}-{tag}", dataset, dataset, work.how.seed, identity)


def _done(folders: Sequence[Path], method: Method) -> list[Path]:
    """Those that are complete, which stay as they are; what killed processes left beside them goes."""
    done = [folder for folder in folders if _is_done(folder, method)]
    for folder in done:
        remove_left_of(folder)
    return done


def _is_done(folder: Path, method: Method) -> bool:
    """Whether the folder is complete, and its settings are these: a default may have changed since."""
    if not (folder / FILE).exists():
        return False
    recorded, now = read_pruning(folder).settings, settings_of(method)
    return all(recorded[key] == value for key, value in now.items() if key in recorded)


def _source_sha256(method: Method) -> str | None:
    """The hash of the file that a method from outside is defined in."""
    path = Path(inspect.getfile(type(method))).resolve()
    if Path(thinresnet.__file__).resolve().parent in path.parents:
        return None
    return provenance.file_sha256(path)


def _result(parent: Network, outcome: Outcome) -> dict[str, Any]:
    pruned = outcome.pruned
    # Through the parent, whole or masked: nothing is saved before the cut.
    training_macs = FORWARD_AND_BACKWARD * _forward_macs(parent, outcome.images_at)
    training_macs += _forward_macs(parent, outcome.forward_at)
    training_macs += _forward_macs(pruned.network, outcome.recalibrated_at)
    return {
        **{f"{of}{name}": value for of, cost in _costs(outcome).items() for name, value in cost.items()},
        "masked": pruned.masks is not None,
        "channels": dict(pruned.network.channels),
        "kept": dict(pruned.kept),
        "locked": dict(outcome.locked),
        "layers": {} if pruned.asked is None else _layers(parent, pruned.network, pruned.asked),
        "groups": {} if pruned.asked is None else _groups(parent, pruned.network, pruned.asked),
        "notes": dict(pruned.notes),
        "images_at": {str(side): images for side, images in sorted(outcome.images_at.items())},
        "images_seen": outcome.images_seen,
        "forward_at": {str(side): images for side, images in sorted(outcome.forward_at.items())},
        "recalibrated_at": {str(side): images for side, images in sorted(outcome.recalibrated_at.items())},
        "updates": outcome.updates,
        "training_macs": training_macs,
        "seconds": outcome.seconds,
    }


def _latency(how: How, network: Network) -> dict[str, Any] | None:
    """Where a budget bounds it: the latency predicted and measured here (null on another machine), and the table."""
    if not how.bounds_latency or how.latency_table is None:
        return None
    return latency_record(how.latency_table, network)


def _forward_macs(network: Network, images_at: Mapping[int, int]) -> int:
    """The MACs of so many images of each side, forward."""
    channels = network.input_size[0]
    return sum(images * count(network, (channels, side, side)).macs for side, images in images_at.items())


def _costs(outcome: Outcome) -> dict[str, dict[str, int]]:
    costs = {"": outcome.cost, "parent_": outcome.parent_cost, "dense_": outcome.dense_cost}
    return {of: cost._asdict() for of, cost in costs.items()}


def _layers(parent: Network, thin: Network, asked: Asked) -> dict[str, dict[str, float]]:
    """Each layer's weights and MACs, the density asked for and the one that the channels leave."""
    layers, left = asked.layers, densities_left(parent, thin)
    return {
        name: {
            "weights": int(layers.weights[index]),
            "macs": int(layers.weights[index] * layers.positions[index]),
            "asked": float(asked.densities.values[index]),
            "left": left[name],
        }
        for index, name in enumerate(layers.names)
    }


def _groups(parent: Network, thin: Network, asked: Asked) -> dict[str, dict[str, float]]:
    """Each group's channels, of how many, and the factor before rounding."""
    return {
        name: {"channels": thin.channels[name], "of": parent.channels[name], "factor": factor}
        for name, factor in asked.factors.items()
    }


def _holdout(work: _Work, model: nn.Module | None) -> dict[str, Any] | None:
    """The accuracy on images kept aside from training; the test set is for what is finished."""
    if model is None or work.data is None or work.data.holdout is None or work.method.when == INITIALISATION:
        return None
    training = model.training
    score = evaluate(work.accelerator, model, work.data.holdout, work.data.num_classes)
    model.train(training)
    if not math.isfinite(score.loss):
        raise TrainingError(
            f"{work.parent.name}, {work.method.name}: failed: non-finite loss on the held-out images; look at the "
            "weights that are pruned, or prune less"
        )
    return {**asdict(score), "top1": score.top1, "top5": score.top5}


def _provenance(work: _Work) -> dict[str, Any]:
    """The parent's training cost, and what made this folder, where and when."""
    keys = ("run", "recipe", "recipe_hash", "epochs", "images_seen", "training_macs", "top1_test", "seed")
    result = work.parent.result
    return {
        "parent_run": None if result is None else {key: result.get(key) for key in keys},
        "device": provenance.device_name(work.accelerator),
        **dict(zip(("git_commit", "git_clean"), provenance.git_state(), strict=True)),
        "versions": provenance.versions(),
        "command": work.command,
        "finished": provenance.now(),
    }


def _write(folder: Path, work: _Work, outcome: Outcome, record: PruningRecord) -> None:
    pruned, recipe = outcome.pruned, work.parent.recipe
    if pruned.model is None:
        write_atomically(folder / NETWORK_FILE, pruned.network.to_json())
    else:
        networks.save(folder, pruned.network, pruned.model)
        if work.parent.weights is not None:
            hub.carry_over(work.parent.weights.parent, folder, pruned.network)
        if recipe is not None:
            write_atomically(folder / RECIPE_FILE, recipe.to_yaml())
    if pruned.masks is not None:
        write_masks(folder / MASKS, pruned.masks)
    if pruned.asked is not None and pruned.asked.densities.masks is not None:
        layers = pruned.asked.layers
        own = zip(layers.names, layers.shapes, pruned.asked.densities.masks, strict=True)
        write_masks(
            folder / OWN_MASKS, {f"{name}.weight": torch.from_numpy(mask).view(shape) for name, shape, mask in own}
        )
    draw(work.parent.network, record.method, outcome, folder / PICTURE)
    record.write(folder)
