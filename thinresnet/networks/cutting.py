"""Weight surgery: every channel that may be removed, and the smaller network that holds the weights of those kept.

A channel is more than a row of one convolution: it stands in every layer that makes, normalises, filters or reads it,
and after concatenations, splits and repetitions at other places of each. The tracer's labels say where. The smaller
network is built by its architecture's own constructor and receives, of every tensor, the positions that are left.

Networks with batch norm compute the same after the cut as before it with the removed channels read as zeros. Layers
that look across channels (layer and group norm, convolutions along the channels) see fewer of them: those differ.
"""

from __future__ import annotations

import functools
import math
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from fractions import Fraction
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from thinresnet.errors import InputError, nearest
from thinresnet.network import Network
from thinresnet.networks.blueprint import blueprint, construct
from thinresnet.networks.build import build
from thinresnet.networks.describe import describe
from thinresnet.networks.labels import Labels
from thinresnet.networks.ties import Role, Ties, find_ties

STAYS = -1  # the number at positions where no channel stands: input channels, classes, padding
Kept = np.ndarray[Any, np.dtype[np.bool_]]


@dataclass(frozen=True)
class Channels:
    """The channels of a network, numbered group by group; within a group in the order of the layer that names it.

    Equally many channels are kept of every lane of a group: the parts of an equal split, the blocks of a grouped
    convolution. Most groups have one lane.
    """

    ties: Ties
    slices: Mapping[str, slice]  # the numbers of each group
    places: Mapping[Role, Labels]  # the channel at each position, or STAYS
    lanes: Labels  # of each channel
    positions: Mapping[str, Fraction]  # for how many of the naming layer's a channel of the group stands
    steps: Mapping[str, int]  # how many channels of a group go at once
    locked: Mapping[str, str]  # groups that cannot be cut, and why

    @property
    def total(self) -> int:
        """How many channels there are."""
        return len(self.lanes)

    def count(self, group: str) -> int:
        """How many channels a group has."""
        return int(self.slices[group].stop - self.slices[group].start)

    def width(self, group: str, kept: int) -> int:
        """The group's count in a network's description when so many of its channels are kept."""
        return int(kept * self.positions[group])

    def widths(self, kept: Kept) -> dict[str, int]:
        """The description's counts when these channels are kept."""
        return {group: self.width(group, int(kept[span].sum())) for group, span in self.slices.items()}

    def lane_count(self, group: str) -> int:
        """How many lanes a group has."""
        return int(self.lanes[self.slices[group]].max()) + 1

    def full(self) -> Kept:
        """All channels kept."""
        return np.ones(self.total, dtype=bool)

    def mask(self, keep: Mapping[str, Sequence[int]]) -> Kept:
        """Indices within groups as a choice among all channels; groups that are not named stay full."""
        kept = self.full()
        for group, indices in keep.items():
            if group not in self.slices:
                raise InputError(f"keep: there is no group {group!r}{nearest(group, self.slices)}")
            count = self.count(group)
            if len(set(indices)) != len(indices) or not all(0 <= index < count for index in indices):
                raise InputError(f"keep: {group!r} has channels 0 to {count - 1}, each once; got {list(indices)!s:.80}")
            part = np.zeros(count, dtype=bool)
            part[list(indices)] = True
            kept[self.slices[group]] = part
        return kept

    def indices(self, kept: Kept) -> dict[str, list[int]]:
        """A choice among all channels as indices within groups."""
        return {group: np.flatnonzero(kept[span]).tolist() for group, span in self.slices.items()}

    def check(self, kept: Kept) -> None:
        """Refuse a choice that leaves a group empty or its lanes unequal, or that cuts what cannot be cut."""
        for group, span in self.slices.items():
            left = int(kept[span].sum())
            if left == self.count(group):
                continue
            if group in self.locked:
                raise InputError(f"keep: {group!r} cannot be cut: {self.locked[group]}")
            if not left or left % self.steps[group]:
                raise InputError(f"keep: {left} of {group!r}; keep a multiple of {self.steps[group]} channels, not 0")
            per_lane = np.bincount(self.lanes[span][kept[span]], minlength=self.lane_count(group))
            if per_lane.min() != per_lane.max():
                raise InputError(f"keep: {group!r} has {len(per_lane)} parts of one width; keep equally many of each")

    def without(self, kept: Kept) -> Channels:
        """The channels of the network that is left, numbered anew."""
        numbers, stays = np.append(np.cumsum(kept) - 1, STAYS), np.append(kept, True)  # the last entry is for STAYS
        return replace(
            self,
            slices=_slices({group: int(kept[span].sum()) for group, span in self.slices.items()}),
            places={role: numbers[places[stays[places]]] for role, places in self.places.items()},
            lanes=self.lanes[kept],
        )

    def first(self, widths: Mapping[str, int]) -> Kept:
        """The first channels of every lane, as many as a network of these counts has."""
        kept = self.full()
        for group, span in self.slices.items():
            count = widths[group] / self.positions[group] / self.lane_count(group)
            kept[span] = rank_in_lane(self.lanes[span]) < math.ceil(count)
        return kept


