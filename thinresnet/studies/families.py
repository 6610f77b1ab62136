"""Families: prune once, then scale the shape that was found to any budget. The rule is this project's own.

Crowley et al. (arXiv:1810.04622) observe that the shapes which pruning finds scale; how they scale them could not be
read. Here: p is the share of a group's channels that the reference kept, and the family's network of factor α keeps
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
from thinresnet.networks.fitting import Limits
from thinresnet.networks.scaling import check_round_to, step_of
from thinresnet.networks.ties import Ties

_BISECTIONS = 50
Shares = Mapping[str, float]  # of a group's channels, by the group's name


def family(reference: Network, budgets: Sequence[Budget], *, round_to: int = 1) -> Network:
    """The network of the reference's family that is the largest within every budget.

    Relative budgets are shares of the architecture as it is, as everywhere.
    """
    return largest(reference, kept_shares(reference), budgets, what="family member", round_to=round_to)


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
    within = limits
    while True:
        widths = _largest_widths(ties, shares, within, round_to)
        if widths is None:
            raise limits.refuse(ties.cost(_widths(ties, shares, 0.0, round_to)), what)
        network = describe(like.arch, channels=widths, input_size=like.input_size, **like.kwargs)
        measured = macs_and_params(network)
        if limits.allow(measured):
            return network
        # What the counter finds beyond the layers' closed form needs room, as in fitting.
        expected = ties.cost(widths)
        within = limits.tighter((measured[0] - expected[0], measured[1] - expected[1]))


def _largest_widths(ties: Ties, shares: Shares, limits: Limits, round_to: int) -> dict[str, int] | None:
    """The channel counts at the largest α that the limits allow, and what still fits; None if nothing does."""
    low, high = 0.0, 1 / min(shares.values())
    if not limits.allow(ties.cost(_widths(ties, shares, low, round_to))):
        return None
    for _ in range(_BISECTIONS):
        middle = (low + high) / 2
        fits = limits.allow(ties.cost(_widths(ties, shares, middle, round_to)))
        low, high = (middle, high) if fits else (low, middle)
    widths = _widths(ties, shares, low, round_to)

    def cut(name: str) -> float:
        group = ties.groups[name]
        return (min(1.0, low * shares[name]) * group.width - widths[name]) / step_of(group, round_to)

    for name in sorted(shares, key=cut, reverse=True):
        wider = {**widths, name: widths[name] + step_of(ties.groups[name], round_to)}
        if wider[name] <= ties.groups[name].width and limits.allow(ties.cost(wider)):
            widths = wider
    return widths


def _widths(ties: Ties, shares: Shares, alpha: float, round_to: int) -> dict[str, int]:
    widths = ties.dense_widths()
    for name, share in shares.items():
        step = step_of(ties.groups[name], round_to)
        # The small push keeps 0.7 * 10 = 6.999… from losing a channel.
        widths[name] = max(1, math.floor(min(1.0, alpha * share) * ties.groups[name].width / step + 1e-9)) * step
    return widths
