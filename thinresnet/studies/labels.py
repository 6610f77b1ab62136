"""Where the labels of a chart's points go, so that none hides another; points stay where they are. Standard library."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

CHARACTER, LINE = 5.6, 12.0  # pixels of a label's letter and line
_MARK = 7.0  # pixels from a point's middle that its mark takes
_RINGS = 14


@dataclass(frozen=True)
class Axis:
    """One axis of a chart: from values to pixels and back."""

    low: float
    high: float
    pixels: float
    logarithmic: bool = False
    downwards: bool = False  # pixels grow as values fall

    @classmethod
    def around(
        cls, values: Sequence[float], pixels: float, *, margin: tuple[float, float], logarithmic: bool = False,
        downwards: bool = False,
    ) -> Axis:  # fmt: skip
        """The axis over these values, with so many pixels free below and above them."""
        scaled = [math.log(value) if logarithmic else value for value in values]
        low, high = min(scaled), max(scaled)
        reach = (high - low) or (0.1 if logarithmic else 0.1 * abs(high) or 1.0)
        if high == low:
            low, high = low - reach / 2, high + reach / 2
        a_pixel = (high - low) / (pixels - sum(margin))
        low, high = low - margin[0] * a_pixel, high + margin[1] * a_pixel
        return cls(math.exp(low) if logarithmic else low, math.exp(high) if logarithmic else high, pixels,
                   logarithmic, downwards)  # fmt: skip

    def place(self, value: float) -> float:
        """The pixel of a value."""
        share = (self._scaled(value) - self._scaled(self.low)) / (self._scaled(self.high) - self._scaled(self.low))
        return self.pixels * (1 - share if self.downwards else share)

    def value(self, place: float) -> float:
        """The value at a pixel."""
        share = 1 - place / self.pixels if self.downwards else place / self.pixels
        found = self._scaled(self.low) + share * (self._scaled(self.high) - self._scaled(self.low))
        return math.exp(found) if self.logarithmic else found

    def _scaled(self, value: float) -> float:
        return math.log(value) if self.logarithmic else value


@dataclass(frozen=True)
class Box:
    """A rectangle in pixels."""

    left: float
    top: float
    right: float
    bottom: float

    def meets(self, other: Box) -> bool:
        """Whether the two have a point in common."""
        apart = self.right <= other.left or other.right <= self.left
        return not (apart or self.bottom <= other.top or other.bottom <= self.top)


def labels_placed(points: Sequence[tuple[float, float]], texts: Sequence[str], x: Axis, y: Axis) -> list[Box | None]:
    """The rectangle of each text, near its point and inside the chart, on no other label and no other mark.

    The first texts have the first choice. None where there is no place within reach, and of an empty text.
    """
    marks = [(x.place(one), y.place(other)) for one, other in points]
    taken = [Box(left - _MARK, top - _MARK, left + _MARK, top + _MARK) for left, top in marks]
    placed: list[Box | None] = []
    for (left, top), text in zip(marks, texts, strict=True):
        around = _around(left, top, CHARACTER * len(text)) if text else ()
        free = (box for box in around if _is_inside(box, x, y) and not any(map(box.meets, taken)))
        found = next(free, None)
        placed.append(found)
        if found is not None:
            taken.append(found)
    return placed


def _is_inside(box: Box, x: Axis, y: Axis) -> bool:
    return box.left >= 0 and box.top >= 0 and box.right <= x.pixels and box.bottom <= y.pixels


def _around(left: float, top: float, width: float) -> Iterator[Box]:
    """Places for a label, the nearest first: to the right, to the left, then in rows above and below."""
    for ring in range(_RINGS):
        for sign in (1, -1) if ring else (1,):
            middle = top + sign * ring * LINE
            out = _MARK + 2 + (10 if ring else 0)
            yield Box(left + out, middle - LINE / 2, left + out + width, middle + LINE / 2)
            yield Box(left - out - width, middle - LINE / 2, left - out, middle + LINE / 2)
