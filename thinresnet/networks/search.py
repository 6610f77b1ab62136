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
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Generic, Protocol, TypeVar

from thinresnet.budget import LATENCY, QUANTITIES, Budget, Costs, TimedCosts, by_quantity, milliseconds, short
from thinresnet.errors import InputError
from thinresnet.network import Network
from thinresnet.networks.cost import macs_and_params
from thinresnet.networks.latency import LatencyTable
from thinresnet.networks.ties import Ties

ROUNDS_BY_MACS = 14  # of looking for the MACs that keep a latency: to a four thousandth of those in between
MOST_ROUNDS = 4  # of searching and measuring; two do where the counter finds what no layer explains, one elsewhere
FINEST_STEPS = 2**40  # of a factor between its bounds: far finer than one channel of the widest group
_NOTHING = Costs(0, 0)
_UNITS = {"macs": "MACs", "params": "parameters"}
Widths = Mapping[str, int]  # of each group

Candidate = TypeVar("Candidate")  # channel counts, in whatever form the caller has them
Key = TypeVar("Key")


class HasNetwork(Protocol):
    """What a search found."""

    @property
    def network(self) -> Network:
        """The network."""


Found = TypeVar("Found", bound=HasNetwork)


@dataclass(frozen=True)
class Limits:
    """Budgets of one architecture as integers; `allow` is asked thousands of times, `refuse` once."""

    arch: str
    budgets: Sequence[Budget]
    dense: tuple[int, int]  # of the architecture as it is: what relative budgets are shares of
    reserved: Costs = _NOTHING  # for what the closed form of the cost does not know
    table: LatencyTable | None = None  # what latency is predicted by, where a budget bounds it

    def __post_init__(self) -> None:
        if self.table is None and (timed := next((own for own in self.budgets if own.quantity == LATENCY), None)):
            raise InputError(f"--latency {timed.text}: takes a latency table; thinresnet time {self.arch} --table FILE")

    def timed(self, costs: Costs, widths: Widths) -> Costs:
        """The costs of a network of these channel counts, with its predicted latency where a budget bounds it."""
        if self.table is None or LATENCY not in self.most:
            return costs
        return TimedCosts.of(costs, self.table.predict_ns(widths))

    def cost_of(self, network: Network) -> Costs:
        """The measured MACs and parameters of a network, and its predicted latency where a budget bounds it."""
        return self.timed(macs_and_params(network), network.channels)

    @functools.cached_property
    def most(self) -> dict[str, int]:
        """The largest cost allowed, of each quantity (`macs`, `params`, `latency`) that a budget bounds."""
        most: dict[str, int] = {}
        for budget in self.budgets:
            reserved = 0 if budget.quantity == LATENCY else _of(self.reserved, budget)
            limit = self._limit(budget) - reserved
            most[budget.quantity] = min(limit, most.get(budget.quantity, limit))
        return most

    def allow(self, costs: tuple[int, int]) -> bool:
        """Whether these costs exceed no budget; `timed` costs, where one bounds the latency."""
        spent = self._spent(costs)
        return all(spent[quantity] <= most for quantity, most in self.most.items())

    def filled(self, costs: tuple[int, int]) -> float:
        """What share of the budget that binds is spent."""
        spent = self._spent(costs)
        return max((spent[quantity] / most for quantity, most in self.most.items() if most > 0), default=1.0)

    def _spent(self, costs: tuple[int, int]) -> dict[str, int]:
        spent = by_quantity(costs)
        if LATENCY in self.most:
            spent[LATENCY] = _latency_of(costs)
        return spent

    def with_macs_for_latency(self, macs: int) -> Limits:
        """So many MACs at most instead of the latency, for what searches by MACs and parameters alone."""
        others = [budget for budget in self.budgets if budget.quantity != LATENCY]
        return replace(self, budgets=[*others, Budget.parse("macs", macs)], table=None)

    def tighter(self, over: tuple[int, int]) -> Limits:
        """The same budgets with so much reserved; what is reserved already never shrinks."""
        return replace(self, reserved=Costs(*map(max, over, self.reserved)))

    def refuse(self, smallest: tuple[int, int], what: str) -> InputError:
        """The refusal of a budget that the smallest possible network, called `what`, exceeds by its closed form."""
        needed = Costs(*map(sum, zip(smallest, self.reserved, strict=True)))
        if LATENCY in self.most:
            needed = TimedCosts.of(needed, _latency_of(smallest))
        broken = next(budget for budget in self.budgets if _of(needed, budget) > self._limit(budget))
        least, dense = _of(needed, broken), self._dense(broken)
        if broken.quantity == LATENCY:
            says = f"takes {milliseconds(least)} ({least / dense:.2%} of the dense {milliseconds(dense)})"
        else:
            says = f"has {short(least)} {_UNITS[broken.quantity]} ({least / dense:.2%} of the dense {short(dense)})"
        return InputError(
            f"--{broken.quantity} {broken.text}: no {what} of {self.arch} costs so little; the smallest {says}"
        )

    def _limit(self, budget: Budget) -> int:
        return budget.limit(self._dense(budget))

    def _dense(self, budget: Budget) -> int:
        """What a share of the budget is a share of."""
        if budget.quantity != LATENCY:
            return _of(self.dense, budget)
        assert self.table is not None, "checked when the limits were made"
        return self.table.dense_ns


def _of(costs: tuple[int, int], budget: Budget) -> int:
    """The quantity that the budget bounds."""
    return _latency_of(costs) if budget.quantity == LATENCY else costs[QUANTITIES.index(budget.quantity)]


def _latency_of(costs: tuple[int, int]) -> int:
    if not isinstance(costs, TimedCosts):
        raise TypeError("a latency budget is asked about costs without a latency")
    return costs.latency_ns


def timed_cost(ties: Ties, widths: Widths, limits: Limits) -> Costs:
    """The closed form of the cost, with the predicted latency where a budget bounds it."""
    return limits.timed(ties.cost(widths), widths)


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
        measured = limits.cost_of(found)
        if limits.allow(measured):
            return Largest(found, counts, measured, factor)
        within = within.tighter(_over(measured, cost(counts)))
    raise InputError(
        f"no {what} of {limits.arch} within the budgets was found: what the counter measures beyond the layers' closed "
        f"form grew in each of {MOST_ROUNDS} rounds"
    )


def largest_by_macs(limits: Limits, least: int, most: int, found: Callable[[Limits], Found]) -> Found | None:
    """What `found` gives for the most MACs, from `least` to `most`, whose network keeps a budget in latency.

    For searches by MACs and parameters alone; bisected `ROUNDS_BY_MACS` times.
    """
    best: Found | None = None
    for step in range(ROUNDS_BY_MACS):
        macs = most if not step else least if step == 1 else (least + most) // 2
        own = found(limits.with_macs_for_latency(macs))
        if limits.allow(limits.cost_of(own.network)):
            best, least = own, macs
            if not step:
                break
        else:
            most = macs
    return best


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
