"""What there is to say of images before training on them: counts, sizes, broken files; and writing .beton files."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict
from pathlib import Path

import numpy as np
from PIL import Image

from thinresnet.errors import InputError
from thinresnet.files import cache_folder
from thinresnet.progress import Progress, silent
from thinresnet.recipe import Recipe
from thinresnet.training.data import beton
from thinresnet.training.data.datasets import Images, open_dataset
from thinresnet.training.data.ffcv_loader import beton_path

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
    recipe: Recipe, *, mode: str = "auto", folder: Path | None = None, progress: Progress = silent
) -> list[Path]:
    """Write the .beton files of both splits to where the ffcv loader looks for them; those that exist stay."""
    found = open_dataset(recipe)
    written = []
    for split, images in (("train", found.train), ("test", found.test)):
        path = beton_path(images, folder or cache_folder(), found.name, split)
        if not path.is_file():
            beton.write(images, path, name=found.name, split=split, mode=mode, progress=progress)
        written.append(path)
    return written


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
        if check or images.files is None:
            width, height = images.read(index).size
        else:
            with Image.open(images.files[index]) as image:
                width, height = image.size
    except InputError as error:
        return str(error)
    except (OSError, Image.DecompressionBombError) as error:
        assert images.files is not None
        return f"{images.files[index]}: {' '.join(str(error).split())[:160]}"
    return width, height


def _sizes(sizes: Iterable[tuple[int, int]]) -> dict[str, int]:
    """How many images there are of each size, the most frequent first."""
    counted = Counter(f"{width}x{height}" for width, height in sizes)
    return dict(counted.most_common(_SHOWN))
