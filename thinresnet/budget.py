"""What a budget is: an upper bound on a network's MACs or parameters, absolute or relative to the dense network.

Standard library only. `2.05G`, `12M`, `131k` and `4089184256` are absolute; `50%` is relative. A budget is never
rounded into: `Budget.limit` is the largest integer cost that does not exceed it.
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
_SCALES = {"": 1, "k": 10**3, "m": 10**6, "g": 10**9, "b": 10**9, "t": 10**12}
_LONGEST_FIGURE = 60
_FIGURE = re.compile(r"(\d+(?:\.\d*)?|\.\d+)(?:e([+-]?\d{1,2}))?\s*([kmgbt]?|%)", re.ASCII | re.IGNORECASE)


class Costs(NamedTuple):
    """The two quantities that budgets bound."""

    macs: int
    params: int


@dataclass(frozen=True)
class Budget:
    """At most this much of one quantity: `amount` units, or `amount` of the dense network's cost if `relative`."""

    quantity: str
    amount: Fraction
    relative: bool
    text: str

    @classmethod
    def parse(cls, quantity: str, text: str | int | float) -> Budget:
        """Read `2.05G`, `50%`, `12M` or a plain number for `quantity` (`macs` or `params`)."""
        if quantity not in QUANTITIES:
            raise InputError(f"a budget bounds one of {', '.join(QUANTITIES)}; got {quantity!r}")
        where = f"--{quantity} {text!s:.60}"
        found = _FIGURE.fullmatch(str(text).strip())
        if not found or len(str(text)) > _LONGEST_FIGURE:
            raise InputError(
                f"{where}: not a budget; write an amount such as 2.05G, 12M or 131k, or a share such as 50%"
            )
        figure, exponent, unit = found.groups()
        amount = Fraction(figure if figure[-1] != "." else figure[:-1]) * Fraction(10) ** int(exponent or 0)
        relative = unit == "%"
        amount = amount / 100 if relative else amount * _SCALES[unit.lower()]
        if amount <= 0:
            raise InputError(f"{where}: a budget is greater than zero")
        if not relative and amount < 1:
            raise InputError(f"{where}: less than one {'MAC' if quantity == 'macs' else 'parameter'}")
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
    return tuple(Budget.parse(quantity, text) for quantity in QUANTITIES if (text := given.get(quantity)) is not None)


def short(count: float) -> str:
    """A count as people write it: 4089184256 is `4.089G`, 853018 is `853.0k`."""
    for scale, unit in ((1e12, "T"), (1e9, "G"), (1e6, "M"), (1e3, "k")):
        if abs(count) >= scale:
            return f"{count / scale:.4g}{unit}"
    return f"{count:.4g}"
