"""Timing a network against the dense one, its inference and its training, on the machine that does it."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, ClassVar

import torch

from thinresnet.convert import convert, setting
from thinresnet.files import read_object, write_atomically
from thinresnet.network import Network
from thinresnet.networks import measure, read_network
from thinresnet.recipe import Recipe
from thinresnet.studies.stages.stage import Folders, Source, Stage
from thinresnet.training.processes import start_accelerator
from thinresnet.training.provenance import device_name

TIMING = "timing.json"


@dataclass(frozen=True, kw_only=True)
class _Timed:
    """A network in `timing.json`."""

    macs: int = setting(low=1)
    macs_ratio: float = setting(above=0)
    latency_ms: float = setting(above=0)
    latency_spread_ms: float = setting(low=0)
    images_per_second: float = setting(above=0)
    time_ratio: float = setting(above=0)


@dataclass(frozen=True, kw_only=True)
class _Updates:
    """Updates of training in `timing.json`."""

    batch_size: int = setting(low=2)
    dense: _Timed
    network: _Timed


@dataclass(frozen=True, kw_only=True)
class _Record:
    """`timing.json`."""

    batch_size: int = setting(low=1)
    runs: int = setting(low=1)
    device: str
    threads: int = setting(low=1)
    dense: _Timed
    network: _Timed
    training: _Updates | None = None


def read_timing(folder: Path) -> dict[str, Any]:
    """What was measured, checked."""
    return asdict(convert(_Record, read_object(folder / TIMING), str(folder / TIMING)))


@dataclass(frozen=True, eq=False, kw_only=True)
class Timing(Stage):
    """The dense network and the other one in turns."""

    kind: ClassVar[str] = "time"

    dense: Network
    network: Network | Source
    batch_size: int = 1
    runs: int = 20
    training_batch_size: int | None = None  # of updates, which are timed too

    def run(self, inputs: Folders, folder: Path, *, quiet: bool) -> dict[str, str]:
        """Measure and write the record."""
        network = self.network if isinstance(self.network, Network) else read_network(inputs["network"])
        record: dict[str, Any] = {
            "batch_size": self.batch_size,
            "runs": self.runs,
            "device": device_name(start_accelerator(Recipe())),
            "threads": torch.get_num_threads(),
            **self._timed(network, self.batch_size),
        }
        if batch := self.training_batch_size:
            record["training"] = {"batch_size": batch, **self._timed(network, batch, training=True)}
        write_atomically(folder / TIMING, json.dumps(record, indent=1) + "\n")
        return {}

    def _timed(self, network: Network, batch_size: int, *, training: bool = False) -> dict[str, Any]:
        both = measure([self.dense, network], batch_size=batch_size, runs=self.runs, training=training, progress=False)
        dense, other = ({key: value for key, value in asdict(own).items() if key != "network"} for own in both)
        return {"dense": dense, "network": other}
