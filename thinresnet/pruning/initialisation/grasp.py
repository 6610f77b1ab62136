"""GraSP: weights without which the gradient keeps its strength go."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor, nn

from thinresnet.convert import setting
from thinresnet.pruning.initialisation.criterion import Criterion, Task
from thinresnet.pruning.initialisation.densities import LayerDensities, keep_highest
from thinresnet.pruning.method import Published

_CODE = "code: alecwangcq/GraSP"


@dataclass(frozen=True)
class Grasp(Criterion):
    """Weights with the highest -weight times (Hessian times gradient) go: those that hold the gradient flow back.

    Loss and gradients at logits divided by `temperature`, on so many images of each class, halves summed, with norms
    in training mode; sizes do not matter to the ranking but signs do: it is the highest that go.
    """

    name: ClassVar[str] = "grasp"
    paper: ClassVar[str] = "Wang et al. 2020, Picking Winning Tickets Before Training by Preserving Gradient Flow"
    needs: ClassVar[frozenset[str]] = frozenset({"weights", "data", "gradients"})
    ranks_weights: ClassVar[bool] = True
    published: ClassVar[Mapping[str, Published]] = {
        "per_class": Published(10, _CODE),
        "temperature": Published(200.0, _CODE),
        "linear layers": Published(
            "drawn anew (Xavier), an option", _CODE, "the weights that are to be trained", ours="as drawn"
        ),
        "budget": Published(
            "weights left", _CODE, "MACs or parameters of channels; masks by at-init-masks", ours="MACs or parameters"
        ),
    }

    per_class: int = setting(10, low=1, high=10**6)
    temperature: float = setting(200.0, low=1e-6, high=1e6)

    def find(self, task: Task) -> LayerDensities:
        """One ranking of all weights by weight times (Hessian times gradient): what the paper removes comes last."""
        model, weights = task.scored()
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(task.job.seed)
            products = self._hessian_times_gradient(task, model.train(), weights)
        scores = [
            (weight * product).detach().flatten().double().cpu().numpy()
            for weight, product in zip(weights, products, strict=True)
        ]
        return LayerDensities.of(keep_highest(task.checked(scores), task.allowance.limits()))

    def _hessian_times_gradient(self, task: Task, model: nn.Module, weights: Sequence[Tensor]) -> list[Tensor]:
        """The gradient of the whole is found first; then each chunk's own is differentiated along it."""
        gradients = [torch.zeros_like(weight) for weight in weights]
        for loss in self._losses(task, model):
            for total, gradient in zip(gradients, torch.autograd.grad(loss, weights), strict=True):
                total.add_(gradient)
        products = [torch.zeros_like(weight) for weight in weights]
        for loss in self._losses(task, model):
            own = torch.autograd.grad(loss, weights, create_graph=True)
            along = torch.stack([(one * whole).sum() for one, whole in zip(own, gradients, strict=True)]).sum()
            for total, product in zip(products, torch.autograd.grad(along, weights), strict=True):
                total.add_(product)
        return products

    def _losses(self, task: Task, model: nn.Module) -> Iterator[Tensor]:
        for images, targets in task.balanced(self.per_class):
            yield nn.functional.cross_entropy(model(images) / self.temperature, targets)
