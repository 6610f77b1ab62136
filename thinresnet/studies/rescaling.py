"""Rescaled shapes: prune once, then scale the shape that was found to any budget. The rule is this project's own.

Crowley et al. (arXiv:1810.04622) observe that the shapes which pruning finds scale; how they scale them could not be
read. Here: p is the share of a group's channels that the reference kept, and the network of factor α keeps
min(1, α·p) of the group, rounded down, never nothing. Groups inside blocks move, and those outside that the reference
has cut itself; the rest of the residual stream stays whole. α is bisected to the budget; what rounding leaves of it
goes, one step each, to the groups that rounding cut the most. At the reference's own cost the reference comes out.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

from thinresnet.budget import Budget
from thinresnet.network import Network
from thinresnet.networks.blueprint import blueprint
from thinresnet.networks.cost import macs_and_params
from thinresnet.networks.describe import describe
from thinresnet.networks.scaling import check_round_to, step_of
from thinresnet.networks.search import Limits, largest_within, spend_in_order
from thinresnet.networks.ties import Ties

Shares = Mapping[str, float]  # of a group's channels, by the group's name


def rescaled(reference: Network, budgets: Sequence[Budget], *, round_to: int = 1) -> Network:
    """The reference's shape, scaled to the largest network within every budget.

    Relative budgets are shares of the architecture as it is, as everywhere.
    """
    return largest(reference, kept_shares(reference), budgets, what="rescaled network", round_to=round_to)


def kept_shares(reference: Network) -> dict[str, float]:
    """Of each group that may move, the share of the architecture's channels that the reference has."""
    groups = blueprint(reference.arch, reference.kwargs, reference.input_size).ties.groups
    inside = set(within_blocks(reference))
    return {
        name: reference.channels[name] / group.width
        for name, group in groups.items()
        if name in inside or reference.channels[name] < group.width
    }


def within_blocks(network: Network) -> list[str]:
    """The groups inside blocks; all of them where there are no blocks."""
    groups = blueprint(network.arch, network.kwargs, network.input_size).ties.groups
    return [name for name, group in groups.items() if group.interior] or list(groups)


def largest(like: Network, shares: Shares, budgets: Sequence[Budget], *, what: str, round_to: int = 1) -> Network:
    """The largest network of `like`'s architecture within the budgets whose groups keep min(1, α·share) of themselves.

    Groups without a share stay whole. `what` is what a refusal calls such a network.
    """
    check_round_to(round_to)
    ties = blueprint(like.arch, like.kwargs, like.input_size).ties
    dense = describe(like.arch, input_size=like.input_size, **like.kwargs)
    limits = Limits(like.arch, budgets, macs_and_params(dense))
    if limits.allow(limits.dense):
        return dense
    groups = ties.groups
    steps = {name: step_of(groups[name], round_to) for name in shares}

    def spend(alpha: float, widths: dict[str, int], within: Limits) -> dict[str, int]:
        def cut(name: str) -> float:
            return (min(1.0, alpha * shares[name]) * groups[name].width - widths[name]) / steps[name]

        def wider(widths: dict[str, int], name: str) -> dict[str, int] | None:
            more = widths[name] + steps[name]
            return {**widths, name: more} if more <= groups[name].width else None

        return spend_in_order(widths, sorted(shares, key=cut, reverse=True), wider, ties.cost, within)

    return largest_within(
        limits,
        at=lambda alpha: _widths(ties, shares, alpha, round_to),
        cost=ties.cost,
        spend=spend,
        network=lambda widths: describe(like.arch, channels=widths, input_size=like.input_size, **like.kwargs),
        what=what,
        high=1 / min(shares.values()),
    ).network


def _widths(ties: Ties, shares: Shares, alpha: float, round_to: int) -> dict[str, int]:
    widths = ties.dense_widths()
    for name, share in shares.items():
        step = step_of(ties.groups[name], round_to)
        # The small push keeps 0.7 * 10 = 6.999… from losing a channel.
        widths[name] = max(1, math.floor(min(1.0, alpha * share) * ties.groups[name].width / step + 1e-9)) * step
    return widths
