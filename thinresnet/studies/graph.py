"""A study as a graph of stages, and the experiments that are made of them.

The same stage asked for twice is one stage: that is how methods share a dense parent. Costs are upper bounds where a
shape is not known before it is found: then the budget's limit stands for its MACs.
"""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction
from functools import cached_property
from pathlib import Path
from typing import TypeVar

from thinresnet.budget import Costs
from thinresnet.errors import InputError
from thinresnet.network import Network
from thinresnet.networks import describe
from thinresnet.networks.cost import macs_and_params
from thinresnet.studies.stages import Stage, Timing
from thinresnet.studies.study import Study, TrainingSetup
from thinresnet.training.data.datasets import open_dataset

Kind = TypeVar("Kind", bound=Stage)


@dataclass(frozen=True, eq=False)
class Experiment:
    """One network under one recipe, trained once a seed: what stands in one row of the study's table."""

    recipe: str
    protocol: str
    method: str | None
    point: str | None
    dense: Costs  # of the whole network
    finals: tuple[Stage, ...]  # in the order of the study's seeds
    timing: Timing | None
    finetuning: str = ""  # by which of the study's ways; empty where it has one
    shared: bool = True  # whether what several seeds depend on is charged in shares; else each has it all

    @property
    def distilled(self) -> bool:
        """Whether the last training has a teacher."""
        return "teacher" in self.finals[0].inputs

    @property
    def total_macs(self) -> int | None:
        """What all training together may take, of protocols of equal totals."""
        return getattr(self.finals[0], "total_macs", None)

    @property
    def training_macs(self) -> int:
        """Of the last training of one seed alone, at most."""
        return self.finals[0].training_macs

    @property
    def training_macs_with_search(self) -> int:
        """Of one seed with all that it depends on, at most; of what several seeds depend on, its share."""
        found = sum(Fraction(stage.training_macs, self.shared_by[stage.key]) for stage in self.finals[0].before())
        return self.training_macs + round(found)

    @cached_property
    def shared_by(self) -> Counter[str]:
        """How many seeds depend on each stage, by its key: a shape found from all seeds' parents is found once."""
        found = Counter(stage.key for final in self.finals for stage in (*final.before(), final))
        return found if self.shared else Counter(found.keys())


@dataclass(frozen=True)
class Images:
    """What is trained on, as far as it is known."""

    name: str
    classes: int
    train: int  # with the hold-out
    missing: str | None = None  # why they cannot be opened here


class StudyGraph:
    """The stages and experiments of a study; protocols add to it."""

    def __init__(self, study: Study) -> None:
        self.study = study
        self.stages: dict[str, Stage] = {}  # by key, each after those that it needs
        self.experiments: list[Experiment] = []
        self._notes: list[str] = []
        self._names: dict[str, str] = {}
        self._dense: dict[str, Network] = {}
        self._images: dict[tuple[str, str | None], Images] = {}

    def __repr__(self) -> str:
        return f"<StudyGraph {self.study.name}: {len(self.stages)} stages>"

    @property
    def training_macs(self) -> int:
        """Of the whole study, each stage once, at most."""
        return sum(stage.training_macs for stage in self.stages.values())

    @property
    def notes(self) -> list[str]:
        """What a reader has to know: what takes no part, and what was counted without images."""
        return [*self._notes, *self._missing()]

    def note(self, text: str) -> None:
        """Say something once."""
        if text not in self._notes:
            self._notes.append(text)

    def add(self, stage: Kind) -> Kind:
        """The stage, or the one that does the same and is there already."""
        if self._names.setdefault(stage.name, stage.key) != stage.key:
            raise InputError(
                f"study {self.study.name}: two different stages claim the name {stage.name!r}; give the methods or "
                "recipes labels that tell them apart"
            )
        found = self.stages.setdefault(stage.key, stage)
        assert isinstance(found, type(stage))
        return found

    def images(self, setup: TrainingSetup) -> Images:
        """The data of a setup; what the study says of them where they are not at hand."""
        known = (setup.recipe.dataset, setup.recipe.data_dir)
        if known not in self._images:
            self._images[known] = _images(setup, self.study.name)
        return self._images[known]

    def data(self) -> list[Images]:
        """All datasets of the study."""
        return list(self._images.values())

    @property
    def by_worth(self) -> list[Stage]:
        """Every stage in the order of the file: ways of fine-tuning, then budgets, then recipes, and in each all rows
        of a random seed before the next seed, so that what is interrupted has whole tables as early as can be.
        """
        points: dict[str | None, int] = {point.tag: place for place, point in enumerate(self.study.points)}
        points[None] = -1
        ways = list(dict.fromkeys(["", *(own.finetuning for own in self.experiments)]))
        recipes = list(dict.fromkeys(own.recipe for own in self.experiments))

        def place(own: Experiment) -> tuple[int, int, int]:
            return ways.index(own.finetuning), points[own.point], recipes.index(own.recipe)

        found: dict[str, None] = {}
        for _, group in itertools.groupby(sorted(self.experiments, key=place), key=place):
            by_seed = itertools.zip_longest(*(own.finals for own in group))
            for final in filter(None, itertools.chain.from_iterable(by_seed)):
                found |= dict.fromkeys(stage.key for stage in (*final.before(), final))
        return [self.stages[key] for key in found | dict.fromkeys(self.stages)]

    def network(self, setup: TrainingSetup) -> Network:
        """The dense network, at the recipe's image size."""
        if setup.label not in self._dense:
            subject, side = setup.subject, setup.recipe.img_size
            kwargs = {**subject.kwargs, "num_classes": self.images(setup).classes}
            network = describe(subject.arch, input_size=subject.input_size, **kwargs)
            if side is not None and network.input_size[1:] != (side, side):
                network = describe(subject.arch, input_size=(network.input_size[0], side, side), **kwargs)
            self._dense[setup.label] = network
        return self._dense[setup.label]

    def dense_cost(self, setup: TrainingSetup) -> Costs:
        """MACs and parameters of the dense network."""
        return macs_and_params(self.network(setup))

    def _missing(self) -> Iterator[str]:
        for images in self.data():
            if images.missing:
                yield (
                    f"{images.name} is not at hand: counted with the study's own {images.train:,} training images and "
                    f"{images.classes:,} classes ({images.missing})"
                )


def _images(setup: TrainingSetup, name: str) -> Images:
    subject, recipe = setup.subject, setup.recipe
    try:
        found = open_dataset(recipe.replace(dataset_download=False))
    except InputError as error:
        if subject.classes is None or subject.images_train is None:
            raise InputError(
                f"study {name}: {error} (to plan without images, give the study classes and images_train)"
            ) from None
        folder = Path(recipe.data_dir).resolve().name if recipe.data_dir else "images"
        called = recipe.dataset.removeprefix("torch/") or folder
        return Images(called, subject.classes, subject.images_train, missing=str(error))
    if subject.classes not in (None, len(found.class_names)):
        raise InputError(
            f"study {name}: it is for {subject.classes} classes, {found.name} has {len(found.class_names)}"
        )
    return Images(found.name, len(found.class_names), len(found.train))
