"""What a row of the board is: its columns, their types and ranges, and the figures that code derives from them.

A column holds what a source printed, in the source's own unit. Everything that follows from it (accuracy from an
error, MACs in the one convention, ratios, drops, training MACs) is a property of `Entry`, never a column. Standard
library only.
"""
# ruff: noqa: RUF009 - a column is declared by a call that makes a dataclass field

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import MISSING, dataclass, field, fields
from decimal import Decimal
from functools import cached_property, lru_cache, partial
from operator import attrgetter
from typing import Any

from thinresnet.errors import nearest
from thinresnet.leaderboard.columns import MAX_TEXT as MAX_TEXT
from thinresnet.leaderboard.columns import Column as Column
from thinresnet.leaderboard.columns import Kind, Values, format_cell, read_cell
from thinresnet.leaderboard.columns import text_fault as text_fault
from thinresnet.leaderboard.dense import DenseCost, dense_cost
from thinresnet.leaderboard.derived import accuracy, drop, relative, right

SOURCES = ("published", "measured")
FAMILIES = ("pruned", "scratch", "scaled", "searched", "init", "dense")
ACCURACY_UNITS = ("accuracy", "error")
COST_UNITS = ("macs", "2-per-mac", "unknown")
HANDS = ("first", "second")
FLAGS = {
    "accuracy-doubtful": "the printed accuracies of the source contradict one another, or another source",
    "drop-doubtful": "the printed drop is not the difference of the printed accuracies: the accuracies are used",
    "cost-doubtful": "the printed costs contradict one another, or another source: no MACs are derived",
    "cost-counted": "the source prints no cost: it was counted from the shape that the source's code defines",
    "cost-nominal": "the cost is a target of the method, not a measurement",
    "params-doubtful": "the printed parameter counts contradict one another: no parameters are derived",
    "dynamic": "the network decides at run time how much it computes: the cost is a mean over images",
    "shared-weights": "a sub-network of one network that was trained for many widths at once",
    "best-epoch": "the accuracy is that of the best epoch on the test set",
    "decomposed": "layers are also factorised: more than channels were removed",
    "from-image": "the numbers were read off an image of a table",
    "from-wider": "pruned from a wider network than the one named: its shares are not shares of that one",
}

# A reference may carry these, shown beside every verdict that rests on it; any other flag keeps a row from being one.
REFERENCE_FLAGS = frozenset({"best-epoch", "from-image"})


@dataclass(frozen=True)
class Dataset:
    """A dataset of the board: its classes, training images and the input size where a source says none."""

    classes: int
    train_images: int
    input_size: int


DATASETS = {
    "imagenet": Dataset(1000, 1_281_167, 224),
    "tiny-imagenet": Dataset(200, 100_000, 64),
    "cifar10": Dataset(10, 50_000, 32),
    "cifar100": Dataset(100, 50_000, 32),
    "cifar10-jpeg": Dataset(10, 50_000, 32),
    "imagenette-128": Dataset(10, 9_469, 128),
    "digits": Dataset(10, 1_438, 8),
}
# Architectures whose published weights are made for another input size than their dataset's usual one.
INPUT_SIZES = {("imagenet", "inception_v3"): 299}

# Conventions differ by a few per cent over one network (norms, pooling, biases); a wider network by far more.
SAME_NETWORK = 0.12
# Where the unit is unknown, variants and conventions together stay within this of one or two operations a MAC.
SAME_NETWORK_ANY_UNIT = 0.4
# Architectures whose shape came out of a search: they are no bar, although an unpruned one is `dense`.
_SEARCHED = re.compile(
    r"(tf_)?(efficientnet|mixnet|mobilenetv[34]|mobilenet_edgetpu|fbnet|hardcorenas|tinynet|regnet)|(sp|m|sem)nasnet"
)

