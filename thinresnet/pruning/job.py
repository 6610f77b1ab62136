"""One piece of work for a method: the network and its weights, the channels that may go, the data, the targets."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor, nn

from thinresnet.errors import InputError
from thinresnet.network import Network
from thinresnet.networks.cutting import Channels, Kept, cut
from thinresnet.pruning.registry import Pruned, Scores
from thinresnet.pruning.selection import Target
from thinresnet.pruning.tuning import Tuning

if TYPE_CHECKING:
    from thinresnet.recipe import Recipe
    from thinresnet.training.data import Data

Report = Callable[[str, int, int], None]


@dataclass
class Job:
    """What a method works on; `model` is the method's own to change."""

    method: str
    network: Network
    model: nn.Module
    channels: Channels
    movable: tuple[str, ...]  # groups that may be cut
    targets: tuple[Target, ...]  # loosest first
    recipe: Recipe | None
    data: Data | None
    seed: int
    progress: Report  # what is being done, how much of it is done, how much there is
    notes: dict[str, Any] = field(default_factory=dict)  # what there is to say about it, as JSON values
    _images: int = 0
    _tunings: list[Tuning] = field(default_factory=list)

    @property
    def device(self) -> torch.device:
        """Where the model is."""
        return next(self.model.parameters()).device

    def members(self) -> Kept:
        """The channels of the movable groups."""
        found = np.zeros(self.channels.total, dtype=bool)
        for group in self.movable:
            found[self.channels.slices[group]] = True
        return found

    def ranked_only(self, what: str) -> None:
        """For a method that knows one ranking and budgets only: refuse counts, and the same fraction of each layer."""
        if any(target.limits is None or target.scope != "global" for target in self.targets):
            raise InputError(
                f"prune {self.method}: {what} leave by one ranking; give --macs or --params, and neither --to nor "
                "--scope layer"
            )

    def checked(self, scores: Scores) -> Scores:
        """Scores that can be ranked: a figure that is no number among the movable channels is refused."""
        wrong = np.flatnonzero(~np.isfinite(scores) & self.members())
        if len(wrong):
            channel = int(wrong[0])
            group = next(name for name, span in self.channels.slices.items() if span.start <= channel < span.stop)
            raise InputError(
                f"prune {self.method}: the score of channel {channel - self.channels.slices[group].start} of {group!r} "
                f"is {scores[channel]} ({len(wrong)} such channels): are there weights or images that are not finite?"
            )
        return scores

    def one_by_one(self) -> Iterator[Target]:
        """The targets, each with the weights as they came and nothing counted yet: for training towards one target."""
        start = copy.deepcopy(self.model.state_dict())
        for target in self.targets:
            self.model.load_state_dict(start)
            self._images, self._tunings, self.notes = 0, [], {}
            yield target

    def cut(self, kept: Kept) -> Pruned:
        """The smaller network with the weights as they are now."""
        network, model = cut(self.model, self.network, kept)
        return Pruned(network, model, self.channels.indices(kept), notes=dict(self.notes))

    def batches(self, images: int) -> Iterator[tuple[Tensor, Tensor]]:
        """So many training images with their classes, the same ones for the same seed."""
        data = self.opened()
        if images > data.train.images_per_epoch:
            most = data.train.images_per_epoch
            raise InputError(f"prune {self.method}: images is {images}, but {data.name} has {most} to train on")
        done = 0
        for image, target in data.train.epoch(0):
            taken = min(len(target), images - done)
            yield image[:taken], target[:taken]
            done += taken
            self._images += taken
            self.progress("images", done, images)
            if done == images:
                return

    def tuning(
        self,
        *,
        epochs: int | None = None,
        updates: int | None = None,
        lr: float | None = None,
        quiet: bool = False,
    ) -> Tuning:
        """Training of the model by the recipe: its own number of epochs, or so many epochs or updates; see `Tuning`.

        `quiet`: the method tells itself how far it is.
        """
        assert self.recipe is not None, f"{self.method} trains without saying so in `needs`"
        progress = (lambda what, done, total: None) if quiet else self.progress
        tuning = Tuning(
            self.model, self.recipe, self.opened(), epochs=epochs, updates=updates, lr=lr, progress=progress
        )
        self._tunings.append(tuning)
        return tuning

    @property
    def images_seen(self) -> int:
        """Images that went forward and backward, in criteria and in training."""
        return self._images + sum(tuning.images_seen for tuning in self._tunings)

    @property
    def updates(self) -> int:
        """Updates of the weights."""
        return sum(tuning.updates for tuning in self._tunings)

    def opened(self) -> Data:
        """The data, which a method without `data` among its needs must not ask for."""
        assert self.data is not None, f"{self.method} reads data without saying so in `needs`"
        return self.data
