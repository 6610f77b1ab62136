"""HRank: filters whose feature maps have the lowest rank, on average, leave."""

from __future__ import annotations

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

_CODE = "code: lmbxmu/HRank"


@dataclass(frozen=True)
class HRank(Method):
    """Channels whose feature maps have the lowest rank leave, the mean over some training images.

    The rank of a map, after norm and ReLU, is the number of its singular values above their largest times its longer
    side times the precision of float32: the matrix rank as libraries count it, and the authors' code.
    """

    name: ClassVar[str] = "hrank"
    paper: ClassVar[str] = "Lin et al. 2020, HRank: Filter Pruning using High-Rank Feature Map, arXiv:2002.10179"
    needs: ClassVar[frozenset[str]] = frozenset({"weights", "data"})
    published: ClassVar[Mapping[str, Published]] = {
        "images": Published(640, f"{_CODE}, rank_generation.py: 5 batches of 128"),
        "images are": Published("of the training set, augmented", _CODE, ours="of the training set, augmented"),
        "mode": Published("eval", _CODE, ours="eval"),
        "maps": Published("after ReLU", _CODE, ours="after ReLU"),
        "scope": Published("layer", _CODE),
        "share of each layer": Published(
            "by hand (--compress_rate)", f"{_CODE}, README", "the same share of each layer meets any budget",
            ours="the same",
        ),
        "stream": Published(
            "both convolutions of a block, by index", _CODE, "no dense network puts channels back; --stream prunes it",
        ),
        "schedule": Published(
            "layer by layer, 30 epochs after each", f"{_CODE}, README", "all layers at once, then one fine-tuning",
            ours="at once",
        ),
        "fine-tuning": finetuned("30 epochs after each layer: lr 0.01, a tenth at 5 and 10", f"{_CODE}, README"),
    }  # fmt: skip

    images: int = setting(640, low=1, high=10**7)

    def scores(self, job: Job) -> Scores:
        """Mean ranks of feature maps."""
        return mean_over_images(job, self.images, ranks)


def ranks(maps: Tensor) -> Tensor:
    """The rank of each map."""
    return torch.linalg.matrix_rank(maps)
