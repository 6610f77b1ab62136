"""Channel pruning by regression: LASSO finds the channels that the next layer needs, least squares its new weights."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import torch
from sklearn.linear_model import RidgeCV, lars_path_gram
from torch import Tensor

from thinresnet.convert import setting
from thinresnet.networks.cutting import STAYS, Kept
from thinresnet.pruning.job import Job
from thinresnet.pruning.method import NOT_READ, Published
from thinresnet.pruning.reconstruction import Lane, Reading, Reconstruction
from thinresnet.pruning.selection import Scores
from thinresnet.training.loop import Batch

Matrix = np.ndarray[Any, np.dtype[np.float64]]
# Penalties on the change of weights to choose from, relative to the mean square of an input.
_STRENGTHS = np.logspace(-6, 2, 5)

_CODE = "code: yihui-he/channel-pruning"


@dataclass(frozen=True)
class Lasso(Reconstruction):
    """Channels that a LASSO regression of the next layer's responses drops leave; the layer is fitted anew.

    With the weights as they are, a factor beta on each channel minimises |Y - sum beta_i X_i W_i|^2 + lambda |beta|_1;
    Y are the responses of the network before pruning, X what the layer reads in the network as pruned so far, all
    outputs at `locations` places an image. Of all solutions that one decides in which first, as lambda falls, exactly
    as many factors differ from zero as channels shall stay (the authors bisect lambda for up to a tenth more). Where
    none has so many (some channels are zero on all images), the largest factors stay, then those that joined first.

    Then the reading layer's weights are fitted to Y on what stays by linear regression. The change of the weights bears
    a penalty, next to none to almost forbidding, that the last quarter of the images chooses: deep layers have fewer
    places than weights, where the paper's plain least squares, without its many images, would learn them by heart.

    How many channels stay is the same fraction of each layer. A channel with several readers is chosen by the first,
    and every one of them is fitted; the sum of a block and its shortcut is not. Several budgets start each from
    the weights as they were.
    """

    name: ClassVar[str] = "lasso"
    paper: ClassVar[str] = "He et al. 2017, Channel Pruning for Accelerating Very Deep Networks, arXiv:1707.06168"
    published: ClassVar[Mapping[str, Published]] = {
        "images": Published(
            5000,
            _CODE,
            "50,000 positions of up to 4,608 inputs are 2 GB, and more in the fit; --set images=5000 for theirs",
        ),
        "locations": Published(10, _CODE),
        "positions of the LASSO": Published(
            "at most 400 of them, drawn at random", _CODE, "sums of products hold all of them", ours="all"
        ),
        "mode": Published(None, NOT_READ, ours="eval"),
        "scope": Published("layer", _CODE),
        "channels kept": Published(
            "up to a tenth more than asked for", _CODE, "budgets are exact here", ours="exactly as many as asked for"
        ),
        "stream": Published(
            "gathered before a block's first convolution", _CODE, "no dense network has gathers", ours="inside blocks"
        ),
    }

    compares: ClassVar[bool] = True

    images: int = setting(256, low=4, high=10**7)

    def sample(self, job: Job) -> Iterator[Batch]:
        """So many training images."""
        return job.batches(self.images)

    def rebuild(self, reading: Reading, lanes: Sequence[Lane], kept: Kept) -> Tensor:
        """Choose by LASSO, and fit."""
        assert reading.original is not None
        if lanes:
            members = np.concatenate([lane.members for lane in lanes])
            stay = len(members) - sum(lane.leave for lane in lanes)
            factors, joined_at = selection(*_problem(reading, kept, members), stay)
            for lane in lanes:
                own = np.isin(members, lane.members)
                order = np.lexsort((joined_at[own], np.abs(factors[own])))  # the first leave
                kept[members[own][order[: lane.leave]]] = False
        inputs = np.flatnonzero((reading.places == STAYS) | kept[reading.places])
        patches, weights = (
            part[:, inputs].flatten(1).double().cpu().numpy() for part in (reading.patches, reading.weights)
        )
        original = reading.original.double().cpu().numpy()
        change = torch.from_numpy(fitted(patches, original - patches @ weights.T)).to(reading.weights)
        fresh = reading.weights.clone()
        fresh[:, inputs] += change.unflatten(1, (len(inputs), -1))
        return fresh


def selection(gram: Matrix, products: Matrix, stay: int) -> tuple[Scores, Scores]:
    """The first LASSO solution, as lambda falls, with so many factors that are not zero, and where each joined.

    Minimised is factors' gram factors - 2 products' factors + lambda |factors|_1. Where so many never are at once
    (channels that are zero on all images never join), it is the last solution.
    """
    # Half of scikit-learn's objective for one sample; on its path the factors change one at a time.
    alphas, _, path = lars_path_gram(products, gram, n_samples=1, method="lasso")
    enough = np.flatnonzero(np.count_nonzero(path, axis=0) >= stay)
    joined_at = np.where(path != 0, 2 * alphas, 0).max(1)
    return path[:, enough[0] if len(enough) else -1], joined_at


def fitted(patches: Matrix, missing: Matrix) -> Matrix:
    """The change of weights, [output, input], that makes up for what is missing of the responses, [sample, output]."""
    scale = np.square(patches).sum(0).mean()
    if scale == 0:
        return np.zeros((missing.shape[1], patches.shape[1]))
    held = len(patches) // 4
    split = [(np.arange(len(patches) - held), np.arange(len(patches) - held, len(patches)))]
    fit = RidgeCV(_STRENGTHS * scale, fit_intercept=False, cv=split, scoring="neg_mean_squared_error")
    change: Matrix = fit.fit(patches, missing).coef_.reshape(missing.shape[1], -1)
    return change


def _problem(reading: Reading, kept: Kept, members: np.ndarray[Any, Any]) -> tuple[Matrix, Matrix]:
    """The regression of what the candidates have to answer on their shares: inner products of shares, and with it.

    The shares are [sample and output, channel], which is too much to hold; their products are sums over pairs of taps
    of the products of patches times those of weights.
    """
    assert reading.original is not None
    own = np.flatnonzero(np.isin(reading.places, members))
    rest = np.flatnonzero((reading.places == STAYS) | kept[reading.places] & ~np.isin(reading.places, members))
    patches, weights = reading.patches[:, own].double().cpu(), reading.weights[:, own].double().cpu()
    others = reading.patches[:, rest].flatten(1) @ reading.weights[:, rest].flatten(1).T
    wanted = (reading.original - others).double().cpu()
    gram, products = torch.zeros(len(own), len(own), dtype=torch.float64), torch.zeros(len(own), dtype=torch.float64)
    taps = patches.shape[2]
    for one in range(taps):
        products += ((patches[:, :, one].T @ wanted) * weights[:, :, one].T).sum(1)
        for other in range(one, taps):
            block = (patches[:, :, one].T @ patches[:, :, other]) * (weights[:, :, one].T @ weights[:, :, other])
            gram += block if one == other else block + block.T
    # Where a channel stands at several inputs, its share is the sum of theirs.
    order = np.argsort(members)
    into = torch.zeros(len(members), len(own), dtype=torch.float64)
    into[order[np.searchsorted(members[order], reading.places[own])], torch.arange(len(own))] = 1
    return (into @ gram @ into.T).numpy(), (into @ products).numpy()
