"""Files in FFCV's format: whole or absent, the same pixels as in the folder, safe to open, and read by FFCV too."""

from __future__ import annotations

import errno
import json
import os
import re
import resource
import signal
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image

from thinresnet.errors import InputError
from thinresnet.progress import silent
from thinresnet.recipe import Recipe
from thinresnet.training.data import beton, beton_writing
from thinresnet.training.data.beton_loader import open_beton
from thinresnet.training.data.beton_writing import Encoding, Rows
from thinresnet.training.data.datasets import open_dataset
from thinresnet.training.data.images import Images
from thinresnet.training.data.info import write_betons

Folder = Callable[..., Path]
pytestmark = pytest.mark.usefixtures("ffcv_installed")


def images_of(root: Path) -> Images:
    return open_dataset(Recipe(data_dir=str(root))).train


@pytest.mark.parametrize("suffix", [".jpg", ".png"])
def test_pixels_are_those_of_the_folder(folder: Folder, tmp_path: Path, suffix: str) -> None:
    images = images_of(folder(uneven=True, suffix=suffix))
    beton_writing.write(images, tmp_path / "x.beton", name="pictures", split="train")
    found = beton.Beton(tmp_path / "x.beton")
    assert found.header == beton.Header("pictures", "train", images.digest(), 36, "raw")
    assert found.labels.tolist() == images.targets.tolist()
    for index in range(len(images)):
        expected = np.asarray(images.read(index))
        assert np.array_equal(found.pixels(index), expected)
        assert (found.heights[index], found.widths[index]) == expected.shape[:2]


def test_jpeg_files_are_stored_as_they_are_and_decoded_by_ffcv(folder: Folder, tmp_path: Path) -> None:
    root = folder(size=(40, 30), uneven=True)
    grey = root / "train" / "class0" / "000.jpg"
    Image.open(grey).convert("L").save(grey)
    Image.new("RGB", (9, 9), (1, 2, 3)).save(root / "train" / "class0" / "000.png")
    images = images_of(root)
    beton_writing.write(images, tmp_path / "x.beton", name="pictures", split="train", encoding=Encoding("jpg"))
    found, whole = beton.Beton(tmp_path / "x.beton"), (tmp_path / "x.beton").read_bytes()
    assert images.files is not None
    for index, file in enumerate(images.files):
        difference = np.abs(found.pixels(index).astype(int) - np.asarray(images.read(index)).astype(int))
        if file == grey or file.suffix == ".png":  # what FFCV's decoder does not take is kept as pixels
            assert difference.max() == 0
        else:
            assert file.read_bytes() in whole
            assert difference.max() <= 12  # its quick transform against Pillow's exact one
            assert difference.mean() < 1.5


@pytest.mark.parametrize("mode", ["raw", "jpg"])
def test_ffcv_s_own_loader_reads_the_file(folder: Folder, tmp_path: Path, ffcv_in_python: Any, mode: str) -> None:
    from ffcv.fields.decoders import IntDecoder, SimpleRGBImageDecoder
    from ffcv.loader import Loader

    images = images_of(folder())
    beton_writing.write(images, tmp_path / "x.beton", name="pictures", split="train", encoding=Encoding(mode))
    pipelines = {"image": [SimpleRGBImageDecoder()], "label": [IntDecoder()]}
    loader = Loader(str(tmp_path / "x.beton"), 36, 1, seed=0, pipelines=pipelines)
    ((found, labels),) = loader
    ours = beton.Beton(tmp_path / "x.beton")
    assert np.array_equal(found, np.stack([ours.pixels(index) for index in range(36)]))
    assert labels[:, 0].tolist() == images.targets.tolist()


class Rgb:
    """What ffcv-imagenet's script hands to FFCV's writer."""

    def __init__(self, images: Images):
        self.images = images

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, index: int) -> tuple[Image.Image, int]:
        return self.images.read(index), int(self.images.targets[index])


@pytest.mark.parametrize(
    ("mode", "said"), [("raw", "raw"), ("jpg", "jpg"), ("smart", "raw"), ("proportion", "proportion")]
)
def test_files_by_ffcv_s_own_writer_are_read_as_they_are(
    folder: Folder, tmp_path: Path, ffcv_in_python: Any, mode: str, said: str
) -> None:
    from ffcv.fields import IntField, RGBImageField
    from ffcv.writer import DatasetWriter

    images = images_of(folder(size=(20, 20), uneven=True))
    field = RGBImageField(write_mode=mode, max_resolution=22, compress_probability=0.5, jpeg_quality=95)
    path = tmp_path / "train_22.ffcv"
    writer = DatasetWriter(str(path), {"image": field, "label": IntField()}, 2**21, 2)
    np.random.seed(0)
    writer.from_indexed_dataset(Rgb(images), chunksize=5)
    found = beton.Beton(path)
    assert (found.header.name, found.header.count, found.header.mode) == ("train_22", 36, said)
    assert found.labels.tolist() == images.targets.tolist()
    assert max(*found.heights, *found.widths) == 22
    for index in range(36):
        if max(images.read(index).size) <= 22:
            difference = found.pixels(index).astype(int) - np.asarray(images.read(index)).astype(int)
            assert np.abs(difference).mean() < (8 if mode in ("jpg", "proportion") else 1e-9)


