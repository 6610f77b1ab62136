"""Files: written so that a reader, or a kill, never meets half of one; read with errors that name them.

Standard library only.
"""

from __future__ import annotations

import csv
import errno
import fcntl
import glob
import io
import json
import os
import shutil
import stat
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from thinresnet.errors import InputError

LARGEST_JSON_BYTES = 64 << 20
# A board of 20,000 rows is about 12 MB; what is far beyond that is not read into memory.
_LARGEST_TEXT_BYTES = 64 << 20
_PART = ".part"  # ends the names of what is not finished
_LONGEST_STEM = 200


@contextmanager
def replacing(path: str | os.PathLike[str]) -> Iterator[Path]:
    """A temporary path beside `path`; what was written there takes its place when the block ends without an error.

    The bytes are on disk before the name changes hands, so that a power cut leaves the old file or the new one. A link
    stays a link: the file that it leads to is replaced. What is no regular file (a device, a folder) is refused.
    """
    target = Path(os.path.realpath(path))
    if target.exists() and not target.is_file():
        kind = "a folder" if target.is_dir() else "a device, pipe or socket"
        raise InputError(f"{path}: is {kind}, not a file that can be written; give the name of a file")
    target.parent.mkdir(parents=True, exist_ok=True)
    remove_unfinished(target.parent, of=target.name)
    handle, part = _new_part(target)
    try:
        yield part
        # mkstemp makes files private; a result is as readable as any other file of the user, or as the one it replaces.
        part.chmod(target.stat().st_mode & 0o777 if target.exists() else 0o666 & ~_umask())
        with part.open("rb") as written:
            os.fsync(written.fileno())
        part.replace(target)
        _sync_folder(target.parent)
    finally:
        part.unlink(missing_ok=True)
        os.close(handle)


def remove_unfinished(folder: Path, *, of: str = "") -> None:
    """Remove what killed writers left in a folder, of one file or of all; what is being written is let be.

    A writer locks what it writes, and the system drops the lock when the writer dies, however it dies.
    """
    for path in folder.glob(f".{glob.escape(_short(of))}*{_PART}"):
        try:
            handle = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_NOFOLLOW)
        except OSError:
            continue
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            shutil.rmtree(path) if path.is_dir() else path.unlink()
        except OSError:
            continue  # somebody is writing it, or it is gone
        finally:
            os.close(handle)


@contextmanager
def building(folder: Path) -> Iterator[Path]:
    """A hidden folder beside `folder` to work in; `publish` gives it its name, so that it appears whole or not at all.

    Another process that builds the same folder is refused; what a killed one left is removed.
    """
    if not folder.name:
        raise InputError(f"{folder}: is a folder that is there already; give the name of a new one")
    part = _unfinished(folder)
    part.mkdir(parents=True, exist_ok=True)
    handle = os.open(part, os.O_RDONLY)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        for left in part.iterdir():
            shutil.rmtree(left) if left.is_dir() else left.unlink()
        _remove_replaced(folder)
    except BlockingIOError:
        os.close(handle)
        raise InputError(f"{folder}: another process is writing it; wait for it, or name another folder") from None
    try:
        yield part
    finally:
        if _is_open_at(handle, part):
            shutil.rmtree(part, ignore_errors=True)
        os.close(handle)


def publish(part: Path, folder: Path) -> None:
    """Give what was built its name; an older folder of that name gives way."""
    if folder.exists():
        folder.rename(_replaced(folder))
    part.rename(folder)
    _remove_replaced(folder)
    _sync_folder(folder.parent)


def remove_left_of(folder: Path) -> None:
    """Remove what killed processes left beside a complete folder; what is being built is let be."""
    if _unfinished(folder).exists():
        with suppress(InputError), building(folder):
            pass
    _remove_replaced(folder)


def _remove_replaced(folder: Path) -> None:
    """Remove the older folder that gave way to this one, which a kill between two renames leaves."""
    shutil.rmtree(_replaced(folder), ignore_errors=True)


def _unfinished(folder: Path) -> Path:
    return folder.with_name(f".{_short(folder.name)}{_PART}")


def _replaced(folder: Path) -> Path:
    return folder.with_name(f".{_short(folder.name)}.old{_PART}")


def _new_part(target: Path) -> tuple[int, Path]:
    """An empty file beside the target, open and locked for as long as this process lives."""
    while True:
        handle, name = tempfile.mkstemp(dir=target.parent, prefix=f".{_short(target.name)}.", suffix=_PART)
        try:
            fcntl.flock(handle, fcntl.LOCK_EX)
        except OSError:  # a file system without locks: nobody else can lock it either
            return handle, Path(name)
        if _is_open_at(handle, Path(name)):
            return handle, Path(name)
        os.close(handle)  # another writer took it for a dead one's, before it was locked


def _is_open_at(handle: int, path: Path) -> bool:
    try:
        return os.path.samestat(os.fstat(handle), path.stat())
    except FileNotFoundError:
        return False


def _short(name: str) -> str:
    """As much of a name as leaves room for what is put around it: names have at most 255 bytes."""
    return os.fsdecode(os.fsencode(name)[:_LONGEST_STEM]) if len(os.fsencode(name)) > _LONGEST_STEM else name


def cache_folder() -> Path:
    """Where goes what can be made again: $THINRESNET_CACHE, or ~/.cache/thinresnet."""
    return Path(os.environ.get("THINRESNET_CACHE") or Path.home() / ".cache" / "thinresnet")


