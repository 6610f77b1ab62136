"""Files in FFCV's .beton format: written whole or not at all, checked when opened, and decoded from a memory map.

An image is stored as pixels, or as the bytes of the JPEG file that it came from; both are modes of FFCV's own format,
so FFCV's Loader reads these files too. FFCV decodes JPEG by a fast transform (values differ from Pillow's by a few
levels); pixels are those of Pillow exactly. Which images a file holds stands in a field of its header that FFCV leaves
free.

Only FFCV's compiled decoder is loaded: importing its Python part compiles for seconds and sets torch to one thread.
"""

from __future__ import annotations

import ctypes
import errno
import functools
import importlib.util
import json
import math
import shutil
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from thinresnet.errors import InputError
from thinresnet.files import check_regular, replacing
from thinresnet.progress import Progress, silent
from thinresnet.training.data.datasets import Images

MODES = ("auto", "raw", "jpg")
INSTALL = (
    "FFCV is not installed: apt-get install -y g++ pkg-config libopencv-dev libturbojpeg0-dev, then "
    'pip install "thinresnet[ffcv]"'
)
# Pixels need no decoding, but ImageNet's would take 700 GB; small photographs are stored as pixels, large sets as JPEG.
_LARGEST_RAW = 20 * 10**9
_PAGE = 2**25
_CHUNK = 256
_JPG, _RAW = 0, 1
# The format, version 2, of an image field and a whole-number field.
_VERSION = 2
_KINDS = (2, 1)
_HEAD = np.dtype(
    [
        ("version", "<u2"),
        ("num_fields", "<u2"),
        ("page_size", "<u4"),
        ("num_samples", "<u8"),
        ("alloc_table_ptr", "<u8"),
    ],
    align=True,
)
_FIELD = np.dtype([("type_id", "<u1"), ("name", "<u1", 16), ("arguments", "<u1", 1024)], align=True)
_IMAGE = np.dtype([("mode", "<u1"), ("width", "<u2"), ("height", "<u2"), ("data_ptr", "<u8")])
_ROW = np.dtype([("image", _IMAGE), ("label", "<i8")], align=True)
_ALLOCATION = np.dtype([("sample_id", "<u8"), ("ptr", "<u8"), ("size", "<u8")])


@dataclass(frozen=True)
class Header:
    """What a file says of itself."""

    name: str
    split: str
    digest: str
    count: int
    mode: str


def available() -> bool:
    """Whether FFCV is installed."""
    return importlib.util.find_spec("ffcv") is not None


@functools.cache
def decoder() -> Callable[..., int]:
    """FFCV's JPEG decoder: turns bytes in memory into pixels in memory; lets other threads run meanwhile."""
    spec = importlib.util.find_spec("ffcv") if available() else None
    places = list(spec.submodule_search_locations or ()) if spec else []
    files = [file for place in places for file in Path(place).glob("_libffcv*")]
    if not files:
        raise InputError(INSTALL)
    try:
        found: Any = ctypes.CDLL(str(files[0])).imdecode
    except (OSError, AttributeError) as error:
        raise InputError(f"FFCV cannot be loaded ({' '.join(str(error).split())[:160]}); {INSTALL}") from None
    found.argtypes = [ctypes.c_void_p, ctypes.c_uint64, *[ctypes.c_uint32] * 2, ctypes.c_void_p, *[ctypes.c_uint32] * 6]
    found.argtypes += [ctypes.c_bool] * 2
    return found  # type: ignore[no-any-return]


def write(
    images: Images, target: Path, *, name: str, split: str, mode: str = "auto", progress: Progress = silent
) -> Header:
    """Write `images` to `target`; all are decoded on the way, so a broken one is named and nothing is written."""
    decoder()
    if mode not in MODES:
        raise InputError(f"mode {mode!r}: takes one of {', '.join(MODES)}")
    if mode == "auto":
        mode = "raw" if _raw_bytes(images) <= _LARGEST_RAW else "jpg"
    header = Header(name, split, images.digest(), len(images), mode)
    try:
        with replacing(target) as part:
            _write(images, part, header, progress)
    except OSError as error:
        if error.errno != errno.ENOSPC:
            raise
        free = shutil.disk_usage(target.parent).free / 1e9
        raise InputError(
            f"{target}: the disk is full ({free:.1f} GB free); make room, or set THINRESNET_CACHE to a larger disk"
        ) from None
    return header


def _write(images: Images, part: Path, header: Header, progress: Progress) -> None:
    fields = np.zeros(2, _FIELD)
    for field, kind, title in zip(fields, _KINDS, ("image", "label"), strict=True):
        field["type_id"] = kind
        field["name"][: len(title)] = np.frombuffer(title.encode(), np.uint8)
    arguments = json.dumps(asdict(header)).encode()
    fields[1]["arguments"][: len(arguments)] = np.frombuffer(arguments, np.uint8)
    rows = np.zeros(len(images), _ROW)
    allocations = np.zeros(len(images), _ALLOCATION)
    rows["label"] = images.targets
    place = _next_page(_HEAD.itemsize + fields.nbytes + rows.nbytes)
    with part.open("wb") as file:
        file.seek(place)
        for index, (kind, height, width, data) in enumerate(_encoded(images, header.mode)):
            if place % _PAGE + len(data) > _PAGE:
                place = _next_page(place)
                file.seek(place)
            file.write(data)
            rows["image"][index] = (kind, width, height, place)
            allocations[index] = (index, place, len(data))
            place += len(data)
            if (index + 1) % 1000 == 0 or index + 1 == len(images):
                progress(f"writing {header.split} images", index + 1, len(images))
        file.write(allocations.tobytes())
        head = np.zeros(1, _HEAD)
        head[0] = (_VERSION, len(fields), _PAGE, len(images), place)
        file.seek(0)
        file.write(head.tobytes() + fields.tobytes() + rows.tobytes())


