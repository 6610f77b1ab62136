"""Masks of given densities, by single weights or by filters.

The densities of a thinner network (`densities_left`) as masks on the whole one: the two differ in granularity alone.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from thinresnet.errors import InputError, nearest
from thinresnet.network import Network
from thinresnet.networks.blueprint import blueprint
from thinresnet.networks.ties import FIXED
from thinresnet.pruning.initialisation.densities import layers_of

GRANULARITIES = ("weight", "filter")


def masks(network: Network, densities: Mapping[str, float], granularity: str, seed: int) -> dict[str, Tensor]:
    """For the weights of each layer of `densities`, which of them stay: drawn, as many as its density says.

    `weight`: single weights, rounded to the nearest number of them. `filter`: all weights of an output channel, rounded
    to the nearest number of channels; of layers whose outputs are no channels (the classes) those of an input. At least
    one of each stays.
    """
    if granularity not in GRANULARITIES:
        hint = nearest(granularity, GRANULARITIES)
        raise InputError(f"granularity: {granularity!r} is not one of {', '.join(GRANULARITIES)}{hint}")
    layers = layers_of(network)
    shapes = dict(zip(layers.names, layers.shapes, strict=True))
    ties = blueprint(network.arch, network.kwargs, network.input_size).ties
    generator = torch.Generator().manual_seed(seed)
    found = {}
    for name, density in densities.items():
        if name not in shapes:
            raise InputError(f"densities: {network.arch} has no layer {name!r}{nearest(name, shapes)}")
        if not 0 < density <= 1:
            raise InputError(f"densities: {name} is {density}; a mask has more than 0 and at most 1")
        shape = shapes[name]
        if granularity == "weight":
            mask = _drawn(torch.Size(shape).numel(), density, generator).view(shape)
        else:
            no_channels = bool((ties.labels.widths[ties.layers[name].outputs] == FIXED).any())
            side = 1 if no_channels and shape[1] > 1 else 0
            lines = [1] * len(shape)
            lines[side] = shape[side]
            mask = _drawn(shape[side], density, generator).view(lines).expand(shape).clone()
        found[f"{name}.weight"] = mask
    return found


def _drawn(count: int, density: float, generator: torch.Generator) -> Tensor:
    """So many things, of which the share `density` is drawn."""
    kept = torch.zeros(count, dtype=torch.bool)
    kept[torch.randperm(count, generator=generator)[: max(1, round(density * count))]] = True
    return kept
