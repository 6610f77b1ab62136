"""The table of a study, from what its stages have left: `study.json`, written anew after every run.

One row for each recipe, protocol, method and budget: the runs of its seeds, accuracy (mean, standard deviation and
number of seeds; last epoch), what the network costs, what it cost to train, and how fast it is.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from statistics import fmean, stdev
from typing import Any

from thinresnet.errors import InputError
from thinresnet.files import write_atomically
from thinresnet.pruning.folder import read_pruning
from thinresnet.studies.plan import Plan, Row, Source, Stage
from thinresnet.studies.stages import TIMING
from thinresnet.studies.store import Store
from thinresnet.training.result import PARTS, Result

FORMAT = 1
FILE = "study.json"


def write_table(plan: Plan, store: Store) -> None:
    """Write the table of what is finished."""
    study = plan.study
    about = {
        "format": FORMAT,
        "study": study.name,
        "about": study.about,
        "holdout": study.holdout,
        "seeds": list(study.seeds),
        "budgets": {point.tag: point.text for point in study.points},
        "notes": plan.notes,
        "rows": [_row(plan, store, row) for row in plan.rows],
    }
    write_atomically(store.root / FILE, json.dumps(about, indent=1, allow_nan=False) + "\n")


def read_table(root: Path) -> dict[str, Any]:
    """The table of a study that was run."""
    path = root / FILE
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise InputError(f"{path}: no such file; run the study first: thinresnet study run FILE") from None
    except (OSError, ValueError) as error:
        raise InputError(f"{path}: cannot be read: {error}") from None
    if not isinstance(found, dict) or found.get("format") != FORMAT:
        raise InputError(f"{path}: not the table of a study of format {FORMAT}")
    return found


def _row(plan: Plan, store: Store, row: Row) -> dict[str, Any]:
    finals = [stage for stage in row.finals if store.finished(stage)]
    results = [Result.read(store.folder(stage)) for stage in finals]
    bills = [_bill(store, stage) for stage in finals]
    scores = {
        part: _spread([score.top1 for result in results if (score := getattr(result, part)) is not None])
        for part in PARTS
    }
    return {
        "recipe": row.regime,
        "protocol": row.protocol,
        "method": row.pruner,
        "budget": row.point,
        "seeds": len(row.finals),
        "n": len(results),  # of them finished
        "arch": results[0].arch if results else None,
        "dataset": results[0].dataset if results else None,
        "top1": scores,  # by part: test, test_ema, holdout, holdout_ema
        "macs": _spread([result.macs for result in results]),
        "params": _spread([result.params for result in results]),
        "dense_macs": results[0].dense_macs if results else None,
        "dense_params": results[0].dense_params if results else None,
        "epochs": _spread([result.epochs for result in results]),
        # MACs to train: all stages that this network hangs on, and without the search that only gave it its shape.
        "bill": _spread([bill["all"] for bill in bills]),
        "bill_without_search": _spread([bill["weights"] for bill in bills]),
        "timing": _timing(store, row.timing),
        "runs": [stage.folder for stage in finals],
    }


def _spread(values: Sequence[float]) -> dict[str, float | None] | None:
    """Mean and standard deviation over the seeds; one seed has none."""
    if not values:
        return None
    return {"mean": fmean(values), "sd": stdev(values) if len(values) > 1 else None}


def _timing(store: Store, stage: Stage | None) -> dict[str, Any] | None:
    if stage is None or not store.finished(stage):
        return None
    return dict(json.loads((store.folder(stage) / TIMING).read_text(encoding="utf-8")))


def _bill(store: Store, final: Stage) -> dict[str, int]:
    """The training MACs of a run and of what went before it: of everything, and of what its weights come from."""
    own = _macs(store, Source(final))
    everything = dict(_before(store, final, only_weights=False))
    weights = dict(_before(store, final, only_weights=True))
    return {"all": own + sum(everything.values()), "weights": own + sum(weights.values())}


def _before(store: Store, stage: Stage, *, only_weights: bool) -> Iterator[tuple[tuple[str, str], int]]:
    for role, source in stage.inputs.items():
        # What a rewound or guided network takes from others is its shape.
        if only_weights and (role not in ("weights", "parent") or stage.kind == "shape"):
            continue
        yield (source.stage.key, source.output), _macs(store, source)
        yield from _before(store, source.stage, only_weights=only_weights)


def _macs(store: Store, source: Source) -> int:
    """What one stage trained for, as it was counted while it did."""
    if source.stage.kind == "train":
        return Result.read(store.folder(source.stage)).training_macs
    if source.stage.kind == "prune":
        return int(read_pruning(store.path(source))["training_macs"])
    return 0
