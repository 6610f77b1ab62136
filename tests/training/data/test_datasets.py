"""Which images a recipe names, and what is said where they are not as they should be."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from sklearn.datasets import load_digits

from thinresnet.errors import InputError
from thinresnet.recipe import Recipe
from thinresnet.training.data import holdout
from thinresnet.training.data.datasets import open_dataset
from thinresnet.training.data.images import read_image

Folder = Callable[..., Path]


def opened(root: Path, **rest: object):
    return open_dataset(Recipe(data_dir=str(root)).replace(**rest))


def test_digits_are_split_alike_every_time() -> None:
    first, again = (open_dataset(Recipe(dataset="digits")) for _ in range(2))
    assert (len(first.train), len(first.test), first.name) == (1438, 359, "digits")
    assert np.array_equal(first.test.targets, again.test.targets)
    assert first.test.pixels is not None
    assert np.array_equal(first.test.pixels, again.test.pixels)
    assert first.train.read(0).size == (8, 8)
    shares = np.bincount(first.test.targets) / np.bincount(first.train.targets)
    assert shares.max() - shares.min() < 0.02


def test_digits_are_what_scikit_learn_loads() -> None:
    """They are read from its file without it; it says itself what they are."""
    loaded = load_digits()
    found = open_dataset(Recipe(dataset="digits"))
    assert found.class_names == tuple(str(name) for name in loaded.target_names)
    train, test = holdout.split(loaded.target, 0.2)
    for images, part in ((found.train, train), (found.test, test)):
        assert images.pixels is not None
        assert np.array_equal(images.targets, loaded.target[part])
        expected = np.rint(loaded.images[part] * (255 / 16))
        assert all(np.array_equal(images.pixels[..., channel], expected) for channel in range(3))


def test_a_folder_of_class_folders(folder: Folder) -> None:
    found = opened(folder(classes=11))
    assert found.name == "pictures"
    assert found.class_names == tuple(f"class{number}" for number in range(11))  # class10 last, as in timm
    assert (len(found.train), len(found.test)) == (132, 55)
    assert found.train.files is not None
    assert found.train.files[12].parent.name == "class1"
    assert found.train.targets[12] == 1


@pytest.mark.parametrize("name", ["val", "validation", "test", "eval"])
def test_the_test_folder_has_many_names(folder: Folder, name: str) -> None:
    root = folder()
    (root / "val").rename(root / name)
    assert len(opened(root).test) == 15


def test_images_in_folders_inside_a_class_count(folder: Folder) -> None:
    root = folder()
    deep = root / "train" / "class0" / "more"
    deep.mkdir()
    shutil.copy(root / "train" / "class0" / "000.jpg", deep / "x.JPEG")
    (root / "train" / "class0" / "notes.txt").write_text("no image")
    (root / "train" / "class0" / "._000.jpg").write_text("what a file manager leaves")
    assert len(opened(root).train) == 37


def test_grey_and_palette_and_transparent_images_are_read_in_colour(folder: Folder) -> None:
    root = folder(suffix=".png")
    files = sorted((root / "train" / "class0").iterdir())
    for file, mode in zip(files, ("L", "P", "RGBA", "1", "CMYK", "I;16"), strict=False):
        Image.open(file).convert("L" if mode == "I;16" else mode).save(
            file if mode != "CMYK" else file.with_suffix(".tif")
        )
    found = opened(root).train
    assert all(found.read(index).mode == "RGB" for index in range(len(found)))


def said(root: Path, **rest: object) -> str:
    with pytest.raises(InputError) as caught:
        opened(root, **rest)
    message = str(caught.value)
    assert "\n" not in message
    return message


def test_what_is_missing_is_named(folder: Folder, tmp_path: Path) -> None:
    root = folder()
    assert said(tmp_path / "no") == f"--data-dir {tmp_path / 'no'}: no such folder"
    (root / "train" / "class1").rename(root / "elsewhere")
    (root / "train" / "class1").mkdir()
    assert f"{root / 'train' / 'class1'}: a class without images" in said(root)
    (root / "train" / "class1").rmdir()
    assert f"{root / 'val' / 'class1'}: a class that" in said(root)
    shutil.rmtree(root / "val")
    assert "no folder validation or val or" in said(root)
    assert "it holds elsewhere, train" in said(root)
    assert "--val-split" in said(root)
    assert said(root, train_split="part1").startswith(f"{root}: no folder part1 (")


def test_images_without_class_folders_are_explained(folder: Folder) -> None:
    root = folder()
    flat = root / "flat"
    flat.mkdir()
    shutil.copy(root / "train" / "class0" / "000.jpg", flat / "ILSVRC2012_val_00000001.JPEG")
    message = said(root, val_split="flat")
    assert "no class folders (images such as ILSVRC2012_val_00000001.JPEG lie in it unsorted)" in message


def test_data_sets_that_are_not_known_or_not_there(tmp_path: Path) -> None:
    assert "did you mean 'torch/cifar10'" in said(tmp_path, dataset="torch/cifar11")
    assert "add --download to fetch it" in said(tmp_path, dataset="torch/cifar10")
    assert list(tmp_path.iterdir()) == []  # a refusal leaves nothing behind
    (tmp_path / "train").mkdir()
    assert "it holds class folders, so add --dataset ''" in said(tmp_path, dataset="torch/cifar10")
    with pytest.raises(InputError, match="no data: give --data-dir DIR"):
        open_dataset(Recipe())


def test_cifar_is_read_only_after_its_checksums_agree(tmp_path: Path) -> None:
    """A stranger's pickle under CIFAR's name is not opened."""
    place = tmp_path / "cifar-10-batches-py"
    place.mkdir()
    touched = tmp_path / "touched"
    evil = b"cos\nsystem\n(S'touch " + str(touched).encode() + b"'\ntR."
    for name in (
        "data_batch_1",
        "data_batch_2",
        "data_batch_3",
        "data_batch_4",
        "data_batch_5",
        "test_batch",
        "batches.meta",
    ):
        (place / name).write_bytes(evil)
    assert "not in" in said(tmp_path, dataset="torch/cifar10")
    assert not touched.exists()


@pytest.mark.parametrize("damage", ["truncated", "empty", "text", "bomb"])
def test_a_broken_image_is_named_by_its_path(folder: Folder, damage: str, monkeypatch: pytest.MonkeyPatch) -> None:
    root = folder(size=(64, 64))
    bad = root / "train" / "class1" / "003.jpg"
    whole = bad.read_bytes()
    bad.write_bytes({"truncated": whole[: len(whole) // 2], "empty": b"", "text": b"hello", "bomb": whole}[damage])
    if damage == "bomb":
        monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 1000)
    found = opened(root).train
    assert found.files is not None
    with pytest.raises(InputError) as caught:
        found.read(found.files.index(bad))
    assert str(caught.value).startswith(f"{bad}: not an image that can be decoded")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("suffix", "dtype", "top"),
    [(".png", np.uint16, 65_535), (".tif", np.uint16, 65_535), (".tif", np.int32, 2**31 - 1)],
)
def test_wider_integers_are_scaled_to_eight_bits(tmp_path: Path, suffix: str, dtype: type, top: int) -> None:
    ramp = np.linspace(0, top, 256).astype(dtype)[None].repeat(2, axis=0)
    path = tmp_path / f"ramp{suffix}"
    Image.fromarray(ramp).save(path)
    if dtype is np.int32:  # a range that is not known
        with pytest.raises(InputError, match=r"ramp.tif: .*no defined range"):
            read_image(path)
        signed, unsigned = (b"\x53\x01\x03\x00\x01\x00\x00\x00" + bytes([kind, 0]) for kind in (2, 1))  # SampleFormat
        path.write_bytes(path.read_bytes().replace(signed, unsigned))
        expected = np.arange(256) // 2
    else:
        expected = np.arange(256)
    read = np.asarray(read_image(path)).astype(int)
    assert read.shape == (2, 256, 3)
    assert np.abs(read - expected[None, :, None]).max() <= 1
    assert (read[..., 0] == read[..., 2]).all()


def test_a_wide_pgm_is_scaled_by_its_own_largest_value(tmp_path: Path) -> None:
    values = np.array([0, 500, 1000], dtype=">u2")
    path = tmp_path / "x.ppm"
    path.write_bytes(b"P5 3 1 1000\n" + values.tobytes())
    assert np.asarray(read_image(path))[0, :, 0].tolist() == [0, 128, 255]


def test_floating_point_images_are_refused_by_name(tmp_path: Path) -> None:
    path = tmp_path / "float.tif"
    Image.fromarray(np.linspace(0, 1, 16, dtype=np.float32).reshape(4, 4)).save(path)
    with pytest.raises(InputError, match=r"float\.tif: .*floating-point.*8 bits"):
        read_image(path)


def test_each_real_file_counts_once_whatever_links_lead_to_it(folder: Folder, tmp_path: Path) -> None:
    root = folder()
    elsewhere = tmp_path / "elsewhere"
    shutil.copytree(root / "train" / "class0", elsewhere)
    inside = root / "train" / "class0"
    for name in ("one", "two"):
        (inside / name).symlink_to(elsewhere)
    (inside / "again.jpg").symlink_to("000.jpg")
    assert len(opened(root).train) == 36 + 12


@pytest.mark.parametrize("leads_to", [".", "..", "../class1/../class0"])
def test_a_link_to_a_folder_above_it_is_refused(folder: Folder, leads_to: str) -> None:
    root = folder()
    (root / "train" / "class0" / "loop").symlink_to(leads_to)
    assert "train/class0/loop: a link to a folder that it lies in" in said(root)


def test_links_in_a_circle_are_refused(folder: Folder, tmp_path: Path) -> None:
    root = folder()
    (tmp_path / "far").mkdir()
    (tmp_path / "far" / "back").symlink_to(root / "train" / "class0")
    (root / "train" / "class0" / "away").symlink_to(tmp_path / "far")
    assert "away/back: a link to a folder that it lies in" in said(root)


def test_pipes_and_broken_links_are_refused_at_once(folder: Folder) -> None:
    root = folder()
    os.mkfifo(root / "train" / "class0" / "x.png")
    assert "class0/x.png: a broken link, or no regular file" in said(root)
    (root / "train" / "class0" / "x.png").unlink()
    (root / "train" / "class0" / "y.png").symlink_to("nowhere")
    assert "class0/y.png: a broken link, or no regular file" in said(root)


def test_images_whose_names_are_no_utf8_are_read_and_known(folder: Folder) -> None:
    root = folder(suffix=".png")
    first = sorted((root / "train" / "class0").iterdir())[0]
    first.rename(first.with_name(os.fsdecode(b"\xff\xfe.png")))
    found = opened(root).train
    assert len(found) == 36
    assert len({found.digest(), opened(root).train.digest()}) == 1
    assert all(found.read(index).size == (16, 16) for index in range(len(found)))


def test_a_pipe_that_takes_an_image_s_place_later_is_refused_too(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "x.png")
    with pytest.raises(InputError, match=r"x\.png: cannot be read: a folder, device, pipe or socket"):
        read_image(tmp_path / "x.png")
