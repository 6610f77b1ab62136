"""Tar files, WebDataset shards, Hugging Face datasets and .beton files: timm's names, our order and our refusals."""

from __future__ import annotations

import gzip
import io
import json
import pickle
import tarfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from timm.data import create_dataset

from tests.conftest import optional_part
from thinresnet.errors import InputError
from thinresnet.progress import silent
from thinresnet.recipe import Recipe
from thinresnet.training.data import open_data, sources
from thinresnet.training.data.datasets import Dataset, open_dataset, open_test
from thinresnet.training.data.memory import decode

Folder = Callable[..., Path]
Member = tuple[str, bytes]


def opened(root: Path | None, **rest: object) -> Dataset:
    return open_dataset(Recipe(data_dir=str(root) if root else None).replace(**rest))


def said(root: Path | None, **rest: object) -> str:
    with pytest.raises(InputError) as caught:
        opened(root, **rest)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def pack(path: Path, members: list[Member]) -> Path:
    with tarfile.open(path, "w") as archive:
        for name, content in members:
            member = tarfile.TarInfo(name)
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))
    return path


def members_of(folder: Path, suffix: str = ".jpg") -> list[Member]:
    return [(f"{file.parent.name}/{file.name}", file.read_bytes()) for file in sorted(folder.rglob(f"*{suffix}"))]


def jpeg(mode: str = "RGB") -> bytes:
    out = io.BytesIO()
    Image.new(mode, (16, 16)).save(out, "PNG")
    return out.getvalue()


@pytest.fixture
def tars(folder: Folder, tmp_path: Path) -> tuple[Path, Path]:
    """The same images in folders and in tar files."""
    root, packed = folder(), tmp_path / "packed"
    packed.mkdir()
    for split in ("train", "val"):
        pack(packed / f"{split}.tar", members_of(root / split))
    return root, packed


def test_folders_are_listed_as_timm_lists_them(folder: Folder) -> None:
    root = folder(classes=11)
    theirs = create_dataset("", root=str(root), split="train")
    ours = opened(root)
    assert ours.train.files is not None
    listed = [(Path(path), target) for path, target in theirs.reader.samples]
    assert list(zip(ours.train.files, ours.train.targets.tolist(), strict=True)) == listed
    assert ours.class_names == tuple(theirs.reader.class_to_idx)


def test_a_tar_file_holds_what_the_folder_holds(tars: tuple[Path, Path]) -> None:
    folders, packed = (opened(root) for root in tars)
    assert (packed.name, packed.class_names) == ("packed", folders.class_names)
    for one, other in ((folders.train, packed.train), (folders.test, packed.test)):
        assert one.targets.tolist() == other.targets.tolist()
        assert np.array_equal(decode(one, "", silent), decode(other, "", silent))
    # timm's own spelling, and the archive itself where only its test images are asked for
    named = opened(tars[1], train_split="train.tar", val_split="val.tar")
    assert named.train.digest() == packed.train.digest() != packed.test.digest()
    assert open_test(str(tars[1] / "val.tar"), "", "validation")[1] == packed.class_names
    assert packed.train.where(0).endswith("train.tar/class0/000.jpg")


def test_a_tar_file_in_a_tar_file_is_a_class(folder: Folder, tmp_path: Path) -> None:
    root, packed = folder(), tmp_path / "packed"
    packed.mkdir()
    for split in ("train", "val"):
        inner = []
        for label in ("class0", "class1", "class2"):
            files = [(file.name, file.read_bytes()) for file in sorted((root / split / label).iterdir())]
            inner.append((f"{label}.tar", pack(tmp_path / "inner.tar", files).read_bytes()))
        pack(packed / f"{split}.tar", inner)
    found, expected = opened(packed), opened(root)
    assert found.class_names == expected.class_names
    contents = [sorted(one.encoded(index) for index in range(36)) for one in (found.train, expected.train)]
    assert contents[0] == contents[1]
    assert np.bincount(found.train.targets).tolist() == [12, 12, 12]


def test_every_kind_of_image_in_a_tar_file_counts(tmp_path: Path) -> None:
    out = io.BytesIO()
    Image.new("RGB", (8, 8), (9, 8, 7)).save(out, "WEBP", lossless=True)
    members = [("a/1.webp", out.getvalue()), ("a/._1.webp", b"what a file manager leaves"), ("a/2.PNG", jpeg("I;16"))]
    for split in ("train", "val"):
        pack(tmp_path / f"{split}.tar", members)
    found = opened(tmp_path)
    assert len(found.train) == 2
    assert found.train.read(0).getpixel((0, 0)) == (9, 8, 7)
    assert found.train.read(1).mode == "RGB"


