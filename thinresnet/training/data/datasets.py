"""Which images and classes a recipe names, by timm's names of datasets.

scikit-learn's digits, CIFAR from torchvision, folders of class folders, tar files, .beton files, WebDataset shards and
Hugging Face datasets. Images are listed here; loading them fast is the loaders' business.
"""

from __future__ import annotations

import gzip
import re
from collections.abc import Collection
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

import numpy as np
from filelock import FileLock
from torchvision.datasets import CIFAR10, CIFAR100

from thinresnet.errors import InputError, nearest
from thinresnet.files import cache_folder
from thinresnet.recipe import Recipe
from thinresnet.training.data import beton, holdout
from thinresnet.training.data.folders import class_folders, holds_images, list_images
from thinresnet.training.data.images import Images
from thinresnet.training.data.sources import (
    STREAMS,
    Split,
    open_beton_split,
    open_shards,
    open_table,
    open_tar,
    renumbered,
)

NAMES = ("digits", "torch/cifar10", "torch/cifar100")
KINDS = ("hfds/NAME", "wds/")
# ImageNet-1k as published; a copy with other counts goes by the name of its folder.
_IMAGENET_COUNTS = (1_281_167, 50_000)
_SPLIT_NAMES = {"train": ("training",), "validation": ("val", "valid", "eval", "evaluation", "test")}
_ARCHIVES = (".tar", *beton.SUFFIXES)


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
        return _named(recipe)
    if not recipe.data_dir:
        raise InputError("no data: give --data-dir DIR (with train/CLASS/ and val/CLASS/ inside), or --dataset digits")
    return _folders(recipe, Path(recipe.data_dir))


def open_test(data_dir: str, dataset: str, split: str) -> tuple[str, tuple[str, ...], Images]:
    """The name, classes and test images of a dataset, whose training images need not be there.

    `data_dir` holds the split's folder or archive, or is it.
    """
    if dataset.partition("/")[0].lower() in ("hfds", "wds"):
        recipe = Recipe(dataset=dataset, data_dir=data_dir or None, val_split=split)
        return _name_of(recipe), *_named_split(recipe, split)
    if dataset:
        found = open_dataset(Recipe(dataset=dataset, data_dir=data_dir or None))
        return found.name, found.class_names, found.test
    root = Path(data_dir)
    if root.is_file() and root.suffix in _ARCHIVES:
        return root.stem, *_open_split(root)
    if not root.is_dir():
        raise InputError(f"--data-dir {root}: no such folder")
    if any(holds_images(entry) for entry in root.iterdir()):
        place, named = root, root.resolve()
        named = named.parent if named.name in ("test", "val", "validation") else named
    else:
        place, named = _place_of(root, split, "validation"), root.resolve()
    classes, images = _open_split(place)
    original = _are_synsets(classes) and len(images) == _IMAGENET_COUNTS[1]
    return "imagenet" if original and len(classes) == 1000 else named.name, classes, images


def _digits() -> Dataset:
    """What `sklearn.datasets.load_digits` reads, from scikit-learn's file: importing scikit-learn takes seconds."""
    with gzip.open(_folder_of("sklearn") / "datasets" / "data" / "digits.csv.gz", "rt", encoding="ascii") as file:
        rows = np.loadtxt(file, delimiter=",", dtype=np.uint8)  # 64 pixels of 0 to 16, and the digit
    grey = np.rint(rows[:, :-1].reshape(-1, 8, 8) * (255 / 16)).astype(np.uint8)
    pixels = np.repeat(grey[..., None], 3, axis=3)
    targets = rows[:, -1].astype(np.int64)
    train, test = holdout.split(targets, 0.2)  # scikit-learn has no test split of its own; this one never changes
    names = tuple(str(digit) for digit in range(10))
    return Dataset("digits", names, *(Images(targets[part], pixels=pixels[part]) for part in (train, test)))


def _folder_of(package: str) -> Path:
    """Where an installed package lies; it is not imported."""
    spec = find_spec(package)
    if spec is None or spec.origin is None:
        raise InputError(f"{package}: not installed")
    return Path(spec.origin).parent


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


