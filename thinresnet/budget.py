"""What a budget is: an upper bound on a network's MACs, parameters or latency, absolute or relative to the dense one.

Standard library only. `2.05G`, `12M`, `131k`, `4089184256` and, of latency, `12ms` are absolute; `50%` is relative. A
budget is never rounded into: `Budget.limit` is the largest integer cost that does not exceed it (of latency, in
nanoseconds).
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from fractions import Fraction
from typing import NamedTuple

from thinresnet.errors import InputError

QUANTITIES = ("macs", "params")
LATENCY = "latency"  # predicted from a table of measured layers (networks.latency)
BOUNDED = (*QUANTITIES, LATENCY)  # what budgets bound
_SCALES = {"": 1, "k": 10**3, "m": 10**6, "g": 10**9, "b": 10**9, "t": 10**12}
_ONE = {"macs": "MAC", "params": "parameter", LATENCY: "nanosecond"}
_NANOSECONDS = {"ns": 1, "us": 10**3, "µs": 10**3, "ms": 10**6, "s": 10**9}
_TIME = re.compile(r"(\d+(?:\.\d*)?|\.\d+)()\s*(ns|us|µs|ms|s|%)", re.ASCII)
_LONGEST_FIGURE = 60
_FIGURE = re.compile(r"(\d+(?:\.\d*)?|\.\d+)(?:e([+-]?\d{1,2}))?\s*([kmgbt]?|%)", re.ASCII | re.IGNORECASE)


class Costs(NamedTuple):
    """The two quantities that are counted."""

    macs: int
    params: int


class TimedCosts(Costs):
    """The same with the predicted latency of one batch: what a latency budget asks for."""

    latency_ns: int

    @classmethod
    def of(cls, costs: Costs, latency_ns: int) -> TimedCosts:
        """Costs and a latency."""
        found = cls(*costs)
        found.latency_ns = latency_ns
        return found


def by_quantity(costs: tuple[int, int]) -> dict[str, int]:
    """Costs by the name of what a budget may bound."""
    found = dict(zip(QUANTITIES, costs, strict=True))
    return {**found, LATENCY: costs.latency_ns} if isinstance(costs, TimedCosts) else found


@dataclass(frozen=True)
class Budget:
    """At most this much of one quantity: `amount` units, or `amount` of the dense network's cost if `relative`."""

    quantity: str
    amount: Fraction
    relative: bool
    text: str

    @classmethod
    def parse(cls, quantity: str, text: str | int | float) -> Budget:
        """Read `2.05G`, `50%`, `12M` or a plain number for `macs` or `params`, `12ms` or `50%` for `latency`."""
        if quantity not in BOUNDED:
            raise InputError(f"a budget bounds one of {', '.join(BOUNDED)}; got {quantity!r}")
        where, timed = f"--{quantity} {text!s:.60}", quantity == LATENCY
        found = (_TIME if timed else _FIGURE).fullmatch(str(text).strip())
        if not found or len(str(text)) > _LONGEST_FIGURE:
            amounts = "a time such as 12ms or 800us" if timed else "an amount such as 2.05G, 12M or 131k"
            raise InputError(f"{where}: not a budget; write {amounts}, or a share such as 50%")
        figure, exponent, unit = found.groups()
        amount = Fraction(figure if figure[-1] != "." else figure[:-1]) * Fraction(10) ** int(exponent or 0)
        relative = unit == "%"
        scales = _NANOSECONDS if timed else _SCALES
        amount = amount / 100 if relative else amount * scales[unit if timed else unit.lower()]
        if amount <= 0:
            raise InputError(f"{where}: a budget is greater than zero")
        if not relative and amount < 1:
            raise InputError(f"{where}: less than one {_ONE[quantity]}")
        return cls(quantity, amount, relative, str(text).strip())

    @property
    def tag(self) -> str:
        """`macs50pct`, `params12M`: for names of folders."""
        return f"{self.quantity}{self.text.replace('%', 'pct')}"

    def limit(self, dense_cost: int) -> int:
        """The largest integer cost allowed, for a dense network that costs `dense_cost`."""
        return math.floor(self.amount * dense_cost if self.relative else self.amount)


def parse_budgets(given: Mapping[str, str | int | None]) -> tuple[Budget, ...]:
    """Budgets by quantity, always in the same order; None bounds nothing."""
    return tuple(Budget.parse(quantity, text) for quantity in BOUNDED if (text := given.get(quantity)) is not None)


def short(count: float) -> str:
    """A count as people write it: 4089184256 is `4.089G`, 853018 is `853.0k`."""
    for scale, unit in ((1e12, "T"), (1e9, "G"), (1e6, "M"), (1e3, "k")):
        if abs(count) >= scale:
            return f"{count / scale:.4g}{unit}"
    return f"{count:.4g}"


def milliseconds(nanoseconds: float) -> str:
    """A latency as people write it: `12.3 ms`."""
    return f"{nanoseconds / 1e6:.4g} ms"
