"""Figures of channels from their feature maps on training images, one layer's maps in memory at a time."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn

from thinresnet.networks.cutting import STAYS, Channels
from thinresnet.pruning.job import Job
from thinresnet.pruning.measures import makers, norms_of
from thinresnet.pruning.selection import Scores

Measure = Callable[[Tensor], Tensor]  # of maps [image, channel, row, column]: a figure [image, channel]
_MOST_ELEMENTS = 2**22  # of maps that are measured at once


@dataclass(frozen=True)
class _Place:
    """A layer whose output holds the maps of some channels."""

    layer: str
    positions: Tensor
    channels: Tensor


def mean_over_images(job: Job, images: int, measure: Measure) -> Scores:
    """The mean over so many training images, in evaluation mode, of a figure of each channel's map; NaN: it has none.

    A map is what the first batch norm that a channel meets puts out, rectified; without one, its first maker does.
    """
    model = job.model.eval()
    sums = torch.full((job.channels.total,), torch.nan, dtype=torch.float64)
    with _watched(model, places_of(model, job.channels), measure, sums), torch.no_grad():
        for batch, _ in job.batches(images, backward=False):
            model(batch)
    means: Scores = (sums / images).numpy()
    return means


def places_of(model: nn.Module, channels: Channels) -> list[_Place]:
    """Where each channel's map is taken: the first norm in which it stands, or else the first layer that makes it."""
    free, found = np.ones(channels.total, dtype=bool), []
    for layer in (*norms_of(model, channels), *(name for name, _ in makers(channels))):
        own = channels.places[layer, "out"]
        numbers, first = np.unique(own, return_index=True)
        new = (numbers != STAYS) & free[numbers]
        if new.any():
            free[numbers[new]] = False
            found.append(_Place(layer, torch.from_numpy(first[new]), torch.from_numpy(numbers[new])))
    return found


@contextmanager
def _watched(model: nn.Module, places: list[_Place], measure: Measure, sums: Tensor) -> Iterator[None]:
    """Inside, every forward pass adds the figures of its images to the sums."""
    handles = []
    for place in places:

        def hook(module: nn.Module, inputs: object, output: Tensor, place: _Place = place) -> None:
            figures = _measured(_maps(module, output, place.positions), measure)
            sums[place.channels] = sums[place.channels].nan_to_num() + figures.sum(0).double().cpu()

        handles.append(model.get_submodule(place.layer).register_forward_hook(hook))
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()


def _maps(module: nn.Module, output: Tensor, positions: Tensor) -> Tensor:
    """The maps at some positions of a layer's output, [image, channel, row, column]."""
    along = output.dim() - 1 if isinstance(module, nn.Linear) else 1
    chosen = output.index_select(along, positions.to(output.device)).movedim(along, 1).float()
    activated = not isinstance(getattr(module, "act", nn.Identity()), nn.Identity)  # timm's norms may have their own
    chosen = chosen if activated else chosen.relu()
    return chosen.reshape(*chosen.shape[:2], *(chosen.shape[2:] or (1, 1)))


def _measured(maps: Tensor, measure: Measure) -> Tensor:
    most = max(1, _MOST_ELEMENTS // maps[0].numel())
    return torch.cat([measure(part) for part in maps.split(most)])
