"""What the finished runs of a study came to: a line for each row of its plan, with means, deviations, costs and bills.

The verdict holds a line against plain width at the same point under the same recipe: the one reference that was chosen
before anything was measured. Where the intervals of one standard deviation around the means overlap it is a tie; where
one of the two has a single seed there is no interval and no verdict.
"""

from __future__ import annotations

import statistics
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from thinresnet.files import read_object
from thinresnet.networks.fitting import Costs
from thinresnet.pruning.folder import read_pruning
from thinresnet.pruning.initialisation.folder import FILE as DENSITIES
from thinresnet.runs import RESULT_FILE
from thinresnet.studies.plan import FORWARD_AND_BACKWARD, Plan, Row, Source, Stage
from thinresnet.studies.stages import TIMING
from thinresnet.studies.store import Store

BAR = "scaled-width"
DENSE, SCALED, TUNED, SCRATCH, REWOUND, OURS, CROPPED, MASKED = (
    "dense", "scaled", "pruned and tuned", "pruned shape, from scratch", "pruned shape, rewound",
    "pruned shape, by our rules", "cropped at initialisation", "masked at initialisation",
)  # fmt: skip
KINDS = (DENSE, SCALED, TUNED, SCRATCH, REWOUND, OURS, CROPPED, MASKED)
_MORE = 1.05  # times the training of the bar: what wins with more than that is said to
_UNSTEADY = 0.25  # quartiles so far apart, as a share of the median: the machine was busy with something else
# What a protocol makes, and what a line of it is called.
PROTOCOLS: Mapping[str, tuple[str, str]] = {
    "dense": (DENSE, "dense"),
    "scaled-width": (SCALED, "plain width"),
    "scaled-width-b": (SCALED, "plain width, as much training as dense"),
    "scaled-interior": (SCALED, "interior width"),
    "scaled-depth": (SCALED, "depth"),
    "scaled-resolution": (SCALED, "resolution"),
    "prune-tune": (TUNED, "{method}, tuned"),
    "prune-tune-iterative": (TUNED, "{method}, tuned in steps"),
    "scratch-e": (SCRATCH, "{method}, Scratch-E"),
    "scratch-b": (SCRATCH, "{method}, Scratch-B"),
    "scratch-b-2x": (SCRATCH, "{method}, Scratch-B up to 2x"),
    "rewind": (REWOUND, "{method}, rewound"),
    "at-init": (CROPPED, "{method}, cropped at initialisation"),
    "at-init-weights": (MASKED, "{method}, weights masked at the crop's densities"),
    "at-init-filters": (MASKED, "{method}, filters masked at the crop's densities"),
    "at-init-masks": (MASKED, "{method}, its own masks"),
    "family": (OURS, "{method}, family (our rule)"),
    "guided": (OURS, "{method}, guided (our rule)"),
    "transfer": (OURS, "{method}, transferred (our rule)"),
}


@dataclass(frozen=True)
class Line:
    """One line: the same thing under several seeds, as far as they are finished."""

    row: Row
    point: str  # where it is compared, for people; empty for the dense network
    limit: Costs  # of MACs and parameters at its point
    dense: Costs
    planned: int  # seeds
    stages: tuple[Stage, ...]  # those of the finished seeds
    folders: tuple[Path, ...]
    results: tuple[Mapping[str, Any], ...]
    bills: tuple[int, ...]  # training MACs of each seed, dense parent and pruning included where it needs them
    timing: Mapping[str, Any] | None

    @property
    def kind(self) -> str:
        """What sort of thing it is."""
        return PROTOCOLS[self.row.protocol][0]

    @property
    def name(self) -> str:
        """What it is called."""
        return PROTOCOLS[self.row.protocol][1].format(method=self.row.pruner)

    @property
    def macs(self) -> int:
        """MACs; of the costliest seed, where each has a shape of its own."""
        return max(int(result["macs"]) for result in self.results)

    @property
    def params(self) -> int:
        """Parameters, likewise."""
        return max(int(result["params"]) for result in self.results)

    @property
    def own_bill(self) -> float:
        """Training MACs of the last training alone, mean over the seeds."""
        return statistics.fmean(result["training_macs"] for result in self.results)

    @property
    def bill(self) -> float:
        """Training MACs of everything that it takes to get there, mean over the seeds."""
        return statistics.fmean(self.bills)

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
        return self._spread("top1_test")

    @cached_property
    def top1_ema(self) -> Spread | None:
        """The same of the averaged weights, where the recipe keeps them."""
        return self._spread("top1_test_ema")

    @cached_property
    def holdout(self) -> Spread | None:
        """On what was held out of the training set, where something was."""
        return self._spread("top1_holdout")

    @property
    def spreads(self) -> dict[str, Spread | None]:
        """Every accuracy, by the name of its key."""
        return {"top1": self.top1, "top1_ema": self.top1_ema, "holdout": self.holdout}

    def _spread(self, key: str) -> Spread | None:
        values = [float(result[key]) for result in self.results if result[key] is not None]
        return Spread(tuple(values)) if values else None


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


def lines(plan: Plan, store: Store) -> list[Line]:
    """The lines of a study in the order of its plan; those without a finished seed have no results."""
    return [_line(plan, store, row) for row in plan.rows]


