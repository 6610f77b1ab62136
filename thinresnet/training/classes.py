"""The names of classes: those that a dataset is known to have, and what ImageNet's mean in English."""

from __future__ import annotations

from functools import cache

import timm.data

_CIFAR10 = ("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck")


def known_classes(dataset: str, outputs: int) -> tuple[str, ...] | None:
    """The names of a network's outputs, where its dataset says them."""
    if dataset == "cifar10" and outputs == len(_CIFAR10):
        return _CIFAR10
    if outputs == 1000 and dataset in ("imagenet", ""):
        return tuple(_imagenet().label_names())
    return None


def in_english(name: str) -> str:
    """What an ImageNet identifier such as n01440764 stands for; any other name is left as it is."""
    descriptions = _descriptions() if name.startswith("n") and name[1:].isdigit() else {}
    return descriptions.get(name, name)


@cache
def _imagenet() -> timm.data.ImageNetInfo:
    return timm.data.ImageNetInfo("imagenet-1k")


@cache
def _descriptions() -> dict[str, str]:
    names, told = _imagenet().label_names(), _imagenet().label_descriptions()
    return dict(zip(names, told, strict=True))
