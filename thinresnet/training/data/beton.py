"""Files in FFCV's .beton format: written whole or not at all, checked when opened, and decoded from a memory map.

An image is stored as pixels, or as the bytes of the JPEG file that it came from; both are modes of FFCV's own format,
so FFCV's Loader reads these files too. FFCV decodes JPEG by a fast transform (values differ from Pillow's by a few
levels); pixels are those of Pillow exactly. Which images a file holds stands in a field of its header that FFCV leaves
free.
"""

from __future__ import annotations

import errno
import importlib.util
import json
import math
import shutil
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image

from thinresnet.errors import InputError
from thinresnet.files import replacing
from thinresnet.training.data.datasets import Images
from thinresnet.training.data.memory import Progress

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


def library() -> Any:
    """FFCV's own functions; its import sets torch to one thread, which is taken back."""
    if not available():
        raise InputError(INSTALL)
    threads = torch.get_num_threads()
    try:
        from ffcv import libffcv, reader, types
    except (ImportError, OSError) as error:
        raise InputError(f"FFCV cannot be loaded ({' '.join(str(error).split())[:160]}); {INSTALL}") from None
    finally:
        torch.set_num_threads(threads)
    return libffcv, reader, types


def write(
    images: Images, target: Path, *, name: str, split: str, mode: str = "auto", progress: Progress | None = None
) -> Header:
    """Write `images` to `target`; all are decoded on the way, so a broken one is named and nothing is written."""
    _, _, types = library()
    if mode not in MODES:
        raise InputError(f"mode {mode!r}: takes one of {', '.join(MODES)}")
    if mode == "auto":
        mode = "raw" if _raw_bytes(images) <= _LARGEST_RAW else "jpg"
    header = Header(name, split, images.digest(), len(images), mode)
    try:
        with replacing(target) as part:
            _write(types, images, part, header, progress)
    except OSError as error:
        if error.errno != errno.ENOSPC:
            raise
        free = shutil.disk_usage(target.parent).free / 1e9
        raise InputError(
            f"{target}: the disk is full ({free:.1f} GB free); make room, or set THINRESNET_CACHE to a larger disk"
        ) from None
    return header


def _write(types: Any, images: Images, part: Path, header: Header, progress: Progress | None) -> None:
    fields = np.zeros(2, types.FieldDescType)
    for field, kind, title in zip(fields, (2, 1), ("image", "label"), strict=True):
        field["type_id"] = kind
        field["name"][: len(title)] = np.frombuffer(title.encode(), np.uint8)
    said = json.dumps(asdict(header)).encode()
    fields[1]["arguments"][: len(said)] = np.frombuffer(said, np.uint8)
    metadata = np.zeros(len(images), types.get_metadata_type(types.get_handlers(fields)))
    allocations = np.zeros(len(images), types.ALLOC_TABLE_TYPE)
    first, second = metadata.dtype.names or ("", "")
    metadata[second] = images.targets
    start = types.HeaderType.itemsize + fields.nbytes
    place = -(-(start + metadata.nbytes) // _PAGE) * _PAGE
    with part.open("wb") as file:
        file.seek(place)
        for index, (kind, height, width, data) in enumerate(_encoded(images, header.mode)):
            if place % _PAGE + len(data) > _PAGE:
                place = -(-place // _PAGE) * _PAGE
                file.seek(place)
            file.write(data)
            metadata[first][index] = (kind, width, height, place)
            allocations[index] = (index, place, len(data))
            place += len(data)
            if progress and ((index + 1) % 1000 == 0 or index + 1 == len(images)):
                progress(f"writing {header.split} images", index + 1, len(images))
        file.write(allocations.tobytes())
        head = np.zeros(1, types.HeaderType)
        head[0] = (types.CURRENT_VERSION, len(fields), _PAGE, len(images), place)
        file.seek(0)
        file.write(head.tobytes() + fields.tobytes() + metadata.tobytes())


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
        self._ffcv, reader, types = library()
        self.path = path
        try:
            found = reader.Reader(str(path))
            self.header = _header(found.field_descriptors)
            first, second = found.metadata.dtype.names
            rows = found.metadata[first]
            sizes = np.zeros(len(rows), np.int64)
            sizes[found.alloc_table["sample_id"].astype(np.int64)] = found.alloc_table["size"]
            self.data = np.memmap(path, np.uint8, mode="r")
        except FileNotFoundError:
            raise InputError(f"{path}: no such file") from None
        except (AssertionError, ValueError, KeyError, IndexError, TypeError, OSError) as error:
            reason = " ".join(str(error).split())[:160]
            raise InputError(f"{path}: not a .beton file of images ({reason}); delete it, it is written anew") from None
        self.labels = found.metadata[second].astype(np.int64)
        self.heights, self.widths = rows["height"].astype(np.int64), rows["width"].astype(np.int64)
        self._modes, self._starts, self._sizes = rows["mode"], rows["data_ptr"].astype(np.int64), sizes
        self._check_bounds(types)

    def _check_bounds(self, types: Any) -> None:
        """A file that was cut short or tampered with must not lead outside itself."""
        pixels = self.heights * self.widths * 3
        raw = self._modes == _RAW
        whole = (self._starts >= types.HeaderType.itemsize) & (self._starts + self._sizes <= len(self.data))
        if not (np.all(whole & (pixels > 0) & (self._modes <= _RAW)) and np.array_equal(self._sizes[raw], pixels[raw])):
            raise InputError(f"{self.path}: cut short or damaged; delete it, it is written anew")

    def __len__(self) -> int:
        return len(self.labels)

    def pixels(self, index: int) -> NDArray[np.uint8]:
        """One image (H, W, 3); read-only where it is stored as pixels."""
        start, size = int(self._starts[index]), int(self._sizes[index])
        height, width = int(self.heights[index]), int(self.widths[index])
        stored = self.data[start : start + size]
        if self._modes[index] == _RAW:
            return stored.reshape(height, width, 3)
        found = np.empty((height, width, 3), np.uint8)
        if self._ffcv.imdecode(stored, found, height, width, height, width, 0, 0, 1, 1, False, False) != 0:
            raise InputError(f"{self.path}: image {index} cannot be decoded; delete the file, it is written anew")
        return found


def _header(fields: Any) -> Header:
    said = fields[1]["arguments"].tobytes().rstrip(b"\0")
    found = json.loads(said) if said else {}
    if not isinstance(found, dict) or set(found) != set(Header.__dataclass_fields__):
        raise ValueError("it does not say which images it holds")
    return Header(**found)
