"""What the loss would change by if a channel were scaled: the derivative of the loss in a gate on each channel.

A gate multiplies a channel wherever a layer reads it, after norm and activation; at a gate of one the derivative for
one image is the sum, over those layers and the places of their maps, of activation times gradient.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from thinresnet.networks.cutting import STAYS, Channels, readers

Add = Callable[[Tensor, Tensor], None]


class Gates:
    """The derivatives that the backward passes since the last `take` have left."""

    def __init__(self, channels: int, device: torch.device):
        self._channels = channels
        self._device = device
        self._batches: list[Tensor] = []

    def begin(self, images: int) -> None:
        """A forward pass of so many images begins."""
        self._batches.append(torch.zeros(images, self._channels + 1, device=self._device))

    def add(self, places: Tensor, products: Tensor) -> None:
        """Add a layer's share: one row an image, one column a position."""
        self._batches[-1].index_add_(1, places, products)

    def take(self) -> Tensor:
        """For each image since the last time and each channel: the derivative of what was passed backward."""
        sums = torch.cat(self._batches)[:, :-1]
        self._batches.clear()
        return sums


@contextmanager
def gated(model: nn.Module, channels: Channels) -> Iterator[Gates]:
    """Inside, every backward pass through the model leaves its derivatives in the gates."""
    device = next(model.parameters()).device
    gates = Gates(channels.total, device)
    handles = [model.register_forward_pre_hook(lambda module, inputs: gates.begin(len(inputs[0])))]
    for name in readers(channels):
        places = torch.from_numpy(channels.places[name, "in"]).to(device)
        places = torch.where(places == STAYS, channels.total, places)  # what is no channel: a column to throw away

        def hook(module: nn.Module, inputs: tuple[Tensor], places: Tensor = places) -> tuple[Tensor]:
            along = inputs[0].dim() - 1 if isinstance(module, nn.Linear) else 1
            return (_Watch.apply(inputs[0], along, lambda products: gates.add(places, products)),)

        handles.append(model.get_submodule(name).register_forward_pre_hook(hook))
    try:
        yield gates
    finally:
        for handle in handles:
            handle.remove()


class _Watch(torch.autograd.Function):
    """Passes a map on as it is; on the way back it hands over activation times gradient, summed over places.

    The map is kept for the backward pass anyway, by the layer that reads it: this needs no memory of its own.
    """

    @staticmethod
    def forward(ctx: Any, x: Tensor, along: int, add: Callable[[Tensor], None]) -> Tensor:
        ctx.save_for_backward(x)
        ctx.along, ctx.add = along, add
        return x.view_as(x)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None, None]:
        (x,) = ctx.saved_tensors
        if x.dim() == 2:
            ctx.add(x.float() * gradient.float())
        else:
            # In single precision: sums over a map, of gradients under a loss scale, leave the range of float16.
            maps, gradients = (tensor.float().movedim(ctx.along, 1).flatten(2) for tensor in (x, gradient))
            ctx.add(torch.einsum("ncp,ncp->nc", maps, gradients))
        return gradient, None, None
