"""Measuring a latency table here: every layer of an architecture at several widths, and two whole networks."""

from __future__ import annotations

import copy
import itertools
import statistics
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from thinresnet.files import cache_folder
from thinresnet.identity import canonical_sha256
from thinresnet.machine import processor
from thinresnet.network import Network
from thinresnet.networks.blueprint import blueprint, construct
from thinresnet.networks.latency import (
    FORMAT,
    NANOSECONDS,
    LatencyTable,
    LayerTimes,
    WholeTime,
    read_table,
    write_table,
)
from thinresnet.networks.scaling import scale
from thinresnet.networks.ties import Ties
from thinresnet.networks.timing import check_counts, device_of, measure, seconds
from thinresnet.networks.tracer import shapes_only
from thinresnet.progress import Progress, shown

SHARES = (0.125, 0.25, 0.5, 0.75, 1.0)  # of a layer's channels: where it is measured
SECOND_WIDTH = 0.5  # of the second whole network
RUNS = 15
_WARM_UP_RUNS = 3
_PRECISION = "float32"


@dataclass(frozen=True)
class _Layer:
    """What decides the time of a layer but for its numbers of channels."""

    kind: str
    module: nn.Module  # on the meta device
    shape: tuple[int, ...]  # of what goes in, for one image
    inputs: tuple[int, ...]
    outputs: tuple[int, ...]

    @property
    def setup(self) -> dict[str, Any]:
        """The same as JSON values."""
        found: dict[str, Any] = {"input": list(self.shape[1:] if len(self.shape) == 3 else self.shape[:-1])}
        if isinstance(self.module, nn.Conv2d):
            for name in ("kernel_size", "stride", "padding", "dilation"):
                value = getattr(self.module, name)
                found[name] = value if isinstance(value, str) else list(value)
            found["groups"] = self.module.groups if self.kind == "conv" else "channels"
        return found

    def built(self, inputs: int, outputs: int) -> nn.Module:
        """The layer at these numbers of channels."""
        own = self.module
        if isinstance(own, nn.Conv2d):
            groups = own.groups if self.kind == "conv" else outputs
            return nn.Conv2d(
                inputs if self.kind == "conv" else outputs, outputs, own.kernel_size, own.stride, own.padding,
                own.dilation, groups, own.bias is not None,
            )  # fmt: skip
        if self.kind == "linear":
            return nn.Linear(inputs, outputs, own.bias is not None)
        return nn.BatchNorm2d(outputs) if len(self.shape) == 3 else nn.LayerNorm(outputs)

    def image(self, batch_size: int, inputs: int, outputs: int, device: torch.device) -> Tensor:
        """What goes in."""
        channels = inputs if self.kind in ("conv", "linear") else outputs
        shape = (channels, *self.shape[1:]) if len(self.shape) == 3 else (*self.shape[:-1], channels)
        return torch.randn(batch_size, *shape, device=device)


def machine_of(device: torch.device) -> str:
    """What tables call the device."""
    return torch.cuda.get_device_name(device) if device.type == "cuda" else processor()


def is_of_this_machine(table: LatencyTable) -> bool:
    """Whether the table was measured where this runs, so that what comes out can be measured as the table was."""
    return (table.device, table.threads) == (machine_of(_device_of(table)), torch.get_num_threads())


def measured_ms(table: LatencyTable, network: Network, *, runs: int = 20) -> tuple[float, float] | None:
    """The time of a batch through a network and through the dense one, in turns, here and by the table's conditions.

    None on another machine.
    """
    if not is_of_this_machine(table):
        return None
    dense = scale(network.arch, input_size=network.input_size, **network.kwargs)
    timings = measure(
        [network, dense], batch_size=table.batch_size, runs=runs, device=str(_device_of(table)), progress=False
    )
    return timings[0].latency_ms, timings[1].latency_ms


def latency_record(table: LatencyTable, network: Network) -> dict[str, Any]:
    """The latency predicted and measured here (null on another machine), and what both hold for, as JSON values."""
    measured, measured_dense = measured_ms(table, network) or (None, None)
    return {
        "predicted_ms": table.predict_ns(network.channels) / NANOSECONDS,
        "predicted_dense_ms": table.dense_ns / NANOSECONDS,
        "measured_ms": measured,
        "measured_dense_ms": measured_dense,
        **table.conditions,
    }