def write_atomically(path: str | os.PathLike[str], data: str | bytes) -> None:
    """Replace `path` by `data` in one step; text is UTF-8 with `\\n` line ends."""
    with replacing(path) as part:
        part.write_bytes(data.encode() if isinstance(data, str) else data)


def read_object(path: Path, *, missing: str = "") -> dict[str, Any]:
    """The JSON object in a file; `missing` is what there is to say if there is no such file."""
    return parse_object(read_bytes(path, missing=missing), str(path))


def read_bytes(path: Path, where: str = "", *, largest_bytes: int = LARGEST_JSON_BYTES, missing: str = "") -> bytes:
    """The bytes of a file of bounded size; messages begin with `where` (by default the path)."""
    where = where or str(path)
    try:
        with open(path, "rb", opener=_open_at_once) as file:
            too_large = os.fstat(file.fileno()).st_size > largest_bytes
            content = b"" if too_large else file.read(largest_bytes + 1)
    except FileNotFoundError:
        raise InputError(missing or f"{where}: no such file") from None
    except OSError as error:
        raise InputError(f"{where}: cannot be read: {error.strerror}") from None
    if too_large or len(content) > largest_bytes:
        raise InputError(f"{where}: larger than {largest_bytes:,} bytes")
    return content


def _open_at_once(path: str, flags: int) -> int:
    """Open a regular file, and nothing else: an ordinary open waits until somebody writes to a pipe."""
    handle = os.open(path, flags | os.O_NONBLOCK)
    if stat.S_ISREG(os.fstat(handle).st_mode):
        return handle
    os.close(handle)
    raise OSError(errno.EINVAL, "a folder, device, pipe or socket; give the name of a file", path)


def check_regular(path: str | os.PathLike[str]) -> None:
    """Refuse what a library would read for ever: a pipe, a device; and a folder."""
    if Path(path).exists() and not Path(path).is_file():
        raise InputError(f"{path}: cannot be read: a folder, device, pipe or socket; give the name of a file")


class FormError(InputError):
    """A text file that cannot be read at all: which line, and what is wrong there."""

    def __init__(self, path: str | os.PathLike[str], line: int, reason: str) -> None:
        super().__init__(f"{path}, line {line}: {reason}")
        self.path, self.line, self.reason = str(path), line, reason


def read_text(path: str | os.PathLike[str]) -> str:
    """The text of a file: UTF-8, with or without a byte-order mark or Windows line ends."""
    try:
        data = read_bytes(Path(path), largest_bytes=_LARGEST_TEXT_BYTES, missing="cannot be read: no such file")
    except InputError as error:
        raise FormError(path, 1, str(error).removeprefix(f"{path}: ")) from None
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        number = data.count(b"\n", 0, error.start) + 1
        raise FormError(path, number, f"byte 0x{data[error.start]:02X} is not UTF-8; save the file as UTF-8") from None
    return text.replace("\r\n", "\n")


def read_table(path: Path, *, missing: str = "") -> list[dict[str, str]]:
    """The rows of a CSV table with a header, UTF-8 with or without a byte-order mark; each has all of its cells."""
    content = read_bytes(path, missing=missing)
    try:
        rows = list(csv.DictReader(io.StringIO(content.decode("utf-8-sig"), newline=""), strict=True))
    except (UnicodeDecodeError, csv.Error) as error:
        raise InputError(f"{path}: not a CSV table ({' '.join(str(error).split())[:80]})") from None
    for number, row in enumerate(rows, 2):
        if None in row or None in row.values():
            raise InputError(f"{path}, line {number}: not as many cells as in the header")
    return rows


def parse_object(text: str | bytes, where: str) -> dict[str, Any]:
    """The JSON object in a string from outside; a key given twice and NaN are refused, `where` begins the message."""
    try:
        found = json.loads(text, object_pairs_hook=_no_twins, parse_constant=_no_constant)
    except json.JSONDecodeError as error:
        raise InputError(f"{where}, line {error.lineno}: not valid JSON: {error.msg}") from None
    except RecursionError:
        raise InputError(f"{where}: not valid JSON: nested too deeply") from None
    except ValueError as error:
        raise InputError(f"{where}: not valid JSON: {error}") from None
    if not isinstance(found, dict):
        raise InputError(f"{where}: not a JSON object")
    return found


def with_part(path: Path, text: str, begin: str, end: str, made: str) -> str:
    """The text of a document with another part between two marks, each of which has a line of its own."""
    before, found_begin, rest = text.partition(begin)
    _, found_end, after = rest.partition(end)
    if not found_begin or not found_end:
        raise InputError(f"{path}: the lines {begin!r} and {end!r} are not there; the part between them is written")
    return f"{before}{begin}\n\n{made}\n\n{end}{after}"


def _no_twins(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for key, value in pairs:
        if key in found:
            raise ValueError(f"the key {key[:60]!r} stands twice")
        found[key] = value
    return found


def _no_constant(name: str) -> Any:
    raise ValueError(f"{name} is not a JSON number")


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask


def _sync_folder(folder: Path) -> None:
    """Make the rename itself durable, where the system lets a folder be opened (Windows does not)."""
    try:
        handle = os.open(folder, os.O_RDONLY)
    except OSError:
        return
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
