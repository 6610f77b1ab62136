"""Which images make up a step, and with which random numbers: a pure function of (seed, epoch, step).

Nothing here has a state, so a run resumes at any step by asking for that step. A position is the place of an image in
the epoch's sequence, counted over all processes; process p of P takes positions p, p + P, p + 2P … of a step, so the
union over processes does not depend on their number. The order is drawn from a generator seeded by (seed, epoch); what
is drawn for an image comes from a counter-based generator (Philox) that is keyed by the same and counts from the
image's position, so that a process draws for its own images only. No global random state is read or touched.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from thinresnet.errors import InputError

# The revision of what is drawn: a run that began with another one cannot be resumed, its other half would be another
# run's. Checkpoints have it; runs that are complete stay what they are.
DATA_ORDER = 2
_ORDER, _BATCH, _SAMPLE = range(3)
# Philox4x32-10: Salmon et al. 2011, Parallel random numbers: as easy as 1, 2, 3.
_ROUNDS, _WORDS = 10, 4
_FACTORS = np.uint64(0xD2511F53), np.uint64(0xCD9E8D57)
_KEY_STEPS = 0x9E3779B9, 0xBB67AE85
_LOW, _SHIFT = np.uint64(0xFFFFFFFF), np.uint64(32)


def mixed_seed(*parts: int) -> int:
    """One seed of 63 bits out of several integers, the same on every machine."""
    text = ",".join(str(part) for part in parts)
    return int.from_bytes(hashlib.blake2b(text.encode(), digest_size=8).digest(), "little") >> 1


def philox(key: int, counters: NDArray[np.uint64], blocks: range) -> NDArray[np.uint64]:
    """Words of 32 bits (N, 4 * blocks): for each of N counters of 64 bits, those of some blocks of its sequence."""
    shape = (len(counters), len(blocks))
    one = np.broadcast_to(np.arange(blocks.start, blocks.stop, dtype=np.uint64), shape)
    two, three = (np.broadcast_to(part[:, None], shape) for part in (counters & _LOW, counters >> _SHIFT))
    four = np.zeros(shape, np.uint64)
    keys = [key & 0xFFFFFFFF, key >> 32 & 0xFFFFFFFF]
    for _ in range(_ROUNDS):
        left, right = _FACTORS[0] * one, _FACTORS[1] * three
        one, two = (right >> _SHIFT) ^ two ^ np.uint64(keys[0]), right & _LOW
        three, four = (left >> _SHIFT) ^ four ^ np.uint64(keys[1]), left & _LOW
        keys = [(part + step) & 0xFFFFFFFF for part, step in zip(keys, _KEY_STEPS, strict=True)]
    return np.stack([one, two, three, four], 2).reshape(len(counters), -1)


class Draws:
    """Random numbers for some images, on the host: each image has a sequence of its own, which is read on and on."""

    def __init__(self, key: int, counters: Tensor) -> None:
        self._key, self._counters = key, counters.numpy().astype(np.uint64)
        self._blocks = 0

    @property
    def count(self) -> int:
        """Images."""
        return len(self._counters)

    def uniform(self, columns: int) -> Tensor:
        """So many even draws in [0, 1) for each image (N, columns)."""
        blocks = range(self._blocks, self._blocks + -(-columns // _WORDS))
        self._blocks = blocks.stop
        words = philox(self._key, self._counters, blocks)[:, :columns]
        return torch.from_numpy((words >> np.uint64(8)).astype(np.float32) * np.float32(2**-24))

    def integers(self, high: int, columns: int) -> Tensor:
        """So many even draws of 0 to high - 1 for each image (N, columns)."""
        return (self.uniform(columns) * high).long()

    def normal(self) -> Tensor:
        """A standard normal draw for each image (N), by Box and Muller."""
        radius, angle = self.uniform(2).double().unbind(1)
        return (torch.sqrt(-2 * torch.log1p(-radius)) * torch.cos(2 * torch.pi * angle)).float()


@dataclass(frozen=True)
class Plan:
    """The steps of an epoch over `count` images, each image `repeats` times in a row (repeated augmentation).

    Where images are prepared for several steps at once (`together`), a number of a step here is that of such a group.
    """

    count: int
    batch_size: int
    seed: int
    process_index: int = 0
    process_count: int = 1
    repeats: float = 1.0
    together: int = 1

    def __post_init__(self) -> None:
        if self.count < self.global_batch:
            raise InputError(
                f"{self.count} training images make no batch of {self.global_batch} "
                f"(batch_size {self.batch_size} x {self.process_count} processes); use a smaller --batch-size"
            )

    @property
    def global_batch(self) -> int:
        """Images a step, over all processes."""
        return self.batch_size * self.process_count

    @property
    def steps_per_epoch(self) -> int:
        """Whole steps an epoch; the images that are left over differ from epoch to epoch."""
        return self.count // self.global_batch

    def order(self, epoch: int) -> Tensor:
        """The images of an epoch by position, before sharding."""
        generator = torch.Generator().manual_seed(mixed_seed(self.seed, _ORDER, epoch))
        order = torch.randperm(self.count, generator=generator)
        if self.repeats <= 1:
            return order
        return order[(torch.arange(self.count) / self.repeats).long()]

    @property
    def groups(self) -> int:
        """Groups of steps an epoch."""
        return -(-self.steps_per_epoch // self.together)

    def positions(self, step: int) -> Tensor:
        """The positions that this process takes at a step."""
        size = self.global_batch * self.together
        last = min((step + 1) * size, self.steps_per_epoch * self.global_batch)
        return torch.arange(step * size + self.process_index, last, self.process_count)

    def generator(self, epoch: int, step: int) -> Draws:
        """The source of the random numbers of this process's images at a step."""
        return Draws(mixed_seed(self.seed, _BATCH, epoch), self.positions(step))

    def sample_seed(self, epoch: int, position: int) -> int:
        """The seed of one augmented image, for transforms that work image by image."""
        return mixed_seed(self.seed, _SAMPLE, epoch, position)


def share(count: int, process_index: int, process_count: int) -> Tensor:
    """What one process evaluates out of `count` images: the shares are disjoint and leave none out."""
    return torch.arange(count)[process_index::process_count]
