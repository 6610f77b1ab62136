"""The library call: a method on a network, to one or several budgets, everything checked before and measured after."""

from __future__ import annotations

import itertools
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from torch import nn

from thinresnet.budget import LATENCY, Budget, Costs, short
from thinresnet.errors import InputError, nearest
from thinresnet.network import Network
from thinresnet.networks.cost import macs_and_params
from thinresnet.networks.cutting import Channels, channels_of
from thinresnet.networks.latency import LatencyTable
from thinresnet.networks.latency_measuring import table_of
from thinresnet.networks.scaling import check_round_to, scale
from thinresnet.networks.search import Limits
from thinresnet.progress import Progress, shown
from thinresnet.pruning.initialisation.allocation import search_space
from thinresnet.pruning.job import Job, Pruned
from thinresnet.pruning.method import INITIALISATION, SCOPES, Method
from thinresnet.pruning.recalibration import recalibrate
from thinresnet.pruning.selection import Target, cost_within, movable_groups, smallest_counts
from thinresnet.recipe import Recipe
from thinresnet.training.data import Data


@dataclass(frozen=True)
class How:
    """How to prune: everything but the method and what it is done to; see `prune`."""

    budgets: Sequence[Sequence[Budget]] = ()  # one set for each outcome, loosest first
    to: Network | None = None
    to_name: str | None = None
    scope: str | None = None  # the method's own where none is given, as `stream`
    stream: bool | None = None
    round_to: int = 1
    grow: bool = False
    seed: int = 42
    recalibrate: int = 0
    latency_table: LatencyTable | None = None  # what latency is predicted by; none: this machine's, for single images

    @property
    def bounds_latency(self) -> bool:
        """Whether any budget bounds the latency."""
        return any(budget.quantity == LATENCY for budgets in self.budgets for budget in budgets)

    def stream_of(self, method: Method) -> bool:
        """Whether the residual stream is pruned too: as asked for, or else as the method's authors do."""
        return method.stream if self.stream is None else self.stream


@dataclass(frozen=True)
class Outcome:
    """What came out for one target, and what it cost to find."""

    pruned: Pruned
    budgets: tuple[Budget, ...]
    cost: Costs
    parent_cost: Costs
    dense_cost: Costs  # of the architecture as it is: what relative budgets are shares of
    scope: str
    movable: tuple[str, ...]  # groups that might be cut; at initialisation all are chosen anew
    locked: Mapping[str, str]  # groups that cannot be cut, and why
    images_at: Mapping[int, int]  # images forward and backward, by scores and training, by their side in pixels
    forward_at: Mapping[int, int]  # images that went forward only, by scores without gradients
    recalibrated_at: Mapping[int, int]  # images forward through what came out, for the statistics of its batch norms
    updates: int
    seconds: float

    @property
    def images_seen(self) -> int:
        """Images of all sizes."""
        return sum(self.images_at.values())


def prune(
    method: Method,
    network: Network,
    model: nn.Module | None,
    budgets: Sequence[Sequence[Budget]] = (),
    *,
    to: Network | None = None,
    scope: str | None = None,
    stream: bool | None = None,
    round_to: int = 1,
    grow: bool = False,
    latency_table: LatencyTable | None = None,
    data: Data | None = None,
    recipe: Recipe | None = None,
    seed: int = 42,
    recalibrate: int = 0,
    progress: Progress | bool = True,
) -> Iterator[Outcome]:
    """Prune `model`, which is of `network` and stays as it is; one outcome for each budget, loosest first.

    Args:
        method: What scores, trains and removes.
        network: The network to prune.
        model: Its weights, on the device where the work is to be done; drawn from `seed` if not given.
        budgets: One set of budgets (MACs, parameters or both, all of them held) for each outcome; shares are of the
            architecture as it is.
        to: Instead of budgets: the network whose channel counts are to come out.
        scope: `layer` (the same fraction of every group) or `global` (one ranking); the method's own if not given.
        stream: Whether channels of the residual stream may go too, not only those inside blocks; as the method's
            authors do if not given.
        round_to: Channel counts are multiples of this where the groups are wide enough.
        latency_table: What a budget in latency is predicted by; this machine's for single images if not given.
        grow: PreConfig, at initialisation: groups may have more channels than they have now, up to twice as many.
        data: Images, for methods that need them.
        recipe: How to train, for methods that do.
        seed: The random seed.
        recalibrate: On so many training images the batch-norm statistics of what came out are measured anew, where
            there are `data` and channels or blocks were removed.
        progress: Is told what is being done, how much of it is done, and how much there is; or whether to draw a bar
            in a terminal or notebook.

    Raises:
        InputError: The method cannot do that: nothing was changed.
    """
    how = How(
        budgets, to=to, scope=scope, stream=stream, round_to=round_to, grow=grow, seed=seed, latency_table=latency_table
    )
    targets, parent, dense = _targets(method, network, how)
    if ("data" in method.needs and data is None) or ("training" in method.needs and recipe is None):
        raise InputError(
            f"prune {method.name}: needs {', '.join(sorted(method.needs - {'weights'}))}: give a run folder whose data "
            "are at hand, or --recipe and --data-dir"
        )
    stream = how.stream_of(method)
    job = Job(method.name, network, model, targets, recipe, data, seed, shown(progress), stream=stream, grow=grow)
    method.check(job)
    return _outcomes(method, job, [tuple(own) for own in budgets] or [()], parent, dense, recalibrate)


