"""Images inside of larger files: tar files, WebDataset shards, Hugging Face datasets, .beton files.

timm's readers say which files and which images there are, by timm's names; what is read here is read by index, so that
the order of an epoch is a function of the seed as for folders. Nothing is unpickled, no remote code is run, and no
member of an archive is ever written to a disk.
"""

from __future__ import annotations

import hashlib
import io
import json
import os
import re
import tarfile
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from timm.data import get_img_extensions, set_img_extensions
from timm.data.readers import create_reader

from thinresnet.errors import InputError, nearest
from thinresnet.files import LARGEST_JSON_BYTES, check_regular
from thinresnet.training.data.beton import Beton
from thinresnet.training.data.images import SUFFIXES, Images, decoded

Split = tuple[tuple[str, ...], Images]

_MOST_CLASSES = 10**6
_LARGEST_SIDECAR_BYTES = 2**20
_MOST_SHARDS = 100_000
_SPAN = re.compile(r"\{(-?\d+)\.\.(-?\d+)")
STREAMS = {
    "hfids": "use hfds/ instead of hfids/: the same images, read by index",
    "tfds": "save its images as class folders (docs/training.md, Data, has the lines), or use its copy on Hugging Face",
}


@dataclass
class Packed:
    """Images at known places of uncompressed archives, read without a position that processes would share."""

    files: Sequence[Path]
    which: NDArray[np.int64]
    starts: NDArray[np.int64]
    sizes: NDArray[np.int64]
    names: Sequence[str]
    opened: dict[int, int] = field(default_factory=dict)

    def __post_init__(self) -> None:
        ends = np.asarray([file.stat().st_size for file in self.files])
        beyond = np.flatnonzero(self.starts + self.sizes > ends[self.which])
        if len(beyond):
            raise InputError(f"{self.where(int(beyond[0]))}: the archive is cut short; copy or download it again")

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "opened": {}}

    def where(self, index: int) -> str:
        """The archive and the member."""
        return f"{self.files[self.which[index]]}/{self.names[index]}"

    def encoded(self, index: int) -> bytes:
        """The bytes of a member."""
        number = int(self.which[index])
        if number not in self.opened:
            check_regular(self.files[number])
            handle = os.open(self.files[number], os.O_RDONLY)
            if self.opened.setdefault(number, handle) != handle:
                os.close(handle)  # another thread was quicker
        return os.pread(self.opened[number], int(self.sizes[index]), int(self.starts[index]))

    def read(self, index: int) -> Image.Image:
        """One image in RGB."""
        return decoded(io.BytesIO(self.encoded(index)), self.where(index))

    def digest(self) -> str:
        """The archives by name, size and time, and which members are images."""
        known = hashlib.sha256()
        for file in self.files:
            stat = file.stat()
            known.update(os.fsencode(f"{file.name}\0{stat.st_size}\0{stat.st_mtime_ns}\n"))
        known.update(self.which.tobytes() + self.starts.tobytes() + self.sizes.tobytes())
        return known.hexdigest()[:32]


@dataclass
class InBeton:
    """The images of a .beton file."""

    file: Beton

    def where(self, index: int) -> str:
        """The file and the number of the image."""
        return f"{self.file.path}, image {index}"

    def encoded(self, index: int) -> bytes:
        """Pixels, or a JPEG file."""
        return self.file.stored(index)

    def read(self, index: int) -> Image.Image:
        """One image in RGB, as FFCV decodes it."""
        return Image.fromarray(self.file.pixels(index))

    def digest(self) -> str:
        """What the file says of itself."""
        return self.file.header.digest


@dataclass
class InTable:
    """The images of a Hugging Face dataset, through timm's reader."""

    name: str
    reader: Any

    def where(self, index: int) -> str:
        """The dataset and the row."""
        return f"{self.name}, row {index}"

    def encoded(self, index: int) -> bytes:
        """The bytes of an image file."""
        try:
            return bytes(self.reader[index][0].read())
        except Exception as error:  # of three libraries
            raise InputError(f"{self.where(index)}: holds no image that can be read ({_reason(error)})") from None

    def read(self, index: int) -> Image.Image:
        """One image in RGB."""
        return decoded(io.BytesIO(self.encoded(index)), self.where(index))

    def digest(self) -> str:
        """The Arrow files by name, size and time."""
        known = hashlib.sha256(f"{self.name}\0{len(self.reader)}\0{self.reader.split}".encode())
        for entry in self.reader.dataset.cache_files:
            stat = Path(entry["filename"]).stat()
            known.update(f"{Path(entry['filename']).name}\0{stat.st_size}\0{stat.st_mtime_ns}\n".encode())
        return known.hexdigest()[:32]


