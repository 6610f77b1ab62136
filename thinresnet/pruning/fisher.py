"""Fisher pruning: channels whose removal raises the loss least, to second order."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor

from thinresnet.convert import setting
from thinresnet.pruning.gradual import COSTS, CP, Gradually, MeanOverImages, Scoring, from_training, saved
from thinresnet.pruning.job import Job
from thinresnet.pruning.method import KNOWN, NOT_READ, Method, Published, finetuned
from thinresnet.pruning.selection import Scores
from thinresnet.pruning.taylor import gate_derivatives

_THEIS = "Theis et al. 2018, Faster gaze prediction with dense networks and Fisher pruning, arXiv:1801.05787"


@dataclass(frozen=True)
class Fisher(Gradually):
    """Channels whose removal raises the loss least, by Fisher information, leave one at a time while training goes on.

    The score is 1/2N times the sum over the images since the last removal of (activation times gradient, summed over
    the map) squared, from the gradients of the training itself; with `cost` it is divided by the MACs or parameters
    that removing the channel saves, as Theis et al. do and Crowley et al.'s code does not. The settings are Crowley et
    al.'s for wide ResNets; momentum, weight decay and batch are the recipe's. A block that would lose its last channel
    keeps it (their code may empty one). Torch-Pruning's Hessian criterion sums the squares of weights times gradients:
    another definition.
    """

    name: ClassVar[str] = "fisher"
    formerly: ClassVar[tuple[str, ...]] = ("fisher-tune",)
    revision: ClassVar[int] = 2  # the first one pruned at once
    paper: ClassVar[str] = f"{_THEIS}; Crowley et al. 2018, A Closer Look at Structured Pruning, arXiv:1810.04622"
    published: ClassVar[Mapping[str, Published]] = {
        "updates": Published(100, CP),
        "channels": Published(1, CP),
        "lr": Published(8e-4, CP),
        "cost": Published("none", f"{CP}; a cost term in Theis et al. by general knowledge"),
        "mode": Published("train", CP, ours="train"),
        "scope": Published("global", CP),
        "stream": Published(False, CP),
        "momentum, weight decay, batch": Published(
            "0.9, 5e-4, 128", CP, "those of the recipe that the study names; cifar-classic-200 has theirs",
            ours="the recipe's",
        ),
        "last channel of a block": Published(
            "may leave, which empties the block", CP, "no width is 0: depth is another method's (sss)", ours="stays"
        ),
    }  # fmt: skip

    def scoring(self, job: Job) -> AbstractContextManager[Scoring]:
        """Second-order estimates from the training's own gradients."""
        return from_training(job, half_squares, lambda means, alive: means)


@dataclass(frozen=True)
class FisherOneShot(Method):
    """Channels whose removal raises the loss least, by Fisher information of the trained network, leave at once.

    The score of `fisher` on so many images, in evaluation mode: an image's loss must not depend on the others of its
    batch. The papers remove gradually, which is `fisher`.
    """

    name: ClassVar[str] = "fisher-oneshot"
    paper: ClassVar[str] = f"the score of {_THEIS}, in one shot"
    needs: ClassVar[frozenset[str]] = frozenset({"weights", "data", "gradients"})
    scope: ClassVar[str] = "global"
    published: ClassVar[Mapping[str, Published]] = {
        "images": Published(None, NOT_READ),
        "cost": Published(
            "the MACs that a channel saves", KNOWN, "as Crowley et al.'s code; --set cost=macs for Theis et al."
        ),
        "mode": Published("train", CP, "every image's loss is its own, and scores are the same again", ours="eval"),
        "schedule": Published("one channel after every 100 updates", CP, "that is the method fisher", ours="at once"),
        "scope": Published("global", CP),
        "fine-tuning": finetuned("between removals only", CP),
    }

    images: int = setting(256, low=1, high=10**7)
    cost: str = setting("none", "what a score is divided by: what removing the channel saves", choices=COSTS)

    def scores(self, job: Job) -> Scores:
        """The second-order estimates, for the cost that goes where so asked."""
        mean = MeanOverImages(half_squares)
        for derivatives in gate_derivatives(job, self.images):
            mean.add(derivatives)
        scores: Scores = mean.take() / saved(job, job.channels.full(), self.cost)
        return scores


def half_squares(derivatives: Tensor) -> Tensor:
    """What removing each channel adds to each image's loss, to second order."""
    return derivatives.square() / 2