def check_targets(
    method: Method,
    network: Network,
    budgets: Sequence[Sequence[Budget]] = (),
    *,
    to: Network | None = None,
    scope: str | None = None,
    stream: bool | None = None,
    round_to: int = 1,
    grow: bool = False,
    latency_table: LatencyTable | None = None,
) -> None:
    """Refuse what `prune` would refuse of these targets; neither weights nor images are needed for that."""
    how = How(budgets, to=to, scope=scope, stream=stream, round_to=round_to, grow=grow, latency_table=latency_table)
    targets, _, _ = _targets(method, network, how)
    if method.when == INITIALISATION:
        for target in targets:
            assert target.limits is not None
            search_space(network, target.limits, grow=grow)


def _targets(method: Method, network: Network, how: How) -> tuple[tuple[Target, ...], Costs, Costs]:
    """How far to prune, checked; and what the network and its architecture cost."""
    parent = macs_and_params(network)
    dense = macs_and_params(scale(network.arch, input_size=network.input_size, **network.kwargs))
    table = _latency_table(method, network, how)
    if method.when == INITIALISATION:
        _check_initialisation(method, how)
        found = [_limits(method, network, own, parent, dense, table, grow=how.grow) for own in how.budgets]
        return tuple(Target(network, limits=own, scope=method.scope) for own in found), parent, dense
    if how.grow:
        raise InputError(
            f"--preconfig: {method.name} acts on what there is; only methods at initialisation widen layers"
        )
    if (how.to is None) == (not how.budgets):
        raise InputError("prune: give budgets, such as --macs 50%, or the counts to prune to with --to; one of the two")
    scope = how.scope or method.scope
    if scope not in SCOPES:
        raise InputError(f"--scope {scope}: it is one of {', '.join(SCOPES)}{nearest(scope, SCOPES)}")
    check_round_to(how.round_to)
    channels = channels_of(network)
    movable = movable_groups(network, channels, stream=how.stream_of(method))
    if how.to is not None:
        return (Target(network, wanted=_wanted(network, channels, movable, how.to), scope=scope),), parent, dense
    limits = [_limits(method, network, own, parent, dense, table) for own in how.budgets]
    for own in limits:
        _check_smallest(method, own, channels, movable, how.round_to)
    _check_order(limits)
    return tuple(Target(network, limits=own, scope=scope, round_to=how.round_to) for own in limits), parent, dense


def _latency_table(method: Method, network: Network, how: How) -> LatencyTable | None:
    """The table that latency is predicted by, where a budget bounds it; what tables do not serve is refused."""
    if not how.bounds_latency:
        if how.latency_table is not None:
            raise InputError("--latency-table: is for --latency; give such a budget, or leave it out")
        return None
    if method.removes == "weights":
        raise InputError(f"--latency: {method.name} masks single weights, which are computed: no time is saved")
    if method.removes != "channels" or how.grow:
        what = "--preconfig" if how.grow else f"{method.name}, which removes {method.removes}"
        raise InputError(f"--latency: not with {what}: tables hold the layers of one depth, no wider than they are")
    return table_of(network, how.latency_table)


