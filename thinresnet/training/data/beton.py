"""Files in FFCV's .beton format: checked when opened, and decoded from a memory map.

An image is stored as pixels, or as the bytes of a JPEG file. FFCV decodes JPEG by a fast transform (values differ from
Pillow's by a few levels); pixels are those of Pillow exactly. Files that are written here (beton_writing.py) say in a
field of the header that FFCV leaves free which images they hold; files by FFCV's own writer are read as they are.

Only FFCV's compiled decoder is loaded here: importing its Python part takes seconds, and sets torch to one thread.
"""

from __future__ import annotations

import ctypes
import functools
import hashlib
import importlib
import importlib.util
import json
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from thinresnet.errors import InputError
from thinresnet.files import check_regular

SUFFIXES = (".beton", ".ffcv")
INSTALL = (
    "FFCV is not installed: apt-get install -y g++ pkg-config libopencv-dev libturbojpeg0-dev, then "
    'pip install "thinresnet[ffcv]"'
)
JPG, RAW = 0, 1
# The format, version 2, of an image field and an integer field.
_VERSION = 2
_KINDS, _NAMES = (2, 1), ("image", "label")
_MOST_CLASSES = 10**6
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
    """What a file says of itself; of a file by FFCV's own writer, what can be said of it."""

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


def parts(module: str) -> Any:
    """The module of this package of that name, which imports FFCV; torch keeps its threads, which FFCV sets to one."""
    decoder()
    threads = torch.get_num_threads()
    try:
        return importlib.import_module(f"{__package__}.{module}")
    except (ImportError, OSError) as error:
        raise InputError(f"FFCV cannot be loaded ({' '.join(str(error).split())[:160]}); {INSTALL}") from None
    finally:
        torch.set_num_threads(threads)


def undecodable(path: Path, index: int) -> InputError:
    """What there is to say of an image whose bytes are no JPEG."""
    return InputError(f"{path}: image {index} cannot be decoded; delete the file and write it anew")


class Beton:
    """An opened file: sizes and labels of all images, and decoding of any of them, from any thread."""

    def __init__(self, path: Path):
        self.path = path
        self._decode = decoder()
        check_regular(path)
        try:
            self.data = np.memmap(path, np.uint8, mode="r")
            self.header, rows, self._sizes = _read(self.data, path)
        except FileNotFoundError:
            raise InputError(f"{path}: no such file") from None
        except (ValueError, KeyError, TypeError, OSError) as error:
            reason = " ".join(str(error).split())[:160]
            raise InputError(
                f"{path}: not a .beton file of images ({reason}); delete it and write it anew, with `thinresnet data "
                "write` or FFCV's DatasetWriter"
            ) from None
        self.labels = rows["label"].astype(np.int64)
        image = rows["image"]
        self.heights, self.widths = image["height"].astype(np.int64), image["width"].astype(np.int64)
        self._raw, self._starts = image["mode"] == RAW, image["data_ptr"].astype(np.int64)

    def __len__(self) -> int:
        return len(self.labels)

    def stored(self, index: int) -> bytes:
        """The bytes of one image as they lie in the file: pixels, or a JPEG file."""
        return self._part(index).tobytes()

    def pixels(self, index: int) -> NDArray[np.uint8]:
        """One image (H, W, 3); read-only where it is stored as pixels."""
        stored = self._part(index)
        height, width = int(self.heights[index]), int(self.widths[index])
        if self._raw[index]:
            return stored.reshape(height, width, 3)
        found = np.empty((height, width, 3), np.uint8)
        places = stored.ctypes.data, len(stored), height, width, found.ctypes.data
        if self._decode(*places, height, width, 0, 0, 1, 1, False, False) != 0:
            raise undecodable(self.path, index)
        return found

    def _part(self, index: int) -> NDArray[np.uint8]:
        start = int(self._starts[index])
        return self.data[start : start + int(self._sizes[index])]