def test_what_is_wrong_with_a_tar_file_is_said(tars: tuple[Path, Path], tmp_path: Path) -> None:
    root = tars[1]
    whole, members = (root / "train.tar").read_bytes(), members_of(tars[0] / "train")
    pack(root / "train.tar", [*members, members[3]])
    assert said(root).startswith(f"{root / 'train.tar'}/class0/003.jpg: stands twice in the archive")
    pack(root / "train.tar", [("x.jpg", jpeg())])
    assert "train.tar/x.jpg: lies in no class folder" in said(root)
    pack(root / "train.tar", [("a/x.txt", b"")])
    assert "train.tar: " in said(root)
    (root / "train.tar").write_bytes(b"no archive" * 100)
    assert "train.tar: not an uncompressed tar file of images" in said(root)
    (root / "train.tar").write_bytes(whole[:9000])
    assert "train.tar" in said(root)
    pack(root / "train.tar", members[:12])
    assert f"{root / 'val.tar' / 'class1'}: a class that {root / 'train.tar'} does not have" in said(root)
    assert "would be trained on and tested on" in said(root, val_split="train.tar")
    broken = [(name, content[:100] if name == "class1/003.jpg" else content) for name, content in members]
    pack(root / "train.tar", broken)
    found = opened(root).train
    with pytest.raises(InputError, match=r"train\.tar/class1/003\.jpg: not an image that can be decoded"):
        found.read(15)


def header(name: str, size: bytes = b"", pax: dict[str, str] | None = None) -> bytes:
    """The header of a member, of a size that no archiver writes."""
    member = tarfile.TarInfo(name)
    if pax:
        member.pax_headers = pax
        return member.tobuf(tarfile.PAX_FORMAT)
    content = bytearray(member.tobuf(tarfile.GNU_FORMAT))
    content[124:136], content[148:156] = size, b" " * 8
    content[148:156] = b"%06o\0 " % sum(content)
    return bytes(content)


def number(value: int) -> bytes:
    """A size as archives have those beyond 8 GiB: 12 bytes, the first of which is no digit."""
    return (value % (1 << 96) if value < 0 else value | (0x80 << 88)).to_bytes(12, "big")


HOSTILE_MEMBERS = {
    "of negative size, which Python reads for ever": header("a/y.png", number(-512)),
    "of a size beyond all files": header("a/y.png", number(2**70)),
    "of a size beyond this file": header("a/y.png", number(2**40)),
    "with a damaged header": header("a/y.png", b"0" * 11 + b"\0").replace(b"a/y", b"a/z"),
    "with half a header": header("a/y.png", b"0" * 11 + b"\0")[:200],
    "with holes at no number": header("a/y.png", pax={"GNU.sparse.map": "1,x"}),
}


@pytest.mark.parametrize("what", HOSTILE_MEMBERS)
def test_a_hostile_archive_is_one_line_and_nothing_of_it_is_passed_over(what: str, tmp_path: Path) -> None:
    picture = jpeg()
    good = header("a/x.png", b"%011o\0" % len(picture)) + picture + bytes(-len(picture) % 512)
    end = b"" if "half" in what else bytes(1024)
    (tmp_path / "train.tar").write_bytes(good + HOSTILE_MEMBERS[what] + end)
    assert "train.tar: not an uncompressed tar file" in said(tmp_path)
    (tmp_path / "x.tar").write_bytes((tmp_path / "train.tar").read_bytes())
    with pytest.raises(InputError, match=r"x\.tar: not an uncompressed tar file \("):
        list(sources._samples(tmp_path / "x.tar", 0, (".png",), None))
    assert tarfile.TarFile.tarinfo is tarfile.TarInfo


def test_a_compressed_archive_is_not_decompressed(tars: tuple[Path, Path]) -> None:
    file = tars[1] / "train.tar"
    file.write_bytes(gzip.compress(file.read_bytes()))
    assert "train.tar: not an uncompressed tar file of images" in said(tars[1])


def test_timm_s_pickled_list_of_a_tar_file_is_not_read(tars: tuple[Path, Path]) -> None:
    cached = tars[1] / "_train_tarinfos.pickle"
    cached.write_bytes(b"no pickle")
    assert len(opened(tars[1]).train) == 36
    assert cached.read_bytes() == b"no pickle"


