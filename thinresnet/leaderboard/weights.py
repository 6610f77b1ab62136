"""Weights that other people trained, as rows and for holes: what an evaluation of imported weights says of a result.

Such a row is measured here and trained there: its column `weights` says `theirs`, and its training cost is that of the
recipe that its authors state, where they state one.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from thinresnet import base_width, public_weights
from thinresnet.errors import InputError
from thinresnet.evaluation import Evaluation
from thinresnet.imported import Imported
from thinresnet.leaderboard.holes import ABOVE, BELOW, WIDE, Hole
from thinresnet.leaderboard.schema import DATASETS, Entry
from thinresnet.leaderboard.verdicts import Verdict
from thinresnet.network import Network
from thinresnet.public_weights import PublicWeights
from thinresnet.runs import EVALUATION_FILE, IMPORTED_FILE, NETWORK_FILE, RESULT_FILE

TEST_IMAGES = {"imagenet": 50_000, "cifar10": 10_000, "cifar100": 10_000, "cifar10-jpeg": 10_000}
AUTHORS = "brain-bzh/baseline-pruning"


def is_imported(folder: Path) -> bool:
    """Whether a run folder holds imported weights and no training of this project."""
    return (folder / IMPORTED_FILE).is_file() and not (folder / RESULT_FILE).is_file()


def result_of(folder: Path) -> dict[str, Any]:
    """An evaluation of imported weights, with the keys of a training's result that a row is made of."""
    imported = Imported.read(folder)
    if not (folder / EVALUATION_FILE).is_file():
        raise InputError(
            f"{folder}: imported weights that are not evaluated; measure them with: thinresnet evaluate {folder}"
        )
    found = Evaluation.read(folder)
    _check(folder, imported, found)
    origin, network = imported.origin, by_base_width(imported)
    known = network is not None and imported.dataset in public_weights.BATCH_SIZE
    recipe = f"{'cifar' if network and network.cifar else 'imagenet'}-thinresnet" if known else ""
    return {
        "format": 1,
        "weights": "theirs",
        "repository": origin.repository,
        "trained_on": imported.dataset,
        "arch": found.arch,
        "shape": found.shape,
        "dataset": found.dataset,
        "classes": len(found.classes),
        "network_sha256": found.network_sha256,
        # Of a training that is not known the weights themselves are what tells it from another.
        "recipe_hash": found.weights_sha256[:16],
        "recipe": recipe,
        "epochs": _epochs(imported.dataset) if known else 0,
        "seed": 0,
        "macs": found.macs,
        "params": found.params,
        "dense_macs": imported.dense_macs,
        "dense_params": imported.dense_params,
        "images_test": found.images,
        "correct1_test": found.correct1,
        "correct5_test": found.correct5,
        "test_resolution": found.resolution,
        "train_resolution": public_weights.TRAIN_SIDE_PX[imported.dataset] if known else None,
        "training_macs": public_weights.training_macs(network, imported.dataset) if known and network else None,
        "initial_checkpoint": None,
    }


def cells_of_theirs(result: Mapping[str, Any]) -> dict[str, str]:
    """What a row of imported weights has besides the figures of every measured row."""
    cells = {"weights": "theirs", "read_repo": str(result["repository"])}
    if result["trained_on"] != result["dataset"]:
        cells["extra_data"] = f"trained on {result['trained_on'] or 'data that are not said'}, not on this copy"
    return {name: text for name, text in cells.items() if text}


def method_of(result: Mapping[str, Any]) -> str:
    """What a row of imported weights is called where nobody says otherwise."""
    by = "ThinResNet authors" if result["repository"] == AUTHORS else str(result["repository"]) or "others"
    return f"{result['arch']} {result['shape']}, weights of {by}"


@dataclass(frozen=True)
class Fill:
    """Public weights, and the results that their evaluation would judge, or judge better than a wide gap does."""

    weights: PublicWeights
    cost: float  # in G MACs or M parameters
    serves: tuple[Verdict, ...]


def fills(holes: Iterable[Hole]) -> list[Fill]:
    """The public weights that would serve results of these holes, those that serve most first."""
    holes = list(holes)
    found = []
    for one in public_weights.every():
        for budget in dict.fromkeys(hole.assumptions.budget for hole in holes):
            cost = _cost(one, budget)
            served = tuple(
                verdict
                for hole in holes
                if hole.assumptions.budget == budget and _is_of(one, hole)
                for verdict in _served(hole, cost, budget)
            )
            if served:
                found.append(Fill(one, cost, served))
    return sorted(found, key=lambda fill: (-len(fill.serves), fill.cost))


