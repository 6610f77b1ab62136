"""The pretended device as accelerate and the product meet it: the only one that there is."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from accelerate.state import AcceleratorState, PartialState

from tests.accelerator.pretend import Pretend
from tests.training.data.conftest import ffcv_in_python

__all__ = ["cuda", "ffcv_in_python"]


@pytest.fixture
def cuda(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Pretend]:
    """Everything that asks for the device of this process is given a pretended GPU."""
    monkeypatch.setenv("THINRESNET_CACHE", str(tmp_path / "cache"))
    PartialState._reset_state()
    PartialState(cpu=True)
    # Not by monkeypatch, which puts the key back after the reset: half a state, that accelerate takes for a whole one.
    PartialState._shared_state["device"] = torch.device("cuda")
    try:
        with Pretend() as here:
            yield here
    finally:
        PartialState._reset_state()
        AcceleratorState._reset_state()
