"""Writing .beton files by FFCV's DatasetWriter: in several processes, whole or not at all, their size known first.

All images are decoded on the way, so a broken one is named and nothing is written. JPEG files are kept as they are
unless they have to be made smaller.
"""

from __future__ import annotations

import errno
import math
import multiprocessing
import os
import shutil
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from thinresnet.errors import InputError
from thinresnet.files import replacing
from thinresnet.progress import Progress, silent
from thinresnet.training.data import beton
from thinresnet.training.data.images import Images

MODES = ("auto", "raw", "jpg", "proportion")
# Pixels need no decoding, but ImageNet's would take 700 GB; small photographs are stored as pixels, large sets as JPEG.
_LARGEST_RAW_BYTES = 20 * 10**9
# Files that are larger are not put into a folder that nobody named.
LARGEST_UNASKED_BYTES = 20 * 10**9
_SMALL_BYTES = 10**9
_SMALLEST_PAGE, _PAGE = 2**21, 2**25  # FFCV's least; what holds the pixels of an image of 11 megapixels
_SAMPLE = 32
_CHUNK = 64


@dataclass(frozen=True)
class Encoding:
    """How images are stored, in the words of ffcv-imagenet's script."""

    mode: str = "auto"
    max_resolution: int | None = None  # of the longer side, pixels
    jpeg_quality: int = 90  # of images that are compressed anew
    compress_probability: float = 0.5  # of mode proportion: the share that is stored as JPEG

    def __post_init__(self) -> None:
        if self.mode not in MODES:
            raise InputError(f"--mode {self.mode}: takes one of {', '.join(MODES)}")
        if self.max_resolution is not None and not 1 <= self.max_resolution <= 65_535:
            raise InputError(f"--max-resolution {self.max_resolution}: takes pixels, 1 to 65535")
        if not 1 <= self.jpeg_quality <= 100:
            raise InputError(f"--jpeg-quality {self.jpeg_quality}: takes 1 to 100")
        if not 0 <= self.compress_probability <= 1:
            raise InputError(f"--compress-probability {self.compress_probability:g}: takes 0 to 1")
        if self.compress_probability != 0.5 and self.mode != "proportion":
            raise InputError(f"--compress-probability: no effect with --mode {self.mode}; give --mode proportion")
        anew = self.mode == "proportion" or (self.mode == "jpg" and self.max_resolution is not None)
        if self.jpeg_quality != 90 and not anew:
            raise InputError(
                f"--jpeg-quality: no effect with --mode {self.mode}, which compresses nothing anew; give --mode "
                "proportion, or jpg and --max-resolution"
            )

    def resolved(self, images: Images) -> Encoding:
        """With `auto` decided."""
        if self.mode != "auto":
            return self
        mode = "raw" if self.estimated_bytes(images, "raw") <= _LARGEST_RAW_BYTES else "jpg"
        return Encoding(mode, self.max_resolution, self.jpeg_quality, self.compress_probability)

    def estimated_bytes(self, images: Images, mode: str | None = None) -> int:
        """What the file of these images will take, judged by a sample of them."""
        sizes: dict[str, list[float]] = {"raw": [], "jpg": []}
        for index in np.linspace(0, len(images) - 1, min(_SAMPLE, len(images)), dtype=int):
            width, height = images.read(int(index)).size
            shrunk = min(1.0, (self.max_resolution or math.inf) / max(width, height)) ** 2
            sizes["raw"].append(width * height * 3 * shrunk)
            sizes["jpg"].append(len(images.encoded(int(index))) * shrunk)
        raw, jpg = (float(np.mean(sizes[kind])) for kind in ("raw", "jpg"))
        share = {"raw": 0.0, "jpg": 1.0, "proportion": self.compress_probability}[mode or self.mode]
        return math.ceil((raw * (1 - share) + jpg * share) * len(images))


