"""One piece of work for a method: the network and its weights, the channels that may go, the data, the targets."""

from __future__ import annotations

import copy
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from thinresnet.errors import InputError
from thinresnet.network import Network
from thinresnet.networks.build import build
from thinresnet.networks.cutting import Channels, Kept, channels_of, cut
from thinresnet.progress import Progress, silent
from thinresnet.pruning.finetuning import FineTuning
from thinresnet.pruning.initialisation.densities import LayerDensities, Layers
from thinresnet.pruning.selection import Scores, Target, movable_groups
from thinresnet.recipe import Recipe
from thinresnet.training.data import Data
from thinresnet.training.loop import Batch


@dataclass(frozen=True)
class Asked:
    """What a method at initialisation asked for, before it became channel counts."""

    layers: Layers
    densities: LayerDensities
    factors: Mapping[str, float]  # on each group's channels, before they are rounded


@dataclass(frozen=True)
class Pruned:
    """What came out: a smaller network with its weights, or (with `masks`) the same one with weights set to zero."""

    network: Network
    model: nn.Module | None  # none at initialisation: training draws the weights
    kept: Mapping[str, list[int]]  # per group, indices among its channels; empty where no channels were chosen
    masks: Mapping[str, Tensor] | None = (
        None  # per parameter: which weights are left; the network's cost is the dense one
    )
    asked: Asked | None = None
    notes: Mapping[str, Any] = field(default_factory=dict)  # what the method has to say, as JSON values


@dataclass
class Job:
    """What a method works on; `model` is the method's own to change."""

    method: str
    network: Network
    weights: nn.Module | None  # a model of the network, which stays as it is; none: they are drawn from the seed
    targets: tuple[Target, ...]  # loosest first
    recipe: Recipe | None
    data: Data | None
    seed: int
    progress: Progress = silent
    stream: bool = False  # whether channels of the residual stream may go too
    grow: bool = False  # whether layers may become wider than they are
    notes: dict[str, Any] = field(default_factory=dict)  # what there is to say about it, as JSON values
    scored_at: Counter[int] = field(default_factory=Counter)  # images of scores by their side, pixels
    forward_at: Counter[int] = field(default_factory=Counter)  # those of scores that need no gradients
    _finetunings: list[FineTuning] = field(default_factory=list)

    @cached_property
    def model(self) -> nn.Module:
        """The network with its weights, to be changed."""
        return build(self.network, seed=self.seed) if self.weights is None else copy.deepcopy(self.weights)

    @cached_property
    def channels(self) -> Channels:
        """All channels of the network."""
        return channels_of(self.network)

    @cached_property
    def movable(self) -> tuple[str, ...]:
        """The groups that may be cut."""
        return movable_groups(self.network, self.channels, stream=self.stream)

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
        """Scores that can be ranked: a non-finite one among the movable channels is refused."""
        wrong = np.flatnonzero(~np.isfinite(scores) & self.members())
        if len(wrong):
            channel = int(wrong[0])
            group = next(name for name, span in self.channels.slices.items() if span.start <= channel < span.stop)
            raise InputError(
                f"prune {self.method}: the score of channel {channel - self.channels.slices[group].start} of {group!r} "
                f"is {scores[channel]} ({len(wrong)} such channels): are there non-finite weights or images?"
            )
        return scores

    def one_by_one(self) -> Iterator[Target]:
        """The targets, each with the weights as they came and nothing counted yet: for training towards one target."""
        start = copy.deepcopy(self.model.state_dict())
        for target in self.targets:
            self.model.load_state_dict(start)
            self.start_over()
            yield target

    def start_over(self) -> None:
        """Forget what was counted and noted: each target is searched for by itself."""
        self.notes, self.scored_at, self.forward_at, self._finetunings = {}, Counter(), Counter(), []

    def cut(self, kept: Kept) -> Pruned:
        """The smaller network with the weights as they are now."""
        network, model = cut(self.model, self.network, kept)
        return Pruned(network, model, self.channels.indices(kept), notes=dict(self.notes))

    def batches(self, images: int, *, backward: bool = True) -> Iterator[Batch]:
        """So many training images with their classes, the same ones for the same seed.

        `backward`: whether they go backward too, which is what they are counted for.
        """
        data = self.opened()
        if images > data.train.images_per_epoch:
            most = data.train.images_per_epoch
            raise InputError(f"prune {self.method}: images is {images}, but {data.name} has {most} to train on")
        done = 0
        for image, target in data.train.epoch(0):
            taken = min(len(target), images - done)
            yield image[:taken], target[:taken]
            done += taken
            counted = self.scored_at if backward else self.forward_at
            counted[image.shape[-1]] += taken
            self.progress("images", done, images)
            if done == images:
                return

    def batches_per_class(self, most: int) -> Iterator[Batch]:
        """So many training images of each class, or all that a class has; the same ones for the same seed."""
        data = self.opened()
        wanted = Counter(dict.fromkeys(range(data.num_classes), most))
        for image, target in data.train.epoch(0):
            taken = []
            for index, label in enumerate(target.tolist()):
                if wanted[label] > 0:
                    wanted[label] -= 1
                    taken.append(index)
            if taken:
                yield image[taken], target[taken]
                self.scored(image[taken])
            if not any(wanted.values()):
                return

    def scored(self, images: Tensor) -> None:
        """Count images that a score has looked at, forward and backward."""
        self.scored_at[images.shape[-1]] += len(images)

    def finetuning(
        self,
        *,
        epochs: int | None = None,
        updates: int | None = None,
        lr: float | None = None,
        weight_decay: float | None = None,
        quiet: bool = False,
    ) -> FineTuning:
        """Training of the model by the recipe, for its own number of epochs, or so many epochs or updates.

        `weight_decay`: another than the recipe's.
        `quiet`: the method tells itself how far it is.
        """
        assert self.recipe is not None, f"{self.method} trains without saying so in `needs`"
        progress = silent if quiet else self.progress
        recipe = self.recipe if weight_decay is None else self.recipe.replace(weight_decay=weight_decay)
        tuning = FineTuning(self.model, recipe, self.opened(), epochs=epochs, updates=updates, lr=lr, progress=progress)
        self._finetunings.append(tuning)
        return tuning

    @property
    def images_at(self) -> Counter[int]:
        """Images that went forward and backward, in scores and in training, by their side in pixels."""
        return sum((tuning.images_at for tuning in self._finetunings), start=Counter(self.scored_at))

    @property
    def loss_scale(self) -> float:
        """What the loss of the last update was multiplied by: gradients are larger by it (float16; otherwise 1)."""
        return self._finetunings[-1].loss_scale if self._finetunings else 1.0

    @property
    def updates(self) -> int:
        """Updates of the weights."""
        return sum(tuning.updates for tuning in self._finetunings)

    def opened(self) -> Data:
        """The data, which a method without `data` among its needs must not ask for."""
        assert self.data is not None, f"{self.method} reads data without saying so in `needs`"
        return self.data