def open_beton_split(path: Path) -> Split:
    """The images of a .beton file, whoever wrote it; its classes have numbers and no names."""
    file = Beton(path)
    return _numbered(file.labels), Images(file.labels, source=InBeton(file))


def open_tar(path: Path) -> Split:
    """The images of a tar file by timm's reader: the class is the folder in it, or the tar file in the tar file."""
    with _archive(path, "tar file of images"), _all_suffixes():
        tarfile.open(path, "r:").close()  # timm would decompress it, however much comes out
        # Without its cache of what is in large files, which is a pickle beside them.
        reader = create_reader("", root=str(path), cache_tarinfo=False)
    kept = [
        (sample, int(target))
        for sample, target in zip(reader.samples, reader.targets, strict=True)
        if not sample[0].name.rsplit("/", 1)[-1].startswith(".")
    ]
    names = [f"{inner.name}/{member.name}" if inner else member.name for (member, _, inner), _ in kept]
    _check_members(path, [member for (member, _, _), _ in kept], names)
    if "" in reader.class_name_to_idx:
        loose = next(name for name in names if "/" not in name)
        raise InputError(f"{path}/{loose}: lies in no class folder; images are expected as CLASS/IMAGE")
    starts = [member.offset_data + (inner.offset_data if inner else 0) for (member, _, inner), _ in kept]
    packed = Packed(
        (path,), np.zeros(len(kept), np.int64), np.asarray(starts, np.int64),
        np.asarray([member.size for (member, _, _), _ in kept], np.int64), names,
    )  # fmt: skip
    classes = sorted(reader.class_name_to_idx, key=reader.class_name_to_idx.__getitem__)
    return tuple(classes), Images(np.asarray([target for _, target in kept], np.int64), source=packed)


def open_shards(root: str | None, name: str, split: str, input_key: str | None, target_key: str | None) -> Split:
    """The samples of WebDataset shards: timm's reader says which, and they are listed here, to be read by index."""
    folder = Path(root or name)
    if not folder.is_dir():
        raise InputError(f"--data-dir {folder}: no such folder; WebDataset shards are read from a disk, not from a URL")
    for info in ("_info.json", "info.json"):
        if (folder / info).exists():
            check_regular(folder / info)
            if (folder / info).stat().st_size > LARGEST_JSON_BYTES:
                raise InputError(f"{folder / info}: larger than {LARGEST_JSON_BYTES:,} bytes")
    _check_count(split)
    keys = {"input_key": input_key, "target_key": target_key}
    reader = _reader("wds/" + name, "webdataset", split, root=str(folder), **keys)
    files = [folder / shard for shard in reader.split_info.filenames]
    for file in files:
        if not file.resolve().is_relative_to(folder.resolve()) or not file.is_file():
            raise InputError(
                f"{file}: no such shard in {folder}; name the shards as --train-split 'x-{{0000..0009}}.tar'"
            )
    label = reader.target_key or reader.split_info.alt_label
    suffixes = tuple(f".{key}" for key in reader.input_key.split(";"))
    found = [sample for number, file in enumerate(files) for sample in _samples(file, number, suffixes, label)]
    if not found:
        raise InputError(f"{folder}: no samples with {' '.join(suffixes)} and a class; name them with --input-key")
    which, members, targets = zip(*found, strict=True)
    packed = Packed(
        files, np.asarray(which, np.int64), np.asarray([member.offset_data for member in members], np.int64),
        np.asarray([member.size for member in members], np.int64), [member.name for member in members],
    )  # fmt: skip
    numbers = _labels(targets, str(folder))
    return _numbered(numbers), Images(numbers, source=packed)