def test_a_dataset_of_its_own_is_trained_on_by_its_folder(folder: Folder, tmp_path: Path, ffcv_in_python: Any) -> None:
    recipe = Recipe(data_dir=str(folder(size=(40, 30))))
    encoding = Encoding("proportion", max_resolution=20, jpeg_quality=95, compress_probability=0.4)
    written = write_betons(recipe, encoding=encoding, output=tmp_path / "small")
    assert [path.name for path in written] == ["train.beton", "val.beton"]
    assert write_betons(recipe, encoding=encoding, output=tmp_path / "small") == written
    found = open_dataset(Recipe(data_dir=str(tmp_path / "small")))
    assert (found.name, found.class_names, len(found.train), len(found.test)) == ("small", ("0", "1", "2"), 36, 15)
    assert {found.train.read(index).size for index in range(36)} == {(20, 15)}
    file = beton.Beton(written[0])
    assert file.header.mode == "proportion"
    assert 0.2 < 1 - file._raw.mean() < 0.6  # which images these are is decided by their number
    with pytest.raises(InputError, match=r"train\.beton: holds other images; name another --output"):
        write_betons(Recipe(data_dir=str(folder("other"))), output=tmp_path / "small")
    with pytest.raises(InputError, match="a dataset of its own; give --output"):
        write_betons(recipe, encoding=encoding)


def test_a_file_is_written_once_and_anew_when_an_image_changes(folder: Folder, cache: Path) -> None:
    root = folder()
    said: list[tuple[str, int, int]] = []

    def progress(*what: object) -> None:
        said.append(what)  # type: ignore[arg-type]

    for _ in range(2):
        open_beton(images_of(root), cache, "pictures", "train", progress)
    assert said == [("writing train images, about 1 MB", 36, 36)]
    Image.new("RGB", (16, 16)).save(root / "train" / "class2" / "000.jpg")
    open_beton(images_of(root), cache, "pictures", "train", progress)
    assert len(said) == 2
    assert len(list(cache.glob("*.beton"))) == 2


def test_a_file_of_another_data_set_is_refused(folder: Folder, cache: Path) -> None:
    one, other = images_of(folder("one")), images_of(folder("other"))
    open_beton(one, cache, "one", "train", silent)
    (written,) = cache.glob("*.beton")
    wanted = cache / f"other-train-{other.digest()[:16]}.beton"
    written.rename(wanted)
    with pytest.raises(InputError, match=r"holds the train images of another dataset \(one\); delete it"):
        open_beton(other, cache, "other", "train", silent)


def full(*_: object) -> None:
    raise OSError(errno.ENOSPC, "No space left on device")


