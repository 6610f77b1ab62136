"""Fitting: the largest network of a scaling that costs no more than a budget.

The factor is found by bisection on a closed form of the cost, so that hundreds of candidates take no time. Rounding
leaves some of the budget unused; it goes, one step each, to the groups that rounding cut the most. What comes out is
measured by the one counter before it is handed over, and is never over any of its budgets.
"""

from __future__ import annotations

import copy
import functools
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from thinresnet.budget import Budget, short
from thinresnet.errors import InputError
from thinresnet.network import Network, check_input_size
from thinresnet.networks.blueprint import blueprint, default_input_size
from thinresnet.networks.cost import macs_and_params
from thinresnet.networks.describe import check_arch, check_kwargs, describe
from thinresnet.networks.scaling import check_round_to, check_way, groups_of, require_interior, rounded, scale, step_of
from thinresnet.networks.thinresnet import own_counts, resolved
from thinresnet.networks.ties import Group, Ties

LARGEST_FACTOR = 16.0
_ROUNDS = 4  # of fitting and measuring; two do where the measure holds a surprise, one elsewhere
_BISECTIONS = 40  # to 16 / 2**40: far finer than one channel of the widest group

Costs = tuple[int, int]  # MACs, parameters


def fit(
    arch: str,
    budgets: Sequence[Budget],
    *,
    scaling: str = "width",
    round_to: int = 1,
    input_size: tuple[int, int, int] | None = None,
    **kwargs: Any,
) -> Network:
    """The largest network of `scaling` (width, interior, depth, growth or resolution) within every budget.

    Relative budgets are shares of the architecture as it is (or of the network, where `arch` is the name of one), at
    its own input size or the one given.
    """
    check_arch(arch)
    check_kwargs(arch, kwargs)
    check_way(scaling)
    check_round_to(round_to)
    if not budgets:
        raise InputError("fit: give a budget, such as --macs 2.05G, --macs 50% or --params 12M")
    size = check_input_size(input_size) if input_size else default_input_size(arch)
    dense = macs_and_params(scale(arch, input_size=size, **kwargs))
    limits = Limits(arch, budgets, dense)
    if scaling in ("width", "interior"):
        return _fit_widths(arch, limits, scaling, round_to, size, kwargs)
    return _fit_structure(arch, limits, scaling, size, kwargs)


class Limits:
    """The budgets as whole numbers; `allow` is asked thousands of times, `refuse` once."""

    def __init__(self, arch: str, budgets: Sequence[Budget], dense: Costs):
        self.arch = arch
        self.budgets = list(budgets)
        self.dense = dense
        self.limits = [
            (0 if budget.quantity == "macs" else 1, budget.limit(dense[0 if budget.quantity == "macs" else 1]))
            for budget in budgets
        ]

    def allow(self, cost: Costs) -> bool:
        return all(cost[index] <= limit for index, limit in self.limits)

    def tighter(self, over: Costs) -> Limits:
        """The same with less room: the counter found so much more than the closed form of the cost had said."""
        limits = copy.copy(self)
        limits.limits = [(index, limit - max(0, over[index])) for index, limit in self.limits]
        return limits

    def refuse(self, smallest: Costs, what: str) -> InputError:
        broken = next(b for b, (index, limit) in zip(self.budgets, self.limits, strict=True) if smallest[index] > limit)
        index = 0 if broken.quantity == "macs" else 1
        unit = "MACs" if index == 0 else "parameters"
        least, dense = smallest[index], self.dense[index]
        return InputError(
            f"--{broken.quantity} {broken.text}: no {what} of {self.arch} costs so little; the smallest has "
            f"{short(least)} {unit} ({least / dense:.2%} of the dense {short(dense)})"
        )


