"""The results of a study: a summary of each experiment, with means, deviations, costs and training costs.

A network that several experiments trained alike is one row with all their names: `distinct` puts them together.
"""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from functools import cached_property
from pathlib import Path
from typing import Any

from thinresnet.budget import Costs
from thinresnet.network import Network
from thinresnet.networks import read_network
from thinresnet.result import Result, Score
from thinresnet.studies.graph import Experiment, StudyGraph
from thinresnet.studies.protocol import DENSE, SCALED
from thinresnet.studies.protocols import BASELINE, PROTOCOLS
from thinresnet.studies.shapes import Scaling, uniform_scaling
from thinresnet.studies.stages import Source, Stage
from thinresnet.studies.stages.timing import read_timing
from thinresnet.studies.store import Store

UNSTEADY = "unsteady"  # what is said of a latency that was measured beside other work
_MOST_NAMES = 2  # in the label of a mark
_UNSTEADY = 0.25  # quartiles so far apart, as a share of the median: the machine was busy with something else


@dataclass(frozen=True)
class Summary:
    """An experiment over its seeds, as far as they are finished."""

    experiment: Experiment
    point: str  # where it is compared, for people; empty for the dense network
    limit: Costs  # of MACs and parameters at its point
    bounded: frozenset[str]  # what the budgets of its point bound
    dense: Costs
    planned: int  # seeds
    stages: tuple[Stage, ...]  # those of the finished seeds
    folders: tuple[Path, ...]
    results: tuple[Result, ...]
    costs_with_search: tuple[int, ...]  # training MACs of each seed, with dense parent and pruning where it needs them
    timing: Mapping[str, Any] | None
    also: tuple[Summary, ...] = ()  # experiments that trained the same network in the same way

    @property
    def kind(self) -> str:
        """What sort of thing it is."""
        return PROTOCOLS[self.experiment.protocol].kind

    @property
    def name(self) -> str:
        """What it is called."""
        name = PROTOCOLS[self.experiment.protocol].label.format(method=self.experiment.method)
        name = f"{name} ({self.experiment.finetuning})" if self.experiment.finetuning else name
        return f"{name}, distilled" if self.experiment.distilled else name

    @property
    def label(self) -> str:
        """What its mark in a chart is called: each of its names once."""
        called = list(dict.fromkeys(each.name for each in (self, *self.also)))
        named = " = ".join(called[:_MOST_NAMES])
        return named if len(called) <= _MOST_NAMES else f"{named} = {len(called) - _MOST_NAMES} more"

    @property
    def names(self) -> str:
        """What it is called, by every experiment, and by the scaling that its shape is."""
        scaling = None if any(each.kind in (DENSE, SCALED) for each in (self, *self.also)) else self.scaling
        called = list(dict.fromkeys(each.name for each in (self, *self.also)))
        return " = ".join(called if scaling is None else [*called, str(scaling)])

    @cached_property
    def networks(self) -> tuple[Network, ...]:
        """The networks of the finished seeds."""
        return tuple(read_network(folder) for folder in self.folders)

    @cached_property
    def scaling(self) -> Scaling | None:
        """The uniform scaling that its shape is, of every seed; None where there is none."""
        networks = {network.sha256: network for network in self.networks}
        scalings = [uniform_scaling(network, self.dense.macs) for network in networks.values()]
        found = {str(scaling): scaling for scaling in scalings}
        return next(iter(found.values())) if len(found) == 1 else None

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
        return UNSTEADY if max(spreads) > _UNSTEADY else f"{1 / self.timing['network']['time_ratio']:.2f}x"

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


def distinct(found: Sequence[Summary], *, across_points: bool = False) -> list[Summary]:
    """The summaries with those of one network put together: the same channels, trained from scratch alike.

    Plain width comes first, and then the one that took the least training to find: its costs are the row's.
    `across_points`: for charts against a cost, where one training at two points is one mark, whatever it began with.
    """
    alike: dict[object, list[Summary]] = {}
    for number, summary in enumerate(found):
        alike.setdefault(_trained(summary, across_points) or number, []).append(summary)
    rows = []
    for own in alike.values():
        first, *others = sorted(own, key=_preference) if len(own) > 1 else own
        also = (*first.also, *(each for other in others for each in (other, *other.also)))
        rows.append(replace(first, also=also) if others else first)
    return rows


