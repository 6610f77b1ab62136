"""From densities to channel counts under exact budgets: PreCrop, and PreConfig, where layers may also grow.

Each group of tied channels has one factor; a layer's density is the product of those of what it reads and what it
makes. Where a criterion gives densities only, the factors are those whose products come nearest, by least squares of
logarithms, each weighted with its density. Counts are rounded by this rule (ours; the authors' could not be read):

1. All factors times one number, as large as the budgets allow, none beyond its bounds (dense, and one step).
2. Each count to the nearest step, halves up, and at least one step.
3. While a budget is broken, the group that is widest against its factor loses a step. Then the narrowest ones gain a
   step each, as long as the budgets hold and no group is more than a step beyond its factor.
4. Only if that leaves more than 1 % of every budget: more steps for the narrowest that fit, without that bound.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace

import numpy as np

from thinresnet.budget import LATENCY
from thinresnet.errors import InputError
from thinresnet.network import Network
from thinresnet.networks.blueprint import blueprint
from thinresnet.networks.describe import describe
from thinresnet.networks.fitting import LARGEST_FACTOR
from thinresnet.networks.search import Limits, largest_by_macs, largest_factor, largest_within, timed_cost
from thinresnet.pruning.initialisation.densities import Figures, Integers, Layers, layers_of
from thinresnet.pruning.initialisation.quadratic import CostForms, SearchSpace

MOST_UNUSED = 0.01
# Where layers may grow: against the width that plain scaling reaches at the same budget (or the network's own, if that
# is more). Without a bound SynExp makes the last stage's stream many times wider and its blocks thinner instead.
MOST_GROWTH = 2.0


@dataclass(frozen=True)
class Allocation:
    """The network that came out, and the factors on each group's channels before they were rounded."""

    network: Network
    factors: Mapping[str, float]


def search_space(network: Network, limits: Limits, *, grow: bool) -> tuple[SearchSpace, Layers]:
    """Where to look for counts; a network without channels to choose, or budgets below its smallest, are refused."""
    ties = blueprint(network.arch, network.kwargs, network.input_size).ties
    layers = layers_of(network)
    forms = CostForms(ties, dict(network.channels), layers)
    low = np.minimum(0.0, np.log(forms.steps / forms.channels))
    space = SearchSpace(forms, limits, low, np.zeros_like(low))
    if not grow and not (low < 0).any():
        raise InputError(f"prune: {network.arch} has no channels that may go")
    smallest = timed_cost(ties, forms.widths(np.minimum(forms.steps, forms.channels)), limits)
    if not limits.allow(smallest):
        raise limits.refuse(smallest, "pruned network")
    if grow:
        widest = replace(space, high=np.full_like(low, math.log(LARGEST_FACTOR)))
        scaled = max(0.0, float(at_budget(widest, np.zeros_like(low)).max()))
        space = replace(space, high=np.full_like(low, scaled + math.log(MOST_GROWTH)))
    return space, layers


def allocate(network: Network, limits: Limits, space: SearchSpace, factors: Figures) -> Allocation:
    """The network of rounded counts, measured by the one counter."""
    low, high = _shifts(space, factors)

    def network_of(channels: Figures) -> Network:
        widths = space.forms.widths(channels.astype(np.int64))
        return describe(network.arch, channels=widths, input_size=network.input_size, **network.kwargs)

    found = largest_within(
        limits,
        at=lambda shift: space.channels(_moved(space, factors, shift)),
        cost=space.costs,
        spend=lambda shift, channels, within: _rounded(replace(space, limits=within), channels).astype(float),
        network=network_of,
        what="pruned network",
        low=low,
        high=high,
    )
    scaled = np.exp(_moved(space, factors, found.factor))
    return Allocation(found.network, dict(zip(space.forms.names, scaled.tolist(), strict=True)))


def allocated_within(
    limits: Limits, space: SearchSpace, whole: int, allocated: Callable[[Limits], Allocation]
) -> Allocation:
    """What `allocated` gives within limits that may bound the latency, which it does not know of."""
    if LATENCY not in limits.most:
        return allocated(limits)
    forms = space.forms
    least = int(forms.costs(np.minimum(forms.steps, forms.channels).astype(float))[0])
    found = largest_by_macs(limits, least, whole, allocated)
    if found is None:
        raise InputError(f"no pruned network of {limits.arch} that keeps the latency was found; give a larger budget")
    return found


