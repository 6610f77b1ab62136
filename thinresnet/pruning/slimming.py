"""Network slimming: batch-norm scales driven to zero by a penalty, then one threshold over all of them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import torch
from torch import Tensor, nn

from thinresnet.convert import setting
from thinresnet.errors import InputError
from thinresnet.networks.cutting import STAYS
from thinresnet.pruning.job import Job
from thinresnet.pruning.measures import norms_of
from thinresnet.pruning.method import TRAINING, Method, Published, finetuned
from thinresnet.pruning.selection import Scores

_RT = "code: Eric-mingjie/rethinking-network-pruning"


@dataclass(frozen=True)
class Slimming(Method):
    """Channels of least batch-norm scale leave, after training with a penalty on all scales.

    `sparsity` times the sign of every scale is added to its gradient in each update; then one ranking of |scale| over
    all layers decides, as far as the budget asks and never down to an empty layer (the paper's code can empty some).
    A channel with several batch norms (of a residual stream, of a depthwise convolution) has the mean of its scales.
    Torch-Pruning's default divides the scales of each layer by their mean first, which is another ranking; the paper
    prunes what pre-activation blocks read from the stream by gathers, which no dense network has: it stays.
    """

    name: ClassVar[str] = "slimming"
    paper: ClassVar[str] = (
        "Liu et al. 2017, Learning Efficient Convolutional Networks through Network Slimming, 1708.06519"
    )
    when: ClassVar[str] = TRAINING
    from_scratch: ClassVar[bool] = True
    at_scratch: ClassVar[Mapping[str, Any]] = {"start": 0.5}
    needs: ClassVar[frozenset[str]] = frozenset({"weights", "data", "gradients", "training"})
    scope: ClassVar[str] = "global"
    serves: ClassVar[str] = "networks with batch norm on all that may be cut"
    published: ClassVar[Mapping[str, Published]] = {
        "sparsity": Published(
            "VGG: 1e-4; PreResNet-164, DenseNet-40: 1e-5", _RT, "one default for all networks; --set sparsity=1e-5"
        ),
        "epochs": Published(
            "the whole training, from scratch", _RT, "the recipe that the study names decides", ours="the recipe's"
        ),
        "start": Published(
            0.5,
            _RT,
            "of a trained network they start where they are",
            ours="0.5 from scratch (sparse-train), else as they come",
        ),
        "scope": Published("global", _RT),
        "stream": Published(
            "read through a gather, never narrowed", _RT, "no dense network has gathers", ours="inside blocks"
        ),
        "fine-tuning": finetuned("CIFAR: 40 or 160 epochs, ImageNet: 5; lr 0.001", _RT),
    }

    sparsity: float = setting(1e-4, low=0, high=1)
    epochs: int | None = setting(
        None, "of training with the penalty; none: the recipe's, 0: the scales as they are", low=0, high=10**6
    )

    start: float | None = setting(None, "of the scales, before training; none: as they come", above=0, high=1)

    def check(self, job: Job) -> None:
        """Every channel that may go has a scale."""
        bare = np.flatnonzero(np.isnan(_scales(job)) & job.members())
        if len(bare):
            group = next(name for name, span in job.channels.slices.items() if span.start <= bare[0] < span.stop)
            raise InputError(
                f"prune {self.name}: {job.network.arch} has no batch norm on {group!r}, so nothing to rank by"
            )

    def train(self, job: Job) -> None:
        """Training with the subgradient of the penalty."""
        scales = [job.model.get_parameter(f"{name}.weight") for name in norms_of(job.model, job.channels)]
        if self.start is not None:
            with torch.no_grad():
                for scale in scales:
                    scale.fill_(self.start)
        if self.epochs == 0:
            return
        tuning = job.finetuning(epochs=self.epochs)
        for batches in tuning.batches():
            tuning.step(batches, lambda: _penalise(scales, self.sparsity))

    def scores(self, job: Job) -> Scores:
        """Absolute batch-norm scales."""
        return _scales(job)


def _penalise(scales: list[nn.Parameter], sparsity: float) -> None:
    for scale in scales:
        assert isinstance(scale.grad, Tensor)
        scale.grad.add_(torch.sign(scale.detach()), alpha=sparsity)


def _scales(job: Job) -> Scores:
    """The mean |scale| of each channel's batch norms; NaN where it has none."""
    sums, times = np.zeros(job.channels.total), np.zeros(job.channels.total)
    for name, places in norms_of(job.model, job.channels).items():
        found = places != STAYS
        values = job.model.get_parameter(f"{name}.weight").detach().abs().double().cpu().numpy()
        np.add.at(sums, places[found], values[found])
        np.add.at(times, places[found], 1)
    means: Scores = np.divide(sums, times, out=np.full(len(sums), np.nan), where=times > 0)
    return means