Range = tuple[Decimal, Decimal]
_PERCENT: Range = (Decimal(0), Decimal(100))
_POINTS: Range = (Decimal(-100), Decimal(100))
_SPREAD: Range = (Decimal(0), Decimal(50))
_AMOUNT: Range = (Decimal("0.00001"), Decimal(10_000))
# Some methods of pruning cost more than the dense network: shares beyond the whole are rare, not wrong.
_CUT: Range = (Decimal(-1000), Decimal("99.999"))
_KEPT: Range = (Decimal("0.001"), Decimal(1100))
_FACTOR: Range = (Decimal("0.01"), Decimal(10_000))
_RUNS: Range = (Decimal(1), Decimal(1000))
_PIXELS: Range = (Decimal(8), Decimal(2048))
_TRAINING: Range = (Decimal("0.001"), Decimal(10) ** 12)
_EPOCHS: Range = (Decimal(0), Decimal(100_000))


def _column(kind: Kind, help_: str, **rules: Any) -> Any:
    empty: object = {"text": "", "choice": "", "flags": ()}.get(kind)
    if rules.get("required"):
        return field(metadata={"kind": kind, "help": help_, **rules})
    return field(default=empty, metadata={"kind": kind, "help": help_, **rules})


_text, _choice, _flags = partial(_column, "text"), partial(_column, "choice"), partial(_column, "flags")
_number, _count = partial(_column, "number"), partial(_column, "count")

_ID = r"[a-z0-9][a-z0-9._-]{2,119}"
KEY = r"[a-z0-9][a-z0-9_-]{2,59}"
_ARCH = r"[a-z0-9][a-z0-9_]{2,59}"
_COMMIT = r"[0-9a-f]{7,40}"
_EVIDENCE = r"baselines/results/[A-Za-z0-9][A-Za-z0-9._-]*(/[A-Za-z0-9][A-Za-z0-9._-]*)*"