def plain_macs(network: Network, limits: Limits) -> int:
    """The MACs of the network whose groups all keep one share, as large as the limits (of a latency, too) allow."""
    ties = blueprint(network.arch, network.kwargs, network.input_size).ties
    steps = {name: group.multiple for name, group in ties.groups.items()}

    def at(share: float) -> dict[str, int]:
        counts = {name: int(share * network.channels[name]) // step * step for name, step in steps.items()}
        return {name: max(step, counts[name]) for name, step in steps.items()}

    share = largest_factor(lambda share: limits.allow(timed_cost(ties, at(share), limits)), 0.0, 1.0)
    return ties.cost(at(share or 0.0)).macs


def nearest_factors(forms: CostForms, layers: Layers, densities: Figures) -> Figures:
    """Logarithms of factors whose products come nearest to the densities, by least squares.

    A layer's square weighs as much as its density: one that is all but empty, because another path carries the network
    (SynFlow leaves little of shortcuts), says little about the channels that it shares with others.
    """
    wanted = np.log(np.maximum(densities, 1 / layers.weights))
    trust = np.sqrt(densities)
    found = np.linalg.lstsq(forms.shares * trust[:, None], wanted * trust, rcond=None)[0]
    return np.asarray(found, dtype=np.float64)


def at_budget(space: SearchSpace, factors: Figures) -> Figures:
    """The factors times one number, the largest that the budgets allow, each within its bounds."""
    low, high = _shifts(space, factors)
    shift = largest_factor(lambda shift: space.allows(space.channels(_moved(space, factors, shift))), low, high)
    return _moved(space, factors, low if shift is None else shift)


def _moved(space: SearchSpace, factors: Figures, shift: float) -> Figures:
    """The factors times one number (all are logarithms), each within its bounds."""
    return np.clip(factors + shift, space.low, space.high)


def _shifts(space: SearchSpace, factors: Figures) -> tuple[float, float]:
    """The numbers at which every factor is at its lower, and at its upper bound."""
    return float((space.low - factors).min()), float((space.high - factors).max())


def rounded_counts(space: SearchSpace, factors: Figures) -> Integers:
    """Channels of each group by the rule that the module's docstring states."""
    return _rounded(space, space.channels(at_budget(space, factors)))


def _rounded(space: SearchSpace, channels: Figures) -> Integers:
    forms = space.forms
    ideal = channels / forms.steps
    most = np.rint(space.channels(space.high) / forms.steps).astype(np.int64)
    counts = np.clip(np.floor(ideal + 0.5).astype(np.int64), 1, most)
    for _ in range(int((counts - 1).sum())):  # at most until every group has one step left
        if space.allows((counts * forms.steps).astype(float)):
            break
        counts[int(np.argmax(np.where(counts > 1, counts / ideal, 0.0)))] -= 1
    counts = _filled(space, counts, ideal, np.minimum(most, np.floor(ideal).astype(np.int64) + 1))
    if _unused(space, counts) > MOST_UNUSED:
        counts = _filled(space, counts, ideal, most, enough=MOST_UNUSED)
    return counts * forms.steps


def _filled(space: SearchSpace, counts: Integers, ideal: Figures, most: Integers, enough: float = 0.0) -> Integers:
    """A step for the narrowest group that may have one, as often as the budgets allow and there is need."""
    counts = counts.copy()
    steps = space.forms.steps.astype(np.float64)
    while _unused(space, counts) > enough:
        fits = (space.spent(space.forms.costs_after(counts * steps, steps)) <= 1).all(0) & (counts < most)
        if not fits.any():
            break
        counts[int(np.argmax(np.where(fits, ideal / (counts + 1), -1.0)))] += 1
    return counts


def _unused(space: SearchSpace, counts: Integers) -> float:
    """The share of the tightest budget that is left."""
    return float(1 - space.spent(space.forms.costs((counts * space.forms.steps).astype(float))).max())
