"""Who takes part in a protocol: of each pruner, why it does not."""

from __future__ import annotations

from collections.abc import Callable

from thinresnet.pruning.method import INITIALISATION
from thinresnet.studies.study import Pruner

WhyNot = Callable[[Pruner], str | None]  # why a pruner takes no part; None: it does


def after_training(why_not: WhyNot) -> WhyNot:
    """Only methods that prune trained networks, or networks while they train."""
    return lambda pruner: "it prunes at initialisation" if pruner.method.when == INITIALISATION else why_not(pruner)


def at_initialisation(why_not: WhyNot) -> WhyNot:
    """Only methods that prune at initialisation."""
    return lambda pruner: "it prunes trained networks" if pruner.method.when != INITIALISATION else why_not(pruner)


def no_reason(pruner: Pruner) -> str | None:
    """Every method takes part."""
    return None


@after_training
def finetunes(pruner: Pruner) -> str | None:
    """Methods whose weights are trained on."""
    return "it rewinds weights" if pruner.method.rewinds else None


@after_training
def trains_from_scratch(pruner: Pruner) -> str | None:
    """Methods whose authors train with them from scratch."""
    return None if pruner.method.from_scratch else "its authors prune trained networks"


@after_training
def removes_channels(pruner: Pruner) -> str | None:
    """Methods that remove channels."""
    return None if pruner.method.removes == "channels" else f"it removes {pruner.method.removes}"


@after_training
def is_smaller(pruner: Pruner) -> str | None:
    """Methods whose networks are smaller: masks are not."""
    return "it removes weights" if pruner.method.removes == "weights" else None


@after_training
def masks_weights(pruner: Pruner) -> str | None:
    """Methods that find masks of single weights."""
    return None if pruner.method.removes == "weights" else f"it removes {pruner.method.removes}"


@after_training
def can_rewind(pruner: Pruner) -> str | None:
    """Methods whose weights can go back to those that training began with."""
    return None if pruner.method.rewinds else removes_channels(pruner)


@at_initialisation
def does_not_grow(pruner: Pruner) -> str | None:
    """Methods that make no layer wider."""
    return "no mask is denser than dense" if pruner.grow else None


@at_initialisation
def ranks_weights(pruner: Pruner) -> str | None:
    """Methods that find masks of single weights."""
    return None if pruner.method.ranks_weights else "it finds densities without ranking weights"


all_at_initialisation = at_initialisation(no_reason)
