"""The benchmark against the authors' code: its comparisons and tables, and what it refuses to run; without any peer."""

from __future__ import annotations

import importlib.util
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

FOLDER = Path(__file__).parents[1] / "benchmarks"


def _loaded(name: str) -> ModuleType:
    spec = importlib.util.spec_from_file_location(f"peer_code_{name}", FOLDER / "peer_code" / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = sys.modules[spec.name] = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


compare, repositories = _loaded("compare"), _loaded("repositories")
SAID = {"method": "l1", "peer": "someone/code", "network": "small", "compared": "kept"}


def test_kept_channels_stand_side_by_side_and_a_layer_not_mentioned_is_whole() -> None:
    layers = compare.layers_kept({"a": [3, 0, 1]}, {"a": [0, 1, 2]}, {"a": 4, "b": 2})
    assert [(own.only_theirs, own.only_ours) for own in layers] == [([3], [2]), ([], [])]
    finding = compare.kept_finding(layers, **SAID)
    assert not finding.same
    assert finding.figures == {"channels": 6, "kept_theirs": 5, "kept_ours": 5, "differing": 2}
    assert "| a | 4 | 0–1, 3 | 0–2 | 3 | 2 |" in compare.layers_table(layers)
    with pytest.raises(ValueError, match="'c'"):
        compare.layers_kept({"c": [0]}, {}, {"a": 4})


def test_masks_are_counted_and_an_allowance_is_for_differing_weights() -> None:
    theirs, ours = [np.array([1, 1, 0]), np.array([0, 1])], [np.array([1, 0, 1]), np.array([0, 1])]
    assert not compare.mask_finding(theirs, ours, allowed=1, **SAID).same
    finding = compare.mask_finding(theirs, ours, allowed=2, **SAID)
    assert finding.same
    assert finding.figures["differing"] == 2
    assert finding.figures["overlap"] == 0.5  # 2 of 4 that either keeps
    with pytest.raises(ValueError, match="other sizes"):
        compare.mask_finding(theirs, ours[::-1], **SAID)


def test_the_largest_difference_of_weights_is_in_units_of_their_tensor() -> None:
    theirs = {"big": np.array([100.0, 1.0]), "small": np.array([0.1, 0.0])}
    finding = compare.weights_finding(theirs, {**theirs, "small": np.array([0.1, 0.01])}, within=0.05, **SAID)
    assert finding.figures["largest_relative_difference"] == pytest.approx(0.1)
    assert not finding.same
    assert "small" in finding.ours
    with pytest.raises(ValueError, match="lacks"):
        compare.weights_finding(theirs, {"big": theirs["big"]}, within=1, **SAID)


@given(st.sets(st.integers(0, 60)))
def test_runs_of_indices_say_all_of_them(indices: set[int]) -> None:
    text = compare.shorter(sorted(indices), most=100)
    ends = [part.split("–") for part in text.split(", ")] if indices else []
    assert {index for run in ends for index in range(int(run[0]), int(run[-1]) + 1)} == indices


def test_a_table_has_a_row_a_comparison_and_bars_do_not_break_it() -> None:
    finding = compare.accuracy_finding(90.0, 90.4, 500, within=0.5, why="a | b", **SAID)
    *_, row = compare.findings_table([finding]).splitlines()
    assert row == "| l1 | kept | small | 90.0 % | 90.4 % | yes | a &#124; b |"


def test_only_files_of_the_pinned_commit_are_run(tmp_path: Path) -> None:
    content = b"print('hello')\n"
    known = subprocess.run(
        ["git", "hash-object", "--stdin"], input=content, capture_output=True, check=True
    ).stdout.decode()
    assert repositories.git_hash(content) == known.strip()
    source = repositories.Repository("someone/code", "0" * 40, {"a.py": known.strip()})
    assert "no --peers" in str(source.problem(None))
    assert "no folder" in str(source.problem(tmp_path))
    (tmp_path / "code").mkdir()
    assert "missing" in str(source.problem(tmp_path))
    (tmp_path / "code" / "a.py").write_bytes(content)
    assert source.problem(tmp_path) is None
    (tmp_path / "code" / "a.py").write_bytes(content + b"#")
    assert "not the file of commit 00000000" in str(source.problem(tmp_path))
    assert next(iter(source.commands())) == "git clone https://github.com/someone/code DIR/code"


def test_every_repository_names_its_commit_and_hashes() -> None:
    for source in repositories.REPOSITORIES:
        assert all(len(own) == 40 and int(own, 16) for own in [source.commit, *source.files.values()]), source
