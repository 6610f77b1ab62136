"""From a study to the board: a measured row for each finished experiment, with the evidence of every seed.

The board keeps the evidence (recipe, network, metrics, result; no weights) in folders beside itself. Studies do not
import the board: whoever calls hands over what adds rows.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from thinresnet.errors import InputError
from thinresnet.pruning.record import read_pruning
from thinresnet.result import Result
from thinresnet.studies.graph import StudyGraph
from thinresnet.studies.protocol import DENSE, FINETUNED, INITIAL, MASKED, OURS, REWOUND, SCALED, SCRATCH, SPARSE
from thinresnet.studies.stages import Prune, Source, Train
from thinresnet.studies.store import Store
from thinresnet.studies.summaries import Summary, summaries

# From a board (None: the usual one), and of each row the folders of its seeds and what no run knows, to new rows.
AddRuns = Callable[[Path | None, Sequence[tuple[Sequence[Path], Mapping[str, str]]]], Sequence[Any]]
_FAMILIES = {
    DENSE: "dense", SCALED: "scaled", FINETUNED: "pruned", REWOUND: "pruned", SCRATCH: "scratch", OURS: "scratch",
    INITIAL: "init", MASKED: "init", SPARSE: "pruned",
}  # fmt: skip
_LONGEST_NOTE = 400


def export(graph: StudyGraph, store: Store, add_runs: AddRuns, *, board: Path | None = None) -> list[str]:
    """Add every experiment whose seeds are all finished to the board; returns what happened, line by line."""
    found = summaries(graph, store)
    whole = [summary for summary in found if len(summary.results) == summary.planned]
    if not whole:
        raise InputError(f"study {graph.study.name}: no experiment has all its seeds; `thinresnet study run` it first")
    once: dict[tuple[str, ...], Summary] = {}  # the dense network is the same with and without distillation
    for summary in whole:
        once.setdefault(tuple(stage.key for stage in summary.stages), summary)
    added = add_runs(board, [(summary.folders, values(graph, store, summary)) for summary in once.values()])
    stood, waiting = len(once) - len(added), len(found) - len(whole)
    return [*(f"added {entry.id}" for entry in added), f"{stood} stood there already, {waiting} wait for seeds"]


def values(graph: StudyGraph, store: Store, summary: Summary) -> dict[str, str]:
    """What the runs of an experiment do not know of themselves, as columns of the board."""
    family = _FAMILIES[summary.kind]
    point = f", {summary.point}" if summary.point else ""
    about = f"study {graph.study.name}: {summary.experiment.protocol}{point}, recipe {summary.experiment.recipe}"
    cost = f"; {summary.training_macs_with_search:.3e} MACs of training with the search"
    found = {
        "method": f"{summary.name}{point}, {summary.experiment.recipe}",
        "family": family,
        "note": f"{about}{'' if summary.kind in (DENSE, SCALED) else cost}"[:_LONGEST_NOTE],
    }
    if family == "pruned":
        dense, pruning = _epochs_before(store, summary)
        found["prune_epochs"] = str(pruning)
        if dense is not None:  # networks that were pruned while they trained from scratch have no dense parent
            found["dense_epochs"] = str(dense)
    if family == "pruned" or summary.experiment.distilled:  # the dense parent's training is part of theirs
        found["training_macs_printed_g"] = f"{summary.training_macs_with_search / 1e9:.6f}"
    return found


def _epochs_before(store: Store, summary: Summary) -> tuple[int | None, int]:
    """Epochs of the dense parent (None: there is none), and those of pruning and in between; the most of any seed."""
    dense: int | None = None
    pruning = 0.0
    for final in summary.stages:
        own = 0.0
        for source in {
            before.stage.key: before for before in Source(final).chain() if before.stage is not final
        }.values():
            stage, folder = source.stage, store.path(source)
            if isinstance(stage, Prune):
                own += read_pruning(folder).images_seen / summary.results[0].images_train
            elif isinstance(stage, Train):
                epochs = Result.read(folder).epochs
                own, dense = (own + epochs, dense) if stage.inputs else (own, max(dense or 0, epochs))
        pruning = max(pruning, own)
    return dense, math.ceil(pruning)
