"""Which images make up a step, and with which random numbers: a pure function of (seed, epoch, step).

Nothing here has a state, so a run resumes at any step by asking for that step. A position is the place of an image in
the epoch's sequence, counted over all processes; process p of P takes positions p, p + P, p + 2P … of a step, so the
union over processes does not depend on their number. Order and augmentation are drawn from generators seeded by what
they belong to, and no global random state is read or touched.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

import torch

from thinresnet.errors import InputError

_ORDER, _BATCH, _SAMPLE = range(3)


def mixed_seed(*parts: int) -> int:
    """One seed of 63 bits out of several integers, the same on every machine."""
    text = ",".join(str(part) for part in parts)
    return int.from_bytes(hashlib.blake2b(text.encode(), digest_size=8).digest(), "little") >> 1


@dataclass(frozen=True)
class Plan:
    """The steps of an epoch over `count` images, each image `repeats` times in a row (repeated augmentation)."""

    count: int
    batch_size: int
    seed: int
    process_index: int = 0
    process_count: int = 1
    repeats: float = 1.0

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

    def order(self, epoch: int) -> torch.Tensor:
        """The images of an epoch by position, before sharding."""
        generator = torch.Generator().manual_seed(mixed_seed(self.seed, _ORDER, epoch))
        order = torch.randperm(self.count, generator=generator)
        if self.repeats <= 1:
            return order
        return order[(torch.arange(self.count) / self.repeats).long()]

    def positions(self, step: int) -> torch.Tensor:
        """The positions that this process takes at a step."""
        first = step * self.global_batch
        return torch.arange(first + self.process_index, first + self.global_batch, self.process_count)

    def generator(self, epoch: int, step: int) -> torch.Generator:
        """The source of a step's random numbers; every process draws for the whole step and keeps its own rows."""
        return torch.Generator().manual_seed(mixed_seed(self.seed, _BATCH, epoch, step))

    def own(self, drawn: torch.Tensor) -> torch.Tensor:
        """The rows of this process out of rows drawn for a whole step."""
        return drawn[self.process_index :: self.process_count]

    def sample_seed(self, epoch: int, position: int) -> int:
        """The seed of one augmented image, for transforms that work image by image."""
        return mixed_seed(self.seed, _SAMPLE, epoch, position)


def share(count: int, process_index: int, process_count: int) -> torch.Tensor:
    """What one process evaluates out of `count` images: the shares are disjoint and leave none out."""
    return torch.arange(count)[process_index::process_count]