def _next_page(place: int) -> int:
    return math.ceil(place / _PAGE) * _PAGE


def _encoded(images: Images, mode: str) -> Iterator[tuple[int, int, int, bytes]]:
    """(mode, height, width, bytes) of each image, decoded some ahead by threads."""

    def encode(index: int) -> tuple[int, int, int, bytes]:
        image = images.read(index)
        width, height = image.size
        if mode == "jpg" and images.files is not None and _plain_jpeg(images.files[index]):
            found = _JPG, height, width, images.files[index].read_bytes()
        else:
            found = _RAW, height, width, image.tobytes()
        if len(found[3]) > _PAGE:
            where = images.files[index] if images.files is not None else f"image {index}"
            raise InputError(f"{where}: takes more than {_PAGE:,} bytes; use --loader torch, or make it smaller")
        return found

    with ThreadPoolExecutor() as pool:
        for first in range(0, len(images), _CHUNK):
            yield from pool.map(encode, range(first, min(first + _CHUNK, len(images))))


def _plain_jpeg(path: Path) -> bool:
    with Image.open(path) as image:
        return bool(image.format == "JPEG" and image.mode == "RGB")


def _raw_bytes(images: Images) -> int:
    """What all images would take as pixels, judged by a sample of them."""
    sample = [images.read(int(index)).size for index in np.linspace(0, len(images) - 1, 32, dtype=int)]
    return math.ceil(float(np.mean([width * height * 3 for width, height in sample])) * len(images))


class Beton:
    """An opened file: sizes and labels of all images, and decoding of any of them, from any thread."""

    def __init__(self, path: Path):
        self.path = path
        self._decode = decoder()
        check_regular(path)
        try:
            self.data = np.memmap(path, np.uint8, mode="r")
            self.header, rows, allocations = _read(self.data)
        except FileNotFoundError:
            raise InputError(f"{path}: no such file") from None
        except (ValueError, KeyError, TypeError, OSError) as error:
            reason = " ".join(str(error).split())[:160]
            raise InputError(f"{path}: not a .beton file of images ({reason}); delete it, it is written anew") from None
        self.labels = rows["label"].astype(np.int64)
        image = rows["image"]
        self.heights, self.widths = image["height"].astype(np.int64), image["width"].astype(np.int64)
        self._raw, self._starts = image["mode"] == _RAW, image["data_ptr"].astype(np.int64)
        self._sizes = allocations["size"].astype(np.int64)

    def __len__(self) -> int:
        return len(self.labels)

    def pixels(self, index: int) -> NDArray[np.uint8]:
        """One image (H, W, 3); read-only where it is stored as pixels."""
        start, size = int(self._starts[index]), int(self._sizes[index])
        height, width = int(self.heights[index]), int(self.widths[index])
        stored = self.data[start : start + size]
        if self._raw[index]:
            return stored.reshape(height, width, 3)
        found = np.empty((height, width, 3), np.uint8)
        places = stored.ctypes.data, size, height, width, found.ctypes.data
        if self._decode(*places, height, width, 0, 0, 1, 1, False, False) != 0:
            raise InputError(f"{self.path}: image {index} cannot be decoded; delete the file, it is written anew")
        return found


def _read(data: NDArray[np.uint8]) -> tuple[Header, NDArray[Any], NDArray[Any]]:
    """(header, rows, allocations) of a file, which a stranger may have made: nothing in it leads outside of it."""

    def part(kind: np.dtype[Any], start: int, count: int) -> NDArray[Any]:
        if not 0 <= start <= start + count * kind.itemsize <= len(data):
            raise ValueError("it is cut short")
        return data[start : start + count * kind.itemsize].view(kind)

    head = part(_HEAD, 0, 1)[0]
    if head["version"] != _VERSION or head["num_fields"] != len(_KINDS):
        raise ValueError("its header is another one")
    fields = part(_FIELD, _HEAD.itemsize, len(_KINDS))
    if tuple(fields["type_id"]) != _KINDS:
        raise ValueError("it holds something else than images and labels")
    count = int(head["num_samples"])
    rows = part(_ROW, _HEAD.itemsize + fields.nbytes, count)
    allocations = part(_ALLOCATION, int(head["alloc_table_ptr"]), count)
    found = json.loads(fields[1]["arguments"].tobytes().rstrip(b"\0") or b"null")
    if not isinstance(found, dict) or set(found) != set(Header.__dataclass_fields__):
        raise ValueError("it does not say which images it holds")
    _check_places(rows["image"], allocations, len(data))
    return Header(**found), rows, allocations


def _check_places(images: NDArray[Any], allocations: NDArray[Any], end: int) -> None:
    pixels = images["height"].astype(np.int64) * images["width"] * 3
    starts, sizes = allocations["ptr"], allocations["size"]
    raw = images["mode"] == _RAW
    inside = np.array_equal(images["data_ptr"], starts) and bool(np.all((starts <= end) & (sizes <= end - starts)))
    if not (inside and np.all((pixels > 0) & (images["mode"] <= _RAW)) and np.array_equal(sizes[raw], pixels[raw])):
        raise ValueError("its images lie outside of it")
