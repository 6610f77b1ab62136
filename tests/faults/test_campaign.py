"""A part of the campaign in every run of the tests, all of it in one process of its own: `python -m tests.faults`."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[2]
# FFCV writes the same file uncompiled.
ENVIRONMENT = {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1", "NUMBA_DISABLE_JIT": "1"}
Cases = list[dict[str, Any]]
# Pictures and studies take seconds each, and are left to the whole campaign.
PARTS = {
    "crash": ("--most", "1", "--only", "import", "leaderboard add"),
    "kills": ("--kills", "2", "--only", "train", "leaderboard add"),
    "disk": ("--most", "2", "--only", "fit", "leaderboard add", "leaderboard page"),
    "readers": (
        "--most", "4", "--only", "recipe.yaml", "rows.yaml", "rows.csv", "board.csv", "board.bib", "network.json",
        "result.json", "run.json", "run.json, to prune", "metrics.csv, evidence", "metrics.csv, plot",
        "timing.csv, plot", "safetensors", "foreign .pt", "checkpoint", "imported.json", "evaluation.json",
        "count cache", "hash cache", "image.png", "image.jpg", "image.tif", ".beton",
    ),
    "arguments": ("--most", "2", "--only", "leaderboard show", "leaderboard page", "import"),
    "same": ("--most", "1"),
}  # fmt: skip


@pytest.fixture(scope="module")
def cases(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Cases]:
    """The cases of a kind, from one process that has everything imported once."""
    file = tmp_path_factory.mktemp("cases") / "cases.json"
    parts = [word for kind, given in PARTS.items() for word in ("+", kind, "--json", str(file), *given)]
    done = subprocess.run(
        [sys.executable, "-m", "tests.faults", *parts[1:]],
        cwd=ROOT, env={**os.environ, **ENVIRONMENT}, capture_output=True, text=True, timeout=600, check=False,
    )  # fmt: skip
    assert file.exists(), done.stdout + done.stderr
    every: Cases = json.loads(file.read_text())
    return lambda kind: [case for case in every if case["kind"] == kind]


@pytest.mark.parametrize("kind", PARTS)
def test_nothing_is_bad(cases: Callable[[str], Cases], kind: str) -> None:
    found = cases(kind)
    subjects = Counter(case["subject"] for case in found)
    if "--only" in PARTS[kind]:
        assert set(subjects) == set(PARTS[kind][PARTS[kind].index("--only") + 1 :])
    assert found
    assert [case for case in found if case["wrong"]] == []
