"""Training a network by a recipe: the dense parent, a scaled network, a pruned one from its weights or from scratch."""

from __future__ import annotations

import functools
from dataclasses import dataclass, field, replace
from fractions import Fraction
from pathlib import Path
from typing import ClassVar

from thinresnet.errors import InputError
from thinresnet.network import Network
from thinresnet.networks import count, read_network
from thinresnet.pruning.record import read_pruning
from thinresnet.recipe import Recipe
from thinresnet.result import FORWARD_AND_BACKWARD, Result
from thinresnet.studies.epochs import epochs_left, scratch_b, scratch_b_epochs
from thinresnet.studies.images import images_an_epoch, size_share
from thinresnet.studies.stages.stage import Folders, Source, Stage, undecided
from thinresnet.training.epochs import over_epochs
from thinresnet.training.session import train


@dataclass(frozen=True, eq=False, kw_only=True)
class Train(Stage):
    """A training. With masks among the weights that it begins with, what they set to zero stays zero."""

    kind: ClassVar[str] = "train"
    is_shared: ClassVar[bool] = True

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
    total_macs: int | None = None  # of all training from the beginning: what is left of it is used
    processes: int = undecided(default=1)  # that split the batch
    macs: int = undecided()  # of the network, at most
    # MACs of a training image, as a share of those at the network's own size.
    size_share: Fraction = field(default=Fraction(1), metadata={"decides": False})

    def __post_init__(self) -> None:
        _ = self.epochs  # a network that Scratch-B is not for is refused here

    @functools.cached_property
    def epochs(self) -> int:
        """Epochs of the recipe; of Scratch-B, or of what a total leaves, for a network that takes all of `macs`."""
        epochs = self.recipe.total_epochs
        if self.total_macs is not None:
            spent = sum(stage.training_macs for stage in self.before())
            return epochs_left(self.total_macs, spent, self._epoch_macs(self.macs, self.size_share))
        if self.equal_macs is None:
            return epochs
        return scratch_b_epochs(epochs, dense_macs=self.equal_macs, macs=self.macs, cap=self.most_times)

    @property
    def training_macs(self) -> int:
        """Forward and backward over the images of every epoch, and the teacher's passes over them."""
        return round(self._epoch_macs(self.macs, self.size_share) * self.epochs)

    def _epoch_macs(self, macs: int, size_share: Fraction) -> Fraction:
        """Training MACs of an epoch of a network of so many MACs."""
        passes = FORWARD_AND_BACKWARD * macs
        if self.teacher is not None and isinstance(self.teacher.stage, Train):
            passes += self.teacher.stage.macs
        return passes * size_share * images_an_epoch(self.recipe, self.images, self.holdout)

    def shared_by(self, processes: int) -> Train:
        """The same training with the batch split: its updates have as many images, and its rates are the same."""
        batch = self.recipe.batch_size
        if batch % processes:
            raise InputError(f"{self.name}: batches of {batch} images cannot be split over {processes} processes")
        return replace(self, processes=processes)

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
        if self.total_macs is not None:
            epoch = self._epoch_macs(count(network).macs, size_share(recipe, network))
            recipe = over_epochs(recipe, epochs_left(self.total_macs, _spent_before(inputs), epoch))
        train(
            recipe.replace(batch_size=recipe.batch_size // self.processes),
            network,
            recipe_name=self.recipe_name,
            shape=self.shape,
            holdout=self.holdout,
            folder=folder,
            quiet=quiet,
            teacher=str(inputs["teacher"]) if "teacher" in inputs else None,
        )
        return {}


def _spent_before(inputs: Folders) -> int:
    """Training MACs on the way to here, by the records of pruning, its parent and the teacher; each run once."""
    runs: dict[str, int] = {}
    spent = 0
    if "network" in inputs:
        pruning = read_pruning(inputs["network"])
        spent = pruning.training_macs
        if (parent := pruning.parent_run) is not None:
            runs[parent["run"]] = parent["training_macs"]
    if "teacher" in inputs:
        teacher = Result.read(inputs["teacher"])
        runs[teacher.run] = teacher.training_macs
    return spent + sum(runs.values())
