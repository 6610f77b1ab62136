"""The factors on channels whose densities have the largest product: a geometric program, solved by a barrier method.

In the logarithms x of the factors, the sum of the logarithms of densities is linear and the logarithms of MACs and
parameters are convex. Newton's method follows the path of max t * (sum) + log(distances to every limit) as t grows; at
its end the answer is at most (number of limits) / t below the best.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from thinresnet.pruning.initialisation.densities import Figures
from thinresnet.pruning.initialisation.quadratic import Room

_LARGEST_T = 1e8  # beyond it the distances to the budgets are too small for floating point
_T_GROWS = 10.0
_NEWTON_STEPS = 60  # for one t; a handful do
_NEAR = 1e-3
_BISECTIONS = 60


@dataclass(frozen=True)
class Solution:
    """The best factors, and what shows that they are: the multiplier of each budget's logarithm."""

    factors: Figures  # logarithms
    multipliers: Figures


def largest_product(room: Room) -> Solution:
    """Maximise the sum of log densities within the budgets and the bounds of each group."""
    gains = room.forms.shares.sum(0)
    movable = room.high > room.low
    x = _inside(room, movable)
    if x is None:
        return Solution(room.low, np.zeros(len(room.limits)))
    t = 1.0
    while t < _LARGEST_T:
        t *= _T_GROWS
        for _ in range(_NEWTON_STEPS):
            value, gradient, hessian = _barrier(room, x, gains, movable, t)
            step = np.zeros_like(x)
            step[movable] = np.linalg.solve(hessian, -gradient)
            decrement = float(-gradient @ step[movable])
            if decrement < 1e-14:
                break
            # Near the optimum of one t full steps converge, and differences of the function drown in rounding.
            size, gain = 1.0, 0.1 * decrement if decrement > _NEAR else -np.inf
            while size > 1e-12 and not _lower(room, x + size * step, gains, movable, t, value - size * gain):
                size /= 2
            x = x + size * step
    return Solution(x, 1 / (t * _slack(room, x)))


def _inside(room: Room, movable: np.ndarray) -> Figures | None:
    """A point with room on every side; None where the smallest network takes all of the budget."""
    low, high = 0.0, 1.0
    wide = np.where(movable, room.high - room.low, 0.0)
    for _ in range(_BISECTIONS):
        middle = (low + high) / 2
        allowed = room.allows(room.channels(room.low + middle * wide))
        low, high = (middle, high) if allowed else (low, middle)
    return room.low + 0.9 * low * wide if low > 1e-9 else None


def _barrier(room: Room, x: Figures, gains: Figures, movable: np.ndarray, t: float) -> tuple[float, Figures, Figures]:
    """The function to minimise, and its derivatives in what is movable."""
    channels = room.channels(x)
    costs, slopes = room.forms.costs(channels), room.forms.slopes(channels)
    gradient, hessian = -t * gains, np.zeros((len(x), len(x)))
    slack = _slack(room, x)
    for place, (index, _) in enumerate(room.limits):
        first = slopes[index] * channels / costs[index]
        second = 2 * room.forms.forms[index, 1:, 1:] * np.outer(channels, channels) / costs[index]
        second += np.diag(first) - np.outer(first, first)
        gradient = gradient + first / slack[place]
        hessian += second / slack[place] + np.outer(first, first) / slack[place] ** 2
    below, above = (x - room.low)[movable], (room.high - x)[movable]
    gradient = gradient[movable] - 1 / below + 1 / above
    hessian = hessian[np.ix_(movable, movable)] + np.diag(1 / below**2 + 1 / above**2)
    value = float(-t * gains @ x - np.log(slack).sum() - np.log(below).sum() - np.log(above).sum())
    return value, gradient, hessian


def _lower(room: Room, x: Figures, gains: Figures, movable: np.ndarray, t: float, value: float) -> bool:
    """Whether the barrier function is defined here, and below a value."""
    distances = np.concatenate([(x - room.low)[movable], (room.high - x)[movable]])
    if (distances <= 0).any():
        return False
    distances = np.append(distances, _slack(room, x))
    return bool((distances > 0).all()) and float(-t * gains @ x - np.log(distances).sum()) <= value


def _slack(room: Room, x: Figures) -> Figures:
    """How far below the logarithm of each budget the cost is."""
    costs = room.forms.costs(room.channels(x))
    return -np.log([costs[index] / limit for index, limit in room.limits])
