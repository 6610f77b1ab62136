"""Which GPUs a job sees, by a pretended list of them; and several processes that do one stage together, really."""

from __future__ import annotations

import gc
import os
from multiprocessing import get_context
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
import yaml

from tests.studies.ranks import rank_of
from thinresnet.errors import InputError
from thinresnet.stopping import TrainingError
from thinresnet.studies import api, devices, running
from thinresnet.studies.devices import VISIBLE, environments, together, visible_devices
from thinresnet.studies.graphs import read_graphs
from thinresnet.studies.running import Processes
from thinresnet.studies.stages import Train
from thinresnet.studies.work import Work
from thinresnet.training import Result

STUDY: dict[str, Any] = {
    "study": "tiny", "arch": "resnet20_cifar", "kwargs": {"depths": [1, 1, 1]}, "seeds": [3], "protocols": ["dense"],
    "recipes": {"short": {"recipe": "digits", "epochs": 1, "warmup_epochs": 0}},
}  # fmt: skip


def pretend(monkeypatch: pytest.MonkeyPatch, *names: str) -> None:
    monkeypatch.setattr(devices, "visible_devices", lambda: names)


@pytest.mark.parametrize(
    ("names", "jobs", "each", "seen"),
    [
        ("", 3, 1, [None] * 3),
        ("0 1", 1, 1, ["0"]),
        ("0 1", 2, 1, ["0", "1"]),
        ("2 5 7", 8, 1, ["2", "5", "7", "2", "5", "7", "2", "5"]),  # several small trainings share one
        ("0 1 2 3", 2, 2, ["0,1", "2,3"]),
        ("0 1 2", 2, 2, ["0,1", "0,1"]),  # one is left over
        ("GPU-a GPU-b", 1, 2, ["GPU-a,GPU-b"]),
    ],
)
def test_jobs_take_turns_with_the_gpus(
    monkeypatch: pytest.MonkeyPatch, names: str, jobs: int, each: int, seen: list[str | None]
) -> None:
    pretend(monkeypatch, *names.split())
    assert [own.get(VISIBLE) for own in environments(jobs, each)] == seen


@pytest.mark.parametrize(("names", "says"), [("", "has 0 GPUs"), ("0", "has 1 GPU$"), ("0 1 2", "has 3 GPUs")])
def test_more_gpus_than_there_are_are_refused(monkeypatch: pytest.MonkeyPatch, names: str, says: str) -> None:
    pretend(monkeypatch, *names.split())
    with pytest.raises(InputError, match=f"--gpus-per-stage 4: this machine {says}"):
        environments(1, 4)


@pytest.mark.parametrize(
    ("count", "given", "found"),
    [(2, None, ("0", "1")), (2, "3, 1", ("3", "1")), (1, "GPU-6f,GPU-none", ("GPU-6f",)), (0, "", ()), (0, None, ())],
)
def test_the_gpus_are_those_that_this_process_may_use(
    monkeypatch: pytest.MonkeyPatch, count: int, given: str | None, found: tuple[str, ...]
) -> None:
    monkeypatch.setattr(torch.cuda, "device_count", lambda: count)
    monkeypatch.delenv(VISIBLE, raising=False)
    if given is not None:
        monkeypatch.setenv(VISIBLE, given)
    assert visible_devices() == found


def seen_by_a_stage(inputs: Any, folder: Path, *, quiet: bool) -> dict[str, str]:
    assert gc.isenabled()
    return {"sees": os.environ[VISIBLE], "process": str(os.getpid())}


def test_each_process_of_a_study_sees_its_own_gpus(monkeypatch: pytest.MonkeyPatch) -> None:
    pretend(monkeypatch, "4", "6")
    # Forked, as three that import torch are not what this is about; test_run.py starts them as users do.
    monkeypatch.setattr(running, "get_context", lambda _: get_context("fork"))
    stage: Any = SimpleNamespace(is_shared=False, run=seen_by_a_stage)
    workers = Processes(3)
    try:
        futures = [workers.submit(Work(stage, {}, "")) for _ in range(3)]
        answers = [future.result()["outputs"] for future in futures]
    finally:
        workers.close()
    assert [own["sees"] for own in answers] == ["4", "6", "4"]
    assert len({own["process"] for own in answers}) == 3
    assert VISIBLE not in os.environ


def test_the_first_of_several_processes_answers() -> None:
    assert together(2, rank_of, "go") == "0 0 2 2"


def test_what_one_of_several_processes_refuses_is_said_and_the_others_end() -> None:
    with pytest.raises(InputError, match="the second one fails"):
        together(2, rank_of, "fail")
    with pytest.raises(TrainingError, match="was killed; the same command resumes"):
        together(2, rank_of, "die")


def test_a_training_on_several_gpus_has_the_same_updates(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Here two processes of a CPU, which talk by gloo."""
    path = tmp_path / "study.yaml"
    path.write_text(yaml.safe_dump(STUDY), encoding="utf-8")
    (graph,) = read_graphs(path)
    pretend(monkeypatch, "0", "1")
    assert api.run(graph, tmp_path / "runs", gpus_per_stage=2, progress=False) == {}
    (stage,) = graph.stages.values()
    assert isinstance(stage, Train)
    result, batch = Result.read(tmp_path / "runs" / "tiny" / stage.folder), stage.recipe.batch_size
    assert (result.processes, result.batch_size, result.updates) == (2, batch, stage.images // batch)
    assert result.images_seen == stage.images // batch * batch
    assert result.training_macs == stage.training_macs
    # It is the stage that one process would do: nothing is done again.
    assert api.run(graph, tmp_path / "runs", progress=False) == {}


def test_a_batch_that_cannot_be_split_is_refused_before_anything_runs(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    path = tmp_path / "study.yaml"
    path.write_text(yaml.safe_dump(STUDY), encoding="utf-8")
    (graph,) = read_graphs(path)
    pretend(monkeypatch, "0", "1", "2")
    with pytest.raises(InputError, match=r"-dense-.*: batches of 64 images cannot be split over 3 processes"):
        api.run(graph, tmp_path / "runs", gpus_per_stage=3, progress=False)
    assert not (tmp_path / "runs").exists()
