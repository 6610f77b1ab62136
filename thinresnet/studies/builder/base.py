"""What is known of one recipe of a study before anything is added to its graph."""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction
from functools import cached_property

from thinresnet.budget import Budget
from thinresnet.network import Network
from thinresnet.networks.cost import macs_and_params
from thinresnet.pruning.initialisation.allocation import MOST_GROWTH
from thinresnet.pruning.presets import preset
from thinresnet.result import FORWARD_AND_BACKWARD
from thinresnet.studies.finetuning import Finetuning
from thinresnet.studies.graph import Images, StudyGraph
from thinresnet.studies.images import images_an_epoch, size_share
from thinresnet.studies.stages import CostPoint
from thinresnet.studies.study import Pruner, Study, TrainingSetup


@dataclass(frozen=True)
class Base:
    """A recipe of a study, and the graph that its stages and experiments are added to."""

    graph: StudyGraph
    setup: TrainingSetup

    @property
    def study(self) -> Study:
        """What is compared."""
        return self.graph.study

    @property
    def images(self) -> Images:
        """What is trained on."""
        return self.graph.images(self.setup)

    @property
    def network(self) -> Network:
        """The dense network."""
        return self.graph.network(self.setup)

    @cached_property
    def macs(self) -> int:
        """MACs of the dense network."""
        return self.graph.dense_cost(self.setup).macs

    @cached_property
    def size_share(self) -> Fraction:
        """MACs of a training image through the dense network, of those at its own size."""
        return size_share(self.setup.recipe, self.network)

    @property
    def dense_training_macs(self) -> Fraction:
        """Training MACs of the dense network by the recipe."""
        recipe = self.setup.recipe
        images = images_an_epoch(recipe, self.images.train, self.study.holdout) * recipe.total_epochs
        return FORWARD_AND_BACKWARD * self.macs * self.size_share * images

    @property
    def total_training_macs(self) -> int:
        """What networks of equal totals are trained for, from the beginning."""
        return round(self.study.total_training * self.dense_training_macs)

    def sparse_epochs(self, way: Finetuning | None, at: tuple[Pruner, CostPoint]) -> int:
        """Epochs of sparse training of an equal total: its part is that of the usual length beside fine-tuning.

        Where nothing is fine-tuned (no way), it has the whole total.
        """
        dense = self.dense_training_macs
        if way is None:
            return max(1, int(self.total_training_macs / dense * self.setup.recipe.total_epochs))
        left = self.total_training_macs - (0 if self.setup.distill is None else dense)
        epochs = self.setup.recipe.total_epochs
        finetuning = way.for_method(at[0].method.name, self.images.classes).total_epochs
        beside = Fraction(finetuning * self.macs_at_most(*at), self.macs)
        return max(1, int(epochs * left / dense * epochs / (epochs + beside)))

    def budgets(self, point: CostPoint) -> tuple[Budget, ...]:
        """What a network at this point may cost; for a paper's list, exactly its MACs."""
        if point.to is None:
            return point.budgets
        return (Budget.parse("macs", macs_and_params(preset(point.to, self.network)).macs),)

    def macs_at_most(self, pruner: Pruner, point: CostPoint) -> int:
        """The MACs of what a pruner finds at a point: masked weights are computed, and layers may grow."""
        if pruner.method.removes == "weights":
            return self.macs
        most = self.macs * (round(MOST_GROWTH**2) if pruner.grow else 1)
        return min([most, *(own.limit(self.macs) for own in self.budgets(point) if own.quantity == "macs")])

    @staticmethod
    def named(name: str) -> str:
        """A stage's name: names of folders hold no slash."""
        return name.replace("/", "_")
