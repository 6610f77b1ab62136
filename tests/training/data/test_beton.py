"""Files in FFCV's format: whole or absent, the same pixels as in the folder, safe to open, and read by FFCV too."""

from __future__ import annotations

import errno
import json
import multiprocessing
import os
import resource
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from unittest import mock

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image

from thinresnet.errors import InputError
from thinresnet.progress import silent
from thinresnet.recipe import Recipe
from thinresnet.training.data import beton
from thinresnet.training.data.datasets import Images, open_dataset
from thinresnet.training.data.ffcv_loader import open_beton

Folder = Callable[..., Path]
pytestmark = pytest.mark.usefixtures("ffcv_installed")


def images_of(root: Path) -> Images:
    return open_dataset(Recipe(data_dir=str(root))).train


@pytest.mark.parametrize("suffix", [".jpg", ".png"])
def test_pixels_are_those_of_the_folder(folder: Folder, tmp_path: Path, suffix: str) -> None:
    images = images_of(folder(uneven=True, suffix=suffix))
    beton.write(images, tmp_path / "x.beton", name="pictures", split="train")
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
    beton.write(images, tmp_path / "x.beton", name="pictures", split="train", mode="jpg")
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


def test_ffcv_s_own_loader_reads_the_file(folder: Folder, tmp_path: Path) -> None:
    """In a process of its own, because FFCV changes torch's threads when it is imported."""
    images = images_of(folder())
    beton.write(images, tmp_path / "x.beton", name="pictures", split="train")
    np.save(tmp_path / "expected.npy", np.stack([np.asarray(images.read(index)) for index in range(len(images))]))
    code = f"""
import numpy as np
from ffcv.loader import Loader, OrderOption
from ffcv.fields.decoders import SimpleRGBImageDecoder, IntDecoder
loader = Loader({str(tmp_path / "x.beton")!r}, batch_size=36, num_workers=1, order=OrderOption.SEQUENTIAL,
                pipelines={{"image": [SimpleRGBImageDecoder()], "label": [IntDecoder()]}})
images, labels = next(iter(loader))
assert np.array_equal(images, np.load({str(tmp_path / "expected.npy")!r}))
assert labels[:, 0].tolist() == {images.targets.tolist()}
"""
    environment = {
        **os.environ,
        "NUMBA_DISABLE_JIT": "1",
    }  # its code as Python: compiling takes much longer than 36 images
    subprocess.run([sys.executable, "-c", code], check=True, timeout=300, env=environment)


def test_a_file_is_written_once_and_anew_when_an_image_changes(folder: Folder, cache: Path) -> None:
    root = folder()
    said: list[tuple[str, int, int]] = []

    def progress(*what: object) -> None:
        said.append(what)  # type: ignore[arg-type]

    for _ in range(2):
        open_beton(images_of(root), cache, "pictures", "train", progress)
    assert said == [("writing train images", 36, 36)]
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


def test_a_full_disk_leaves_nothing_half_written(folder: Folder, cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    images = images_of(folder())
    cache.mkdir()

    def full(part: Path, *_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(beton, "_encoded", full)
    with pytest.raises(InputError, match=r"the disk is full \(.* GB free\); make room, or set THINRESNET_CACHE"):
        open_beton(images, cache, "pictures", "train", silent)
    assert [path.suffix for path in cache.iterdir()] in ([".lock"], [])


@pytest.mark.skipif(not Path("/dev/shm").is_dir(), reason="needs a file system that can be limited")
def test_a_limit_on_file_size_is_said_too(folder: Folder, cache: Path) -> None:
    """The real thing: the kernel refuses to let the file grow."""
    images = images_of(folder())
    process = multiprocessing.get_context("fork").Process(target=_write_limited, args=(images, cache / "x.beton"))
    process.start()
    process.join()
    assert process.exitcode == errno.EFBIG
    assert list(cache.iterdir()) == []


def _write_limited(images: Images, path: Path) -> None:
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (2**14, 2**14))
    try:
        beton.write(images, path, name="x", split="train")
    except OSError as error:
        os._exit(error.errno)


def test_an_image_too_large_for_the_format_is_named(
    folder: Folder, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    root = folder()
    monkeypatch.setattr(beton, "_PAGE", 500)
    with pytest.raises(InputError, match=r"000\.jpg: takes more than 500 bytes; use --loader torch"):
        open_beton(images_of(root), cache, "pictures", "train", silent)


def test_images_that_do_not_fit_a_page_begin_the_next(
    folder: Folder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    images = images_of(folder())
    monkeypatch.setattr(beton, "_PAGE", 2048)  # two images of 768 bytes fit, a third does not
    beton.write(images, tmp_path / "x.beton", name="pictures", split="train")
    found = beton.Beton(tmp_path / "x.beton")
    assert all(start // 2048 == (start + 767) // 2048 for start in found._starts.tolist())
    assert np.array_equal(found.pixels(35), np.asarray(images.read(35)))


def written(folder: Folder, tmp_path: Path) -> Path:
    images = images_of(folder(classes=2, train=3))
    with mock.patch.object(beton, "_PAGE", 8192):  # a small file, which is quick to damage in many ways
        beton.write(images, tmp_path / "x.beton", name="pictures", split="train")
    return tmp_path / "x.beton"


def named(path: Path, error: InputError) -> None:
    assert str(path) in str(error)


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
    whole = path.read_bytes()
    damaged = bytearray(whole)
    for place, value in changes:
        damaged[len(whole) - 144 + place % 144 if table else place] = value
    other = tmp_path / "damaged.beton"
    other.write_bytes(damaged)
    try:
        found = beton.Beton(other)
    except InputError as error:
        named(other, error)
        return
    for index in range(len(found)):
        height, width = int(found.heights[index]), int(found.widths[index])
        if height * width < 10**7:
            try:
                assert found.pixels(index).shape == (height, width, 3)
            except InputError:
                continue


def test_the_header_says_what_is_inside(folder: Folder, tmp_path: Path) -> None:
    path = written(folder, tmp_path)
    said = path.read_bytes()[:2200]
    assert json.loads(said[said.index(b"{") : said.index(b"}") + 1])["name"] == "pictures"
