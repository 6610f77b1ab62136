"""From a study onto the board: a measured row for each finished line, with the evidence of every seed.

The board keeps the evidence (recipe, network, metrics, result; no weights) in folders beside itself. This room does not
know the board: whoever calls hands over what adds rows.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from thinresnet.errors import InputError
from thinresnet.files import read_object
from thinresnet.runs import RESULT_FILE
from thinresnet.studies.plan import Plan, Source
from thinresnet.studies.store import Store
from thinresnet.studies.table import (
    CROPPED,
    DENSE,
    MASKED,
    OURS,
    REWOUND,
    SCALED,
    SCRATCH,
    TUNED,
    Line,
    chain,
    lines,
)

# From a board (None: the usual one), and of each row the folders of its seeds and what no run knows, to new rows.
AddRuns = Callable[[Path | None, Sequence[tuple[Sequence[Path], Mapping[str, str]]]], Sequence[Any]]
_FAMILIES = {
    DENSE: "dense", SCALED: "scaled", TUNED: "pruned", REWOUND: "pruned", SCRATCH: "scratch", OURS: "scratch",
    CROPPED: "init", MASKED: "init",
}  # fmt: skip
_LONGEST_NOTE = 400


def export(plan: Plan, store: Store, add_runs: AddRuns, *, board: Path | None = None) -> list[str]:
    """Put every line whose seeds are all finished on the board; returns what happened, line by line."""
    found = lines(plan, store)
    whole = [line for line in found if len(line.results) == line.planned]
    if not whole:
        raise InputError(f"study {plan.study.name}: no line has all its seeds; `thinresnet study run` it first")
    added = add_runs(board, [(line.folders, values(plan, store, line)) for line in whole])
    stood, waiting = len(whole) - len(added), len(found) - len(whole)
    return [*(f"added {entry.id}" for entry in added), f"{stood} stood there already, {waiting} wait for seeds"]


def values(plan: Plan, store: Store, line: Line) -> dict[str, str]:
    """What the runs of a line do not know of themselves, as columns of the board."""
    family = _FAMILIES[line.kind]
    point = f", {line.point}" if line.point else ""
    about = f"study {plan.study.name}: {line.row.protocol}{point}, recipe {line.row.regime}"
    bill = "" if line.kind in (DENSE, SCALED) else f"; {line.bill:.3e} MACs of training with the search"
    found = {
        "method": f"{line.name}{point}, {line.row.regime}",
        "family": family,
        "note": f"{about}{bill}"[:_LONGEST_NOTE],
    }
    if family == "pruned":
        found["dense_epochs"], found["prune_epochs"] = (str(epochs) for epochs in _epochs_before(store, line))
        found["training_macs_printed_g"] = f"{line.bill / 1e9:.6f}"
    return found


def _epochs_before(store: Store, line: Line) -> tuple[int, int]:
    """Epochs of the dense parent, and those that pruning and what was trained in between took; the most of any seed."""
    dense, pruning = 0, 0.0
    for final in line.stages:
        own = 0.0
        seen: set[str] = set()
        for source in chain(Source(final)):
            stage = source.stage
            if stage is final or stage.key in seen:
                continue
            seen.add(stage.key)
            if stage.kind == "train" and not stage.inputs:
                dense = max(dense, int(read_object(store.path(source) / RESULT_FILE)["epochs"]))
            elif stage.kind == "train":
                own += int(read_object(store.path(source) / RESULT_FILE)["epochs"])
            elif stage.kind == "prune":
                own += read_object(store.path(source) / "pruning.json")["images_seen"] / line.results[0]["images_train"]
        pruning = max(pruning, own)
    return dense, math.ceil(pruning)
