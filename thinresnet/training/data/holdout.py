"""A part of the training set that is kept away from training, on which anything may be chosen."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from thinresnet.errors import InputError

# Fixed, so that every seed, width and method of a comparison is tuned on the same images.
_SEED = 20180710


def split(targets: NDArray[np.int64], fraction: float) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """(kept, held out): sorted positions; each class gives the same share of its images, to the nearest whole one."""
    if not 0 <= fraction < 1:
        raise InputError(f"--holdout {fraction:g}: takes a share of the training set, at least 0 and below 1")
    if fraction == 0:
        return np.arange(len(targets)), np.empty(0, np.int64)
    held = []
    generator = np.random.default_rng(_SEED)
    for label in np.unique(targets):
        members = np.flatnonzero(targets == label)
        count = round(fraction * len(members))
        if not 0 < count < len(members):
            raise InputError(
                f"--holdout {fraction:g}: class {label} has {len(members)} training images, of which {count} would be "
                "held out; a class must be on both sides"
            )
        held.append(generator.permutation(members)[:count])
    out = np.sort(np.concatenate(held))
    return np.setdiff1d(np.arange(len(targets)), out), out
