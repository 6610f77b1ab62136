"""What the methods share that choose channels by the layers that read them, and then fit those layers to what is left.

Layer by layer, in the order of the forward pass: of every image the method sees patches of the layer's input at sampled
places, chooses among the channels that no layer has read so far, and fits the layer's weights; from then on the layer
reads what is kept. So every layer is fitted on the network as it was pruned and fitted before it, whether it is the
only reader of a channel (inside a block) or one of many (of a dense connection, of a residual stream). A channel is
chosen by the first layer that reads it and makes others of it; a depthwise convolution, which makes none, passes it on.

The images go through the network in batches, anew for each layer and only as far as it: what is held is one layer's
sample, however many images there are and whatever their sizes.
"""

from __future__ import annotations

import copy
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
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
from thinresnet.training.loop import Batch

LARGEST_HELD_BYTES = 2**28  # of images: those of CIFAR are held, 10,000 of ImageNet are read anew for each layer


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
    repeats: int = 1  # how often a sample is to be drawn from to have as many as were asked for of each image

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

    locations: int = setting(10, "of each image's map, at each layer", low=1, high=10**6)

    def sample(self, job: Job) -> Iterator[Batch]:
        """The training images to look at, the same ones each time."""
        raise NotImplementedError

    def recover(self, job: Job) -> None:
        """What is trained after a layer was fitted, with the removed channels read as zeros; nothing by default."""

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

    def run(self, job: Job) -> Iterator[Pruned]:
        """Choose and fit, layer by layer, for each target anew from the weights as they were."""
        model, channels = job.model.eval(), job.channels
        state, members = copy.deepcopy(model.state_dict()), job.members()
        reference = copy.deepcopy(model) if self.compares else None
        images = Images(lambda: self.sample(job))
        names = [name for name in readers(channels) if members[_channels_at(channels, name)].any()]
        for target in job.targets:
            model.load_state_dict(state)
            kept = channels.full()
            mask = torch.from_numpy(kept).to(job.device)
            waiting = lanes_of(channels, target.counts(channels, job.movable))
            with masked(model, channels, mask):
                for number, name in enumerate(names):
                    reading = self._read(job, reference, name, number, images)
                    here = [lane for lane in waiting if np.isin(lane.members, reading.places).any()]
                    waiting = [lane for lane in waiting if lane not in here]
                    weight = model.get_submodule(name).weight
                    with torch.no_grad():
                        weight.copy_(self.rebuild(reading, here, kept).view_as(weight))
                    mask.copy_(torch.from_numpy(kept))
                    self.recover(job)
                    model.eval()
                    job.progress("layers", number + 1, len(names))
            images.bill(job)
            yield job.cut(kept)

    @torch.no_grad()
    def _read(self, job: Job, reference: nn.Module | None, name: str, number: int, images: Images) -> Reading:
        """What a layer reads of all images, batch by batch: no more than its own sample is held."""
        layer = job.model.get_submodule(name)
        seen, patches, originals = 0, list[Tensor](), list[Tensor]()
        generator, again = (torch.Generator().manual_seed(job.seed + number) for _ in range(2))
        for batch in images:
            seen += len(batch)
            patches.append(sampled(layer, read_by(job.model, name, batch), self.locations, generator))
            if reference is not None:
                own = sampled(layer, read_by(reference, name, batch), self.locations, again).flatten(1)
                originals.append(own @ reference.get_submodule(name).weight.flatten(1).T)
        found, weights = torch.cat(patches), layer.weight.detach()
        if not (found.isfinite().all() and weights.isfinite().all()):
            raise InputError(
                f"prune {self.name}: what {name!r} reads, or its weights, are not finite: are there images or weights "
                "that are not?"
            )
        weights = weights.flatten(2) if weights.dim() > 2 else weights[:, :, None]
        original = torch.cat(originals) if originals else None
        repeats = -(-self.locations * seen // len(found))
        return Reading(name, job.channels.places[name, "in"], found, weights, original, generator, repeats)


class Images:
    """The sample, gone through once for each layer: held where it is small, read anew where it is not."""

    def __init__(self, read: Callable[[], Iterator[Batch]]) -> None:
        self._read = read
        self._held: list[Tensor] | None = None
        self._passed: Counter[int] = Counter()  # images through the network, by their side

    def __iter__(self) -> Iterator[Tensor]:
        held: list[Tensor] | None = []
        for batch in self._held if self._held is not None else (image for image, _ in self._read()):
            self._passed[batch.shape[-1]] += len(batch)
            yield batch
            if held is not None:
                held.append(batch)
                held = held if sum(own.nbytes for own in held) <= LARGEST_HELD_BYTES else None
        self._held = held

    def bill(self, job: Job) -> None:
        """Count the passes, which go forward only, as a third of those forward and backward."""
        job.scored_at.clear()
        job.scored_at.update({side: -(-images // 3) for side, images in self._passed.items()})


class _ReachedError(Exception):
    """The layer that was asked for is about to read: what follows it is not needed."""


def read_by(model: nn.Module, name: str, images: Tensor) -> Tensor:
    """What a layer of the model reads of these images, the first time where it is used twice."""
    found: list[Tensor] = []

    def hook(module: nn.Module, inputs: tuple[Tensor]) -> None:
        found.append(inputs[0])
        raise _ReachedError

    # Before the hooks that mask: a layer is seen with all its inputs, and those ahead of it read what is kept.
    handle = model.get_submodule(name).register_forward_pre_hook(hook, prepend=True)
    try:
        model(images)
    except _ReachedError:
        pass
    finally:
        handle.remove()
    return found[0]


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
