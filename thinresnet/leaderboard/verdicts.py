"""Verdicts: an entry against the best simply scaled network that costs no more, and the board's headline.

The bar is made of networks that nobody searched or pruned: dense ones and uniform scalings in width or resolution,
trained on the data set alone, without a teacher. Which of them may be the bar is stated in every verdict. Two costs
count as equal where the rounding of the printed figures cannot tell them apart; so do two accuracies.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from copy import copy
from dataclasses import dataclass, field, replace
from decimal import Decimal
from functools import cached_property
from pathlib import Path
from statistics import median
from typing import Any

from thinresnet.budget import Budget, short
from thinresnet.errors import InputError, nearest
from thinresnet.leaderboard import dense
from thinresnet.leaderboard.figures import half_digit
from thinresnet.leaderboard.schema import DATASETS, FLAGS, Entry, parse
from thinresnet.leaderboard.store import default_board, read_board

SAME_ARCHITECTURE, PLAIN_RESNETS, ANY_PLAIN_CNN = "same architecture", "plain ResNets", "any plain CNN"
REFERENCES = {
    SAME_ARCHITECTURE: "the row's own dense network, scaled in width or resolution",
    PLAIN_RESNETS: "ResNets of 18 to 101 layers with their d and t variants; on CIFAR 20 to 110 layers",
    ANY_PLAIN_CNN: "ResNets, ResNeXts, VGGs, DenseNets, Inceptions, MobileNets V1 and V2, ConvNeXts; nothing searched",
}
# MACs of training never stand alone: a cheaper training of a costlier network is another trade.
BUDGETS: Mapping[str, tuple[str, ...]] = {
    "MACs": ("macs",),
    "parameters": ("params",),
    "MACs and parameters": ("macs", "params"),
    "MACs and training MACs": ("macs", "training"),
}
LOSES, TIES, CLEARS, UNJUDGED = "loses", "ties", "clears the bar", "cannot be judged"
PRUNING = ("pruned", "init")
# Rounding is forgiven up to this share of a cost: "2x" or "4 G" is no licence to take a tenth more.
LARGEST_ROUNDING = 0.01
# To win against a network of half the cost says nothing about scaling: a near reference costs at least this share.
NEAR = 0.9

_PLAIN_RESNET = re.compile(r"resnet((18|26|34|50|101)([dt]|_cifar)?|(20|32|44|56|110)_cifar)")
_PLAIN_CNN = re.compile(
    r"(pre|wide_)?resnet(?!rs)(v2_?)?\d.*|wrn\d.*|resnext\d.*|vgg\d.*|densenet\w*|googlenet|inception\w*"
    r"|mobilenet_?v[12](_.*|\d*)|convnext_(atto|femto|pico|nano|tiny|small|base|large)"
)
# The columns whose rounding a derived cost inherits.
_COST_COLUMNS = ("cost_printed_g", "dense_cost_printed_g", "cost_kept_pct", "cost_cut_pct", "speedup_x")
_PARAMS_COLUMNS = ("params_printed_m", "dense_params_printed_m", "params_kept_pct", "params_cut_pct", "params_shrink_x")


def usual_references(arch: str) -> str:
    """The family that a network is held against first: plain ResNets for ResNets, its own scalings for the others."""
    return PLAIN_RESNETS if _PLAIN_RESNET.fullmatch(arch) else SAME_ARCHITECTURE


def family_named(text: str, arch: str) -> str:
    """The reference family that a user names (`plain-resnets`), or the usual one of `arch` where the name is empty."""
    names = {family.lower().replace(" ", "-"): family for family in REFERENCES}
    if not text:
        return usual_references(arch)
    slug = text.lower().replace(" ", "-")
    if slug not in names:
        raise InputError(f"--against {text}: one of {', '.join(names)}{nearest(slug, names)}")
    return names[slug]


def serves_as(arch: str, family: str, judged_arch: str) -> bool:
    """Whether a network of `arch` belongs to the reference family for a row of `judged_arch`."""
    if family == SAME_ARCHITECTURE:
        return arch == judged_arch
    return bool((_PLAIN_RESNET if family == PLAIN_RESNETS else _PLAIN_CNN).fullmatch(arch))


def may_be_the_bar(entry: Entry) -> bool:
    """Whether a row is a simply scaled network without any reservation: no search, pruning, teacher, data or flag."""
    return entry.family in ("dense", "scaled") and not (entry.teacher or entry.extra_data or entry.flags)


@dataclass(frozen=True)
class Cost:
    """A cost and how far the printed figures behind it may have been rounded."""

    value: float
    rounding: float

    def __le__(self, other: Cost) -> bool:
        """Costs no more, as far as the printed figures can tell."""
        return self.value - self.rounding <= other.value + other.rounding


class Point:
    """What a verdict looks at: one entry with its accuracy and, once they are asked for, its costs."""

    def __init__(self, entry: Entry) -> None:
        self.entry = entry
        self.top1 = entry.top1
        self._costs: dict[str, Cost | None] = {}

    @property
    def spread(self) -> Decimal:
        """Half the interval around the accuracy: its standard deviation where known, else the rounding in print."""
        entry = self.entry
        if entry.top1_std is not None:
            return entry.top1_std
        derived = [entry.dense_top1_printed, entry.top1_drop_printed]
        printed = derived if entry.top1_printed is None else [entry.top1_printed]
        return sum((half_digit(figure) for figure in printed if figure is not None), Decimal(0))

    def cost(self, quantity: str) -> Cost | None:
        """MACs in G, parameters in millions or training MACs; None where they are not known."""
        if quantity not in self._costs:
            self._costs[quantity] = self._training() if quantity == "training" else _cost(self.entry, quantity)
        return self._costs[quantity]

    def costs(self, budget: str) -> tuple[Cost, ...] | None:
        """What a budget bounds; None unless all of it is known."""
        known = [cost for cost in map(self.cost, BUDGETS[budget]) if cost]
        return tuple(known) if len(known) == len(BUDGETS[budget]) else None

    def preference(self) -> tuple[Decimal, float, str]:
        """Sorts the best reference first: by accuracy, then by what it costs."""
        macs_g = self.entry.macs_g
        return (-(self.top1 or Decimal(0)), float("inf") if macs_g is None else macs_g, self.entry.id)

    def _training(self) -> Cost | None:
        training = self.entry.training_macs
        if training is None:
            return None
        macs = self.cost("macs") if self.entry.training_macs_printed_g is None else None
        return Cost(training, training * macs.rounding / macs.value if macs else 0.0)


@dataclass(frozen=True)
class Verdict:
    """One entry against the best reference of one family under one budget."""

    entry: Entry
    family: str
    budget: str
    outcome: str
    known: bool = True
    why: str = ""
    reference: Entry | None = None
    gap: Decimal | None = None
    uncertainty: Decimal = Decimal(0)
    near: bool = True
    matched: tuple[Point, Point] | None = field(default=None, compare=False, repr=False)

    @property
    def says(self) -> str:
        """The verdict in one sentence."""
        if self.reference is None or self.gap is None:
            return f"{UNJUDGED} against {self.family} on {self.budget}: {self.why}"
        against = f"{describe(self.reference)}, the best of {self.family} at no more {self.budget}"
        if self.outcome == LOSES:
            return f"loses by {-self.gap} points to {against}"
        if self.outcome == TIES:
            return f"ties (gap {self.gap:+} within ±{self.uncertainty}) with {against}"
        if self.near:
            return f"clears the bar by {self.gap} points: {against}"
        return f"is not judged: {self.gap} points above {against}, but that costs less than {NEAR:.0%} as much"

    @property
    def rests_on(self) -> str:
        """Where the matched costs come from, and how far rounding was forgiven."""
        return _rests_on(*self.matched, self.budget) if self.matched else ""

    @property
    def settled(self) -> bool:
        """Whether a reference decides it: lost or tied anywhere below the cost, or cleared with a near one."""
        return self.outcome in (LOSES, TIES) or (self.outcome == CLEARS and self.near)


class Bar:
    """All references of a board, ready to be asked for verdicts."""

    def __init__(self, entries: Iterable[Entry]) -> None:
        points = (Point(entry) for entry in entries if may_be_the_bar(entry))
        ready = sorted((point for point in points if point.top1 is not None), key=Point.preference)
        self._by_dataset: dict[str, list[Point]] = {}
        for point in ready:
            self._by_dataset.setdefault(point.entry.dataset, []).append(point)
        self._frontiers: dict[tuple[str, str, str, str], list[Point]] = {}

    def verdict(self, entry: Entry, family: str = "", budget: str = "MACs") -> Verdict:
        """The entry against the best reference of `family` (its usual one if empty) within its own cost."""
        return self.judge(Point(entry), family, budget)

    def judge(self, point: Point, family: str = "", budget: str = "MACs") -> Verdict:
        """The verdict on a point whose costs have been worked out already."""
        family = family or usual_references(point.entry.arch)
        unjudged = Verdict(point.entry, family, budget, UNJUDGED)
        why, own = _why_not(point, budget), point.costs(budget)
        if why or own is None or point.top1 is None:
            return replace(unjudged, why=why, known=False)
        best = self._best(point, own, family, budget)
        theirs = best.costs(budget) if best else None
        if best is None or best.top1 is None or theirs is None:
            return replace(unjudged, why=f"none of {family} costs as little")
        gap, uncertainty = point.top1 - best.top1, point.spread + best.spread
        return Verdict(
            point.entry,
            family,
            budget,
            TIES if abs(gap) <= uncertainty else CLEARS if gap > 0 else LOSES,
            reference=best.entry,
            gap=gap,
            uncertainty=uncertainty,
            near=theirs[0].value >= NEAR * own[0].value,
            matched=(point, best),
        )

    def all_verdicts(self, entry: Entry) -> list[Verdict]:
        """Every family under every budget."""
        point = Point(entry)
        return [self.judge(point, family, budget) for family in REFERENCES for budget in BUDGETS]

    def frontier(self, dataset: str, arch: str, family: str, budget: str) -> list[Point]:
        """The references that no other one beats at no greater cost, best first: the bar itself."""
        own = arch if family == SAME_ARCHITECTURE else ""
        key = (dataset, own, family, budget)
        if key not in self._frontiers:
            self._frontiers[key] = _undominated(self._candidates(dataset, arch, family, budget), budget)
        return self._frontiers[key]

    def _candidates(self, dataset: str, arch: str, family: str, budget: str) -> list[Point]:
        return [
            point
            for point in self._by_dataset.get(dataset, ())
            if serves_as(point.entry.arch, family, arch) and point.costs(budget)
        ]

    def _best(self, point: Point, own: tuple[Cost, ...], family: str, budget: str) -> Point | None:
        entry = point.entry
        # A reference is held against the others: what only it hides must come to light again.
        ask = self._candidates if may_be_the_bar(entry) else self.frontier
        for other in ask(entry.dataset, entry.arch, family, budget):
            theirs = other.costs(budget) or ()
            if other.entry.id != entry.id and all(cost <= bound for cost, bound in zip(theirs, own, strict=True)):
                return other
        return None


@dataclass(frozen=True)
class Headline:
    """What the board says of all pruning points of one architecture, and what it cannot say."""

    dataset: str
    arch: str
    family: str
    budget: str
    verdicts: tuple[Verdict, ...]

    def _with(self, test: Callable[[Verdict], bool]) -> list[Verdict]:
        return [verdict for verdict in self.verdicts if test(verdict)]

    @cached_property
    def beaten(self) -> list[Verdict]:
        """Points that lose, worst first."""
        return sorted(self._with(lambda v: v.outcome == LOSES), key=lambda v: v.gap or 0)

    @cached_property
    def tied(self) -> list[Verdict]:
        """Points that nobody can tell from the bar."""
        return self._with(lambda v: v.outcome == TIES)

    @cached_property
    def stand(self) -> list[Verdict]:
        """The exceptions: points that clear a reference near their cost, best first."""
        return sorted(self._with(lambda v: v.outcome == CLEARS and v.near), key=lambda v: -(v.gap or 0))

    @cached_property
    def no_reference(self) -> list[Verdict]:
        """Points with a known cost that no reference near it judges."""
        return self._with(lambda v: v.known and not v.settled)

    @cached_property
    def unknown(self) -> list[Verdict]:
        """Points whose cost or accuracy does not follow from what was printed."""
        return self._with(lambda v: not v.known)

    @cached_property
    def median_lead(self) -> Decimal | None:
        """By how many points the bar leads, in the median over all points that are settled."""
        gaps = [-verdict.gap for verdict in self.verdicts if verdict.settled and verdict.gap is not None]
        return median(gaps) if gaps else None

    @property
    def says(self) -> str:
        """The headline in words; never more than the figures."""
        judged = len(self.beaten) + len(self.tied) + len(self.stand)
        lead = (
            ""
            if self.median_lead is None
            else f" The median lead of scaling over the {judged} is {self.median_lead:.2f} points."
        )
        other_size = sum(1 for v in self.beaten if v.reference and v.reference.resolution_scaled)
        scaled = f" ({other_size} of them by a network tested at another resolution)" if other_size else ""
        helped = sum(1 for v in self.stand if v.entry.teacher or v.entry.extra_data)
        with_help = f" ({helped} with a teacher or extra data)" if helped else ""
        return (
            f"Of {len(self.verdicts)} published pruning results for {self.arch} on {self.dataset}, "
            f"{judged} can be judged on {self.budget} against {self.family}: simple scaling beats {len(self.beaten)} "
            f"at no greater cost{scaled}, {len(self.tied)} tie, {len(self.stand)} clear the bar{with_help}.{lead} "
            f"{len(self.no_reference)} cannot be judged for want of a reference near their cost, "
            f"{len(self.unknown)} because their cost or accuracy is not known."
        )


def counts_for_headline(entry: Entry) -> bool:
    """Whether a row is a published pruning result: what the headline speaks of and a missing run would judge."""
    return entry.source == "published" and entry.family in PRUNING


def headline(
    entries: Iterable[Entry],
    bar: Bar,
    dataset: str = "imagenet",
    arch: str = "resnet50",
    family: str = "",
    budget: str = "MACs",
) -> Headline:
    """The headline over the published pruning points of one architecture."""
    family = family or usual_references(arch)
    points = [
        entry for entry in entries if (entry.dataset, entry.arch) == (dataset, arch) and counts_for_headline(entry)
    ]
    return Headline(dataset, arch, family, budget, tuple(bar.verdict(entry, family, budget) for entry in points))


def typed_in(
    *, arch: str, top1: str, macs: str = "", params: str = "", dataset: str = "imagenet", family: str = "pruned"
) -> Entry:
    """An entry from figures that somebody typed: `macs` and `params` as budgets are written, `2.05G` or `50%`."""
    if dataset not in DATASETS:
        raise InputError(f"--dataset {dataset}: one of {', '.join(DATASETS)}{nearest(dataset, DATASETS)}")
    if arch not in dense.archs() and macs.endswith("%") | params.endswith("%"):
        raise InputError(
            f"--arch {arch}: its dense cost has not been counted, so a share of it says nothing; give the cost itself"
            f"{nearest(arch, dense.archs())}"
        )
    cells = {
        "id": "typed-in", "source": "published", "dataset": dataset, "arch": arch, "method": "typed in",
        "family": family, "accuracy_unit": "accuracy", "top1_printed": top1, "cost_unit": "macs",
        "paper": "typed-in", "locator": "typed in", "hand": "first",
    }  # fmt: skip
    cells |= _typed_cost("macs", macs, "cost_printed_g", -9, "cost_kept_pct")
    cells |= _typed_cost("params", params, "params_printed_m", -6, "params_kept_pct")
    entry, faults = parse(cells)
    if entry is None:
        raise InputError("; ".join(str(fault) for fault in faults))
    return entry


def place(result: Mapping[str, Any], board: Path | None = None) -> str:
    """Where a finished run (the mapping of its result.json) lands on the board, in one line."""
    dataset, arch = str(result["dataset"]), str(result["arch"])
    if dataset not in DATASETS:
        return f"not placed on the board: it has no data set {dataset!r}"
    if result.get("top1_test") is None:
        return "not placed on the board: it was not tested"
    macs, params = (str(result[name]) for name in ("macs", "params"))
    try:
        entry = typed_in(arch=arch, dataset=dataset, top1=f"{result['top1_test']:.3f}", macs=macs, params=params)
        verdict = Bar(read_board(board or default_board())).verdict(entry)
    except InputError as error:
        # A run that is finished does not fail because of the board.
        return f"not placed on the board: {error}"
    return f"{entry.top1} % top-1 at {short(result['macs'])} MACs on {dataset}: {verdict.says}"


def describe(entry: Entry) -> str:
    """A reference in a few words: what it is, how accurate and how costly."""
    size = f" at {entry.resolution} px (resolution scaled)" if entry.resolution_scaled else ""
    macs = f", {entry.macs_g:.4g} G MACs" if entry.macs_g is not None else ""
    params = f", {entry.params_m:.4g} M parameters" if entry.params_m is not None else ""
    name = entry.method if entry.arch in entry.method else f"{entry.arch} {entry.method}"
    return f"{name}{size} [{entry.paper}] with {entry.top1} %{macs}{params}"


def uncertainty_of(entry: Entry) -> str:
    """What is known of the spread of an entry's accuracy."""
    runs = f"{entry.n} run{'s' if entry.n != 1 else ''}" if entry.n is not None else "runs not stated"
    return f"±{entry.top1_std} ({runs})" if entry.top1_std is not None else f"spread unknown ({runs})"


