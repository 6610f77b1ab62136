"""What the dense networks cost: `dense.csv`, counted by this project's own counter, never typed.

One row is an architecture at one input size and one number of classes; MACs are those of convolution and linear
layers. A published row becomes comparable through the dense network that it names.
"""

from __future__ import annotations

import csv
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path

TABLE = Path(__file__).with_name("dense.csv")
COLUMNS = ("arch", "input_size", "classes", "macs", "params")


@dataclass(frozen=True)
class DenseCost:
    """MACs and parameters of one dense network."""

    macs: int
    params: int


@cache
def table() -> Mapping[tuple[str, int, int], DenseCost]:
    """All counted dense networks by (architecture, input size, classes)."""
    with TABLE.open(encoding="ascii", newline="") as file:
        rows = csv.DictReader(file)
        return {
            (row["arch"], int(row["input_size"]), int(row["classes"])): DenseCost(int(row["macs"]), int(row["params"]))
            for row in rows
        }


@cache
def archs() -> frozenset[str]:
    """The architectures that have been counted."""
    return frozenset(arch for arch, _, _ in table())


def dense_cost(arch: str, input_size: int, classes: int) -> DenseCost | None:
    """The cost of a dense network, or None where it has not been counted."""
    return table().get((arch, input_size, classes))
