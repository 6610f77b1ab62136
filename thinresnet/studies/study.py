"""What a study is: an architecture, recipes, cost points, pruning methods, protocols and seeds, all of them checked."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

from thinresnet.networks.latency import LatencyTable
from thinresnet.pruning.method import Method
from thinresnet.recipe import Recipe
from thinresnet.studies.finetuning import Finetuning
from thinresnet.studies.stages import CostPoint


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
    latency_table: LatencyTable | None = None  # what budgets in latency are predicted by

    def table_for(self, point: CostPoint) -> LatencyTable | None:
        """The latency table, where a point bounds the latency."""
        return self.latency_table if point.bounds_latency else None
