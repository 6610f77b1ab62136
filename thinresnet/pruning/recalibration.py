"""Batch-norm statistics after a cut: what they were measured on is no longer what the norms read.

A layer that lost inputs sums fewer terms, so the means and variances that training left in the norms behind it are
wrong, and accuracy before fine-tuning says more about them than about what was kept (the finding of Li et al. 2020,
EagleEye, arXiv:2007.02491). They are measured anew on training images, as training reads them; weights stay.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm

from thinresnet.training.data import Data


def recalibrate(model: nn.Module, data: Data, images: int) -> Counter[int]:
    """Measure the statistics of all batch norms on so many training images, or as many as there are.

    Returns the images that went forward, by their side in pixels: none where the model has no such norms.
    """
    seen: Counter[int] = Counter()
    norms = [module for module in model.modules() if isinstance(module, _BatchNorm) and module.track_running_stats]
    if not norms or images < 1:
        return seen
    with _measuring(model, norms), torch.no_grad():
        for batch, _ in data.train.epoch(0):
            taken = batch[: images - seen.total()]
            if len(taken) < 2:  # of one image there is no variance
                break
            seen[taken.shape[-1]] += len(taken)
            for norm in norms:
                norm.momentum = len(taken) / seen.total()  # every image counts alike, whatever its batch
            model(taken)
            if seen.total() >= images:
                break
    return seen


@contextmanager
def _measuring(model: nn.Module, norms: list[_BatchNorm]) -> Iterator[None]:
    """Inside, the norms are in training mode and all else in evaluation mode."""
    was_training, momenta = model.training, [norm.momentum for norm in norms]
    model.eval()
    for norm in norms:
        norm.train()
    try:
        yield
    finally:
        for norm, momentum in zip(norms, momenta, strict=True):
            norm.momentum = momentum
        model.train(was_training)
