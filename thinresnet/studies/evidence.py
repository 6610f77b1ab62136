"""What is kept of a study's finished stages: small files, no weights, and which of them are one row of its tables.

From such a folder alone every figure of the tables can be made again, by anyone and without the images.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from thinresnet.files import write_atomically
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
    index = {
        "format": FORMAT,
        "study": graph.study.name,
        "about": graph.study.about,
        "budgets": {point.tag: {own.quantity: own.text for own in point.budgets} for point in graph.study.points},
        "rows": [_row(store, own) for own in graph.experiments],
    }
    write_atomically(root / INDEX, json.dumps(index, indent=1) + "\n")
    return len(finished)


def _row(store: Store, own: Experiment) -> dict[str, Any]:
    """One row: what it is, and the folders that each of its finished seeds consists of, its own first."""
    return {
        "recipe": own.recipe,
        "protocol": own.protocol,
        "kind": PROTOCOLS[own.protocol].kind,
        "label": PROTOCOLS[own.protocol].label.format(method=own.method),
        "method": own.method,
        "budget": own.point,
        "finetuning": own.finetuning,
        "distilled": own.distilled,
        "planned": len(own.finals),
        "seeds": [list(_folders(store, Source(final))) for final in own.finals if store.finished(final)],
        "timing": own.timing.folder if own.timing is not None and store.finished(own.timing) else None,
    }


def _folders(store: Store, final: Source) -> Iterator[str]:
    """The folders of a seed's stages as they lie in the evidence, each once."""
    seen: set[str] = set()
    for source in final.chain():
        path = str(store.path(source).relative_to(store.root))
        if source.stage.key not in seen:
            seen.add(source.stage.key)
            yield path
