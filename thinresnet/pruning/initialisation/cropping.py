"""From densities to channel counts under exact budgets: PreCrop, and PreConfig, where layers may also grow.

Each group of tied channels has one factor; a layer's density is the product of those of what it reads and what it
makes. Where a criterion gives densities only, the factors are those whose products come nearest, by least squares of
logarithms, each weighted with its density. Whole counts come by this rule (ours; the authors' could not be read):

1. All factors times one number, as large as the budgets allow, none beyond its bounds (dense, and one step).
2. Each count to the nearest step, halves up, and at least one step.
3. While a budget is broken, the group that is widest against its factor loses a step. Then the narrowest ones gain a
   step each, as long as the budgets hold and no group is more than a step beyond its factor.
4. Only if that leaves more than 1 % of every budget: more steps for the narrowest that fit, without that bound.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
from torch import nn

from thinresnet.budget import Budget, short
from thinresnet.errors import InputError
from thinresnet.network import Network
from thinresnet.networks.blueprint import blueprint
from thinresnet.networks.build import build
from thinresnet.networks.cost import macs_and_params
from thinresnet.networks.describe import describe
from thinresnet.networks.fitting import LARGEST_FACTOR, Limits
from thinresnet.networks.scaling import scale
from thinresnet.pruning.initialisation.densities import Allowance, Figures, Integers, Layers, layers_of
from thinresnet.pruning.initialisation.quadratic import CostForms, Room
from thinresnet.pruning.initialisation.registry import Criterion, Found, Task, check_grows

if TYPE_CHECKING:
    from thinresnet.training.data import Data

Costs = tuple[int, int]  # MACs, parameters
MOST_UNUSED = 0.01
# Where layers may grow: against the width that plain scaling reaches at the same budget (or the network's own, if that
# is more). Without a bound SynExp makes the last stage's stream many times wider and its blocks thinner instead.
MOST_GROWTH = 2.0
_BISECTIONS = 60
_ROUNDS = 4  # of finding counts and measuring; more than one only where the counter finds what no layer explains


@dataclass(frozen=True)
class Cropped:
    """The network that came out, the densities that it follows, and what it cost to find."""

    network: Network
    parent: Network
    layers: Layers
    found: Found  # the densities asked for, as long as `layers`
    factors: Mapping[str, float]  # on each group's channels, before they are made whole
    budgets: tuple[Budget, ...]
    cost: Costs
    parent_cost: Costs
    dense_cost: Costs
    notes: Mapping[str, Any]
    images_seen: int
    seconds: float


def crop(
    criterion: Criterion,
    network: Network,
    budgets: Sequence[Budget],
    *,
    model: nn.Module | None = None,
    grow: bool = False,
    data: Data | None = None,
    seed: int = 42,
    progress: Callable[[str, int, int], None] = lambda what, done, total: None,
) -> Cropped:
    """The channels that a criterion gives `network` within every budget.

    Args:
        criterion: What says how dense each layer should be.
        network: The network to crop.
        budgets: Of MACs, parameters or both; shares are of the architecture as it is.
        model: Its weights, which stay as they are; drawn from `seed` if not given.
        grow: PreConfig: groups may have more channels than they have now, up to twice as many (`MOST_GROWTH`).
        data: Training images, for criteria that need them.
        seed: Of what is drawn.
        progress: Is told what is being done, how much of it is done, and how much there is.

    Raises:
        InputError: That cannot be: no network within the budgets, no data, layers that cannot be scored.
    """
    start = time.perf_counter()
    limits, parent, dense = _limits(criterion, network, budgets, grow)
    if "data" in criterion.needs and data is None:
        raise InputError(
            f"crop {criterion.name}: needs images: give the folder of a run whose data are at hand, or --recipe and "
            "--data-dir"
        )
    room, layers = _room(network, limits, grow)
    shares = {("macs", "params")[index]: most / parent[index] for index, most in limits.limits}
    task = Task(
        criterion=criterion.name,
        network=network,
        allowance=Allowance(layers, shares if grow else {key: min(1.0, share) for key, share in shares.items()}),
        model=model if model is not None or "weights" not in criterion.needs else build(network, seed=seed),
        data=data,
        seed=seed,
        grow=grow,
        progress=progress,
    )
    found = criterion.find(task)
    task.notes["layers_emptied"] = [name for name, own in zip(layers.names, found.densities, strict=True) if own == 0]
    factors = criterion.factors(task, room, found.densities)
    if factors is None:
        factors = nearest_factors(room.forms, layers, found.densities)
    thin, cost = _measured(network, limits, room, factors)
    return Cropped(
        network=thin,
        parent=network,
        layers=layers,
        found=found,
        factors=dict(zip(room.forms.names, np.exp(at_budget(room, factors)).tolist(), strict=True)),
        budgets=tuple(budgets),
        cost=cost,
        parent_cost=parent,
        dense_cost=dense,
        notes=task.notes,
        images_seen=task.images_seen,
        seconds=time.perf_counter() - start,
    )


def nearest_factors(forms: CostForms, layers: Layers, densities: Figures) -> Figures:
    """Logarithms of factors whose products come nearest to the densities, by least squares.

    A layer's square weighs as much as its density: one that is all but empty, because another path carries the network
    (SynFlow leaves little of shortcuts), says little about the channels that it shares with others.
    """
    wanted = np.log(np.maximum(densities, 1 / layers.weights))
    trust = np.sqrt(densities)
    found = np.linalg.lstsq(forms.shares * trust[:, None], wanted * trust, rcond=None)[0]
    return np.asarray(found, dtype=np.float64)


def at_budget(room: Room, factors: Figures) -> Figures:
    """The factors times one number, the largest that the budgets allow, each within its bounds."""

    def moved(shift: float) -> Figures:
        return np.clip(factors + shift, room.low, room.high)

    low, high = float((room.low - factors).min()), float((room.high - factors).max())
    if room.allows(room.channels(moved(high))):
        return moved(high)
    for _ in range(_BISECTIONS):
        middle = (low + high) / 2
        low, high = (middle, high) if room.allows(room.channels(moved(middle))) else (low, middle)
    return moved(low)


def whole_counts(room: Room, factors: Figures) -> Integers:
    """Channels of each group by the rule that the module's docstring states."""
    forms = room.forms
    ideal = room.channels(at_budget(room, factors)) / forms.steps
    most = np.rint(room.channels(room.high) / forms.steps).astype(np.int64)
    counts = np.clip(np.floor(ideal + 0.5).astype(np.int64), 1, most)
    while not room.allows((counts * forms.steps).astype(float)):
        counts[int(np.argmax(np.where(counts > 1, counts / ideal, 0.0)))] -= 1
    counts = _filled(room, counts, ideal, np.minimum(most, np.floor(ideal).astype(np.int64) + 1))
    if _unused(room, counts) > MOST_UNUSED:
        counts = _filled(room, counts, ideal, most, enough=MOST_UNUSED)
    return counts * forms.steps


