"""The ThinResNet authors' networks among all others: a name is an architecture and channel counts.

`scale`, `describe` and `fit` take `thinresnet50-w52` wherever they take an architecture; what comes out is a network of
timm's `resnet50` or of `resnet20_cifar`, like all others. `timm.create_model` takes the same names (see `zoo`).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from thinresnet import base_width
from thinresnet.networks.ties import Ties

NAMES = tuple(network.name for network in base_width.every())


def resolved(name: str, kwargs: Mapping[str, Any]) -> tuple[str, dict[str, Any]]:
    """The architecture and keyword arguments behind a name; any other name stays what it is."""
    network = base_width.parse(name) if isinstance(name, str) else None
    return (name, dict(kwargs)) if network is None else (network.arch, {**network.kwargs, **kwargs})


def own_counts(name: str, ties: Ties) -> dict[str, int]:
    """The count of every group of the network of that name; of an architecture its own."""
    network = base_width.parse(name) if isinstance(name, str) else None
    if network is None:
        return ties.dense_widths()
    return {key: network.channels(group.width, interior=group.interior) for key, group in ties.groups.items()}
