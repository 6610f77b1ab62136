"""What a network sees in images: its most likely classes, with their names.

Images are read by the reader of the datasets, with its refusals, and prepared as the weights ask for.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch

from thinresnet.errors import InputError
from thinresnet.training.classes import in_english
from thinresnet.training.data.folders import images_below
from thinresnet.training.data.images import SUFFIXES, read_image
from thinresnet.training.evaluation import Subject, check_side, prepare

Progress = Callable[[str, int, int], None]
MOST_IMAGES = 1_000_000


@dataclass(frozen=True)
class Guess:
    """One class with its probability (softmax over all outputs)."""

    index: int
    name: str  # of the class folder, or `class 3` where no name is known
    description: str  # in English where it is known: an ImageNet identifier says little
    probability: float


@dataclass(frozen=True)
class Prediction:
    """The most likely classes of one image, the likeliest first."""

    image: Path
    guesses: tuple[Guess, ...]


def images_of(paths: Sequence[Path]) -> list[Path]:
    """The image files that are named, and all below the folders that are; each once."""
    found: dict[Path, None] = {}
    for path in paths:
        if path.is_dir():
            inside = images_below(path)
            if not inside:
                raise InputError(f"{path}: no images in this folder ({' '.join(SUFFIXES)})")
            found |= dict.fromkeys(inside)
        elif path.is_file():
            found[path] = None
        else:
            raise InputError(f"{path}: no such image, and no such folder")
    if len(found) > MOST_IMAGES:
        raise InputError(f"{len(found):,} images; at most {MOST_IMAGES:,} at once")
    return list(found)


def predict(
    subject: Subject,
    images: Sequence[Path],
    *,
    top: int = 5,
    batch_size: int = 64,
    device: torch.device | None = None,
    progress: Progress | None = None,
) -> Iterator[Prediction]:
    """The `top` most likely classes of each image, in order, a batch at a time."""
    device = device or torch.device("cuda" if torch.cuda.is_available() else "cpu")
    subject.model.to(device).eval()
    for start in range(0, len(images), batch_size):
        batch = images[start : start + batch_size]
        prepared = prepare([read_image(path) for path in batch], subject.preprocessing)
        check_side(subject, prepared)
        with torch.inference_mode():
            logits = subject.model(prepared.to(device)).double().cpu()
        if not bool(torch.isfinite(logits).all()):
            raise InputError(f"{subject.name}: its outputs are not finite numbers; the weights are of no use")
        likely = logits.softmax(1).topk(min(top, subject.outputs))
        for path, shares, indices in zip(batch, likely.values.tolist(), likely.indices.tolist(), strict=True):
            guesses = (_guess(subject, index, share) for index, share in zip(indices, shares, strict=True))
            yield Prediction(path, tuple(guesses))
        if progress is not None:
            progress("predicting", start + len(batch), len(images))


def _guess(subject: Subject, index: int, probability: float) -> Guess:
    name = subject.class_names[index] if subject.class_names else f"class {index}"
    return Guess(index, name, in_english(name), probability)
