"""Densities from the shapes of layers alone: uniform, and Erdős-Rényi with kernels."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from thinresnet.pruning.initialisation.criterion import Criterion, Task
from thinresnet.pruning.initialisation.densities import Figures, LayerDensities, scaled_densities
from thinresnet.pruning.initialisation.quadratic import SearchSpace
from thinresnet.pruning.method import KNOWN, Published


@dataclass(frozen=True)
class Uniform(Criterion):
    """The same density in every layer; as channels, the same factor on every group: width scaling."""

    name: ClassVar[str] = "uniform"
    paper: ClassVar[str] = "the reference that any choice of densities is to beat"
    grows: ClassVar[bool] = True
    published: ClassVar[Mapping[str, Published]] = {
        "densities": Published("the same in every layer", KNOWN, ours="the same in every layer"),
    }

    def find(self, task: Task) -> LayerDensities:
        """One density."""
        layers = task.allowance.layers
        ratios = np.ones(len(layers.names))
        return LayerDensities(scaled_densities(ratios, layers, task.allowance.limits(), grow=task.job.grow))

    def factors(self, task: Task, space: SearchSpace, densities: Figures) -> Figures:
        """A layer between two groups has the square of their factor as its density."""
        return np.full(len(space.forms.names), math.log(densities[0]) / 2)


@dataclass(frozen=True)
class Erk(Criterion):
    """Densities in proportion to (sum of the weight's sides) / (product of them): large layers are the sparsest.

    A layer that would be denser than dense is dense and the rest is solved again, until none is. The published code of
    RigL sets some layers by hand besides; here none is.
    """

    name: ClassVar[str] = "erk"
    paper: ClassVar[str] = "Evci et al. 2020, Rigging the Lottery: Making All Tickets Winners, arXiv:1911.11134"
    grows: ClassVar[bool] = True
    published: ClassVar[Mapping[str, Published]] = {
        "densities": Published(
            "by the sides of the weight; some layers by hand",
            "code: google-research/rigl",
            "no layer is set by hand",
            ours="by the sides of the weight",
        ),
    }

    def find(self, task: Task) -> LayerDensities:
        """In proportion, as much as the allowance holds."""
        layers = task.allowance.layers
        ratios = np.array([sum(shape) / math.prod(shape) for shape in layers.shapes])
        return LayerDensities(scaled_densities(ratios, layers, task.allowance.limits(), grow=task.job.grow))
