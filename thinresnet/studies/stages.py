"""What a stage does: one function a kind, given a specification, the folders that it goes on from, and its own folder.

Everything is a plain value or a path, so that a stage can be done by this process, another one, or another machine that
sees the same folders. What is begun goes on where it was stopped: trainings by their own checkpoints.
"""

from __future__ import annotations

import functools
import json
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from thinresnet.budget import parse_budgets
from thinresnet.files import write_atomically

TIMING = "timing.json"


@dataclass(frozen=True)
class Work:
    """A stage on its way to whoever does it."""

    kind: str
    spec: Mapping[str, Any]
    here: Mapping[str, Any]
    inputs: Mapping[str, str]  # folders by role
    folder: str
    quiet: bool = True


def do(work: Work) -> dict[str, Any]:
    """Do it; returns what `stage.json` is to say: the folders of its outputs, and how long it took."""
    start = time.perf_counter()
    folder = Path(work.folder)
    inputs = {role: Path(path) for role, path in work.inputs.items()}
    outputs = KINDS[work.kind](work, inputs, folder)
    return {"outputs": outputs, "seconds": round(time.perf_counter() - start, 3)}


def _train(work: Work, inputs: Mapping[str, Path], folder: Path) -> dict[str, str]:
    from thinresnet.networks import count, parse_network, read_network
    from thinresnet.networks.store import read_weights
    from thinresnet.pruning.folder import MASKS
    from thinresnet.pruning.magnitude import keep_masks
    from thinresnet.recipe import Recipe
    from thinresnet.studies.epochs import scratch_b
    from thinresnet.training.provenance import file_sha256
    from thinresnet.training.session import Holding, train

    spec = work.spec
    recipe = Recipe.from_mapping({**spec["recipe"], **work.here, "seed": spec["seed"]}, spec["shape"])
    network = parse_network(json.dumps(spec["network"])) if spec["network"] else read_network(inputs["network"])
    if spec["stretch"]:
        own = spec["stretch"]
        recipe = scratch_b(recipe, dense_macs=own["dense_macs"], macs=count(network).macs, cap=own["cap"])
    holding = None
    if "weights" in inputs:
        recipe = recipe.replace(initial_checkpoint=str(inputs["weights"]))
        if (inputs["weights"] / MASKS).exists():
            masks = inputs["weights"] / MASKS
            holding = Holding(file_sha256(masks), functools.partial(keep_masks, masks=read_weights(masks)))
    train(
        recipe,
        network,
        recipe_name=spec["recipe_name"],
        shape=spec["shape"],
        holdout=spec["holdout"],
        folder=folder,
        quiet=work.quiet,
        holding=holding,
    )
    return {}


def _prune(work: Work, inputs: Mapping[str, Path], folder: Path) -> dict[str, str]:
    from thinresnet.pruning.folder import How, prune_to_folders
    from thinresnet.pruning.parent import read_parent
    from thinresnet.pruning.presets import preset
    from thinresnet.pruning.registry import method

    spec = work.spec
    data_dir = work.here["data_dir"]
    parent = read_parent(str(inputs["parent"]), data_dir=None if data_dir is None else Path(data_dir))
    wanted = [limits["to"] for limits in spec["outputs"].values() if "to" in limits]
    budgets = tuple(parse_budgets(limits) for limits in spec["outputs"].values() if "to" not in limits)
    how = How(
        budgets=budgets,
        to=preset(wanted[0], parent.network) if wanted else None,
        to_name=wanted[0] if wanted else None,
        scope=spec["scope"],
        stream=spec["stream"],
        seed=spec["seed"],
    )
    found = prune_to_folders(method(spec["method"], spec["settings"]), parent, how, output=folder)
    return {tag: path.name for tag, (path, _) in zip(spec["outputs"], found, strict=True)}


def _crop(work: Work, inputs: Mapping[str, Path], folder: Path) -> dict[str, str]:
    from contextlib import nullcontext

    from thinresnet.networks import build, parse_network
    from thinresnet.pruning.initialisation import criterion, crop
    from thinresnet.pruning.initialisation.folder import record, write
    from thinresnet.recipe import Recipe
    from thinresnet.training.data import open_data
    from thinresnet.training.processes import start_accelerator

    spec = work.spec
    network = parse_network(json.dumps(spec["network"]))
    recipe = Recipe.from_mapping({**(spec["recipe"] or {}), **work.here, "seed": spec["seed"] or 0}, spec["criterion"])
    device = start_accelerator(recipe).device
    looking = (
        open_data(recipe, input_size=network.input_size, holdout=spec["holdout"], device=device)
        if spec["data"]
        else nullcontext()
    )
    chosen = criterion(spec["criterion"], spec["settings"])
    budgets = parse_budgets(spec["budgets"])
    with looking as data:
        model = None if spec["seed"] is None else build(network, seed=spec["seed"]).to(device)
        cropped = crop(chosen, network, budgets, model=model, grow=spec["grow"], data=data, seed=recipe.seed)
    dataset = data.name if data else None
    write(folder, cropped, record(chosen, cropped, seed=recipe.seed, grow=spec["grow"], dataset=dataset))
    return {}


def _shape(work: Work, inputs: Mapping[str, Path], folder: Path) -> dict[str, str]:
    from thinresnet.studies.shapes import RULES

    RULES[work.spec["rule"]](work.spec, inputs, folder)
    return {}


def _time(work: Work, inputs: Mapping[str, Path], folder: Path) -> dict[str, str]:
    """The dense network and the other one in turns, on this machine."""
    import torch

    from thinresnet.networks import measure, parse_network, read_network
    from thinresnet.recipe import Recipe
    from thinresnet.training.processes import start_accelerator
    from thinresnet.training.provenance import device_name

    spec = work.spec
    dense = parse_network(json.dumps(spec["dense"]))
    network = parse_network(json.dumps(spec["network"])) if spec["network"] else read_network(inputs["network"])
    timings = measure([dense, network], batch_size=spec["batch_size"], runs=spec["runs"])
    rows = [{key: value for key, value in asdict(timing).items() if key != "network"} for timing in timings]
    record = {
        "batch_size": spec["batch_size"],
        "runs": spec["runs"],
        "device": device_name(start_accelerator(Recipe())),
        "threads": torch.get_num_threads(),
        "dense": rows[0],
        "network": rows[1],
    }
    write_atomically(folder / TIMING, json.dumps(record, indent=1) + "\n")
    return {}


KINDS: dict[str, Callable[[Work, Mapping[str, Path], Path], dict[str, str]]] = {
    "train": _train,
    "prune": _prune,
    "crop": _crop,
    "shape": _shape,
    "time": _time,
}
