"""SynExp, the expectation of SynFlow over weights and masks, as we reconstruct it.

The authors say that it depends on densities alone (not on data, weights or granularity), that it is a cumulative
logarithm of densities maximised under a budget of parameters, MACs or both, and that this is convex. Their equations
could not be read; the objective, the constraints and the way to channel counts below are ours.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from thinresnet.pruning.initialisation.criterion import Criterion, Task
from thinresnet.pruning.initialisation.densities import Figures, Integers, LayerDensities, WeightLimit
from thinresnet.pruning.initialisation.geometric import largest_product
from thinresnet.pruning.initialisation.quadratic import SearchSpace
from thinresnet.pruning.method import NOT_READ, Published

_BISECTIONS = 200


@dataclass(frozen=True)
class Synexp(Criterion):
    """The densities whose product over all layers is the largest that the budgets allow; reads no weights or images.

    Our reconstruction: the expected sum over all paths is, up to a constant, the product of the densities; so the sum
    of their logarithms is maximised. Under a parameter budget alone every layer that is not dense keeps equally many
    weights. For channels the same is solved in the factors of the groups, where a layer's density is the product of
    those of its inputs and outputs: a geometric program. With preconfig layers may grow.
    """

    name: ClassVar[str] = "synexp"
    paper: ClassVar[str] = "Dai et al. 2022, PreCrop: pruning at initialisation as channel cropping, arXiv:2203.02549"
    grows: ClassVar[bool] = True
    reconstruction: ClassVar[str | None] = (
        "ours: the authors' equations, residual rule and rounding could not be read; objective sum of log densities, "
        "one factor a tied group, geometric program, rounding by this project's rule"
    )
    published: ClassVar[Mapping[str, Published]] = {
        "equations": Published(None, NOT_READ, ours="reconstructed: the largest product of densities"),
        "rounding": Published(None, NOT_READ, ours="to the channels that the budget allows"),
    }

    def find(self, task: Task) -> LayerDensities:
        """Water-filling."""
        return LayerDensities(best_product(task.allowance.layers.weights, task.allowance.limits(), grow=task.job.grow))

    def factors(self, task: Task, space: SearchSpace, densities: Figures) -> Figures:
        """The geometric program: the best densities that channels can have, not those nearest to the best."""
        return largest_product(space)


def best_product(weights: Integers, limits: list[WeightLimit], *, grow: bool = False) -> Figures:
    """Densities p with the largest sum of log p where each limit's cost * weights * p is at most what it allows.

    One limit is solved in closed form. Of two, one may hold by itself; else both bind, and the answer is that to one
    limit which is a mix of the two: there is one mix under which both are met to the full.
    """
    costs = [limit.cost * weights / limit.most for limit in limits]  # each at most 1 in sum
    for own in costs:
        found = _fill(own, grow)
        if all(float(other @ found) <= 1 + 1e-12 for other in costs):
            return found
    first, second = costs
    low, high = 0.0, 1.0  # of the first's share in the mix: the more, the less of it is spent
    for _ in range(_BISECTIONS):
        middle = (low + high) / 2
        found = _fill(middle * first + (1 - middle) * second, grow)
        low, high = (middle, high) if first @ found > second @ found else (low, middle)
    return found


def _fill(costs: Figures, grow: bool) -> Figures:
    """One limit, costs @ p <= 1: every layer spends the same, except those that would be denser than dense."""
    if grow:
        return 1 / (len(costs) * costs)
    if costs.sum() <= 1:
        return np.ones_like(costs)
    ordered = np.sort(costs)
    before = np.append(0.0, ordered.cumsum()[:-1])  # spent by the cheaper ones when they are dense
    levels = (1 - before) / np.arange(len(costs), 0, -1)
    # The level at which the cheapest k are dense holds where the next one is dearer than it.
    level = levels[int(np.argmax(levels < ordered))]
    found: Figures = np.minimum(1.0, level / costs)
    return found
