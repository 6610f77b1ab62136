"""Whether the files of a run folder belong together: a result is believed only with what it was made from.

Standard library and PyYAML only.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping
from pathlib import Path

from thinresnet import recipe as recipes
from thinresnet.convert import brief
from thinresnet.errors import InputError
from thinresnet.files import read_table
from thinresnet.network import Network
from thinresnet.result import PARTS, Result
from thinresnet.runs import METRICS_FILE, NETWORK_FILE, RECIPE_FILE, RESULT_FILE


def check_evidence(folder: Path, result: Result) -> None:
    """Refuse a run whose network, recipe or metrics are missing, damaged or another run's."""
    for name in (NETWORK_FILE, RECIPE_FILE, METRICS_FILE):
        path = folder / name
        # A link could carry any file of this machine along.
        if path.is_symlink() or not path.is_file():
            raise InputError(f"{path}: no such file; a row needs it as evidence of {RESULT_FILE}")
    _same(folder / NETWORK_FILE, "network_sha256", Network.read(folder).sha256, result.network_sha256)
    recipe = recipes.load(folder / RECIPE_FILE)
    _same(folder / RECIPE_FILE, "recipe_hash", recipe.hash, result.recipe_hash)
    _same(folder / RECIPE_FILE, "seed", recipe.seed, result.seed)
    _check_metrics(folder / METRICS_FILE, result)


def _check_metrics(path: Path, result: Result) -> None:
    """The last epoch is the result's, and the epochs before it come in order."""
    rows = _rows(path)
    epochs = [_number(path, row, "epoch") for row in rows]
    if any(after <= before for before, after in itertools.pairwise(epochs)):
        raise InputError(f"{path}: its epochs are not in order; it is not as the run wrote it")
    last = rows[-1]
    for name in ("epochs", "updates", "images_seen"):
        column = name.replace("epochs", "epoch")
        _same(path, column, _number(path, last, column), getattr(result, name))
    for part in PARTS:
        score = getattr(result, part)
        for key in ("top1", "loss") if score is not None else ():
            _same(path, f"{part}_{key}", _number(path, last, f"{part}_{key}"), getattr(score, key))


def _rows(path: Path) -> list[dict[str, str]]:
    rows = read_table(path)
    if not rows:
        raise InputError(f"{path}: has no row of an epoch")
    return rows


def _number(path: Path, row: Mapping[str, str], name: str) -> float:
    try:
        return float(row[name])
    except (KeyError, TypeError, ValueError):
        raise InputError(f"{path}: {name}: takes a number in every epoch, got {brief(row.get(name))}") from None


def _same(path: Path, name: str, found: object, said: object) -> None:
    """Refuse what is not as the result says."""
    both = isinstance(found, (int, float)) and isinstance(said, (int, float))
    if not (math.isclose(float(found), float(said), rel_tol=1e-9) if both else found == said):  # type: ignore[arg-type]
        raise InputError(
            f"{path}: {name}: {brief(found)}, but {RESULT_FILE} says {brief(said)}; they are not of one run"
        )
