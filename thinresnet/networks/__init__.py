"""Networks as channel counts: describe, build, scale, fit, count, time, save and load any timm CNN.

The names below are imported when they are first used, so that importing the room costs nothing.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from thinresnet.networks.cost import Cost, count
    from thinresnet.networks.fitting import fit
    from thinresnet.networks.network import Network, build, describe
    from thinresnet.networks.scaling import scale
    from thinresnet.networks.store import load, load_weights, read_off, save
    from thinresnet.networks.timing import measure

_HOMES = {
    "Cost": "cost",
    "Network": "network",
    "build": "network",
    "count": "cost",
    "describe": "network",
    "fit": "fitting",
    "load": "store",
    "load_weights": "store",
    "measure": "timing",
    "read_off": "store",
    "save": "store",
    "scale": "scaling",
}

__all__ = [
    "Cost",
    "Network",
    "build",
    "count",
    "describe",
    "fit",
    "load",
    "load_weights",
    "measure",
    "read_off",
    "save",
    "scale",
]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    found = getattr(importlib.import_module(f"{__name__}.{_HOMES[name]}"), name)
    globals()[name] = found
    return found
