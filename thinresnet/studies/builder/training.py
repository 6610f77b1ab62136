"""Stages that train: the dense parent, networks from scratch, and what pruners kept."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

from thinresnet.errors import InputError
from thinresnet.network import Network
from thinresnet.networks.cost import macs_and_params
from thinresnet.public_weights import PublicWeights
from thinresnet.recipe import Recipe
from thinresnet.studies.builder.base import Base
from thinresnet.studies.finetuning import Finetuning
from thinresnet.studies.images import size_share
from thinresnet.studies.stages import CostPoint, Import, Measure, Prune, Source, Train
from thinresnet.studies.study import Pruner


@dataclass(frozen=True)
class Trainings(Base):
    """The stages that train."""

    def train(
        self,
        shape: str,
        network: Network | Source,
        seed: int,
        *,
        recipe: Recipe | None = None,
        weights: Source | None = None,
        at: tuple[Pruner, CostPoint] | None = None,
        equal_computation: bool = False,
        most_times: int | None = None,
        equal_total: bool = False,
    ) -> Train:
        """Training of a network by the setup's recipe, or another one.

        `at` bounds the MACs of a network that is found later: by which pruner, at which point. `equal_computation` is
        Scratch-B, whose epochs follow from that network's MACs, at most `most_times` the recipe's. `equal_total` trains
        for what the study's `total_training` leaves after the dense parent and the search.
        """
        setup, images = self.setup, self.images
        found_later = self.macs if at is None else self.macs_at_most(*at)
        known = network if isinstance(network, Network) else None
        macs = macs_and_params(known).macs if known else found_later
        try:
            stage = Train(
                name=self.named(f"{setup.subject.arch}-{shape}-{images.name}-{setup.label}-s{seed}"),
                recipe=self._taught(recipe or setup.recipe),
                recipe_name=setup.label,
                shape=shape,
                seed=seed,
                dataset=images.name,
                classes=images.classes,
                images=images.train,
                holdout=self.study.holdout,
                network=network,
                weights=weights,
                teacher=None if setup.distill is None else Source(self.dense(seed)),
                equal_macs=self.macs if equal_computation else None,
                most_times=most_times,
                total_macs=self.total_training_macs if equal_total else None,
                macs=macs,
                size_share=size_share(
                    recipe or setup.recipe, network if isinstance(network, Network) else self.network
                ),
            )
        except InputError as error:
            raise InputError(f"study {self.study.name}: {shape}: {error}") from None
        return self.graph.add(stage)

    def finetune(
        self,
        shape: str,
        source: Source,
        seed: int,
        *,
        way: Finetuning,
        at: tuple[Pruner, CostPoint],
        equal_total: bool = False,
    ) -> Train:
        """Training of what a pruner kept from the weights that it left, by one of the setup's ways."""
        recipe = way.for_method(at[0].method.name, self.images.classes)
        return self.train(shape, source, seed, recipe=recipe, weights=source, at=at, equal_total=equal_total)

    def measure(self, shape: str, source: Source, seed: int, *, equal_total: bool = False) -> Measure:
        """The result of what a pruning left, as it is: for methods whose authors train no more after the cut."""
        pruning = source.stage
        assert isinstance(pruning, Prune)
        assert pruning.recipe is not None
        return self.graph.add(
            Measure(
                name=self.named(f"{self.setup.subject.arch}-{shape}-{self.images.name}-{self.setup.label}-s{seed}"),
                recipe=pruning.recipe,
                recipe_name=self.setup.label,
                shape=shape,
                seed=seed,
                dataset=self.images.name,
                holdout=self.study.holdout,
                network=source,
                total_macs=self.total_training_macs if equal_total else None,
            )
        )

    def dense(self, seed: int) -> Train:
        """The dense parent of a seed, which has no teacher: with and without distillation it is the same stage."""
        plain = replace(self, setup=replace(self.setup, distill=None))
        weights = None if self.setup.weights is None else self.public(self.setup.weights, self.network)
        return plain.train("dense", self.network, self.study.parent_seed(seed), weights=weights)

    def public(self, weights: PublicWeights, network: Network) -> Source:
        """A network with its authors' weights."""
        stage = Import(
            name=self.named(f"{weights.network}-{Path(weights.path).stem}-imported"),
            git_blob=weights.git_blob,
            network=network,
            weights=weights,
            weights_dir=self.study.weights_dir,
        )
        return Source(self.graph.add(stage))

    def _taught(self, recipe: Recipe) -> Recipe:
        """The recipe with what the setup says of a teacher."""
        if (own := self.setup.distill) is None:
            return recipe
        return recipe.replace(distill_alpha=own.alpha, distill_temperature=own.temperature)
