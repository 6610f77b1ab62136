"""What the methods share that choose channels by the layers that read them, and then fit those layers to what is left.

One forward pass of all images together does it, layer by layer in the order of the pass. Before a layer reads, the
method sees patches of its input at sampled places, chooses among the channels that no layer has read so far, and fits
the layer's weights; then the layer reads what is kept, and the pass goes on. So every layer is fitted on the network as
it was pruned and fitted before it, whether it is the only reader of a channel (inside a block) or one of many (of a
dense connection, of a residual stream). A channel is chosen by the first layer that reads it and makes others of it; a
depthwise convolution, which makes none, passes it on.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import torch
from torch import Tensor, nn

from thinresnet.convert import setting
from thinresnet.errors import InputError
from thinresnet.networks.cutting import STAYS, Channels, Kept, masked, readers
from thinresnet.networks.ties import Labels
from thinresnet.pruning.job import Job, Pruned
from thinresnet.pruning.method import Method
from thinresnet.pruning.selection import Counts


@dataclass(frozen=True, eq=False)
class Lane:
    """Channels of which some leave: those of a lane of a group (most groups have one lane)."""

    members: Labels
    leave: int


@dataclass(frozen=True)
class Reading:
    """What a layer reads at sampled places, and the weights that it has for it.

    Its response at a sample, without bias, is the sum of patch times weights over inputs and taps (the places of a
    kernel). Samples are in the order of the images.
    """

    layer: str
    places: Labels  # the channel at each input, or STAYS
    patches: Tensor  # [sample, input, tap]
    weights: Tensor  # [output, input, tap]
    original: Tensor | None  # the responses before anything was pruned, for methods that compare with them
    generator: torch.Generator  # of what else the method draws

    @property
    def responses(self) -> Tensor:
        """What the layer answers at each sample, [sample, output]."""
        return self.patches.flatten(1) @ self.weights.flatten(1).T


@dataclass(frozen=True)
class Reconstruction(Method):
    """A method that fits the layers which read what it prunes."""

    needs: ClassVar[frozenset[str]] = frozenset({"weights", "data"})
    serves: ClassVar[str] = "networks in which plain convolutions and linear layers read what may be cut"
    compares: ClassVar[bool] = False  # with the responses before anything was pruned

    images: int = setting(256, low=4, high=10**7)
    locations: int = setting(10, "of each image's map, at each layer", low=1, high=10**6)

    def rebuild(self, reading: Reading, lanes: Sequence[Lane], kept: Kept) -> Tensor:
        """Mark in `kept` which channels of these lanes leave; return the layer's weights for what is left."""
        raise NotImplementedError

    def check(self, job: Job) -> None:
        """Every channel that may go is read by a layer whose weights can be fitted."""
        if any(target.scope != "layer" for target in job.targets):
            raise InputError(f"prune {self.name}: there is no ranking across layers; use --scope layer")
        waiting = {group: lanes_of(job.channels, {group: 0}) for group in job.movable}
        for name in readers(job.channels):
            places = _channels_at(job.channels, name)
            if job.members()[places].any() and not _is_plain(job.model.get_submodule(name)):
                raise InputError(
                    f"prune {self.name}: {job.network.arch} reads what is to be cut in {name!r}, which is no plain "
                    "convolution or linear layer (grouped, or with rules of its own for padding or weights)"
                )
            for group, lanes in waiting.items():
                waiting[group] = [lane for lane in lanes if not np.isin(lane.members, places).all()]
                if any(np.isin(lane.members, places).any() for lane in waiting[group]):
                    raise InputError(f"prune {self.name}: {name!r} reads a part of {group!r} only: no way to choose by")
        if unread := [group for group, lanes in waiting.items() if lanes]:
            raise InputError(f"prune {self.name}: no layer of {job.network.arch} reads {unread[0]!r} to choose by")

    @torch.no_grad()
    def run(self, job: Job) -> Iterator[Pruned]:
        """Choose and fit, for each target anew from the weights as they were."""
        model, channels = job.model.eval(), job.channels
        images = torch.cat([image for image, _ in job.batches(self.images)])
        state, originals = copy.deepcopy(model.state_dict()), dict[str, Tensor]()
        if self.compares:
            with self._watched(job, {}, lambda reading: originals.update({reading.layer: reading.responses})):
                model(images)
        for target in job.targets:
            model.load_state_dict(state)
            kept = channels.full()
            mask = torch.from_numpy(kept).to(job.device)
            waiting = lanes_of(channels, target.counts(channels, job.movable))

            def visit(reading: Reading, kept: Kept = kept, mask: Tensor = mask, waiting: list[Lane] = waiting) -> None:
                here = [lane for lane in waiting if np.isin(lane.members, reading.places).any()]
                waiting[:] = [lane for lane in waiting if lane not in here]
                weights = self.rebuild(reading, here, kept)
                weight = model.get_submodule(reading.layer).weight
                weight.copy_(weights.view_as(weight))
                mask.copy_(torch.from_numpy(kept))

            # The mask's hooks come after those that look: a layer is seen with all its inputs, and reads what is kept.
            with self._watched(job, originals, visit), masked(model, channels, mask):
                model(images)
            yield job.cut(kept)

    @contextmanager
    def _watched(self, job: Job, originals: Mapping[str, Tensor], visit: Callable[[Reading], None]) -> Iterator[None]:
        """Inside, `visit` is called with what each layer is about to read of the channels that may go."""
        members = job.members()
        names = [name for name in readers(job.channels) if members[_channels_at(job.channels, name)].any()]
        seen: set[str] = set()
        handles = []
        for number, name in enumerate(names):

            def hook(module: nn.Module, inputs: tuple[Tensor], number: int = number, name: str = name) -> None:
                if name in seen:  # a layer that is used twice keeps what was fitted the first time
                    return
                seen.add(name)
                generator = torch.Generator().manual_seed(job.seed + number)
                patches = sampled(module, inputs[0], self.locations, generator)
                weights = module.weight.detach().flatten(2) if module.weight.dim() > 2 else module.weight[:, :, None]
                if not (patches.isfinite().all() and weights.isfinite().all()):
                    raise InputError(
                        f"prune {self.name}: what {name!r} reads, or its weights, are not finite: are there images or "
                        "weights that are not?"
                    )
                places = job.channels.places[name, "in"]
                visit(Reading(name, places, patches, weights, originals.get(name), generator))
                job.progress("layers", len(seen), len(names))

            handles.append(job.model.get_submodule(name).register_forward_pre_hook(hook))
        try:
            yield
        finally:
            for handle in handles:
                handle.remove()


