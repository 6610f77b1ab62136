"""Pruning baselines: the classical methods, each from a network to a smaller one at an exact budget.

A method says what scores channels, what trains while pruning and what is removed (`registry.py`); the rest is shared.
The names below are imported when they are first used, so that importing the room costs nothing.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from thinresnet.pruning.registry import Method, Pruned, method, methods, register
    from thinresnet.pruning.session import prune

_HOMES = {
    "Method": "registry",
    "Pruned": "registry",
    "method": "registry",
    "methods": "registry",
    "prune": "session",
    "register": "registry",
}

__all__ = ["Method", "Pruned", "method", "methods", "prune", "register"]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    found = getattr(importlib.import_module(f"{__name__}.{_HOMES[name]}"), name)
    globals()[name] = found
    return found
