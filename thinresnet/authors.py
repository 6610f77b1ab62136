"""ThinResNet as its authors built it, as a member of the baseline: their networks, their recipe, their weights.

What is measured of them stands in the evaluations kept beside the board; what they print stands in the table of public
weights. This project's own exact-budget networks are the other member (`thinresnet.baseline`). Nothing heavy is
imported.
"""

from __future__ import annotations

import fnmatch
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from thinresnet import public_weights
from thinresnet.base_width import BaseWidth
from thinresnet.evaluation import Evaluation
from thinresnet.imported import Imported
from thinresnet.public_weights import CLASSES, PublicWeights
from thinresnet.runs import EVALUATION_FILE, IMPORTED_FILE

SIDE_PX = {"cifar10": 32, "cifar100": 32, "imagenet": 224}
CODE_BIBTEX = """@misc{baseline-pruning,
  title = {{baseline-pruning}: training code and weights of the {ThinResNet} authors},
  author = {{brain-bzh}},
  year = {2023},
  note = {github.com/brain-bzh/baseline-pruning, commit 257069b},
}
"""


@dataclass(frozen=True)
class Member:
    """One network of the ThinResNet authors with its public weights."""

    weights: PublicWeights
    network: BaseWidth

    @property
    def name(self) -> str:
        return f"{self.weights.dataset}-{self.network.name}"

    @cached_property
    def cost(self) -> tuple[int, int]:
        """MACs and parameters."""
        return self._cost(self.network)

    @cached_property
    def dense_cost(self) -> tuple[int, int]:
        """MACs and parameters of the architecture at its own width."""
        return self._cost(BaseWidth(self.network.depth, self.network.dense_width))

    @property
    def recipe(self) -> str:
        return "cifar-thinresnet" if self.network.cifar else "imagenet-thinresnet"

    @property
    def training_macs(self) -> int:
        return public_weights.training_macs(self.network, self.weights.dataset)

    def _cost(self, network: BaseWidth) -> tuple[int, int]:
        return network.cost(classes=CLASSES[self.weights.dataset], side_px=SIDE_PX[self.weights.dataset])


def members(pattern: str = "*") -> list[Member]:
    """The networks with public weights whose names are like this; a network's name alone stands for all its weights."""
    found = [Member(one, network) for one in public_weights.every() if (network := one.base_width) is not None]
    return [
        one for one in found if fnmatch.fnmatchcase(one.name, pattern) or fnmatch.fnmatchcase(one.network.name, pattern)
    ]


def measured(member: Member, evidence: Path) -> list[Evaluation]:
    """The evaluations of a member's weights that are kept as evidence."""
    found = []
    for path in sorted(evidence.glob(f"**/{EVALUATION_FILE}")):
        if (path.parent / IMPORTED_FILE).is_file():
            imported = Imported.read(path.parent)
            if imported.origin.git_blob == member.weights.git_blob:
                found.append(Evaluation.read(path.parent))
    return found
