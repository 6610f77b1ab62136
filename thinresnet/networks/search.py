"""The largest network within budgets: the one search, whatever chooses the channels.

Fitting, pruning, pruning at initialisation and scaled families all do the same: a factor is bisected on a closed form
of the cost, so that hundreds of candidates take no time; the counts are rounded; what rounding leaves of the budget is
spent step by step in an order of the caller's; and what comes out is measured by the one counter before it is handed
over. Where the counter finds more than the closed form knows (ECA's convolution along the channels belongs to no layer
that is tied), that much is reserved and the search repeated, at most `MOST_ROUNDS` times. Over budget is refused.
"""

from __future__ import annotations

import bisect
import functools
import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Generic, TypeVar

from thinresnet.budget import QUANTITIES, Budget, Costs, short
from thinresnet.errors import InputError
from thinresnet.network import Network
from thinresnet.networks.cost import macs_and_params

MOST_ROUNDS = 4  # of searching and measuring; two do where the counter finds what no layer explains, one elsewhere
FINEST_STEPS = 2**40  # of a factor between its bounds: far finer than one channel of the widest group
_NOTHING = Costs(0, 0)
_UNITS = {"macs": "MACs", "params": "parameters"}

Candidate = TypeVar("Candidate")  # channel counts, in whatever form the caller has them
Key = TypeVar("Key")


@dataclass(frozen=True)
class Limits:
    """Budgets of one architecture as integers; `allow` is asked thousands of times, `refuse` once."""

    arch: str
    budgets: Sequence[Budget]
    dense: tuple[int, int]  # of the architecture as it is: what relative budgets are shares of
    reserved: Costs = _NOTHING  # for what the closed form of the cost does not know

    @functools.cached_property
    def most(self) -> dict[str, int]:
        """The largest cost allowed, of each quantity (`macs`, `params`) that a budget bounds."""
        most: dict[str, int] = {}
        for budget in self.budgets:
            limit = self._limit(budget) - _of(self.reserved, budget)
            most[budget.quantity] = min(limit, most.get(budget.quantity, limit))
        return most

    def allow(self, costs: tuple[int, int]) -> bool:
        """Whether these MACs and parameters exceed no budget."""
        spent = dict(zip(QUANTITIES, costs, strict=True))
        return all(spent[quantity] <= most for quantity, most in self.most.items())

    def tighter(self, over: tuple[int, int]) -> Limits:
        """The same budgets with so much reserved; what is reserved already never shrinks."""
        return replace(self, reserved=Costs(*map(max, over, self.reserved)))

    def refuse(self, smallest: tuple[int, int], what: str) -> InputError:
        """The refusal of a budget that the smallest possible network, called `what`, exceeds by its closed form."""
        needed = Costs(*map(sum, zip(smallest, self.reserved, strict=True)))
        broken = next(budget for budget in self.budgets if _of(needed, budget) > self._limit(budget))
        least, dense = _of(needed, broken), _of(self.dense, broken)
        return InputError(
            f"--{broken.quantity} {broken.text}: no {what} of {self.arch} costs so little; the smallest has "
            f"{short(least)} {_UNITS[broken.quantity]} ({least / dense:.2%} of the dense {short(dense)})"
        )

    def _limit(self, budget: Budget) -> int:
        return budget.limit(_of(self.dense, budget))


def _of(costs: tuple[int, int], budget: Budget) -> int:
    """The quantity that the budget bounds."""
    return costs[QUANTITIES.index(budget.quantity)]


@dataclass(frozen=True)
class Largest(Generic[Candidate]):
    """What `largest_within` found."""

    network: Network
    counts: Candidate
    costs: Costs  # measured by the one counter
    factor: float  # before the rest of the budget was spent


def largest_within(
    limits: Limits,
    *,
    at: Callable[[float], Candidate],
    cost: Callable[[Candidate], Costs],
    spend: Callable[[float, Candidate, Limits], Candidate],
    network: Callable[[Candidate], Network],
    what: str,
    low: float = 0.0,
    high: float = 1.0,
    steps: int = FINEST_STEPS,
) -> Largest[Candidate]:
    """The largest network of a one-parameter family within every budget, the rest of the budget spent.

    Args:
        limits: The budgets.
        at: The counts at a factor; a larger factor never costs less.
        cost: The closed form of what counts cost, MACs and parameters.
        spend: From the largest factor allowed and its counts to the final counts, within the limits it is given (which
            may be tighter than `limits`); `spend_in_order` is what most need. What `at` does not round is rounded here.
        network: The network of final counts.
        what: What a refusal calls such a network, such as "width scaling".
        low: The smallest factor.
        high: The largest factor.
        steps: Into how many equal parts the factors between the two are divided.

    Raises:
        InputError: The smallest network is over a budget, or what the counter finds beyond the closed form grows.
    """
    within = limits
    for _ in range(MOST_ROUNDS):
        factor = largest_factor(functools.partial(_fits, within, at, cost), low, high, steps)
        if factor is None:
            raise within.refuse(cost(at(low)), what)
        counts = spend(factor, at(factor), within)
        found = network(counts)
        measured = macs_and_params(found)
        if limits.allow(measured):
            return Largest(found, counts, measured, factor)
        within = within.tighter(_over(measured, cost(counts)))
    raise InputError(
        f"no {what} of {limits.arch} within the budgets was found: what the counter measures beyond the layers' closed "
        f"form grew in each of {MOST_ROUNDS} rounds"
    )


def _over(measured: Costs, expected: Costs) -> Costs:
    """What was measured beyond the closed form."""
    return Costs(*(max(0, math.ceil(real - closed)) for real, closed in zip(measured, expected, strict=True)))


def _fits(limits: Limits, at: Callable[[float], Candidate], cost: Callable[[Candidate], Costs], factor: float) -> bool:
    return limits.allow(cost(at(factor)))


def largest_factor(
    allowed: Callable[[float], bool], low: float, high: float, steps: int = FINEST_STEPS
) -> float | None:
    """The largest of equally spaced factors that is allowed, where none above a refused one is; None if none is."""

    def factor(step: int) -> float:
        return low + (high - low) * step / steps

    refused = bisect.bisect_left(range(steps + 1), True, key=lambda step: not allowed(factor(step)))
    return factor(refused - 1) if refused else None


def spend_in_order(
    counts: Candidate,
    order: Iterable[Key],
    more: Callable[[Candidate, Key], Candidate | None],
    cost: Callable[[Candidate], Costs],
    limits: Limits,
) -> Candidate:
    """One step more for each key in order, where the limits allow it.

    `more` gives the counts with one step more for a key, or None where it may have no more. A key may come
    several times; once a step of it was refused, it gets no other.
    """
    refused: set[Key] = set()
    for key in order:
        if key in refused:
            continue
        wider = more(counts, key)
        if wider is not None and limits.allow(cost(wider)):
            counts = wider
        else:
            refused.add(key)
    return counts
