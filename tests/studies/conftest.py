"""A study that is finished without having trained: its stages' folders hold made-up figures, known to the unit."""

from __future__ import annotations

import functools
import json
import os
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from filelock import FileLock

from thinresnet import public_weights
from thinresnet import recipe as recipes
from thinresnet.networks import Cost, Network, build, count, describe, parse_network, read_network, scale
from thinresnet.pruning.record import PruningRecord
from thinresnet.result import Result, Score
from thinresnet.studies import api
from thinresnet.studies.graph import StudyGraph
from thinresnet.studies.graphs import read_graphs
from thinresnet.studies.stages import Guide, Measure, Prune, Source, Stage, Train
from thinresnet.studies.store import Store

IMAGES = 1437 - 144  # of the embedded data, a tenth held out
STUDY = """
study: made-up
about: Nothing of it was trained <b>
arch: resnet20_cifar
dataset: digits
holdout: 0.1
recipes: {short: {recipe: digits, epochs: 2, warmup_epochs: 0}}
finetune: {epochs: 1}
budgets: [macs: 50%]
methods: [l1]
protocols: [dense, scaled-width, scaled-interior, prune-finetune, scratch-e, guided]
seeds: [1, 2]
"""
# Test images that are right, of 360, by what a stage's name holds and the seed.
CORRECT = {
    "dense": (340, 342),
    "scaled-width": (324, 328),
    "scaled-interior": (320, 324),
    "finetuned": (300, 302),
    "scratch-e": (326, 329),
    "guided": (334, 338),
    "measured": (310, 312),
}
TEACHER = {"name": "resnet20_cifar dense", "alpha": 0.9, "temperature": 4.0}
Made = tuple[StudyGraph, Store]


@pytest.fixture(scope="session")
def graph(tmp_path_factory: pytest.TempPathFactory) -> StudyGraph:
    """The graph of `STUDY`."""
    path = tmp_path_factory.mktemp("study") / "made-up.yaml"
    path.write_text(STUDY, encoding="utf-8")
    (found,) = read_graphs(path)
    return found


@pytest.fixture
def finish(graph: StudyGraph, tmp_path: Path) -> Callable[..., Made]:
    """The study with every stage finished, or those only whose names `when` accepts; `kept` channels a block or so."""

    def make(when: Callable[[str], bool] = lambda name: True, kept: int = 3, of: StudyGraph = graph) -> Made:
        store = Store(tmp_path / "runs" / "made-up")
        for stage in of.stages.values():
            if when(stage.name) and all(store.finished(source.stage) for source in stage.inputs.values()):
                store.folder(stage).mkdir(parents=True)
                store.write(stage, {"outputs": _do(store, stage, kept), "seconds": 1.0})
        return of, store

    return make


def _do(store: Store, stage: Stage, kept: int) -> dict[str, str]:
    folder = store.folder(stage)
    if isinstance(stage, (Train, Measure)):
        given = stage.network
        network = read_network(store.path(given)) if isinstance(given, Source) else given
        right = next(counts for name, counts in CORRECT.items() if name in stage.name)[stage.seed - 1]
        _write_run(folder, stage, network, right)
    elif isinstance(stage, Prune):
        seed = stage.seed
        given = stage.parent
        parent = read_network(store.path(given)) if isinstance(given, Source) else given
        # Each seed finds a shape of its own; the second one's is the larger.
        inside = [name for name in parent.channels if name.startswith("layer") and name.endswith("conv1")]
        cut = {**parent.channels, **dict.fromkeys(inside, kept + seed)}
        pruned = folder / "pruned"
        pruned.mkdir()
        (pruned / "network.json").write_text(Network(parent.arch, parent.kwargs, parent.input_size, cut).to_json())
        _write_pruning(pruned, stage)
        return {point.tag: "pruned" for point in stage.points}
    elif isinstance(stage, Guide):
        source = stage.network[0]
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
        both = {"dense": {**half, "macs": 2, "macs_ratio": 1.0, "time_ratio": 1.0}, "network": half}
        record = {"batch_size": 1, "runs": 20, "device": "a machine", "threads": 1, **both}
        record["training"] = {"batch_size": 8, **both}
        (folder / "timing.json").write_text(json.dumps(record))
    return {}


def _write_pruning(folder: Path, stage: Prune) -> None:
    PruningRecord(
        run=folder.name, method="l1", when="trained network", paper="", reconstruction=None, source_sha256=None,
        settings={}, budgets={"macs": "50%"}, to=None, scope="layer", stream=False, round_to=1, preconfig=False,
        seed=stage.seed, parent={}, dataset="digits", recipe_hash=None, holdout=0.1, macs=1, params=1, parent_macs=1,
        parent_params=1, dense_macs=1, dense_params=1, masked=False, channels={}, kept={}, locked={}, layers={},
        groups={}, notes={}, images_at={"8": 500 * stage.seed}, images_seen=500 * stage.seed, updates=0,
        training_macs=7_000_000 * stage.seed, seconds=1.0, holdout_before=None, holdout_pruned=None, parent_run=None,
        device="a machine", git_commit=None, git_clean=None, versions={}, command=None, finished="2020-01-01T00:01",
    ).write(folder)  # fmt: skip


def _cost(network: Network) -> Cost:
    return _counted(network.to_json())


@functools.cache
def _counted(text: str) -> Cost:
    return count(parse_network(text))


