"""A part of the campaign in every run of the tests: some kills of each quick command.

All of it: `python -m tests.faults`.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.faults.crash import Command, campaign, difference

ROOT = Path(__file__).parents[2]


def test_nothing_is_lost_or_left_over_wherever_a_command_is_killed(tmp_path: Path) -> None:
    quick = ["train", "prune", "leaderboard add"]
    done = subprocess.run(
        [sys.executable, "-m", "tests.faults", "--most", "3", "--json", str(tmp_path / "cases.json"), "--only", *quick],
        cwd=ROOT, env={**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}, capture_output=True, text=True,
        timeout=300, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    cases = json.loads((tmp_path / "cases.json").read_text())
    assert {case["command"] for case in cases} == set(quick)
    assert len(cases) >= 6
    assert [case for case in cases if case["wrong"]] == []


@pytest.mark.parametrize(
    ("found", "said"),
    [({}, "lost: a"), ({"a": b"1", "b": b""}, "left over: b"), ({"a": b"2"}, "differs: a"), ({"a": b"1"}, "")],
)
def test_what_is_lost_left_over_or_another_is_found(found: dict[str, bytes], said: str) -> None:
    assert difference({"a": b"1"}, found) == said


def test_the_harness_finds_a_command_that_writes_in_place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A writer that is not atomic is caught in the act: half of its file stays where the next run takes it as it is."""
    from thinresnet import cli

    def careless() -> None:
        if not Path("out.txt").exists():
            Path("out.txt").write_text("all of it")

    monkeypatch.setattr(cli, "main", careless)
    cases = list(campaign(Command("careless", ()), tmp_path / "work"))
    assert [case.wrong for case in cases] == ["", "differs: out.txt"]
