"""Figures of channels from the weights of the layers that they stand in."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np
import torch
from torch import Tensor, nn

from thinresnet.networks.cutting import STAYS, Channels
from thinresnet.networks.ties import Role
from thinresnet.pruning.selection import Scores


def slices_of(model: nn.Module, channels: Channels, role: Role, *, gradients: bool = False) -> Tensor:
    """The weights of each position of a dimension, a row each: of `out` its filter, of `in` all that reads it.

    `gradients`: what stands in the place of their gradients instead.
    """
    name, side = role
    parameter = model.get_parameter(name if side == "vector" else f"{name}.weight")
    weight = (parameter.grad if gradients and parameter.grad is not None else parameter).detach()
    if side == "vector":
        return weight.reshape(-1, 1)
    if side == "out" or channels.ties.layers[name].kind == "depthwise":
        return weight.flatten(1) if weight.dim() > 1 else weight[:, None]
    blocks = weight.unflatten(
        0, (channels.ties.layers[name].groups, -1)
    )  # a grouped convolution's inputs, block by block
    return blocks.transpose(1, 2).flatten(0, 1).flatten(1)


def mean_of_positions(channels: Channels, role: Role, values: Tensor, into: Scores) -> None:
    """Put the mean of `values` over a channel's positions into the channels that have no figure (NaN) yet."""
    places = channels.places[role]
    found = places != STAYS
    sums = np.bincount(places[found], values.double().cpu().numpy()[found], minlength=channels.total)
    times = np.bincount(places[found], minlength=channels.total)
    new = (times > 0) & np.isnan(into)
    into[new] = sums[new] / times[new]


def of_first_makers(model: nn.Module, channels: Channels, measure: Callable[[Tensor], Tensor]) -> Scores:
    """A figure of the filter that makes each channel, in the first convolution (or linear layer) that does.

    Inside a block that is the only one; of a residual stream it is the one that names its group.
    """
    scores = np.full(channels.total, np.nan)
    for role in makers(channels):
        if np.isnan(scores[channels.places[role]]).any():
            mean_of_positions(channels, role, measure(slices_of(model, channels, role)), scores)
    return scores


def makers(channels: Channels) -> Iterator[Role]:
    """The outputs of convolutions and linear layers, in the order of the forward pass."""
    return ((name, "out") for name, layer in channels.ties.layers.items() if layer.kind in ("conv", "linear"))


def norms_of(model: nn.Module, channels: Channels) -> dict[str, np.ndarray]:
    """The batch norms with scales, and the channel at each of their positions."""
    return {
        name: channels.places[name, "out"]
        for name, layer in channels.ties.layers.items()
        if layer.kind == "norm"
        and isinstance(module := model.get_submodule(name), nn.modules.batchnorm._BatchNorm)
        and module.affine
    }


class Squares:
    """For every channel the sum of squares of all weights that go with it, in all layers that it stands in.

    Of a weight between two channels both have a part; when one of them has left, so has the weight.
    """

    def __init__(
        self,
        model: nn.Module,
        channels: Channels,
        dtype: torch.dtype = torch.float64,
        device: torch.device | None = None,
    ) -> None:
        self._total, self._dtype = channels.total, dtype
        self._device = next(model.parameters()).device if device is None else device
        self._pairs: list[tuple[Tensor, int, Tensor, Tensor]] = []  # weight, groups, channels at its inputs and outputs
        self._alone: list[tuple[Tensor, Tensor]] = []  # weight, and channels at its first dimension or all of it
        for role in roles_with_weights(model, channels):
            name, side = role
            layer = channels.ties.layers.get(name)
            if side == "vector" or layer is None:
                self._alone.append((model.get_parameter(name).view(-1), self._places(channels, role)))
            elif layer.kind not in ("conv", "linear"):
                self._alone.append((model.get_submodule(name).weight, self._places(channels, role)))
            elif side == "out":
                both = [self._places(channels, (name, one)) for one in ("in", "out")]
                self._pairs.append((model.get_submodule(name).weight, layer.groups, both[0], both[1]))
        self.read()

    @torch.no_grad()
    def read(self) -> None:
        """Look at the weights as they are now."""
        self._matrices = []
        for weight, groups, inputs, outputs in self._pairs:
            squares = weight.detach().to(self._dtype).square()
            blocks = squares.flatten(2).sum(2) if squares.dim() > 2 else squares
            self._matrices.append((blocks.unflatten(0, (groups, -1)).to(self._device), inputs, outputs))
        self._values = [
            (weight.detach().to(self._dtype).square().reshape(len(weight), -1).sum(1).to(self._device), places)
            for weight, places in self._alone
        ]

    def of(self, alive: Tensor | None = None) -> Tensor:
        """The sums over the weights of the channels that are left; 0 for those that are not."""
        padded = torch.ones(self._total + 1, dtype=self._dtype, device=self._device)
        if alive is not None:
            padded[:-1] = alive.to(padded)
        sums = torch.zeros_like(padded)  # the last entry is for positions where no channel stands
        for matrix, inputs, outputs in self._matrices:
            sums.index_add_(0, outputs, (matrix @ padded[inputs].view(len(matrix), -1, 1)).flatten())
            sums.index_add_(0, inputs, (padded[outputs].view(len(matrix), 1, -1) @ matrix).flatten())
        for values, places in self._values:
            sums.index_add_(0, places, values)
        return (sums * padded)[:-1]

    def _places(self, channels: Channels, role: Role) -> Tensor:
        places = channels.places[role]
        return torch.from_numpy(np.where(places == STAYS, channels.total, places)).to(self._device)


def roles_with_weights(model: nn.Module, channels: Channels) -> Iterator[Role]:
    """The dimensions of weights that follow channels; a depthwise convolution's is one, though it reads and makes."""
    for role in channels.places:
        name, side = role
        if side == "vector":
            if isinstance(model.get_parameter(name) if name in dict(model.named_parameters()) else None, nn.Parameter):
                yield role
            continue
        layer = channels.ties.layers[name]
        has_weight = isinstance(getattr(model.get_submodule(name), "weight", None), nn.Parameter)
        if has_weight and not (layer.kind == "depthwise" and side == "in"):
            yield role