@dataclass(frozen=True, kw_only=True)
class Entry:
    """A row of the board. Fields are its columns in their canonical order; properties are what code derives.

    Printed numbers are `Decimal`, so that `76.10` stays `76.10` and its precision is known.
    """

    id: str = _text("name of the row, unique and lasting", required=True, pattern=_ID)
    source: str = _choice("a paper's number, or a run of this project", required=True, choices=SOURCES)
    dataset: str = _choice("dataset", required=True, choices=tuple(DATASETS))
    arch: str = _text("dense architecture, by its timm name or this project's", required=True, pattern=_ARCH)
    method: str = _text("method with its variant, as the source calls it", required=True)
    family: str = _choice("what kind of network it is", required=True, choices=FAMILIES)
    accuracy_unit: str = _choice(
        "what the accuracy columns hold: percent right or percent wrong", required=True, choices=ACCURACY_UNITS
    )
    top1_printed: Decimal | None = _number("top-1 in percent, as printed (see accuracy_unit)", within=_PERCENT)
    top1_std: Decimal | None = _number("standard deviation of top-1 over n runs, in points", within=_SPREAD)
    top5_printed: Decimal | None = _number("top-5 in percent, as printed", within=_PERCENT)
    n: int | None = _count("how many runs the accuracies average", within=_RUNS)
    dense_top1_printed: Decimal | None = _number("top-1 of the source's own dense network", within=_PERCENT)
    dense_top5_printed: Decimal | None = _number("top-5 of the source's own dense network", within=_PERCENT)
    top1_drop_printed: Decimal | None = _number("points of top-1 lost against dense, gains negative", within=_POINTS)
    top5_drop_printed: Decimal | None = _number("points of top-5 lost against dense, gains negative", within=_POINTS)
    cost_unit: str = _choice("what one unit of the cost columns counts", required=True, choices=COST_UNITS)
    cost_printed_g: Decimal | None = _number("cost of the network in G, as printed", within=_AMOUNT)
    dense_cost_printed_g: Decimal | None = _number("cost of the dense network in G, as printed", within=_AMOUNT)
    cost_cut_pct: Decimal | None = _number("share of the cost removed, in percent", within=_CUT)
    cost_kept_pct: Decimal | None = _number("share of the cost kept, in percent", within=_KEPT)
    speedup_x: Decimal | None = _number("theoretical speed-up: dense cost over cost", within=_FACTOR)
    params_printed_m: Decimal | None = _number("parameters in millions, as printed", within=_AMOUNT)
    dense_params_printed_m: Decimal | None = _number("parameters of the dense network, in millions", within=_AMOUNT)
    params_cut_pct: Decimal | None = _number("share of the parameters removed, in percent", within=_CUT)
    params_kept_pct: Decimal | None = _number("share of the parameters kept, in percent", within=_KEPT)
    params_shrink_x: Decimal | None = _number("dense parameters over parameters", within=_FACTOR)
    test_resolution: int | None = _count("test image side in pixels, where the source says", within=_PIXELS)
    train_resolution: int | None = _count("training image side in pixels, where the source says", within=_PIXELS)
    train_epochs: int | None = _count(
        "epochs of this very network from random weights (not for pruned rows)", within=_EPOCHS
    )
    dense_epochs: int | None = _count("epochs of the dense parent that was pruned", within=_EPOCHS)
    prune_epochs: int | None = _count("epochs spent pruning", within=_EPOCHS)
    tune_epochs: int | None = _count("epochs of fine-tuning after pruning", within=_EPOCHS)
    training_macs_printed_g: Decimal | None = _number(
        "MACs of all training in G, all stages, where the source counts them", within=_TRAINING
    )
    teacher: str = _text("teacher network it was distilled from; `unnamed` where the source does not say which")
    extra_data: str = _text("training data beyond the dataset's own")
    recipe: str = _text("training recipe as the source names it")
    flags: tuple[str, ...] = _flags("what else must be known before comparing", choices=tuple(FLAGS))
    paper: str = _text("citation key in the .bib file", required=True, pattern=KEY)
    locator: str = _text("where in the source: table, row, figure", required=True)
    hand: str = _choice("read in the method's own source, or quoted by another", required=True, choices=HANDS)
    read_repo: str = _text("repository or page that was read")
    read_path: str = _text("file in that repository")
    read_commit: str = _text("commit that was read", pattern=_COMMIT)
    evidence: str = _text("run folder of a measured row", pattern=_EVIDENCE)
    weights: str = _choice("whose training a measured row is of: `theirs` for imported weights", choices=("theirs",))
    note: str = _text("anything else a reader must know")

    @cached_property
    def top1(self) -> Decimal | None:
        """Top-1 accuracy in percent; None where the source printed neither it nor what it follows from."""
        return accuracy(self.accuracy_unit, self.top1_printed, self.dense_top1_printed, self.top1_drop_printed)

    @property
    def top5(self) -> Decimal | None:
        """Top-5 accuracy in percent, likewise."""
        return accuracy(self.accuracy_unit, self.top5_printed, self.dense_top5_printed, self.top5_drop_printed)

    @property
    def dense_top1(self) -> Decimal | None:
        """Top-1 accuracy of the source's own dense network."""
        return right(self.accuracy_unit, self.dense_top1_printed)

    @property
    def dense_top5(self) -> Decimal | None:
        """Top-5 accuracy of the source's own dense network."""
        return right(self.accuracy_unit, self.dense_top5_printed)

    @property
    def top1_drop(self) -> Decimal | None:
        """Points of top-1 lost against the source's own dense network; gains are negative."""
        return drop(self.dense_top1, self.top1, self.top1_drop_printed)

    @property
    def usual_resolution(self) -> int:
        """The input size at which this architecture is compared on this dataset."""
        return INPUT_SIZES.get((self.dataset, self.arch), DATASETS[self.dataset].input_size)

    @property
    def resolution(self) -> int:
        """The test resolution, or the usual one where the source says none."""
        return self.test_resolution or self.usual_resolution

    @property
    def resolution_scaled(self) -> bool:
        """Whether it is tested at another resolution than the usual one: that is a way of scaling."""
        return self.resolution != self.usual_resolution

    @property
    def arch_searched(self) -> bool:
        """Whether the dense architecture itself came out of an architecture or design-space search."""
        return _SEARCHED.match(self.arch) is not None

    @cached_property
    def dense(self) -> DenseCost | None:
        """The counted cost of the dense architecture at the usual resolution; None where it was not counted."""
        return dense_cost(self.arch, self.usual_resolution, DATASETS[self.dataset].classes)

    @property
    def macs_g(self) -> float | None:
        """MACs in G, in the one convention; None where `macs_basis` is empty."""
        return self._macs[0]

    @property
    def macs_basis(self) -> str:
        """What `macs_g` rests on, in words; empty where the printed figures do not give it."""
        return self._macs[1]

    @property
    def macs_ratio(self) -> float | None:
        """MACs over those of the counted dense network at the usual resolution; also from relative figures alone."""
        if self.dense is not None:
            return self.macs_g * 1e9 / self.dense.macs if self.macs_g is not None else None
        relative = None if "cost-doubtful" in self.flags else self._relative_cost
        return relative[0] if relative and not self.resolution_scaled else None

    @property
    def params_m(self) -> float | None:
        """Parameters in millions; None where `params_basis` is empty."""
        return self._params[0]

    @property
    def params_basis(self) -> str:
        """What `params_m` rests on, in words; empty where the printed figures do not give it."""
        return self._params[1]

    @property
    def params_ratio(self) -> float | None:
        """Parameters over those of the counted dense network; also from relative figures alone."""
        if self.dense is not None:
            return self.params_m * 1e6 / self.dense.params if self.params_m is not None else None
        relative = None if "params-doubtful" in self.flags else self._relative_params
        return relative[0] if relative else None

    @property
    def training_macs(self) -> float | None:
        """MACs of all training that is known to be behind this row: 3 x forward MACs x images seen, all stages.

        The dense parent is part of a pruned row's cost. Epochs of pruning that no source states count as none,
        so the figure is a lower bound there; without the other epochs it is None.
        """
        if self.training_macs_printed_g is not None:
            return float(self.training_macs_printed_g) * 1e9
        images, macs_g = DATASETS[self.dataset].train_images, self.macs_g
        area = ((self.train_resolution or self.resolution) / self.resolution) ** 2
        if macs_g is None:
            return None
        if self.train_epochs is not None:
            return 3 * images * self.train_epochs * macs_g * 1e9 * area
        if self.dense_epochs is None or self.tune_epochs is None or self.dense is None:
            return None
        dense_stages = (self.dense_epochs + (self.prune_epochs or 0)) * self.dense.macs
        return 3 * images * (dense_stages + self.tune_epochs * macs_g * 1e9) * area

    @property
    def starts_elsewhere(self) -> bool:
        """Whether the source's dense network is another one than `arch`: wider, deeper, at another resolution."""
        if "from-wider" in self.flags:
            return True
        if self.dense is None or self.dense_cost_printed_g is None:
            return False
        operations_a_mac = float(self.dense_cost_printed_g) * 1e9 / self.dense.macs
        if self.cost_unit == "unknown":
            # Neither one operation a MAC nor two explains it: no share of it is a share of `arch`.
            return min(abs(operations_a_mac - 1), abs(operations_a_mac / 2 - 1)) > SAME_NETWORK_ANY_UNIT
        return abs(operations_a_mac / (2 if self.cost_unit == "2-per-mac" else 1) - 1) > SAME_NETWORK

    @property
    def _relative_cost(self) -> tuple[float, str] | None:
        return relative(
            (self.cost_printed_g, self.dense_cost_printed_g, "cost"),
            self.cost_kept_pct,
            self.cost_cut_pct,
            (self.speedup_x, "speed-up"),
        )

    @property
    def _relative_params(self) -> tuple[float, str] | None:
        return relative(
            (self.params_printed_m, self.dense_params_printed_m, "parameters"),
            self.params_kept_pct,
            self.params_cut_pct,
            (self.params_shrink_x, "shrink factor"),
        )

    @cached_property
    def _macs(self) -> tuple[float | None, str]:
        counted = dense_cost(self.arch, self.resolution, DATASETS[self.dataset].classes)
        if "cost-doubtful" in self.flags:
            return None, ""
        if self.source == "measured" and self.cost_printed_g is not None:
            return float(self.cost_printed_g), "counted"
        if self.family == "dense" and counted is not None:
            return counted.macs / 1e9, "counted: the dense architecture"
        nominal = ", a nominal target" if "cost-nominal" in self.flags else ""
        relative = None if self.starts_elsewhere else self._relative_cost
        if relative and counted is not None:
            return relative[0] * counted.macs / 1e9, f"{relative[1]} x counted dense{nominal}"
        if self.cost_printed_g is None or self.cost_unit == "unknown":
            return None, ""
        if "cost-counted" in self.flags:
            return float(self.cost_printed_g), "counted: the shape in the source's code"
        if self.cost_unit == "2-per-mac":
            return float(self.cost_printed_g) / 2, f"printed operations, two a MAC{nominal}"
        return float(self.cost_printed_g), f"printed MACs{nominal}"

    @cached_property
    def _params(self) -> tuple[float | None, str]:
        if "params-doubtful" in self.flags:
            return None, ""
        if self.source == "measured" and self.params_printed_m is not None:
            return float(self.params_printed_m), "counted"
        if self.family == "dense" and self.dense is not None:
            return self.dense.params / 1e6, "counted: the dense architecture"
        if self.params_printed_m is not None:
            return float(self.params_printed_m), "printed parameters"
        relative = None if self.starts_elsewhere else self._relative_params
        if relative and self.dense is not None:
            return relative[0] * self.dense.params / 1e6, f"{relative[1]} x counted dense"
        return None, ""