def mark(path: Path, header: Header) -> None:
    """Write into a file by FFCV's writer which images it holds, and that its first field is FFCV's own image field."""
    arguments = json.dumps(asdict(header)).encode()
    if len(arguments) > _FIELD["arguments"].itemsize:
        raise InputError(f"{header.name[:80]}: the name is too long; rename the folder")
    fields = np.memmap(path, _FIELD, mode="r+", offset=_HEAD.itemsize, shape=(len(_KINDS),))
    fields["type_id"] = _KINDS
    fields[1]["arguments"][: len(arguments)] = np.frombuffer(arguments, np.uint8)
    fields.flush()


def _read(data: NDArray[np.uint8], path: Path) -> tuple[Header, NDArray[Any], NDArray[np.int64]]:
    """(header, rows, bytes of each image) of a file, which a stranger may have made: nothing leads outside of it."""

    def part(kind: np.dtype[Any], start: int, count: int) -> NDArray[Any]:
        if not 0 <= start <= start + count * kind.itemsize <= len(data):
            raise ValueError("it is cut short")
        return data[start : start + count * kind.itemsize].view(kind)

    head = part(_HEAD, 0, 1)[0]
    if head["version"] != _VERSION or head["num_fields"] != len(_KINDS):
        raise ValueError("its header is another one")
    fields = part(_FIELD, _HEAD.itemsize, len(_KINDS))
    names = tuple(field.tobytes().split(b"\0")[0].decode("ascii", "replace") for field in fields["name"])
    if tuple(fields["type_id"]) != _KINDS or names != _NAMES:
        raise ValueError("it holds something else than the fields image and label")
    count = int(head["num_samples"])
    rows = part(_ROW, _HEAD.itemsize + fields.nbytes, count)
    allocations = part(_ALLOCATION, int(head["alloc_table_ptr"]), count)
    if not count or not 0 <= rows["label"].min() <= rows["label"].max() < _MOST_CLASSES:
        raise ValueError("it holds no images, or labels that are no class numbers")
    sizes = _sizes(rows["image"], allocations, int(head["alloc_table_ptr"]))
    found = json.loads(fields[1]["arguments"].tobytes().rstrip(b"\0") or b"null")
    if found is None:
        return _foreign(path, rows, allocations), rows, sizes
    if not isinstance(found, dict) or set(found) != set(Header.__dataclass_fields__):
        raise ValueError("it does not say which images it holds")
    return Header(**found), rows, sizes


def _foreign(path: Path, rows: NDArray[Any], allocations: NDArray[Any]) -> Header:
    """The header of a file by FFCV's own writer, known by its tables, its size and its time."""
    stat = path.stat()
    known = hashlib.sha256(rows.tobytes() + allocations.tobytes() + f"{stat.st_size} {stat.st_mtime_ns}".encode())
    modes = set(np.unique(rows["image"]["mode"]).tolist())
    mode = "proportion" if len(modes) > 1 else {JPG: "jpg", RAW: "raw"}[modes.pop()]
    return Header(path.stem, "", known.hexdigest()[:32], len(rows), mode)


def _sizes(images: NDArray[Any], allocations: NDArray[Any], end: int) -> NDArray[np.int64]:
    """The bytes of each image; several processes wrote them, so that the table is in another order than the images."""
    allocations = allocations[np.argsort(allocations["ptr"], kind="stable")]
    places = np.searchsorted(allocations["ptr"], images["data_ptr"]).clip(max=len(allocations) - 1)
    starts, sizes = allocations["ptr"][places], allocations["size"][places]
    pixels = images["height"].astype(np.int64) * images["width"] * 3
    raw = images["mode"] == RAW
    inside = np.array_equal(images["data_ptr"], starts) and bool(np.all((starts <= end) & (sizes <= end - starts)))
    if not (inside and np.all((pixels > 0) & (images["mode"] <= RAW)) and np.array_equal(sizes[raw], pixels[raw])):
        raise ValueError("its images lie outside of it")
    found: NDArray[np.int64] = sizes.astype(np.int64)
    return found
