"""SNIP: connections whose removal changes the loss most, to first order, stay."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor, nn

from thinresnet.convert import setting
from thinresnet.pruning.initialisation.criterion import Criterion, Task
from thinresnet.pruning.initialisation.densities import Figures, LayerDensities, keep_highest
from thinresnet.pruning.method import Published
from thinresnet.training.loop import Batch

_CODE = "code: mil-ad/snip"


@dataclass(frozen=True)
class Snip(Criterion):
    """Weights with the largest |weight times gradient of the loss| at initialisation stay, in one shot.

    The gradient is the mean over the first batches of training images, with norms in training mode. The paper divides
    the scores by their sum, which changes no ranking.
    """

    name: ClassVar[str] = "snip"
    paper: ClassVar[str] = "Lee et al. 2019, SNIP: Single-shot network pruning based on connection sensitivity"
    needs: ClassVar[frozenset[str]] = frozenset({"weights", "data", "gradients"})
    ranks_weights: ClassVar[bool] = True
    published: ClassVar[Mapping[str, Published]] = {
        "batches": Published(1, _CODE),
        "weights scored": Published(
            "a copy, drawn anew (Xavier)", _CODE, "the weights that are to be trained", ours="as drawn"
        ),
        "budget": Published(
            "weights left", _CODE, "MACs or parameters of channels; masks by at-init-masks", ours="MACs or parameters"
        ),
    }

    batches: int = setting(1, low=1, high=10**6)

    def find(self, task: Task) -> LayerDensities:
        """One ranking of all weights."""
        model, weights = task.scored()
        gradients = loss_gradients(
            model.train(), weights, itertools.islice(task.batches(), self.batches), seed=task.job.seed
        )
        scores = sensitivities(weights, gradients)
        return LayerDensities.of(keep_highest(task.checked(scores), task.allowance.limits()))


def loss_gradients(model: nn.Module, weights: Sequence[Tensor], batches: Iterable[Batch], *, seed: int) -> list[Tensor]:
    """The mean over batches of the gradient of the cross-entropy; what is drawn on the way follows the seed."""
    sums, number = [torch.zeros_like(weight) for weight in weights], 0
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        for images, targets in batches:
            number += 1
            loss = nn.functional.cross_entropy(model(images), targets)
            for total, gradient in zip(sums, torch.autograd.grad(loss, weights), strict=True):
                total.add_(gradient)
    return [total / number for total in sums]


def sensitivities(weights: Sequence[Tensor], gradients: Sequence[Tensor]) -> list[Figures]:
    """|weight times gradient|, layer by layer."""
    products = ((weight * gradient).detach().abs() for weight, gradient in zip(weights, gradients, strict=True))
    return [product.flatten().double().cpu().numpy() for product in products]
