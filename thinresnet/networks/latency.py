"""Predicted latency: the sum over layers of times that were measured once and stored, exact and the same ever after.

A table holds, for every layer of an architecture, the time of one batch at several numbers of input and output
channels, and the times of two whole networks. Between measured numbers of channels times are interpolated (linearly in
both); below the smallest they stay, beyond the largest they grow in proportion. What the whole networks take beyond
their layers (activations, sums, calls) is a constant and a factor, fitted to the two; so the dense network is predicted
as it was measured. More channels never take less time: of the measured times the mean of the running maximum from below
and of the running minimum from above is used.

Budgets in latency are kept by the prediction, to the nanosecond; what a machine then measures is said beside it.
"""

from __future__ import annotations

import bisect
import functools
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from thinresnet.convert import convert, setting
from thinresnet.errors import InputError
from thinresnet.files import read_object, write_atomically
from thinresnet.identity import canonical_sha256
from thinresnet.network import Network
from thinresnet.networks.blueprint import blueprint

FORMAT = 1
NANOSECONDS = 10**6  # in a millisecond
_MOST_CHANNELS, _MOST_MS = 10**6, 10**9
Times = tuple[tuple[float, ...], ...]


@dataclass(frozen=True)
class LayerTimes:
    """The times of one batch through one kind of layer: a row a number of inputs, a column a number of outputs."""

    kind: str
    setup: dict[str, Any]  # kernel, stride, side of the map …: for readers
    inputs: tuple[int, ...] = setting(low=1, high=_MOST_CHANNELS, count=(1, 64), distinct=True)
    outputs: tuple[int, ...] = setting(low=1, high=_MOST_CHANNELS, count=(1, 64), distinct=True)
    ms: Times = setting(low=0, high=_MOST_MS, count=(1, 64))

    def __post_init__(self) -> None:
        if len(self.ms) != len(self.inputs) or any(len(row) != len(self.outputs) for row in self.ms):
            raise InputError(
                f"ms: takes {len(self.inputs)} rows of {len(self.outputs)} times, one a number of channels"
            )
        for name in ("inputs", "outputs"):
            if list(getattr(self, name)) != sorted(getattr(self, name)):
                raise InputError(f"{name}: takes numbers of channels in ascending order")

    @functools.cached_property
    def monotone(self) -> Times:
        """The times, none shorter than one of fewer channels."""
        above, below = _running(self.ms, max), _turned(_running(_turned(self.ms), min))
        return tuple(tuple(map(_mean, *rows)) for rows in zip(above, below, strict=True))

    def at(self, inputs: int, outputs: int) -> float:
        """Milliseconds at these numbers of channels."""
        row, down, over = _between(self.inputs, inputs)
        column, right, wider = _between(self.outputs, outputs)
        times = self.monotone
        here = times[row][column] * (1 - right) + (times[row][column + 1] * right if right else 0.0)
        if down:
            next_row = times[row + 1]
            there = next_row[column] * (1 - right) + (next_row[column + 1] * right if right else 0.0)
            here = here * (1 - down) + there * down
        return here * over * wider


@dataclass(frozen=True, kw_only=True)
class WholeTime:
    """The measured time of one batch through a whole network."""

    width: float = setting(above=0)
    channels: dict[str, int]
    ms: float = setting(above=0, high=_MOST_MS)


