"""What a shape is by another name: a uniform scaling, or the same network that another row has."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from thinresnet.network import Network
from thinresnet.networks.blueprint import blueprint

_SAME_MACS = 0.01  # the closed form of the cost leaves out what does not depend on channels


@dataclass(frozen=True)
class Scaling:
    """A factor on the channels of every group, or of those inside blocks."""

    way: str  # "width" or "interior width"
    factor: float

    def __str__(self) -> str:
        return f"{self.way} {self.factor:.3g}"


def uniform_scaling(network: Network, dense_macs: int) -> Scaling | None:
    """The scaling of the dense network that gives this one, every group's count to within one step; None without one.

    One step is what rounding to a budget takes or gives: one channel, in most groups. A network that has fewer blocks
    than the dense one is no scaling in width, whatever its channels.
    """
    ties = blueprint(network.arch, network.kwargs, network.input_size).ties
    groups = ties.groups
    if abs(ties.cost({name: group.width for name, group in groups.items()}).macs / dense_macs - 1) > _SAME_MACS:
        return None
    counts = {name: network.channels[name] for name in groups}
    outside = [name for name, group in groups.items() if not group.interior]
    if all(counts[name] == group.width for name, group in groups.items()):
        return None
    if len(outside) < len(groups) and all(counts[name] == groups[name].width for name in outside):
        inside = [group for group in groups.values() if group.interior]
        factor = _factor([(counts[group.name], group.width, group.multiple) for group in inside])
        return None if factor is None else Scaling("interior width", factor)
    factor = _factor([(counts[group.name], group.width, group.multiple) for group in groups.values()])
    return None if factor is None else Scaling("width", factor)


def _factor(counts: Sequence[tuple[int, int, int]]) -> float | None:
    """A factor that explains every (count, of so many, step): the mean to two digits, where that is one."""
    low = max((0.0 if count <= step else (count - step) / whole) for count, whole, step in counts)
    high = min(min((count + step) / whole, 1.0) for count, whole, step in counts)
    if low >= high:
        return None
    mean = sum(count for count, _, _ in counts) / sum(whole for _, whole, _ in counts)
    factor = round(mean, 2)
    return factor if low < factor < high else (low + high) / 2
