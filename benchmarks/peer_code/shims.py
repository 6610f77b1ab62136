"""What stands in for parts of old torch that are gone, so that authors' files run as they are.

Only `theirs.py` imports this, in the process that runs the authors' code.
"""

from __future__ import annotations

import sys
import types
from collections.abc import Callable, Iterator
from typing import Any

import torch
import torchvision
from torch import Tensor, nn

Batches = list[tuple[Tensor, Tensor]]
TRAIN, TEST = "train", "test"
GIVEN: dict[str, Batches] = {TRAIN: [], TEST: []}
REPLACED: list[tuple[str, str]] = []  # in the source of scripts, before they run


def _no_cuda() -> None:
    torch.Tensor.cuda = lambda tensor, *_, **__: tensor
    nn.Module.cuda = lambda module, *_, **__: module


def _scalars() -> None:
    real = torch.Tensor.__getitem__

    def item(tensor: Tensor, index: Any) -> Tensor:
        return tensor if tensor.dim() == 0 and isinstance(index, int) and index == 0 else real(tensor, index)

    torch.Tensor.__getitem__ = item


def _variable() -> None:
    torch.autograd.Variable = lambda tensor, **_: tensor


class GivenImages:
    """In the place of torchvision's CIFAR10."""

    def __init__(self, root: str, train: bool = True, **_: Any):
        self.batches = GIVEN[TRAIN if train else TEST]

    def __len__(self) -> int:
        return sum(len(targets) for _, targets in self.batches)


class GivenLoader:
    """In the place of torch's DataLoader: the batches as they are, in each epoch the same."""

    def __init__(self, dataset: GivenImages, **_: Any):
        self.dataset = dataset

    def __iter__(self) -> Iterator[tuple[Tensor, Tensor]]:
        return iter(self.dataset.batches)

    def __len__(self) -> int:
        return len(self.dataset.batches)


def _batches() -> None:
    torchvision.datasets.CIFAR10 = GivenImages
    torch.utils.data.DataLoader = GivenLoader


def _async() -> None:
    REPLACED.append(("async=True", "non_blocking=True"))


def _view() -> None:
    real = torch.Tensor.view

    def view(tensor: Tensor, *shape: Any) -> Tensor:
        try:
            return real(tensor, *shape)
        except RuntimeError:
            return tensor.reshape(*shape)

    torch.Tensor.view = view


def _init_names() -> None:
    for name in ("kaiming_normal", "xavier_normal"):
        if not hasattr(nn.init, name):
            setattr(nn.init, name, getattr(nn.init, f"{name}_"))


def _easydict() -> None:
    module = types.ModuleType("easydict")
    module.EasyDict = dict  # type: ignore[attr-defined]
    sys.modules["easydict"] = module


SHIMS: dict[str, tuple[str, Callable[[], None]]] = {
    "cuda does nothing": (".cuda() of tensors and modules returns them as they are", _no_cuda),
    "loss.data[0]": ("index 0 of a tensor without dimensions is the tensor", _scalars),
    "Variable": ("torch.autograd.Variable takes and ignores `volatile`", _variable),
    "batches as given": ("CIFAR10 and DataLoader give the batches of the comparison, in this order", _batches),
    "async": ("`async=True` is read as `non_blocking=True` (async is a keyword since Python 3.7)", _async),
    "view": ("view copies where the strides do not allow a view", _view),
    "init names": ("init.kaiming_normal and xavier_normal are the names with an underscore", _init_names),
    "easydict": ("an empty module, imported and not used on the way", _easydict),
}
