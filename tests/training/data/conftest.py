"""Small folders of real JPEG and PNG files, and a cache of this test's own."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from thinresnet.training.data import beton

Folder = Callable[..., Path]


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("THINRESNET_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


@pytest.fixture
def folder(tmp_path: Path) -> Folder:
    def make(
        name: str = "pictures",
        *,
        classes: int = 3,
        train: int = 12,
        test: int = 5,
        size: tuple[int, int] = (16, 16),
        uneven: bool = False,
        suffix: str = ".jpg",
    ) -> Path:
        """`train` and `test` images a class, (width, height) pixels, of other sizes too where `uneven`."""
        rng = np.random.default_rng(len(name))
        for split, count in (("train", train), ("val", test)):
            for label in range(classes):
                place = tmp_path / name / split / f"class{label}"
                place.mkdir(parents=True)
                for number in range(count):
                    grow = number % 4 if uneven else 0
                    pixels = rng.integers(0, 256, (4, 4, 3), dtype=np.uint8)
                    image = Image.fromarray(pixels).resize(
                        (size[0] + grow, size[1] + 2 * grow), Image.Resampling.BICUBIC
                    )
                    image.save(place / f"{number:03}{suffix}")
        return tmp_path / name

    return make


@pytest.fixture
def ffcv_in_python(ffcv_installed: None) -> Iterator[Any]:
    """FFCV's parts uncompiled, by its own switch: compiling takes much longer than a few images."""
    parts = beton.parts("ffcv_parts")
    parts.Compiler.set_enabled(False)
    yield parts
    parts.Compiler.set_enabled(True)
