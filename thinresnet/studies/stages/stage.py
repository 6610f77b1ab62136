"""What a stage is: one piece of a study's work, known by the content of what it does.

A stage trains, prunes, shapes, masks or times one network. Its key is the hash of the fields that decide what comes
out, as far as they differ from the documented defaults, and of the keys of the stages that it depends on: ten methods
share one dense parent, a changed recipe redoes only what depends on it, and a new field changes no key. A stage is
plain values and other stages, so that it can be pickled and done by another process or machine that sees the folders.
"""

from __future__ import annotations

import json
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, field, fields
from functools import cached_property
from pathlib import Path
from typing import Any, ClassVar

from thinresnet.budget import LATENCY, Budget
from thinresnet.identity import FORMAT, canonical_sha256, differing, plain
from thinresnet.network import Network
from thinresnet.recipe import Recipe
from thinresnet.studies.stages.defaults import DEFAULTS

Folders = Mapping[str, Path]  # of the stages that one depends on, by role


def undecided(**options: Any) -> Any:
    """A field that does not decide what comes out: names, bounds, and what differs from machine to machine."""
    return field(metadata={"decides": False}, **options)


@dataclass(frozen=True)
class CostPoint:
    """Where networks are compared: within these budgets, or at the cost of a paper's list of channel counts.

    With `like` the budget is the MACs of that network, after which the point is called.
    """

    budgets: tuple[Budget, ...] = ()
    to: str | None = None
    like: str | None = None

    @property
    def tag(self) -> str:
        """`macs50pct`, `R56-A`: for names of folders."""
        return self.to or self.like or "-".join(budget.tag for budget in self.budgets)

    @property
    def bounds_latency(self) -> bool:
        """Whether a budget bounds the latency."""
        return any(budget.quantity == LATENCY for budget in self.budgets)

    @property
    def text(self) -> str:
        """`macs 50%`, `R56-A`: for people."""
        if self.like:
            return f"MACs of {self.like}"
        return self.to or ", ".join(f"{budget.quantity} {budget.text}" for budget in self.budgets)


@dataclass(frozen=True, eq=False)
class Source:
    """What an earlier stage wrote: its folder, or one of several folders in it."""

    stage: Stage
    output: str = ""

    def chain(self) -> Iterator[Source]:
        """This and everything that it depends on; again where two ways lead to it."""
        yield self
        for before in self.stage.inputs.values():
            yield from before.chain()


@dataclass(frozen=True, eq=False, kw_only=True)
class Stage(ABC):
    """One piece of work; subclasses are frozen dataclasses. Fields that hold a `Source` are what it depends on."""

    kind: ClassVar[str]
    is_shared: ClassVar[bool] = False  # whether several processes can do it together
    name: str = undecided()

    @abstractmethod
    def run(self, inputs: Folders, folder: Path, *, quiet: bool) -> dict[str, str]:
        """Do it in `folder`; returns the folders in it by the name of an output, where there are several.

        What was begun and stopped is resumed from what is there.
        """

    def shared_by(self, processes: int) -> Stage:
        """What each of so many processes does of it; what cannot be shared is refused."""
        return self

    @property
    def epochs(self) -> int:
        """Epochs of training, at most."""
        return 0

    @property
    def training_macs(self) -> int:
        """Training MACs, at most."""
        return 0

    def spent(self, folder: Path) -> int:
        """Training MACs that it took, by what it wrote into its folder (of an output)."""
        return 0

    @cached_property
    def inputs(self) -> dict[str, Source]:
        """What it depends on, by role."""
        found: dict[str, Source] = {}
        for one in fields(self):
            value = getattr(self, one.name)
            if isinstance(value, Source):
                found[one.name] = value
            elif isinstance(value, tuple):
                found |= {f"{one.name}{place}": own for place, own in enumerate(value) if isinstance(own, Source)}
        return found

    @cached_property
    def identity(self) -> dict[str, Any]:
        """What decides what comes out, as JSON values, without what is at its documented default."""
        return differing({name: as_json(value) for name, value in self._deciding.items()}, DEFAULTS[self.kind])

    @property
    def facts(self) -> dict[str, Any]:
        """What decides what comes out, defaults included: recorded, so that a default that changes later is noticed."""
        return {name: as_json(value, defaults=True) for name, value in self._deciding.items()}

    @property
    def _deciding(self) -> dict[str, Any]:
        return {one.name: getattr(self, one.name) for one in fields(self) if one.metadata.get("decides", True)}

    @cached_property
    def key(self) -> str:
        """The hash of everything that decides what comes out."""
        return canonical_sha256({"format": FORMAT, "kind": self.kind, **self.identity})

    @property
    def folder(self) -> str:
        """`resnet20_cifar-dense-digits-classic-s42-3f9a1c`: readable first, unique by the key."""
        return f"{self.name}-{self.key[:6]}"

    def before(self) -> Iterator[Stage]:
        """Every stage that this one needs, each once, in an order in which they can be done."""
        seen: set[str] = set()
        for source in self.inputs.values():
            for stage in (*source.stage.before(), source.stage):
                if stage.key not in seen:
                    seen.add(stage.key)
                    yield stage


def as_json(value: Any, *, defaults: bool = False) -> Any:
    """A field as JSON values: of a recipe what decides, with what is at its default or without, of a stage its key."""
    if isinstance(value, Source):
        return [value.stage.key, value.output]
    if isinstance(value, Recipe):
        found = plain(asdict(value)) if defaults else value.differing()
        return {name: own for name, own in found.items() if name not in _FREE}
    if isinstance(value, Network):
        content = json.loads(value.to_json())
        return {name: own for name, own in content.items() if name != "format"}
    if isinstance(value, CostPoint):
        return {"to": value.to} if value.to else as_json(value.budgets)
    if isinstance(value, tuple) and value and all(isinstance(own, Budget) for own in value):
        return {own.quantity: own.text for own in value}
    if isinstance(value, Mapping):
        return {str(name): as_json(own) for name, own in value.items()}
    if isinstance(value, (tuple, list)):
        return [as_json(own) for own in value]
    return value


# What of a recipe decides nothing: where images are and how they are fetched, and what stages say themselves.
_FREE = (
    "data_dir", "dataset_download", "workers", "log_interval", "checkpoint_hist", "log_wandb", "log_tensorboard",
    "device_modules", "seed", "initial_checkpoint",
)  # fmt: skip
