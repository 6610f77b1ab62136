"""Which operations combine tensors element by element: told by torch's own tag, or else by a trial.

Older versions of torch do not tag every such operation (`hardtanh`, which is ReLU6, and `leaky_relu`), and a list of
names would be out of date with the next one. So an operation without the tag runs on small tensors of numbers: it is
pointwise if changing one element of what it is given never changes another element of what comes out.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor
from torch.utils._pytree import tree_flatten, tree_map, tree_unflatten

_SIDE = 3  # of the small tensors; dimensions of one element stay so, as broadcasting needs it
_KNOWN: dict[str, bool] = {}


def tagged(func: Any) -> bool:
    """Whether torch says of this overload of an operation that it is pointwise."""
    return torch.Tag.pointwise in func.tags


def passes_trial(func: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> bool:
    """Whether an overload of an operation treats arguments like these element by element."""
    asked = f"{func} {tree_map(_form, (args, kwargs))}"
    if asked not in _KNOWN:
        try:
            _KNOWN[asked] = _trial(func, args, kwargs)
        except (RuntimeError, ValueError, TypeError, IndexError, NotImplementedError):
            _KNOWN[asked] = False  # it does not take tensors of another shape: it looks at more than elements
    return _KNOWN[asked]


def _form(value: Any) -> Any:
    """What the answer depends on: of tensors, which dimensions are broadcast, and the type."""
    return (tuple(size > 1 for size in value.shape), str(value.dtype)) if isinstance(value, Tensor) else value


def _trial(func: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> bool:
    leaves, form = tree_flatten((args, kwargs))
    leaves = [_small(leaf, place) if isinstance(leaf, Tensor) else leaf for place, leaf in enumerate(leaves)]

    def run(changed: int = -1, other: Tensor | None = None) -> Any:
        # Copies, because an operation in place writes into what it is given.
        own = [leaf.clone() if isinstance(leaf, Tensor) else leaf for leaf in leaves]
        if other is not None:
            own[changed] = other
        own_args, own_kwargs = tree_unflatten(own, form)
        return func(*own_args, **own_kwargs)

    tensors = {place: leaf for place, leaf in enumerate(leaves) if isinstance(leaf, Tensor)}
    before = run()
    if not isinstance(before, Tensor) or before.shape != torch.broadcast_shapes(*[t.shape for t in tensors.values()]):
        return False
    for place, tensor in tensors.items():
        for other in _changed(tensor):
            moved = (other != tensor).expand(before.shape)
            after = run(place, other)
            differs = (after != before) & ~(after.isnan() & before.isnan())
            if bool((differs & ~moved).any()):
                return False
    return True


def _small(tensor: Tensor, place: int) -> Tensor:
    """A tensor of few, different, unordered numbers, broadcast as the given one is."""
    shape = [min(size, _SIDE) for size in tensor.shape]
    count = torch.Size(shape).numel()
    numbers = torch.sin(torch.arange(1, count + 1, dtype=torch.float64) * 7.3 + place).view(shape)
    if tensor.dtype == torch.bool:
        return numbers > 0
    return (numbers if tensor.dtype.is_floating_point else numbers * 10).to(tensor.dtype)


def _changed(tensor: Tensor) -> Iterator[Tensor]:
    """The tensor with one element made much larger or smaller, for each element."""
    for place in range(tensor.numel()):
        for change in (10, -10):
            other = tensor.clone()
            flat = other.view(-1)
            flat[place] = ~flat[place] if tensor.dtype == torch.bool else flat[place] + change
            yield other
