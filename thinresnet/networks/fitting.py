"""Fitting: the largest network of a scaling that costs no more than a budget.

Widths are found by the one search, `largest_within`; what rounding leaves of the budget goes, one step each, to the
groups that rounding cut the most. Depth, growth and resolution move in whole blocks, channels and pixels. What comes
out is measured by the one counter before it is handed over, and is never over any of its budgets.
"""

from __future__ import annotations

import bisect
import functools
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from thinresnet.budget import BOUNDED, LATENCY, Budget, Costs
from thinresnet.errors import InputError
from thinresnet.network import Network, check_input_size
from thinresnet.networks.blueprint import blueprint, default_input_size
from thinresnet.networks.cost import macs_and_params
from thinresnet.networks.describe import check_arch, check_kwargs, describe
from thinresnet.networks.latency import LatencyTable
from thinresnet.networks.latency_measuring import table_of as latency_table_of
from thinresnet.networks.scaling import check_round_to, check_way, groups_of, require_interior, rounded, scale, step_of
from thinresnet.networks.search import Limits as Limits  # callers move to the new place
from thinresnet.networks.search import largest_within, spend_in_order, timed_cost
from thinresnet.networks.thinresnet import own_counts, resolved

LARGEST_FACTOR = 16.0
Amount = Budget | str | int | float  # as flags have it: "2.05G", "50%", 12000000, of latency "12ms"


def fit(
    arch: str,
    budgets: Sequence[Budget] | Budget = (),
    *,
    macs: Amount | None = None,
    params: Amount | None = None,
    latency: Amount | None = None,
    latency_table: LatencyTable | Path | str | None = None,
    scaling: str = "width",
    round_to: int = 1,
    input_size: tuple[int, int, int] | None = None,
    **kwargs: Any,
) -> Network:
    """The largest network of `scaling` (width, interior, depth, growth or resolution) within every budget.

    Budgets are given as `macs="50%"`, `params="12M"` and `latency="12ms"`, or as `Budget` objects. Relative ones are
    shares of the architecture as it is (or of the network, where `arch` is the name of one), at its own input size or
    the one given. Latency is predicted by `latency_table` (a table or its file); without one, by the table of this
    machine for single images, which is measured once and kept.
    """
    check_arch(arch)
    check_kwargs(arch, kwargs)
    check_way(scaling)
    check_round_to(round_to)
    within = _budgets(budgets, {"macs": macs, "params": params, LATENCY: latency})
    size = check_input_size(input_size) if input_size else default_input_size(arch)
    dense = macs_and_params(scale(arch, input_size=size, **kwargs))
    table = _table(scaling, within, latency_table, scale(arch, input_size=size, **kwargs))
    limits = Limits(arch, within, dense, table=table)
    if scaling in ("width", "interior"):
        return _fit_widths(limits, scaling, round_to, size, kwargs)
    if round_to != 1:
        raise InputError(f"fit: --round-to {round_to}: {scaling} leaves channel counts as they are; leave it out")
    return _fit_structure(limits, scaling, size, kwargs)


def _budgets(budgets: Any, given: Mapping[str, Amount | None]) -> tuple[Budget, ...]:
    """Budgets in whatever form a library user gave them."""
    found = [budgets] if isinstance(budgets, Budget) else list(budgets) if isinstance(budgets, (list, tuple)) else None
    if found is None or not all(isinstance(budget, Budget) for budget in found):
        ways = 'macs="50%", params="12M" or latency="12ms"'
        raise InputError(f"fit: {budgets!r:.80} does not say what it bounds; write {ways}")
    for quantity in BOUNDED:
        amount = given[quantity]
        if isinstance(amount, Budget) and amount.quantity != quantity:
            raise InputError(f"fit: {quantity}={amount.text!r} was given a budget of {amount.quantity}")
        if amount is not None:
            found.append(amount if isinstance(amount, Budget) else Budget.parse(quantity, amount))
    if not found:
        raise InputError("fit: give a budget, such as --macs 2.05G, --macs 50%, --params 12M or --latency 50%")
    return tuple(found)


def _table(
    scaling: str, within: Sequence[Budget], given: LatencyTable | Path | str | None, dense: Network
) -> LatencyTable | None:
    """The latency table, where a budget bounds the latency."""
    if not any(budget.quantity == LATENCY for budget in within):
        if given is not None:
            raise InputError("--latency-table: is for --latency; give such a budget, or leave it out")
        return None
    if scaling not in ("width", "interior"):
        raise InputError(f"--latency: tables hold the layers of one depth and input size; {scaling} changes these")
    return latency_table_of(dense, given)


def _fit_widths(
    limits: Limits, scaling: str, round_to: int, size: tuple[int, int, int], kwargs: Mapping[str, Any]
) -> Network:
    arch, kwargs = resolved(limits.arch, kwargs)
    ties = blueprint(arch, kwargs, size).ties
    own, groups = own_counts(limits.arch, ties), groups_of(limits.arch, ties)
    if scaling == "interior":
        require_interior(limits.arch, groups)
    moving = {name: group for name, group in groups.items() if scaling == "width" or group.interior}
    steps = {name: step_of(group, round_to) for name, group in moving.items()}

    def at(factor: float) -> dict[str, int]:
        return {**own, **rounded(moving, dict.fromkeys(moving, factor), round_to)}

    def spend(factor: float, widths: dict[str, int], within: Limits) -> dict[str, int]:
        def cut(name: str) -> float:
            return (factor * moving[name].width - widths[name]) / steps[name]

        def wider(widths: dict[str, int], name: str) -> dict[str, int] | None:
            more = widths[name] + steps[name]
            return {**widths, name: more} if factor > 1 or more <= moving[name].width else None

        return spend_in_order(widths, sorted(moving, key=cut, reverse=True), wider, cost, within)

    def cost(widths: dict[str, int]) -> Costs:
        return timed_cost(ties, widths, limits)

    return largest_within(
        limits,
        at=at,
        cost=cost,
        spend=spend,
        network=lambda widths: describe(arch, channels=widths, input_size=size, **kwargs),
        what=f"{scaling} scaling",
        high=LARGEST_FACTOR,
    ).network


def _fit_structure(limits: Limits, scaling: str, size: tuple[int, int, int], kwargs: Mapping[str, Any]) -> Network:
    """The last hundredth of depth, growth or side that costs no more: a larger one costs at least as much.

    Found by doubling and then by bisection, so that no network much beyond it is traced.
    """
    last = int(LARGEST_FACTOR) * 100
    at = functools.partial(_at_step, limits.arch, scaling, size, kwargs)

    def too_much(step: int) -> bool:
        network = at(step)
        return network is not None and not limits.allow(_closed_form(network))

    beyond = 1
    while beyond <= last and not too_much(beyond):
        beyond *= 2
    between = range(beyond // 2 + 1, min(beyond, last + 1))
    first_refused = between.start + bisect.bisect_left(between, True, key=too_much)
    for step in range(first_refused - 1, 0, -1):
        if (network := at(step)) is None:
            break
        if limits.allow(macs_and_params(network)):
            return network
    smallest = at(first_refused)
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
