"""FORCE and iterative SNIP: SNIP in rounds, with weights that may return and without."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import torch

from thinresnet.convert import setting
from thinresnet.pruning.initialisation.criterion import Criterion, Task
from thinresnet.pruning.initialisation.densities import LayerDensities, Mask, keep_highest
from thinresnet.pruning.initialisation.snip import loss_gradients, sensitivities
from thinresnet.pruning.method import Published

_CODE = "code: naver/force"


@dataclass(frozen=True)
class _InRounds(Criterion):
    """What the two share: all but whether a weight that was removed may return."""

    paper: ClassVar[str] = (
        "de Jorge et al. 2021, Progressive Skeletonization: Trimming more fat from a network at initialization"
    )
    needs: ClassVar[frozenset[str]] = frozenset({"weights", "data", "gradients"})
    ranks_weights: ClassVar[bool] = True
    published: ClassVar[Mapping[str, Published]] = {
        "rounds": Published(60, _CODE),
        "batches": Published(
            "CIFAR-10: 1, CIFAR-100: 10, ImageNet: 40", _CODE, "one default for all; --set batches=40"
        ),
        "budget": Published(
            "weights left", _CODE, "MACs or parameters of channels; masks by at-init-masks", ours="MACs or parameters"
        ),
    }

    returning: ClassVar[bool]

    rounds: int = setting(60, low=1, high=10**5)
    batches: int = setting(1, low=1, high=10**6)

    def find(self, task: Task) -> LayerDensities:
        """Rank all weights, or what is left of them, round by round."""
        return skeleton(task, self.rounds, self.batches, returning=self.returning)


@dataclass(frozen=True)
class Force(_InRounds):
    """SNIP in rounds: each ranks all weights anew by the gradient of the sparse network, so that removed ones return.

    The score is |weight as drawn times gradient of the network without those removed so far|; after round k of n the
    density is the final one to the power of k/n. Each round sees new batches of training images; the paper takes 1 a
    round for CIFAR-10, 10 for CIFAR-100 and 40 for ImageNet.
    """

    name: ClassVar[str] = "force"
    returning: ClassVar[bool] = True


@dataclass(frozen=True)
class IterativeSnip(_InRounds):
    """SNIP in rounds: each removes more of what is left, by the gradient of the sparse network; none returns.

    Densities and batches as in FORCE, of whose paper it is the other half.
    """

    name: ClassVar[str] = "iter-snip"
    returning: ClassVar[bool] = False


def skeleton(task: Task, rounds: int, batches: int, *, returning: bool) -> LayerDensities:
    """The rounds of both."""
    model, weights = task.scored()
    model.train()
    drawn = [weight.detach().clone() for weight in weights]
    masks: Sequence[Mask] = [np.ones(weight.numel(), dtype=bool) for weight in weights]
    images = task.batches()
    for round_ in range(1, rounds + 1):
        fresh = itertools.islice(images, batches)
        scores = sensitivities(drawn, loss_gradients(model, weights, fresh, seed=task.job.seed))
        if round_ == 1:
            task.checked(scores)
        if not returning:
            scores = [np.where(mask, own, -np.inf) for mask, own in zip(masks, scores, strict=True)]
        masks = keep_highest(scores, task.allowance.limits(round_ / rounds))
        with torch.no_grad():
            for weight, own, mask in zip(weights, drawn, masks, strict=True):
                weight.copy_(own * torch.from_numpy(mask).view(own.shape).to(own.device))
        task.job.progress("rounds", round_, rounds)
    return LayerDensities.of(masks)
