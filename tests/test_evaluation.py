"""The files of imported and evaluated weights: what is written is read back, and what is changed by hand is refused."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from thinresnet import public_weights
from thinresnet.base_width import BaseWidth
from thinresnet.errors import InputError
from thinresnet.evaluation import Evaluation, wilson
from thinresnet.imported import Imported, Origin
from thinresnet.preprocessing import IMAGENET_MEAN, IMAGENET_STD, Preprocessing

PREPROCESSING = Preprocessing(IMAGENET_MEAN, IMAGENET_STD, resize_px=232, crop_px=224, resized_on="tensor")
EVALUATION = Evaluation(
    name="some", arch="resnet20_cifar", arch_kwargs={"num_classes": 2}, shape="thinresnet20-w1", network_sha256="a",
    weights_sha256="b", ema=False, dataset="cifar10-jpeg", images=10, images_sha256="c", classes=["cat", "dog"],
    outputs=2, restricted=False, correct1=7, correct5=None, correct1_of_all_outputs=7, loss=0.5,
    confusion=[[4, 1], [2, 3]], resolution=32, macs=1, params=2, preprocessing=PREPROCESSING, images_per_second=9.5,
    device="processor", versions={"torch": "2"}, finished="2026-01-01T00:00:00+00:00",
)  # fmt: skip
IMPORTED = Imported(
    arch="resnet20_cifar", arch_kwargs={"num_classes": 2}, shape="thinresnet20-w1", network_sha256="a", dataset="",
    classes=2, macs=1, params=2, dense_macs=3, dense_params=4, weights_sha256="b",
    origin=Origin("weights.pt", "c", "d", printed_top1=91.5), preprocessing=PREPROCESSING,
)  # fmt: skip


def test_an_interval_is_wilsons() -> None:
    """Against the closed form at half, and the values that statistics books print for 10 of 10 and 81 of 263."""
    assert wilson(10, 10) == pytest.approx((0.7224672, 1.0), abs=1e-6)
    assert wilson(81, 263) == pytest.approx((0.2553, 0.3662), abs=1e-4)
    low, high = wilson(50, 100)
    assert (low + high) / 2 == pytest.approx(0.5)


@given(total=st.integers(1, 10**6), share=st.floats(0, 1))
def test_an_interval_holds_its_share(total: int, share: float) -> None:
    correct = round(total * share)
    low, high = wilson(correct, total)
    assert 0 <= low <= correct / total + 1e-12
    assert correct / total - 1e-12 <= high <= 1
    assert low < high


def test_an_evaluation_is_read_back(tmp_path: Path) -> None:
    EVALUATION.write(tmp_path)
    assert Evaluation.read(tmp_path) == EVALUATION
    written = json.loads((tmp_path / "evaluation.json").read_text())
    assert (written["top1"], written["top1_by_class"]) == (70.0, {"cat": 80.0, "dog": 60.0})
    assert written["top1_low95"] < 70 < written["top1_high95"]


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"correct1": 8}, "correct1: 8, but the diagonal"),
        ({"images": 11}, "its entries are not the 11 images"),
        ({"confusion": [[4, 1], [2]]}, "confusion: its entries"),
        ({"confusion": "x"}, "confusion: 'x' is not of type"),
        ({"format": 2}, "not an evaluation of format 1"),
        ({"correct1": True}, "correct1: True is not of type int"),
        ({"extra": 1}, "unknown key 'extra'"),
        ({"preprocessing": {"mean": [0, 0, 0]}}, "preprocessing: the key 'std' is missing"),
        ({"preprocessing": {"mean": [0, 0, 9], "std": [1, 1, 1]}}, "mean: .* each is 0 to 1"),
        ({"preprocessing": {"mean": [0, 0, 0], "std": [1, 1, 1], "crop": 3}}, "unknown key 'crop'; did you mean"),
    ],
)
def test_an_evaluation_that_was_changed_is_refused(changes: dict[str, Any], said: str, tmp_path: Path) -> None:
    EVALUATION.write(tmp_path)
    path = tmp_path / "evaluation.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), **changes}))
    with pytest.raises(InputError, match=said) as refusal:
        Evaluation.read(tmp_path)
    assert str(refusal.value).startswith(str(path))


def test_what_is_imported_is_read_back(tmp_path: Path) -> None:
    IMPORTED.write(tmp_path)
    assert Imported.read(tmp_path) == IMPORTED
    path = tmp_path / "imported.json"
    assert json.loads(path.read_text())["weights"] == "theirs"
    for changes, said in (({"origin": []}, "origin: .. is not an object"), ({"macs": 0.5}, "macs: 0.5 is not of type")):
        path.write_text(json.dumps({**json.loads(IMPORTED.to_json()), **changes}))
        with pytest.raises(InputError, match=said):
            Imported.read(tmp_path)


def test_preprocessing_in_words() -> None:
    assert PREPROCESSING.in_words.startswith("resize 232 (bilinear, tensor), crop 224, mean 0.485 0.456 0.406")
    assert replace(PREPROCESSING, resize_px=None, crop_px=None).in_words.startswith("mean 0.485")
    for wrong in ({"std": (0, 1, 1)}, {"interpolation": "nearest"}, {"crop_px": 0}, {"resize_px": True}):
        with pytest.raises(InputError):
            replace(PREPROCESSING, **wrong)


def test_public_files_are_networks_by_base_width() -> None:
    files = public_weights.every()
    thin = [one for one in files if one.base_width is not None]
    assert len(thin) == 64 + 15
    assert len({one.git_blob for one in files}) == len(files)
    assert all(one.url and one.url.startswith("https://raw.githubusercontent.com/") for one in thin)
    assert public_weights.find("thinresnet50-w52").dataset == "imagenet"
    assert public_weights.find("thinresnet20-w8", "cifar100").path.endswith("resnet20_width8_cifar100_ema.pt")
    with pytest.raises(InputError, match="say --dataset cifar10 or cifar100"):
        public_weights.find("thinresnet20-w8")
    with pytest.raises(InputError, match="no public weights are known"):
        public_weights.find("thinresnet50-w9")


def test_the_training_cost_of_the_authors_recipe() -> None:
    """750,000 updates: of 128 images at 32 pixels, of 1,024 at 176."""
    macs, _ = BaseWidth(20, 8).cost(classes=10, side_px=32)
    assert public_weights.training_macs(BaseWidth(20, 8), "cifar10") == 3 * macs * 750_000 * 128
    at_176, _ = BaseWidth(50, 64).cost(classes=1000, side_px=176)
    assert public_weights.training_macs(BaseWidth(50, 64), "imagenet") == 3 * at_176 * 750_000 * 1024
    assert 0.6 < at_176 / 4_089_184_256 < 0.66


def test_git_knows_a_file_by_its_bytes(tmp_path: Path) -> None:
    (tmp_path / "empty").write_bytes(b"")
    (tmp_path / "hello").write_bytes(b"hello world\n")
    assert public_weights.git_hash(tmp_path / "empty") == "e69de29bb2d1d6434b8b29ae775ad8c2e48c5391"
    assert public_weights.git_hash(tmp_path / "hello") == "3b18e512dba79e4c8300dd08aeb37f8e728b8dad"