@dataclass(frozen=True, kw_only=True)
class LatencyTable:
    """The table of one architecture at one input size, on one machine; the keys of its file."""

    arch: str
    kwargs: dict[str, Any]
    input_size: tuple[int, int, int]
    device: str
    threads: int = setting(low=1)
    batch_size: int = setting(low=1)
    precision: str
    torch: str
    runs: int = setting(low=1)
    measured: str  # when
    times: tuple[LayerTimes, ...] = setting(count=(1, 10_000))
    layers: dict[str, int]  # of each layer, the place of its times
    networks: tuple[WholeTime, ...] = setting(count=(1, 100))

    def __post_init__(self) -> None:
        for name, place in self.layers.items():
            if not 0 <= place < len(self.times):
                raise InputError(f"layers: {name}: {place}, but there are times of {len(self.times)} layers")

    @property
    def sha256(self) -> str:
        """The hash of what decides predictions."""
        return canonical_sha256(json.loads(self.to_json()))

    @property
    def conditions(self) -> dict[str, Any]:
        """What the times hold for, as JSON values."""
        keys = ("device", "threads", "batch_size", "precision", "torch", "measured")
        return {**{key: getattr(self, key) for key in keys}, "table_sha256": self.sha256}

    @property
    def says(self) -> str:
        """What the times hold for, in words."""
        threads = f"{self.threads} thread{'s' if self.threads > 1 else ''}"
        return f"{self.device}, {threads}, batch {self.batch_size}, {self.precision}, torch {self.torch}"

    def check(self, network: Network) -> None:
        """Refuse a network that the table is not of; another number of classes, one layer's, does not matter."""
        own = (self.arch, _without_classes(self.kwargs), self.input_size)
        asked = (network.arch, _without_classes(network.kwargs), tuple(network.input_size))
        if own != asked:
            raise InputError(
                f"--latency-table: it is of {_named(*own)}, not of {_named(*asked)}; measure one with: "
                f"thinresnet time {network.arch} --table FILE"
            )

    def predict_ns(self, widths: Mapping[str, int]) -> int:
        """Nanoseconds of one batch through the network of these channel counts."""
        fixed, factor = self._beyond_layers
        return round((fixed + factor * self._of_layers(widths)) * NANOSECONDS)

    @functools.cached_property
    def dense_ns(self) -> int:
        """The same of the architecture as it is."""
        return self.predict_ns(self._ties.dense_widths())

    def to_json(self) -> str:
        """The text of its file."""
        return json.dumps({"format": FORMAT, **asdict(self)}, indent=1, allow_nan=False) + "\n"

    @functools.cached_property
    def _ties(self) -> Any:
        return blueprint(self.arch, self.kwargs, self.input_size).ties

    def _of_layers(self, widths: Mapping[str, int]) -> float:
        ties, total = self._ties, 0.0
        for name, place in self.layers.items():
            if name not in ties.layers:
                raise InputError(f"--latency-table: {self.arch} has no layer {name!r}")
            outputs = ties.length((name, "out"), widths)
            has_inputs = ties.layers[name].kind in ("conv", "linear")
            total += self.times[place].at(ties.length((name, "in"), widths) if has_inputs else 1, outputs)
        return total

    @functools.cached_property
    def _beyond_layers(self) -> tuple[float, float]:
        """A constant and a factor that make the layers' times those of the whole networks."""
        measured = [(self._of_layers(whole.channels), whole.ms) for whole in self.networks]
        (most, longest), (least, shortest) = max(measured), min(measured)
        factor = (longest - shortest) / (most - least) if most > least else 0.0
        fixed = longest - factor * most
        return (fixed, factor) if factor > 0 and fixed >= 0 else (0.0, longest / most)


def read_table(path: Path) -> LatencyTable:
    """A table's file, checked."""
    hint = "thinresnet time ARCH --table FILE writes one"
    found = read_object(path, missing=f"--latency-table {path}: no such file; {hint}")
    if found.pop("format", None) != FORMAT:
        raise InputError(f"--latency-table {path}: not of format {FORMAT}; {hint}")
    return convert(LatencyTable, found, str(path), unknown="ignore")


def write_table(path: Path, table: LatencyTable) -> None:
    """Write a table's file."""
    write_atomically(path, table.to_json())


def _without_classes(kwargs: Mapping[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in kwargs.items() if key != "num_classes"}


def _named(arch: str, kwargs: Mapping[str, Any], input_size: Sequence[int]) -> str:
    given = "".join(f" {key}={value}" for key, value in kwargs.items())
    return f"{arch}{given} at {'x'.join(map(str, input_size))}"


def _between(grid: Sequence[int], wanted: int) -> tuple[int, float, float]:
    """The place below in the grid, how far it is to the next, and by how much it is beyond the end."""
    if wanted <= grid[0]:
        return 0, 0.0, 1.0
    if wanted >= grid[-1]:
        return len(grid) - 1, 0.0, wanted / grid[-1]
    place = bisect.bisect_right(grid, wanted) - 1
    return place, (wanted - grid[place]) / (grid[place + 1] - grid[place]), 1.0


def _running(rows: Times, pick: Callable[[float, float], float]) -> Times:
    """The running maximum (or minimum) along both directions."""
    found: list[tuple[float, ...]] = []
    for row in rows:
        own: list[float] = []
        for place, value in enumerate(row):
            picked = value if not own else pick(own[-1], value)
            own.append(picked if not found else pick(found[-1][place], picked))
        found.append(tuple(own))
    return tuple(found)


def _turned(rows: Times) -> Times:
    """From the other end, in both directions."""
    return tuple(tuple(reversed(row)) for row in reversed(rows))


def _mean(one: float, other: float) -> float:
    return (one + other) / 2
