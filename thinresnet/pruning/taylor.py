"""First-order Taylor criterion on activations."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import torch
from torch import Tensor, nn

from thinresnet.convert import setting
from thinresnet.pruning.gates import gated
from thinresnet.pruning.job import Job
from thinresnet.pruning.method import KNOWN, NOT_READ, Method, Published
from thinresnet.pruning.selection import Scores


@dataclass(frozen=True)
class Taylor(Method):
    """Channels whose removal changes the loss least, to first order, leave.

    The score is the mean over images of |activation times gradient, summed over the map|, divided by the Euclidean
    length of all scores of the group, as the paper does layer by layer (the mean over the map that the paper takes
    drops out there). Torch-Pruning's criterion of this name multiplies weights with their gradients: another one.
    """

    name: ClassVar[str] = "taylor"
    paper: ClassVar[str] = "Molchanov et al. 2017, Pruning CNNs for Resource Efficient Inference, arXiv:1611.06440"
    needs: ClassVar[frozenset[str]] = frozenset({"weights", "data", "gradients"})
    scope: ClassVar[str] = "global"
    published: ClassVar[Mapping[str, Published]] = {
        "images": Published(None, NOT_READ),
        "mode": Published(None, NOT_READ, ours="eval"),
        "scope": Published("global", KNOWN),
    }

    images: int = setting(256, low=1, high=10**7)

    def scores(self, job: Job) -> Scores:
        """Mean absolute first-order changes, normalised group by group."""
        sums = torch.zeros(job.channels.total, dtype=torch.float64)
        for derivatives in gate_derivatives(job, self.images):
            sums += derivatives.abs().sum(0).double().cpu()
        scores: Scores = (sums / self.images).numpy()
        for span in job.channels.slices.values():
            length = np.linalg.norm(scores[span])
            scores[span] /= length if length else 1.0
        return scores


def gate_derivatives(job: Job, images: int) -> Iterator[Tensor]:
    """For batches of training images: the derivative of each image's own loss in the gate of each channel.

    In evaluation mode: an image's loss must not depend on the others of its batch, and nothing may be left behind.
    """
    model = job.model.eval()
    with gated(model, job.channels) as gates:
        for image, target in job.batches(images):
            # The sum of the losses: every image's gradient is its own.
            nn.functional.cross_entropy(model(image).float(), target, reduction="sum").backward()
            model.zero_grad(set_to_none=True)
            yield gates.take()
