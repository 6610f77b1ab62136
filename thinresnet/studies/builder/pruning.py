"""Stages that prune: trained networks, networks while they train, and networks at initialisation."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from thinresnet.network import Network
from thinresnet.pruning.method import Method, settings_of
from thinresnet.pruning.registry import method
from thinresnet.recipe import Recipe
from thinresnet.studies.builder.base import Base
from thinresnet.studies.images import images_an_epoch
from thinresnet.studies.stages import CostPoint, Prune, Source, Train
from thinresnet.studies.study import Pruner
from thinresnet.training.epochs import over_epochs


@dataclass(frozen=True)
class Prunings(Base):
    """The stages that prune."""

    def prune(
        self,
        parent: Train,
        pruner: Pruner,
        points: Sequence[CostPoint],
        seed: int,
        *,
        step: str = "",
        recipe: Recipe | None = None,
    ) -> Prune:
        """Pruning of a trained network to several points, loosest first; one output each, by the point's tag.

        A method that trains does so by `recipe`, or as its parent was trained.
        """
        tags = "-".join(point.tag for point in points)
        # By the recipe's own name: with and without distillation it is the same stage, in shared folders too.
        name = f"{self.network.arch}-{pruner.label}-{tags}{step}-{self.images.name}-{self.setup.name}-s{seed}"
        return self.graph.add(
            Prune(
                name=self.named(name),
                method=pruner.method.name,
                revision=pruner.method.revision,
                settings=pruner.settings,
                scope=pruner.scope,
                stream=pruner.stream,
                seed=seed,
                points=tuple(points),
                parent=Source(parent),
                recipe=recipe,
                data_dir=self.setup.recipe.data_dir,
                **self._latency_table(points),
                macs=self.macs,
                images_seen=self._images_seen(pruner),
                size_share=self.size_share,
            )
        )

    def prune_from_scratch(
        self, pruner: Pruner, points: Sequence[CostPoint], seed: int, *, epochs: int | None = None, tail: str = ""
    ) -> Prune:
        """Training from scratch by a method that prunes while training, over the recipe's own epochs or so many.

        There is no dense parent. How long the method trains on a trained network (`epochs`) is not meant here.
        """
        tags = "-".join(point.tag for point in points)
        name = f"{self.network.arch}-{pruner.label}-{tags}-sparse{tail}-{self.images.name}-{self.setup.label}-s{seed}"
        recipe = self.setup.recipe if epochs is None else over_epochs(self.setup.recipe, epochs)
        whole = replace(pruner, method=method(pruner.method.name, {**settings_of(pruner.method), "epochs": None}))
        return self.graph.add(
            Prune(
                name=self.named(name),
                method=pruner.method.name,
                revision=pruner.method.revision,
                settings={
                    **pruner.method.at_scratch,
                    **({} if pruner.finetunes else pruner.method.as_cut),
                    **{key: value for key, value in pruner.settings.items() if key != "epochs"},
                },
                scope=pruner.scope,
                stream=pruner.stream,
                seed=seed,
                points=tuple(points),
                parent=self.network,
                recipe=recipe,
                dataset=self.images.name,
                holdout=self.study.holdout,
                macs=self.macs,
                images_seen=self._images_seen(whole, recipe),
                size_share=self.size_share,
                **self._latency_table(points),
            )
        )

    def _latency_table(self, points: Sequence[CostPoint]) -> dict[str, Any]:
        """The fields of a pruning that hold the latency table, where one of its points bounds the latency."""
        table = next(filter(None, map(self.study.table_for, points)), None)
        return {} if table is None else {"latency_table": table, "latency_table_sha256": table.sha256}

    def _images_seen(self, pruner: Pruner, recipe: Recipe | None = None) -> int:
        images = images_an_epoch(self.setup.recipe, self.images.train, self.study.holdout)
        return images_seen(pruner.method, self.network, recipe or self.setup.recipe, images, self.images.classes)

    def prune_at_initialisation(self, pruner: Pruner, point: CostPoint, seed: int) -> Source:
        """The channel counts that a method finds before anything is trained; those that need nothing know no seed."""
        needs, label = pruner.method.needs, self.setup.label
        name = f"{self.network.arch}-{pruner.label}-{point.tag}-{label}-pruned{f'-s{seed}' if needs else ''}"
        looks = "data" in needs
        stage = Prune(
            name=self.named(name),
            method=pruner.method.name,
            revision=pruner.method.revision,
            settings=pruner.settings,
            grow=pruner.grow,
            seed=seed if needs else 0,
            points=(CostPoint(self.budgets(point)),),
            parent=self.network,
            recipe=self.setup.recipe if looks else None,
            dataset=self.images.name if looks else None,
            holdout=self.study.holdout if looks else 0.0,
            **self._latency_table([point]),
            macs=self.macs,
            images_seen=self._images_seen(pruner),
            size_share=self.size_share,
        )
        return Source(self.graph.add(stage), stage.points[0].tag)


def images_seen(method: Method, dense: Network, recipe: Recipe, images: int, classes: int) -> int:
    """The images that a method sees while pruning, at most, as far as its settings tell.

    That is `epochs` of training over so many images (the recipe's epochs, where none are set), `updates` between
    removals of `channels` (and `images` for each), so many `images` or `batches`, or `per_class` for a gradient and
    for its product.
    """

    def setting(name: str, default: int) -> int:
        found = getattr(method, name, default)
        return default if found is None else int(found)

    batch = recipe.batch_size * recipe.grad_accum_steps
    if "training" in method.needs and hasattr(method, "updates"):
        removals = -(-sum(dense.channels.values()) // setting("channels", 1))
        return removals * (setting("updates", 0) * batch + setting("images", 0))
    if "training" in method.needs:
        return setting("rounds", 1) * images * setting("epochs", recipe.total_epochs)
    if "data" in method.needs and hasattr(method, "batches"):
        return setting("rounds", 1) * setting("batches", 1) * recipe.batch_size
    if "data" in method.needs:
        return setting("images", 0) + 2 * classes * setting("per_class", 0)
    return 0
