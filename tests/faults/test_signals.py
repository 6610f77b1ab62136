"""Signals outside the training loop, and what the system refuses, are one line and the right code in train.py too."""

from __future__ import annotations

import errno
import os
import signal
from collections.abc import Callable

import pytest

from thinresnet.cli import train
from thinresnet.stopping import REQUEUE_EXIT_CODE, end_on_signals


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


def failing(error: OSError) -> Callable[..., None]:
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