def as_records(found: Sequence[Line]) -> list[dict[str, Any]]:
    """The lines as JSON values."""
    return [_record(line, found) for line in found]


def groups(found: Sequence[Line]) -> dict[str, dict[str, list[Line]]]:
    """By way of training and then by point (empty: dense), best first; lines without results last."""
    grouped: dict[str, dict[str, list[Line]]] = {}
    for line in found:
        grouped.setdefault(line.row.regime, {}).setdefault(line.point, []).append(line)
    for by_point in grouped.values():
        for own in by_point.values():
            own.sort(key=lambda line: line.top1.mean if line.top1 else -1.0, reverse=True)
    return grouped


def bar_of(line: Line, found: Sequence[Line]) -> Line | None:
    """Plain width at the same point under the same recipe, if it is there and finished."""
    for other in found:
        same = (other.row.regime, other.row.point) == (line.row.regime, line.row.point)
        if same and other.row.protocol == BAR and other.top1:
            return other
    return None


def verdict(line: Line, found: Sequence[Line]) -> str:
    """What a line is worth against plain width, in words."""
    if line.top1 is None:
        return "not finished"
    if line.row.protocol == BAR:
        return "the bar"
    bar = bar_of(line, found)
    if line.row.point is None or bar is None or bar.top1 is None:
        return ""
    if any(cost > most for cost, most in zip((line.macs, line.params), line.limit, strict=True)):
        return "not judged: it costs more than the budget"
    gap = line.top1.mean - bar.top1.mean
    if line.top1.deviation is None or bar.top1.deviation is None:
        return f"{gap:+.2f} against plain width; one seed, no verdict"
    (low, high), (bar_low, bar_high) = line.top1.interval, bar.top1.interval
    if low <= bar_high and bar_low <= high:
        return f"tie ({gap:+.2f})"
    if gap < 0:
        return f"loses by {-gap:.2f}"
    times = line.bill / bar.bill
    return f"clears the bar by {gap:.2f}" + (f" at {times:.1f}x its training" if times > _MORE else "")


def _record(line: Line, found: Sequence[Line]) -> dict[str, Any]:
    done = bool(line.results)
    return {
        "recipe": line.row.regime,
        "point": line.point or None,
        "protocol": line.row.protocol,
        "method": line.row.pruner,
        "kind": line.kind,
        "name": line.name,
        "verdict": verdict(line, found),
        "seeds": [result["seed"] for result in line.results],
        "seeds_planned": line.planned,
        **{key: _numbers(spread) for key, spread in line.spreads.items()},
        "macs": line.macs if done else None,
        "params": line.params if done else None,
        "macs_limit": line.limit[0],
        "params_limit": line.limit[1],
        "dense_macs": line.dense[0],
        "dense_params": line.dense[1],
        "training_macs": line.own_bill if done else None,
        "training_macs_with_search": line.bill if done else None,
        "timing": line.timing,
        "folders": [folder.name for folder in line.folders],
    }


def _numbers(spread: Spread | None) -> dict[str, Any] | None:
    if spread is None:
        return None
    return {"mean": spread.mean, "deviation": spread.deviation, "values": list(spread.values)}


def _line(plan: Plan, store: Store, row: Row) -> Line:
    done = [final for final in row.finals if store.finished(final)]
    folders = tuple(store.folder(final) for final in done)
    timed = row.timing is not None and store.finished(row.timing)
    return Line(
        row=row,
        point=next((point.text for point in plan.study.points if point.tag == row.point), ""),
        limit=_limit(plan, row),
        dense=row.dense,
        planned=len(row.finals),
        stages=tuple(done),
        folders=folders,
        results=tuple(read_object(folder / RESULT_FILE) for folder in folders),
        bills=tuple(_bill(store, final) for final in done),
        timing=read_object(store.folder(row.timing) / TIMING) if row.timing and timed else None,
    )


def _limit(plan: Plan, row: Row) -> Costs:
    """What may be spent at the row's point; a list of counts that a paper prescribes is not bounded."""
    macs, params = row.dense
    for point in plan.study.points:
        if point.tag == row.point:
            for own in point.budgets:
                if own.quantity == "macs":
                    macs = min(macs, own.limit(row.dense[0]))
                else:
                    params = min(params, own.limit(row.dense[1]))
    return macs, params


def _bill(store: Store, final: Stage) -> int:
    """Training MACs of a stage and of all that it goes on from, each stage once."""
    spent: dict[str, int] = {}
    for source in chain(Source(final)):
        key = source.stage.key
        spent[key] = max(spent.get(key, 0), _spent(store, source))
    return sum(spent.values())


def chain(source: Source) -> Iterator[Source]:
    """What a stage left and everything that it goes on from; again where two ways lead to it."""
    yield source
    for before in source.stage.inputs.values():
        yield from chain(before)


def _spent(store: Store, source: Source) -> int:
    if source.stage.kind == "train":
        return int(read_object(store.path(source) / RESULT_FILE)["training_macs"])
    if source.stage.kind == "prune":
        return int(read_pruning(store.path(source))["training_macs"])
    if source.stage.kind == "crop":
        said = read_object(store.path(source) / DENSITIES)
        return FORWARD_AND_BACKWARD * int(said["parent_macs"]) * int(said["images_seen"])
    return 0