def _named(recipe: Recipe) -> Dataset:
    """A dataset by one of timm's prefixes."""
    classes, train = _named_split(recipe, recipe.train_split)
    test = _named_split(recipe, recipe.val_split)
    where = Path(f"{recipe.dataset}:{recipe.val_split}")
    images = renumbered(test, classes, where, Path(f"{recipe.dataset}:{recipe.train_split}"))
    return Dataset(_name_of(recipe), classes, train, images)


def _named_split(recipe: Recipe, split: str) -> Split:
    kind, slash, name = recipe.dataset.partition("/")
    kind = kind.lower() if slash else ""
    if kind == "hfds" and name:
        return open_table(f"hfds/{name}", split, recipe.data_dir, recipe.input_key, recipe.target_key)
    if kind == "wds":
        return open_shards(recipe.data_dir, name, split, recipe.input_key, recipe.target_key)
    if kind in STREAMS:
        raise InputError(
            f"dataset {recipe.dataset!r}: a stream, whose order no seed, epoch and step alone decide; {STREAMS[kind]}"
        )
    raise InputError(
        f"dataset {recipe.dataset!r}: there are {', '.join((*NAMES, *KINDS))}{nearest(recipe.dataset, NAMES)}; "
        "for class folders, tar and .beton files give --data-dir DIR and --dataset ''"
    )


def _name_of(recipe: Recipe) -> str:
    """A name for results: the last part of the dataset's own, or of its folder."""
    name = recipe.dataset.partition("/")[2].rstrip("/").rpartition("/")[2]
    return name or Path(recipe.data_dir or "images").resolve().name


def _folders(recipe: Recipe, root: Path) -> Dataset:
    if not root.is_dir():
        raise InputError(f"--data-dir {root}: no such folder")
    train_place = _place_of(root, recipe.train_split, "train")
    test_place = _place_of(root, recipe.val_split, "validation")
    if train_place == test_place:
        raise InputError(f"{train_place}: would be trained on and tested on; name another with --val-split")
    classes, train = _open_split(train_place)
    test = renumbered(_open_split(test_place), classes, test_place, train_place)
    original = _are_synsets(classes) and (len(train), len(test)) == _IMAGENET_COUNTS
    return Dataset("imagenet" if original else root.resolve().name, classes, train, test)


def _open_split(place: Path) -> Split:
    """The images of a folder of class folders, a tar file or a .beton file."""
    if place.suffix == ".tar" and place.is_file():
        return open_tar(place)
    if place.suffix in beton.SUFFIXES and place.is_file():
        return open_beton_split(place)
    classes = class_folders(place)
    return tuple(classes), list_images(place, {name: number for number, name in enumerate(classes)})


def _are_synsets(classes: Collection[str]) -> bool:
    return all(re.fullmatch(r"n\d{8}", name) for name in classes)


def _place_of(root: Path, name: str, kind: str) -> Path:
    """The folder or archive of that name, or of another usual name for the same part.

    ffcv-imagenet's scripts put what they did into the name: train_500_0.50_90.ffcv.
    """
    names = (name, *_SPLIT_NAMES[kind]) if name in (kind, *_SPLIT_NAMES[kind]) else (name,)
    for candidate in names:
        if (root / candidate).is_dir() or (Path(candidate).suffix in _ARCHIVES and (root / candidate).is_file()):
            return root / candidate
    files = sorted(entry for entry in root.iterdir() if entry.suffix in _ARCHIVES and entry.is_file())
    for candidate in names:
        found = [file for file in files if re.match(rf"{re.escape(candidate)}([^a-zA-Z].*)?\.[a-z]+$", file.name)]
        if len(found) == 1:
            return found[0]
        if found:
            raise InputError(f"{root}: holds {', '.join(file.name for file in found[:8])}; name one with {_flag(kind)}")
    inside = sorted(entry.name for entry in root.iterdir() if entry.is_dir() or entry in files)[:8]
    holds = f"it holds {', '.join(inside)}" if inside else "it holds no folder"
    raise InputError(f"{root}: no folder {' or '.join(dict.fromkeys(names))} ({holds}); name it with {_flag(kind)}")


def _flag(kind: str) -> str:
    return "--train-split" if kind == "train" else "--val-split"
