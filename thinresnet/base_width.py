"""The networks of the ThinResNet authors by name: one number, the base width, and what follows from it.

`thinresnet20-w8` is ResNet-20 for 32-pixel images at base width 8; `thinresnet50-w52` is ResNet-50 at base width 52.
The shape was read in brain-bzh/baseline-pruning 257069b, models/resnet.py. Costs here are closed forms, so that the
board can tell what a file would fill without loading torch; the tests hold them against the counter. Standard library
only.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from thinresnet.errors import InputError

LARGEST_WIDTH = 64
_NAME = re.compile(r"thinresnet([1-9][0-9]*)-w([1-9][0-9]*)", re.ASCII)
_CIFAR_BLOCKS = {depth: ((depth - 2) // 6,) * 3 for depth in (20, 32, 44, 56, 110)}
_IMAGENET_BLOCKS = {18: (2, 2, 2, 2), 34: (3, 4, 6, 3), 50: (3, 4, 6, 3), 101: (3, 4, 23, 3)}
_BOTTLENECKS = (50, 101)
_EXPANSION = 4
_Convolution = tuple[int, int, int, int]  # kernel, input channels, output channels, side of the output map
DEPTHS = (*_CIFAR_BLOCKS, *_IMAGENET_BLOCKS)


@dataclass(frozen=True)
class BaseWidth:
    """A depth and a base width: the channels of the stem, from which all others follow."""

    depth: int
    width: int

    @property
    def name(self) -> str:
        return f"thinresnet{self.depth}-w{self.width}"

    @property
    def cifar(self) -> bool:
        """Whether it is for 32-pixel images: a 3x3 stem, three stages, projection shortcuts."""
        return self.depth in _CIFAR_BLOCKS

    @property
    def arch(self) -> str:
        """The architecture that it is a thin network of."""
        return f"resnet{self.depth}_cifar" if self.cifar else f"resnet{self.depth}"

    @property
    def kwargs(self) -> dict[str, Any]:
        """Keyword arguments of the architecture."""
        return {"shortcut": "B"} if self.cifar else {}

    @property
    def dense_width(self) -> int:
        """The base width of the architecture itself."""
        return 16 if self.cifar else 64

    @property
    def is_dense(self) -> bool:
        return self.width == self.dense_width

    def channels(self, dense: int, *, interior: bool) -> int:
        """The count of a group that has `dense` channels in the architecture.

        Inside a bottleneck the authors' code multiplies by w/64 a count that w has scaled already, so the inner width
        goes with the square of w: w = 32 has 16, 32, 64 and 128, a quarter of ResNet-50's and not a half.
        """
        if interior and self.depth in _BOTTLENECKS:
            return dense * self.width**2 // self.dense_width**2
        return dense * self.width // self.dense_width

    def cost(self, *, classes: int, side_px: int) -> tuple[int, int]:
        """MACs of convolutions and the classifier for one image, and parameters, in closed form."""
        macs = params = 0
        for kernel, inputs, outputs, side in self._convolutions(side_px):
            weights = kernel**2 * inputs * outputs
            macs += weights * side**2
            params += weights + 2 * outputs
        features = self._outputs(len(self._blocks) - 1)
        return macs + features * classes, params + (features + 1) * classes

    @property
    def _blocks(self) -> tuple[int, ...]:
        return _CIFAR_BLOCKS[self.depth] if self.cifar else _IMAGENET_BLOCKS[self.depth]

    def _outputs(self, stage: int) -> int:
        expansion = _EXPANSION if self.depth in _BOTTLENECKS else 1
        return int(self.width * 2**stage * expansion)

    def _convolutions(self, side_px: int) -> Iterator[_Convolution]:
        kernel, side = (3, side_px) if self.cifar else (7, _halved(side_px))
        yield kernel, 3, self.width, side
        side = side if self.cifar else _halved(side)
        inputs = self.width
        for stage, blocks in enumerate(self._blocks):
            outputs = self._outputs(stage)
            for block in range(blocks):
                before, side = side, _halved(side) if stage and not block else side
                yield from self._block(stage, inputs, outputs, before, side)
                if before != side or inputs != outputs:
                    yield 1, inputs, outputs, side
                inputs = outputs

    def _block(self, stage: int, inputs: int, outputs: int, before: int, side: int) -> Iterator[_Convolution]:
        if self.depth not in _BOTTLENECKS:
            yield from ((3, inputs, outputs, side), (3, outputs, outputs, side))
            return
        inner = self.channels(64 * 2**stage, interior=True)
        yield from ((1, inputs, inner, before), (3, inner, inner, side), (1, inner, outputs, side))


def parse(name: str) -> BaseWidth | None:
    """The network of that name; None where the name is not of this kind; refused where it is but there is none."""
    if not name.startswith("thinresnet"):
        return None
    found = _NAME.fullmatch(name)
    if found is None:
        raise InputError(f"{name!r:.60}: a depth and a base width are needed, such as thinresnet50-w52")
    depth, width = int(found[1]), int(found[2])
    if depth not in DEPTHS:
        known = ", ".join(str(each) for each in DEPTHS)
        raise InputError(f"{name}: depth {depth} does not exist; depths: {known}")
    smallest = _smallest_width(depth)
    if not smallest <= width <= LARGEST_WIDTH:
        why = " (below 8 no channel is left inside a bottleneck)" if width < smallest else ""
        raise InputError(f"{name}: base width {width}; at depth {depth} it is {smallest} to {LARGEST_WIDTH}{why}")
    return BaseWidth(depth, width)


def of_shape(shape: str) -> BaseWidth | None:
    """The network that a run's shape names; None where it names none."""
    try:
        return parse(shape)
    except InputError:
        return None


def of_structure(blocks: Sequence[int], width: int, *, bottlenecks: bool, stem_px: int) -> BaseWidth | None:
    """The network with so many blocks a stage, such blocks, a stem of that kernel and base width; None if none has."""
    depths = _CIFAR_BLOCKS if stem_px == 3 else _IMAGENET_BLOCKS
    for depth, own in depths.items():
        if own == tuple(blocks) and bottlenecks == (depth in _BOTTLENECKS):
            return BaseWidth(depth, width) if _smallest_width(depth) <= width <= LARGEST_WIDTH else None
    return None


def every() -> Iterator[BaseWidth]:
    """Every network that has a name."""
    for depth in DEPTHS:
        for width in range(_smallest_width(depth), LARGEST_WIDTH + 1):
            yield BaseWidth(depth, width)


def _smallest_width(depth: int) -> int:
    return 8 if depth in _BOTTLENECKS else 1


def _halved(side: int) -> int:
    return (side + 1) // 2
