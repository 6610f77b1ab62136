"""How errors end a command: a line and a code, or whole, where it is a defect."""

from __future__ import annotations

import errno

import pytest

from thinresnet.errors import InputError
from thinresnet.stopping import TrainingError, TrainingInterruptedError, ending


@pytest.mark.parametrize(
    ("error", "line", "code"),
    [
        (InputError("recipe.yaml: epochs 0; at least 1"), "recipe.yaml: epochs 0; at least 1", 2),
        (TrainingInterruptedError("stopped after epoch 1 of 2"), "stopped after epoch 1 of 2; saved: the same", 75),
        (TrainingError("non-finite loss"), "non-finite loss", 1),
        (OSError(errno.ENOSPC, "No space left on device", "runs"), "runs", 1),
        (FileNotFoundError(errno.ENOENT, "No such file or directory", "data"), "data", 2),
        (MemoryError(), "out of memory; give a smaller batch", 1),
        (RuntimeError("CUDA out of memory. Tried to allocate 2.00 GiB"), "out of memory (tried to allocate 2.00", 1),
    ],
)
def test_what_a_user_can_act_on_is_a_line_and_a_code(error: Exception, line: str, code: int) -> None:
    ended = ending(error)
    assert ended is not None
    assert line in ended[0]
    assert "\n" not in ended[0]
    assert ended[1] == code


@pytest.mark.parametrize("error", [RuntimeError("shapes do not match"), KeyError("width"), AssertionError()])
def test_a_defect_is_shown_whole(error: Exception) -> None:
    assert ending(error) is None
