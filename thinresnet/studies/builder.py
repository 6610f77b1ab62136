"""What protocols build a graph with: the stages and experiments of one recipe of a study."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from functools import cached_property
from typing import Any

from thinresnet.budget import Budget
from thinresnet.errors import InputError
from thinresnet.network import Network
from thinresnet.networks.cost import macs_and_params
from thinresnet.pruning.initialisation.allocation import MOST_GROWTH
from thinresnet.pruning.method import Method, settings_of
from thinresnet.pruning.presets import preset
from thinresnet.pruning.registry import method
from thinresnet.recipe import Recipe
from thinresnet.result import FORWARD_AND_BACKWARD
from thinresnet.studies.finetuning import Finetuning
from thinresnet.studies.graph import Experiment, Images, StudyGraph
from thinresnet.studies.images import images_an_epoch, size_share
from thinresnet.studies.stages import CostPoint, Guide, Mask, Prune, Rescale, Rewind, Source, Stage, Timing, Train
from thinresnet.studies.study import Pruner, Study, TrainingSetup
from thinresnet.training.epochs import over_epochs


@dataclass(frozen=True)
class PrunedShape:
    """A pruner at a cost point: where each seed's shape will be."""

    pruner: Pruner
    point: CostPoint
    sources: Mapping[int, Source]
    name: str

    @property
    def first(self) -> Source:
        """The first seed's."""
        return next(iter(self.sources.values()))


