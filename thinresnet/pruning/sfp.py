"""Soft filter pruning: the weakest filters are set to zero while training goes on, and may come back."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import nn

from thinresnet.convert import setting
from thinresnet.networks.cutting import STAYS, Channels, Kept
from thinresnet.pruning.job import Job, Pruned
from thinresnet.pruning.measures import makers, of_first_makers
from thinresnet.pruning.method import TRAINING, Method, Published, not_finetuned
from thinresnet.pruning.selection import Scores, Target

_CODE = "code: he-y/soft-filter-pruning"
_RT = "code: Eric-mingjie/rethinking-network-pruning"


@dataclass(frozen=True)
class SoftFilterPruning(Method):
    """Filters of least L2 norm are zeroed after every epoch of training and may regrow; those of the last epoch leave.

    The same fraction of every layer is zeroed, as much as the budget asks for; gradients are not masked. The paper
    zeroes filters of every convolution and puts constants where removed ones had been (batch norm makes them of
    zeros), so that its small network has gathers; here channels leave whole, with their constants, and the residual
    stream stays unless asked for. Behind ReLU a zeroed filter regrows where batch norm's shift is positive. Each budget
    is trained towards from the start.
    """

    name: ClassVar[str] = "sfp"
    paper: ClassVar[str] = (
        "He et al. 2018, Soft Filter Pruning for Accelerating Deep Convolutional Neural Networks, arXiv:1808.06866"
    )
    when: ClassVar[str] = TRAINING
    from_scratch: ClassVar[bool] = True
    finetunes: ClassVar[bool] = False
    anew: ClassVar[bool] = True
    needs: ClassVar[frozenset[str]] = frozenset({"weights", "data", "gradients", "training"})
    published: ClassVar[Mapping[str, Published]] = {
        "epochs": Published(
            "200, from scratch or a trained network",
            _RT,
            "the recipe that the study names decides",
            ours="the recipe's",
        ),
        "schedule": Published("every epoch", _RT, ours="every epoch"),
        "scope": Published("layer", _RT),
        "stream": Published(
            "zeroed too; put back by index",
            _RT,
            "no dense network puts channels back; the stream with --stream",
            ours="inside blocks",
        ),
        "fine-tuning": not_finetuned(_CODE),
    }

    epochs: int | None = setting(None, "of training; none: the recipe's", low=1, high=10**6)

    def scores(self, job: Job) -> Scores:
        """Euclidean lengths of filters."""
        return of_first_makers(job.model, job.channels, lambda filters: filters.norm(dim=1))

    def run(self, job: Job) -> Iterator[Pruned]:
        """Train, zero after every epoch, and cut what was zeroed last."""
        for target in job.one_by_one():
            kept = job.channels.full()
            tuning = job.finetuning(epochs=self.epochs)
            for batches in tuning.batches():
                tuning.step(batches)
                if tuning.ends_epoch:
                    kept = self._soften(job, target)
            yield job.cut(kept)

    def _soften(self, job: Job, target: Target) -> Kept:
        kept = target.select(job.channels, job.movable, job.checked(self.scores(job)))
        zero_filters(job.model, job.channels, kept)
        return kept


@torch.no_grad()
def zero_filters(model: nn.Module, channels: Channels, kept: Kept) -> None:
    """Set the filters that make channels which are not kept to zero."""
    for role in makers(channels):
        places = channels.places[role]
        rows = torch.from_numpy((places != STAYS) & ~kept[places])
        weight = model.get_submodule(role[0]).weight
        weight[rows.to(weight.device)] = 0
