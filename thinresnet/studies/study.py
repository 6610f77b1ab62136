"""What a study is: an architecture, recipes, cost points, pruning methods, protocols and seeds, all of them checked."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

from thinresnet.networks.latency import LatencyTable
from thinresnet.pruning.method import Method
from thinresnet.public_weights import PublicWeights
from thinresnet.recipe import Recipe
from thinresnet.studies.finetuning import Finetuning
from thinresnet.studies.stages import CostPoint

# What a random seed varies: the dense parent and all after it, pruning and fine-tuning of one parent, or fine-tuning.
VARIES = ("all", "pruning", "finetuning")


@dataclass(frozen=True)
class Pruner:
    """A pruning method as a study uses it."""

    label: str
    method: Method
    settings: Mapping[str, Any]  # that are not at their defaults
    scope: str | None
    stream: bool
    grow: bool  # PreConfig: layers may have more channels than they have
    protocols: tuple[str, ...]  # that it takes part in; none: all
    finetunes: bool = True  # after sparse training from scratch; else what is cut is measured as it is
    vary: str | None = None  # of VARIES; None: as the study


@dataclass(frozen=True)
class Subject:
    """An architecture and the images that it is trained on."""

    arch: str
    kwargs: Mapping[str, Any]
    input_size: tuple[int, int, int] | None
    classes: int | None  # what the dataset has, used where the images are not at hand
    images_train: int | None
    data: Mapping[str, Any]  # dataset and data_dir, where the recipe's are not meant

    @property
    def recipe_changes(self) -> dict[str, Any]:
        """What of a recipe follows the subject, whichever the recipe was written for."""
        return {"model": self.arch, "model_kwargs": {}, "num_classes": None, **self.data}


@dataclass(frozen=True)
class Distill:
    """That every training but the dense parent's has the dense parent of its seed as a teacher."""

    alpha: float
    temperature: float
    tag: str = "distilled"  # in labels


@dataclass(frozen=True)
class TrainingSetup:
    """A way of training a subject: the recipe of the dense parent and of all from scratch, and ways of fine-tuning."""

    name: str
    recipe: Recipe
    finetunings: tuple[Finetuning, ...]
    subject: Subject
    distill: Distill | None = None
    weights: PublicWeights | None = None  # that the dense parent begins with; None: drawn from the seed

    @property
    def label(self) -> str:
        """What it is called in tables and names of folders."""
        return self.name if self.distill is None else f"{self.name}-{self.distill.tag}"


@dataclass(frozen=True)
class Study:
    """A checked document."""

    name: str
    about: str
    holdout: float
    setups: tuple[TrainingSetup, ...]
    points: tuple[CostPoint, ...]
    pruners: tuple[Pruner, ...]
    protocols: tuple[str, ...]
    steps: int  # of iterative pruning
    seeds: tuple[int, ...]
    timing_batch: int
    timing_runs: int
    transfer: Subject | None  # where guided pruning takes what it found
    total_training: Fraction = Fraction(2)  # of protocols of equal totals, as a multiple of the dense training's MACs
    timing_training_batch: int | None = None  # of updates that are timed too
    latency_table: LatencyTable | None = None  # what budgets in latency are predicted by
    vary: str = VARIES[0]
    folder: str = ""  # of its stages; several studies may share one
    weights_dir: str | None = None  # where public weights are looked for

    @property
    def folder_name(self) -> str:
        """The folder of its stages in the folder of runs."""
        return self.folder or self.name

    def parent_seed(self, seed: int) -> int:
        """The seed of the dense parent that a seed's networks come from."""
        return seed if self.vary == VARIES[0] else self.seeds[0]

    def pruning_seed(self, pruner: Pruner, seed: int) -> int:
        """The seed by which a method prunes for a seed's network."""
        return self.seeds[0] if (pruner.vary or self.vary) == VARIES[-1] else seed

    def table_for(self, point: CostPoint) -> LatencyTable | None:
        """The latency table, where a point bounds the latency."""
        return self.latency_table if point.bounds_latency else None
