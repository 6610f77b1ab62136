"""Group norm: all weights that leave with a channel, in all layers, count; with sparse training (DepGraph)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import torch
from torch import nn

from thinresnet.convert import setting
from thinresnet.networks.cutting import STAYS, Channels
from thinresnet.networks.ties import Role
from thinresnet.pruning.job import Job
from thinresnet.pruning.measures import roles_with_weights, squares
from thinresnet.pruning.method import NOT_READ, TRAINING, Method, Published
from thinresnet.pruning.selection import Scores

_CODE = "code: VainF/Torch-Pruning"


@dataclass(frozen=True)
class GroupNorm(Method):
    """Channels of least group norm leave: over every weight, in every layer, that is tied to the channel.

    Training with a penalty goes first: each update adds `sparsity` * 2^(alpha * (max - I) / (max - min)) times the
    weight to the gradient of every weight of a channel whose group norm is I, where max and min are those of its group:
    weak channels shrink most. The shares are renewed every epoch. The ranking is global, each norm divided by the mean
    of its group. The paper divides by the mean over the channels that are to stay; its library, and this, by all.
    """

    name: ClassVar[str] = "group-norm"
    paper: ClassVar[str] = "Fang et al. 2023, DepGraph: Towards Any Structural Pruning, arXiv:2301.12900"
    when: ClassVar[str] = TRAINING
    needs: ClassVar[frozenset[str]] = frozenset({"weights", "data", "gradients", "training"})
    scope: ClassVar[str] = "global"
    published: ClassVar[Mapping[str, Published]] = {
        "sparsity": Published("CIFAR: 5e-4, ImageNet: 1e-4", _CODE, "one default for both"),
        "alpha": Published(4.0, _CODE),
        "epochs": Published(None, NOT_READ),
        "scope": Published("global", _CODE),
        "stream": Published(True, _CODE),
        "norm": Published(
            "squares over their maximum (CIFAR) or mean",
            _CODE,
            "the definition of the library's defaults",
            ours="roots over their mean",
        ),
    }
    stream: ClassVar[bool] = True

    sparsity: float = setting(1e-4, low=0, high=1)
    alpha: float = setting(4.0, low=0, high=30)
    epochs: int | None = setting(
        None, "of training with the penalty; none: the recipe's, 0: the weights as they are", low=0, high=10**6
    )

    def train(self, job: Job) -> None:
        """Training with the penalty."""
        if self.epochs == 0:
            return
        tuning = job.finetuning(epochs=self.epochs)
        penalty = self._penalty(job)
        for batches in tuning.batches():
            tuning.step(batches, penalty.add)
            if tuning.ends_epoch:
                penalty = self._penalty(job)

    def scores(self, job: Job) -> Scores:
        """Group norms, relative to the mean of their group."""
        norms = np.sqrt(squares(job.model, job.channels))
        for span in job.channels.slices.values():
            mean = norms[span].mean()
            norms[span] /= mean if mean else 1.0
        return norms

    def _penalty(self, job: Job) -> Penalty:
        return Penalty(job, self.sparsity * strengths(job, self.alpha))


def strengths(job: Job, alpha: float) -> Scores:
    """2^(alpha * (max - I) / (max - min)) for the group norm I of each channel of the movable groups; 0 elsewhere."""
    norms = np.sqrt(squares(job.model, job.channels))
    found = np.zeros_like(norms)
    for group in job.movable:
        own = norms[job.channels.slices[group]]
        spread = own.max() - own.min()
        found[job.channels.slices[group]] = 2 ** (alpha * (own.max() - own) / (spread or 1.0))
    return found


class Penalty:
    """A share of every weight, by its channel, to be added to its gradient."""

    def __init__(self, job: Job, shares: Scores):
        padded = torch.from_numpy(np.append(shares, 0.0)).float().to(job.device)  # STAYS is -1: the entry behind all
        self._terms = [
            _spread(job.model, job.channels, role, padded[torch.from_numpy(job.channels.places[role]).to(job.device)])
            for role in roles_with_weights(job.model, job.channels)
            if (job.channels.places[role] != STAYS).any()
        ]

    @torch.no_grad()
    def add(self) -> None:
        """Add the penalty's gradient to the gradients."""
        for weight, factors in self._terms:
            if weight.grad is not None:
                weight.grad.addcmul_(weight, factors)


def _spread(
    model: nn.Module, channels: Channels, role: Role, shares: torch.Tensor
) -> tuple[nn.Parameter, torch.Tensor]:
    """The weight of a role, and the shares of its positions in a shape that multiplies it."""
    name, side = role
    if side == "vector":
        weight = model.get_parameter(name)
        return weight, shares.reshape(weight.shape)
    weight = model.get_submodule(name).weight
    if side == "out" or channels.ties.layers[name].kind == "depthwise":
        return weight, shares.reshape(-1, *[1] * (weight.dim() - 1))
    groups = channels.ties.layers[name].groups
    by_row = shares.view(groups, -1).repeat_interleave(len(weight) // groups, 0)
    return weight, by_row.reshape(*by_row.shape, *[1] * (weight.dim() - 2))
