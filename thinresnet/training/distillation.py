"""Distillation: a part of the loss is how far the network is from a trained teacher on the same images.

Soft labels after Hinton et al. (arXiv:1503.02531): teacher and network are softened by the same temperature T, and the
loss is (1 - alpha) * the recipe's own + alpha * T² * KL(teacher || network), the mean over the images. T² keeps the
gradients of the second part as large as they are at T = 1. The teacher sees what the network sees, mixed and erased as
it is, in the normalisation and at the size that the teacher was made for.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from thinresnet.identity import canonical_sha256
from thinresnet.network import Network
from thinresnet.networks.cost import count
from thinresnet.recipe import Recipe
from thinresnet.training.data.augment import Normalise


@dataclass(frozen=True, eq=False)
class Teacher:
    """A trained network that another one learns from, and what its images are normalised by."""

    name: str  # of the network: `resnet20_cifar dense`, `thinresnet20-w16`, `resnet50.a1_in1k`
    source: str  # where its weights are from: a run, a file, timm
    network: Network
    model: nn.Module
    mean: tuple[float, ...]
    std: tuple[float, ...]
    weights_sha256: str | None = None  # of the file of weights
    order: tuple[int, ...] | None = None  # its outputs in the order of the images' classes, where that is another one

    @cached_property
    def sha256(self) -> str:
        """What tells it from others, wherever its weights come from: network, weights, normalisation, order."""
        weights = hashlib.sha256()
        for name, value in sorted(self.model.state_dict().items()):
            # Through numpy, whose bytes do not depend on strides.
            weights.update(f"{name} {value.dtype} {tuple(value.shape)}\n".encode())
            weights.update(value.detach().cpu().contiguous().numpy().tobytes())
        known = {"network": self.network.sha256, "weights": weights.hexdigest(), "mean": self.mean, "std": self.std}
        return canonical_sha256({**known, "order": self.order})


class Distillation:
    """A teacher at work beside a network whose images are normalised by a recipe and are `side_px` large at the test.

    Where the teacher was made for images of another side, training images are resized in that proportion, so that a
    recipe with smaller training images stays one.
    """

    def __init__(self, teacher: Teacher, recipe: Recipe, side_px: int, device: torch.device) -> None:
        self.teacher, self.temperature = teacher, recipe.distill_temperature
        self.weights = loss_weights(recipe)
        given = recipe.task_loss_weight is not None or recipe.distill_loss_weight is not None
        self.alpha = self.weights[1] / sum(self.weights) if given else recipe.distill_alpha
        layout = torch.channels_last if recipe.channels_last else torch.preserve_format
        self._model = teacher.model.to(device, memory_format=layout).eval().requires_grad_(False)
        self._zoom = teacher.network.input_size[1] / side_px
        own = Normalise.of(recipe)
        self._same = (own.mean, own.std) == (teacher.mean, teacher.std)
        mean, std = (torch.tensor(values, dtype=torch.float64) for values in (own.mean, own.std))
        its_mean, its_std = (torch.tensor(values, dtype=torch.float64) for values in (teacher.mean, teacher.std))
        self._scale = (std / its_std).float().to(device)[:, None, None]
        self._shift = ((mean - its_mean) / its_std).float().to(device)[:, None, None]

    @torch.no_grad()
    def logits(self, images: Tensor) -> Tensor:
        """What the teacher says of training images as the network gets them."""
        if not self._same:
            images = torch.addcmul(self._shift, images, self._scale)
        if (side := self._side(images.shape[-1])) != images.shape[-1]:
            images = functional.interpolate(images, size=(side, side), mode="bilinear", antialias=True)
        found: Tensor = self._model(images)
        return found if self.teacher.order is None else found[:, list(self.teacher.order)]

    def loss(self, task: Tensor, output: Tensor, logits: Tensor) -> Tensor:
        """The loss of the recipe and that against the teacher, weighted."""
        of_task, of_teacher = self.weights
        return of_task * task + of_teacher * soft_loss(output, logits, self.temperature)

    def forward_macs(self, images_at: Mapping[int, int]) -> int:
        """MACs of the teacher's passes over so many images by their side in pixels, as the network gets them."""
        colours = self.teacher.network.input_size[0]
        sides = {side: self._side(side) for side in images_at}
        return sum(
            images * count(self.teacher.network, (colours, sides[side], sides[side])).macs
            for side, images in images_at.items()
        )

    def to_json(self, images_at: Mapping[int, int]) -> dict[str, Any]:
        """What a result says of it."""
        return {
            "name": self.teacher.name,
            "source": self.teacher.source,
            "sha256": self.teacher.sha256,
            "weights_sha256": self.teacher.weights_sha256,
            "alpha": self.alpha,
            "temperature": self.temperature,
            "forward_macs": self.forward_macs(images_at),
        }

    def _side(self, side_px: int) -> int:
        return max(1, round(side_px * self._zoom))


def loss_weights(recipe: Recipe) -> tuple[float, float]:
    """Weights of the recipe's loss and the teacher's: by alpha, or by timm's two weights, one of which may be left out.

    As timm has it, the weight of the task alone leaves the rest of 1 to the teacher; the teacher's alone makes the
    other 1.
    """
    task, teacher = recipe.task_loss_weight, recipe.distill_loss_weight
    if teacher is not None:
        return (1.0 if task is None else task), teacher
    alpha = recipe.distill_alpha if task is None else 1 - task
    return 1 - alpha, alpha


def soft_loss(output: Tensor, logits: Tensor, temperature: float) -> Tensor:
    """T² times the divergence of the network's softened probabilities from the teacher's, the mean over images."""
    ours, theirs = (functional.log_softmax(values.float() / temperature, dim=1) for values in (output, logits))
    return temperature**2 * functional.kl_div(ours, theirs, reduction="batchmean", log_target=True)
