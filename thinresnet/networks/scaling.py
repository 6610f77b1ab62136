"""Scaling: from an architecture to a thinner, shallower or lower-resolution network of the same kind.

Rounding: a count of C channels at width w becomes the integer nearest to w * C (halves up), never below 1; where a
group must be a multiple of something (grouped convolutions, equal halves, `round_to`) the nearest such multiple, never
below one of them. A group narrower than `round_to` is left to its own unit, and scaling down never widens a group.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from thinresnet.errors import InputError, nearest
from thinresnet.network import Network, check_input_size
from thinresnet.networks import architectures
from thinresnet.networks.blueprint import blueprint, create, default_input_size
from thinresnet.networks.describe import check_arch, check_factor, check_kwargs, describe
from thinresnet.networks.thinresnet import own_counts, resolved
from thinresnet.networks.ties import Group, Ties

WAYS = ("width", "interior", "depth", "growth", "resolution")


def scale(
    arch: str,
    *,
    width: float = 1.0,
    interior: float = 1.0,
    depth: float = 1.0,
    growth: float = 1.0,
    resolution: int | None = None,
    round_to: int = 1,
    input_size: tuple[int, int, int] | None = None,
    **kwargs: Any,
) -> Network:
    """Scale an architecture: every group by `width`, those inside blocks by `interior` besides.

    `depth` scales the number of blocks of each stage, `growth` a DenseNet's growth rate, `resolution` sets the side of
    the input in pixels. `kwargs` are keyword arguments of the architecture (`num_classes=10`, say).
    """
    check_arch(arch)
    check_kwargs(arch, kwargs)
    width, interior = check_factor("width", width), check_factor("interior", interior)
    depth, growth = check_factor("depth", depth), check_factor("growth", growth)
    check_round_to(round_to)
    size = check_input_size(input_size) if input_size else default_input_size(arch)
    if resolution is not None:
        size = check_input_size((size[0], resolution, resolution))
    name, (arch, kwargs) = arch, resolved(arch, kwargs)
    kwargs |= _structure(arch, kwargs, depth, growth)
    groups = groups_of(name, blueprint(arch, kwargs, size).ties)
    if interior != 1.0:
        require_interior(arch, groups)
    factors = {name: width * (interior if group.interior else 1.0) for name, group in groups.items()}
    return describe(arch, channels=rounded(groups, factors, round_to), input_size=size, **kwargs)


def groups_of(name: str, ties: Ties) -> dict[str, Group]:
    """The groups that a scaling starts from: those of an architecture, or of a network that has a name."""
    counts = own_counts(name, ties)
    return {key: replace(group, width=counts[key]) for key, group in ties.groups.items()}


def rounded(groups: Mapping[str, Group], factors: Mapping[str, float], round_to: int = 1) -> dict[str, int]:
    """The counts at these factors, by the rule that the module's docstring states."""
    counts = {}
    for name, group in groups.items():
        step = step_of(group, round_to)
        # 1e-9, so that halves that floats put just below the half (0.285 * 100 = 28.499…) round up as well.
        steps = max(1, math.floor(factors[name] * group.width / step + 0.5 + 1e-9))
        counts[name] = min(steps * step, group.width) if factors[name] <= 1 else steps * step
    return counts


def step_of(group: Group, round_to: int) -> int:
    """What the count of a group moves by."""
    together = math.lcm(group.multiple, round_to)
    return together if group.width >= together else group.multiple


def check_round_to(round_to: Any) -> None:
    if isinstance(round_to, bool) or not isinstance(round_to, int) or not 1 <= round_to <= 256:
        raise InputError(f"round_to: {round_to!r}; it is an integer from 1 to 256")


def require_interior(arch: str, groups: Mapping[str, Group]) -> None:
    if not any(group.interior for group in groups.values()):
        raise InputError(f"{arch} has no channels inside blocks (no residual stream to keep): scale its width")


def _structure(arch: str, kwargs: Mapping[str, Any], depth: float, growth: float) -> dict[str, Any]:
    """The keyword arguments that give this depth and growth."""
    if depth == growth == 1.0:
        return {}
    model = create(arch, kwargs, None, device="meta")
    structure = architectures.STRUCTURES.get(type(model).__name__)
    changed: dict[str, Any] = {}
    if depth != 1.0:
        if structure is None:
            known = ", ".join(sorted(architectures.STRUCTURES))
            raise InputError(f"depth: {arch} takes no depth; those that do: {known}")
        changed[structure.keyword] = [max(1, math.floor(depth * n + 0.5 + 1e-9)) for n in structure.depths(model)]
    if growth != 1.0:
        if structure is None or structure.growth_rate is None:
            raise InputError(f"growth: {arch} has no growth rate; DenseNets have")
        changed["growth_rate"] = max(1, math.floor(growth * structure.growth_rate(model) + 0.5 + 1e-9))
    return changed


def check_way(way: str) -> None:
    if way not in WAYS:
        raise InputError(f"scaling: {way!r} is not one of {', '.join(WAYS)}{nearest(way, WAYS)}")
