"""Pruning to one or several cost points by a method of the registry: a trained network, or one at initialisation."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from fractions import Fraction
from pathlib import Path
from typing import Any, ClassVar

from thinresnet.network import Network
from thinresnet.networks.latency import LatencyTable
from thinresnet.pruning.folder import prune_to_folders
from thinresnet.pruning.method import settings_of
from thinresnet.pruning.parent import Parent, read_parent
from thinresnet.pruning.presets import preset
from thinresnet.pruning.record import read_pruning
from thinresnet.pruning.registry import method
from thinresnet.pruning.session import How
from thinresnet.recipe import Recipe
from thinresnet.result import FORWARD_AND_BACKWARD
from thinresnet.studies.stages.stage import CostPoint, Folders, Source, Stage, undecided


@dataclass(frozen=True, eq=False, kw_only=True)
class Prune(Stage):
    """Pruning: a folder for each cost point, the loosest first."""

    kind: ClassVar[str] = "prune"

    method: str
    revision: int = 1  # of what the method's name means
    settings: Mapping[str, Any]
    scope: str | None = None
    stream: bool = False
    grow: bool = False
    seed: int
    points: tuple[CostPoint, ...]
    parent: Source | Network  # a network: at initialisation
    recipe: Recipe | None = None  # how the method trains and reads images, where it is not as the parent was trained
    dataset: str | None = None  # as the recipe
    holdout: float = 0.0  # as the recipe
    latency_table_sha256: str | None = None  # of the next, where a point bounds the latency
    latency_table: LatencyTable | None = field(default=None, metadata={"decides": False})
    data_dir: str | None = undecided(default=None)
    macs: int = undecided()  # of the parent
    images_seen: int = undecided()  # by the method, at most
    # MACs of a training image, as a share of those at the network's own size.
    size_share: Fraction = field(default=Fraction(1), metadata={"decides": False})

    @property
    def training_macs(self) -> int:
        """Forward and backward through the parent, whole or masked: nothing is saved before the cut."""
        return round(FORWARD_AND_BACKWARD * self.macs * self.size_share * self.images_seen)

    @property
    def facts(self) -> dict[str, Any]:
        """With every setting of the method."""
        return {**super().facts, "settings": settings_of(method(self.method, self.settings))}

    def spent(self, folder: Path) -> int:
        """What the pruning's record says."""
        return read_pruning(folder).training_macs

    def run(self, inputs: Folders, folder: Path, *, quiet: bool) -> dict[str, str]:
        """Prune; points whose folders are whole stay as they are."""
        chosen, parent = method(self.method, self.settings), self._parent(inputs)
        to = next((point.to for point in self.points if point.to), None)
        how = How(
            budgets=tuple(point.budgets for point in self.points if not point.to),
            to=preset(to, parent.network) if to else None,
            to_name=to,
            scope=self.scope,
            stream=self.stream,
            grow=self.grow,
            seed=self.seed,
            latency_table=self.latency_table,
        )
        found = prune_to_folders(chosen, parent, how, output=folder)
        return {point.tag: path.name for point, (path, _) in zip(self.points, found, strict=True)}

    def _parent(self, inputs: Folders) -> Parent:
        recipe = None if self.recipe is None else self.recipe.replace(seed=self.seed)
        if isinstance(self.parent, Source):
            data_dir = None if self.data_dir is None else Path(self.data_dir)
            parent = read_parent(str(inputs["parent"]), data_dir=data_dir)
            return parent if recipe is None else replace(parent, recipe=recipe)
        return Parent(name=self.parent.arch, network=self.parent, recipe=recipe, holdout=self.holdout)