def _preference(summary: Summary) -> tuple[bool, float]:
    return summary.experiment.protocol != BASELINE, summary.training_macs_with_search


def _trained(summary: Summary, across_points: bool) -> object:
    """What was trained, and how: equal where the outcome is the same; None where weights were there before.

    Across points, weights or not: the run folders, which are the same where it was one training.
    """
    own = summary.experiment
    if not summary.results:
        return None
    if any(result.initial_checkpoint is not None for result in summary.results):
        return (own.recipe, summary.folders) if across_points else None
    seeds = [(own.seed, own.network_sha256, own.recipe_hash, own.training_macs) for own in summary.results]
    return own.recipe, "" if across_points else own.point, own.distilled, summary.planned, tuple(seeds)


def groups(found: Sequence[Summary]) -> dict[str, dict[str, list[Summary]]]:
    """By recipe and then by point (empty: dense), best first; summaries without results last."""
    grouped: dict[str, dict[str, list[Summary]]] = {}
    for summary in found:
        grouped.setdefault(summary.experiment.recipe, {}).setdefault(summary.point, []).append(summary)
    for by_point in grouped.values():
        for own in by_point.values():
            own.sort(key=lambda summary: summary.top1.mean if summary.top1 else -1.0, reverse=True)
    return grouped


def _summary(graph: StudyGraph, store: Store, experiment: Experiment) -> Summary:
    done = [final for final in experiment.finals if store.finished(final)]
    folders = tuple(store.folder(final) for final in done)
    timed = experiment.timing is not None and store.finished(experiment.timing)
    return Summary(
        experiment=experiment,
        point=next((point.text for point in graph.study.points if point.tag == experiment.point), ""),
        limit=_limit(graph, experiment),
        bounded=_bounded(graph, experiment),
        dense=experiment.dense,
        planned=len(experiment.finals),
        stages=tuple(done),
        folders=folders,
        results=tuple(Result.read(folder) for folder in folders),
        costs_with_search=tuple(_cost_with_search(store, final, experiment) for final in done),
        timing=read_timing(store.folder(experiment.timing)) if experiment.timing and timed else None,
    )


def _limit(graph: StudyGraph, experiment: Experiment) -> Costs:
    """What may be spent at the row's point; a list of counts that a paper prescribes is not bounded."""
    most = experiment.dense._asdict()
    for point in graph.study.points:
        for own in point.budgets if point.tag == experiment.point else ():
            if own.quantity in most:  # a latency is kept by prediction, when the network is found
                most[own.quantity] = min(most[own.quantity], own.limit(getattr(experiment.dense, own.quantity)))
    return Costs(**most)


def _bounded(graph: StudyGraph, experiment: Experiment) -> frozenset[str]:
    """The quantities that the row's point bounds; a paper's list is held against plain width of as many MACs."""
    points = [point for point in graph.study.points if point.tag == experiment.point]
    return frozenset(own.quantity for point in points for own in point.budgets) or frozenset({"macs"} if points else ())


def _cost_with_search(store: Store, final: Stage, experiment: Experiment) -> int:
    """Training MACs of a stage and of all that it depends on, each stage once; of what seeds share, its share."""
    spent: dict[str, int] = {}
    for source in Source(final).chain():
        stage = source.stage
        spent[stage.key] = max(spent.get(stage.key, 0), stage.spent(store.path(source)))
    return round(sum(Fraction(cost, experiment.shared_by[key]) for key, cost in spent.items()))


def scientific(macs: float) -> str:
    """`1.25e15`: training MACs go beyond every unit that people know."""
    return f"{macs:.2e}".replace("e+", "e")
