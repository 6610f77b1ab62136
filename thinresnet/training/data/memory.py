"""The `memory` loader: a small dataset as uint8 on the training device, cropped and flipped there in batches."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import torch
from filelock import FileLock
from numpy.typing import NDArray
from torch import Tensor

from thinresnet.errors import InputError
from thinresnet.files import check_regular, replacing
from thinresnet.progress import Progress
from thinresnet.recipe import Recipe
from thinresnet.training.data.crops import draw_crops
from thinresnet.training.data.images import Images
from thinresnet.training.data.plan import Draws, Plan
from thinresnet.training.data.resample import padded_crop, resize_and_centre, resized_crop
from thinresnet.training.data.transfer import moved


class UnevenError(InputError):
    """Images of more than one size, which one tensor cannot hold."""


class MemoryLoader:
    """Both splits on the device; every batch is made from scratch out of its indices."""

    def __init__(
        self,
        recipe: Recipe,
        train: Images,
        test: Images,
        device: torch.device,
        progress: Progress,
        folder: Path,
    ):
        self.recipe = recipe
        self.train = torch.from_numpy(pixels_of(train, "training images", folder, progress)).to(device)
        self.test = torch.from_numpy(pixels_of(test, "test images", folder, progress)).to(device)

    def train_batches(
        self, plan: Plan, steps: Iterator[tuple[int, int, Tensor]], epoch: int
    ) -> Iterator[tuple[Tensor, Draws]]:
        """For each (step, size, image indices): the cropped, flipped images and the step's generator after them."""
        for step, size, indices in steps:
            draws = plan.generator(epoch, step)
            yield self._crops(indices, size, plan, draws), draws

    def _crops(self, indices: Tensor, size: int, plan: Plan, draws: Draws) -> Tensor:
        _, height, width, _ = self.train.shape
        sides = torch.full((len(indices),), height), torch.full((len(indices),), width)
        crops = draw_crops(self.recipe, plan, draws, *sides)
        if crops.shifts is not None:
            tops, lefts = crops.shifts.unbind(1)
            padding, mode = self.recipe.crop_padding, self.recipe.crop_padding_mode
            return padded_crop(self.train, tops, lefts, crops.flips, padding, mode, indices)
        assert crops.boxes is not None
        device = self.train.device
        chosen, boxes, cubic, flips = moved(device, indices, crops.boxes, crops.cubic, crops.flips)
        return resized_crop(self.train[chosen], boxes, size, cubic if bool(crops.cubic.any()) else None, flips)

    def eval_batches(self, split: str, batches: Iterator[Tensor], size: int, crop_pct: float) -> Iterator[Tensor]:
        """The images of those indices (of `split`: train or test) as a test sees them."""
        source = self.train if split == "train" else self.test
        cubic = self.recipe.interpolation != "bilinear"
        for indices in batches:
            (chosen,) = moved(source.device, indices)
            yield resize_and_centre(source[chosen], size, crop_pct, cubic)

    def close(self) -> None:
        """Nothing runs in the background."""


def pixels_of(images: Images, what: str, folder: Path, progress: Progress) -> NDArray[np.uint8]:
    """All images in one array (N, H, W, 3); decoded files are kept in `folder` for the next time."""
    if images.pixels is not None:
        return np.ascontiguousarray(images.pixels)
    path = folder / f"{images.digest()}.npy"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with FileLock(path.with_suffix(".lock")):  # of several processes one decodes and the others wait
            if not path.is_file():
                with replacing(path) as part, part.open("wb") as file:
                    np.save(file, decode(images, what, progress), allow_pickle=False)
    except OSError:  # a cache that cannot be written (full, read-only) costs time, not the run
        return decode(images, what, progress)
    kept = _kept(path, len(images))
    return decode(images, what, progress) if kept is None else kept


def _kept(path: Path, count: int) -> NDArray[np.uint8] | None:
    """What the cache holds; None if it is damaged."""
    try:
        check_regular(path)
        kept = np.load(path, mmap_mode="c", allow_pickle=False)
    except Exception:  # numpy raises many kinds for a damaged header
        return None
    sound = kept.dtype == np.uint8 and kept.ndim == 4 and (len(kept), kept.shape[3]) == (count, 3)
    return kept if sound else None


def decode(images: Images, what: str, progress: Progress) -> NDArray[np.uint8]:
    """All images in one array (N, H, W, 3)."""
    first = np.asarray(images.read(0))
    found = np.empty((len(images), *first.shape), np.uint8)

    def place(index: int) -> None:
        image = np.asarray(images.read(index))
        if image.shape != first.shape:
            one, other = ("x".join(map(str, shape[1::-1])) for shape in (image.shape, first.shape))
            raise UnevenError(
                f"{images.where(index)}: is {one}, the images before it {other}; the memory loader takes images of one "
                "size, use --loader torch or beton"
            )
        found[index] = image

    with ThreadPoolExecutor() as pool:
        for done, _ in enumerate(pool.map(place, range(len(images)), chunksize=64), 1):
            if done % 1000 == 0 or done == len(images):
                progress(f"reading {what}", done, len(images))
    return found
