"""A small board of real shape, and rows made to measure."""

from __future__ import annotations

import csv
import json
from collections.abc import Callable
from pathlib import Path

import pytest

from thinresnet import recipe as recipes
from thinresnet.leaderboard.papers import parse_bib, render_bib
from thinresnet.leaderboard.schema import Entry, parse
from thinresnet.leaderboard.store import render
from thinresnet.network import Network

BIB = """@inproceedings{lin2020hrank,
  title = {{HRank}: Filter Pruning using High-Rank Feature Map},
  author = {Lin, Mingbao and Ji, Rongrong},
  year = {2020},
  booktitle = {CVPR},
  eprint = {2002.10179},
  archiveprefix = {arXiv},
}

@misc{thinresnet,
  title = {{thinresnet}: The Bar That a Structured-Pruning Paper Must Clear},
}
"""
ROW = {
    "id": "lin2020hrank-resnet50-000001",
    "source": "published",
    "dataset": "imagenet",
    "arch": "resnet50",
    "method": "HRank",
    "family": "pruned",
    "accuracy_unit": "accuracy",
    "top1_printed": "74.98",
    "dense_top1_printed": "76.15",
    "cost_unit": "macs",
    "cost_printed_g": "2.30",
    "dense_cost_printed_g": "4.09",
    "paper": "lin2020hrank",
    "locator": "Table 4, row 2",
    "hand": "first",
    "read_repo": "lmbxmu/HRank",
}


@pytest.fixture(scope="session")
def cells() -> dict[str, str]:
    """The cells of one faultless published row."""
    return dict(ROW)


@pytest.fixture(scope="session")
def make() -> Callable[..., Entry]:
    """Entries like that row, with some cells changed."""

    def entry_of(**changes: str) -> Entry:
        entry, faults = parse({**ROW, **changes})
        assert entry is not None, [str(fault) for fault in faults]
        return entry

    return entry_of


@pytest.fixture
def board(tmp_path: Path, make: Callable[..., Entry]) -> Path:
    """A clean board of two rows with its .bib."""
    rows = [make(), make(id="lin2020hrank-resnet50-000002", top1_printed="71.98", cost_printed_g="1.55")]
    path = tmp_path / "leaderboard.csv"
    path.write_text(render(rows), encoding="utf-8")
    papers, faults = parse_bib(BIB)
    assert not faults
    path.with_suffix(".bib").write_text(render_bib(papers.values()), encoding="utf-8")
    return path


@pytest.fixture(scope="session")
def run_result() -> Callable[..., dict[str, object]]:
    """What a finished run of a half-width network on digits leaves in its result.json."""

    def result_of(seed: int = 1, correct: int = 300, **changes: object) -> dict[str, object]:
        return {
            "format": 1,
            "run": f"resnet20_cifar-w0.5-digits-s{seed}-3f9a1c",
            "arch": "resnet20_cifar",
            "arch_kwargs": {},
            "shape": "w0.5",
            "network_sha256": "ab" * 32,
            "dataset": "digits",
            "classes": 10,
            "images_train": 1437,
            "images_holdout": 0,
            "images_test": 360,
            "train_resolution": 8,
            "test_resolution": 8,
            "macs": 640_000,
            "macs_train": 640_000,
            "params": 68_000,
            "activations": 9_000,
            "dense_macs": 2_530_000,
            "dense_params": 269_722,
            "training_macs": 3 * 640_000 * 1437 * 20,
            "epochs": 20,
            "updates": 220,
            "images_seen": 28_740,
            "batch_size": 128,
            "top1_test": 100 * correct / 360,
            "correct1_test": correct,
            "correct5_test": 355,
            "loss_test": 0.25,
            "correct1_test_ema": correct + 5,
            "correct5_test_ema": 356,
            "loss_test_ema": 0.25,
            "seed": seed,
            "recipe": "digits",
            "recipe_hash": "cd" * 32,
            "initial_checkpoint": None,
            "weights_sha256": "12" * 32,
            "weights_ema_sha256": "34" * 32,
            "seconds": 20.0,
            "seconds_total": 30.0,
            "images_per_second": 1_437.0,
            "peak_memory_mib": 300.0,
            "loader": "memory",
            "precision": "no",
            "processes": 1,
            "device": "a processor",
            "git_commit": None,
            "git_clean": None,
            "versions": {"python": "3.11.7"},
            "command": None,
            "started": "2026-11-21T10:07:38+00:00",
            "finished": "2026-11-21T10:10:09+00:00",
            "sessions": 1,
            **changes,
        }

    return result_of


@pytest.fixture(scope="session")
def write_run() -> Callable[..., None]:
    """Writes a run folder whose network, recipe and metrics are those of its result; hashes are made to fit."""

    def write(folder: Path, result: dict[str, object]) -> None:
        folder.mkdir(parents=True)
        # Results that differ in a hash get files that differ.
        network = Network(str(result["arch"]), {"of": str(result["network_sha256"])}, (3, 8, 8), {"conv1": 8})
        recipe = recipes.load(
            "digits", {"seed": result["seed"], "lr": 0.1 + len(set(str(result["recipe_hash"]))) / 100}
        )
        result = {**result, "network_sha256": network.sha256, "recipe_hash": recipe.hash}
        (folder / "result.json").write_text(json.dumps(result))
        (folder / "network.json").write_text(network.to_json())
        (folder / "recipe.yaml").write_text(recipe.to_yaml())
        (folder / "model.safetensors").write_bytes(b"weights")
        with (folder / "metrics.csv").open("w", newline="") as file:
            writer = csv.writer(file)
            writer.writerow(
                ["epoch", "updates", "images_seen", "test_loss", "test_top1", "test_ema_loss", "test_ema_top1"]
            )
            for epoch in (1, result["epochs"]):
                figures = [f"loss_{part}" for part in ("test", "test_ema")], ["correct1_test", "correct1_test_ema"]
                losses, correct = ([result.get(name) for name in names] for names in figures)
                top1 = [100 * c / int(str(result["images_test"])) if isinstance(c, int) else "" for c in correct]
                of_parts = [value for pair in zip(losses, top1, strict=True) for value in pair]
                writer.writerow([epoch, result["updates"], result["images_seen"], *of_parts])

    return write
