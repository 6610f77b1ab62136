"""The images of one split: files, pixels, or images inside of larger files, each of which is decoded alone, as RGB."""

from __future__ import annotations

import hashlib
import io
import os
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, BinaryIO, Protocol

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from thinresnet.errors import InputError
from thinresnet.files import check_regular

SUFFIXES = (".jpg", ".jpeg", ".png", ".webp", ".bmp", ".ppm", ".tif", ".tiff")


class Source(Protocol):
    """Images inside of larger files (tar, .beton, Arrow), any of which can be read at once, in any process."""

    def where(self, index: int) -> str:
        """The name of an image, as messages have it."""

    def encoded(self, index: int) -> bytes:
        """The bytes of an image as they are stored."""

    def read(self, index: int) -> Image.Image:
        """One image in RGB."""

    def digest(self) -> str:
        """What the images are known by, which changed files do not keep."""


@dataclass(frozen=True)
class Images:
    """The images of one split, as files, as pixels (N, H, W, 3) or in a source, with the class number of each."""

    targets: NDArray[np.int64]
    files: Sequence[Path] | None = None
    pixels: NDArray[np.uint8] | None = None
    source: Source | None = None

    def __len__(self) -> int:
        return len(self.targets)

    def digest(self) -> str:
        """What the images are known by; files by class, name, size and time, which a changed image does not keep."""
        return self._digest

    @cached_property
    def _digest(self) -> str:
        known = hashlib.sha256()
        if self.source is not None:
            known.update(self.source.digest().encode() + self.targets.tobytes())
            return known.hexdigest()[:32]
        assert self.files is not None
        for file, target in zip(self.files, self.targets, strict=True):
            stat = file.stat()
            line = f"{file.parent.name}/{file.name}\0{stat.st_size}\0{stat.st_mtime_ns}\0{target}\n"
            known.update(os.fsencode(line))  # names may be no UTF-8
        return known.hexdigest()[:32]

    def read(self, index: int) -> Image.Image:
        """One image in RGB."""
        if self.pixels is not None:
            return Image.fromarray(self.pixels[index])
        if self.source is not None:
            return self.source.read(index)
        assert self.files is not None
        return read_image(self.files[index])

    def where(self, index: int) -> str:
        """The name of an image, as messages have it."""
        if self.source is not None:
            return self.source.where(index)
        return str(self.files[index]) if self.files is not None else f"image {index}"

    def encoded(self, index: int) -> bytes:
        """The bytes of an image as they are stored: a file, or pixels."""
        if self.source is not None:
            return self.source.encoded(index)
        if self.files is not None:
            return self.files[index].read_bytes()
        assert self.pixels is not None
        return bytes(self.pixels[index].tobytes())

    def size(self, index: int) -> tuple[int, int]:
        """(width, height) by the head of the file alone."""
        if self.pixels is not None:
            return int(self.pixels.shape[2]), int(self.pixels.shape[1])
        try:
            with Image.open(self.files[index] if self.files is not None else io.BytesIO(self.encoded(index))) as image:
                return (image.width, image.height)
        except (OSError, Image.DecompressionBombError):  # stored as pixels; or broken, which reading it says
            return self.read(index).size

    def is_jpeg(self, index: int) -> bool:
        """Whether an image is stored as a JPEG file in colour, which FFCV decodes as it is."""
        if self.pixels is not None:
            return False
        try:
            with Image.open(self.files[index] if self.files is not None else io.BytesIO(self.encoded(index))) as image:
                return bool(image.format == "JPEG" and image.mode == "RGB")
        except (OSError, Image.DecompressionBombError):
            return False

    def subset(self, chosen: Sequence[int], targets: NDArray[np.int64]) -> Images:
        """Some of the images, with other class numbers."""
        return Images(
            targets,
            files=None if self.files is None else [self.files[index] for index in chosen],
            pixels=None if self.pixels is None else self.pixels[list(chosen)],
            source=None if self.source is None else _Chosen(self.source, tuple(chosen)),
        )


@dataclass(frozen=True)
class _Chosen:
    """Some images of a source."""

    source: Source
    chosen: tuple[int, ...]

    def where(self, index: int) -> str:
        return self.source.where(self.chosen[index])

    def encoded(self, index: int) -> bytes:
        return self.source.encoded(self.chosen[index])

    def read(self, index: int) -> Image.Image:
        return self.source.read(self.chosen[index])

    def digest(self) -> str:
        return hashlib.sha256(f"{self.source.digest()} {self.chosen}".encode()).hexdigest()


def read_image(path: Path) -> Image.Image:
    """Decode a file, or name it in the refusal."""
    check_regular(path)
    try:
        return decoded(path, str(path))
    except FileNotFoundError:
        raise InputError(f"{path}: no such image; was it removed since the start?") from None


def decoded(file: Path | BinaryIO, where: str) -> Image.Image:
    """Decode a file that is named `where` in the refusal."""
    try:
        with Image.open(file) as image:
            return _in_rgb(image)
    except FileNotFoundError:
        raise
    except Exception as error:  # Pillow's decoders raise many kinds for a broken file
        reason = " ".join(str(error).split())[:160]
        raise InputError(f"{where}: not an image that can be decoded ({reason}); remove or replace the file") from None


def _in_rgb(image: Image.Image) -> Image.Image:
    """8 bits a channel; Pillow's own conversion cuts values off above 255 and makes 0 or 1 of what is below."""
    rgb: Image.Image
    if image.mode == "F" or image.mode.startswith("I"):
        bits = _bits_a_pixel(image)
        values = np.asarray(image).astype(np.int64) & ((1 << bits) - 1)
        scaled = (values * 255 + (1 << bits) // 2) // ((1 << bits) - 1)
        rgb = Image.fromarray(scaled.astype(np.uint8)).convert("RGB")
    else:
        rgb = image.convert("RGB")
    return rgb


def _bits_a_pixel(image: Image.Image) -> int:
    """The width of the unsigned integers of a grey image; what has no defined range is refused."""
    if image.mode.startswith("I") and image.format in ("PNG", "PPM"):
        return 16  # of a PPM Pillow scales every range above 255 to this
    tags: Any = getattr(image, "tag_v2", {})
    bits, kind = (tags.get(tag, (default,)) for tag, default in ((258, 1), (339, 1)))  # BitsPerSample, SampleFormat
    if image.mode == "F" or image.format != "TIFF" or kind != (1,) or len(bits) != 1:
        what = "floating-point" if image.mode == "F" else "signed or unknown"
        raise ValueError(
            f"its {what} values ({image.format}, mode {image.mode}) have no defined range; save it in 8 bits"
        )
    return int(bits[0])