def caveats(entry: Entry) -> list[str]:
    """What must be said beside any comparison of this entry."""
    said = [f"distilled from a teacher: {entry.teacher}"] if entry.teacher else []
    said += [f"trained on extra data: {entry.extra_data}"] if entry.extra_data else []
    said += [f"tested at {entry.resolution} px, not at {entry.usual_resolution}"] if entry.resolution_scaled else []
    said += [f"quoted by another source ({entry.read_repo})"] if entry.hand == "second" else []
    return said + [f"{flag}: {FLAGS[flag]}" for flag in entry.flags]


def _why_not(point: Point, budget: str) -> str:
    """Why an entry cannot be held against anything; empty if it can."""
    entry = point.entry
    if "accuracy-doubtful" in entry.flags:
        return "its sources disagree about its accuracy"
    if point.top1 is None:
        return "its top-1 accuracy does not follow from what was printed"
    missing = [name for name in BUDGETS[budget] if point.cost(name) is None]
    if not missing:
        return ""
    if missing[0] == "training":
        return "how long it was trained is not stated"
    doubtful, what = ("cost-doubtful", "MACs") if missing[0] == "macs" else ("params-doubtful", "parameters")
    if doubtful in entry.flags:
        return f"its sources disagree about its {what}"
    if missing[0] == "macs" and entry.cost_unit == "unknown" and entry.cost_printed_g is not None:
        return "the unit of its cost is unknown"
    return f"its {what} do not follow from what was printed"


