"""First-order Taylor criterion on activations."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import torch
from torch import Tensor, nn

from thinresnet.convert import setting
from thinresnet.networks.cutting import Kept
from thinresnet.pruning.gates import gated
from thinresnet.pruning.gradual import Gradually, MeanOverImages, Scoring, from_training
from thinresnet.pruning.job import Job
from thinresnet.pruning.method import KNOWN, NOT_READ, Method, Published
from thinresnet.pruning.selection import Scores

_MOLCHANOV = "Molchanov et al. 2017, Pruning CNNs for Resource Efficient Inference, arXiv:1611.06440"


@dataclass(frozen=True)
class Taylor(Gradually):
    """Channels whose removal changes the loss least, to first order, leave one at a time while training goes on.

    The score is the mean over the images since the last removal of |activation times gradient, summed over the map|,
    from the gradients of the training itself, divided by the Euclidean length of all scores of the group, as the paper
    does layer by layer (the mean over the map that the paper takes drops out there). Torch-Pruning's criterion of this
    name multiplies weights with their gradients: another one.
    """

    name: ClassVar[str] = "taylor"
    revision: ClassVar[int] = 2  # the first one pruned at once
    paper: ClassVar[str] = _MOLCHANOV
    published: ClassVar[Mapping[str, Published]] = {
        "updates": Published("10 to 1000; transfer to Birds-200: 30", KNOWN, "one of theirs"),
        "channels": Published(1, KNOWN),
        "lr": Published(1e-4, KNOWN),
        "cost": Published(
            "scores less 1e-3 times the FLOPs of the layer, an option", KNOWN, "a quotient, as Theis et al. have it"
        ),
        "mode": Published("train", KNOWN, ours="train"),
        "scope": Published("global", KNOWN),
        "stream": Published(None, NOT_READ),
    }

    updates: int = setting(30, "of the weights before every removal", low=1, high=10**6)
    lr: float = setting(1e-4, "the learning rate throughout", low=0, high=100)

    def scoring(self, job: Job) -> AbstractContextManager[Scoring]:
        """First-order estimates from the training's own gradients."""
        return from_training(job, torch.abs, lambda means, alive: of_unit_length(job, means, alive))


@dataclass(frozen=True)
class TaylorOneShot(Method):
    """Channels whose removal changes the trained network's loss least, to first order, leave at once.

    The score of `taylor` on so many images, in evaluation mode: an image's loss must not depend on the others of its
    batch. The paper removes gradually, which is `taylor`.
    """

    name: ClassVar[str] = "taylor-oneshot"
    paper: ClassVar[str] = f"the score of {_MOLCHANOV}, in one shot"
    needs: ClassVar[frozenset[str]] = frozenset({"weights", "data", "gradients"})
    scope: ClassVar[str] = "global"
    published: ClassVar[Mapping[str, Published]] = {
        "images": Published(None, NOT_READ),
        "mode": Published("train", KNOWN, "every image's loss is its own, and scores are the same again", ours="eval"),
        "schedule": Published("one channel after some updates", KNOWN, "that is the method taylor", ours="at once"),
        "scope": Published("global", KNOWN),
    }

    images: int = setting(256, low=1, high=10**7)

    def scores(self, job: Job) -> Scores:
        """Mean absolute first-order changes, normalised group by group."""
        mean = MeanOverImages(torch.abs)
        for derivatives in gate_derivatives(job, self.images):
            mean.add(derivatives)
        return of_unit_length(job, mean.take(), job.channels.full())


def of_unit_length(job: Job, scores: Scores, alive: Kept) -> Scores:
    """Scores divided by the Euclidean length of those of their group that are left."""
    for span in job.channels.slices.values():
        length = np.linalg.norm(scores[span][alive[span]])
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
