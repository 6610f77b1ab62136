"""The images of the comparisons: the same batches for both sides, without augmentation, in one order."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor

Batch = tuple[Tensor, Tensor]
MEAN, STD = (0.4914, 0.4822, 0.4465), (0.2023, 0.1994, 0.2010)  # what most of the authors' scripts have
CLASSES = 10


@dataclass(frozen=True)
class Pictures:
    """Some images of each class, mixed by the seed."""

    images: Tensor
    targets: Tensor

    @classmethod
    def read(cls, folder: Path, count: int, seed: int) -> Pictures:
        """As many of each class, those first by name, from a folder of ten class folders."""
        classes = sorted(entry for entry in folder.iterdir() if entry.is_dir())
        if len(classes) != CLASSES:
            raise SystemExit(f"{folder} has {len(classes)} class folders; the authors' networks have {CLASSES} classes")
        files = [
            (file, label) for label, own in enumerate(classes) for file in sorted(own.iterdir())[: count // CLASSES]
        ]
        order = torch.randperm(len(files), generator=torch.Generator().manual_seed(seed)).tolist()
        pixels = [np.asarray(Image.open(files[index][0]).convert("RGB"), dtype=np.float32) / 255 for index in order]
        images = (np.stack(pixels) - np.float32(MEAN)) / np.float32(STD)
        return cls(
            torch.from_numpy(images).permute(0, 3, 1, 2).contiguous(), torch.tensor([files[i][1] for i in order])
        )

    def batches(self, size: int, count: int) -> list[Batch]:
        """The first batches."""
        pairs = list(zip(self.images.split(size), self.targets.split(size), strict=True))[:count]
        if len(pairs) < count or len(pairs[-1][1]) < size:
            raise SystemExit(f"{len(self.targets)} images are too few for {count} batches of {size}")
        return [(images.clone(), targets.clone()) for images, targets in pairs]

    def by_class(self, per_class: int, *, mixed: bool) -> Batch:
        """So many of each class in one batch: class after class, or in the order that they come in."""
        found = [torch.nonzero(self.targets == label).flatten()[:per_class] for label in range(CLASSES)]
        indices = torch.cat(found)
        indices = indices.sort().values if mixed else indices
        return self.images[indices].clone(), self.targets[indices].clone()


@dataclass(frozen=True)
class GivenTrain:
    """What methods here ask of training images: the batches in their order, in each epoch the same."""

    given: Sequence[Batch]

    @property
    def steps_per_epoch(self) -> int:
        """Batches."""
        return len(self.given)

    @property
    def images_per_epoch(self) -> int:
        """Images."""
        return sum(len(targets) for _, targets in self.given)

    count = images_per_epoch

    def scheduled(self, recipe: object) -> GivenTrain:
        """The same, whatever sizes a recipe schedules."""
        return self

    def epoch(self, epoch: int, start_step: int = 0) -> Iterator[Batch]:
        """The batches."""
        return iter(self.given[start_step:])


@dataclass(frozen=True)
class GivenData:
    """An opened dataset, as methods here know it, of batches that are given."""

    train: GivenTrain
    name: str = "given batches"
    num_classes: int = CLASSES
    holdout: None = None