def _rests_on(point: Point, reference: Point, budget: str) -> str:
    parts = []
    for name, own, other in zip(BUDGETS[budget], point.costs(budget) or (), reference.costs(budget) or (), strict=True):
        unit = {"macs": "G MACs", "params": "M parameters", "training": "training MACs"}[name]
        forgiven = f", within ±{own.rounding + other.rounding:.2g} of rounding" if own.rounding + other.rounding else ""
        basis = {"macs": "macs_basis", "params": "params_basis"}.get(name)
        sources = f" ({getattr(point.entry, basis)}; {getattr(reference.entry, basis)})" if basis else ""
        parts.append(f"{other.value:.4g} against {own.value:.4g} {unit}{sources}{forgiven}")
    return "; ".join(parts)


def _cost(entry: Entry, quantity: str) -> Cost | None:
    """A derived cost with its rounding: how much it moves when the figures behind it move half their last digit."""
    figure, columns = ("macs_g", _COST_COLUMNS) if quantity == "macs" else ("params_m", _PARAMS_COLUMNS)
    value: float | None = getattr(entry, figure)
    if value is None:
        return None
    moved = 0.0
    for column in columns:
        printed: Decimal | None = getattr(entry, column)
        if printed is not None:
            # A copy that nobody else sees: dataclasses.replace would build 45 columns anew, thousands of times.
            nudged = copy(entry)
            object.__setattr__(nudged, column, printed + half_digit(printed))
            moved += abs((getattr(nudged, figure) or value) - value)
    return Cost(value, min(moved, LARGEST_ROUNDING * value))


def _undominated(preferred: list[Point], budget: str) -> list[Point]:
    kept: list[Point] = []
    lowest_kept: list[list[float]] = []
    for point in preferred:
        lowest = [cost.value - cost.rounding for cost in point.costs(budget) or ()]
        if not any(all(low <= own for low, own in zip(lows, lowest, strict=True)) for lows in lowest_kept):
            kept.append(point)
            lowest_kept.append(lowest)
    return kept


def _typed_cost(quantity: str, text: str, column: str, scale: int, share: str) -> dict[str, str]:
    """The cell of a typed budget, with as many digits as were typed."""
    if not text:
        return {}
    budget = Budget.parse(quantity, text)
    if budget.relative:
        return {share: format(Decimal(text.strip().rstrip("%")), "f")}
    figure = text.strip().rstrip("kKmMgGbBtT")
    exponent = {"k": 3, "m": 6, "g": 9, "b": 9, "t": 12}.get(text.strip()[-1].lower(), 0)
    return {column: format(Decimal(figure).scaleb(exponent + scale), "f")}
