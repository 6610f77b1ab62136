"""Names beside the marks of a figure: short ones, where none lies on another, on a mark or on the line."""

from __future__ import annotations

import re
from collections.abc import Sequence
from itertools import pairwise

Box = tuple[float, float, float, float]  # left, top, right, bottom
# How a label of 10 points lies about its mark: how far right and down, and which of its sides is there.
# The bar rises, so that its marks have room above to the left and below to the right.
PLACES = ((-7, -6, "right"), (8, 8, "left"), (0, -11, "center"), (0, 15, "center"))
LETTER, LINE = 5.4, 11  # pixels: how wide letters of 10 points are on average, how high a line is
_WIDE, _NARROW = "mwMW%@…", "ijlft.,:;|!()[]'- Ir"
EDGE = 4  # pixels between a label and the axes: its white outline, and what its width is mistaken by
LONGEST_NAME = 26
_SETTING = re.compile(r", | \(")  # what follows is how it was set or trained


def short_name(method: str, arch: str) -> str:
    """What a result is called in a figure of one architecture; a name that is still too long ends in an ellipsis."""
    name = _SETTING.split(method)[0].removeprefix(f"{arch} ")
    return name if len(name) <= LONGEST_NAME else name[: LONGEST_NAME - 1].rstrip(" +-/") + "…"


def place_labels(
    marks: Sequence[tuple[float, float, str]], size: tuple[float, float], line: Sequence[Sequence[tuple[float, float]]]
) -> list[tuple[int, int, str] | None]:
    """Where each label goes so that it lies on no other, on no mark and on no line; None where there is no room."""
    taken = [(x - 4, y - 4, x + 4, y + 4) for x, y, _ in marks]
    drawn = [piece for path in line for piece in pairwise(path)]
    places: list[tuple[int, int, str] | None] = []
    for x, y, label in marks:
        wide = width_of(label)
        for dx, dy, align in PLACES:
            left = x + dx - {"left": 0.0, "center": wide / 2, "right": wide}[align]
            box = (left, y + dy - LINE / 2, left + wide, y + dy + LINE / 2)
            inside = box[0] >= EDGE and box[2] <= size[0] - EDGE and box[1] >= 0 and box[3] <= size[1]
            own = (x - 4, y - 4, x + 4, y + 4)  # a label may touch its own mark
            free = not any(_overlap(box, other) for other in taken if other != own)
            if inside and free and not any(_crosses(box, *ends) for ends in drawn):
                taken.append(box)
                places.append((dx, dy, align))
                break
        else:
            places.append(None)
    return places


def width_of(label: str) -> float:
    """About how many pixels a label of 10 points is wide; capitals and wide letters take more."""
    of_each = (
        1.5 if each in _WIDE else 0.65 if each in _NARROW else 1.25 if each.isupper() else 1.02 for each in label
    )
    return LETTER * sum(of_each)


def _overlap(one: Box, other: Box) -> bool:
    return one[0] < other[2] and other[0] < one[2] and one[1] < other[3] and other[1] < one[3]


def _crosses(box: Box, start: tuple[float, float], end: tuple[float, float]) -> bool:
    """Whether a straight line goes through a box: what is left of it between the box's four edges is not empty."""
    first, last = 0.0, 1.0
    for axis in (0, 1):
        along, low, high = end[axis] - start[axis], box[axis] - start[axis], box[axis + 2] - start[axis]
        if along == 0:
            if low > 0 or high < 0:
                return False
            continue
        one, other = sorted((low / along, high / along))
        first, last = max(first, one), min(last, other)
    return first < last