def _write_run(folder: Path, stage: Train | Measure, network: Network, right: int) -> None:
    cost, dense = _cost(network), _cost(scale(network.arch, input_size=network.input_size, **network.kwargs))
    measured = isinstance(stage, Measure)
    tuned = "weights" in stage.inputs or measured
    epochs = 0 if measured else 1 if tuned else 2
    recipe = recipes.load("digits", {"seed": stage.seed, "epochs": 2, "warmup_epochs": 0})
    result = Result(
        run=folder.name, folder=folder, arch=network.arch, arch_kwargs=dict(network.kwargs), shape=stage.shape,
        network_sha256=network.sha256, dataset="digits", classes=10, images_train=IMAGES, images_holdout=144,
        images_test=360, train_resolution=8, test_resolution=8, macs=cost.macs, params=cost.params,
        activations=cost.activations, macs_train=cost.macs, dense_macs=dense.macs, dense_params=dense.params,
        training_macs=3 * cost.macs * IMAGES * epochs, epochs=epochs, updates=epochs, images_seen=IMAGES * epochs,
        batch_size=128, test=Score(360, right, 355, 0.5), test_ema=None, holdout=Score(144, 129, 144, 0.5),
        holdout_ema=None, seed=stage.seed, recipe=stage.recipe_name, recipe_hash=recipe.hash,
        initial_checkpoint={"path": "x", "sha256": "y"} if tuned else None, weights_sha256="ab" * 32,
        teacher=TEACHER if "teacher" in stage.inputs else None,
        weights_ema_sha256=None, seconds=1.0, seconds_total=1.0, images_per_second=1.0, peak_memory_mib=1.0,
        loader="memory", precision="no", processes=1, device="a machine", git_commit=None, git_clean=None,
        versions={}, command=None, started="2020-01-01T00:00", finished="2020-01-01T00:01", sessions=1,
    )  # fmt: skip
    result.write()
    (folder / "network.json").write_text(network.to_json())
    (folder / "recipe.yaml").write_text(recipe.to_yaml())
    last = {
        "epoch": epochs, "updates": result.updates, "images_seen": result.images_seen,
        "test_top1": result.test.top1, "test_loss": 0.5, "holdout_top1": 100 * 129 / 144, "holdout_loss": 0.5,
    }  # fmt: skip
    (folder / "metrics.csv").write_text(f"{','.join(last)}\n{','.join(map(repr, last.values()))}\n")
    (folder / "model.safetensors").write_bytes(b"weights")


# Studies that begin with public weights: tiny files stand for the authors'.

PUBLIC_STUDY = """
study: public
arch: thinresnet20-w4
dataset: digits
classes: 10
input_size: [3, 8, 8]
recipes: {adapted: {recipe: digits, epochs: 1, warmup_epochs: 0, weights: thinresnet20-w4}}
finetune: [{epochs: 1, label: short}, {epochs: 2, label: long, budgets: [thinresnet20-w3]}]
budgets: [like: thinresnet20-w3]
methods: [l1, {method: random, vary: pruning}]
protocols: [dense, scaled-public, prune-finetune]
vary: finetuning
folder: shared
seeds: [0, 1]
measure: {runs: 3, training_batch_size: 2}
"""


def _authors_file(folder: Path, name: str, seed: int) -> public_weights.PublicWeights:
    """A tiny file as the authors name their weights, and what the table would say of it."""
    state = build(describe(name, num_classes=10), seed=seed).state_dict()
    theirs = {
        key.replace("conv1.", "embed.0.", 1)
        if key.startswith("conv1.")
        else key.replace("bn1.", "embed.1.", 1)
        if key.startswith("bn1.")
        else key: value
        for key, value in state.items()
    }
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{name}.pt"
    torch.save(theirs, path)
    known = public_weights.find("thinresnet20-w4", "cifar10")
    return replace(known, network=name, path=f"models/{path.name}", git_blob=public_weights.git_hash(path))


@pytest.fixture(scope="session")
def _made_weights(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, tuple[public_weights.PublicWeights, ...]]:
    folder = tmp_path_factory.mktemp("weights")
    return folder, tuple(_authors_file(folder / "below", f"thinresnet20-w{width}", seed=width) for width in (3, 4))


@pytest.fixture
def weights(
    _made_weights: tuple[Path, tuple[public_weights.PublicWeights, ...]], monkeypatch: pytest.MonkeyPatch
) -> Path:
    """A folder with files of two widths, which the table knows while the test runs."""
    folder, known = _made_weights
    monkeypatch.setattr(public_weights, "every", lambda: known)
    return folder


@pytest.fixture(scope="session")
def public(
    _made_weights: tuple[Path, tuple[public_weights.PublicWeights, ...]], tmp_path_factory: pytest.TempPathFactory
) -> Made:
    """`PUBLIC_STUDY`, run once for all workers, which find its stages finished; its tests ask for `weights` too."""
    folder, known = _made_weights
    base = tmp_path_factory.getbasetemp()
    here = (base.parent if "PYTEST_XDIST_WORKER" in os.environ else base) / "public"
    with FileLock(f"{here}.lock"), pytest.MonkeyPatch.context() as patch:
        here.mkdir(exist_ok=True)
        (here / "study.yaml").write_text(PUBLIC_STUDY, encoding="utf-8")
        patch.setattr(public_weights, "every", lambda: known)
        (graph,) = read_graphs(here / "study.yaml", weights_dir=str(folder))
        assert api.run(graph, here / "runs", progress=False) == {}
        store = Store(here / "runs" / "shared")
        assert all(store.finished(stage) for stage in graph.stages.values())
    return graph, store
