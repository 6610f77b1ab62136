"""result.json: what a run writes reads back, what is wrong is named by its key, and no path says where files lay."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from thinresnet.errors import InputError
from thinresnet.result import Result, without_folders

EVIDENCE = sorted((Path(__file__).parents[1] / "baselines").rglob("result.json"))


@pytest.mark.parametrize("path", EVIDENCE[:: max(1, len(EVIDENCE) // 8)], ids=lambda path: path.parent.name)
def test_results_on_the_board_read_back(path: Path) -> None:
    assert Result.read(path.parent).to_json() == json.loads(path.read_text(encoding="utf-8"))


def _changed(**changes: Any) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(EVIDENCE[0].read_text(encoding="utf-8"))
    return {**found, **changes}


def test_keys_of_newer_versions_are_left_out() -> None:
    assert Result.from_json(_changed(new_key=[1]), Path("x"), "x").folder == Path("x")


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"format": 2}, "x.json: not a result of format 1"),
        ({"macs": -1}, "x.json: macs: takes an integer, at least 0, got -1"),
        ({"seconds": "long"}, "x.json: seconds: takes a number, at least 0, got 'long'"),
        ({"correct1_test": 10**6}, "x.json: correct1_test: 1000000 of 10000 images"),
        ({"correct1_test": None}, "x.json: correct1_test: takes an integer"),
        ({"loss_test": float("inf")}, "x.json: loss_test: takes a number"),
        ({"images_test": 0}, "x.json: images_test: takes an integer, at least 1"),
        ({"versions": {"python": 3}}, "x.json: versions: python: takes a string, got 3"),
        ({"initial_checkpoint": "x"}, "x.json: initial_checkpoint: takes a mapping"),
        ({"arch": "a\nb"}, "x.json: arch: takes a string without line breaks"),
    ],
)
def test_what_is_wrong_is_named_by_its_key(changes: dict[str, Any], said: str) -> None:
    with pytest.raises(InputError) as refusal:
        Result.from_json(_changed(**changes), Path(), "x.json")
    assert str(refusal.value).startswith(said)
    assert "\n" not in str(refusal.value)


@pytest.mark.parametrize(
    ("given", "kept"),
    [
        (["train.py", "--data-dir", "/data/cifar10/"], ["train.py", "--data-dir", "cifar10"]),
        (["--data-dir=/data/cifar10", "-x=/y"], ["--data-dir=cifar10", "-x=/y"]),
        ({"path": "~/weights.pth"}, {"path": "weights.pth"}),
        (r"C:\Users\me\runs", "runs"),
        ("runs/one/model.safetensors", "runs/one/model.safetensors"),
        ([1, None, 0.5, "50%"], [1, None, 0.5, "50%"]),
    ],
)
def test_absolute_paths_are_their_last_name(given: object, kept: object) -> None:
    assert without_folders(given) == kept
