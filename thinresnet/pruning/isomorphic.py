"""Isomorphic pruning: channels are ranked among groups that are built alike, and every kind loses its share."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import torch
from torch import nn

from thinresnet.convert import setting
from thinresnet.networks.cutting import STAYS
from thinresnet.networks.ties import Labels
from thinresnet.pruning.job import Job
from thinresnet.pruning.measures import roles_with_weights, slices_of
from thinresnet.pruning.method import Method, Published
from thinresnet.pruning.selection import Scores

_CODE = "code: VainF/Isomorphic-Pruning"


@dataclass(frozen=True)
class Isomorphic(Method):
    """Channels of least first-order Taylor score leave, ranked among groups of the same structure only.

    Groups are of one kind where the same sequence of layer types makes, normalises and reads their channels: in a
    ResNet the insides of all blocks, and each residual stream that is joined as often as another. Scores of different
    kinds are not compared: every kind loses the same share of its channels, as large as the budget asks for. The score
    of a channel is the sum of |weight times gradient| over all weights that go with it, over the mean of its group; the
    gradient is that of all images together, in evaluation mode. The authors remove at once, as is done here.
    """

    name: ClassVar[str] = "isomorphic"
    paper: ClassVar[str] = "Fang et al. 2024, Isomorphic Pruning for Vision Models, arXiv:2407.04616"
    needs: ClassVar[frozenset[str]] = frozenset({"weights", "data", "gradients"})
    scope: ClassVar[str] = "global"
    stream: ClassVar[bool] = True
    published: ClassVar[Mapping[str, Published]] = {
        "images": Published("50 batches of 64", _CODE, "that many, or all where there are fewer"),
        "mode": Published("eval", _CODE, ours="eval"),
        "scope": Published("by kind of group", _CODE, "the one ranking is of ranks within a kind"),
        "stream": Published("pruned", _CODE, ours="pruned"),
        "score": Published("Taylor, of weights", _CODE, ours="Taylor, of weights"),
    }

    images: int = setting(3200, "or all where there are fewer", low=1, high=10**7)

    def scores(self, job: Job) -> Scores:
        """The place of each channel in the ranking of its kind, from 0 to 1: one ranking of all takes equal shares."""
        scores, kinds = self._taylor(job), kinds_of(job)
        ranks = np.zeros(job.channels.total)
        for kind in set(kinds.tolist()):
            members = np.flatnonzero(kinds == kind)
            ranks[members[np.argsort(scores[members], kind="stable")]] = (np.arange(len(members)) + 0.5) / len(members)
        return ranks

    def _taylor(self, job: Job) -> Scores:
        """|weight times gradient| over all weights of a channel, over the mean of its group."""
        model = job.model.eval()
        model.zero_grad(set_to_none=True)
        for image, target in job.batches(min(self.images, job.opened().train.images_per_epoch)):
            nn.functional.cross_entropy(model(image).float(), target).backward()
        with torch.no_grad():
            for parameter in model.parameters():  # the products in the place of the gradients
                parameter.grad = torch.zeros_like(parameter) if parameter.grad is None else parameter.grad * parameter
        sums = np.zeros(job.channels.total)
        for role in roles_with_weights(model, job.channels):
            places = job.channels.places[role]
            found = places != STAYS
            values = slices_of(model, job.channels, role, gradients=True).double().abs().sum(1).cpu().numpy()
            sums += np.bincount(places[found], values[found], minlength=job.channels.total)
        model.zero_grad(set_to_none=True)
        for span in job.channels.slices.values():
            sums[span] /= sums[span].mean() or 1.0
        return sums


def kinds_of(job: Job) -> Labels:
    """The kind of each channel's group, as a number: groups of one kind have the same types of layers in order."""
    built: dict[str, list[tuple[str, str]]] = {group: [] for group in job.channels.slices}
    owners = np.repeat(list(built), [job.channels.count(group) for group in built])
    for (name, side), places in job.channels.places.items():
        layer = "parameter" if side == "vector" else type(job.model.get_submodule(name)).__name__
        for group in dict.fromkeys(owners[places[places != STAYS]].tolist()):
            built[group].append((layer, side))
    numbers: dict[tuple[tuple[str, str], ...], int] = {}
    kinds = {group: numbers.setdefault(tuple(own), len(numbers)) for group, own in built.items()}
    return np.array([kinds[owner] for owner in owners.tolist()])
