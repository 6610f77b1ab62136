"""What FFCV's Loader is given here: decoders that draw each crop and flip as a hash, an order, an iterator that ends.

FFCV draws crops from a random state of its threads, so that its batches depend on their number and cannot be resumed. A
row that is asked for here is `draw << 32 | image`: its crop is a hash of (seed, draw, image) and of nothing else, where
`draw` counts epochs (and the repeats of an image within one). Importing this file imports FFCV: see `beton.parts`.
"""

from __future__ import annotations

import math
import threading
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from queue import Empty
from typing import Any

import numpy as np
import torch
from ffcv.fields.decoders import RandomResizedCropRGBImageDecoder, SimpleRGBImageDecoder
from ffcv.fields.rgb_image import IMAGE_MODES
from ffcv.libffcv import imdecode, resize_crop
from ffcv.loader.epoch_iterator import EpochIterator
from ffcv.loader.loader import Loader
from ffcv.pipeline.allocation_query import AllocationQuery
from ffcv.pipeline.compiler import Compiler
from ffcv.transforms import ToDevice, ToTensor
from ffcv.traversal_order.base import TraversalOrder
from numba import config, njit, set_num_threads
from numba.extending import register_jitable
from numpy.typing import NDArray
from torch import Tensor

# SplitMix64's constants: Steele, Lea and Flood, "Fast splittable pseudorandom number generators" (2014).
_GOLDEN, _FIRST, _SECOND = np.uint64(0x9E3779B97F4A7C15), np.uint64(0xBF58476D1CE4E5B9), np.uint64(0x94D049BB133111EB)
_S11, _S27, _S30, _S31 = np.uint64(11), np.uint64(27), np.uint64(30), np.uint64(31)
_IMAGE_BITS = np.uint64(32)
_IMAGE_MASK = np.uint64(2**32 - 1)
_UNIT = 2.0**-53
_ATTEMPTS = 10
_FLIP_DRAW, _TOP_DRAW, _LEFT_DRAW = 1000, 1001, 1002  # the crop takes the first forty


def _set_numba_threads(threads: int) -> None:
    """What FFCV sets its threads by: it would set those of torch, too, and training's are not the loader's."""
    Compiler.num_threads = max(1, min(threads, config.NUMBA_NUM_THREADS))
    set_num_threads(Compiler.num_threads)


Compiler.set_num_threads = staticmethod(_set_numba_threads)


@register_jitable
def mixed(value: Any) -> Any:
    """SplitMix64's finaliser: 64 bits in, 64 bits out."""
    value = (value ^ (value >> _S30)) * _FIRST
    value = (value ^ (value >> _S27)) * _SECOND
    return value ^ (value >> _S31)


@register_jitable
def uniform(key: Any, number: int) -> Any:
    """The draw of that number below a key, in [0, 1)."""
    return np.float64(mixed(key + np.uint64(number + 1) * _GOLDEN) >> _S11) * _UNIT


@register_jitable
def key_of(seed: Any, row: Any) -> Any:
    """The key of everything that is drawn for a row."""
    return mixed(mixed(seed + ((row >> _IMAGE_BITS) + np.uint64(1)) * _GOLDEN) ^ (row & _IMAGE_MASK))


@register_jitable
def random_box(height: int, width: int, scale: Any, ratio: Any, key: Any) -> tuple[int, int, int, int]:
    """(top, left, height, width) of a random resized crop, by the rule of torchvision, timm and FFCV."""
    low, high = math.log(ratio[0]), math.log(ratio[1])
    for attempt in range(_ATTEMPTS):
        area = height * width * (scale[0] + (scale[1] - scale[0]) * uniform(key, 4 * attempt))
        aspect = math.exp(low + (high - low) * uniform(key, 4 * attempt + 1))
        box_width, box_height = round(math.sqrt(area * aspect)), round(math.sqrt(area / aspect))
        if 0 < box_width <= width and 0 < box_height <= height:
            top = int(uniform(key, 4 * attempt + 2) * (height - box_height + 1))
            left = int(uniform(key, 4 * attempt + 3) * (width - box_width + 1))
            return top, left, box_height, box_width
    box_width, box_height = min(width, round(height * ratio[1])), min(height, round(width / ratio[0]))
    return (height - box_height) // 2, (width - box_width) // 2, box_height, box_width


