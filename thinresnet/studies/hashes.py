"""Hashes of files, remembered as long as nothing about a file has changed: reading 100 MB of weights once is enough.

A file is known by its size, its times of change and its inode. As in git, a file that was changed just before it was
hashed is not remembered: a second change within the clock's tick would not show. What is remembered is in a file
beside the stages; without it, or where it cannot be written or read, files are hashed again.
"""

from __future__ import annotations

import json
import time
from contextlib import suppress
from pathlib import Path

from thinresnet.files import read_object, write_atomically
from thinresnet.training.provenance import file_sha256

_SETTLED_NS = 2 * 10**9  # coarser than the clock of any file system
_Known = dict[str, list[int | str]]  # by path in the folder: size, times, inode, hash


class FolderHashes:
    """The hashes of the files of one folder."""

    def __init__(self, folder: Path, cache: Path) -> None:
        self._folder, self._cache = folder, cache
        self._known = _read(cache)
        self._new: _Known = {}

    def sha256(self, file: Path) -> str:
        """The hash of a file in the folder."""
        name = file.relative_to(self._folder).as_posix()
        begun, seen = time.time_ns(), _seen(file)
        known = self._known.get(name, [])
        if known[:-1] == seen:
            return str(known[-1])
        found = file_sha256(file)
        if begun - max(seen[1:3]) > _SETTLED_NS and _seen(file) == seen:
            self._new[name] = [*seen, found]
        return found

    def keep(self) -> None:
        """Remember what was hashed."""
        if self._new:
            self._known |= self._new
            self._new = {}
            with suppress(OSError):  # a folder of somebody else's
                write_atomically(self._cache, json.dumps(self._known) + "\n")


def _seen(file: Path) -> list[int]:
    found = file.stat()
    return [found.st_size, found.st_mtime_ns, found.st_ctime_ns, found.st_ino]


def _read(cache: Path) -> _Known:
    try:
        found = read_object(cache)
    except (OSError, ValueError):
        return {}
    return found if all(isinstance(entry, list) and len(entry) == 5 for entry in found.values()) else {}
