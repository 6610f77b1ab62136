"""Networks: their shape, cost and weights. See `thinresnet networks` for what is known to work."""

from __future__ import annotations

from thinresnet.network import Network
from thinresnet.networks import zoo as _zoo  # noqa: F401  # registers the thin_ names with timm
from thinresnet.networks.build import as_network, build
from thinresnet.networks.cost import Cost, count
from thinresnet.networks.describe import describe, parse_network, read_network
from thinresnet.networks.fitting import fit
from thinresnet.networks.foreign import load_weights
from thinresnet.networks.scaling import scale
from thinresnet.networks.store import load, read_off, save
from thinresnet.networks.timing import measure

__all__ = [
    "Cost",
    "Network",
    "as_network",
    "build",
    "count",
    "describe",
    "fit",
    "load",
    "load_weights",
    "measure",
    "parse_network",
    "read_network",
    "read_off",
    "save",
    "scale",
]


def __dir__() -> list[str]:
    """What tab completion offers: the public names."""
    return sorted(__all__)
