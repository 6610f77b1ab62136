"""Folders of class folders.

Walked by hand: timm's walk follows links in circles, and counts a file as often as it meets it.
"""

from __future__ import annotations

import os
import re
from pathlib import Path

import numpy as np

from thinresnet.errors import InputError
from thinresnet.training.data.images import SUFFIXES, Images


def holds_images(folder: Path) -> bool:
    """Whether images lie in a folder itself."""
    return folder.is_dir() and any(entry.name.lower().endswith(SUFFIXES) for entry in os.scandir(folder))


def class_folders(folder: Path) -> list[str]:
    """The classes, in timm's order: numbers inside names count as numbers."""
    names = [entry.name for entry in os.scandir(folder) if entry.is_dir() and not entry.name.startswith(".")]
    if not names:
        loose = next((entry.name for entry in os.scandir(folder) if entry.name.lower().endswith(SUFFIXES)), None)
        hint = f" (images such as {loose} lie in it unsorted)" if loose else ""
        raise InputError(f"{folder}: no class folders{hint}; images are expected as {folder.name}/CLASS/IMAGE")
    return sorted(names, key=natural)


def natural(name: str) -> tuple[object, ...]:
    """What names are sorted by."""
    # Splitting at digits puts texts at even places and numbers at odd ones, so that like is compared with like.
    return tuple(int(part) if place % 2 else part.lower() for place, part in enumerate(re.split(r"([0-9]+)", name)))


def list_images(folder: Path, classes: dict[str, int]) -> Images:
    """The images of class folders, under the numbers of their classes."""
    files: list[Path] = []
    targets: list[int] = []
    for name, number in classes.items():
        if not (folder / name).is_dir():
            continue
        found = sorted(images_below(folder / name))
        if not found:
            raise InputError(f"{folder / name}: a class without images ({' '.join(SUFFIXES)}); remove it or fill it")
        files += found
        targets += [number] * len(found)
    return Images(np.asarray(targets, np.int64), files=files)


def images_below(top: Path) -> list[Path]:
    """The images in a folder and the folders in it, each real file once; a link may lead elsewhere, but not back up."""
    files: dict[str, Path] = {}
    seen: set[str] = set()
    waiting: list[tuple[Path, tuple[str, ...]]] = [(top, (os.path.realpath(top),))]
    while waiting:
        folder, above = waiting.pop()
        for entry in sorted(os.scandir(folder), key=lambda entry: entry.name):
            path = Path(entry.path)
            real = os.path.realpath(path) if entry.is_symlink() else f"{above[-1]}{os.sep}{entry.name}"
            if entry.is_dir():
                if any(f"{parent}{os.sep}".startswith(f"{real}{os.sep}") for parent in above):
                    raise InputError(f"{path}: a link to a folder that it lies in; remove the link")
                if real not in seen:
                    seen.add(real)
                    waiting.append((path, (*above, real)))
            elif entry.name.lower().endswith(SUFFIXES) and not entry.name.startswith("."):
                if not entry.is_file():
                    raise InputError(f"{path}: a broken link, or no regular file (a pipe, a device); remove it")
                files.setdefault(real, path)
    return sorted(files.values())