def rank_in_lane(lanes: Labels) -> Labels:
    """For each channel, in order: how many of its lane came before it."""
    ranks = np.zeros(len(lanes), dtype=np.int64)
    for lane in range(int(lanes.max()) + 1):
        members = lanes == lane
        ranks[members] = np.arange(members.sum())
    return ranks


def channels_of(network: Network) -> Channels:
    """The channels of a network, thin or not."""
    ties = blueprint(network.arch, network.kwargs, network.input_size).ties
    channels = _dense_channels(ties)
    widths = dict(network.channels)
    if ties.dense_widths() == widths:
        return channels
    if all(widths[name] <= group.width for name, group in ties.groups.items()) and all(
        widths[name] == ties.groups[name].width for name in channels.locked
    ):
        # A thinner network is the architecture with channels left out; which ones does not matter to where the rest
        # stand, except where a shuffle or an uneven split deals them out anew.
        return channels.without(channels.first(widths))
    own = find_ties(construct(network, device="meta"), network.input_size, network.arch)
    if own.dense_widths() != widths:
        raise InputError(f"{network.arch}: at these counts its channels cannot be told apart (groups of one channel)")
    return _dense_channels(own)


def cut(model: nn.Module, network: Network, keep: Mapping[str, Sequence[int]] | Kept) -> tuple[Network, nn.Module]:
    """The network that keeps these channels (per group: indices among its channels), with their weights.

    Groups that are not named stay full. `model`, which is of `network`, stays as it is; what comes out has its type,
    device and mode.
    """
    channels = channels_of(network)
    kept = keep if isinstance(keep, np.ndarray) else channels.mask(keep)
    channels.check(kept)
    thin = describe(
        network.arch, channels=channels.widths(kept), input_size=network.input_size, complete=True, **network.kwargs
    )
    result = build(thin, seed=0)
    like = next(model.parameters())
    result = result.to(device=like.device, dtype=like.dtype).train(model.training)
    state = {name: _left(channels, name, tensor, kept) for name, tensor in model.state_dict().items()}
    result.load_state_dict(state)
    return thin, result


@contextmanager
def masked(model: nn.Module, channels: Channels, kept: Tensor) -> Iterator[None]:
    """Inside, every layer reads the removed channels as zeros: what the network computes is what it will after the cut.

    Zeroing a channel's own weights would not do: batch norm puts a constant in its place. `kept` (bool, one entry a
    channel) may be changed in place between two forward passes.
    """
    handles = []
    for name in readers(channels):
        places = torch.from_numpy(channels.places[name, "in"]).to(kept.device)

        def hook(module: nn.Module, inputs: tuple[Tensor], places: Tensor = places) -> tuple[Tensor]:
            # STAYS is -1: the entry put behind all channels.
            factors = torch.cat([kept, kept.new_ones(1)])[places].to(inputs[0].dtype)
            return (inputs[0] * (factors if isinstance(module, nn.Linear) else factors[:, None, None]),)

        handles.append(model.get_submodule(name).register_forward_pre_hook(hook))
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()


def readers(channels: Channels) -> list[str]:
    """The layers that read channels and make others of them, in the order of the forward pass."""
    return [name for name, layer in channels.ties.layers.items() if layer.kind in ("conv", "linear")]


