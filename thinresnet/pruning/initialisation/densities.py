"""Densities: the share of each layer's weights that stays, and how much may stay in all.

They are about the weights of convolution and linear layers. Biases and norms follow their channels and are not counted
here, so that a budget on a whole network becomes the same share of these weights (and of their MACs).
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from thinresnet.errors import InputError
from thinresnet.network import Network
from thinresnet.networks.blueprint import blueprint, construct

Figures = np.ndarray[Any, np.dtype[np.float64]]
Integers = np.ndarray[Any, np.dtype[np.int64]]
Mask = np.ndarray[Any, np.dtype[np.bool_]]
_DIGIT_BITS, _SHIFTS = 13, (52, 39, 26, 13, 0)  # of 64 bits, from the top; 13 is a good size for a histogram


@dataclass(frozen=True)
class Layers:
    """The layers whose weights are meant, in the order of the forward pass."""

    names: tuple[str, ...]
    shapes: tuple[tuple[int, ...], ...]  # of their weights
    positions: Integers  # at how many places of the map a weight is used, for one image: its MACs

    @property
    def weights(self) -> Integers:
        """How many weights each has."""
        return np.array([math.prod(shape) for shape in self.shapes], dtype=np.int64)


@dataclass(frozen=True)
class WeightLimit:
    """What one weight of each layer costs, and the most that all of them may cost."""

    cost: Integers
    most: float


@dataclass(frozen=True)
class LayerDensities:
    """How dense each layer should be; of a method that ranks weights, also which of them are to stay."""

    values: Figures
    masks: Sequence[Mask] | None = None

    @classmethod
    def of(cls, masks: Sequence[Mask]) -> LayerDensities:
        """The densities of these masks."""
        return cls(np.array([float(mask.mean()) for mask in masks]), masks)


@dataclass(frozen=True)
class Allowance:
    """The shares of a network's parameters and MACs (`params`, `macs`) that may stay; more than 1 where it may grow."""

    layers: Layers
    shares: Mapping[str, float]

    def limits(self, way: float = 1.0) -> list[WeightLimit]:
        """The limits, or those met on the way there: each density is the share to the power of `way`."""
        costs = {"params": np.ones(len(self.layers.names), dtype=np.int64), "macs": self.layers.positions}
        return [
            WeightLimit(costs[quantity], share**way * float(costs[quantity] @ self.layers.weights))
            for quantity, share in self.shares.items()
        ]


def layers_of(network: Network) -> Layers:
    """The layers of a network that have weights to rank."""
    ties = blueprint(network.arch, network.kwargs, network.input_size).ties
    model = construct(network, device="meta")
    found = [layer for layer in ties.layers.values() if layer.kind in ("conv", "depthwise", "linear")]
    return Layers(
        names=tuple(layer.name for layer in found),
        shapes=tuple(tuple(model.get_submodule(layer.name).weight.shape) for layer in found),
        positions=np.array([layer.positions for layer in found], dtype=np.int64),
    )


def densities_left(network: Network, thin: Network) -> dict[str, float]:
    """The densities of a network of other channel counts, measured against this one."""
    layers = layers_of(network)
    left = layers_of(thin).weights / layers.weights
    return dict(zip(layers.names, left.tolist(), strict=True))


def scaled_densities(ratios: Figures, layers: Layers, limits: Sequence[WeightLimit], *, grow: bool = False) -> Figures:
    """Densities in these ratios to each other, as large as the limits allow.

    A layer that would be denser than dense is dense, and the rest share what is left, until none is; with `grow` it may
    be denser than dense.
    """
    scale = math.inf
    dense = np.zeros(len(ratios), dtype=bool)
    for limit in limits:
        costs = limit.cost * layers.weights
        dense[:] = False
        while not dense.all():
            own = float((limit.most - costs[dense].sum()) / (costs * ratios)[~dense].sum())
            over = ~dense & (own * ratios > 1)
            if grow or not over.any():
                break
            dense |= over
        scale = min(scale, math.inf if dense.all() else own)
    found: Figures = scale * ratios
    return found if grow else np.where(ratios * scale > 1, 1.0, found)


def keep_highest(scores: Sequence[Figures], limits: Sequence[WeightLimit]) -> list[Mask]:
    """In one ranking of all layers, the highest scored weights, as many as fit within every limit.

    Equal scores at the end are kept in the order of the layers. A score of minus infinity is never kept.
    """
    keys = [_in_order(own) for own in scores]
    inside, sure = keys, np.zeros(len(keys), dtype=np.int64)
    first = -(1 << 63 - _SHIFTS[0])  # the least that the bits looked at can be
    # A radix selection: some bits of the threshold at a time, each pass over what the one before left open.
    for shift in _SHIFTS:
        digits = [(own >> shift) - first for own in inside]
        counts = np.stack([np.bincount(own, minlength=1 << _DIGIT_BITS) for own in digits])
        above = sure[:, None] + counts.sum(1, keepdims=True) - counts.cumsum(1)
        fits = np.all([limit.cost @ above <= limit.most for limit in limits], axis=0)
        digit = int(np.argmax(fits))
        sure = above[:, digit]
        inside = [own[its == digit] for own, its in zip(inside, digits, strict=True)]
        threshold = first + digit
        first = threshold << _DIGIT_BITS
    kept = [own > threshold for own in keys]
    for index, own in enumerate(keys):
        ties = np.flatnonzero((own == threshold) & (scores[index] > -np.inf))
        free = min(math.floor((limit.most - limit.cost @ sure) / limit.cost[index]) for limit in limits)
        chosen = ties[: max(0, free)]
        kept[index][chosen] = True
        sure[index] += len(chosen)
    return [mask & (own > -np.inf) for mask, own in zip(kept, scores, strict=True)]


def _in_order(scores: Figures) -> Integers:
    """Integers in the order of these floats: their bits, as IEEE 754 lays them out."""
    bits = (scores + 0.0).view(np.int64)  # + 0.0: there is one zero only
    bits ^= (bits >> 63) & np.iinfo(np.int64).max  # of the negative ones the bits run the other way
    return bits


def check_scores(where: str, layers: Layers, scores: Sequence[Figures], *, silent: bool) -> None:
    """Refuse scores that cannot be ranked: no numbers or, unless `silent`, a layer about which they say nothing."""
    for name, own in zip(layers.names, scores, strict=True):
        if not np.isfinite(own).all():
            raise InputError(
                f"{where}: {name} has scores that are not finite: the network's figures outgrow floating point, or "
                "there are non-finite weights or images"
            )
        if not silent and not own.any():
            raise InputError(f"{where}: all scores of {name} are zero: nothing it computes reaches the output")
