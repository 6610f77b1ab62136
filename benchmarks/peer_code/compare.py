"""Comparing what two programs kept: channels by layer, masks, weights, scores; and the tables of it.

Standard library and numpy only.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

Array = np.ndarray[Any, np.dtype[Any]]


@dataclass(frozen=True)
class Layer:
    """The channels of one layer that each side kept, by index."""

    name: str
    channels: int
    theirs: tuple[int, ...]
    ours: tuple[int, ...]

    @property
    def only_theirs(self) -> list[int]:
        """What they keep and we do not."""
        return sorted(set(self.theirs) - set(self.ours))

    @property
    def only_ours(self) -> list[int]:
        """What we keep and they do not."""
        return sorted(set(self.ours) - set(self.theirs))


@dataclass(frozen=True)
class Finding:
    """One comparison: what was compared on what, what came out, and why it differs where it does."""

    method: str
    peer: str
    network: str
    compared: str
    theirs: str
    ours: str
    same: bool
    why: str = ""
    layers: tuple[Layer, ...] = ()
    figures: Mapping[str, float] = field(default_factory=dict)


def layers_kept(
    theirs: Mapping[str, Sequence[int]], ours: Mapping[str, Sequence[int]], channels: Mapping[str, int]
) -> tuple[Layer, ...]:
    """Layer by layer what each kept; a layer that one does not mention was left whole by it."""
    unknown = (set(theirs) | set(ours)) - set(channels)
    if unknown:
        raise ValueError(f"layers that the network does not have: {sorted(unknown)}")
    return tuple(
        Layer(name, count, *(tuple(sorted(side.get(name, range(count)))) for side in (theirs, ours)))
        for name, count in channels.items()
    )


def kept_finding(layers: Sequence[Layer], **said: str) -> Finding:
    """A comparison of kept channels."""
    total = sum(layer.channels for layer in layers)
    differing = sum(len(layer.only_theirs) + len(layer.only_ours) for layer in layers)
    theirs, ours = (sum(len(getattr(layer, side)) for layer in layers) for side in ("theirs", "ours"))
    return Finding(
        theirs=f"{theirs:,} of {total:,} channels",
        ours=f"{ours:,}, {differing or 'none'} differing",
        same=not differing,
        layers=tuple(layers),
        figures={"channels": total, "kept_theirs": theirs, "kept_ours": ours, "differing": differing},
        **said,
    )


def mask_finding(theirs: Sequence[Array], ours: Sequence[Array], *, allowed: int = 0, **said: str) -> Finding:
    """A comparison of masks, layer by layer; so many differing weights still count as the same."""
    shapes = [[mask.size for mask in side] for side in (theirs, ours)]
    if shapes[0] != shapes[1]:
        raise ValueError(f"masks of other sizes: {shapes[0]} and {shapes[1]}")
    one, other = (np.concatenate([mask.ravel().astype(bool) for mask in side]) for side in (theirs, ours))
    differing = int((one != other).sum())
    overlap = float((one & other).sum() / max(1, (one | other).sum()))
    return Finding(
        theirs=f"{int(one.sum()):,} of {one.size:,} weights",
        ours=f"{int(other.sum()):,}, {f'{differing:,}' if differing else 'none'} differing",
        same=differing <= allowed,
        figures={
            "weights": one.size, "kept_theirs": int(one.sum()), "kept_ours": int(other.sum()), "differing": differing,
            "overlap": overlap,
        },
        **said,
    )  # fmt: skip


def weights_finding(theirs: Mapping[str, Array], ours: Mapping[str, Array], *, within: float, **said: str) -> Finding:
    """A comparison of weights: the largest difference, in units of the largest weight of the tensor that it is in."""
    if theirs.keys() != ours.keys():
        raise ValueError(f"tensors that one side lacks: {sorted(theirs.keys() ^ ours.keys())}")
    worst = max(((relative_difference(theirs[name], ours[name]), name) for name in theirs), default=(0.0, ""))
    return Finding(
        theirs=f"{sum(tensor.size for tensor in theirs.values()):,} weights",
        ours=f"largest difference {worst[0]:.1e}" + (f" ({worst[1]})" if worst[0] > within else ""),
        same=worst[0] <= within,
        figures={"largest_relative_difference": worst[0]},
        **said,
    )


def relative_difference(one: Array, other: Array) -> float:
    """The largest difference of two arrays, in units of the largest absolute value in the first."""
    if one.shape != other.shape:
        raise ValueError(f"arrays of shapes {one.shape} and {other.shape}")
    scale = float(np.abs(one).max(initial=0.0))
    difference = float(np.abs(one.astype(np.float64) - other).max(initial=0.0))
    return difference / scale if scale else difference


def accuracy_finding(theirs: float, ours: float, images: int, *, within: float, **said: str) -> Finding:
    """A comparison of accuracies in percent on so many images."""
    return Finding(
        theirs=f"{theirs:.1f} %",
        ours=f"{ours:.1f} %",
        same=abs(theirs - ours) <= within,
        figures={"accuracy_theirs": theirs, "accuracy_ours": ours, "images": images},
        **said,
    )


def shorter(indices: Sequence[int], most: int = 12) -> str:
    """Indices as text, runs as a–b, the first runs of many."""
    runs: list[list[int]] = []
    for index in sorted(indices):
        if runs and index == runs[-1][1] + 1:
            runs[-1][1] = index
        else:
            runs.append([index, index])
    texts = [str(start) if start == end else f"{start}–{end}" for start, end in runs]
    return (", ".join(texts[:most]) + (" …" if len(texts) > most else "")) or "none"


def markdown(head: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    """A Markdown table; a bar inside a cell is written as an entity."""
    lines = [head, ["-"] * len(head), *([str(cell).replace("|", "&#124;") for cell in row] for row in rows)]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def findings_table(findings: Iterable[Finding]) -> str:
    """All comparisons, a row each."""
    return markdown(
        ("method", "compared", "network", "theirs", "ours", "same", "why"),
        (
            (own.method, own.compared, own.network, own.theirs, own.ours, "yes" if own.same else "no", own.why or "–")
            for own in findings
        ),
    )


def layers_table(layers: Iterable[Layer]) -> str:
    """Kept channels side by side: equal ones once, differing ones on each side."""
    return markdown(
        ("layer", "of", "theirs", "ours", "only theirs", "only ours"),
        (
            (
                own.name, own.channels, shorter(own.theirs),
                "the same" if own.theirs == own.ours else shorter(own.ours),
                shorter(own.only_theirs) if own.only_theirs else "", shorter(own.only_ours) if own.only_ours else "",
            )
            for own in layers
        ),
    )  # fmt: skip
