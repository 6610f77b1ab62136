"""The authors' code that is run: which repository at which commit, and the content of each file that runs.

Nothing of it is in this repository. A checkout is taken as it lies; each file is compared with the hash that git has of
its content at that commit, so that an archive without `.git` does as well.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Repository:
    """Authors' code at a commit, and the files of it that run here with git's hashes of their content."""

    address: str  # owner/name on GitHub
    commit: str
    files: Mapping[str, str]
    shims: tuple[str, ...] = ()  # of `theirs.SHIMS`: what stands in for libraries that are gone

    @property
    def name(self) -> str:
        """Its folder among the peers."""
        return self.address.split("/")[1]

    def commands(self) -> Iterator[str]:
        """How to get it with git."""
        yield f"git clone https://github.com/{self.address} DIR/{self.name}"
        yield f"git -C DIR/{self.name} checkout {self.commit}"

    def problem(self, peers: Path | None) -> str | None:
        """Why it cannot be run from there, or None."""
        if peers is None:
            return "no --peers given"
        folder = peers / self.name
        if not folder.is_dir():
            return f"no folder {folder}"
        for name, wanted in self.files.items():
            file = folder / name
            if not file.is_file():
                return f"{file} is missing"
            if (found := git_hash(file.read_bytes())) != wanted:
                return f"{file} is not the file of commit {self.commit[:8]} ({found[:8]} instead of {wanted[:8]})"
        return None


@dataclass(frozen=True)
class Library:
    """Authors' code from a package index."""

    name: str
    version: str
    shims: tuple[str, ...] = ()


def git_hash(content: bytes) -> str:
    """The hash that git has of a file with this content."""
    return hashlib.sha1(b"blob %d\0" % len(content) + content, usedforsecurity=False).hexdigest()


_OLD_TORCH = ("cuda does nothing", "loss.data[0]", "Variable", "batches as given")