def lanes_of(channels: Channels, counts: Counts) -> list[Lane]:
    """Of which channels how many leave for a network of these counts."""
    found = []
    for group, count in counts.items():
        span, lanes = channels.slices[group], channels.lane_count(group)
        for lane in range(lanes):
            members = np.flatnonzero(channels.lanes[span] == lane) + span.start
            found.append(Lane(members, len(members) - count // lanes))
    return [lane for lane in found if lane.leave]


def sampled(layer: nn.Module, x: Tensor, locations: int, generator: torch.Generator) -> Tensor:
    """What a layer reads for so many of its outputs' places in each image: [sample, input, tap]."""
    images = torch.arange(len(x), device=x.device)[:, None]
    if isinstance(layer, nn.Linear):
        rows = x.reshape(len(x), -1, x.shape[-1])
        return rows[images, _drawn(len(x), rows.shape[1], locations, generator).to(x.device)].flatten(0, 1)[:, :, None]
    assert isinstance(layer, nn.Conv2d)
    height, width = (
        (size + 2 * int(pad) - dilation * (kernel - 1) - 1) // stride + 1
        for size, pad, dilation, kernel, stride in zip(
            x.shape[2:], layer.padding, layer.dilation, layer.kernel_size, layer.stride, strict=True
        )
    )
    drawn = _drawn(len(x), height * width, locations, generator).to(x.device)
    taps, inside = [], []
    for axis, place in enumerate((drawn // width, drawn % width)):
        first = place * layer.stride[axis] - int(layer.padding[axis])
        along = first[:, :, None] + layer.dilation[axis] * torch.arange(layer.kernel_size[axis], device=x.device)
        inside.append((along >= 0) & (along < x.shape[2 + axis]))
        taps.append(along.clamp(0, x.shape[2 + axis] - 1))
    patches = x[images[:, :, None, None], :, taps[0][:, :, :, None], taps[1][:, :, None, :]]
    patches *= (inside[0][:, :, :, None] & inside[1][:, :, None, :])[..., None]  # padding is zeros
    return patches.flatten(0, 1).flatten(1, 2).transpose(1, 2)


def _drawn(images: int, places: int, count: int, generator: torch.Generator) -> Tensor:
    """For each image different places, as many as asked for or as there are."""
    return torch.rand(images, places, generator=generator).argsort(1)[:, :count]


def _channels_at(channels: Channels, layer: str) -> Labels:
    places: Labels = channels.places[layer, "in"]
    found: Labels = places[places != STAYS]
    return found


def _is_plain(layer: nn.Module) -> bool:
    """Whether the layer computes what its weight, stride, padding and dilation say, and no more."""
    if type(layer) is nn.Linear:
        return True
    return (
        type(layer) is nn.Conv2d
        and layer.groups == 1
        and layer.padding_mode == "zeros"
        and not isinstance(layer.padding, str)
    )
