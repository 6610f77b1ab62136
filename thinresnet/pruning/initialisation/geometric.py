"""The factors on channels whose densities have the largest product: a geometric program.

In the logarithms x of the factors, the sum of the logarithms of densities is linear and the logarithms of MACs and
parameters are convex, so that what scipy's SLSQP ends at is the best there is.
"""

from __future__ import annotations

import numpy as np
from scipy.optimize import Bounds, minimize

from thinresnet.errors import InputError
from thinresnet.pruning.initialisation.allocation import at_budget
from thinresnet.pruning.initialisation.densities import Figures
from thinresnet.pruning.initialisation.quadratic import SearchSpace

_OPTIONS = {"ftol": 1e-14, "maxiter": 1000}  # of the mean log density; a few hundred iterations do for 120 groups
_DECIMALS = 6  # of what the search ends at: groups that are alike round alike, on every machine
_PRECISION_REACHED = 8  # SLSQP: no step of floating point lowers the objective any more


def largest_product(space: SearchSpace) -> Figures:
    """The logarithms of factors with the largest sum of log densities, within the budgets and each group's bounds."""
    gains = space.forms.shares.mean(0)

    def below(factors: Figures) -> Figures:
        return -np.log(space.spent(space.forms.costs(space.channels(factors))))

    def slopes(factors: Figures) -> Figures:
        channels = space.channels(factors)
        spent, more = space.spent(space.forms.costs(channels)), space.spent(space.forms.slopes(channels) * channels)
        return -more / spent[:, None]

    found = minimize(
        lambda factors: -gains @ factors,
        at_budget(space, np.zeros_like(space.low)),
        jac=lambda factors: -gains,
        bounds=Bounds(space.low, space.high),
        constraints={"type": "ineq", "fun": below, "jac": slopes},
        method="SLSQP",
        options=_OPTIONS,
    )
    if not (found.success or found.status == _PRECISION_REACHED):
        raise InputError(f"prune: the search for the best densities did not converge: {found.message}")
    return np.asarray(np.round(found.x, _DECIMALS), dtype=np.float64)
