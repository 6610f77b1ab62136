"""Signals outside the training loop, and what the system refuses (a file, memory), are one line and the right code."""

from __future__ import annotations

import errno
import os
import signal
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

from thinresnet import cli
from thinresnet.cli import train
from thinresnet.errors import memory_error_line
from thinresnet.stopping import REQUEUE_EXIT_CODE, end_on_signals
from thinresnet.studies import api
from thinresnet.studies.graphs import read_graphs
from thinresnet.studies.stages import Train

STUDY = """study: tiny
arch: resnet20_cifar
dataset: digits
recipes: {short: {recipe: digits, epochs: 1, warmup_epochs: 0}}
protocols: [dense]
seeds: [1, 2]
"""


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_before_the_training_loop_is_a_line_and_the_code_to_requeue_on(
    number: int, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(train, "_train", lambda *_, **__: os.kill(os.getpid(), number))
    before = signal.getsignal(number)
    with pytest.raises(SystemExit) as ended:
        train.main([])
    assert ended.value.code == REQUEUE_EXIT_CODE
    assert capsys.readouterr().err == "train.py: stopped; the same command goes on\n"
    assert signal.getsignal(number) is before


def test_handlers_are_put_back_and_an_inner_block_goes_first(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended, end_on_signals("outer", 1), end_on_signals("inner", 2):
        os.kill(os.getpid(), signal.SIGTERM)
    assert ended.value.code == 2
    assert capsys.readouterr().err == "inner\n"


def failing(error: Exception) -> Callable[..., None]:
    def fail(*_: object, **__: object) -> None:
        raise error

    return fail


@pytest.mark.parametrize(
    ("error", "code", "said"),
    [
        (OSError(errno.ENOSPC, "No space left on device", "runs/x"), 1, "runs/x: no space left on device; make room"),
        (PermissionError(errno.EACCES, "Permission denied", "runs"), 2, "runs: permission denied; change its"),
    ],
)
def test_what_the_system_refuses_is_one_line(
    error: OSError, code: int, said: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(train, "_train", failing(error))
    assert train.main([]) == code
    printed = capsys.readouterr().err
    assert printed.startswith(f"train.py: {said}")
    assert printed.count("\n") == 1


def too_much() -> torch.Tensor:
    return torch.empty(10**15)


def too_much_to_count() -> torch.Tensor:
    return torch.empty(2**40, 2**40)


def too_much_for_numpy() -> object:
    return np.empty(10**15)


def too_much_for_a_gpu() -> object:
    raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 20.00 GiB. GPU 0 has a total capacity of 8 GiB")


@pytest.mark.parametrize(
    ("ask", "tried"),
    [
        (too_much, "4000000000000000 bytes"),
        (too_much_to_count, ""),
        (too_much_for_numpy, ""),
        (too_much_for_a_gpu, "20.00 GiB"),
    ],
)
def test_memory_that_there_is_not_is_one_line(
    ask: Callable[[], object], tried: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(train, "_train", lambda *_, **__: ask())
    assert train.main([]) == 1
    monkeypatch.setattr(cli, "app", lambda **_: ask())
    monkeypatch.setattr(sys, "argv", ["thinresnet"])
    with pytest.raises(SystemExit) as ended:
        cli.main()
    assert ended.value.code == 1
    first, second = capsys.readouterr().err.splitlines()
    said = f"out of memory{f' (tried to allocate {tried})' if tried else ''}; give a smaller batch, smaller images or"
    assert first.startswith(f"train.py: {said}")
    assert second.startswith(f"thinresnet: {said}")


def test_a_stage_that_gets_no_memory_is_one_line_and_the_next_one_is_done(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "tiny.yaml").write_text(STUDY)
    (graph,) = read_graphs(tmp_path / "tiny.yaml")
    asked = []

    def ask(stage: Train, *_: object, **__: object) -> None:
        asked.append(stage.name)
        too_much_for_a_gpu()

    monkeypatch.setattr(Train, "run", ask)
    failed = api.run(graph, tmp_path / "runs", progress=False)
    assert len(asked) == 2
    assert all(failed[name].startswith("out of memory (tried to allocate 20.00 GiB); give") for name in asked)


def test_other_errors_keep_their_trace(monkeypatch: pytest.MonkeyPatch) -> None:
    assert memory_error_line(RuntimeError("mat1 and mat2 shapes cannot be multiplied")) == ""
    monkeypatch.setattr(train, "_train", failing(RuntimeError("a bug")))
    with pytest.raises(RuntimeError, match="a bug"):
        train.main([])
