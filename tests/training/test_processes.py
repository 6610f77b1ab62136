"""What a launch may not change without a word, and how processes find out together that one of them cannot go on."""

from __future__ import annotations

import multiprocessing
import os
import re
import signal
from collections.abc import Callable
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import accelerate
import pytest
import torch
from torch.distributed import FileStore

from thinresnet import recipe as recipes
from thinresnet.errors import InputError
from thinresnet.stopping import TrainingError
from thinresnet.training import processes
from thinresnet.training.processes import (
    agreed,
    check_shared,
    lost_process_as_one_line,
    lost_process_line,
    processes_here,
    start_accelerator,
)

SECONDS = 60  # by then a process that waits for ever is told from one of a slow machine


@pytest.fixture(autouse=True)
def nothing_launched(monkeypatch: pytest.MonkeyPatch) -> None:
    for variable in (*processes._NOT_OURS, "LOCAL_WORLD_SIZE", "ACCELERATE_USE_CPU"):
        monkeypatch.delenv(variable, raising=False)


@pytest.mark.parametrize(
    ("variable", "said", "instead"),
    [
        ("ACCELERATE_USE_FSDP", "true", "choose plain multi-GPU"),
        ("ACCELERATE_USE_FSDP", "1", "choose plain multi-GPU"),
        ("ACCELERATE_USE_DEEPSPEED", "true", "choose plain multi-GPU"),
        ("ACCELERATE_USE_MEGATRON_LM", "TRUE", "language models"),
        ("ACCELERATE_USE_PARALLELISM_CONFIG", "true", "choose plain multi-GPU"),
        ("ACCELERATE_GRADIENT_ACCUMULATION_STEPS", "4", "--grad-accum-steps"),
        ("ACCELERATE_DYNAMO_BACKEND", "INDUCTOR", "--torchcompile BACKEND"),
    ],
)
def test_what_a_launch_would_change_silently_is_refused_before_anything_starts(
    variable: str, said: str, instead: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(variable, said)
    monkeypatch.setattr(processes, "Accelerator", lambda **kwargs: pytest.fail("started"))
    with pytest.raises(
        InputError, match=f"{variable}={said.lower()}: .*leave it out of accelerate's .*{instead}"
    ) as one:
        start_accelerator(recipes.load("digits"))
    assert "\n" not in str(one.value)


@pytest.mark.parametrize(
    ("variable", "said"),
    [(variable, said) for variable in processes._NOT_OURS for said in ("", "0", "no", "NO", "None", "false", "False")]
    + [("ACCELERATE_GRADIENT_ACCUMULATION_STEPS", "1")],
)
def test_a_launch_that_leaves_it_out_is_none_of_it(variable: str, said: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(variable, said)
    processes._check_launch()


@pytest.mark.parametrize("variable", processes._NOT_OURS)
def test_accelerate_knows_these_names(variable: str) -> None:
    """One that accelerate had renamed would be looked for in vain."""
    sources = [path for path in Path(accelerate.__file__).parent.rglob("*.py") if "test" not in path.parts[-2]]
    assert any(variable in path.read_text(encoding="utf-8") for path in sources)


@pytest.mark.parametrize(
    ("local", "devices", "on_cpu", "refused"),
    [
        ("2", 1, "", "has 1 GPU: .*--num_processes 1"),
        ("8", 4, "0", "has 4 GPUs: .*--num_processes 4"),
        *[("2", 2, "", None), ("2", 0, "", None), ("2", 1, "true", None), ("2", 1, "1", None)],
    ],
)
def test_no_more_processes_than_devices(
    local: str, devices: int, on_cpu: str, refused: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LOCAL_WORLD_SIZE", local)
    monkeypatch.setenv("ACCELERATE_USE_CPU", on_cpu)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: devices)
    if refused is None:
        processes._check_devices()
        return
    with pytest.raises(InputError, match=f"{local} processes on this machine, which {refused}, or --cpu"):
        processes._check_devices()


@pytest.mark.parametrize(
    ("kind", "has"),
    [
        (torch.cpu, False),
        (SimpleNamespace(device_count=lambda: 0), False),
        (SimpleNamespace(device_count=lambda: 2), True),
    ],
)
def test_a_kind_of_device_that_torch_was_built_for_may_be_missing(
    kind: ModuleType, has: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch, "get_device_module", lambda: kind)
    assert processes._has_device() is has


def test_the_cores_of_a_machine_are_shared_by_its_own_processes(monkeypatch: pytest.MonkeyPatch) -> None:
    assert processes_here(8) == 8  # no launcher said otherwise
    monkeypatch.setenv("LOCAL_WORLD_SIZE", "4")
    assert processes_here(8) == 4
    assert processes_here(1) == 1


def each(count: int, work: Callable[[Any], None], folder: Path) -> list[str]:
    """What each of so many processes ends with: nothing, or its refusal. They meet in a file, not over a network."""
    context = multiprocessing.get_context("fork")
    ends = []
    for rank in range(count):
        here, there = context.Pipe(duplex=False)
        process = context.Process(target=_one, args=(there, count, rank, work, folder / "store"))
        process.start()
        there.close()
        ends.append((process, here))
    try:
        return [_answer(here) for _, here in ends]
    finally:
        for process, _ in ends:
            process.kill()
            process.join()


def _answer(here: Any) -> str:
    if not here.poll(SECONDS):
        return "waits for ever"
    try:
        return str(here.recv())
    except EOFError:
        return "killed"


def _one(answer: Any, count: int, rank: int, work: Callable[[Any], None], path: Path) -> None:
    store = FileStore(str(path), count)
    torch.distributed.distributed_c10d._get_default_store = lambda: store
    try:
        work(SimpleNamespace(num_processes=count, process_index=rank, is_main_process=rank == 0))
    except InputError as error:
        answer.send(str(error))
    else:
        answer.send("")


def test_all_go_on_where_all_succeed(tmp_path: Path) -> None:
    def work(accelerator: Any) -> None:
        with agreed(accelerator):
            pass

    assert each(3, work, tmp_path) == ["", "", ""]


@pytest.mark.parametrize("reason", ["x.yaml: is not there", "-x: starts as an answer does", "Bäume"])
def test_the_reason_of_one_is_told_by_all(reason: str, tmp_path: Path) -> None:
    def work(accelerator: Any) -> None:
        with agreed(accelerator):
            if accelerator.process_index == 1:
                raise InputError(reason)

    told = f"process 1 of 3: {reason}"
    assert each(3, work, tmp_path) == [told, reason, told]


def test_a_refusal_without_words_ends_the_others_too(tmp_path: Path) -> None:
    def work(accelerator: Any) -> None:
        with agreed(accelerator):
            if accelerator.process_index == 0:
                raise InputError("")

    assert each(2, work, tmp_path) == ["", "process 0 of 2: failed"]


def test_nobody_waits_for_a_slow_one_once_another_has_failed(tmp_path: Path) -> None:
    def work(accelerator: Any) -> None:
        if accelerator.process_index == 2:
            return  # has not come this far, nor ever will
        with agreed(accelerator):
            if accelerator.process_index == 1:
                raise InputError("the disk is full")

    assert each(3, work, tmp_path) == ["process 1 of 3: the disk is full", "the disk is full", ""]


def test_an_answer_counts_once(tmp_path: Path) -> None:
    """What was agreed on before is not what is asked now, in either order."""

    def work(accelerator: Any) -> None:
        for turn in range(3):
            try:
                with agreed(accelerator):
                    if turn == 1 and accelerator.process_index == 0:
                        raise InputError("once")
            except InputError:
                assert turn == 1

    assert each(2, work, tmp_path) == ["", ""]


def test_one_process_asks_nobody(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.distributed.distributed_c10d, "_get_default_store", lambda: pytest.fail("asked"))
    alone: Any = SimpleNamespace(num_processes=1, process_index=0, is_main_process=True)
    with agreed(alone):
        pass
    with pytest.raises(InputError, match="as it was said"), agreed(alone):
        raise InputError("as it was said")


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(processes, "_SECONDS_TO_BE_SEEN", 0.0)
    monkeypatch.setattr(processes, "_same_for_all", lambda accelerator, text: "mark")


@pytest.mark.usefixtures("quick")
def test_a_folder_that_all_see_is_left_as_it_was(tmp_path: Path) -> None:
    folder = tmp_path / "run"
    assert each(2, lambda accelerator: check_shared(accelerator, folder), tmp_path) == ["", ""]
    assert list(folder.iterdir()) == []


@pytest.mark.usefixtures("quick")
def test_machines_with_folders_of_their_own_find_out_before_the_first_update(tmp_path: Path) -> None:
    def work(accelerator: Any) -> None:
        check_shared(accelerator, tmp_path / f"disk-of-{accelerator.process_index}")

    first, second = each(2, work, tmp_path)
    assert second.startswith(f"{tmp_path}/disk-of-1: what the main process writes there is not seen on ")
    assert second.endswith("give an --output on a disk that all machines share")
    assert first == f"process 1 of 2: {second}"
    assert list((tmp_path / "disk-of-0").iterdir()) == []


@pytest.mark.usefixtures("quick")
def test_a_folder_that_cannot_be_made_is_said_by_both(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    first, second = each(2, lambda accelerator: check_shared(accelerator, tmp_path / "file" / "run"), tmp_path)
    assert first.startswith(f"{tmp_path}/file/run: cannot be written (Not a directory)")
    assert second == f"process 0 of 2: {first}"


def test_a_process_that_is_killed_is_one_line_on_the_others(tmp_path: Path) -> None:
    """As gloo tells it, which trains on CPUs here."""

    def work(accelerator: Any) -> None:
        rank, store = accelerator.process_index, FileStore(str(tmp_path / "met"), 2)
        torch.distributed.init_process_group("gloo", store=store, rank=rank, world_size=2)
        torch.distributed.all_reduce(torch.ones(1))
        if rank == 1:
            os.kill(os.getpid(), signal.SIGKILL)
        accelerator.is_local_main_process = True
        try:
            with lost_process_as_one_line(accelerator):
                torch.distributed.all_reduce(torch.ones(1))
        except TrainingError as error:
            raise InputError(str(error)) from error

    survivor, killed = each(2, work, tmp_path)
    assert killed == "killed"
    assert re.fullmatch(
        r"another process of the training is gone or cannot be reached \([^/\n]+\); .* resumes .*", survivor
    )


@pytest.mark.parametrize(
    ("error", "lost"),
    [
        (torch.distributed.DistBackendError("NCCL error: remote process exited\nmore"), True),
        (torch.distributed.DistNetworkError("recvValue failed"), True),
        (RuntimeError("mat1 and mat2 shapes cannot be multiplied"), False),
        (TrainingError("runs/gloo: was moved or deleted"), False),
    ],
)
def test_other_errors_are_not_those_of_a_lost_process(error: RuntimeError, lost: bool) -> None:
    assert bool(lost_process_line(error)) is lost
    assert "\n" not in lost_process_line(error)
