"""A study that is finished without having trained: its stages' folders hold made-up figures, known to the unit."""

from __future__ import annotations

import functools
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from thinresnet.networks import Cost, Network, count, parse_network, read_network, scale
from thinresnet.studies.plan import Plan, Stage
from thinresnet.studies.protocols import PROTOCOLS
from thinresnet.studies.store import Store
from thinresnet.studies.study import read_studies

IMAGES = 1437 - 144  # of the embedded data, a tenth held out
STUDY = """
study: made-up
about: Nothing of it was trained <b>
arch: resnet20_cifar
dataset: digits
holdout: 0.1
recipes: {short: {recipe: digits, epochs: 2, warmup_epochs: 0}}
tune: {epochs: 1}
budgets: [macs: 50%]
methods: [l1]
protocols: [dense, scaled-width, scaled-interior, prune-tune, scratch-e, guided]
seeds: [1, 2]
"""
# Test images that are right, of 360, by what a stage's name holds and the seed.
CORRECT = {
    "dense": (340, 342),
    "scaled-width": (324, 328),
    "scaled-interior": (320, 324),
    "tuned": (300, 302),
    "scratch-e": (326, 329),
    "guided": (334, 338),
}
Made = tuple[Plan, Store]


@pytest.fixture(scope="session")
def plan(tmp_path_factory: pytest.TempPathFactory) -> Plan:
    """The plan of `STUDY`."""
    path = tmp_path_factory.mktemp("study") / "made-up.yaml"
    path.write_text(STUDY, encoding="utf-8")
    (study,) = read_studies(path, protocols=list(PROTOCOLS))
    return Plan(study)


@pytest.fixture
def finish(plan: Plan, tmp_path: Path) -> Callable[..., Made]:
    """The study with every stage finished, or those only whose names `when` accepts; `kept` channels a block or so."""

    def make(when: Callable[[str], bool] = lambda name: True, kept: int = 3) -> Made:
        store = Store(tmp_path / "runs" / "made-up")
        for stage in plan.stages.values():
            if when(stage.name) and all(store.finished(source.stage) for source in stage.inputs.values()):
                store.folder(stage).mkdir(parents=True)
                store.write(stage, {"outputs": _do(store, stage, kept), "seconds": 1.0})
        return plan, store

    return make


def _do(store: Store, stage: Stage, kept: int) -> dict[str, str]:
    folder = store.folder(stage)
    if stage.kind == "train":
        given = stage.spec["network"]
        network = parse_network(json.dumps(given)) if given else read_network(store.path(stage.inputs["network"]))
        right = next(counts for name, counts in CORRECT.items() if name in stage.name)[stage.spec["seed"] - 1]
        _write_run(folder, stage, network, right)
    elif stage.kind == "prune":
        seed = stage.spec["seed"]
        parent = read_network(store.path(stage.inputs["parent"]))
        # Each seed finds a shape of its own; the second one's is the larger.
        inside = [name for name in parent.channels if name.startswith("layer") and name.endswith("conv1")]
        cut = {**parent.channels, **dict.fromkeys(inside, kept + seed)}
        pruned = folder / "pruned"
        pruned.mkdir()
        (pruned / "network.json").write_text(Network(parent.arch, parent.kwargs, parent.input_size, cut).to_json())
        record = {"format": 1, "kept": {}, "images_seen": 500 * seed, "training_macs": 7_000 * seed}
        (pruned / "pruning.json").write_text(json.dumps(record))
        return dict.fromkeys(stage.spec["outputs"], "pruned")
    elif stage.kind == "shape":
        source = stage.inputs["network0"]
        (folder / "network.json").write_text((store.path(source) / "network.json").read_text())
    else:
        half = {
            "macs": 1,
            "macs_ratio": 0.5,
            "latency_ms": 6.0,
            "latency_spread_ms": 0.1,
            "images_per_second": 1.0,
            "time_ratio": 0.8,
        }
        record = {"batch_size": 1, "runs": 20, "device": "a machine", "threads": 1, "dense": half, "network": half}
        (folder / "timing.json").write_text(json.dumps(record))
    return {}


def _cost(network: Network) -> Cost:
    return _counted(network.to_json())


@functools.cache
def _counted(text: str) -> Cost:
    return count(parse_network(text))


def _write_run(folder: Path, stage: Stage, network: Network, right: int) -> None:
    cost, dense = _cost(network), _cost(scale(network.arch, input_size=network.input_size, **network.kwargs))
    tuned = "weights" in stage.inputs
    epochs = 1 if tuned else 2
    result: dict[str, Any] = {
        "format": 1, "run": folder.name, "arch": network.arch, "arch_kwargs": dict(network.kwargs),
        "shape": stage.spec["shape"], "network_sha256": network.sha256, "dataset": "digits", "classes": 10,
        "images_train": IMAGES, "images_test": 360, "train_resolution": 8, "test_resolution": 8, "macs": cost.macs,
        "params": cost.params, "dense_macs": dense.macs, "dense_params": dense.params,
        "training_macs": 3 * cost.macs * IMAGES * epochs, "epochs": epochs, "seed": stage.spec["seed"],
        "recipe": stage.spec["recipe_name"], "recipe_hash": "cd" * 8, "device": "a machine",
        "initial_checkpoint": {"path": "x", "sha256": "y"} if tuned else None,
        "top1_test": 100 * right / 360, "correct1_test": right, "correct5_test": 355, "top1_test_ema": None,
        "correct1_test_ema": None, "correct5_test_ema": None, "top1_holdout": 90.0,
    }  # fmt: skip
    (folder / "result.json").write_text(json.dumps(result))
    (folder / "network.json").write_text(network.to_json())
    (folder / "recipe.yaml").write_text("epochs: 2\n")
    (folder / "metrics.csv").write_text("epoch\n1\n")
    (folder / "model.safetensors").write_bytes(b"weights")
