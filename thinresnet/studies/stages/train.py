"""Training a network by a recipe: the dense parent, a scaled network, a pruned one from its weights or from scratch."""

from __future__ import annotations

import functools
from dataclasses import dataclass, field
from fractions import Fraction
from pathlib import Path
from typing import ClassVar

from thinresnet.network import Network
from thinresnet.networks import count, read_network
from thinresnet.recipe import Recipe
from thinresnet.result import FORWARD_AND_BACKWARD, Result
from thinresnet.studies.epochs import scratch_b, scratch_b_epochs
from thinresnet.studies.images import images_an_epoch
from thinresnet.studies.stages.stage import Folders, Source, Stage, undecided
from thinresnet.training.session import train


@dataclass(frozen=True, eq=False, kw_only=True)
class Train(Stage):
    """A training. With masks among the weights that it begins with, what they set to zero stays zero."""

    kind: ClassVar[str] = "train"

    recipe: Recipe
    recipe_name: str
    shape: str  # what the network is called in the run's result
    seed: int
    dataset: str
    classes: int
    images: int  # of the training set, with the hold-out
    holdout: float = 0.0
    network: Network | Source
    weights: Source | None = None  # to begin with; drawn from the seed if there are none
    teacher: Source | None = None  # a trained network to be distilled from
    equal_macs: int | None = None  # Scratch-B: as much computation as a network of so many MACs takes
    most_times: int | None = None  # Scratch-B: at most so many times the recipe's epochs
    macs: int = undecided()  # of the network, at most
    # MACs of a training image, as a share of those at the network's own size.
    size_share: Fraction = field(default=Fraction(1), metadata={"decides": False})

    def __post_init__(self) -> None:
        _ = self.epochs  # a network that Scratch-B is not for is refused here

    @functools.cached_property
    def epochs(self) -> int:
        """Epochs of the recipe, or of Scratch-B for a network that takes all of `macs`."""
        epochs = self.recipe.total_epochs
        if self.equal_macs is None:
            return epochs
        return scratch_b_epochs(epochs, dense_macs=self.equal_macs, macs=self.macs, cap=self.most_times)

    @property
    def training_macs(self) -> int:
        """Forward and backward over the images of every epoch, and the teacher's passes over them."""
        return round(self._epoch_macs(self.macs) * self.epochs)

    def _epoch_macs(self, macs: int) -> Fraction:
        """Training MACs of an epoch of a network of so many MACs."""
        passes = FORWARD_AND_BACKWARD * macs
        if self.teacher is not None and isinstance(self.teacher.stage, Train):
            passes += self.teacher.stage.macs
        return passes * self.size_share * images_an_epoch(self.recipe, self.images, self.holdout)

    def spent(self, folder: Path) -> int:
        """What the run's result says."""
        return Result.read(folder).training_macs

    def run(self, inputs: Folders, folder: Path, *, quiet: bool) -> dict[str, str]:
        """Train, from the last checkpoint if there is one."""
        network = self.network if isinstance(self.network, Network) else read_network(inputs["network"])
        recipe = self.recipe.replace(seed=self.seed, initial_checkpoint=str(inputs.get("weights", "")))
        if self.equal_macs is not None:
            macs = count(network).macs
            recipe = scratch_b(recipe, dense_macs=self.equal_macs, macs=macs, cap=self.most_times)
        train(
            recipe,
            network,
            recipe_name=self.recipe_name,
            shape=self.shape,
            holdout=self.holdout,
            folder=folder,
            quiet=quiet,
            teacher=str(inputs["teacher"]) if "teacher" in inputs else None,
        )
        return {}
