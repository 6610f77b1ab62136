"""The results of a study: a summary of each experiment, with means, deviations, costs and training costs.

The verdict holds an experiment against plain width at the same point under the same recipe: the one reference that was
chosen before anything was measured. Where the intervals of one standard deviation around the means overlap it is a
tie; where one of the two has a single seed there is no interval and no verdict.
"""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from thinresnet.budget import Costs
from thinresnet.files import read_object
from thinresnet.result import Result, Score
from thinresnet.studies.graph import Experiment, StudyGraph
from thinresnet.studies.protocols import BASELINE, PROTOCOLS
from thinresnet.studies.stages import Source, Stage
from thinresnet.studies.stages.timing import TIMING
from thinresnet.studies.store import Store

_MORE = 1.05  # times the training of the bar: what wins with more than that is said to
_UNSTEADY = 0.25  # quartiles so far apart, as a share of the median: the machine was busy with something else


@dataclass(frozen=True)
class Summary:
    """An experiment over its seeds, as far as they are finished."""

    experiment: Experiment
    point: str  # where it is compared, for people; empty for the dense network
    limit: Costs  # of MACs and parameters at its point
    dense: Costs
    planned: int  # seeds
    stages: tuple[Stage, ...]  # those of the finished seeds
    folders: tuple[Path, ...]
    results: tuple[Result, ...]
    costs_with_search: tuple[int, ...]  # training MACs of each seed, with dense parent and pruning where it needs them
    timing: Mapping[str, Any] | None

    @property
    def kind(self) -> str:
        """What sort of thing it is."""
        return PROTOCOLS[self.experiment.protocol].kind

    @property
    def name(self) -> str:
        """What it is called."""
        name = PROTOCOLS[self.experiment.protocol].label.format(method=self.experiment.method)
        return f"{name}, distilled" if self.experiment.distilled else name

    @property
    def macs(self) -> int:
        """MACs; of the costliest seed, where each has a shape of its own."""
        return max(result.macs for result in self.results)

    @property
    def params(self) -> int:
        """Parameters, likewise."""
        return max(result.params for result in self.results)

    @property
    def training_macs(self) -> float:
        """Training MACs of the last training alone, mean over the seeds."""
        return statistics.fmean(result.training_macs for result in self.results)

    @property
    def training_macs_with_search(self) -> float:
        """Training MACs of everything that it takes to get there, mean over the seeds."""
        return statistics.fmean(self.costs_with_search)

    @property
    def speedup(self) -> str:
        """How many times faster than dense one batch is where it was timed; nothing where it was not."""
        if self.timing is None:
            return ""
        spreads = [
            own["latency_spread_ms"] / own["latency_ms"] for own in (self.timing["dense"], self.timing["network"])
        ]
        return "unsteady" if max(spreads) > _UNSTEADY else f"{1 / self.timing['network']['time_ratio']:.2f}x"

    @cached_property
    def top1(self) -> Spread | None:
        """On the test set, after the last epoch."""
        return _spread([result.test for result in self.results])

    @cached_property
    def top1_ema(self) -> Spread | None:
        """The same of the averaged weights, where the recipe keeps them."""
        return _spread([result.test_ema for result in self.results])

    @cached_property
    def holdout(self) -> Spread | None:
        """On what was held out of the training set, where something was."""
        return _spread([result.holdout for result in self.results])

    @property
    def spreads(self) -> dict[str, Spread | None]:
        """Every accuracy, by the name of its key."""
        return {"top1": self.top1, "top1_ema": self.top1_ema, "holdout": self.holdout}


@dataclass(frozen=True)
class Spread:
    """Percentages over seeds."""

    values: tuple[float, ...]

    @property
    def mean(self) -> float:
        """Their mean."""
        return statistics.fmean(self.values)

    @property
    def deviation(self) -> float | None:
        """Their sample standard deviation; None of a single one."""
        return statistics.stdev(self.values) if len(self.values) > 1 else None

    @property
    def interval(self) -> tuple[float, float]:
        """One standard deviation to both sides."""
        return self.mean - (self.deviation or 0.0), self.mean + (self.deviation or 0.0)

    def __str__(self) -> str:
        spread = "" if self.deviation is None else f" ± {self.deviation:.2f}"
        return f"{self.mean:.2f}{spread}"


def _spread(scores: Sequence[Score | None]) -> Spread | None:
    values = tuple(score.top1 for score in scores if score is not None)
    return Spread(values) if values else None


def summaries(graph: StudyGraph, store: Store) -> list[Summary]:
    """The summaries of a study in the order of its plan; those without a finished seed have no results."""
    return [_summary(graph, store, experiment) for experiment in graph.experiments]


def as_records(found: Sequence[Summary]) -> list[dict[str, Any]]:
    """The summaries as JSON values."""
    return [_record(summary, found) for summary in found]