def _filled(room: Room, counts: Integers, ideal: Figures, most: Integers, enough: float = 0.0) -> Integers:
    """A step for the narrowest group that may have one, as often as the budgets allow and there is need."""
    counts = counts.copy()
    steps = room.forms.steps.astype(np.float64)
    while _unused(room, counts) > enough:
        costs = room.forms.costs_after(counts * steps, steps)
        fits = np.all([costs[index] <= limit for index, limit in room.limits], axis=0) & (counts < most)
        if not fits.any():
            break
        counts[int(np.argmax(np.where(fits, ideal / (counts + 1), -1.0)))] += 1
    return counts


def _unused(room: Room, counts: Integers) -> float:
    """The share of the tightest budget that is left."""
    costs = room.forms.costs((counts * room.forms.steps).astype(float))
    return float(min(1 - costs[index] / limit for index, limit in room.limits))


def _limits(
    criterion: Criterion, network: Network, budgets: Sequence[Budget], grow: bool
) -> tuple[Limits, Costs, Costs]:
    """The budgets in whole numbers, and the costs of the network and of its architecture as it is."""
    if not budgets:
        raise InputError("crop: give a budget, such as --macs 50% or --params 12M")
    if grow:
        check_grows(criterion, "--preconfig")
    parent = macs_and_params(network)
    dense = macs_and_params(scale(network.arch, input_size=network.input_size, **network.kwargs))
    limits = Limits(network.arch, budgets, dense)
    if limits.allow(parent) and not grow:
        texts = " ".join(f"--{budget.quantity} {budget.text}" for budget in budgets)
        hint = " (--preconfig lets layers grow)" if criterion.grows else ""
        raise InputError(
            f"{texts}: the network costs no more already ({short(parent[0])} MACs, {short(parent[1])} parameters)"
            f"{hint}; give a smaller budget"
        )
    return limits, parent, dense


def _room(network: Network, limits: Limits, grow: bool) -> tuple[Room, Layers]:
    """Where to look for counts; a network without channels to crop, or budgets below its smallest, are refused."""
    ties = blueprint(network.arch, network.kwargs, network.input_size).ties
    layers = layers_of(network)
    forms = CostForms(ties, dict(network.channels), layers)
    low = np.minimum(0.0, np.log(forms.steps / forms.channels))
    room = Room(forms, limits.limits, low, np.zeros_like(low))
    if not grow and not (low < 0).any():
        raise InputError(f"crop: {network.arch} has no channels to crop")
    smallest = ties.cost(forms.widths(np.minimum(forms.steps, forms.channels)))
    if not limits.allow(smallest):
        raise limits.refuse(smallest, "cropped network")
    if grow:
        widest = replace(room, high=np.full_like(low, math.log(LARGEST_FACTOR)))
        scaled = max(0.0, float(at_budget(widest, np.zeros_like(low)).max()))
        room = replace(room, high=np.full_like(low, scaled + math.log(MOST_GROWTH)))
    return room, layers


def _measured(network: Network, limits: Limits, room: Room, factors: Figures) -> tuple[Network, Costs]:
    """The network of whole counts, measured by the one counter; what that finds besides the layers gets its room."""
    within = limits
    ties = blueprint(network.arch, network.kwargs, network.input_size).ties
    for _ in range(_ROUNDS):
        widths = room.forms.widths(whole_counts(room, factors))
        thin = describe(network.arch, channels=widths, input_size=network.input_size, **network.kwargs)
        cost = macs_and_params(thin)
        if limits.allow(cost):
            return thin, cost
        expected = ties.cost(widths)
        within = within.tighter((cost[0] - expected[0], cost[1] - expected[1]))
        room = replace(room, limits=within.limits)
    raise InputError(f"crop: {network.arch} costs more than its layers explain, by an amount that does not settle")