RETHINKING = Repository(
    "Eric-mingjie/rethinking-network-pruning",
    "2ac473d70a09810df888e932bb394f225f9ed2d1",
    {
        "cifar/l1-norm-pruning/res56prune.py": "0fa60dc28140293ee30f8ae21c759e6d97f66491",
        "cifar/l1-norm-pruning/main_finetune.py": "1b0955944ad16403b86867f150b56f6f708a9c54",
        "cifar/l1-norm-pruning/models/__init__.py": "d6535bf6b040f81c1accd9fae2603573857bcd00",
        "cifar/l1-norm-pruning/models/resnet.py": "05395924965c928244be85e1a1472c98b82e0f06",
        "cifar/l1-norm-pruning/models/vgg.py": "c57479e5ac68fa77c0e7dd24586d1017a04f0376",
    },
    _OLD_TORCH,
)
SLIMMING = Repository(
    "Eric-mingjie/network-slimming",
    "b395dc07521cbc38f741d971a18fe3f6423c9ab1",
    {
        "main.py": "272791bc430d45426622ff044421e42a7182b710",
        "vggprune.py": "41a20c6353a1df9e856cb9e2ccaf4c5b1e52200a",
        "models/__init__.py": "c4daf10d2370e9ba91226c6bc2a36f2602752acb",
        "models/vgg.py": "18a8fc3c13a0df37cd074106ad3ce970d6a56811",
        "models/preresnet.py": "f9d702a3347e28517fe8d9be3e30373a17f2243a",
        "models/densenet.py": "ab87948fe3e5b4450a35ff48af2ee5fe77e8c210",
        "models/channel_selection.py": "a383ce5da070ce13538f99bda2ef7e96e3263795",
    },
    _OLD_TORCH,
)
SFP = Repository(
    "he-y/soft-filter-pruning",
    "919c3998eeff06cf9f15f7c6087b5c283a5ac6dc",
    {
        "pruning_cifar10_resnet.py": "2fcd2df2ce3b28c1d404d51e0284089621840698",
        "utils.py": "b11f899f57fd6d4f96a7fa07a27cdaf7107e89df",
        "models/__init__.py": "e084b62883ca9e8d56d72a57a5d5402a377592fa",
        "models/resnet.py": "d37fe4b509577bcfcba555aeacc341ff66859a3d",
        "models/res_utils.py": "a502206e62c0033c5dda0547a9c33df20dda3c40",
        "models/preresnet.py": "f96f8cd267f0860034a6cd52ee512606619c694c",
        "models/caffe_cifar.py": "37d3ca31e139dfc2deb452eeb8fb6511c6039217",
        "models/imagenet_resnet.py": "f014480f883fb84510f75cdc77cb4872a5b4e7d5",
        "models/alexnet.py": "67b7e9f829317271c56ff8c7b027da85acd1e715",
        "models/vgg.py": "5da34d536c39f5abcf0cd2a1b769573e76938f7a",
        "models/imagenet_resnet_small.py": "2ee625feabd8bdb274cd977475cb497d302de781",
    },
    (*_OLD_TORCH, "async", "view", "init names"),
)
SYNFLOW = Repository(
    "ganguli-lab/Synaptic-Flow",
    "9dfa57aa4012c34028ee646d367f18e32f0e3bc7",
    {
        "prune.py": "1ea3986ccf73224843ecfa540de0cd03d3be83d8",
        "Pruners/pruners.py": "6fd5569be7bed04aa95d7e325ebf5f0707dbfcf3",
        "Pruners/__init__.py": "e69de29bb2d1d6434b8b29ae775ad8c2e48c5391",
        "Layers/layers.py": "d45782fa6b4b70465eb2f0f16e585ac218156fb9",
        "Layers/__init__.py": "e69de29bb2d1d6434b8b29ae775ad8c2e48c5391",
        "Models/lottery_resnet.py": "a766666b8040789794233729dbf8bca963b9b6ab",
        "Models/__init__.py": "e69de29bb2d1d6434b8b29ae775ad8c2e48c5391",
        "Utils/generator.py": "47f4f371cb829dc2e5aea27931dbcae9c1528f92",
        "Utils/__init__.py": "e69de29bb2d1d6434b8b29ae775ad8c2e48c5391",
    },
)
GRASP = Repository(
    "alecwangcq/GraSP",
    "f17d87ac537bfce476ac2424171a8b6eb56499db",
    {
        "pruner/GraSP.py": "9303ad0fcd2747069c0c2b621a3f056c566c6fc4",
        "models/base/__init__.py": "95cfc77c858bbe2012f2f9cc9ebfe204279e466b",
        "models/base/resnet.py": "97707d4459b5bacf300370a77345159edb80f3ea",
        "models/base/vgg.py": "13dedd7d8cfbaaf15daea38d5fbdf58328e2ae0e",
        "models/base/init_utils.py": "484c8c9081d868e72809e178526445414dadee96",
        "utils/__init__.py": "e69de29bb2d1d6434b8b29ae775ad8c2e48c5391",
        "pruner/__init__.py": "e69de29bb2d1d6434b8b29ae775ad8c2e48c5391",
        "utils/common_utils.py": "7a6d7bb240b339c11017bba65e15d98dff9faf5f",
    },
    ("easydict",),
)
FORCE = Repository(
    "naver/force",
    "7494eed332b0494c283d6f3a2ed7a033895a6ccb",
    {
        "pruning/pruning_algos.py": "17175eb345107ad42fe9f917f3c5dc5ef40b4c24",
        "pruning/mask_networks.py": "9358c9a4e1b359f16a88315569e42dd25f880a20",
        "experiments/models.py": "9e93b788976752e28f3647ad027172e802a6e5db",
    },
)
TORCH_PRUNING = Library("torch-pruning", "1.6.1")
REPOSITORIES = (RETHINKING, SLIMMING, SFP, SYNFLOW, GRASP, FORCE)
