"""Recipes in two classes, from facts that their sources state: classical, modern, or not known.

Classical is what pruning papers train with: SGD (or RMSProp) with crops and flips, at most as long as `LONGEST`;
cosine rates, warm-up and label smoothing belong to it. Modern is what goes beyond: mixed images (mixup, CutMix), a
policy of augmentation (AutoAugment, RandAugment, TrivialAugment, AugMix), repeated augmentation, averaged weights
(EMA), binary cross-entropy, or a longer schedule. What no source states is not known, and never counts as classical.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from thinresnet.leaderboard.schema import Entry

CLASSICAL, MODERN, UNKNOWN = "classical", "modern", "unknown"
# Epochs that a classical schedule has at most: ImageNet 90 to 128, MobileNets up to 300, CIFAR 160 to 300.
LONGEST = {"imagenet": 150, "mobile": 300, "other": 300}
_MOBILE = re.compile(r"mobilenet")

# The pretrained tags of timm, as its list of hyper-parameters (hfdocs/source/hparams.mdx) describes them.
_MODERN_TAGS = re.compile(r"(a1h?|a2|a3|ah|b1k?|b2k?|c[123]?h?|d[12]?|ra[234a]?|racm|ram|am|aa|ap|tv2|sw)(_.*)?_in1k")
_CLASSICAL_TAGS = re.compile(r"(tv|pycls)_in1k")
# `e3600` in a tag: the epochs.
_EPOCHS_IN_TAG = re.compile(r"(?:\A|_)e(\d{2,5})_")
# The recipes of this project, by file name or by their short name in a study.
_OWN = {
    "classic": CLASSICAL, "modern": MODERN, "cifar-classic-160": CLASSICAL, "cifar-classic-200": CLASSICAL,
    "cifar-modern": MODERN, "imagenet-classic": CLASSICAL, "imagenet-ffcv": CLASSICAL, "imagenet-a1": MODERN,
    "imagenet-a2": MODERN, "imagenet-a3": MODERN, "imagenet-torchvision-v2": MODERN,
    "imagenet-ra": MODERN, "imagenet-ra2": MODERN, "imagenet-jsd": MODERN,
}  # fmt: skip


@dataclass(frozen=True)
class Fact:
    """What one source states about the training of its rows (those whose method matches)."""

    paper: str
    label: str
    states: str
    method: str = ""
    arch: str = ""

    def fits(self, entry: Entry) -> bool:
        """Whether the fact is about this row."""
        return (
            entry.paper == self.paper
            and re.search(self.method, entry.method) is not None
            and re.match(self.arch, entry.arch) is not None
        )


# The first fact that fits a row decides.
FACTS: tuple[Fact, ...] = (
    Fact("torchvision", CLASSICAL, "references/classification: SGD, 90 epochs, crops and flips", "_V1"),
    Fact("torchvision", MODERN, "600 epochs, TrivialAugment, mixup, CutMix, EMA", "_V2"),
    Fact("torchvision_v2", CLASSICAL, "blog, first step: tuned rates, 90 epochs, crops and flips", "LR optim"),
    Fact("torchvision_v2", MODERN, "blog, later steps: TrivialAugment and more, 600 epochs"),
    Fact("wightman2021rsb", MODERN, "ResNet strikes back: mixup, CutMix, RandAugment, binary cross-entropy"),
    Fact("adlik", CLASSICAL, "README: SGD, 100 epochs, label smoothing"),
    Fact("ffcv_imagenet", CLASSICAL, "rn50_configs, rn18_configs: SGD, 16 to 88 epochs, label smoothing"),
    Fact("nvidia_rn50", MODERN, "README: mixup in the run of 250 epochs", "250"),
    Fact("nvidia_rn50", CLASSICAL, "README: SGD, 50 or 90 epochs, label smoothing"),
    Fact("pycls", CLASSICAL, "MODEL_ZOO: SGD, 100 epochs, half-period cosine"),
    Fact("mmpretrain", CLASSICAL, "schedules/imagenet_bs256: SGD, 100 epochs, steps", r"ResNet-\d"),
    Fact("openmixup", CLASSICAL, "resnet*_step_ep100: SGD, 100 epochs, no mixing", "vanilla 100"),
    Fact("openmixup", MODERN, "300 epochs", "300"),
    Fact("paddleclas", MODERN, "ResNet*_vd.yaml: 200 epochs, mixup", "_vd"),
    Fact("paddleclas", CLASSICAL, "ResNet*.yaml: SGD, 120 epochs, steps, crops and flips", arch="resnet"),
    Fact("paddleclas", CLASSICAL, "MobileNetV1*.yaml 120, V2*.yaml 240 epochs, no mixing", arch="mobilenetv[12]"),
    Fact("yu2019slimmable", CLASSICAL, "s_resnet50_train_val.yml: SGD, 100 epochs, steps", arch="resnet"),
    Fact("liu2019metapruning", CLASSICAL, "evaluate.py: SGD, 128 epochs, label smoothing", arch="resnet"),
    Fact("liu2019metapruning", CLASSICAL, "evaluate.py: SGD, 256 epochs, label smoothing", arch="mobilenet"),
    Fact("howard2017mobilenets", CLASSICAL, "the paper: RMSProp, less augmentation than for large networks"),
    Fact("sandler2018mobilenetv2", CLASSICAL, "the paper: RMSProp, rate x 0.98 an epoch"),
    Fact("liu2017slimming", CLASSICAL, "main.py: SGD, 160 epochs, steps"),
    Fact("liu2019rethinking", CLASSICAL, "main.py: SGD, 160 epochs on CIFAR, 90 on ImageNet, steps"),
    Fact("he2016resnet", CLASSICAL, "the paper: SGD, 64,000 updates of 128, crops and flips", arch=".*_cifar"),
    Fact("akamaster", CLASSICAL, "trainer.py: SGD, 200 epochs, steps, crops and flips"),
    Fact("chenyaofo", CLASSICAL, "README: SGD, 200 epochs, crops and flips"),
    Fact("crowley2018closer", CLASSICAL, "train.py: SGD, 200 epochs, steps"),
)  # fmt: skip


def longest_classical(entry: Entry) -> int:
    """The most epochs that a classical schedule has on this dataset for this kind of network."""
    if _MOBILE.match(entry.arch):
        return LONGEST["mobile"]
    return LONGEST["imagenet" if entry.dataset == "imagenet" else "other"]


def recipe_class(entry: Entry) -> str:
    """`classical`, `modern` or `unknown`, for a row that was trained from random weights."""
    epochs = entry.train_epochs
    if epochs is None and (found := _EPOCHS_IN_TAG.search(entry.recipe)):
        epochs = int(found[1])
    if epochs is not None and epochs > longest_classical(entry):
        return MODERN
    if entry.recipe:
        if entry.source == "measured":
            return _OWN.get(entry.recipe, UNKNOWN)
        if _CLASSICAL_TAGS.fullmatch(entry.recipe):
            return CLASSICAL
        if _MODERN_TAGS.fullmatch(entry.recipe):
            return MODERN
    return next((fact.label for fact in FACTS if fact.fits(entry)), UNKNOWN)
