"""A latency table of made-up times: a microsecond a pair of channels, two a layer, and 3 ms beside all layers."""

from __future__ import annotations

from typing import Any

import pytest

from thinresnet.network import Network
from thinresnet.networks import latency_measuring
from thinresnet.networks.blueprint import blueprint
from thinresnet.networks.latency import LatencyTable, LayerTimes
from thinresnet.networks.timing import Timing

FIXED_MS, LAYER_MS, PAIR_MS = 3.0, 0.002, 0.001
MACHINE = "a machine of long ago"


def layers_ms(network: Network) -> float:
    """What the layers of a network take, by hand."""
    ties = blueprint(network.arch, network.kwargs, network.input_size).ties
    total = 0.0
    for layer in ties.layers.values():
        inputs = ties.length((layer.name, "in"), network.channels) if layer.kind in ("conv", "linear") else 1
        total += LAYER_MS + PAIR_MS * inputs * ties.length((layer.name, "out"), network.channels)
    return total


def made_up_timings(networks: Any, **options: Any) -> list[Timing]:
    """Instead of `measure`: twice what the layers take, and what is beside them."""
    return [Timing(own, 1, 1.0, FIXED_MS + 2 * layers_ms(own), 0.1, 1.0, 1.0) for own in networks]


def made_up_table(network: Network, monkeypatch: pytest.MonkeyPatch, **how: Any) -> LatencyTable:
    """`measured_table` with the clock replaced: each layer is bilinear in its channels, so interpolation is exact."""

    def times(layer: Any, *rest: Any) -> LayerTimes:
        rows = tuple(tuple(LAYER_MS + PAIR_MS * i * o for o in layer.outputs) for i in layer.inputs)
        return LayerTimes(layer.kind, layer.setup, layer.inputs, layer.outputs, rows)

    with monkeypatch.context() as patched:
        patched.setattr(latency_measuring, "_times", times)
        patched.setattr(latency_measuring, "measure", made_up_timings)
        patched.setattr(latency_measuring, "machine_of", lambda device: MACHINE)
        return latency_measuring.measured_table(network, **how)
