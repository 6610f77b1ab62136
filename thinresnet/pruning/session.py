"""The library call: a method on a network, to one or several budgets, everything checked before and measured after."""

from __future__ import annotations

import copy
import itertools
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from torch import nn

from thinresnet.budget import Budget, short
from thinresnet.errors import InputError, nearest
from thinresnet.network import Network
from thinresnet.networks.cost import macs_and_params
from thinresnet.networks.cutting import Channels, channels_of
from thinresnet.networks.fitting import Limits
from thinresnet.networks.scaling import check_round_to, scale
from thinresnet.pruning.job import Job
from thinresnet.pruning.registry import SCOPES, Method, Pruned
from thinresnet.pruning.selection import Target, cost_of, smallest_counts

if TYPE_CHECKING:
    from thinresnet.recipe import Recipe
    from thinresnet.training.data import Data

Costs = tuple[int, int]  # MACs, parameters


@dataclass(frozen=True)
class Outcome:
    """What came out for one target, and what it cost to find."""

    pruned: Pruned
    budgets: tuple[Budget, ...]
    cost: Costs
    parent_cost: Costs
    dense_cost: Costs  # of the architecture as it is: what relative budgets are shares of
    scope: str
    movable: tuple[str, ...]  # groups that might be cut
    locked: Mapping[str, str]  # groups that cannot be cut, and why
    images_seen: int  # forward and backward, by criteria and training
    updates: int
    seconds: float


def prune(
    method: Method,
    network: Network,
    model: nn.Module,
    budgets: Sequence[Sequence[Budget]] = (),
    *,
    to: Network | None = None,
    scope: str | None = None,
    stream: bool = False,
    round_to: int = 1,
    data: Data | None = None,
    recipe: Recipe | None = None,
    seed: int = 42,
    progress: Callable[[str, int, int], None] = lambda what, done, total: None,
) -> Iterator[Outcome]:
    """Prune `model`, which is of `network` and stays as it is; one outcome for each budget, loosest first.

    Args:
        method: What scores, trains and removes.
        network: The network to prune.
        model: Its weights, on the device where the work is to be done.
        budgets: One set of budgets (MACs, parameters or both, all of them held) for each outcome.
        to: Instead of budgets: the network whose channel counts are to come out.
        scope: `layer` (the same fraction of every group) or `global` (one ranking); the method's own if not given.
        stream: Whether channels of the residual stream may go too, not only those inside blocks.
        round_to: Channel counts are multiples of this where the groups are wide enough.
        data: Images to train on, for methods that need them.
        recipe: How to train, for methods that do.
        seed: Of what is drawn.
        progress: Is told what is being done, how much of it is done, and how much there is.

    Raises:
        InputError: The method cannot do that: nothing was changed.
    """
    channels, movable, targets, parent, dense = _targets(
        method, network, budgets, to=to, scope=scope, stream=stream, round_to=round_to
    )
    if method.needs and (data is None or recipe is None):
        raise InputError(
            f"prune {method.name}: needs {', '.join(sorted(method.needs))}: give the folder of a run whose data are at "
            "hand, or --recipe and --data-dir"
        )
    job = Job(method.name, network, copy.deepcopy(model), channels, movable, targets, recipe, data, seed, progress)
    method.check(job)
    return _outcomes(method, job, [tuple(own) for own in budgets] or [()], parent, dense)


def check_targets(
    method: Method,
    network: Network,
    budgets: Sequence[Sequence[Budget]] = (),
    *,
    to: Network | None = None,
    scope: str | None = None,
    stream: bool = False,
    round_to: int = 1,
) -> None:
    """Refuse what `prune` would refuse of these targets; neither weights nor images are needed for that."""
    _targets(method, network, budgets, to=to, scope=scope, stream=stream, round_to=round_to)


def _targets(
    method: Method,
    network: Network,
    budgets: Sequence[Sequence[Budget]],
    *,
    to: Network | None,
    scope: str | None,
    stream: bool,
    round_to: int,
) -> tuple[Channels, tuple[str, ...], tuple[Target, ...], Costs, Costs]:
    """What may be cut and how far, checked; and what the network and its architecture cost."""
    if (to is None) == (not budgets):
        raise InputError("prune: give budgets, such as --macs 50%, or the counts to prune to with --to; one of the two")
    scope = scope or method.scope
    if scope not in SCOPES:
        raise InputError(f"--scope {scope}: it is one of {', '.join(SCOPES)}{nearest(scope, SCOPES)}")
    check_round_to(round_to)
    channels = channels_of(network)
    movable = _movable(network, channels, stream)
    parent, dense = macs_and_params(network), macs_and_params(_dense(network))
    if to is not None:
        targets = [Target(network, wanted=_wanted(network, channels, movable, to), scope=scope)]
    else:
        limits = [_limits(method, network, channels, movable, own, parent, dense, round_to) for own in budgets]
        _check_order(limits)
        targets = [Target(network, limits=own, scope=scope, round_to=round_to) for own in limits]
    return channels, movable, tuple(targets), parent, dense


