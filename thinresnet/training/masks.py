"""Masks: weights that are held at zero while a network trains.

Masks lie in a folder beside the weights that they belong to. A training that starts from such a folder holds them, and
puts them beside the weights that it writes, so that whatever starts from there holds them too.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim.optimizer import register_optimizer_step_post_hook

from thinresnet.errors import InputError, nearest
from thinresnet.files import write_atomically
from thinresnet.networks.store import read_weights
from thinresnet.runs import MASKS_FILE
from thinresnet.training.provenance import file_sha256


@dataclass(frozen=True)
class Masks:
    """The masks of a folder, by parameter: what is zero in them is held at zero."""

    path: Path
    sha256: str
    kept: Mapping[str, Tensor]

    def to_json(self) -> dict[str, Any]:
        """What a result says of them: the file's hash, and how many of the masked layers' weights are held at zero."""
        weights = sum(mask.numel() for mask in self.kept.values())
        zeros = weights - sum(int(mask.bool().sum()) for mask in self.kept.values())
        return {"sha256": self.sha256, "zeros": zeros, "weights": weights}

    def write(self, folder: Path) -> None:
        """Put them beside weights that were trained with them."""
        write_atomically(folder / MASKS_FILE, self.path.read_bytes())


def masks_beside(weights: Path) -> Masks | None:
    """The masks of the folder that a file of weights lies in; None where it has none."""
    path = weights.parent / MASKS_FILE
    return Masks(path, file_sha256(path), read_weights(path)) if path.is_file() else None


@torch.no_grad()
def apply_masks(model: nn.Module, masks: Mapping[str, Tensor]) -> None:
    """Set what is masked to zero; masks that do not fit are refused."""
    for parameter, mask in _matched(model, masks):
        parameter.mul_(mask)


@contextmanager
def keep_masks(model: nn.Module, masks: Mapping[str, Tensor]) -> Iterator[None]:
    """Inside, masked weights are zero after every update, and their gradients are zero before it.

    Masked gradients keep momentum, clipping and adaptive rates from seeing what is gone; the second masking is for
    optimizers that mix the entries of a matrix.
    """
    pairs = _matched(model, masks)

    @torch.no_grad()
    def apply(*_: Any) -> None:
        for parameter, mask in pairs:
            parameter.mul_(mask)

    apply()
    handles: list[Any] = [
        parameter.register_hook(lambda gradient, mask=mask: gradient * mask) for parameter, mask in pairs
    ]
    handles.append(register_optimizer_step_post_hook(apply))
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()


def _matched(model: nn.Module, masks: Mapping[str, Tensor]) -> list[tuple[nn.Parameter, Tensor]]:
    """Each masked parameter with its mask, on its device; masks that do not fit are refused."""
    parameters = dict(model.named_parameters())
    pairs = []
    for name, mask in masks.items():
        if name not in parameters:
            raise InputError(f"masks: the network has no parameter {name!r}{nearest(name, parameters)}")
        if mask.shape != parameters[name].shape:
            raise InputError(
                f"masks: {name!r} has shape {tuple(mask.shape)}; the network's is {tuple(parameters[name].shape)}"
            )
        pairs.append((parameters[name], mask.bool().to(parameters[name].device)))
    return pairs