def _left(channels: Channels, name: str, tensor: Tensor, kept: Kept) -> Tensor:
    """What is left of a tensor of the state."""

    def left(role: Role) -> Tensor:
        return torch.from_numpy(np.flatnonzero(np.append(kept, True)[channels.places[role]])).to(tensor.device)

    if name in channels.ties.vectors:
        return tensor.index_select(channels.ties.vectors[name][0], left((name, "vector")))
    owner = channels.ties.layers.get(name.rpartition(".")[0])
    if owner is None or tensor.dim() == 0 or len(tensor) != len(channels.places[owner.name, "out"]):
        return tensor
    rows = left((owner.name, "out"))
    tensor = tensor.index_select(0, rows)
    if owner.kind not in ("conv", "linear") or tensor.dim() == 1:
        return tensor
    columns = left((owner.name, "in"))
    if owner.groups == 1:
        return tensor.index_select(1, columns)
    # Each block of a grouped convolution has its own inputs, counted from the block's first.
    blocks = columns.view(owner.groups, -1) % tensor.shape[1]
    own = blocks.repeat_interleave(len(rows) // owner.groups, 0)
    return tensor.gather(1, own[:, :, None, None].expand(-1, -1, *tensor.shape[2:]))


def _slices(sizes: Mapping[str, int]) -> dict[str, slice]:
    ends = np.cumsum(list(sizes.values())).tolist()
    return {group: slice(end - size, end) for (group, size), end in zip(sizes.items(), ends, strict=True)}


# From the tracer's labels to numbered channels -----------------------------------------------------------------------


@functools.lru_cache(maxsize=64)
def _dense_channels(ties: Ties) -> Channels:
    """The channels of the architecture as it was traced."""
    identities = dict(ties.identities())
    members: dict[str, list[int]] = {group: [] for group in ties.groups}
    for channel in dict.fromkeys(np.concatenate(list(identities.values())).tolist()):
        group = ties.owners.get(int(ties.labels.widths[channel]))
        if group is not None:
            members[group].append(channel)
    slices = _slices({group: len(own) for group, own in members.items()})
    numbers = np.full(len(ties.labels.channels), STAYS)
    for group, own in members.items():
        numbers[own] = np.arange(slices[group].start, slices[group].stop)
    places = {role: numbers[channels] for role, channels in identities.items()}
    locked = dict.fromkeys(_shuffled(ties), "a channel shuffle loses track of which is which")
    lanes = np.zeros(sum(len(own) for own in members.values()), dtype=np.int64)
    splits = [[numbers[ties.labels.channels[part]] for part in parts] for parts in ties.labels.parts]
    splits += [blocks for blocks in _blocks(ties, places) if len(blocks) > 1]
    positions, steps = {}, {}
    for group, span in slices.items():
        own_lanes = _lanes(splits, span)
        if own_lanes is None:
            locked.setdefault(group, "it stands unevenly in parts that must have one width")
        else:
            lanes[span] = own_lanes
        positions[group] = Fraction(ties.groups[group].width, span.stop - span.start)
        steps[group] = math.lcm(
            int(lanes[span].max()) + 1, (positions[group] / ties.groups[group].multiple).denominator
        )
    return Channels(ties, slices, places, lanes, positions, steps, locked)


def _shuffled(ties: Ties) -> set[str]:
    return {ties.owners[width] for width in ties.labels.lost if width in ties.owners}


def _blocks(ties: Ties, places: Mapping[Role, Labels]) -> Iterator[list[Labels]]:
    """The blocks of channels of grouped convolutions and group norms."""
    for layer in ties.layers.values():
        if layer.kind in ("conv", "norm"):
            for side in ("in", "out") if layer.kind == "conv" else ("out",):
                yield np.split(places[layer.name, side], layer.groups)


def _lanes(splits: Sequence[Sequence[Labels]], span: slice) -> list[int] | None:
    """The lane of each channel of a group: which part of every split it lies in. None: there are no lanes that work."""
    marks: list[tuple[tuple[int, int], ...]] = [() for _ in range(span.stop - span.start)]
    for number, parts in enumerate(splits):
        own = [part[(part >= span.start) & (part < span.stop)] - span.start for part in parts]
        sets = {frozenset(part.tolist()) for part in own}
        if sets == {frozenset()} or len(sets) == 1:  # not here, or the same channels in each part
            continue
        if len({len(part) for part in own}) > 1:
            return None
        for index, part in enumerate(own):
            for channel in part.tolist():
                marks[channel] += ((number, index),)
    lanes = {mark: index for index, mark in enumerate(dict.fromkeys(marks))}
    if len(set(Counter(marks).values())) > 1:
        return None
    # Every part must be made up of equally many lanes, or else equal lanes would not make equal parts.
    for number, parts in enumerate(splits):
        shares = Counter(place for mark in lanes for place in mark if place[0] == number)
        if shares and (len(shares) < len(parts) or len(set(shares.values())) > 1):
            return None
    return [lanes[mark] for mark in marks]