COLUMNS: tuple[Column, ...] = tuple(Column(each.name, **each.metadata) for each in fields(Entry))
NAMES: tuple[str, ...] = tuple(column.name for column in COLUMNS)


@dataclass(frozen=True)
class Fault:
    """A cell that breaks its column's rule."""

    column: str
    value: str
    allowed: str

    def __str__(self) -> str:
        shown = self.value if len(self.value) <= 60 else f"{self.value[:57]}..."
        return f"{self.column}: {shown!r} is not {self.allowed}"


def parse(cells: Mapping[str, str]) -> tuple[Entry | None, list[Fault]]:
    """The entry that these cells hold, or every fault in them. A column that is not named is empty."""
    return reader(tuple(cells))(tuple(cells.values()))


@lru_cache(maxsize=64)
def reader(header: tuple[str, ...]) -> Callable[[Sequence[str]], tuple[Entry | None, list[Fault]]]:
    """`parse` for many rows with the same columns: what their cells hold, or every fault in them."""
    columns = [_VALUES_OF.get(name) for name in header]
    known = [column for column in columns if column is not None]
    whole = len(known) == len(columns) and set(REQUIRED).issubset(header)
    required = [place for place, name in enumerate(header) if name in REQUIRED]

    def read(cells: Sequence[str]) -> tuple[Entry | None, list[Fault]]:
        if whole and "" not in [cells[place] for place in required]:
            try:
                values = [column[text] for column, text in zip(known, cells, strict=True)]
                return _entry(zip(header, values, strict=True)), []
            except ValueError:
                pass
        return None, _faults(dict(zip(header, cells, strict=True)))

    return read


