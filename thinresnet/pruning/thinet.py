"""ThiNet: channels leave whose joint share of the next layer's responses is least; the rest is scaled to make up."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import torch
from torch import Tensor

from thinresnet.convert import setting
from thinresnet.networks.cutting import STAYS, Kept
from thinresnet.pruning.job import Job
from thinresnet.pruning.method import NOT_READ, Published
from thinresnet.pruning.reconstruction import Lane, Reading, Reconstruction
from thinresnet.training.loop import Batch

Matrix = np.ndarray[Any, np.dtype[np.float64]]

_CODE = "code: Roll920/ThiNet_Code"

_CHUNK = 2**12  # samples that are multiplied with weights at a time


@dataclass(frozen=True)
class ThiNet(Reconstruction):
    """Channels that the next layer's responses miss least, together, leave; least squares then scale the others.

    Sampled are `locations` entries (place and output channel) an image of the layer that reads the channels; each entry
    is a sum of shares, one a channel. The set that leaves grows greedily, always by the channel with which the squares
    of its summed shares are least; then least squares find a factor for each channel that stays (of several solutions
    the one nearest to 1), which is multiplied into the reading layer's kernels. Layers go one after another, each on
    the network as it is by then. With `epochs` the network is fine-tuned after each layer, as the paper does; by
    default it is not, so that a budget costs seconds and all fine-tuning is that of a study. The authors' later
    version, which adds channels where this removes them, is another method.

    The sample is that of the paper: `per_class` images of each class, unless `images` says how many in all. How many
    channels stay is the same fraction of each layer. A channel with several readers is chosen by the first, and every
    one of them is scaled. Several budgets start each from the weights as they were.
    """

    name: ClassVar[str] = "thinet"
    paper: ClassVar[str] = "Luo et al. 2017, ThiNet: A Filter Level Pruning Method, arXiv:1707.06342"
    published: ClassVar[Mapping[str, Published]] = {
        "per_class": Published(10, _CODE),
        "images": Published("10 a class", _CODE, "that is `per_class`; none in all unless --set images"),
        "locations": Published(10, _CODE),
        "mode": Published(None, NOT_READ, ours="eval"),
        "scope": Published("layer", _CODE),
        "stream": Published("inside blocks", _CODE, ours="inside blocks"),
        "epochs": Published(
            "10k to 120k updates after each layer", _CODE, "a study fine-tunes as long in the end; --set epochs"
        ),
        "lr": Published(0.001, _CODE),
    }

    per_class: int = setting(10, "images of each class, where `images` is none", low=1, high=10**6)
    images: int | None = setting(None, "in all; none: `per_class` of each class", low=4, high=10**7)
    epochs: int = setting(0, "of fine-tuning after each layer", low=0, high=10**4)
    lr: float = setting(0.001, "of the fine-tuning after each layer", low=0, high=100)

    def sample(self, job: Job) -> Iterator[Batch]:
        """So many images in all, or of each class the first of the epoch."""
        return job.batches(self.images) if self.images is not None else job.batches_per_class(self.per_class)

    def recover(self, job: Job) -> None:
        """Fine-tune, if so asked."""
        if self.epochs:
            assert job.recipe is not None, "data come with a recipe"
            per_epoch = -(-job.opened().train.steps_per_epoch // job.recipe.grad_accum_steps)
            tuning = job.finetuning(updates=self.epochs * per_epoch, lr=self.lr, quiet=True)
            for batches in tuning.batches():
                tuning.step(batches)

    def rebuild(self, reading: Reading, lanes: Sequence[Lane], kept: Kept) -> Tensor:
        """Choose greedily, and scale."""
        numbers, columns = np.unique(reading.places, return_inverse=True)
        shares = _by_channel(self._shares(reading), columns, len(numbers))
        gone = np.where(numbers == STAYS, False, ~kept[numbers])
        own = [Lane(np.flatnonzero(np.isin(numbers, lane.members)), lane.leave) for lane in lanes]
        gone |= greedy(shares.T @ shares, gone, own)
        kept[numbers[gone]] = False
        fixed = numbers == STAYS
        factors = np.ones(len(numbers))
        factors[~gone & ~fixed] = scales(shares[:, ~gone & ~fixed], shares[:, gone].sum(1))
        return reading.weights * torch.from_numpy(factors[columns]).to(reading.weights)[:, None]

    def _shares(self, reading: Reading) -> Matrix:
        """What each input adds to each of the sampled entries, [entry, input]."""
        shares = []
        for _ in range(reading.repeats):  # more outputs of a place where places are few
            outputs = torch.randint(len(reading.weights), (len(reading.patches),), generator=reading.generator)
            for patches, chosen in zip(reading.patches.split(_CHUNK), outputs.split(_CHUNK), strict=True):
                weights = reading.weights[chosen.to(reading.weights.device)]
                shares.append((patches * weights).sum(2).double().cpu())
        entries: Matrix = torch.cat(shares).numpy()
        return entries


def greedy(gram: Matrix, gone: Kept, lanes: Sequence[Lane]) -> Kept:
    """The channels to remove beside those that are gone, so many of each lane.

    `gram` holds the products of the channels' shares: the squared length of the summed shares of a set is the sum of
    its block. One after another that channel joins which leaves this sum least.
    """
    owner, left = np.full(len(gram), len(lanes)), np.array([*(lane.leave for lane in lanes), 0])
    for index, lane in enumerate(lanes):
        owner[lane.members] = index
    chosen, with_gone = np.zeros(len(gram), dtype=bool), gram @ gone
    while left.any():
        growth = gram.diagonal() + 2 * with_gone
        channel = int(np.where((left[owner] > 0) & ~chosen, growth, np.inf).argmin())
        chosen[channel] = True
        with_gone = with_gone + gram[channel]
        left[owner[channel]] -= 1
    return chosen


def scales(shares: Matrix, missing: Matrix) -> Matrix:
    """The factors on the shares that are left which make up best for what is missing; of many, the nearest to 1."""
    change: Matrix = np.asarray(np.linalg.lstsq(shares, missing, rcond=None)[0], dtype=np.float64)
    return 1 + change


def _by_channel(shares: Matrix, columns: np.ndarray[Any, Any], count: int) -> Matrix:
    """Shares of inputs summed over those where the same channel stands."""
    if count == len(columns):
        return shares[:, np.argsort(columns)]
    sums = np.zeros((len(shares), count))
    np.add.at(sums.T, columns, shares.T)
    return sums