def _check_count(split: str) -> None:
    """Refuse names of more shards than anybody has: all of them would be listed."""
    count = 1.0
    for first, last in _SPAN.findall(split):
        count *= abs(float(last) - float(first)) + 1
    if not count <= _MOST_SHARDS:
        raise InputError(
            f"the split {split[:80]!r} names more than {_MOST_SHARDS:,} shards; give the first and the last"
        )


def open_table(name: str, split: str, root: str | None, input_key: str | None, target_key: str | None) -> Split:
    """A split of a Hugging Face dataset: a name of the hub, or a folder of parquet files or images."""
    keys = {"input_key": input_key, "target_key": target_key}
    reader = _reader(name, "datasets", split, root=root, trust_remote_code=False, **keys)
    try:
        column = reader.dataset.with_format("numpy")[reader.label_key][:]
    except (KeyError, TypeError, ValueError) as error:
        raise InputError(
            f"{name}: no column {reader.label_key} ({_reason(error)}); name it with --target-key"
        ) from None
    numbers = _labels(column, name)
    if len(numbers) and reader.dataset[0][reader.image_key] is None:  # timm's reader adds a column that is not there
        columns = ", ".join(own for own in reader.dataset.column_names if own != reader.image_key)
        raise InputError(f"{name}: no images in column {reader.image_key}; of {columns} name one with --input-key")
    classes = tuple(sorted(reader.class_to_idx, key=reader.class_to_idx.__getitem__)) or _numbered(numbers)
    if len(numbers) and numbers.max() >= len(classes):
        raise InputError(f"{name}: row {int(numbers.argmax())} has class {numbers.max()}; it names {len(classes)}")
    return classes, Images(numbers, source=InTable(f"{name}:{split}", reader))


def _reader(name: str, package: str, split: str, **settings: Any) -> Any:
    """timm's reader of that name; whatever it says becomes one line."""
    try:
        return create_reader(name, split=split, **settings)
    except ImportError:
        raise InputError(f"{name}: needs the package {package}; pip install {package}") from None
    except Exception as error:  # of three libraries, and of the network
        if "Please install" in str(error):
            raise InputError(f"{name}: needs the package {package}; pip install {package}") from None
        raise InputError(
            f"{name}: timm's reader cannot open the split {split!r} ({_reason(error)}); splits are named with "
            "--train-split and --val-split, columns with --input-key and --target-key"
        ) from None


def _reason(error: BaseException) -> str:
    return " ".join(str(error).split())[:200] or type(error).__name__


# What tarfile raises for them, and its type stubs do not have.
_DAMAGED: tuple[type[Exception], ...] = (
    tarfile.InvalidHeaderError,  # type: ignore[attr-defined]
    tarfile.TruncatedHeaderError,  # type: ignore[attr-defined]
)


def _strict(largest_bytes: int) -> type[tarfile.TarInfo]:
    """Members of which nothing is passed over: Python takes a damaged header for the end of the archive.

    At a negative size it reads the same member for ever (CVE-2025-8194), and far beyond the end of a stream as long.
    """

    class Strict(tarfile.TarInfo):
        @classmethod
        def frombuf(cls, buf: bytes | bytearray, encoding: str, errors: str) -> tarfile.TarInfo:  # type: ignore[override]
            try:
                return super().frombuf(buf, encoding, errors)
            except _DAMAGED as error:
                raise tarfile.ReadError(f"damaged: {error}") from None

        def _block(self, count: int) -> int:  # asked for the place of the next member, wherever the size stands
            if not 0 <= count <= largest_bytes:
                raise tarfile.ReadError(f"damaged: a member of {count:,} bytes")
            return int(super()._block(count))  # type: ignore[misc]

    return Strict


@contextmanager
def _archive(path: Path, what: str) -> Iterator[None]:
    """Tar files are read to their end; what is wrong with this one becomes one line."""
    check_regular(path)
    before = tarfile.TarFile.tarinfo
    tarfile.TarFile.tarinfo = _strict(path.stat().st_size if path.is_file() else 0)
    try:
        yield
    except InputError:
        raise
    except (tarfile.TarError, ValueError, OSError, EOFError, OverflowError) as error:
        raise InputError(f"{path}: not an uncompressed {what} ({_reason(error)})") from None
    finally:
        tarfile.TarFile.tarinfo = before