@dataclass(frozen=True)
class Builder:
    """The stages and experiments of one recipe, added to a graph."""

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

    def sparse_epochs(self, way: Finetuning, at: tuple[Pruner, CostPoint]) -> int:
        """Epochs of sparse training of an equal total: its part is that of the usual length beside fine-tuning."""
        dense = self.dense_training_macs
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

    # Stages

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
                name=_named(f"{setup.subject.arch}-{shape}-{images.name}-{setup.label}-s{seed}"),
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

    def _known(self, network: Network | Source) -> Network:
        """The network, or while it is not found yet, the dense one."""
        return network if isinstance(network, Network) else self.network

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

    def dense(self, seed: int) -> Train:
        """The dense parent of a seed, which has no teacher: with and without distillation it is the same stage."""
        return replace(self, setup=replace(self.setup, distill=None)).train("dense", self.network, seed)

    def _taught(self, recipe: Recipe) -> Recipe:
        """The recipe with what the setup says of a teacher."""
        if (own := self.setup.distill) is None:
            return recipe
        return recipe.replace(distill_alpha=own.alpha, distill_temperature=own.temperature)

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
        name = f"{self.network.arch}-{pruner.label}-{tags}{step}-{self.images.name}-{self.setup.label}-s{seed}"
        return self.graph.add(
            Prune(
                name=_named(name),
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
                name=_named(name),
                method=pruner.method.name,
                revision=pruner.method.revision,
                settings={
                    **pruner.method.at_scratch,
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
            name=_named(name),
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

    def rescale(self, name: str, point: CostPoint, network: Source) -> Source:
        """A found shape at another point."""
        self._refuse_latency(point)
        return Source(self.graph.add(Rescale(name=self._of_shape(name), budgets=self.budgets(point), network=network)))

    def guide(self, name: str, point: CostPoint, references: Sequence[Source]) -> Source:
        """The stages' shares of found shapes on this setup's network."""
        self._refuse_latency(point)
        stage = Guide(
            name=self._of_shape(name), dense=self.network, budgets=self.budgets(point), network=tuple(references)
        )
        return Source(self.graph.add(stage))

    def _refuse_latency(self, point: CostPoint) -> None:
        if point.bounds_latency:
            what = "rescaled, guided and transferred shapes go to budgets of MACs and parameters"
            raise InputError(f"study {self.study.name}: {point.text}: {what}; leave these protocols out")

    def rewind(self, name: str, parent: Train, network: Source, seed: int) -> Source:
        """What pruning kept, at its first weights."""
        stage = Rewind(name=self._of_shape(name), seed=seed, parent=Source(parent), network=network)
        return Source(self.graph.add(stage))

    def mask(self, name: str, pruned: Source, granularity: str, seed: int) -> Source:
        """The dense network at its first weights, with masks."""
        stage = Mask(name=self._of_shape(name), network=self.network, granularity=granularity, seed=seed, pruned=pruned)
        return Source(self.graph.add(stage))

    def _of_shape(self, name: str) -> str:
        return _named(f"{self.setup.subject.arch}-{name}-{self.setup.label}-shape")

    def timing(self, name: str, network: Network | Source) -> Timing:
        """Inference of a network against the dense one; once, and not a seed."""
        return self.graph.add(
            Timing(
                name=_named(f"{self.setup.subject.arch}-{name}-{self.setup.label}-time"),
                dense=self.network,
                network=network,
                batch_size=self.study.timing_batch,
                runs=self.study.timing_runs,
            )
        )

    # What protocols share

    def pruners(self, protocol: str, why_not: Callable[[Pruner], str | None]) -> Iterator[Pruner]:
        """The study's pruners that take part in a protocol; the graph notes why others cannot."""
        for pruner in self.study.pruners:
            if pruner.protocols and protocol not in pruner.protocols:
                continue
            if reason := why_not(pruner):
                self.graph.note(f"{pruner.label} takes no part in {protocol}: {reason}")
            else:
                yield pruner

    def pruned(self, protocol: str, why_not: Callable[[Pruner], str | None]) -> Iterator[PrunedShape]:
        """Every pruner that takes part at every point, and where the shapes of the seeds will be.

        A method that trains while it prunes does so once for all points on one way down, unless it trains towards
        each; for the others each point is a stage of its own, so that a budget more redoes nothing.
        """
        for pruner in self.pruners(protocol, why_not):
            for points in self._ways_down(pruner):
                stages = {seed: self.prune(self.dense(seed), pruner, points, seed) for seed in self.study.seeds}
                yield from _shapes(pruner, points, stages)

    def pruned_from_scratch(self, protocol: str, why_not: Callable[[Pruner], str | None]) -> Iterator[PrunedShape]:
        """The same of methods that train from scratch while they prune."""
        for pruner in self.pruners(protocol, why_not):
            for points in self._ways_down(pruner):
                stages = {seed: self.prune_from_scratch(pruner, points, seed) for seed in self.study.seeds}
                yield from _shapes(pruner, points, stages, "-sparse")

    def _ways_down(self, pruner: Pruner) -> list[list[CostPoint]]:
        """The points in groups that one pruning passes through: the same quantity, loosest first; else each alone."""
        if "training" not in pruner.method.needs or pruner.method.anew:
            return [[point] for point in self.study.points]
        dense = self.graph.dense_cost(self.setup)
        alone: list[list[CostPoint]] = []
        by_quantity: dict[str, list[CostPoint]] = {}
        for point in self.study.points:
            if len(point.budgets) == 1 and not point.bounds_latency:
                by_quantity.setdefault(point.budgets[0].quantity, []).append(point)
            else:
                alone.append([point])
        for quantity, points in by_quantity.items():
            points.sort(key=lambda point: point.budgets[0].limit(getattr(dense, quantity)), reverse=True)
        return [*by_quantity.values(), *alone]

    def experiment(
        self,
        protocol: str,
        finals: Sequence[Stage],
        *,
        method: str | None = None,
        point: CostPoint | None = None,
        timing: Timing | None = None,
        finetuning: str = "",
    ) -> None:
        """A row of the table; `method` is what found the network, where something did."""
        tag, dense = point.tag if point else None, self.graph.dense_cost(self.setup)
        self.graph.experiments.append(
            Experiment(self.setup.label, protocol, method, tag, dense, tuple(finals), timing, finetuning)
        )

    def experiment_of(self, protocol: str, shape: PrunedShape, finals: Sequence[Stage], finetuning: str = "") -> None:
        """A row about a network that was found, which is timed as the first seed has it."""
        timing = self.timing(shape.name, shape.first)
        method = shape.pruner.label
        self.experiment(protocol, finals, method=method, point=shape.point, timing=timing, finetuning=finetuning)


def _shapes(
    pruner: Pruner, points: Sequence[CostPoint], stages: Mapping[int, Prune], tail: str = ""
) -> Iterator[PrunedShape]:
    for point in points:
        sources = {seed: Source(stage, point.tag) for seed, stage in stages.items()}
        yield PrunedShape(pruner, point, sources, name=f"{pruner.label}-{point.tag}{tail}")


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


def _named(name: str) -> str:
    return name.replace("/", "_")
