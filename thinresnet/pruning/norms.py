"""Criteria that look at one filter at a time: L1 norm, L2 norm, and none (random)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from thinresnet.pruning.job import Job
from thinresnet.pruning.measures import of_first_makers
from thinresnet.pruning.method import NOT_READ, Method, Published, finetuned
from thinresnet.pruning.selection import Scores

_RT = "code: Eric-mingjie/rethinking-network-pruning"


@dataclass(frozen=True)
class L1(Method):
    """Filters of least L1 norm leave, at once.

    The score of a channel is the sum of the absolute weights of the filter that makes it; inside blocks only, since
    that is where the paper prunes residual networks. The paper's own lists are presets (R56-A …, `--to`). Crowley et
    al.'s code calls a sum of signed weights L1: that is not done here.
    """

    name: ClassVar[str] = "l1"
    paper: ClassVar[str] = "Li et al. 2017, Pruning Filters for Efficient ConvNets, arXiv:1608.08710"
    published: ClassVar[Mapping[str, Published]] = {
        "scope": Published("layer", _RT),
        "share of each layer": Published(
            "by hand, stage by stage; some layers whole",
            _RT,
            "the same share of each layer meets any budget; --to R56-A and others are the paper's lists",
            ours="the same",
        ),
        "stream": Published("inside blocks", _RT, ours="inside blocks"),
        "fine-tuning": finetuned("CIFAR-10: 40 epochs, ImageNet: 20; lr 0.001", _RT),
    }

    def scores(self, job: Job) -> Scores:
        """Sums of absolute weights."""
        return of_first_makers(job.model, job.channels, lambda filters: filters.abs().sum(1))


@dataclass(frozen=True)
class L2(Method):
    """Filters of least L2 norm leave, at once.

    The one-shot form of what soft filter pruning repeats while it trains.
    """

    name: ClassVar[str] = "l2"
    paper: ClassVar[str] = "the norm of He et al. 2018, Soft Filter Pruning, arXiv:1808.06866, in one shot"
    published: ClassVar[Mapping[str, Published]] = {
        "scope": Published("layer", "code: Eric-mingjie/rethinking-network-pruning, SFP"),
        "schedule": Published(
            "every epoch of training",
            "code: Eric-mingjie/rethinking-network-pruning, SFP",
            "the method that repeats it is sfp",
            ours="once",
        ),
    }

    def scores(self, job: Job) -> Scores:
        """Euclidean lengths of filters."""
        return of_first_makers(job.model, job.channels, lambda filters: filters.norm(dim=1))


@dataclass(frozen=True)
class Random(Method):
    """Channels leave by lot, drawn from the seed: what a criterion has to beat."""

    name: ClassVar[str] = "random"
    paper: ClassVar[str] = "Mittal et al. 2018, Recovering from Random Pruning, arXiv:1801.10447"
    published: ClassVar[Mapping[str, Published]] = {
        "scope": Published(None, NOT_READ),
        "fine-tuning": Published(None, NOT_READ, ours="as the study says"),
    }

    def scores(self, job: Job) -> Scores:
        """Uniform random numbers."""
        return np.random.default_rng(job.seed).random(job.channels.total)
