"""Rules between the rows of a board: references too good to be true, pruned networks above their dense one, copies.

Each has caught errors that no rule of a single row sees. A row that is right all the same says so: its note names the
row that it is held against by id, which shows that both were read again.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from decimal import Decimal

from thinresnet.leaderboard.dense import dense_cost
from thinresnet.leaderboard.figures import half_digit
from thinresnet.leaderboard.schema import DATASETS, Entry, Fault

TRAINED_ALONE = ("dense", "scaled")
# A network that beats all of another's at this much more cost has another cost than it seems: a unit, a width.
FAR_ABOVE = (1.3, 1.7)
# One row alone at such a cost may be badly trained; two are not.
ENOUGH_ROWS = 2
# Printed costs of one network differ by this much between rounding and convention.
DENSE_SLACK = 0.02
NEAR_COST = 0.03
SAME_PARAMS = Decimal("0.01")

Row = tuple[Entry, Fault]
_COARSEST = Decimal("0.5")  # half a point: accuracies without decimals


def faults_between(entries: Sequence[Entry]) -> Iterator[Row]:
    """Rows that another row of the board makes doubtful, each with what is wrong."""
    yield from _too_good(entries)
    yield from _above_dense(entries)
    yield from _near_copies(entries)


def _too_good(entries: Sequence[Entry]) -> Iterator[Row]:
    """A reference that beats every other paper's of its network at 1.3 to 1.7 times its cost."""
    rivals: dict[tuple[str, str, int], list[Entry]] = defaultdict(list)
    for entry in entries:
        if entry.source == "published" and entry.family in TRAINED_ALONE and entry.top1 is not None and entry.macs_g:
            rivals[_network(entry)].append(entry)
    for group in rivals.values():
        for entry in group:
            if entry.flags or entry.teacher or entry.extra_data:
                continue
            dearer = [other for other in group if other.paper != entry.paper and _far_above(entry, other)]
            if len(dearer) < ENOUGH_ROWS or _named(entry, dearer):
                continue
            best = max(dearer, key=lambda other: (other.top1 or Decimal(0), other.id))
            if entry.top1 and best.top1 and entry.top1 > best.top1:
                allowed = (
                    f"a cost with {entry.top1} % top-1: it beats all {len(dearer)} references of other papers at 1.3 "
                    f"to 1.7 times that cost; correct its unit or network, or name {best.id} in its note"
                )
                yield entry, Fault("cost_printed_g", f"{entry.macs_g:.4g} G MACs", allowed)


def _far_above(entry: Entry, other: Entry) -> bool:
    return FAR_ABOVE[0] <= (other.macs_g or 0) / (entry.macs_g or 1) <= FAR_ABOVE[1]


def _above_dense(entries: Iterable[Entry]) -> Iterator[Row]:
    """A pruned network that costs more than the dense one it came from."""
    for entry in entries:
        dense = dense_cost(entry.arch, entry.resolution, DATASETS[entry.dataset].classes)
        if entry.family not in ("pruned", "init") or entry.starts_elsewhere or dense is None or entry.macs_g is None:
            continue
        rounding = float(half_digit(entry.cost_printed_g)) if entry.cost_printed_g is not None else 0.0
        if entry.macs_g - rounding > dense.macs / 1e9 * (1 + DENSE_SLACK):
            yield (
                entry,
                Fault(
                    "cost_printed_g",
                    f"{entry.macs_g:.4g} G MACs",
                    f"within the {dense.macs / 1e9:.4g} G of its dense network; correct its unit, arch or resolution, "
                    "or flag it from-wider",
                ),
            )


def _near_copies(entries: Iterable[Entry]) -> Iterator[Row]:
    """One result that stands twice: equal accuracy, equal cost, of one paper or of one scaled network."""
    groups: dict[tuple[object, ...], list[Entry]] = defaultdict(list)
    for entry in entries:
        if entry.source == "published" and entry.top1 is not None:
            key = (*_network(entry), entry.family in TRAINED_ALONE)
            groups[key].append(entry)
    for group in groups.values():
        ordered = sorted(group, key=lambda entry: (entry.top1 or Decimal(0), entry.id))
        for first, second in _equally_accurate(ordered):
            if _are_copies(first, second) and not (_named(first, [second]) or _named(second, [first])):
                yield (
                    second,
                    Fault(
                        "row",
                        second.id,
                        f"another result than {first.id}: accuracy and cost are the same; merge them, "
                        f"or name {first.id} in its note if both were read and differ",
                    ),
                )


def _equally_accurate(ordered: Sequence[Entry]) -> Iterator[tuple[Entry, Entry]]:
    """Pairs of one top-1 on the coarser printed precision, from rows sorted by top-1."""
    figures = [(entry.top1 or Decimal(0), entry) for entry in ordered]
    rounded = [(top1, half_digit(top1), entry) for top1, entry in figures]
    for start, (top1, half, first) in enumerate(rounded):
        for other_top1, other_half, second in rounded[start + 1 :]:
            if other_top1 - top1 > _COARSEST:
                break
            if other_top1 - top1 < max(half, other_half):
                yield first, second


def _are_copies(first: Entry, second: Entry) -> bool:
    if not _costs_alike(first, second) or _said_to_differ(first, second):
        return False
    if first.family in TRAINED_ALONE and second.family in TRAINED_ALONE:
        # Dense networks of one accuracy are many (everybody starts from torchvision's); scaled ones are not.
        if "shared-weights" in first.flags or "shared-weights" in second.flags:
            return False
        return first.paper == second.paper or (first.family, second.family) == ("scaled", "scaled")
    if first.paper != second.paper or first.family != second.family:
        return False
    return not _two_rows_of_one_table(first, second)


def _costs_alike(first: Entry, second: Entry) -> bool:
    """Whether they cost the same as far as is known: a row without a cost may be a copy of any of its paper."""
    one, two = first.macs_ratio or first.macs_g, second.macs_ratio or second.macs_g
    if one is None or two is None:
        return first.paper == second.paper
    return abs(one - two) <= NEAR_COST * max(one, two)


def _said_to_differ(first: Entry, second: Entry) -> bool:
    """Whether parameters or epochs, where both have them, tell two networks or two trainings."""
    one, two = first.params_printed_m, second.params_printed_m
    if one is not None and two is not None and abs(one - two) > SAME_PARAMS * max(one, two):
        return True
    return any(
        None not in (mine, theirs) and mine != theirs
        for mine, theirs in ((getattr(first, name), getattr(second, name)) for name in ("train_epochs", "tune_epochs"))
    )


def _two_rows_of_one_table(first: Entry, second: Entry) -> bool:
    """Rows of one file under names of their own: a table prints a result once."""
    names = sorted((first.method, second.method), key=len)
    same_file = (first.read_repo, first.read_path) == (second.read_repo, second.read_path)
    return same_file and not names[1].startswith(names[0])


def _named(entry: Entry, others: Iterable[Entry]) -> bool:
    return any(other.id in entry.note for other in others)


def _network(entry: Entry) -> tuple[str, str, int]:
    return (entry.dataset, entry.arch, entry.resolution)
