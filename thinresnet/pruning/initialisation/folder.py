"""A crop on disk: the network, what led to it, a picture; `densities.json` is written last.

Of a criterion that ranks weights, also the masks that it found, which are of the network before the crop.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import torch

from thinresnet.files import write_atomically
from thinresnet.pruning.folder import write_masks
from thinresnet.pruning.initialisation.cropping import Cropped
from thinresnet.pruning.initialisation.densities import densities_left
from thinresnet.pruning.initialisation.picture import draw
from thinresnet.pruning.initialisation.registry import Criterion
from thinresnet.runs import NETWORK_FILE
from thinresnet.training import provenance

FORMAT = 1
FILE = "densities.json"
OWN_MASKS = "own_masks.safetensors"


def record(criterion: Criterion, cropped: Cropped, *, seed: int, grow: bool, dataset: str | None) -> dict[str, Any]:
    """All that there is to say about a crop, as JSON values."""
    left = densities_left(cropped.parent, cropped.network)
    weights = cropped.layers.weights
    groups = {
        name: {
            "channels": cropped.network.channels[name],
            "of": cropped.parent.channels[name],
            "factor": factor,  # before counts are made whole
        }
        for name, factor in cropped.factors.items()
    }
    layers = {
        name: {
            "weights": int(weights[index]),
            "macs": int(weights[index] * cropped.layers.positions[index]),
            "asked": float(cropped.found.densities[index]),
            "cropped": left[name],
        }
        for index, name in enumerate(cropped.layers.names)
    }
    return {
        "format": FORMAT,
        "criterion": criterion.name,
        "settings": dict(vars(criterion)),
        "paper": criterion.paper,
        "reconstruction": criterion.reconstruction,
        "counts": "by this project's rule: PreCrop's own could not be read",
        "arch": cropped.network.arch,
        "budgets": {budget.quantity: budget.text for budget in cropped.budgets},
        "preconfig": grow,
        "seed": seed,
        "dataset": dataset,
        "macs": cropped.cost[0],
        "params": cropped.cost[1],
        "parent_macs": cropped.parent_cost[0],
        "parent_params": cropped.parent_cost[1],
        "dense_macs": cropped.dense_cost[0],
        "dense_params": cropped.dense_cost[1],
        "parent_sha256": cropped.parent.sha256,
        "network_sha256": cropped.network.sha256,
        "layers": layers,
        "groups": groups,
        "notes": dict(cropped.notes),
        "images_seen": cropped.images_seen,
        "seconds": cropped.seconds,
        **dict(zip(("git_commit", "git_clean"), provenance.git_state(), strict=True)),
        "versions": provenance.versions(),
        "finished": provenance.now(),
    }


def write(folder: Path, cropped: Cropped, found: dict[str, Any]) -> None:
    """Write the network, the masks, the picture and the record."""
    write_atomically(folder / NETWORK_FILE, cropped.network.to_json())
    if cropped.found.kept is not None:
        layers = cropped.layers
        kept = zip(layers.names, layers.shapes, cropped.found.kept, strict=True)
        masks = {f"{name}.weight": torch.from_numpy(mask).view(shape) for name, shape, mask in kept}
        write_masks(folder / OWN_MASKS, masks)
    draw(cropped, found["criterion"], folder / "densities")
    write_atomically(folder / FILE, json.dumps(found, indent=1, allow_nan=False) + "\n")