@pytest.mark.parametrize("loader", ["memory", "torch", "beton"])
def test_batches_of_a_tar_file_are_those_of_the_folder(
    tars: tuple[Path, Path], loader: str, ffcv_installed: None
) -> None:
    found = []
    for root in tars:
        recipe = Recipe(data_dir=str(root), img_size=16, batch_size=4, color_jitter=None, crop_pct=1.0, workers=1)
        with open_data(recipe, input_size=None, device=torch.device("cpu"), loader=loader, holdout=0.25) as data:
            assert data.holdout is not None
            batches = [*data.train.epoch(1, 2), *data.test, *data.holdout]
            found.append(torch.cat([images for images, _ in batches]))
    assert torch.equal(*found)


def test_a_source_survives_being_sent_to_a_process(tars: tuple[Path, Path]) -> None:
    images = opened(tars[1]).train
    images.read(0)
    assert pickle.loads(pickle.dumps(images)).read(5).tobytes() == images.read(5).tobytes()
    part = images.subset([5, 7], np.array([0, 1]))
    assert (part.read(0).tobytes(), part.where(1)) == (images.read(5).tobytes(), images.where(7))
    assert part.digest() != images.subset([5, 8], np.array([0, 1])).digest()


# WebDataset ---------------------------------------------------------------------------------------------------------


