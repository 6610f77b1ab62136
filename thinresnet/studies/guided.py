"""Guided pruning: the mean kept share of each stage, put on the same or on another network or dataset.

Liu et al. (arXiv:1810.05270) take design rules from networks that Slimming pruned: VGG-16 on CIFAR-10 guides VGG-19 on
CIFAR-100. Their exact rule could not be read; the rule here is this project's own. A stage is all channels of one map
size (between poolings, in a VGG). Its share is the channels that the reference kept over those that there were, groups
inside blocks only where there are blocks; the mean over several references. Every group of the target's stage of the
same rank gets that share; under a budget, α times it, as where shapes are rescaled.
"""

from __future__ import annotations

from collections.abc import Sequence
from statistics import fmean
from typing import Any

from thinresnet.budget import Budget
from thinresnet.errors import InputError
from thinresnet.network import Network
from thinresnet.networks.blueprint import blueprint
from thinresnet.networks.describe import describe
from thinresnet.networks.scaling import check_round_to, rounded
from thinresnet.studies.rescaling import largest, within_blocks


def guided(
    references: Sequence[Network],
    arch: str,
    budgets: Sequence[Budget] = (),
    *,
    round_to: int = 1,
    input_size: tuple[int, int, int] | None = None,
    **kwargs: Any,
) -> Network:
    """The architecture with the references' shares stage by stage: as they are, or the largest within every budget."""
    check_round_to(round_to)
    target = describe(arch, input_size=input_size, **kwargs)
    of_target = _stages(target)
    found = [stage_shares(reference) for reference in references]
    for reference, shares in zip(references, found, strict=True):
        if len(shares) != len(of_target):
            raise InputError(
                f"guided: {reference.arch} at {reference.input_size} has {len(shares)} stages (map sizes), {arch} at "
                f"{target.input_size} has {len(of_target)}: only networks of as many stages guide one another"
            )
    means = [fmean(shares) for shares in zip(*found, strict=True)]
    of_groups = {name: mean for mean, stage in zip(means, of_target, strict=True) for name in stage}
    if budgets:
        return largest(target, of_groups, budgets, what="guided network", round_to=round_to)
    groups = blueprint(arch, target.kwargs, target.input_size).ties.groups
    counts = rounded({name: groups[name] for name in of_groups}, of_groups, round_to)
    return describe(arch, channels=counts, input_size=target.input_size, **target.kwargs)


def stage_shares(reference: Network) -> list[float]:
    """The kept share of each stage, the largest maps first."""
    groups = blueprint(reference.arch, reference.kwargs, reference.input_size).ties.groups
    return [
        sum(reference.channels[name] for name in stage) / sum(groups[name].width for name in stage)
        for stage in _stages(reference)
    ]


def _stages(network: Network) -> list[list[str]]:
    """The groups inside blocks (or all where there are none) by the map they are made on; the largest maps first."""
    ties = blueprint(network.arch, network.kwargs, network.input_size).ties
    stages: dict[int, list[str]] = {}
    for name in within_blocks(network):
        stages.setdefault(ties.layers[ties.groups[name].layers[0]].positions, []).append(name)
    return [stages[positions] for positions in sorted(stages, reverse=True)]
