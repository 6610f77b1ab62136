"""Which images and classes a recipe names: scikit-learn's digits, CIFAR from torchvision, or folders of class folders.

Images are listed here, and decoded one at a time as RGB; loading them fast is the loaders' business.
"""

from __future__ import annotations

import hashlib
import os
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from filelock import FileLock
from numpy.typing import NDArray
from PIL import Image
from sklearn.datasets import load_digits
from torchvision.datasets import CIFAR10, CIFAR100

from thinresnet.errors import InputError, nearest
from thinresnet.files import cache_folder, check_regular
from thinresnet.recipe import Recipe
from thinresnet.training.data import holdout

SUFFIXES = (".jpg", ".jpeg", ".png", ".webp", ".bmp", ".ppm", ".tif", ".tiff")
NAMES = ("digits", "torch/cifar10", "torch/cifar100")
# ImageNet-1k as published; a copy with other counts goes by the name of its folder.
_IMAGENET_COUNTS = (1_281_167, 50_000)
_SPLIT_NAMES = {"train": ("training",), "validation": ("val", "valid", "eval", "evaluation", "test")}


@dataclass(frozen=True)
class Images:
    """The images of one split, as files or as pixels (N, H, W, 3), with the class number of each."""

    targets: NDArray[np.int64]
    files: Sequence[Path] | None = None
    pixels: NDArray[np.uint8] | None = None

    def __len__(self) -> int:
        return len(self.targets)

    def digest(self) -> str:
        """What the files are known by: class, name, size and time, which a changed image does not keep."""
        assert self.files is not None
        known = hashlib.sha256()
        for file, target in zip(self.files, self.targets, strict=True):
            stat = file.stat()
            line = f"{file.parent.name}/{file.name}\0{stat.st_size}\0{stat.st_mtime_ns}\0{target}\n"
            known.update(os.fsencode(line))  # names may be no UTF-8
        return known.hexdigest()[:32]

    def read(self, index: int) -> Image.Image:
        """One image in RGB."""
        if self.pixels is not None:
            return Image.fromarray(self.pixels[index])
        assert self.files is not None
        return read_image(self.files[index])


@dataclass(frozen=True)
class Dataset:
    """A dataset: its name in results, its classes, and the two splits."""

    name: str
    class_names: tuple[str, ...]
    train: Images
    test: Images


def open_dataset(recipe: Recipe) -> Dataset:
    """List the images that the recipe names."""
    if recipe.dataset == "digits":
        return _digits()
    if recipe.dataset in ("torch/cifar10", "torch/cifar100"):
        return _cifar(recipe)
    if recipe.dataset:
        raise InputError(
            f"dataset {recipe.dataset!r}: there are {', '.join(NAMES)}{nearest(recipe.dataset, NAMES)}; "
            "for class folders give --data-dir DIR and --dataset ''"
        )
    if not recipe.data_dir:
        raise InputError("no data: give --data-dir DIR (with train/CLASS/ and val/CLASS/ inside), or --dataset digits")
    return _folders(recipe, Path(recipe.data_dir))


def open_test(data_dir: str, dataset: str, split: str) -> tuple[str, tuple[str, ...], Images]:
    """The name, classes and test images of a dataset, whose training images need not be there.

    `data_dir` holds the split's folder, or is it: folders of classes.
    """
    if dataset:
        found = open_dataset(Recipe(dataset=dataset, data_dir=data_dir or None))
        return found.name, found.class_names, found.test
    root = Path(data_dir)
    if not root.is_dir():
        raise InputError(f"--data-dir {root}: no such folder")
    if any(_holds_images(entry) for entry in root.iterdir()):
        folder, named = root, root.resolve()
        named = named.parent if named.name in ("test", "val", "validation") else named
    else:
        folder, named = _split_folder(root, split, "validation"), root.resolve()
    classes = _class_folders(folder)
    images = _list_images(folder, {name: number for number, name in enumerate(classes)})
    original = all(re.fullmatch(r"n\d{8}", name) for name in classes) and len(images) == _IMAGENET_COUNTS[1]
    return "imagenet" if original and len(classes) == 1000 else named.name, tuple(classes), images


def _holds_images(folder: Path) -> bool:
    return folder.is_dir() and any(entry.name.lower().endswith(SUFFIXES) for entry in os.scandir(folder))