def _entry(values: Iterable[tuple[str, object]]) -> Entry:
    """What `Entry(**values)` makes, but not field by field: so a board is read in half the time."""
    entry = object.__new__(Entry)
    entry.__dict__.update(_EMPTY)
    entry.__dict__.update(values)
    return entry


def _faults(cells: Mapping[str, str]) -> list[Fault]:
    faults: list[Fault] = []
    for name, text in cells.items():
        if name not in _BY_NAME:
            faults.append(Fault("header", name, f"a column of the board{nearest(name, NAMES)}"))
        elif text:
            try:
                read_cell(_BY_NAME[name], text)
            except ValueError as error:
                faults.append(Fault(name, text, str(error) or _BY_NAME[name].allowed))
    return faults + [Fault(name, "", _BY_NAME[name].allowed) for name in REQUIRED if not cells.get(name)]


def format_row(entry: Entry) -> list[str]:
    """The cells of an entry, in canonical order; `parse` reads them back to an equal entry."""
    # Most cells are words or empty: a board is written in half the time where they need no call.
    return [value if type(value) is str else "" if value is None else format_cell(value) for value in _VALUES(entry)]


def order(entry: Entry) -> tuple[str, ...]:
    """Where a row stands on the board: papers about one network stand together, and no two rows tie."""
    return (entry.dataset, entry.arch, entry.paper, entry.method, entry.id)


_BY_NAME: Mapping[str, Column] = {column.name: column for column in COLUMNS}
REQUIRED = tuple(column.name for column in COLUMNS if column.required)
_VALUES: Callable[[Entry], tuple[object, ...]] = attrgetter(*NAMES)
_EMPTY: Mapping[str, object] = {each.name: each.default for each in fields(Entry) if each.default is not MISSING}
_VALUES_OF: Mapping[str, Values] = {column.name: Values(column, _EMPTY.get(column.name, "")) for column in COLUMNS}
