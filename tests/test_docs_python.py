"""docs/python.md: every snippet runs, in their order, as a reader would paste them into one notebook."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

from thinresnet.leaderboard import Claim, Matrix

PAGE = Path(__file__).parents[1] / "docs" / "python.md"


def test_every_snippet_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A name that is renamed or a value that changes its meaning fails here."""
    monkeypatch.chdir(tmp_path)
    known: dict[str, Any] = {}
    snippets = re.findall(r"```python\n(.*?)```", PAGE.read_text(encoding="utf-8"), re.DOTALL)
    assert len(snippets) == PAGE.read_text(encoding="utf-8").count("\n```python\n") >= 6
    for snippet in snippets:
        exec(compile(snippet, str(PAGE), "exec"), known)
    assert known["failed"] == {}
    assert known["outcome"].cost.macs <= 0.04 * known["outcome"].dense_cost.macs
    assert (tmp_path / "pruned" / "network.json").is_file()
    assert isinstance(known["leaderboard"].compare("resnet50", board=known["board"]), Matrix)
    assert isinstance(known["leaderboard"].compare("resnet50", macs="2G", top1=70.0, board=known["board"]), Claim)
