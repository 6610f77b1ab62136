"""How fast networks are on the machine at hand, against the MACs that they promise.

Runs of the networks are interleaved, so that a machine that warms up or is busy for a while slows all of them alike;
medians are reported. Everything is warm before it is timed, and a GPU is waited for.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from thinresnet.errors import InputError
from thinresnet.network import Network
from thinresnet.networks.build import build
from thinresnet.networks.cost import count
from thinresnet.progress import Progress, shown

WARM_UP_RUNS = 3


@dataclass(frozen=True)
class Timing:
    """One network's figures; ratios are against the first network measured, which is the dense one."""

    network: Network
    macs: int
    macs_ratio: float
    latency_ms: float  # median, of one batch; of one update where training is timed
    latency_spread_ms: float  # between the quartiles
    images_per_second: float
    time_ratio: float


def measure(
    networks: Sequence[Network],
    *,
    batch_size: int = 1,
    runs: int = 20,
    device: str | None = None,
    channels_last: bool = False,
    compiled: bool = False,
    training: bool = False,
    progress: Progress | bool = True,
) -> list[Timing]:
    """Time one batch through each network, `runs` times each, in turns.

    A forward pass in evaluation mode, or with `training` an update: forward, backward and a step of SGD.
    """
    show = shown(progress)
    check_counts(batch_size, runs)
    if training and batch_size < 2:
        raise InputError("time: batch size 1; batch norm trains on 2 images or more: give --batch-size")
    target = device_of(device)
    forwards = [_ready(network, target, batch_size, channels_last, compiled, training) for network in networks]
    for forward in forwards:
        for _ in range(WARM_UP_RUNS):
            forward()
    spent: list[list[float]] = [[] for _ in networks]
    for run in range(runs):
        for number, (own, forward) in enumerate(zip(spent, forwards, strict=True), start=1):
            own.append(seconds(forward, target))
            show(f"timing {networks[-1].arch}", run * len(networks) + number, runs * len(networks))
    macs = [count(network).macs for network in networks]
    medians = [statistics.median(own) for own in spent]
    return [
        Timing(
            network=network,
            macs=own_macs,
            macs_ratio=own_macs / macs[0],
            latency_ms=1e3 * median,
            latency_spread_ms=1e3 * _quartile_range(own),
            images_per_second=batch_size / median,
            time_ratio=median / medians[0],
        )
        for network, own, own_macs, median in zip(networks, spent, macs, medians, strict=True)
    ]


def check_counts(batch_size: int, runs: int) -> None:
    """Refuse a batch without images, and so few runs that a median says nothing."""
    if batch_size < 1 or runs < 3:
        raise InputError(f"time: batch size {batch_size}, runs {runs}; at least 1 image and 3 runs")


def device_of(name: str | None) -> torch.device:
    """The device of that name; without one the GPU, where there is one."""
    if name is None:
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        device = torch.device(name)
        torch.empty(0, device=device)
    except (RuntimeError, AssertionError) as error:
        raise InputError(f"--device {name}: not usable here: {str(error).splitlines()[0]}") from None
    return device


def _ready(
    network: Network, device: torch.device, batch_size: int, channels_last: bool, compiled: bool, training: bool
) -> Callable[[], Tensor]:
    layout = torch.channels_last if channels_last else torch.contiguous_format
    model: nn.Module = build(network, seed=0).train(training).to(device=device, memory_format=layout)
    images = torch.randn(batch_size, *network.input_size, device=device).contiguous(memory_format=layout)
    run: Callable[[Tensor], Tensor] = torch.compile(model) if compiled else model
    if training:
        return _updating(model, run, images)

    def forward() -> Tensor:
        with torch.inference_mode():
            return run(images)

    return forward


def _updating(model: nn.Module, run: Callable[[Tensor], Tensor], images: Tensor) -> Callable[[], Tensor]:
    labels = torch.zeros(len(images), dtype=torch.long, device=images.device)
    # At a rate of 0 the weights stay as they are, and the work is the same.
    optimizer = torch.optim.SGD(model.parameters(), lr=0.0, momentum=0.9, weight_decay=1e-4)

    def update() -> Tensor:
        loss = nn.functional.cross_entropy(run(images), labels)
        loss.backward()
        optimizer.step()
        optimizer.zero_grad()
        return loss

    return update


def seconds(forward: Callable[[], Tensor], device: torch.device) -> float:
    """How long one call takes, the GPU waited for."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    start = time.perf_counter()
    forward()
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    return time.perf_counter() - start


def _quartile_range(values: Sequence[float]) -> float:
    low, _, high = statistics.quantiles(values, n=4)
    return high - low