def _served(hole: Hole, cost: float, budget: str) -> tuple[Verdict, ...]:
    """The results of a hole that a reference of this cost would reach."""
    if hole.kind == WIDE:
        low, high = (_cost_of(entry, budget) for entry in hole.verdicts[0].neighbours)
        return hole.verdicts if low < cost < high else ()
    if hole.kind == BELOW:
        return tuple(verdict for verdict in hole.verdicts if _cost_of(verdict.entry, budget) >= cost)
    if hole.kind == ABOVE:
        return tuple(verdict for verdict in hole.verdicts if _cost_of(verdict.entry, budget) <= cost)
    return hole.verdicts


def _cost_of(entry: Entry, budget: str) -> float:
    return (entry.params_m if budget == "params" else entry.macs_g) or 0.0


def file_for(hole: Hole) -> PublicWeights | None:
    """The public weights whose evaluation would judge most of a hole's rows; None where none would judge any."""
    found = fills([hole])
    return found[0].weights if found else None


def _is_of(one: PublicWeights, hole: Hole) -> bool:
    network = one.base_width
    return network is not None and one.dataset == hole.dataset and network.arch in hole.archs


def _cost(one: PublicWeights, quantity: str) -> float:
    """G MACs or M parameters at the dataset's usual resolution; 0 of what is no network by base width."""
    if one.base_width is None:
        return 0.0
    data = DATASETS[one.dataset]
    macs, params = one.base_width.cost(classes=data.classes, side_px=data.input_size)
    return params / 1e6 if quantity == "params" else macs / 1e9


def command_for(weights: PublicWeights) -> str:
    """The command that measures public weights."""
    return f"thinresnet evaluate {weights.network} --data-dir DATA"


def add_command_for(weights: PublicWeights) -> str:
    """The command that puts the evaluation of public weights on the board."""
    return f"thinresnet leaderboard add evaluations/{Path(weights.path).stem}"


def record_for(hole: Hole) -> dict[str, Any] | None:
    """What `holes --json` says of the public weights for a hole."""
    one = file_for(hole)
    if one is None:
        return None
    return {"network": one.network, "url": one.url, "measure": command_for(one), "add": add_command_for(one)}


def by_base_width(imported: Imported) -> base_width.BaseWidth | None:
    """The ThinResNet authors' network that these weights are, if their repository is where they come from."""
    if imported.origin.repository != AUTHORS:
        return None
    for network in base_width.every():
        named = imported.shape in (network.name, "dense" if network.is_dense else "")
        if network.arch == imported.arch and named:
            return network
    return None


def _epochs(dataset: str) -> int:
    """The epochs of the authors' updates, in whole batches."""
    return round(public_weights.UPDATES / (DATASETS[dataset].train_images // public_weights.BATCH_SIZE[dataset]))


def _check(folder: Path, imported: Imported, found: Evaluation) -> None:
    """Refuse an evaluation that is of other weights, or not of the whole dataset."""
    path = folder / EVALUATION_FILE
    for name in ("weights_sha256", "network_sha256", "arch"):
        if getattr(found, name) != getattr(imported, name):
            raise InputError(f"{path}, {name}: of other weights than {IMPORTED_FILE}; evaluate {folder} again")
    network = folder / NETWORK_FILE
    # A link could carry any file of this machine along.
    if network.is_symlink() or Network.read(network).sha256 != imported.network_sha256:
        raise InputError(f"{network}: not the network of {IMPORTED_FILE}; import the weights again")
    if found.restricted:
        raise InputError(
            f"{path}: predictions are restricted to {len(found.classes)} of {found.outputs} classes; a row is of all"
        )
    if found.dataset not in DATASETS:
        raise InputError(f"{path}, dataset: {found.dataset!r} is not one of {', '.join(DATASETS)}")
    expected = TEST_IMAGES.get(found.dataset, found.images)
    if found.images != expected:
        raise InputError(f"{path}: {found.images:,} images; {found.dataset} has {expected:,} to test on")
