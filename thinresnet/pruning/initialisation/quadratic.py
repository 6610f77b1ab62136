"""The cost of a network as a function of its channel counts, with derivatives: what an optimiser needs.

Every layer costs a product of two sums of channels, so that MACs and parameters are quadratic forms in the numbers of
channels of the groups, with a one in front for what is fixed. At integers they are what `Ties.cost` counts.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from thinresnet.budget import QUANTITIES, Costs
from thinresnet.networks.search import Limits
from thinresnet.networks.ties import Role, Ties
from thinresnet.pruning.initialisation.densities import Figures, Integers, Layers


class CostForms:
    """MACs and parameters, and the shares that groups have in layers, of a network with these counts."""

    def __init__(self, ties: Ties, widths: dict[str, int], layers: Layers):
        self._ties = ties
        self.names = tuple(ties.groups)
        groups = ties.groups.values()
        self.units: Integers = np.array([group.unit for group in groups], dtype=np.int64)
        self.steps: Integers = np.array([group.multiple // group.unit for group in groups], dtype=np.int64)
        self.channels: Integers = np.array([widths[name] for name in self.names], dtype=np.int64) // self.units
        self.forms = np.stack(self._forms())
        # What the layers do not explain (parameters beside them) is a constant of the ties.
        missing = np.array(ties.cost(widths)) - self.costs(self.channels.astype(float))
        self.forms[:, 0, 0] += np.rint(missing)
        self.shares = self._shares(layers)

    def costs(self, channels: Figures) -> Figures:
        """MACs and parameters."""
        one: Figures = np.append(1.0, channels)
        found: Figures = self.forms @ one @ one
        return found

    def slopes(self, channels: Figures) -> Figures:
        """What a small change of each count changes: one row for MACs, one for parameters."""
        found: Figures = 2 * (self.forms @ np.append(1.0, channels))[:, 1:]
        return found

    def costs_after(self, channels: Figures, changes: Figures) -> Figures:
        """MACs and parameters if one group alone changed, for each group: two rows."""
        squares = np.diagonal(self.forms, axis1=1, axis2=2)[:, 1:] * changes**2
        found: Figures = self.costs(channels)[:, None] + self.slopes(channels) * changes + squares
        return found

    def widths(self, channels: Integers) -> dict[str, int]:
        """Counts as a network's description has them."""
        return dict(zip(self.names, (channels * self.units).tolist(), strict=True))

    def _forms(self) -> tuple[Figures, Figures]:
        size = 1 + len(self.names)
        macs, params = np.zeros((size, size)), np.zeros((size, size))
        one = np.eye(size)[0]
        for layer in self._ties.layers.values():
            outputs = self._sum((layer.name, "out"))
            params += np.outer(one, outputs) * layer.vectors
            if layer.kind == "norm":
                continue
            # A depthwise or blurring filter has one weight matrix a channel: its inputs are its outputs.
            alone = layer.kind in ("depthwise", "blur")
            inputs = one if alone else self._sum((layer.name, "in")) / layer.groups
            weights = np.outer(inputs, outputs) * layer.weights_a_pair
            macs += weights * layer.positions
            if layer.kind != "blur":
                params += weights
        for name in self._ties.vectors:
            params += np.outer(one, self._sum((name, "vector")))
        return (macs + macs.T) / 2, (params + params.T) / 2

    def _sum(self, role: Role) -> Figures:
        """A dimension as a sum of channels: what is fixed, then how often each group's stand in it."""
        fixed, uses = self._ties.uses(role)
        return np.array([fixed, *(uses[name] for name in self.names)], dtype=float)

    def _shares(self, layers: Layers) -> Figures:
        """By how much the logarithm of a layer's density changes with that of a group's count: a row a layer.

        Exact where a layer reads one group and makes one. Where it reads several (after a concatenation), the
        logarithm of a sum is replaced by the mean of logarithms weighted by the groups' shares: never above it, and
        equal to it where all of them shrink alike.
        """
        rows = np.zeros((len(layers.names), len(self.names)))
        for row, name in zip(rows, layers.names, strict=True):
            for side in ("out",) if self._ties.layers[name].kind == "depthwise" else ("in", "out"):
                part = self._sum((name, side)) * np.append(1.0, self.channels)
                np.add(row, part[1:] / part.sum(), out=row)
        return rows


@dataclass(frozen=True)
class SearchSpace:
    """Among which channel counts the search goes: budgets, and how far each group may shrink and grow."""

    forms: CostForms
    limits: Limits
    low: Figures  # logarithms of the least and the largest factor on each group's channels
    high: Figures

    def allows(self, channels: Figures) -> bool:
        """Whether these counts cost no more than the budgets."""
        return self.limits.allow(self.costs(channels))

    def costs(self, channels: Figures) -> Costs:
        """MACs and parameters; to a thousandth, as the smallest counts come back inexact from their logarithms."""
        return Costs(*np.round(self.forms.costs(channels), 3).tolist())

    def spent(self, costs: Figures) -> Figures:
        """Costs (MACs and parameters along the first axis) as shares of the budgets, one row a budget."""
        return np.stack([costs[QUANTITIES.index(quantity)] / most for quantity, most in self.limits.most.items()])

    def channels(self, factors: Figures) -> Figures:
        """Counts, not rounded, at these logarithms of factors."""
        return np.asarray(self.forms.channels * np.exp(factors), dtype=np.float64)