def measured_table(
    network: Network,
    *,
    batch_size: int = 1,
    runs: int = RUNS,
    device: str | None = None,
    progress: Progress | bool = True,
) -> LatencyTable:
    """Measure the table of the architecture that a network is of."""
    check_counts(batch_size, runs)
    dense = scale(network.arch, input_size=network.input_size, **network.kwargs)
    target, show = device_of(device), shown(progress)
    ties = blueprint(dense.arch, dense.kwargs, dense.input_size).ties
    found: dict[str, tuple[int, _Layer]] = {}
    names: dict[str, int] = {}
    for name, layer in _layers(dense, ties):
        key = canonical_sha256([layer.kind, layer.setup, layer.inputs, layer.outputs])
        names[name] = found.setdefault(key, (len(found), layer))[0]
    times = []
    for number, layer in found.values():
        show(f"timing the layers of {dense.arch}", number, len(found))
        times.append(_times(layer, batch_size, runs, target))
    wholes = (dense, scale(dense.arch, width=SECOND_WIDTH, input_size=dense.input_size, **dense.kwargs))
    timed = measure(wholes, batch_size=batch_size, runs=max(runs, 2 * RUNS), device=str(target), progress=False)
    show(f"timing the layers of {dense.arch}", len(found), len(found))
    return LatencyTable(
        arch=dense.arch,
        kwargs=dict(dense.kwargs),
        input_size=dense.input_size,
        device=machine_of(target),
        threads=torch.get_num_threads(),
        batch_size=batch_size,
        precision=_PRECISION,
        torch=torch.__version__,
        runs=runs,
        measured=datetime.now(timezone.utc).isoformat(timespec="seconds"),
        times=tuple(times),
        layers=names,
        networks=tuple(
            WholeTime(width=width, channels=dict(timing.network.channels), ms=timing.latency_ms)
            for width, timing in zip((1.0, SECOND_WIDTH), timed, strict=True)
        ),
    )


def table_of(
    network: Network, given: LatencyTable | Path | str | None = None, *, progress: Progress | bool = True
) -> LatencyTable:
    """The table given, or that of its file, checked; without one that of this machine, for single images."""
    if given is None:
        return stored_table(network, progress=progress)
    table = given if isinstance(given, LatencyTable) else read_table(Path(given))
    table.check(network)
    return table


def stored_table(
    network: Network, *, batch_size: int = 1, device: str | None = None, progress: Progress | bool = True
) -> LatencyTable:
    """The table of this architecture on this machine: measured the first time, and ever after the same."""
    target = device_of(device)
    conditions = {
        "format": FORMAT, "arch": network.arch, "kwargs": dict(network.kwargs), "input_size": network.input_size,
        "device": machine_of(target), "threads": torch.get_num_threads(), "batch_size": batch_size,
        "torch": torch.__version__,
    }  # fmt: skip
    path = stored_at(network.arch, conditions)
    if not path.exists():
        write_table(path, measured_table(network, batch_size=batch_size, device=device, progress=progress))
    return read_table(path)


def stored_at(arch: str, conditions: dict[str, Any]) -> Path:
    """Where the table of these conditions is kept."""
    return cache_folder() / "latency" / f"{arch}-{canonical_sha256(conditions)[:16]}.json"


def _device_of(table: LatencyTable) -> torch.device:
    cuda = torch.cuda.is_available() and table.device == torch.cuda.get_device_name()
    return torch.device("cuda" if cuda else "cpu")


def _layers(dense: Network, ties: Ties) -> Iterator[tuple[str, _Layer]]:
    """The layers whose time depends on channels; filters of fixed weights count to the rest."""
    model = construct(dense, device="meta")
    shapes: dict[str, tuple[int, ...]] = {}

    def watch(name: str) -> Callable[..., None]:
        def hook(module: nn.Module, inputs: Sequence[Tensor]) -> None:
            shapes[name] = tuple(inputs[0].shape[1:])

        return hook

    modules = dict(model.named_modules())
    handles = [modules[name].register_forward_pre_hook(watch(name)) for name in ties.layers if name in modules]
    with torch.no_grad(), shapes_only(model.eval()):
        model(torch.empty(1, *dense.input_size, device="meta"))
    for handle in handles:
        handle.remove()
    for name, layer in ties.layers.items():
        if layer.kind == "blur" or name not in shapes:
            continue
        outputs = _grid(ties, (name, "out"), layer.groups if layer.kind == "conv" else 1)
        has_inputs = layer.kind in ("conv", "linear")
        inputs = _grid(ties, (name, "in"), layer.groups) if has_inputs else (1,)
        yield name, _Layer(layer.kind, copy.copy(modules[name]), shapes[name], inputs, outputs)


def _grid(ties: Ties, role: tuple[str, str], multiple: int) -> tuple[int, ...]:
    """Where a dimension is measured: some shares of it, or the whole alone where it does not move."""
    whole = ties.length(role, ties.dense_widths())
    if not ties.uses(role)[1]:
        return (whole,)
    return tuple(sorted({max(1, round(share * whole / multiple)) * multiple for share in SHARES} | {whole}))


def _times(layer: _Layer, batch_size: int, runs: int, device: torch.device) -> LayerTimes:
    found: dict[tuple[int, int], float] = {}
    for inputs, outputs in itertools.product(layer.inputs, layer.outputs):
        module = layer.built(inputs, outputs).eval().to(device)
        image = layer.image(batch_size, inputs, outputs, device)

        def forward(module: nn.Module = module, image: Tensor = image) -> Tensor:
            with torch.inference_mode():
                result: Tensor = module(image)
                return result

        for _ in range(_WARM_UP_RUNS):
            forward()
        found[inputs, outputs] = 1e3 * statistics.median(seconds(forward, device) for _ in range(runs))
    rows = tuple(tuple(found[inputs, outputs] for outputs in layer.outputs) for inputs in layer.inputs)
    return LayerTimes(layer.kind, layer.setup, layer.inputs, layer.outputs, rows)