def read_image(path: Path) -> Image.Image:
    """Decode a file, or name it in the refusal."""
    check_regular(path)
    try:
        with Image.open(path) as image:
            return _in_rgb(image)
    except FileNotFoundError:
        raise InputError(f"{path}: no such image; was it removed since the start?") from None
    except Exception as error:  # Pillow's decoders raise many kinds for a broken file
        reason = " ".join(str(error).split())[:160]
        raise InputError(f"{path}: not an image that can be decoded ({reason}); remove or replace the file") from None


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


def _digits() -> Dataset:
    found: Any = load_digits()
    grey = np.rint(found.images * (255 / 16)).astype(np.uint8)
    pixels = np.repeat(grey[..., None], 3, axis=3)
    targets = found.target.astype(np.int64)
    train, test = holdout.split(targets, 0.2)  # scikit-learn has no test split of its own; this one never changes
    names = tuple(str(name) for name in found.target_names)
    return Dataset("digits", names, *(Images(targets[part], pixels=pixels[part]) for part in (train, test)))


def _cifar(recipe: Recipe) -> Dataset:
    kind = CIFAR10 if recipe.dataset == "torch/cifar10" else CIFAR100
    root = Path(recipe.data_dir) if recipe.data_dir else cache_folder()
    root.mkdir(parents=True, exist_ok=True) if recipe.dataset_download else None
    try:
        # torchvision compares checksums with those of the original before it reads anything.
        if recipe.dataset_download:
            with FileLock(root / ".download.lock"):
                kind(root, download=True)
        splits = [kind(root, train=train) for train in (True, False)]
    except (RuntimeError, OSError) as error:
        if recipe.dataset_download:
            raise InputError(f"{recipe.dataset}: the download into {root} failed: {str(error)[:160]}") from None
        how = "add --download to fetch it, or --data-dir DIR if it lies elsewhere"
        if (root / "train").is_dir():
            how = "it holds class folders, so add --dataset ''"
        raise InputError(f"{recipe.dataset}: not in {root}; {how}") from None
    train, test = (Images(np.asarray(part.targets, np.int64), pixels=part.data) for part in splits)
    return Dataset(recipe.dataset.removeprefix("torch/"), tuple(splits[0].classes), train, test)


def _folders(recipe: Recipe, root: Path) -> Dataset:
    if not root.is_dir():
        raise InputError(f"--data-dir {root}: no such folder")
    train_folder = _split_folder(root, recipe.train_split, "train")
    test_folder = _split_folder(root, recipe.val_split, "validation")
    classes = _class_folders(train_folder)
    known = {name: number for number, name in enumerate(classes)}
    strange = [name for name in _class_folders(test_folder) if name not in known]
    if strange:
        meant = nearest(strange[0], known)
        raise InputError(f"{test_folder / strange[0]}: a class that {train_folder} does not have{meant}")
    train, test = (_list_images(folder, known) for folder in (train_folder, test_folder))
    original = all(re.fullmatch(r"n\d{8}", name) for name in classes) and (len(train), len(test)) == _IMAGENET_COUNTS
    return Dataset("imagenet" if original else root.resolve().name, tuple(classes), train, test)


def _split_folder(root: Path, name: str, kind: str) -> Path:
    """The folder of that name, or of another usual name for the same part."""
    names = (name, *_SPLIT_NAMES[kind]) if name in (kind, *_SPLIT_NAMES[kind]) else (name,)
    for candidate in names:
        if (root / candidate).is_dir():
            return root / candidate
    flag = "--train-split" if kind == "train" else "--val-split"
    inside = sorted(entry.name for entry in root.iterdir() if entry.is_dir())[:8]
    holds = f"it holds {', '.join(inside)}" if inside else "it holds no folder"
    raise InputError(f"{root}: no folder {' or '.join(dict.fromkeys(names))} ({holds}); name it with {flag}")


def _class_folders(folder: Path) -> list[str]:
    """The classes, in timm's order: numbers inside names count as numbers."""
    names = [entry.name for entry in os.scandir(folder) if entry.is_dir() and not entry.name.startswith(".")]
    if not names:
        loose = next((entry.name for entry in os.scandir(folder) if entry.name.lower().endswith(SUFFIXES)), None)
        hint = f" (images such as {loose} lie in it unsorted)" if loose else ""
        raise InputError(f"{folder}: no class folders{hint}; images are expected as {folder.name}/CLASS/IMAGE")
    return sorted(names, key=_natural)


def _natural(name: str) -> tuple[object, ...]:
    # Splitting at digits puts texts at even places and numbers at odd ones, so that like is compared with like.
    return tuple(int(part) if place % 2 else part.lower() for place, part in enumerate(re.split(r"([0-9]+)", name)))


def _list_images(folder: Path, classes: dict[str, int]) -> Images:
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
