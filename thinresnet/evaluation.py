"""A network measured on test images: the keys of evaluation.json, and the interval of an accuracy.

Standard library only.
"""

from __future__ import annotations

import json
import math
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from thinresnet.errors import InputError
from thinresnet.files import read_object, write_atomically
from thinresnet.imported import check_types
from thinresnet.notebook import html_details, html_facts, html_table
from thinresnet.preprocessing import Preprocessing
from thinresnet.runs import EVALUATION_FILE

FORMAT = 1
_Z95 = 1.959963984540054  # of the normal distribution, two-sided


@dataclass(frozen=True)
class Evaluation:
    """One network on the test images of one dataset. Counts are exact; `confusion` is by class, then by prediction."""

    name: str
    arch: str
    arch_kwargs: dict[str, Any]
    shape: str
    network_sha256: str
    weights_sha256: str
    ema: bool
    dataset: str
    images: int
    images_sha256: str  # of the files' bytes (or pixels) and classes, in order
    classes: list[str]  # that images and predictions are restricted to, or all
    outputs: int  # that the network has
    restricted: bool
    correct1: int
    correct5: int | None  # None with fewer than six classes
    correct1_of_all_outputs: int
    loss: float
    confusion: list[list[int]]
    resolution: int  # of the test image, pixels
    macs: int  # at that resolution
    params: int
    preprocessing: Preprocessing
    images_per_second: float  # of the network alone
    device: str
    versions: dict[str, str]
    finished: str

    def __repr__(self) -> str:
        low, high = self.top1_interval
        said = f"top-1 {self.top1:.2f} % (95 %: {low:.2f} to {high:.2f})"
        return f"<Evaluation of {self.name} on {self.images:,} images of {self.dataset}: {said}>"

    def _repr_html_(self) -> str:
        low, high = self.top1_interval
        facts = {
            "top-1": f"{self.top1:.2f} % (95 %: {low:.2f} to {high:.2f})",
            "top-5": None if self.top5 is None else f"{self.top5:.2f} %",
            "images": f"{self.images:,} of {self.dataset}, {self.resolution} px",
            "MACs": f"{self.macs:,}",
            "parameters": f"{self.params:,}",
        }
        by_class = [(name, None if right is None else f"{right:.2f}") for name, right in self.top1_by_class.items()]
        return html_facts(self.name, facts) + html_details("top-1 by class, %", html_table(("class", "%"), by_class))

    @property
    def top1(self) -> float:
        """Percent of the images whose most likely class is right."""
        return 100 * self.correct1 / self.images

    @property
    def top5(self) -> float | None:
        return None if self.correct5 is None else 100 * self.correct5 / self.images

    @property
    def top1_interval(self) -> tuple[float, float]:
        """The 95 % interval of `top1` over images (Wilson's)."""
        low, high = wilson(self.correct1, self.images)
        return 100 * low, 100 * high

    @property
    def top1_by_class(self) -> dict[str, float | None]:
        """Percent right of each class; None for a class without images."""
        rows = zip(self.classes, self.confusion, strict=True)
        return {name: 100 * row[number] / sum(row) if sum(row) else None for number, (name, row) in enumerate(rows)}

    def to_json(self) -> str:
        low, high = self.top1_interval
        figures = {"top1": self.top1, "top1_low95": low, "top1_high95": high, "top5": self.top5}
        content = {
            "format": FORMAT,
            **asdict(self),
            "preprocessing": self.preprocessing.to_json(),
            **figures,
            "top1_by_class": self.top1_by_class,
        }
        confusion = content.pop("confusion")
        text = json.dumps(content, indent=2, allow_nan=False)
        # A row a line: a matrix with a line a number is a file that nobody reads.
        rows = ",\n    ".join(json.dumps(row) for row in confusion)
        return text[:-2] + f',\n  "confusion": [\n    {rows}\n  ]\n}}\n'

    def write(self, folder: Path) -> None:
        write_atomically(folder / EVALUATION_FILE, self.to_json())

    @classmethod
    def read(cls, folder: Path) -> Evaluation:
        """The evaluation.json of a folder, its form and its counts checked."""
        path = folder / EVALUATION_FILE
        content = read_object(path, missing=f"{path}: no such file; make it with: thinresnet evaluate {folder}")
        if content.pop("format", None) != FORMAT:
            raise InputError(f"{path}: not an evaluation of format {FORMAT}")
        for derived in ("top1", "top1_low95", "top1_high95", "top5", "top1_by_class"):
            content.pop(derived, None)
        check_types(path, cls, content, skip=("preprocessing",))
        found = cls(**{**content, "preprocessing": Preprocessing.from_json(content["preprocessing"], str(path))})
        rows = found.confusion
        square = len(rows) == len(found.classes) and all(
            isinstance(row, list) and len(row) == len(rows) and all(type(n) is int and n >= 0 for n in row)
            for row in rows
        )
        if not square or sum(map(sum, rows)) != found.images or found.images < 1:
            raise InputError(
                f"{path}, confusion: its entries are not the {found.images} images by class and prediction"
            )
        if sum(row[number] for number, row in enumerate(rows)) != found.correct1:
            raise InputError(f"{path}, correct1: {found.correct1}, but the diagonal of confusion says otherwise")
        return found


def wilson(correct: int, total: int) -> tuple[float, float]:
    """The 95 % score interval of a share (Wilson 1927)."""
    share, z2 = correct / total, _Z95**2
    centre = (share + z2 / (2 * total)) / (1 + z2 / total)
    half = _Z95 * math.sqrt(share * (1 - share) / total + z2 / (4 * total**2)) / (1 + z2 / total)
    return max(0.0, centre - half), min(1.0, centre + half)