@pytest.fixture
def shards(folder: Folder, tmp_path: Path) -> tuple[Path, Path]:
    """The same images in folders, and in two shards a split with their classes beside them."""
    optional_part("webdataset", _installed("webdataset"), 'pip install -e ".[data]"')
    root, packed = folder(), tmp_path / "shards"
    packed.mkdir()
    info: dict[str, Any] = {"splits": {}}
    for split in ("train", "val"):
        files = opened(root).train if split == "train" else opened(root).test
        samples: list[list[Member]] = [[], []]
        for index, target in enumerate(files.targets.tolist()):
            label = json.dumps({"answer": target}).encode()
            samples[index % 2] += [
                (f"{index:05}.jpg", files.encoded(index)), (f"{index:05}.cls", str(target).encode()),
                (f"{index:05}.json", label),
            ]  # fmt: skip
        names = [pack(packed / f"pictures-{split}-{part:02}.tar", samples[part]).name for part in range(2)]
        lengths = [len(part) // 3 for part in samples]
        info["splits"][split] = {
            "name": split, "num_samples": sum(lengths), "filenames": names, "shard_lengths": lengths,
        }  # fmt: skip
    (packed / "_info.json").write_text(json.dumps(info))
    return root, packed


def _installed(name: str) -> bool:
    import importlib.util

    return importlib.util.find_spec(name) is not None


@pytest.mark.parametrize("named", [{}, {"train_split": "pictures-train-{00..01}.tar"}])
def test_shards_are_read_by_index_and_hold_what_timm_reads(shards: tuple[Path, Path], named: dict[str, str]) -> None:
    named = {"val_split": "val", **named}
    found = opened(shards[1], dataset="wds/", **named)
    assert (found.name, found.class_names, len(found.train), len(found.test)) == ("shards", ("0", "1", "2"), 36, 15)
    theirs = create_dataset("wds/", root=str(shards[1]), split=named.get("train_split", "train"))
    for index, (image, target) in enumerate(theirs):
        assert target == found.train.targets[index]
        assert image.tobytes() == found.train.read(index).tobytes()
    assert index == 35
    keyed = opened(shards[1], dataset="wds/", target_key="answer", **named)
    assert keyed.train.targets.tolist() == found.train.targets.tolist()
    assert open_test(str(shards[1]), "wds/", "val")[2].digest() == found.test.digest()


def test_what_is_wrong_with_shards_is_said(shards: tuple[Path, Path], tmp_path: Path) -> None:
    root = shards[1]
    wds = {"dataset": "wds/", "val_split": "val"}
    assert "cannot open the split 'validation'" in said(root, dataset="wds/")
    assert "read from a disk, not from a URL" in said(Path("pipe:touch evil"), **wds)
    assert not Path("evil").exists()
    assert "does not hold an integer under 'no'" in said(root, target_key="no", **wds)
    assert "pictures-train-00.tar: a tar file without images (.gif)" in said(root, input_key="gif", **wds)
    one = root / "pictures-train-00.tar"
    pack(one, [("0.jpg", jpeg())])
    assert f"{one}/0.jpg: has no .cls beside it" in said(root, **wds)
    pack(one, [("0.jpg", jpeg()), ("0.cls", b"cat")])
    assert f"{one}/0.cls: does not hold an integer" in said(root, **wds)
    pack(one, [("0.jpg", jpeg()), ("0.cls", b"-1")])
    assert "holds the class -1" in said(root, **wds)
    for value in (b"1e999", b"1.5", b"true", b"NaN", b"[" * 9999):
        pack(one, [("0.jpg", jpeg()), ("0.json", b'{"answer": %s}' % value)])
        assert "does not hold an integer under 'answer'" in said(root, target_key="answer", **wds)
    assert "names over 100,000 shards" in said(root, dataset="wds/", train_split="x-{0..99999999999}.tar")
    one.write_bytes(b"x" * 2000)
    assert f"{one}: not an uncompressed tar file" in said(root, **wds)
    info = json.loads((root / "_info.json").read_text())
    info["splits"]["train"]["filenames"] = ["../packed.tar", "pipe:touch evil"]
    (root / "_info.json").write_text(json.dumps(info))
    pack(tmp_path / "packed.tar", [("0.jpg", jpeg()), ("0.cls", b"0")])
    assert "no such shard" in said(root, **wds)
    assert not Path("evil").exists()


# Hugging Face -------------------------------------------------------------------------------------------------------


@pytest.fixture
def table(folder: Folder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[Path, Path]:
    """The same images in folders, and in parquet files."""
    optional_part("datasets", _installed("datasets"), 'pip install -e ".[data]"')
    import datasets

    root, packed = folder(), tmp_path / "pictures-hf"
    features = datasets.Features(
        {"image": datasets.Image(), "label": datasets.ClassLabel(names=["class0", "class1", "class2"])}
    )
    (packed / "data").mkdir(parents=True)
    for split, images in (("train", opened(root).train), ("validation", opened(root).test)):
        rows = {
            "image": [{"bytes": images.encoded(index), "path": None} for index in range(len(images))],
            "label": images.targets.tolist(),
        }
        file = packed / "data" / f"{split}-00000-of-00001.parquet"
        datasets.Dataset.from_dict(rows, features=features).to_parquet(file)
    return root, packed


def test_a_hugging_face_dataset_holds_what_the_folder_holds(table: tuple[Path, Path], cache: Path) -> None:
    expected = opened(table[0])
    found = opened(cache / "hf", dataset=f"hfds/{table[1]}")
    assert (found.name, found.class_names) == ("pictures-hf", expected.class_names)
    for one, other in ((expected.train, found.train), (expected.test, found.test)):
        assert one.targets.tolist() == other.targets.tolist()
        assert np.array_equal(decode(one, "", silent), decode(other, "", silent))
    assert found.train.digest() == opened(cache / "hf", dataset=f"hfds/{table[1]}").train.digest()
    assert open_test(str(cache / "hf"), f"HFDS/{table[1]}", "validation")[2].digest() == found.test.digest()
    assert found.train.where(3) == f"hfds/{table[1]}:train, row 3"
    with_split = {"dataset": f"hfds/{table[1]}", "val_split": "test"}
    assert "cannot open the split 'test'" in said(cache / "hf", **with_split)
    assert "--target-key" in said(cache / "hf", dataset=f"hfds/{table[1]}", target_key="no")
    assert "--target-key" in said(cache / "hf", dataset=f"hfds/{table[1]}", target_key="image")
    assert "--input-key" in said(cache / "hf", dataset=f"hfds/{table[1]}", input_key="no")


def test_a_package_that_is_missing_is_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    import builtins
    import sys

    monkeypatch.delitem(sys.modules, "timm.data.readers.reader_hfds", raising=False)
    real = builtins.__import__

    def without(name: str, *rest: Any, **more: Any) -> Any:
        if name == "datasets":
            raise ImportError(name)
        return real(name, *rest, **more)

    monkeypatch.setattr(builtins, "__import__", without)
    assert said(tmp_path, dataset="hfds/x") == "hfds/x: needs the package datasets; pip install datasets"


def test_streams_are_refused_with_what_to_do() -> None:
    assert "a stream, whose order" in said(None, dataset="tfds/imagenet2012")
    assert "save its images as class folders" in said(None, dataset="tfds/imagenet2012")
    assert "use hfds/ instead" in said(None, dataset="hfids/x")
    assert "there are digits, torch/cifar10, torch/cifar100, hfds/NAME, wds/" in said(None, dataset="torch/mnist")