@contextmanager
def _all_suffixes() -> Iterator[None]:
    """timm's readers look for PNG and JPEG alone."""
    before = get_img_extensions()
    set_img_extensions(SUFFIXES)
    try:
        yield
    finally:
        set_img_extensions(before)


def _check_members(
    path: Path, members: Sequence[tarfile.TarInfo], names: Sequence[str], suffixes: Sequence[str] = SUFFIXES
) -> None:
    if not members:
        raise InputError(f"{path}: a tar file without images ({' '.join(suffixes)})")
    if len(set(names)) != len(names):
        twice = next(name for name, times in Counter(names).items() if times > 1)
        raise InputError(f"{path}/{twice}: stands twice in the archive; make it anew")
    sparse = [name for member, name in zip(members, names, strict=True) if member.issparse()]
    if sparse:
        raise InputError(f"{path}/{sparse[0]}: stored with holes (sparse); make the archive without --sparse")


def _samples(
    file: Path, number: int, suffixes: tuple[str, ...], label: Any
) -> Iterator[tuple[int, tarfile.TarInfo, int]]:
    """(shard, member, class) of a shard, in its order: a sample is what has the same name before the first dot."""
    images: dict[str, tarfile.TarInfo] = {}
    targets: dict[str, int] = {}
    with _archive(file, "tar file"), tarfile.open(file, "r:") as archive:
        for member in archive:
            folder, _, name = member.name.rpartition("/")
            key, _, ending = name.partition(".")
            key = f"{folder}/{key}"
            if not member.isfile() or name.startswith("."):
                continue
            if f".{ending.lower()}" in suffixes:
                if key in images:
                    raise InputError(f"{file}/{member.name}: a second image of its sample; name one --input-key")
                images[key] = member
            elif ending == ("json" if label else "cls"):
                targets[key] = _target(archive, member, label, f"{file}/{member.name}")
    _check_members(file, list(images.values()), [member.name for member in images.values()], suffixes)
    without = [member.name for key, member in images.items() if key not in targets]
    if without:
        raise InputError(f"{file}/{without[0]}: has no {'.json' if label else '.cls'} beside it, which says its class")
    for key, member in images.items():
        yield number, member, targets[key]


def _target(archive: tarfile.TarFile, member: tarfile.TarInfo, label: Any, where: str) -> int:
    content = archive.extractfile(member)
    assert content is not None, "it is a file"
    text = content.read(_LARGEST_SIDECAR_BYTES)
    try:
        found = json.loads(text)[label] if label else int(text)
        number = int(found)
        if isinstance(found, bool) or (isinstance(found, float) and found != number):
            raise ValueError
        return number
    except (ValueError, TypeError, KeyError, OverflowError, RecursionError):
        wanted = f"an integer under {label!r}" if label else "an integer"
        raise InputError(f"{where}: does not hold {wanted}, the number of a class") from None


def _labels(column: Any, where: str) -> NDArray[np.int64]:
    """The class numbers; anything but integers from 0 on is refused."""
    found = np.asarray(column)
    if found.ndim != 1 or found.dtype.kind not in "iu" or not len(found):
        raise InputError(f"{where}: the classes are no integers ({found.dtype}); name their column with --target-key")
    if found.min() < 0 or found.max() >= _MOST_CLASSES:
        wrong = int(found.min() if found.min() < 0 else found.max())
        raise InputError(f"{where}: holds the class {wrong}; classes are numbered from 0 (-1 stands for no label)")
    return found.astype(np.int64)


def _numbered(numbers: NDArray[np.int64]) -> tuple[str, ...]:
    """The names of classes that have none."""
    return tuple(str(number) for number in range(int(numbers.max()) + 1))


def renumbered(test: Split, classes: tuple[str, ...], where: Path, train: Path) -> Images:
    """The test images under the class numbers of the training images."""
    names, images = test
    known = {name: number for number, name in enumerate(classes)}
    present = [names[number] for number in np.unique(images.targets)]
    strange = [name for name in present if name not in known]
    if strange:
        raise InputError(f"{where / strange[0]}: a class that {train} does not have{nearest(strange[0], known)}")
    table = np.asarray([known.get(name, -1) for name in names], np.int64)
    return Images(table[images.targets], images.files, images.pixels, images.source)
