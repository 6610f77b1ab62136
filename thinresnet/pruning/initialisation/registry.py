"""What a criterion at initialisation is: one interface, one registry.

A criterion is a frozen dataclass whose fields are its settings. `find` says how dense each layer should be; one that
knows more about channels than that overrides `factors`. Its docstring says which paper's definition it is, and its
first line is what `thinresnet crop --list` shows.
"""

from __future__ import annotations

import copy
import dataclasses
import importlib
import inspect
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, ClassVar, TypeVar

import numpy as np
import torch
from torch import Tensor, nn

from thinresnet.errors import InputError, nearest
from thinresnet.network import Network
from thinresnet.networks.ties import NORMS
from thinresnet.pruning.initialisation.densities import Allowance, Figures, Mask, check_scores
from thinresnet.pruning.initialisation.quadratic import Room
from thinresnet.pruning.registry import configured, summary

if TYPE_CHECKING:
    from thinresnet.training.data import Data

NEEDS = ("weights", "data")
# The files of this room that hold criteria.
_MODULES = ("snip", "grasp", "synflow", "force", "shapes", "synexp")


@dataclass
class Task:
    """What a criterion works on."""

    criterion: str
    network: Network
    allowance: Allowance
    model: nn.Module | None  # of the network, where weights are needed
    data: Data | None
    seed: int
    grow: bool  # whether layers may be denser than dense
    progress: Callable[[str, int, int], None]
    images_seen: int = 0
    notes: dict[str, Any] = field(default_factory=dict)  # what there is to say about it, as JSON values

    def scored(self) -> tuple[nn.Module, list[Tensor]]:
        """A copy of the model to score, in evaluation mode, and the weights to rank.

        timm draws the last norm of each residual branch with a scale of zero: a trick of training, under which no
        gradient reaches the branch and every criterion would empty it. Such scales are one here, as in the papers.
        """
        assert self.model is not None, f"{self.criterion} reads weights without saying so in `needs`"
        model = copy.deepcopy(self.model).eval()
        zeros = 0
        for module in model.modules():
            if isinstance(module, NORMS) and module.weight is not None and not module.weight.any():
                nn.init.ones_(module.weight)
                zeros += 1
        if zeros:
            self.notes["norms_scored_at_one"] = zeros
        return model, [model.get_submodule(name).weight for name in self.allowance.layers.names]

    def batches(self, count: int) -> Iterator[tuple[Tensor, Tensor]]:
        """The first batches of training images, the same ones for the same seed."""
        for done, (images, targets) in enumerate(self._epoch()):
            if done == count:
                return
            self.images_seen += len(targets)
            yield images, targets

    def balanced(self, per_class: int) -> Iterator[tuple[Tensor, Tensor]]:
        """Equally many training images of each class, in two halves (in batches, where these are smaller)."""
        data = self._opened()
        taken: Counter[int] = Counter()
        images: list[Tensor] = []
        targets: list[Tensor] = []
        half = -(-per_class * data.num_classes // 2)
        for image, target in self._epoch():
            for index, label in enumerate(target.tolist()):
                if taken[label] < per_class:
                    taken[label] += 1
                    images.append(image[index])
                    targets.append(target[index])
            while len(targets) >= (chunk := min(half, len(target))):
                self.images_seen += chunk
                yield torch.stack(images[:chunk]), torch.stack(targets[:chunk])
                del images[:chunk], targets[:chunk]
            if taken.total() == per_class * data.num_classes:
                break
        if targets:
            self.images_seen += len(targets)
            yield torch.stack(images), torch.stack(targets)

    def _epoch(self) -> Iterator[tuple[Tensor, Tensor]]:
        return iter(self._opened().train.epoch(0))

    def _opened(self) -> Data:
        assert self.data is not None, f"{self.criterion} reads data without saying so in `needs`"
        return self.data

    def checked(self, scores: Sequence[Figures], *, silent: bool = False) -> Sequence[Figures]:
        """Scores that can be ranked; with `silent` a layer may have none."""
        check_scores(f"crop {self.criterion}", self.allowance.layers, scores, silent=silent)
        return scores


@dataclass(frozen=True)
class Found:
    """How dense each layer should be; of a criterion that ranks weights, also which of them are to stay."""

    densities: Figures
    kept: Sequence[Mask] | None = None

    @classmethod
    def of(cls, kept: Sequence[Mask]) -> Found:
        """The densities of these masks."""
        return cls(np.array([float(mask.mean()) for mask in kept]), kept)


class Criterion:
    """A criterion; subclasses are frozen dataclasses, registered under their name."""

    name: ClassVar[str]
    paper: ClassVar[str]
    needs: ClassVar[frozenset[str]] = frozenset()  # of NEEDS
    grows: ClassVar[bool] = False  # whether it can say that a layer should be denser than dense
    reconstruction: ClassVar[str | None] = None  # what of it is ours, where the paper could not be read

    def find(self, task: Task) -> Found:
        """How dense each layer should be within the task's allowance."""
        raise NotImplementedError(f"{type(self).__name__} finds no densities")

    def factors(self, task: Task, room: Room, densities: Figures) -> Figures | None:
        """Logarithms of the factors on each group's channels; None: those that come nearest to the densities."""
        return None


CRITERIA: dict[str, type[Criterion]] = {}
Kind = TypeVar("Kind", bound=type[Criterion])


def register(kind: Kind) -> Kind:
    """Make a criterion known by its name."""
    if kind.name in CRITERIA:
        raise ValueError(f"the criterion {kind.name!r} is registered twice: {CRITERIA[kind.name]} and {kind}")
    if set(kind.needs) - set(NEEDS) or not inspect.getdoc(kind):
        raise ValueError(f"the criterion {kind.name!r} needs {set(kind.needs)} and has a docstring?")
    CRITERIA[kind.name] = kind
    return kind


def criteria() -> dict[str, type[Criterion]]:
    """All criteria by name."""
    for module in _MODULES:
        importlib.import_module(f"thinresnet.pruning.initialisation.{module}")
    return dict(sorted(CRITERIA.items()))


def criterion(name: str, settings: Mapping[str, Any] | None = None) -> Criterion:
    """The criterion of this name with these settings (values or text); what is not known is refused."""
    known = criteria()
    if name not in known:
        raise InputError(f"crop: unknown criterion {name!r}{nearest(name, known)} (all: {', '.join(known)})")
    found: Criterion = configured(known[name], f"crop {name}", settings)
    return found


def check_grows(criterion: Criterion, where: str) -> None:
    """Refuse PreConfig by a criterion that can only take away."""
    if not criterion.grows:
        raise InputError(f"{where}: {criterion.name} ranks weights that there are; none can be more")


def facts(kind: type[Criterion]) -> dict[str, Any]:
    """What there is to know about a criterion before using it, as JSON values."""
    return {
        "criterion": kind.name,
        "does": summary(kind),
        "paper": kind.paper,
        "reconstruction": kind.reconstruction,
        "needs": sorted(kind.needs),
        "preconfig": kind.grows,
        "settings": {one.name: one.default for one in dataclasses.fields(kind)},  # type: ignore[arg-type]  # they are
    }
