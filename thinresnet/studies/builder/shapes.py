"""Stages that make a network out of a found one before it is trained, and stages that time one."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from thinresnet.errors import InputError
from thinresnet.network import Network
from thinresnet.studies.builder.base import Base
from thinresnet.studies.stages import CostPoint, Guide, Mask, Rescale, Rewind, Source, Timing, Train


@dataclass(frozen=True)
class Shapes(Base):
    """The stages that shape, mask or time networks."""

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

    def mask(self, name: str, pruned: Source, granularity: str, seed: int, change: str | None = None) -> Source:
        """The dense network at its first weights, with masks; `change` shuffles these, or draws other weights."""
        stage = Mask(
            name=self._of_shape(name),
            network=self.network,
            granularity=granularity,
            seed=seed,
            pruned=pruned,
            change=change,
        )
        return Source(self.graph.add(stage))

    def _of_shape(self, name: str) -> str:
        return self.named(f"{self.setup.subject.arch}-{name}-{self.setup.label}-shape")

    def timing(self, name: str, network: Network | Source) -> Timing:
        """Inference of a network against the dense one; once, and not a seed."""
        return self.graph.add(
            Timing(
                name=self.named(f"{self.setup.subject.arch}-{name}-{self.setup.label}-time"),
                dense=self.network,
                network=network,
                batch_size=self.study.timing_batch,
                runs=self.study.timing_runs,
                training_batch_size=self.study.timing_training_batch,
            )
        )