def groups(found: Sequence[Summary]) -> dict[str, dict[str, list[Summary]]]:
    """By recipe and then by point (empty: dense), best first; summaries without results last."""
    grouped: dict[str, dict[str, list[Summary]]] = {}
    for summary in found:
        grouped.setdefault(summary.experiment.recipe, {}).setdefault(summary.point, []).append(summary)
    for by_point in grouped.values():
        for own in by_point.values():
            own.sort(key=lambda summary: summary.top1.mean if summary.top1 else -1.0, reverse=True)
    return grouped


def bar_of(summary: Summary, found: Sequence[Summary]) -> Summary | None:
    """Plain width at the same point under the same recipe, if it is there and finished."""
    for other in found:
        one, own = other.experiment, summary.experiment
        if one.protocol == BASELINE and (one.recipe, one.point) == (own.recipe, own.point) and other.top1:
            return other
    return None


def verdict(summary: Summary, found: Sequence[Summary]) -> str:
    """What a summary is worth against plain width, in words."""
    if summary.top1 is None:
        return "not finished"
    if summary.experiment.protocol == BASELINE:
        return "the bar"
    bar = bar_of(summary, found)
    if summary.experiment.point is None or bar is None or bar.top1 is None:
        return ""
    if any(cost > most for cost, most in zip((summary.macs, summary.params), summary.limit, strict=True)):
        return "not judged: it costs more than the budget"
    gap = summary.top1.mean - bar.top1.mean
    if summary.top1.deviation is None or bar.top1.deviation is None:
        return f"{gap:+.2f} against plain width; one seed, no verdict"
    (low, high), (bar_low, bar_high) = summary.top1.interval, bar.top1.interval
    if low <= bar_high and bar_low <= high:
        return f"tie ({gap:+.2f})"
    if gap < 0:
        return f"loses by {-gap:.2f}"
    times = summary.training_macs_with_search / bar.training_macs_with_search
    return f"clears the bar by {gap:.2f}" + (f" at {times:.1f}x its training" if times > _MORE else "")


def _record(summary: Summary, found: Sequence[Summary]) -> dict[str, Any]:
    done = bool(summary.results)
    return {
        "recipe": summary.experiment.recipe,
        "point": summary.point or None,
        "protocol": summary.experiment.protocol,
        "method": summary.experiment.method,
        "kind": summary.kind,
        "name": summary.name,
        "verdict": verdict(summary, found),
        "seeds": [result.seed for result in summary.results],
        "seeds_planned": summary.planned,
        **{key: _numbers(spread) for key, spread in summary.spreads.items()},
        "macs": summary.macs if done else None,
        "params": summary.params if done else None,
        "macs_limit": summary.limit.macs,
        "params_limit": summary.limit.params,
        "dense_macs": summary.dense.macs,
        "dense_params": summary.dense.params,
        "training_macs": summary.training_macs if done else None,
        "training_macs_with_search": summary.training_macs_with_search if done else None,
        "timing": summary.timing,
        "folders": [folder.name for folder in summary.folders],
    }


def _numbers(spread: Spread | None) -> dict[str, Any] | None:
    if spread is None:
        return None
    return {"mean": spread.mean, "deviation": spread.deviation, "values": list(spread.values)}


def _summary(graph: StudyGraph, store: Store, experiment: Experiment) -> Summary:
    done = [final for final in experiment.finals if store.finished(final)]
    folders = tuple(store.folder(final) for final in done)
    timed = experiment.timing is not None and store.finished(experiment.timing)
    return Summary(
        experiment=experiment,
        point=next((point.text for point in graph.study.points if point.tag == experiment.point), ""),
        limit=_limit(graph, experiment),
        dense=experiment.dense,
        planned=len(experiment.finals),
        stages=tuple(done),
        folders=folders,
        results=tuple(Result.read(folder) for folder in folders),
        costs_with_search=tuple(_cost_with_search(store, final) for final in done),
        timing=read_object(store.folder(experiment.timing) / TIMING) if experiment.timing and timed else None,
    )


def _limit(graph: StudyGraph, experiment: Experiment) -> Costs:
    """What may be spent at the row's point; a list of counts that a paper prescribes is not bounded."""
    most = experiment.dense._asdict()
    for point in graph.study.points:
        for own in point.budgets if point.tag == experiment.point else ():
            most[own.quantity] = min(most[own.quantity], own.limit(getattr(experiment.dense, own.quantity)))
    return Costs(**most)


def _cost_with_search(store: Store, final: Stage) -> int:
    """Training MACs of a stage and of all that it depends on, each stage once."""
    spent: dict[str, int] = {}
    for source in Source(final).chain():
        stage = source.stage
        spent[stage.key] = max(spent.get(stage.key, 0), stage.spent(store.path(source)))
    return sum(spent.values())


def scientific(macs: float) -> str:
    """`1.25e15`: training MACs go beyond every unit that people know."""
    return f"{macs:.2e}".replace("e+", "e")
