"""SynFlow: weights that carry little of the sum over all paths go, a little at a time."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import torch
from torch import Tensor, nn

from thinresnet.convert import setting
from thinresnet.errors import InputError
from thinresnet.networks.ties import NORMS
from thinresnet.pruning.initialisation.criterion import Criterion, Task
from thinresnet.pruning.initialisation.densities import Figures, LayerDensities, Mask, keep_highest
from thinresnet.pruning.initialisation.snip import sensitivities
from thinresnet.pruning.method import Published

_CODE = "code: ganguli-lab/Synaptic-Flow"


@dataclass(frozen=True)
class Synflow(Criterion):
    """Weights with the least |weight times gradient of the summed output| go, over many rounds; reads no images.

    The network is scored with absolute values of its weights and of the state of its norms, in evaluation mode and
    double precision, on one image of ones; after round k of n the density is the final one to the power of k/n. What a
    layer's weights score in sum is the same for each layer of a chain, so that none of them is emptied; a shortcut
    beside a block that carries far more may be. That holds for ReLU and batch norm: other activations are read as ReLU,
    gates (of squeeze-and-excitation) as open, so that a layer which only feeds a gate scores nothing and stays dense;
    other norms are refused.
    """

    name: ClassVar[str] = "synflow"
    paper: ClassVar[str] = "Tanaka et al. 2020, Pruning neural networks without any data, arXiv:2006.05467"
    needs: ClassVar[frozenset[str]] = frozenset({"weights", "gradients"})
    ranks_weights: ClassVar[bool] = True
    published: ClassVar[Mapping[str, Published]] = {
        "rounds": Published(100, _CODE),
        "mode": Published("eval", _CODE, ours="eval"),
        "budget": Published(
            "weights left", _CODE, "MACs or parameters of channels; masks by at-init-masks", ours="MACs or parameters"
        ),
    }

    rounds: int = setting(100, low=1, high=10**5)

    def find(self, task: Task) -> LayerDensities:
        """Rank what is left, round by round."""
        model, weights = task.scored()
        _check_norms(model, task.job.network.arch)
        _read_as_relu(model.double())
        with torch.no_grad():
            for tensor in model.state_dict().values():
                tensor.abs_()
        scores = task.checked(flow(model, weights, task.job.network.input_size), silent=True)
        closed = [not own.any() for own in scores]
        task.notes["layers_left_dense"] = list(itertools.compress(task.allowance.layers.names, closed))
        masks: Sequence[Mask] = [np.ones(weight.numel(), dtype=bool) for weight in weights]
        for round_ in range(1, self.rounds + 1):
            if round_ > 1:
                scores = flow(model, weights, task.job.network.input_size)
            open_ = [np.full_like(own, np.inf) if shut else own for own, shut in zip(scores, closed, strict=True)]
            left = [np.where(mask, own, -np.inf) for mask, own in zip(masks, open_, strict=True)]
            masks = keep_highest(left, task.allowance.limits(round_ / self.rounds))
            with torch.no_grad():
                for weight, mask in zip(weights, masks, strict=True):
                    weight.mul_(torch.from_numpy(mask).view(weight.shape).to(weight.device))
            task.job.progress("rounds", round_, self.rounds)
        return LayerDensities.of(masks)


def flow(model: nn.Module, weights: Sequence[Tensor], input_size: tuple[int, int, int]) -> list[Figures]:
    """The scores of a model whose weights have no signs."""
    ones = torch.ones(1, *input_size, dtype=weights[0].dtype, device=weights[0].device)
    gradients = torch.autograd.grad(model(ones).sum(), weights, allow_unused=True, materialize_grads=True)
    return sensitivities(weights, gradients)


class _Open(nn.Module):
    """A gate that lets everything through."""

    def forward(self, x: Tensor) -> Tensor:
        return torch.ones_like(x)


def _read_as_relu(model: nn.Module) -> None:
    """Gates open, all other activations ReLU. timm has classes of its own of each; their names tell."""
    for parent in list(model.modules()):
        for name, module in parent.named_children():
            if "sigmoid" in type(module).__name__.lower():
                setattr(parent, name, _Open())
            elif _is_activation(module):
                setattr(parent, name, nn.ReLU())


def _is_activation(module: nn.Module) -> bool:
    home = type(module).__module__
    return home.startswith(("torch.nn.modules.activation", "timm.layers.activations")) and not isinstance(
        module, (nn.Softmax, nn.MultiheadAttention)
    )


def _check_norms(model: nn.Module, arch: str) -> None:
    for name, module in model.named_modules():
        if isinstance(module, NORMS) and not isinstance(module, nn.modules.batchnorm._BatchNorm):
            raise InputError(
                f"prune synflow: {name} of {arch} is a {type(module).__name__}; SynFlow needs norms that are fixed in "
                "evaluation mode (batch norms)"
            )
