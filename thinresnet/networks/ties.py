"""Which channels of a network belong together, found by following every channel through one forward pass.

Channels whose labels were tied on the way have one width, and every dimension of every parameter is a known mix of
widths. `labels` and `shadows` are what is carried along, `tracer` and `operations` the rules by which it is carried.

Torch-Pruning's dependency graph answers the same question from autograd's graph. It gives the same groups where it
works (a test compares them), but loses track in splits, shuffles and partial sums (Res2Net, GhostNet, MixNet, DLA,
ReXNet, ShuffleNet), which is why the groups are found here.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass

import numpy as np
from torch import nn

from thinresnet.budget import Costs
from thinresnet.networks.labels import FIXED as FIXED
from thinresnet.networks.labels import Labels as Labels
from thinresnet.networks.tracer import NORMS as NORMS
from thinresnet.networks.tracer import Trace, trace

Role = tuple[str, str]  # (layer, 'in' | 'out') or (parameter, 'vector'): a dimension that follows channels


@dataclass(frozen=True)
class Group:
    """Channels that have one width. `name` is the first layer that makes them; `width` counts them in that layer."""

    name: str
    width: int
    unit: int  # how many of the naming layer's channels stand for one tied channel (2 where two halves are tied)
    multiple: int  # the width is a multiple of this (the number of groups of a grouped convolution)
    layers: tuple[str, ...]  # every layer that makes, normalises or filters these channels
    interior: bool  # inside one block: the residual stream does not carry it


class Ties:
    """The groups of a network and the shape of every layer as a function of their widths."""

    def __init__(self, trace: Trace):
        self.layers = trace.layers
        self.vectors = trace.vectors
        self.labels = trace.classes
        self.owners: dict[int, str] = {}  # the group of each width
        self._other_params = trace.other_params
        self._vector_parameters = [name for name in self.vectors if name not in trace.buffers]
        self.groups: dict[str, Group] = {}
        self._uses: dict[Role, tuple[int, Counter[str]]] = {}
        self._name_groups(trace.interior)
        # A layer whose outputs are one whole group may stand for that group.
        self.aliases = {layer: name for layer in self.layers if (name := self._whole(layer)) is not None}

    def roles(self) -> Iterator[tuple[Role, Labels]]:
        """Every dimension that follows channels, with the width that each of its positions belongs to."""
        return self._roles(self.labels.widths)

    def identities(self) -> Iterator[tuple[Role, Labels]]:
        """Every dimension that follows channels, with the channel that stands at each of its positions."""
        return self._roles(self.labels.channels)

    def _roles(self, classes: Labels) -> Iterator[tuple[Role, Labels]]:
        for layer in self.layers.values():
            if layer.kind in ("conv", "depthwise", "linear"):
                yield (layer.name, "in"), classes[layer.inputs]
            yield (layer.name, "out"), classes[layer.outputs]
        for name, (_, labels) in self.vectors.items():
            yield (name, "vector"), classes[labels]

    def length(self, role: Role, widths: Mapping[str, int]) -> int:
        """How long the dimension is when the groups have these widths."""
        fixed, uses = self._uses[role]
        return fixed + sum(times * (widths[name] // self.groups[name].unit) for name, times in uses.items())

    def dense_widths(self) -> dict[str, int]:
        """Every group's width in the architecture as it is."""
        return {name: group.width for name, group in self.groups.items()}

    def uses(self, role: Role) -> tuple[int, Counter[str]]:
        """The fixed part of a dimension and how often each group's tied channel stands in it."""
        return self._uses[role]

    def cost(self, widths: Mapping[str, int]) -> Costs:
        """MACs and parameters at these widths in closed form, for search; `count` measures the built network."""
        macs, params = 0, self._other_params
        for layer in self.layers.values():
            outputs = self.length((layer.name, "out"), widths)
            params += outputs * layer.vectors
            if layer.kind == "blur":
                macs += outputs * layer.weights_a_pair * layer.positions
            elif layer.kind != "norm":
                inputs = self.length((layer.name, "in"), widths)
                groups = inputs if layer.kind == "depthwise" else layer.groups
                weights = inputs * outputs // groups * layer.weights_a_pair
                macs += weights * layer.positions
                params += weights
        params += sum(self.length((name, "vector"), widths) for name in self._vector_parameters)
        return Costs(macs, params)

    def _name_groups(self, interior: Callable[[set[str], set[int]], bool]) -> None:
        roles = list(self.roles())
        standing: dict[int, list[tuple[int, int]]] = {}  # of a label: in which roles it stands, and how often
        for index, (_, labels) in enumerate(roles):
            for label, times in zip(*np.unique(labels, return_counts=True), strict=True):
                if label > FIXED:
                    standing.setdefault(int(label), []).append((index, int(times)))
        alike: dict[tuple[tuple[int, int], ...], list[int]] = {}
        for one, uses in standing.items():
            alike.setdefault(tuple(uses), []).append(one)

        def maker(signature: tuple[tuple[int, int], ...]) -> tuple[int, int]:
            """The first layer that makes the channels, or else whatever they stand in first."""
            return next((use for use in signature if roles[use[0]][0][1] == "out"), signature[0])

        owner = self.owners
        for signature, members in sorted(alike.items(), key=lambda item: (maker(item[0])[0], min(item[1]))):
            index, unit = maker(signature)
            layer = roles[index][0][0]
            whole = len(members) * unit == len(roles[index][1])
            parts = list(dict.fromkeys(tuple(standing.get(int(label), ())) for label in roles[index][1]))
            name = layer if whole else f"{layer}[{parts.index(signature)}]"
            touched = [roles[index][0] for index, _ in signature]
            self.groups[name] = Group(
                name=name,
                width=len(members) * unit,
                unit=unit,
                multiple=unit * math.lcm(*(self._divisor(*roles[index][0], times) for index, times in signature)),
                layers=tuple(dict.fromkeys(layer for layer, side in touched if side == "out")),
                interior=interior({layer for layer, _ in touched}, set(members)),
            )
            owner.update(dict.fromkeys(members, name))
        for role, labels in roles:
            positions = Counter(owner[int(label)] for label in labels if int(label) in owner)
            times = {name: n * self.groups[name].unit // self.groups[name].width for name, n in positions.items()}
            self._uses[role] = (len(labels) - positions.total(), Counter(times))

    def _divisor(self, layer: str, side: str, times: int) -> int:
        """What the number of tied channels must be a multiple of for a grouped layer to stay valid."""
        if side == "vector" or self.layers[layer].kind == "depthwise":
            return 1
        groups = self.layers[layer].groups
        return groups // math.gcd(groups, times)

    def _whole(self, layer: str) -> str | None:
        """The group that makes up all outputs of a layer one to one, if there is such a group."""
        fixed, uses = self._uses[layer, "out"]
        if fixed or len(uses) != 1:
            return None
        ((name, times),) = uses.items()
        return name if times == self.groups[name].unit else None


def find_ties(model: nn.Module, input_size: tuple[int, int, int], name: str) -> Ties:
    """The ties of `model`, which lies on the meta device; `name` is what error messages call the network."""
    return Ties(trace(model, input_size, name))
