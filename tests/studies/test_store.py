"""Hashes are remembered as long as a file stays as it is, and no longer."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from thinresnet.files import read_object
from thinresnet.studies import hashes
from thinresnet.studies.hashes import FolderHashes
from thinresnet.studies.stages import Prune, Train
from thinresnet.studies.store import Store
from thinresnet.training.provenance import file_sha256

Finish = Callable[..., Any]
CACHE = "cache/stage.json"


@pytest.fixture
def read(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The names of files that were read for their hashes."""
    names: list[str] = []

    def hashed(path: Path) -> str:
        names.append(path.name)
        return file_sha256(path)

    monkeypatch.setattr(hashes, "file_sha256", hashed)
    return names


@pytest.fixture
def later(monkeypatch: pytest.MonkeyPatch) -> None:
    """A minute after whatever was written."""
    now = time.time_ns
    monkeypatch.setattr(hashes.time, "time_ns", lambda: now() + 60 * 10**9)


@pytest.fixture
def weights(tmp_path: Path) -> Path:
    path = tmp_path / "stage" / "model.safetensors"
    path.parent.mkdir()
    path.write_bytes(b"weights")
    return path


def hashed(weights: Path) -> str:
    """As a new process does it."""
    known = FolderHashes(weights.parent, weights.parents[1] / CACHE)
    found = known.sha256(weights)
    known.keep()
    return found


@pytest.mark.usefixtures("later")
def test_what_stays_as_it_is_is_read_once(weights: Path, read: list[str]) -> None:
    assert hashed(weights) == hashed(weights) == file_sha256(weights)
    assert read == ["model.safetensors"]


@pytest.mark.usefixtures("later")
@pytest.mark.parametrize("change", ["longer", "same size", "same size and time", "replaced"])
def test_what_changed_is_read_again(weights: Path, read: list[str], change: str) -> None:
    hashed(weights)
    before = weights.stat()
    if change == "longer":
        weights.write_bytes(b"weights and more")
    elif change == "replaced":
        other = weights.with_name("other")
        other.write_bytes(b"WEIGHTS")
        os.utime(other, ns=(before.st_atime_ns, before.st_mtime_ns))
        other.replace(weights)
    else:
        weights.write_bytes(b"WEIGHTS")
    if change == "same size and time":
        os.utime(weights, ns=(before.st_atime_ns, before.st_mtime_ns))
    assert hashed(weights) == file_sha256(weights)
    assert len(read) == 2


def test_what_was_written_just_now_is_not_remembered(weights: Path, read: list[str]) -> None:
    """A second change within the clock's tick would not show."""
    assert hashed(weights) == hashed(weights)
    assert len(read) == 2


@pytest.mark.usefixtures("later")
@pytest.mark.parametrize("content", ["", "[]", '{"model.safetensors": 3}', "\x00", '{"model.safetensors": [1]}'])
def test_a_cache_that_is_no_cache_is_as_none(weights: Path, content: str) -> None:
    cache = weights.parents[1] / CACHE
    cache.parent.mkdir()
    cache.write_text(content)
    assert hashed(weights) == file_sha256(weights)


@pytest.mark.parametrize("key", ["format", "key", "stage", "inputs", "files", "outputs"])
def test_a_record_without_one_of_its_parts_is_as_none(finish: Finish, key: str) -> None:
    graph, store = finish()
    stage = next(iter(graph.stages.values()))
    file = store.folder(stage) / "stage.json"
    record = read_object(file)
    del record[key]
    file.write_text(json.dumps(record))
    state = Store(store.root).state(stage)
    assert state.record is None
    assert state.wrong == "stage.json cannot be read"


def test_what_a_killed_writer_of_the_record_left_is_no_part_of_the_stage(finish: Finish) -> None:
    graph, store = finish()
    stage = next(iter(graph.stages.values()))
    said = read_object(store.folder(stage) / "stage.json")
    (store.folder(stage) / "stage.json").rename(store.folder(stage) / ".stage.json.dead0000.part")
    again = Store(store.root)
    again.write(stage, {"outputs": said["outputs"], "seconds": 1.0})
    assert again.finished(stage)
    assert read_object(store.folder(stage) / "stage.json")["files"] == said["files"]
    assert not list(store.folder(stage).glob(".*"))


def test_a_default_that_changed_since_is_noticed(finish: Finish, monkeypatch: pytest.MonkeyPatch) -> None:
    graph, store = finish()
    (trained, *_), (pruned, *_) = (
        [stage for stage in graph.stages.values() if isinstance(stage, kind)] for kind in (Train, Prune)
    )
    assert store.state(trained).record["stage"]["recipe"]["momentum"] == 0.9
    facts = Train.facts.fget
    assert facts is not None
    # An older version had another default, or did not have the flag at all.
    changed = {**facts(trained), "recipe": {**facts(trained)["recipe"], "momentum": 0.8, "new_flag": 1}, "new_field": 2}
    monkeypatch.setattr(Train, "facts", property(lambda stage: changed))
    state = Store(store.root).state(trained)
    assert state.wrong == "recipe: momentum was 0.9, now it is 0.8"
    changed["recipe"] |= {"momentum": 0.9, "channels_last": False}  # which is left to the device now
    assert Store(store.root).finished(trained)
    assert store.finished(pruned)


@pytest.mark.usefixtures("later")
def test_a_study_that_is_shown_again_reads_no_file(finish: Finish, read: list[str]) -> None:
    graph, store = finish()
    assert all(Store(store.root).finished(stage) for stage in graph.stages.values())
    read.clear()
    again = Store(store.root)
    assert all(again.finished(stage) for stage in graph.stages.values())
    assert read == []
    stage = next(iter(graph.stages.values()))
    (store.folder(stage) / "model.safetensors").write_bytes(b"WEIGHTS")
    assert Store(store.root).state(stage).wrong == "model.safetensors was changed"
    assert read == ["model.safetensors"]