def _fit_widths(
    arch: str, limits: Limits, scaling: str, round_to: int, size: tuple[int, int, int], kwargs: Mapping[str, Any]
) -> Network:
    name, (arch, kwargs) = arch, resolved(arch, kwargs)
    ties = blueprint(arch, kwargs, size).ties
    groups = groups_of(name, ties)
    if scaling == "interior":
        require_interior(arch, groups)
    moving = {key: group for key, group in groups.items() if scaling == "width" or group.interior}

    def counts(factor: float) -> dict[str, int]:
        return {**own_counts(name, ties), **rounded(moving, dict.fromkeys(moving, factor), round_to)}

    within = limits
    for _ in range(_ROUNDS):
        factor = _largest_factor(functools.partial(_factor_fits, ties, counts, within))
        if factor is None:
            raise limits.refuse(ties.cost(counts(0.0)), f"{scaling} scaling")
        widths = _use_the_rest(ties, moving, counts(factor), factor, round_to, within)
        network = describe(arch, channels=widths, input_size=size, **kwargs)
        measured = macs_and_params(network)
        if limits.allow(measured):
            return network
        # The closed form knows every layer; what a forward computes besides (ECA's convolution along the channels)
        # only the counter finds: leave room for it.
        expected = ties.cost(widths)
        within = limits.tighter((measured[0] - expected[0], measured[1] - expected[1]))
    raise InputError(f"fit: {arch} costs more than its layers explain, by an amount that does not settle")


def _factor_fits(ties: Ties, counts: Callable[[float], dict[str, int]], limits: Limits, factor: float) -> bool:
    return limits.allow(ties.cost(counts(factor)))


def _use_the_rest(
    ties: Ties, moving: Mapping[str, Group], widths: dict[str, int], factor: float, round_to: int, limits: Limits
) -> dict[str, int]:
    """One step more for the groups that rounding cut the most, in that order, as long as the budget holds."""

    def cut(name: str) -> float:
        return (factor * moving[name].width - widths[name]) / step_of(moving[name], round_to)

    for name in sorted(moving, key=cut, reverse=True):
        wider = {**widths, name: widths[name] + step_of(moving[name], round_to)}
        within_dense = factor > 1 or wider[name] <= moving[name].width
        if within_dense and limits.allow(ties.cost(wider)):
            widths = wider
    return widths


def _largest_factor(allowed: Callable[[float], bool]) -> float | None:
    """The largest factor that is allowed, where a larger one always costs at least as much; None if none is."""
    if allowed(LARGEST_FACTOR):
        return LARGEST_FACTOR
    if not allowed(0.0):
        return None
    low, high = 0.0, LARGEST_FACTOR
    for _ in range(_BISECTIONS):
        middle = (low + high) / 2
        low, high = (middle, high) if allowed(middle) else (low, middle)
    return low


def _fit_structure(
    arch: str, limits: Limits, scaling: str, size: tuple[int, int, int], kwargs: Mapping[str, Any]
) -> Network:
    """Depth, growth and resolution move in whole blocks, channels and pixels: the last step that costs no more.

    Found by doubling and bisection, as a larger step costs at least as much, and no network much beyond it is traced.
    """
    last = int(LARGEST_FACTOR) * 100
    at = functools.partial(_at_step, arch, scaling, size, kwargs)

    def too_much(step: int) -> bool:
        network = at(step)
        return network is not None and not limits.allow(_closed_form(network))

    low, high = 0, 1  # the last step known to be cheap enough, or too small to exist, and one that may cost too much
    while high <= last and not too_much(high):
        low, high = high, 2 * high
    high = min(high, last + 1)
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if too_much(middle) else (middle, high)
    for step in range(low, 0, -1):
        if (network := at(step)) is None:
            break
        if limits.allow(macs_and_params(network)):
            return network
    smallest = at(high)
    assert smallest is not None, "what costs too much exists"
    raise limits.refuse(_closed_form(smallest), f"{scaling} scaling")


def _closed_form(network: Network) -> Costs:
    return blueprint(network.arch, network.kwargs, network.input_size).ties.cost(dict(network.channels))


def _at_step(
    arch: str, scaling: str, size: tuple[int, int, int], kwargs: Mapping[str, Any], hundredths: int
) -> Network | None:
    """The network at so many hundredths of its depth, growth or side; None where there is none."""
    if scaling == "resolution":
        return _at_resolution(arch, hundredths * size[1] // 100, size, kwargs)
    factors: dict[str, Any] = {scaling: hundredths / 100}
    return scale(arch, input_size=size, **factors, **kwargs)


def _at_resolution(arch: str, side: int, size: tuple[int, int, int], kwargs: Mapping[str, Any]) -> Network | None:
    """The network at this side, or None where the map would vanish."""
    try:
        return scale(arch, resolution=side, input_size=size, **kwargs) if side else None
    except InputError:
        return None
