"""CHIP: channels whose feature maps the others of their layer can stand in for leave."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from thinresnet.convert import setting
from thinresnet.pruning.job import Job
from thinresnet.pruning.maps import mean_over_images
from thinresnet.pruning.method import Method, Published, finetuned
from thinresnet.pruning.selection import Scores

_CODE = "code: Eclipsess/CHIP_NeurIPS2021"
_STEP, _LOWEST, _HIGHEST = 0.5, -25.0, 21.0  # of the logarithm of the integration variable: 8 digits and more
_TINY = 1e-100  # stands for 0 where one divides


@dataclass(frozen=True)
class CHIP(Method):
    """Channels of least independence leave: by how little their map adds to the nuclear norm of all maps of the layer.

    The maps of an image, after norm and ReLU, are the rows of a matrix; a channel's independence is what the sum of its
    singular values loses when the channel's row is set to zero, the mean over some training images. It is computed in
    closed form from one decomposition an image (`losses`), where the authors' code decomposes once for every channel.
    """

    name: ClassVar[str] = "chip"
    paper: ClassVar[str] = (
        "Sui et al. 2021, CHIP: CHannel Independence-based Pruning for Compact Neural Networks, arXiv:2110.13981"
    )
    needs: ClassVar[frozenset[str]] = frozenset({"weights", "data"})
    published: ClassVar[Mapping[str, Published]] = {
        "images": Published(640, f"{_CODE}, calculate_feature_maps.py: 5 batches of 128"),
        "images are": Published("of the training set, augmented", _CODE, ours="of the training set, augmented"),
        "mode": Published("eval", _CODE, ours="eval"),
        "maps": Published(
            "after ReLU, rounded to 4 decimals", f"{_CODE}, calculate_ci.py", "nothing is gained by rounding",
            ours="after ReLU",
        ),
        "scope": Published("layer", _CODE),
        "share of each layer": Published(
            "by hand (--sparsity)", f"{_CODE}, prune_finetune_cifar.py",
            "the same share of each layer meets any budget", ours="the same",
        ),
        "stream": Published(
            "both convolutions of a block, by index", _CODE, "no dense network puts channels back; --stream prunes it",
        ),
        "fine-tuning": finetuned(
            "CIFAR-10: 200 epochs or more, cosine from 0.01 after 5 of warm-up, batch 256, weight decay 0.005",
            f"{_CODE}, defaults of prune_finetune_cifar.py",
        ),
    }  # fmt: skip

    images: int = setting(640, low=1, high=10**7)

    def scores(self, job: Job) -> Scores:
        """Mean losses of nuclear norm."""
        return mean_over_images(job, self.images, lambda maps: losses(maps.flatten(2)))


def losses(rows: Tensor) -> Tensor:
    """What the nuclear norm of each matrix [image, row, entry] loses without each of its rows, [image, row].

    With A the matrix and a its row, removing the row changes det(A^T A + t) by the factor 1 - h(t) where
    h(t) = a (A^T A + t)^-1 a^T, and a matrix's nuclear norm is the integral over t > 0 of log det(1 + A^T A / t) /
    (2 pi sqrt(t)). So the loss is minus the integral over s > 0 of log(1 - h(s^2)) / pi, and one decomposition of A
    gives h for all rows. The integrand, over log s, is smooth and falls off on both sides: equal steps converge fast.
    """
    rows = rows.double()
    wide = rows.shape[1] <= rows.shape[2]
    gram = rows @ rows.mT if wide else rows.mT @ rows
    values, vectors = torch.linalg.eigh(gram)
    values = values.clamp(min=0)
    steps = torch.exp(torch.arange(_LOWEST, _HIGHEST, _STEP, dtype=rows.dtype, device=rows.device))
    points = steps * values[:, -1:].sqrt().clamp(min=_TINY)  # [image, point]
    shifted = values[:, :, None] + points.square()[:, None, :]  # [image, eigenvalue, point]
    parts = (vectors.square() * values[:, None, :]) if wide else (rows @ vectors).square()
    changes = parts @ (1 / shifted)  # h, exact where it is small
    logs = torch.log1p(-changes.clamp(max=1 - torch.finfo(rows.dtype).eps))
    if wide:  # all left singular vectors are there: 1 - h is a sum, exact where it is small
        rest = vectors.square() @ (points.square()[:, None, :] / shifted)
        logs = torch.where(changes < 0.5, logs, rest.clamp(min=_TINY).log())
    return -(logs * points[:, None, :]).sum(2) * (_STEP / math.pi)
