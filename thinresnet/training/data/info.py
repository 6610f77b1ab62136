"""What there is to say of images before training on them: counts, sizes, broken files; and writing .beton files."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict
from pathlib import Path

import numpy as np

from thinresnet.errors import InputError
from thinresnet.files import cache_folder
from thinresnet.progress import Progress, silent
from thinresnet.recipe import Recipe
from thinresnet.training.data import beton, beton_writing
from thinresnet.training.data.beton_loader import beton_path
from thinresnet.training.data.beton_writing import Encoding
from thinresnet.training.data.datasets import open_dataset
from thinresnet.training.data.images import Images

_SHOWN = 20


def describe(recipe: Recipe, *, check: bool = False, progress: Progress = silent) -> dict[str, object]:
    """The dataset that a recipe names: name, classes and both splits; with `check` every image is decoded."""
    found = open_dataset(recipe)
    splits = {"train": found.train, "test": found.test}
    described = {split: _split(images, split, check, progress) for split, images in splits.items()}
    return {"name": found.name, "classes": len(found.class_names), **described}


def describe_beton(path: Path) -> dict[str, object]:
    """What a .beton file holds."""
    found = beton.Beton(path)
    return {
        **asdict(found.header),
        "classes": len(np.unique(found.labels)),
        "megabytes": round(path.stat().st_size / 1e6, 1),
        "sizes": _sizes(zip(found.widths.tolist(), found.heights.tolist(), strict=True)),
    }


def write_betons(
    recipe: Recipe,
    *,
    encoding: Encoding | None = None,
    output: Path | None = None,
    folder: Path | None = None,
    progress: Progress = silent,
) -> list[Path]:
    """Write the .beton files of both splits; those that exist stay.

    Into `output` as train.beton and val.beton, a dataset of its own (`--data-dir`); or to where the loaders look for
    the files of these images (in `folder`, the cache if it is not given), stored as they are.
    """
    encoding = encoding or Encoding()
    found = open_dataset(recipe)
    splits = {"train": found.train, "test": found.test}
    if output is None:
        if encoding != Encoding(encoding.mode) or encoding.mode == "proportion":
            raise InputError("images stored in another size or quality are a dataset of its own; give --output")
        if folder is None:
            beton_writing.check_asked(splits, cache_folder())
        paths = {split: beton_path(one, folder or cache_folder(), found.name, split) for split, one in splits.items()}
    else:
        paths = {"train": output / "train.beton", "test": output / "val.beton"}
    for split, path in paths.items():
        if not path.is_file():
            beton_writing.write(splits[split], path, name=found.name, split=split, encoding=encoding, progress=progress)
        elif output is not None and beton.Beton(path).header.digest != splits[split].digest():
            raise InputError(f"{path}: holds other images; name another --output, or delete it")
    return list(paths.values())


def _split(images: Images, split: str, check: bool, progress: Progress) -> dict[str, object]:
    counts = np.bincount(images.targets)
    described: dict[str, object] = {
        "images": len(images),
        "fewest_in_a_class": int(counts[counts > 0].min()),
        "most_in_a_class": int(counts.max()),
    }
    sizes: list[tuple[int, int]] = []
    broken: list[str] = []
    with ThreadPoolExecutor() as pool:
        for done, looked in enumerate(pool.map(lambda index: _look(images, index, check), range(len(images))), 1):
            if isinstance(looked, str):
                broken.append(looked)
            else:
                sizes.append(looked)
            if done % 1000 == 0 or done == len(images):
                progress(f"looking at {split} images", done, len(images))
    return {**described, "sizes": _sizes(sizes), "broken": broken}


def _look(images: Images, index: int, check: bool) -> tuple[int, int] | str:
    """(width, height), or what is wrong; without `check` only the head of the file is read."""
    try:
        return images.read(index).size if check else images.size(index)
    except InputError as error:
        return str(error)


def _sizes(sizes: Iterable[tuple[int, int]]) -> dict[str, int]:
    """How many images there are of each size, the most frequent first."""
    counted = Counter(f"{width}x{height}" for width, height in sizes)
    return dict(counted.most_common(_SHOWN))
