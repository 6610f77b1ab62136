"""The `ffcv` loader: FFCV's own Loader, decoders and ToDevice, with crops and flips that are hashes.

A crop is a function of (seed, epoch, image), so that batches depend neither on the number of threads nor of processes,
and a run resumes in the middle of an epoch. FFCV resizes crops by area, whatever `train_interpolation` says. Test
images go through timm's transform, as in every loader: accuracies of one network do not differ by loader.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from thinresnet.errors import InputError
from thinresnet.progress import Progress
from thinresnet.recipe import Recipe
from thinresnet.training.data import beton
from thinresnet.training.data.beton_loader import BetonLoader
from thinresnet.training.data.datasets import Dataset
from thinresnet.training.data.plan import Draws, Plan, mixed_seed

_CROPS = 3  # beside the order, the batches and the samples of a plan
_REPEATS_BITS = 7  # an image recurs at most a hundred times in an epoch
_IMAGE_BITS = 32


class FfcvLoader(BetonLoader):
    """Training images by FFCV's Loader; test images as the beton loader has them."""

    def __init__(
        self,
        recipe: Recipe,
        dataset: Dataset,
        device: torch.device,
        workers: int,
        progress: Progress,
        folder: Path,
    ):
        super().__init__(recipe, dataset, device, workers, progress, folder)
        self.parts = beton.parts("ffcv_parts")
        self.loaders: dict[tuple[int, int], Any] = {}  # by side and batch size: compiled once each

    def train_batches(
        self, plan: Plan, steps: Iterator[tuple[int, int, Tensor]], epoch: int
    ) -> Iterator[tuple[Tensor, Draws]]:
        """For each (step, size, image indices): the cropped, flipped images and the step's draws."""
        asked = list(steps)
        rows: dict[int, list[NDArray[np.int64]]] = {}
        for step, size, indices in asked:
            rows.setdefault(size, []).append(rows_of(plan, epoch, step, indices))
        opened = {size: self._loader(plan, size).batches(np.concatenate(parts)) for size, parts in rows.items()}
        try:
            for step, size, indices in asked:
                images, failed = next(opened[size])
                if failed >= 0:
                    raise beton.undecodable(self.betons["train"].path, int(indices[failed]))
                yield images.to(self.device, non_blocking=True), plan.generator(epoch, step)
        finally:
            for batches in opened.values():
                batches.close()

    def _loader(self, plan: Plan, size: int) -> Any:
        known = size, plan.batch_size
        if known not in self.loaders:
            seed, path = mixed_seed(plan.seed, _CROPS), self.betons["train"].path
            decoder = self._decoder(size, seed)
            self.loaders[known] = self.parts.PlannedLoader(path, plan.batch_size, decoder, self.device, self.threads)
        return self.loaders[known]

    def _decoder(self, size: int, seed: int) -> Any:
        recipe, source = self.recipe, self.betons["train"]
        if not recipe.crop_padding:
            return self.parts.HashedCropDecoder(size, recipe.scale, recipe.ratio, recipe.hflip, seed)
        wrong = np.flatnonzero((source.heights != size) | (source.widths != size))
        if len(wrong):
            raise InputError(
                f"{source.path}: image {wrong[0]} is {source.widths[wrong[0]]}x{source.heights[wrong[0]]}; "
                f"crop_padding takes images of {size}x{size} only"
            )
        reflect = recipe.crop_padding_mode == "reflect"
        return self.parts.HashedShiftDecoder(recipe.crop_padding, reflect, recipe.hflip, seed)

    def close(self) -> None:
        """End the threads, and let go of FFCV's buffers."""
        self.loaders.clear()
        super().close()


def rows_of(plan: Plan, epoch: int, step: int, indices: Tensor) -> NDArray[np.int64]:
    """What FFCV's Loader is asked for: the image, and above its 32 bits what tells this showing of it from others.

    The showings of one image within an epoch stand at neighbouring positions, whatever the number of processes.
    """
    draw = torch.full_like(indices, epoch << _REPEATS_BITS)
    if plan.repeats > 1:
        draw += plan.positions(step) & ((1 << _REPEATS_BITS) - 1)
    rows: NDArray[np.int64] = ((draw << _IMAGE_BITS) | indices).numpy()
    return rows