def _outcomes(
    method: Method, job: Job, budgets: Sequence[tuple[Budget, ...]], parent: Costs, dense: Costs
) -> Iterator[Outcome]:
    start = time.perf_counter()
    for pruned, target, own in zip(method.run(job), job.targets, budgets, strict=True):
        cost = macs_and_params(pruned.network)
        if pruned.masks is None and target.limits is not None and not target.limits.allow(cost):
            raise RuntimeError(f"{method.name} went over its budget: {cost} against {target.limits.limits}")
        yield Outcome(
            pruned=pruned,
            budgets=own,
            cost=cost,
            parent_cost=parent,
            dense_cost=dense,
            scope=target.scope,
            movable=job.movable,
            locked=job.channels.locked,
            images_seen=job.images_seen,
            updates=job.updates,
            seconds=time.perf_counter() - start,
        )


def _dense(network: Network) -> Network:
    """The architecture as it is, at the same input and with the same arguments."""
    return scale(network.arch, input_size=network.input_size, **network.kwargs)


def _movable(network: Network, channels: Channels, stream: bool) -> tuple[str, ...]:
    """The groups that may be cut: inside blocks, or all of them where asked for or where there are no blocks."""
    groups = channels.ties.groups
    inside = [name for name, group in groups.items() if group.interior]
    found = [name for name in (groups if stream or not inside else inside) if name not in channels.locked]
    if not found:
        reasons = "; ".join(sorted(set(channels.locked.values()))) or "it has no groups"
        raise InputError(f"prune: {network.arch} has no channels that may go: {reasons}")
    return tuple(found)


def _limits(
    method: Method,
    network: Network,
    channels: Channels,
    movable: Sequence[str],
    budgets: Sequence[Budget],
    parent: Costs,
    dense: Costs,
    round_to: int,
) -> Limits:
    """The budgets in whole numbers; those that are met already, or that nothing can meet, are refused."""
    limits = Limits(network.arch, budgets, dense)
    if limits.allow(parent):
        texts = " ".join(f"--{budget.quantity} {budget.text}" for budget in budgets)
        raise InputError(
            f"{texts}: the network costs no more already ({short(parent[0])} MACs, {short(parent[1])} parameters; "
            f"{network.arch} dense: {short(dense[0])}, {short(dense[1])})"
        )
    smallest = cost_of(channels, smallest_counts(channels, movable, round_to))
    if method.removes == "channels" and not limits.allow(smallest):
        kept = len(movable) < len(channels.slices)
        raise limits.refuse(smallest, "pruned network that keeps its residual stream" if kept else "pruned network")
    return limits


def _check_order(limits: Sequence[Limits]) -> None:
    """What leaves for a loose budget is gone for a tighter one."""
    for looser, tighter in itertools.pairwise(limits):
        quantities = [index for index, _ in looser.limits]
        if quantities != [index for index, _ in tighter.limits] or any(
            after > before for (_, before), (_, after) in zip(looser.limits, tighter.limits, strict=True)
        ):
            raise InputError("prune: several budgets bound the same quantities and go from the loosest to the tightest")


def _wanted(network: Network, channels: Channels, movable: Sequence[str], to: Network) -> dict[str, int]:
    """Another network's counts, as channels of each movable group."""
    if (to.arch, dict(to.kwargs), to.input_size) != (network.arch, dict(network.kwargs), network.input_size):
        raise InputError(
            f"--to: a network of {to.arch} {dict(to.kwargs)} {to.input_size}, not of {network.arch} as here"
        )
    wanted: dict[str, int] = {}
    for group, width in to.channels.items():
        now = network.channels[group]
        if width > now or (width < now and group not in movable):
            why = "more than there are" if width > now else "which may not be cut here (the stream: --stream)"
            raise InputError(f"--to: {width} channels of {group!r}, {why}; it has {now}")
        if group in movable:
            wanted[group] = int(width / channels.positions[group])
    return wanted


def settings_of(method: Method) -> dict[str, Any]:
    """A method's settings as JSON values."""
    return dict(vars(method))
