"""Measuring what a method left as it is, where its authors train no more after the cut."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

from thinresnet.networks import read_network
from thinresnet.recipe import Recipe
from thinresnet.studies.stages.stage import Folders, Source, Stage
from thinresnet.training.session import train


@dataclass(frozen=True, eq=False, kw_only=True)
class Measure(Stage):
    """A run of no epochs: its result is that of the weights which an earlier stage wrote, on the test set."""

    kind: ClassVar[str] = "measure"

    recipe: Recipe  # by which the weights came about
    recipe_name: str
    shape: str  # what the network is called in the run's result
    seed: int
    dataset: str
    holdout: float = 0.0
    network: Source  # with its weights
    total_macs: int | None = None  # that all training before it was to take, of protocols of equal totals

    def run(self, inputs: Folders, folder: Path, *, quiet: bool) -> dict[str, str]:
        """Measure, once."""
        train(
            self.recipe.replace(seed=self.seed, initial_checkpoint=str(inputs["network"])),
            read_network(inputs["network"]),
            recipe_name=self.recipe_name,
            shape=self.shape,
            holdout=self.holdout,
            folder=folder,
            quiet=quiet,
            measure_only=True,
        )
        return {}
