"""What a protocol is: what is done with a network under a budget, known by one name in studies, tables and charts."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from dataclasses import dataclass

from thinresnet.pruning.method import summary
from thinresnet.studies.builder import Builder

Add = Callable[[Builder], None]

# What a protocol makes; charts give each a colour and a shape.
DENSE, SCALED, FINETUNED, SCRATCH, REWOUND, OURS, INITIAL, MASKED, SPARSE = (
    "dense", "scaled", "pruned and fine-tuned", "pruned shape, from scratch", "pruned shape, rewound",
    "pruned shape, by our rules", "pruned at initialisation", "masked at initialisation",
    "trained sparsely from scratch",
)  # fmt: skip
KINDS = (DENSE, SCALED, FINETUNED, SCRATCH, REWOUND, OURS, INITIAL, MASKED, SPARSE)


@dataclass(frozen=True)
class Protocol:
    """A protocol: what it adds to a graph for one recipe, and how its results are called."""

    name: str
    kind: str  # of KINDS
    label: str  # of its rows in tables; `{method}` is what found the network
    needs: tuple[str, ...]  # what a study has to give: budgets, methods, methods at initialisation, transfer
    add: Add

    @property
    def does(self) -> str:
        """What it does, in a line."""
        return summary(self.add)


PROTOCOLS: dict[str, Protocol] = {}


def protocol(name: str, kind: str, label: str, *needs: str) -> Callable[[Add], Add]:
    """Make a function a protocol; the first line of its docstring is what `thinresnet study protocols` shows."""

    def register(add: Add) -> Add:
        if name in PROTOCOLS or kind not in KINDS or not inspect.getdoc(add):
            raise ValueError(f"the protocol {name!r} is registered twice, of kind {kind!r}, or has no docstring")
        PROTOCOLS[name] = Protocol(name, kind, label, needs, add)
        return add

    return register
