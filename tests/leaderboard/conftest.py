"""A small board of real shape, and rows made to measure."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from thinresnet.leaderboard.papers import parse_bib, render_bib
from thinresnet.leaderboard.schema import Entry, parse
from thinresnet.leaderboard.store import render

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
