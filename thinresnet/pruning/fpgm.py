"""Filter pruning via geometric median."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from thinresnet.pruning.job import Job
from thinresnet.pruning.measures import of_first_makers
from thinresnet.pruning.method import Method, Published
from thinresnet.pruning.selection import Scores

_CODE = "code: he-y/filter-pruning-geometric-median"


@dataclass(frozen=True)
class FPGM(Method):
    """Filters nearest to the geometric median of their layer leave: those that the others can stand in for.

    The score is the sum of Euclidean distances from a filter to all others of its layer. Torch-Pruning's criterion of
    this name measures distances between the squares of weights, which loses their signs; here it is the weights.
    The paper's code can prune a share by norm first; that is a mixture of two criteria and left out.
    """

    name: ClassVar[str] = "fpgm"
    paper: ClassVar[str] = "He et al. 2019, Filter Pruning via Geometric Median, arXiv:1811.00250"
    published: ClassVar[Mapping[str, Published]] = {
        "scope": Published("layer", _CODE),
        "schedule": Published(
            "chosen again after each of 200 epochs, gradients masked",
            _CODE,
            "chosen once; the training that follows is the study's, on the small network",
            ours="once",
        ),
        "share by norm first": Published("an option", _CODE, "two criteria in one; left out", ours="none"),
        "stream": Published(
            "every convolution, by masks",
            _CODE,
            "channels leave whole here; the stream with --stream",
            ours="inside blocks",
        ),
    }

    def scores(self, job: Job) -> Scores:
        """Summed distances to the other filters."""
        return of_first_makers(job.model, job.channels, _distances)


def _distances(filters: Tensor) -> Tensor:
    # By the expansion of squares: in float64 it tells near filters apart, as float32 does not, and takes a tenth of the
    # time of differences.
    return torch.cdist(filters.double(), filters.double(), compute_mode="use_mm_for_euclid_dist").sum(1)
