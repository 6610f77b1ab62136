"""Densities from the shapes of layers alone: uniform, and Erdős-Rényi with kernels."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from thinresnet.pruning.initialisation.densities import Figures, scaled_densities
from thinresnet.pruning.initialisation.quadratic import Room
from thinresnet.pruning.initialisation.registry import Criterion, Found, Task, register


@register
@dataclass(frozen=True)
class Uniform(Criterion):
    """The same density in every layer; as channels, the same factor on every group: width scaling."""

    name: ClassVar[str] = "uniform"
    paper: ClassVar[str] = "the reference that any choice of densities is to beat"
    grows: ClassVar[bool] = True

    def find(self, task: Task) -> Found:
        """One density."""
        layers = task.allowance.layers
        return Found(scaled_densities(np.ones(len(layers.names)), layers, task.allowance.limits(), grow=task.grow))

    def factors(self, task: Task, room: Room, densities: Figures) -> Figures:
        """A layer between two groups has the square of their factor as its density."""
        return np.full(len(room.forms.names), math.log(densities[0]) / 2)


@register
@dataclass(frozen=True)
class Erk(Criterion):
    """Densities in proportion to (sum of the weight's sides) / (product of them): large layers are the sparsest.

    A layer that would be denser than dense is dense and the rest is solved again, until none is. The published code of
    RigL sets some layers by hand besides; here none is.
    """

    name: ClassVar[str] = "erk"
    paper: ClassVar[str] = "Evci et al. 2020, Rigging the Lottery: Making All Tickets Winners, arXiv:1911.11134"
    grows: ClassVar[bool] = True

    def find(self, task: Task) -> Found:
        """In proportion, as much as the allowance holds."""
        layers = task.allowance.layers
        ratios = np.array([sum(shape) / math.prod(shape) for shape in layers.shapes])
        return Found(scaled_densities(ratios, layers, task.allowance.limits(), grow=task.grow))
