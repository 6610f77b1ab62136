"""Pruning baselines: the classical methods, each from a network to a smaller one at an exact budget.

A method says what scores channels, what trains while pruning and what is removed (`method.py`); methods at
initialisation say how dense each layer should be before anything is trained (`initialisation/`). The registry finds
them in this package's files; the rest is shared.
"""

from __future__ import annotations

from thinresnet.pruning.job import Job, Pruned
from thinresnet.pruning.method import Method
from thinresnet.pruning.registry import method, methods
from thinresnet.pruning.session import Outcome, prune

__all__ = ["Job", "Method", "Outcome", "Pruned", "method", "methods", "prune"]


def __dir__() -> list[str]:
    """What tab completion offers: the public names."""
    return sorted(__all__)