def _outcomes(
    method: Method, job: Job, budgets: Sequence[tuple[Budget, ...]], parent: Costs, dense: Costs, recalibrated: int
) -> Iterator[Outcome]:
    start = time.perf_counter()
    chooses = method.when != INITIALISATION
    for pruned, target, own in zip(method.run(job), job.targets, budgets, strict=True):
        cost = macs_and_params(pruned.network)
        if (
            pruned.masks is None
            and target.limits is not None
            and not target.limits.allow(target.limits.timed(cost, pruned.network.channels))
        ):
            raise RuntimeError(f"{method.name} went over its budget: {cost} against {target.limits.most}")
        again = recalibrated if recalibrates(method) and pruned.masks is None else 0
        seen = {} if pruned.model is None or job.data is None else recalibrate(pruned.model, job.data, again)
        yield Outcome(
            pruned=pruned,
            budgets=own,
            cost=cost,
            parent_cost=parent,
            dense_cost=dense,
            scope=target.scope,
            movable=job.movable if chooses else (),
            locked=job.channels.locked if chooses else {},
            images_at=dict(job.images_at),
            forward_at=dict(job.forward_at),
            recalibrated_at=dict(seen),
            updates=job.updates,
            seconds=time.perf_counter() - start,
        )


def recalibrates(method: Method) -> bool:
    """Whether what a method leaves behind has batch norms whose statistics are those of another network."""
    return method.when != INITIALISATION and method.removes != "weights"


def _check_initialisation(method: Method, how: How) -> None:
    """Refuse what only methods that choose among trained channels know, and growth by a method that can only remove."""
    if not how.budgets:
        raise InputError(f"prune {method.name}: give a budget, such as --macs 50% or --params 12M")
    given = {
        "--to": how.to is not None,
        "--scope": how.scope is not None,
        "--stream": how.stream_of(method) != method.stream,
        "--round-to": how.round_to != 1,
    }
    for flag in (flag for flag, is_given in given.items() if is_given):
        raise InputError(
            f"{flag}: {method.name} acts at initialisation and chooses the channel counts of all layers; leave it out"
        )
    if how.grow and not method.grows:
        raise InputError(f"--preconfig: {method.name} ranks the weights that there are; it cannot widen a layer")


def _limits(
    method: Method,
    network: Network,
    budgets: Sequence[Budget],
    parent: Costs,
    dense: Costs,
    table: LatencyTable | None,
    *,
    grow: bool = False,
) -> Limits:
    """The budgets as integers; those that are met already are refused."""
    if not budgets:
        raise InputError(f"prune {method.name}: give a budget, such as --macs 50% or --params 12M")
    limits = Limits(network.arch, budgets, dense, table=table)
    if limits.allow(limits.timed(parent, network.channels)) and not grow:
        texts = " ".join(f"--{budget.quantity} {budget.text}" for budget in budgets)
        hint = "; --preconfig lets layers grow" if method.grows else ""
        raise InputError(
            f"{texts}: the network costs no more already ({short(parent.macs)} MACs, {short(parent.params)} "
            f"parameters; {network.arch} dense: {short(dense.macs)}, {short(dense.params)}); give a smaller "
            f"budget{hint}"
        )
    return limits


def _check_smallest(method: Method, limits: Limits, channels: Channels, movable: Sequence[str], round_to: int) -> None:
    """Refuse budgets that nothing can meet."""
    smallest = cost_within(channels, smallest_counts(channels, movable, round_to), limits)
    if method.removes != "channels" or limits.allow(smallest):
        return
    unlocked = [group for group in channels.slices if group not in channels.locked]
    if len(movable) == len(unlocked):
        raise limits.refuse(smallest, "pruned network")
    error = limits.refuse(smallest, "pruned network that keeps its residual stream")
    reached = limits.allow(cost_within(channels, smallest_counts(channels, unlocked, round_to), limits))
    raise InputError(f"{error}; --stream {'prunes it too' if reached else 'would not reach it either'}")


def _check_order(limits: Sequence[Limits]) -> None:
    """What leaves for a loose budget is gone for a tighter one."""
    for looser, tighter in itertools.pairwise(limits):
        if looser.most.keys() != tighter.most.keys() or any(
            after > looser.most[quantity] for quantity, after in tighter.most.items()
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
