"""What a method at initialisation is: a criterion that says how dense each layer should be before training.

`find` says how dense; one that knows more about channels than that overrides `factors`. The rest is shared: from
densities to channel counts under the budget (`allocation.py`).
"""

from __future__ import annotations

import copy
import itertools
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from thinresnet.budget import LATENCY, QUANTITIES
from thinresnet.networks.cost import macs_and_params
from thinresnet.networks.search import Limits
from thinresnet.networks.ties import NORMS
from thinresnet.pruning.initialisation.allocation import (
    Allocation,
    allocate,
    allocated_within,
    nearest_factors,
    plain_macs,
    search_space,
)
from thinresnet.pruning.initialisation.densities import Allowance, Figures, LayerDensities, check_scores
from thinresnet.pruning.initialisation.quadratic import SearchSpace
from thinresnet.pruning.job import Asked, Job, Pruned
from thinresnet.pruning.method import INITIALISATION, Method
from thinresnet.pruning.selection import Target
from thinresnet.training.loop import Batch


@dataclass
class Task:
    """What a criterion works on: one target of a job, and how much of the weights may stay for it."""

    job: Job
    allowance: Allowance

    @property
    def notes(self) -> dict[str, Any]:
        """What there is to say about it."""
        return self.job.notes

    def scored(self) -> tuple[nn.Module, list[Tensor]]:
        """A copy of the model to score, in evaluation mode, and the weights to rank.

        timm draws the last norm of each residual branch with a scale of zero: a trick of training, under which no
        gradient reaches the branch and every criterion would empty it. Such scales are one here, as in the papers.
        """
        model = copy.deepcopy(self.job.model).eval()
        zeros = 0
        for module in model.modules():
            if isinstance(module, NORMS) and module.weight is not None and not module.weight.any():
                nn.init.ones_(module.weight)
                zeros += 1
        if zeros:
            self.notes["norms_scored_at_one"] = zeros
        return model, [model.get_submodule(name).weight for name in self.allowance.layers.names]

    def batches(self) -> Iterator[Batch]:
        """Batches of training images, epoch after epoch without end, the same ones for the same seed."""
        for epoch in itertools.count():  # whoever reads them stops; an epoch has at least one batch
            for images, targets in self.job.opened().train.epoch(epoch):
                self.job.scored(images)
                yield images, targets

    def balanced(self, per_class: int) -> Iterator[Batch]:
        """Equally many training images of each class, in two halves (in batches, where these are smaller)."""
        data = self.job.opened()
        taken: Counter[int] = Counter()
        images: list[Tensor] = []
        targets: list[Tensor] = []
        half = -(-per_class * data.num_classes // 2)
        for image, target in data.train.epoch(0):
            for index, label in enumerate(target.tolist()):
                if taken[label] < per_class:
                    taken[label] += 1
                    images.append(image[index])
                    targets.append(target[index])
            while len(targets) >= (chunk := min(half, len(target))):
                yield self._counted(images[:chunk], targets[:chunk])
                del images[:chunk], targets[:chunk]
            if taken.total() == per_class * data.num_classes:
                break
        if targets:
            yield self._counted(images, targets)

    def _counted(self, images: list[Tensor], targets: list[Tensor]) -> Batch:
        batch = torch.stack(images)
        self.job.scored(batch)
        return batch, torch.stack(targets)

    def checked(self, scores: Sequence[Figures], *, silent: bool = False) -> Sequence[Figures]:
        """Scores that can be ranked; with `silent` a layer may have none."""
        check_scores(f"prune {self.job.method}", self.allowance.layers, scores, silent=silent)
        return scores


class Criterion(Method):
    """A method at initialisation; subclasses are frozen dataclasses, found by their name."""

    when: ClassVar[str] = INITIALISATION
    needs: ClassVar[frozenset[str]] = frozenset()
    scope: ClassVar[str] = "global"

    def find(self, task: Task) -> LayerDensities:
        """How dense each layer should be within the task's allowance."""
        raise NotImplementedError(f"{type(self).__name__} finds no densities")

    def factors(self, task: Task, space: SearchSpace, densities: Figures) -> Figures | None:
        """Logarithms of the factors on each group's channels; None: those that come nearest to the densities."""
        return None

    def check(self, job: Job) -> None:
        """Channels to choose, and budgets that the smallest network meets."""
        for target in job.targets:
            assert target.limits is not None, "methods at initialisation are given budgets"
            search_space(job.network, target.limits, grow=job.grow)

    def run(self, job: Job) -> Iterator[Pruned]:
        """For each target: densities, factors on channels, channel counts."""
        for target in job.targets:
            job.start_over()
            yield self._allocated(job, target)

    def _allocated(self, job: Job, target: Target) -> Pruned:
        assert target.limits is not None, "methods at initialisation are given budgets"
        search_space(job.network, target.limits, grow=job.grow)  # refuses what nothing can keep
        limits, whole = target.limits, macs_and_params(job.network)
        if LATENCY in limits.most:  # densities are shares of MACs and parameters; channel counts then keep the latency
            limits = limits.with_macs_for_latency(plain_macs(job.network, limits))
        space, layers = search_space(job.network, limits, grow=job.grow)
        shares = {quantity: most / whole[QUANTITIES.index(quantity)] for quantity, most in limits.most.items()}
        task = Task(
            job, Allowance(layers, shares if job.grow else {name: min(1.0, share) for name, share in shares.items()})
        )
        densities = self.find(task)
        emptied = [name for name, own in zip(layers.names, densities.values, strict=True) if own == 0]
        job.notes["layers_emptied"] = emptied

        def allocated(within: Limits) -> Allocation:
            own = replace(space, limits=within)
            factors = self.factors(task, own, densities.values)
            if factors is None:
                factors = nearest_factors(own.forms, layers, densities.values)
            return allocate(job.network, within, own, factors)

        found = allocated_within(target.limits, space, whole.macs, allocated)
        return Pruned(found.network, None, {}, asked=Asked(layers, densities, found.factors), notes=dict(job.notes))