@dataclass
class Rows:
    """What FFCV's writing processes read: (image, label) by index; they end on an error, so the first one is kept.

    An image is (bytes, height, width) where it is stored as the file that it is, (pixels, as JPEG) otherwise.
    """

    images: Images
    encoding: Encoding
    page_bytes: int
    error: Any = field(default_factory=lambda: multiprocessing.Array("c", 4096))

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, index: int) -> tuple[tuple[Any, ...], int]:
        try:
            found: tuple[Any, ...] = self._image(int(index))
        except InputError as error:
            with self.error.get_lock():
                self.error.value = self.error.value or str(error).encode(errors="replace")[:4095]
            found = np.zeros((1, 1, 3), np.uint8), False
        return found, int(self.images.targets[index])

    def _image(self, index: int) -> tuple[Any, ...]:
        image, mode = self.images.read(index), self.encoding.mode
        limit = self.encoding.max_resolution
        as_jpeg = mode == "jpg" or (mode == "proportion" and _share_of(index) < self.encoding.compress_probability)
        if as_jpeg and (limit is None or max(image.size) <= limit) and self.images.is_jpeg(index):
            stored = self.images.encoded(index)
            self._check(index, len(stored))
            return stored, image.size[1], image.size[0]
        shrunk = min(1.0, (limit or math.inf) / max(image.size)) ** 2
        self._check(index, math.ceil(image.size[0] * image.size[1] * 3 * shrunk))
        return np.asarray(image), as_jpeg and (limit is not None or mode == "proportion")

    def _check(self, index: int, size: int) -> None:
        if size > self.page_bytes:
            raise InputError(
                f"{self.images.where(index)}: takes more than {self.page_bytes:,} bytes; use --loader torch, or give "
                "`thinresnet data write` --max-resolution"
            )


def _share_of(index: int) -> float:
    """An even draw in [0, 1) for an image, the same on every machine and in every process (Knuth's golden hash)."""
    return ((index + 1) * 2654435761 % 2**32) / 2**32


def write(
    images: Images,
    target: Path,
    *,
    name: str,
    split: str,
    encoding: Encoding | None = None,
    progress: Progress = silent,
) -> beton.Header:
    """Write `images` to `target`."""
    writer = beton.parts("ffcv_writer")
    encoding = (encoding or Encoding()).resolved(images)
    estimated = encoding.estimated_bytes(images)
    target.parent.mkdir(parents=True, exist_ok=True)
    _check_room(target, estimated)
    header = beton.Header(name, split, images.digest(), len(images), encoding.mode)
    page_bytes = _page_bytes(images, estimated)
    rows = Rows(images, encoding, page_bytes)
    what = f"writing {split} images, {size_text(estimated)}"
    try:
        with replacing(target) as part:
            writer.write(part, rows, page_bytes, what, progress)
            beton.mark(part, header)
            beton.Beton(part)
    except OSError as error:
        if error.errno not in (errno.ENOSPC, errno.EDQUOT):
            raise
        raise InputError(
            f"{target}: the disk or quota is full ({_free(target) / 1e9:.1f} GB free); make room, or {_ELSEWHERE}"
        ) from None
    return header


_ELSEWHERE = "set THINRESNET_CACHE to a larger disk, or give `thinresnet data write` --output"


def check_asked(images: Mapping[str, Images], folder: Path) -> None:
    """Refuse to fill a home folder: large files are written where somebody said."""
    if os.environ.get("THINRESNET_CACHE"):
        return
    estimated = sum(Encoding().resolved(one).estimated_bytes(one) for one in images.values())
    if estimated > LARGEST_UNASKED_BYTES:
        raise InputError(
            f"{folder}: the .beton files take {size_text(estimated)}, and nobody said where; {_ELSEWHERE}, or use "
            "--loader torch, which writes none"
        )


def size_text(size: float) -> str:
    """`about 1.2 GB`."""
    return f"about {size / 1e9:.1f} GB" if size >= 1e9 else f"about {max(1, round(size / 1e6))} MB"


def _check_room(target: Path, estimated: int) -> None:
    if estimated > _free(target):
        raise InputError(
            f"{target}: takes {size_text(estimated)}, {_free(target) / 1e9:.1f} GB are free; make room, or {_ELSEWHERE}"
        )


def _free(target: Path) -> int:
    return shutil.disk_usage(target.parent).free


def _page_bytes(images: Images, estimated: int) -> int:
    """FFCV writes whole pages, one a process at least: small ones for small sets, if their largest image fits."""
    if estimated > _SMALL_BYTES:
        return _PAGE
    pixels: NDArray[np.int64] = np.asarray([math.prod(images.size(index)) for index in range(len(images))])
    return min(_PAGE, max(_SMALLEST_PAGE, 1 << math.ceil(math.log2(3 * int(pixels.max())))))