@register_jitable
def flip_in_place(image: Any) -> None:
    """Mirror an image (H, W, 3) left to right."""
    width = image.shape[1]
    for row in range(image.shape[0]):
        for column in range(width // 2):
            for channel in range(3):
                kept = image[row, column, channel]
                image[row, column, channel] = image[row, width - 1 - column, channel]
                image[row, width - 1 - column, channel] = kept


@register_jitable
def reflected(place: int, side: int) -> int:
    """A place outside of 0 to side - 1 mirrored at its ends, as often as it takes (a padding may be any)."""
    period = max(1, 2 * (side - 1))
    within = place % period
    return min(within, period - within) if side > 1 else 0


@register_jitable
def cut_padded(source: Any, target: Any, top: int, left: int, padding: int, reflect: bool) -> None:
    """Copy the crop at (top, left) of `source` with `padding` pixels around it: black, or the image reflected."""
    height, width = target.shape[0], target.shape[1]
    for row in range(height):
        from_row = row + top - padding
        if reflect:
            from_row = reflected(from_row, height)
        for column in range(width):
            from_column = column + left - padding
            if reflect:
                from_column = reflected(from_column, width)
            inside = 0 <= from_row < height and 0 <= from_column < width
            for channel in range(3):
                target[row, column, channel] = source[from_row, from_column, channel] if inside else 0


def _drawing(function: Callable[..., Any]) -> Callable[..., Any]:
    """Compiled without FFCV's fast mathematics, which may round one way on one processor and another on the next."""
    return njit(nogil=True, error_model="numpy")(function) if Compiler.is_enabled else function


class _HashedDecoder:
    """What decoders share whose crops and flips are functions of the seed and the row."""

    memory_read: Callable[..., Any]  # as FFCV sets it
    hflip: float
    seed: int

    def placing(self) -> Callable[..., None]:
        """The compiled function that puts a decoded image in its place in the batch, as its key says."""
        raise NotImplementedError

    def generate_code(self) -> Callable[..., Any]:
        """The function that FFCV compiles."""
        jpg, read, each = IMAGE_MODES["jpg"], self.memory_read, Compiler.get_iterator()
        decode_jpeg, put = Compiler.compile(imdecode), self.placing()
        key_for, draw = _drawing(key_of), _drawing(uniform)
        hflip, seed = self.hflip, np.uint64(self.seed)

        def decode(rows: Any, memory: Any, metadata: Any, storage_state: Any) -> Any:
            images, failed = memory
            for place in each(len(rows)):
                row = np.uint64(rows[place])
                field = metadata[np.int64(row & _IMAGE_MASK)]
                stored = read(field["data_ptr"], storage_state)
                height, width = int(field["height"]), int(field["width"])
                failed[place, 0] = 0
                if field["mode"] == jpg:
                    pixels = np.empty(3 * height * width, np.uint8)
                    if decode_jpeg(stored, pixels, height, width, height, width, 0, 0, 1, 1, False, False) != 0:
                        failed[place, 0] = 1
                    whole = pixels.reshape(height, width, 3)
                else:
                    whole = stored.reshape(height, width, 3)
                key = key_for(seed, row)
                put(whole, images[place], key)
                if draw(key, _FLIP_DRAW) < hflip:
                    flip_in_place(images[place])
            return images[: len(rows)], failed[: len(rows)]

        decode.is_parallel = True  # type: ignore[attr-defined]  # how FFCV is told
        return decode


class HashedCropDecoder(_HashedDecoder, RandomResizedCropRGBImageDecoder):
    """FFCV's decoder of random resized crops, whose crops and flips are functions of the seed and the row.

    A decoded photograph takes memory for as long as it is cropped: FFCV keeps room for the largest of all images in
    every place of every batch ahead, 60 GB for ImageNet as it is published.
    """

    def __init__(self, side: int, scale: tuple[float, ...], ratio: tuple[float, ...], hflip: float, seed: int):
        super().__init__((side, side), scale, ratio)
        self.hflip, self.seed = hflip, seed

    def declare_state_and_memory(self, previous_state: Any) -> tuple[Any, Any]:
        """The images, and for each whether it could not be decoded."""
        state, (images, _) = super().declare_state_and_memory(previous_state)
        return state, (images, AllocationQuery((1,), np.dtype("u1")))

    def placing(self) -> Callable[..., None]:
        """A crop, resized."""
        resize, box_for = Compiler.compile(resize_crop), _drawing(random_box)
        scale, ratio = np.array(self.scale), np.array(self.ratio)

        def put(whole: Any, image: Any, key: Any) -> None:
            top, left, height, width = box_for(whole.shape[0], whole.shape[1], scale, ratio, key)
            resize(whole, top, top + height, left, left + width, image)

        return _drawing(put)


class HashedShiftDecoder(_HashedDecoder, SimpleRGBImageDecoder):
    """FFCV's decoder of images of one size, shifted within a padding and flipped as a hash says."""

    def __init__(self, padding: int, reflect: bool, hflip: float, seed: int):
        super().__init__()
        self.padding, self.reflect, self.hflip, self.seed = padding, reflect, hflip, seed

    def declare_state_and_memory(self, previous_state: Any) -> tuple[Any, Any]:
        """The images, and for each whether it could not be decoded."""
        state, images = super().declare_state_and_memory(previous_state)
        return state, (images, AllocationQuery((1,), np.dtype("u1")))

    def placing(self) -> Callable[..., None]:
        """A cut of the padded image."""
        draw, padding, reflect = _drawing(uniform), self.padding, self.reflect

        def put(whole: Any, image: Any, key: Any) -> None:
            top = int(draw(key, _TOP_DRAW) * (2 * padding + 1))
            left = int(draw(key, _LEFT_DRAW) * (2 * padding + 1))
            cut_padded(whole, image, top, left, padding, reflect)

        return _drawing(put)


class CheckedToTensor(ToTensor):
    """FFCV's ToTensor, which also keeps where in each batch an image could not be decoded (-1: nowhere)."""

    def __init__(self) -> None:
        super().__init__()
        self.failures: deque[int] = deque()

    def generate_code(self) -> Callable[..., Any]:
        """The function that FFCV calls."""

        def to_tensor(decoded: tuple[NDArray[np.uint8], NDArray[np.uint8]], _: Any) -> Tensor:
            images, failed = decoded
            places = np.flatnonzero(failed)
            self.failures.append(int(places[0]) if len(places) else -1)
            return torch.from_numpy(images)

        return to_tensor


class GivenOrder(TraversalOrder):
    """The rows that the plan says. FFCV's Loader takes an instance, and calls it with itself."""

    def __init__(self) -> None:
        self.rows: NDArray[np.int64] = np.empty(0, np.int64)

    def __call__(self, loader: Loader) -> GivenOrder:
        return self

    def sample_order(self, epoch: int) -> NDArray[np.int64]:
        """The rows of the batches that are asked for now, those of this process alone."""
        return self.rows


class Epoch(EpochIterator):
    """FFCV's iterator, whose thread hands on what goes wrong in it, and ends when it is closed."""

    error: BaseException | None = None

    def run(self) -> None:
        """The thread: without this its end would leave the consumer waiting for ever."""
        try:
            super().run()
        except BaseException as error:
            self.error = error
            self.output_queue.put(None)

    def __next__(self) -> Any:
        try:
            return super().__next__()
        except StopIteration:
            if self.error is not None:
                raise self.error from None
            raise

    def close(self) -> None:
        """End the thread; what it has ready is dropped, so that it does not wait for room."""
        super().close()
        self.iter_ixes = iter(())
        while self.is_alive() and threading.current_thread() is not self:
            with suppress(Empty):
                self.output_queue.get(timeout=0.02)


class PlannedLoader(Loader):
    """FFCV's Loader over one .beton file, for one image side and one batch size.

    A batch on the CPU lies in memory that the batch after the next but two is written to.
    """

    def __init__(self, path: Path, batch_size: int, decoder: Any, device: torch.device, threads: int):
        self.checked, given = CheckedToTensor(), GivenOrder()
        pipeline = [decoder, self.checked, *([ToDevice(device)] if device.type == "cuda" else [])]
        pipelines = {"image": pipeline, "label": None}
        # Without a seed FFCV would draw one from numpy's global state.
        super().__init__(
            str(path), batch_size, threads, os_cache=True, order=given, seed=0, pipelines=pipelines, drop_last=True
        )

    def __len__(self) -> int:
        return int(len(self.traversal_order.rows) // self.batch_size)

    def __iter__(self) -> Epoch:
        Compiler.set_num_threads(self.num_workers)
        return Epoch(self, self.next_traversal_order())

    def batches(self, rows: NDArray[np.int64]) -> Iterator[tuple[Tensor, int]]:
        """Each batch of the rows, and the place in it of an image that could not be decoded (-1: none)."""
        self.traversal_order.rows = rows
        self.checked.failures.clear()
        epoch = iter(self)
        try:
            for (images,) in epoch:
                yield images, self.checked.failures.popleft()
        finally:
            epoch.close()
