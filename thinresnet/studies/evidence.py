"""What is kept of a study's finished stages: small files, no weights, and which of them are one row of its tables.

From such a folder alone every figure of the tables can be made again, by anyone and without the images.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path, PurePosixPath
from typing import Any

from thinresnet.convert import brief, convert, setting
from thinresnet.errors import InputError
from thinresnet.files import read_object, write_atomically
from thinresnet.pruning.record import FILE as PRUNING_FILE
from thinresnet.result import published
from thinresnet.runs import IMPORTED_FILE, METRICS_FILE, NETWORK_FILE, RECIPE_FILE, RESULT_FILE
from thinresnet.studies.graph import Experiment, StudyGraph
from thinresnet.studies.protocols import PROTOCOLS
from thinresnet.studies.stages import Source
from thinresnet.studies.stages.timing import TIMING
from thinresnet.studies.store import FILE as STAGE_FILE
from thinresnet.studies.store import Store

FORMAT = 1
INDEX = "study.json"
_KEPT = (
    RESULT_FILE, METRICS_FILE, NETWORK_FILE, RECIPE_FILE, PRUNING_FILE, IMPORTED_FILE, TIMING, STAGE_FILE,
)  # fmt: skip


def _check_folders(chains: Sequence[Sequence[str]]) -> None:
    """A seed consists of one folder at least, and all lie in the evidence."""
    for chain in chains:
        if not chain:
            raise InputError("a seed without a folder")
        for name in chain:
            _check_folder(name)


def _check_folder(name: str) -> None:
    parts = PurePosixPath(name).parts
    if PurePosixPath(name).is_absolute() or ".." in parts or max(map(len, map(os.fsencode, parts)), default=0) > 255:
        raise InputError(f"{brief(name)} is no folder inside the evidence")


@dataclass(frozen=True, kw_only=True)
class RowIdentity:
    """What a row of the tables is, and how many seeds it is to have."""

    recipe: str
    protocol: str
    kind: str
    label: str
    method: str | None
    budget: str | None
    finetuning: str
    distilled: bool
    planned: int = setting(low=1)


@dataclass(frozen=True, kw_only=True)
class PackedRow(RowIdentity):
    """A row, and the folders that each of its finished seeds consists of, its own first."""

    seeds: tuple[tuple[str, ...], ...] = setting(check=_check_folders)
    timing: str | None = setting(check=_check_folder)


@dataclass(frozen=True, kw_only=True)
class Index:
    """`study.json`."""

    study: str
    about: str = setting("", lines=True)
    budgets: dict[str, Any] = setting(dict)
    rows: tuple[PackedRow, ...]


def read_index(path: Path) -> Index:
    """What a folder of evidence holds, checked."""
    found = read_object(path)
    if found.pop("format", None) != FORMAT:
        raise InputError(f"{path}: not evidence of format {FORMAT}; pack it anew with thinresnet study pack")
    return convert(Index, found, str(path))


def pack(graph: StudyGraph, store: Store, target: Path) -> int:
    """Copy what is finished of a study into its folder below `target`; returns how many stages there are.

    Copying again adds what has been finished since.
    """
    root = target / graph.study.name
    finished = [stage for stage in graph.stages.values() if store.finished(stage)]
    for stage in finished:
        folder = store.folder(stage)
        for path in sorted(path for name in _KEPT for path in folder.rglob(name)):
            place = root / "stages" / stage.folder / path.relative_to(folder)
            place.parent.mkdir(parents=True, exist_ok=True)
            write_atomically(place, published(path))
    index = Index(
        study=graph.study.name,
        about=graph.study.about,
        budgets={point.tag: {own.quantity: own.text for own in point.budgets} for point in graph.study.points},
        rows=tuple(_row(store, own) for own in graph.experiments),
    )
    write_atomically(root / INDEX, json.dumps({"format": FORMAT, **asdict(index)}, indent=1) + "\n")
    return len(finished)


def _row(store: Store, own: Experiment) -> PackedRow:
    return PackedRow(
        recipe=own.recipe,
        protocol=own.protocol,
        kind=PROTOCOLS[own.protocol].kind,
        label=PROTOCOLS[own.protocol].label.format(method=own.method),
        method=own.method,
        budget=own.point,
        finetuning=own.finetuning,
        distilled=own.distilled,
        planned=len(own.finals),
        seeds=tuple(tuple(_folders(store, Source(final))) for final in own.finals if store.finished(final)),
        timing=own.timing.folder if own.timing is not None and store.finished(own.timing) else None,
    )


def _folders(store: Store, final: Source) -> Iterator[str]:
    """The folders of a seed's stages as they lie in the evidence, each once."""
    seen: set[str] = set()
    for source in final.chain():
        path = str(store.path(source).relative_to(store.root))
        if source.stage.key not in seen:
            seen.add(source.stage.key)
            yield path
