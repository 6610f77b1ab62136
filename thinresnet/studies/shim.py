"""Temporary: the one registry of methods, as branch `pruning` will have it."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from contextlib import nullcontext
from pathlib import Path
from typing import Any

from thinresnet.budget import Budget
from thinresnet.files import read_object, write_atomically
from thinresnet.network import Network
from thinresnet.networks import build
from thinresnet.pruning.initialisation.cropping import crop
from thinresnet.pruning.initialisation.folder import record, write
from thinresnet.pruning.initialisation.registry import Criterion, check_grows, criteria, criterion
from thinresnet.pruning.registry import Method, method
from thinresnet.recipe import Recipe
from thinresnet.training.data import open_data
from thinresnet.training.processes import start_accelerator

Criterion.when = "at initialisation"  # type: ignore[attr-defined]
Method.when = "trained network"  # type: ignore[attr-defined]
Method.grows = False  # type: ignore[attr-defined]
Criterion.removes = "channels"  # type: ignore[attr-defined]
Criterion.rewinds = False  # type: ignore[attr-defined]
for one in criteria().values():
    one.ranks_weights = not one.grows  # type: ignore[attr-defined]
INITIALISATION = "at initialisation"


def lookup(name: str, settings: Mapping[str, Any]) -> Any:
    return criterion(name, settings) if name in criteria() else method(name, settings)


def prune_initially(
    chosen: Any,
    network: Network,
    budgets: Sequence[Budget],
    recipe: Recipe | None,
    holdout: float,
    grow: bool,
    seed: int,
    folder: Path,
) -> str:
    own = (recipe or Recipe()).replace(seed=seed)
    device = start_accelerator(own).device
    looking = open_data(own, input_size=network.input_size, holdout=holdout, device=device) if recipe else nullcontext()
    if grow:
        check_grows(chosen, "preconfig")
    with looking as data:
        model = build(network, seed=seed).to(device) if "weights" in chosen.needs else None
        found = crop(chosen, network, budgets, model=model, grow=grow, data=data, seed=seed)
    said = record(chosen, found, seed=seed, grow=grow, dataset=data.name if data else None)
    write(folder / "pruned", found, said)
    old = read_object(folder / "pruned" / "densities.json")
    macs = 3 * int(old["parent_macs"]) * int(old["images_seen"])
    text = json.dumps({"format": 1, "kept": {}, "images_seen": old["images_seen"], "training_macs": macs})
    write_atomically(folder / "pruned" / "pruning.json", text)
    return "pruned"
