"""Shadows: tensors of labels in the shape of the tensors that they go beside, broadcast where labels do not change."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence

from torch import Tensor


def stretchable(shadow: Tensor) -> Tensor:
    return shadow if shadow.is_contiguous() else shadow.contiguous()


def varying(shadow: Tensor) -> list[int]:
    """The dimensions along which the label changes."""
    return [
        dim
        for dim in range(shadow.dim())
        if shadow.shape[dim] > 1
        and shadow.stride(dim) != 0
        and bool((_without_broadcast(shadow, dim) != _without_broadcast(shadow, dim).narrow(dim, 0, 1)).any())
    ]


def _without_broadcast(shadow: Tensor, keep: int) -> Tensor:
    """The same labels with every broadcast dimension but one reduced to its first element."""
    for dim in range(shadow.dim()):
        if dim != keep and shadow.stride(dim) == 0 and shadow.shape[dim] > 1:
            shadow = shadow.narrow(dim, 0, 1)
    return shadow


def compact(shadow: Tensor) -> Tensor:
    """The labels with every dimension along which they do not change reduced to one element."""
    along = varying(shadow)
    for dim in range(shadow.dim()):
        if dim not in along and shadow.shape[dim] > 1:
            shadow = shadow.narrow(dim, 0, 1)
    return shadow


def with_dims(shadow: Tensor, dims: int) -> Tensor:
    """Leading dimensions of one element, as broadcasting adds them."""
    return shadow.reshape((1,) * (dims - shadow.dim()) + tuple(shadow.shape)) if shadow.dim() < dims else shadow


def regrouped(before: Sequence[int], after: Sequence[int]) -> Iterator[tuple[list[int], list[int]]]:
    """The smallest runs of dimensions that a reshape turns into each other."""
    if math.prod(before) != math.prod(after):
        return
    i = j = 0
    while i < len(before) or j < len(after):
        left, right = [i], [j]
        size_left = before[i] if i < len(before) else 1
        size_right = after[j] if j < len(after) else 1
        i, j = i + 1, j + 1
        while size_left != size_right:
            if size_left < size_right:
                size_left *= before[i]
                left.append(i)
                i += 1
            else:
                size_right *= after[j]
                right.append(j)
                j += 1
        yield [d for d in left if d < len(before)], [d for d in right if d < len(after)]


def in_order(shadow: Tensor, rows: int, columns: int) -> bool:
    """Whether the labels, read along rows and columns, come in runs: then the reshape deals nothing out in turn."""
    labels = compact(shadow)
    return bool((labels.narrow(columns, 0, 1) == labels).all().item())
