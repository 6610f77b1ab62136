"""The results of a study as JSON values."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from thinresnet.studies.summaries import Spread, Summary
from thinresnet.studies.verdicts import dense_training_macs, verdicts


def as_records(found: Sequence[Summary]) -> list[dict[str, Any]]:
    """The summaries as JSON values."""
    return [_record(summary, found) for summary in found]


def _record(summary: Summary, found: Sequence[Summary]) -> dict[str, Any]:
    experiment = summary.experiment
    return {
        "recipe": experiment.recipe,
        "point": summary.point or None,
        "protocol": experiment.protocol,
        "method": experiment.method,
        "distilled": experiment.distilled,
        "kind": summary.kind,
        "name": summary.name,
        "names": summary.names,
        "scaling": None if summary.scaling is None else vars(summary.scaling),
        "also": [_other(other) for other in summary.also],
        "verdicts": {cost: own.record for cost, own in verdicts(summary, found).items()},
        "seeds": [result.seed for result in summary.results],
        "seeds_planned": summary.planned,
        **{key: _numbers(spread) for key, spread in summary.spreads.items()},
        **_costs(summary, found),
        "timing": summary.timing,
        "folders": [folder.name for folder in summary.folders],
    }


def _costs(summary: Summary, found: Sequence[Summary]) -> dict[str, Any]:
    done, dense_training = bool(summary.results), dense_training_macs(summary, found)
    total = summary.experiment.total_macs
    shared = done and dense_training is not None
    return {
        "macs": summary.macs if done else None,
        "params": summary.params if done else None,
        "macs_limit": summary.limit.macs,
        "params_limit": summary.limit.params,
        "dense_macs": summary.dense.macs,
        "dense_params": summary.dense.params,
        "macs_share": summary.macs / summary.dense.macs if done else None,
        "params_share": summary.params / summary.dense.params if done else None,
        "training_macs": summary.training_macs if done else None,
        "training_macs_with_search": summary.training_macs_with_search if done else None,
        "dense_training_macs": dense_training,
        "total_training_macs": total,
        "total_training_macs_left": total - summary.training_macs_with_search if done and total else None,
        "training_share": summary.training_macs_with_search / dense_training if shared and dense_training else None,
    }


def _other(summary: Summary) -> dict[str, Any]:
    """An experiment that trained the network of another row."""
    return {
        "protocol": summary.experiment.protocol,
        "method": summary.experiment.method,
        "finetuning": summary.experiment.finetuning or None,
        "name": summary.name,
        "training_macs_with_search": summary.training_macs_with_search,
        "folders": [folder.name for folder in summary.folders],
    }


def _numbers(spread: Spread | None) -> dict[str, Any] | None:
    if spread is None:
        return None
    return {"mean": spread.mean, "deviation": spread.deviation, "values": list(spread.values)}
