"""The `beton` loader: images from a .beton file, decoded by FFCV's decoder and resized by Pillow, in threads.

The crops are drawn as for the memory loader and resized as timm resizes them, so that images stored as pixels give the
same batches there and here. A process decodes only its own images, some steps ahead. What follows the crop happens in
batches on the training device. FFCV's own Loader is the `ffcv` loader (ffcv_loader.py).
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Generic, TypeVar

import numpy as np
import torch
from filelock import FileLock
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from thinresnet.errors import InputError
from thinresnet.files import cache_folder
from thinresnet.progress import Progress
from thinresnet.recipe import Recipe
from thinresnet.training.data import beton, beton_writing
from thinresnet.training.data.crops import Crops, draw_crops
from thinresnet.training.data.datasets import Dataset
from thinresnet.training.data.images import Images
from thinresnet.training.data.plan import Draws, Plan
from thinresnet.training.data.resample import padded_crop
from thinresnet.training.data.sources import InBeton
from thinresnet.training.data.torch_loader import test_transform

_AHEAD = 3
_Cut = Callable[[int, int], NDArray[np.uint8]]
_Rest = TypeVar("_Rest")


@dataclass(frozen=True)
class _Batch(Generic[_Rest]):
    """Images that threads are filling in, and what goes with them."""

    images: Tensor
    parts: list[Future[None]]
    rest: _Rest


def open_beton(images: Images, folder: Path, name: str, split: str, progress: Progress) -> beton.Beton:
    """The .beton file that these images are in; or theirs in `folder`, written first if it is missing."""
    if isinstance(images.source, InBeton):
        return images.source.file
    path = beton_path(images, folder, name, split)
    if not path.is_file():
        folder.mkdir(parents=True, exist_ok=True)
        with FileLock(path.with_suffix(".lock")):  # of several processes one writes and the others wait
            if not path.is_file():
                beton_writing.write(images, path, name=name, split=split, progress=progress)
    opened = beton.Beton(path)
    if opened.header.digest != images.digest() or not np.array_equal(opened.labels, images.targets):
        raise InputError(
            f"{path}: holds the {opened.header.split} images of another dataset ({opened.header.name}); delete it, it "
            "is written anew"
        )
    return opened


def beton_path(images: Images, folder: Path, name: str, split: str) -> Path:
    """Where the file of these images is looked for: another name as soon as an image changes."""
    if images.pixels is not None:
        raise InputError(f"{name}: .beton files are for image files; these are small: use --loader memory")
    return folder / f"{name}-{split}-{images.digest()[:16]}.beton"


class BetonLoader:
    """Both splits from .beton files."""

    def __init__(
        self,
        recipe: Recipe,
        dataset: Dataset,
        device: torch.device,
        workers: int,
        progress: Progress,
        folder: Path,
    ):
        self.recipe, self.device = recipe, device
        splits = {"train": dataset.train, "test": dataset.test}
        missing = {
            split: images
            for split, images in splits.items()
            if not isinstance(images.source, InBeton) and not beton_path(images, folder, dataset.name, split).is_file()
        }
        if folder == cache_folder() and missing:
            beton_writing.check_asked(missing, folder)
        self.betons = {
            split: open_beton(images, folder, dataset.name, split, progress) for split, images in splits.items()
        }
        self.threads = max(1, workers)
        self.pool = ThreadPoolExecutor(self.threads, thread_name_prefix="beton")

    def train_batches(
        self, plan: Plan, steps: Iterator[tuple[int, int, Tensor]], epoch: int
    ) -> Iterator[tuple[Tensor, Draws]]:
        """For each (step, size, image indices): the cropped, flipped images and the step's generator after them."""
        source = self.betons["train"]
        sides = torch.from_numpy(source.heights), torch.from_numpy(source.widths)

        def begin() -> Iterator[_Batch[tuple[Crops, Draws]]]:
            for step, size, indices in steps:
                generator = plan.generator(epoch, step)
                crops = draw_crops(self.recipe, plan, generator, sides[0][indices], sides[1][indices])
                yield self._start(indices, size, self._cut(source, crops, size), (crops, generator))

        for batch in _ahead(begin()):
            crops, generator = batch.rest
            images, flips = self._finished(batch), crops.flips.to(self.device)
            if crops.shifts is None:
                yield torch.where(flips[:, None, None, None], images.flip(2), images), generator
                continue
            tops, lefts = crops.shifts.to(self.device).unbind(1)
            mode = self.recipe.crop_padding_mode
            yield padded_crop(images, tops, lefts, flips, self.recipe.crop_padding, mode), generator

    def eval_batches(self, split: str, batches: Iterator[Tensor], size: int, crop_pct: float) -> Iterator[Tensor]:
        """The images of those indices (of `split`: train or test) as a test sees them."""
        source, transform = self.betons[split], test_transform(self.recipe, size, crop_pct)

        def cut(place: int, index: int) -> NDArray[np.uint8]:
            found: NDArray[np.uint8] = transform(Image.fromarray(source.pixels(index))).permute(1, 2, 0).numpy()
            return found

        for batch in _ahead(self._start(indices, size, cut, None) for indices in batches):
            yield self._finished(batch)

    def _cut(self, source: beton.Beton, crops: Crops, size: int) -> _Cut:
        boxes, cubic = (crops.boxes.tolist() if crops.boxes is not None else None), crops.cubic.tolist()

        def cut(place: int, index: int) -> NDArray[np.uint8]:
            pixels: NDArray[np.uint8] = source.pixels(index)
            if boxes is not None:
                top, left, height, width = boxes[place]
                pixels = pixels[top : top + height, left : left + width]
                if (height, width) != (size, size):
                    kind = Image.Resampling.BICUBIC if cubic[place] else Image.Resampling.BILINEAR
                    pixels = np.asarray(Image.fromarray(pixels).resize((size, size), kind))
            elif pixels.shape[:2] != (size, size):
                raise InputError(
                    f"{source.path}: image {index} is {pixels.shape[1]}x{pixels.shape[0]}; crop_padding takes images "
                    f"of {size}x{size} only"
                )
            return pixels

        return cut

    def _start(self, indices: Tensor, size: int, cut: _Cut, rest: _Rest) -> _Batch[_Rest]:
        """Hand a batch to the threads, a part of it to each."""
        images = torch.empty(len(indices), size, size, 3, dtype=torch.uint8, pin_memory=self.device.type == "cuda")
        # numpy does the copying: torch would start threads of its own under each of these.
        asked, array = indices.tolist(), images.numpy()

        def fill(part: range) -> None:
            for place in part:
                array[place] = cut(place, asked[place])

        parts = (range(start, len(asked), self.threads) for start in range(self.threads))
        return _Batch(images, [self.pool.submit(fill, part) for part in parts if len(part)], rest)

    def _finished(self, batch: _Batch[_Rest]) -> Tensor:
        for part in batch.parts:
            part.result()
        return batch.images.to(self.device, non_blocking=True)

    def close(self) -> None:
        """End the threads."""
        self.pool.shutdown(wait=True, cancel_futures=True)


def _ahead(started: Iterator[_Batch[_Rest]]) -> Iterator[_Batch[_Rest]]:
    """The same in the same order, started a few before they are asked for; what is not asked for is called off."""
    waiting: deque[_Batch[_Rest]] = deque()
    try:
        for batch in started:
            waiting.append(batch)
            if len(waiting) > _AHEAD:
                yield waiting.popleft()
        while waiting:
            yield waiting.popleft()
    finally:
        for batch in waiting:
            for part in batch.parts:
                part.cancel()
