"""Weight files that anyone can have: where each lies, which network it holds and what its authors print of it.

`public_weights.csv` was read from the repositories at the commits that it names. A file is known by git's hash of its
bytes, so that a copy is recognised whatever its name, and a download is whole or refused. Standard library only.
"""

from __future__ import annotations

import csv
import hashlib
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from urllib.parse import quote

from thinresnet import base_width
from thinresnet.base_width import BaseWidth
from thinresnet.errors import InputError
from thinresnet.preprocessing import IMAGENET_MEAN, IMAGENET_STD, Preprocessing

TABLE = Path(__file__).with_name("public_weights.csv")
CLASSES = {"cifar10": 10, "cifar100": 100, "imagenet": 1000}
_PREPROCESSING = {
    "imagenet": Preprocessing(IMAGENET_MEAN, IMAGENET_STD, resize_px=232, crop_px=224, resized_on="tensor"),
    "imagenet-statistics": Preprocessing(IMAGENET_MEAN, IMAGENET_STD),
    "cifar10-statistics": Preprocessing((0.4914, 0.4822, 0.4465), (0.2023, 0.1994, 0.2010)),
    "half": Preprocessing((0.5, 0.5, 0.5), (0.5, 0.5, 0.5)),
}
# The recipe of the ThinResNet authors: so many updates whatever the data, of so many images each.
UPDATES = 750_000
BATCH_SIZE = {"cifar10": 128, "cifar100": 128, "imagenet": 1024}
TRAIN_SIDE_PX = {"cifar10": 32, "cifar100": 32, "imagenet": 176}


@dataclass(frozen=True)
class PublicWeights:
    """One file."""

    repository: str
    commit: str
    path: str  # empty where the file is not at that commit itself
    git_blob: str
    licence: str
    dataset: str
    network: str
    preprocessing: Preprocessing
    printed_top1: float | None
    locator: str

    @property
    def url(self) -> str | None:
        """Where the file is downloaded from; None where only its page is known."""
        if not self.path:
            return None
        return f"https://raw.githubusercontent.com/{self.repository}/{self.commit}/{quote(self.path)}"

    @property
    def base_width(self) -> BaseWidth | None:
        """The network by its base width, if it is one of the ThinResNet authors'."""
        return base_width.parse(self.network)


@cache
def every() -> tuple[PublicWeights, ...]:
    """All known files, in the order of the table."""
    with TABLE.open(encoding="ascii", newline="") as file:
        return tuple(_weights(row) for row in csv.DictReader(file))


def _weights(row: dict[str, str]) -> PublicWeights:
    plain = {name: row[name] for name in ("repository", "commit", "path", "git_blob", "licence", "dataset", "network")}
    return PublicWeights(
        **plain,
        preprocessing=_PREPROCESSING[row["preprocessing"]],
        printed_top1=float(row["printed_top1"]) if row["printed_top1"] else None,
        locator=row["locator"],
    )


def find(network: str, dataset: str | None = None) -> PublicWeights:
    """The file of a network by name; of one that has several, for several datasets, the one for `dataset`."""
    found = [one for one in every() if one.network == network and one.url and dataset in (None, one.dataset)]
    if not found:
        on = f" for {dataset}" if dataset else ""
        raise InputError(
            f"{network}: no public weights are known{on}; known are thinresnet20 and -56 at w1 to w16 (cifar10, "
            "cifar100) and thinresnet50 at w8, w12 … w64 (imagenet)"
        )
    if len(found) > 1:
        names = " or ".join(one.dataset for one in found)
        raise InputError(f"{network}: there are weights for several datasets; say --dataset {names}")
    return found[0]


def named(name: str, classes: int) -> PublicWeights:
    """The file of a network (`thinresnet20-w8`) or with that name (`resnet20-12fca82f`), for so many classes."""
    called = [one for one in every() if one.path and name in (one.network, Path(one.path).stem)]
    found = [one for one in called if CLASSES[one.dataset] == classes]
    if not found:
        there = " or ".join(sorted({str(CLASSES[one.dataset]) for one in called}))
        why = (
            f"there are public weights for {there} classes, not for {classes}"
            if called
            else "no public weights are known"
        )
        raise InputError(f"{name}: {why}; known are {', '.join(_examples())}")
    if len(found) > 1:
        raise InputError(
            f"{name}: several files are of this network: {', '.join(Path(one.path).stem for one in found)}"
        )
    return found[0]


def _examples() -> list[str]:
    """A name of each kind."""
    return [
        "thinresnet20-w1 to thinresnet56-w16",
        *(Path(one.path).stem for one in every() if one.path and not one.base_width),
    ]


def origin_training_macs(weights: PublicWeights) -> int | None:
    """Training MACs of a public file, where its authors' recipe could be read; None where it could not."""
    network = weights.base_width
    return None if network is None else training_macs(network, weights.dataset)


def recognised(content_hash: str) -> PublicWeights | None:
    """The known file with this `git_hash`."""
    return next((one for one in every() if one.git_blob == content_hash), None)


def git_hash(path: Path) -> str:
    """What git calls a file of these bytes."""
    digest = hashlib.sha1(f"blob {path.stat().st_size}\0".encode(), usedforsecurity=False)
    with path.open("rb") as file:
        while block := file.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()


def training_macs(network: BaseWidth, dataset: str) -> int:
    """MACs of training by the authors' recipe: 3 x forward MACs at the training side x images of all updates."""
    forward, _ = network.cost(classes=CLASSES[dataset], side_px=TRAIN_SIDE_PX[dataset])
    return 3 * forward * UPDATES * BATCH_SIZE[dataset]