def test_a_full_disk_leaves_nothing_half_written(folder: Folder, cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Found by one of the writing processes; FFCV's own writer waits for it for ever."""
    images = images_of(folder())
    monkeypatch.setattr("ffcv.memory_allocator.MemoryAllocator.flush_page", full)
    with pytest.raises(InputError, match=r"disk or quota is full \(.* GB free\); make room, or set THINRESNET_CACHE"):
        open_beton(images, cache, "pictures", "train", silent)
    assert [path.suffix for path in cache.iterdir()] in ([".lock"], [])


def test_what_does_not_fit_is_said_before_anything_is_written(
    folder: Folder, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    images = images_of(folder())
    monkeypatch.setattr(beton_writing, "_free", lambda target: 20_000)
    with pytest.raises(InputError, match=r"takes about 1 MB, 0\.0 GB are free; make room, or set THINRESNET_CACHE"):
        open_beton(images, cache, "pictures", "train", silent)
    assert not list(cache.glob("*.beton"))


def test_a_home_folder_is_not_filled_unasked(folder: Folder, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.delenv("THINRESNET_CACHE")
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setattr(beton_writing, "LARGEST_UNASKED_BYTES", 1000)
    recipe = Recipe(data_dir=str(folder()))
    with pytest.raises(InputError, match=r"about 1 MB, and nobody said where; set THINRESNET_CACHE .* --output"):
        write_betons(recipe)
    assert not (tmp_path / ".cache").exists()
    assert write_betons(recipe, output=tmp_path / "here")


def test_a_limit_on_file_size_is_said_too(folder: Folder, cache: Path) -> None:
    """The real thing: the kernel refuses to let the file grow, in a process of ours."""
    images = images_of(folder())
    before = resource.getrlimit(resource.RLIMIT_FSIZE), signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    try:
        resource.setrlimit(resource.RLIMIT_FSIZE, (2**20, before[0][1]))
        with pytest.raises(OSError, match="File too large") as caught:
            beton_writing.write(images, cache / "x.beton", name="x", split="train")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before[0])
        signal.signal(signal.SIGXFSZ, before[1])
    assert caught.value.errno == errno.EFBIG
    assert list(cache.iterdir()) == []


def test_a_writing_process_that_is_killed_ends_the_writing(
    folder: Folder, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Rows, "__getitem__", lambda *_: os.kill(os.getpid(), signal.SIGKILL))
    with pytest.raises(InputError, match="a writing process ended with code -9; is memory short"):
        open_beton(images_of(folder()), cache, "pictures", "train", silent)
    assert not list(cache.glob("*.beton"))


def test_an_image_too_large_for_the_format_is_named(
    folder: Folder, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    root = folder(size=(900, 900), classes=1, train=1, test=1)
    monkeypatch.setattr(beton_writing, "_PAGE", 2**21)
    with pytest.raises(InputError, match=r"000\.jpg: takes more than 2,097,152 bytes; use --loader torch, or give"):
        open_beton(images_of(root), cache, "pictures", "train", silent)


@pytest.mark.parametrize(
    ("asked", "said"),
    [
        ({"mode": "png"}, "--mode png: takes one of auto, raw, jpg, proportion"),
        ({"max_resolution": 0}, "--max-resolution 0: takes pixels"),
        ({"jpeg_quality": 101}, "--jpeg-quality 101: takes 1 to 100"),
        ({"jpeg_quality": 80}, "--jpeg-quality: no effect with --mode auto"),
        ({"mode": "proportion", "compress_probability": 2.0}, "--compress-probability 2: takes 0 to 1"),
        ({"mode": "jpg", "compress_probability": 0.1}, "--compress-probability: no effect with --mode jpg"),
    ],
)
def test_an_encoding_that_does_not_exist(asked: dict[str, Any], said: str) -> None:
    with pytest.raises(InputError, match=re.escape(said)):
        Encoding(**asked)


def written(folder: Folder, tmp_path: Path) -> Path:
    images = images_of(folder(classes=2, train=3))
    beton_writing.write(images, tmp_path / "x.beton", name="pictures", split="train")
    return tmp_path / "x.beton"


@pytest.mark.parametrize("kept", [0, 1, 20, 2000, 5000, 0.5, 0.999])
def test_a_file_cut_short_is_refused(folder: Folder, tmp_path: Path, kept: float) -> None:
    path = written(folder, tmp_path)
    whole = path.read_bytes()
    path.write_bytes(whole[: int(kept * len(whole)) if isinstance(kept, float) else int(kept)])
    with pytest.raises(InputError, match=r"x\.beton: not a \.beton file of images"):
        beton.Beton(path)


def test_a_file_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no such file"):
        beton.Beton(tmp_path / "x.beton")


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(st.tuples(st.integers(0, 2300), st.integers(0, 255)), min_size=1, max_size=6), st.booleans())
def test_a_tampered_file_is_refused_or_read_within_its_bounds(
    folder: Folder, tmp_path: Path, changes: list[tuple[int, int]], table: bool
) -> None:
    path = tmp_path / "x.beton"
    if not path.exists():
        written(folder, tmp_path)
    data = np.memmap(path, np.uint8, mode="r+")
    places = [len(data) - 144 + place % 144 if table else place for place, _ in changes]
    whole = data[places].copy()
    data[places] = [value for _, value in changes]
    try:
        found = beton.Beton(path)
        for index in range(len(found)):
            height, width = int(found.heights[index]), int(found.widths[index])
            if height * width < 10**7:
                with suppress(InputError):
                    assert found.pixels(index).shape == (height, width, 3)
    except InputError as error:
        if str(path) not in str(error):
            raise
    finally:
        for place, value in zip(places, whole, strict=True):
            data[place] = value


def test_the_header_says_what_is_inside(folder: Folder, tmp_path: Path) -> None:
    path = written(folder, tmp_path)
    said = path.read_bytes()[:2200]
    assert json.loads(said[said.index(b"{") : said.index(b"}") + 1])["name"] == "pictures"
