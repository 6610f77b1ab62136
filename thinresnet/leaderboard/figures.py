"""Whether the figures of one row fit each other: what a source prints twice must agree within its own rounding."""

from __future__ import annotations

from collections.abc import Iterator
from decimal import Decimal

from thinresnet.leaderboard.schema import DATASETS, Entry, Fault

# Papers round twice, and count norms or the classifier in one figure and not in the other: a point is forgiven.
SHARE_SLACK = Decimal("0.01")
# An accuracy may be this far below guessing (a network that learnt nothing), and above no published one by so much.
BEST_TOP1 = {"imagenet": Decimal(92), "tiny-imagenet": Decimal(96)}


def contradictions(entry: Entry) -> Iterator[Fault]:
    """Figures of the row that contradict one another, unless the row carries the flag that says so."""
    yield from _costs(entry)
    yield from _params(entry)
    if "drop-doubtful" not in entry.flags:
        yield from _drop(entry, "top1")
        yield from _drop(entry, "top5")


def implausible(entry: Entry) -> Iterator[Fault]:
    """Accuracies that no network of this dataset has: worse than guessing, better than any, top-5 below top-1."""
    guess = Decimal(100) / DATASETS[entry.dataset].classes
    best = BEST_TOP1.get(entry.dataset, Decimal("99.9"))
    for name, value in (("top1_printed", entry.top1), ("dense_top1_printed", entry.dense_top1)):
        if value is not None and not guess * Decimal("0.5") <= value <= best:
            yield Fault(
                name, f"{value}% right", f"an accuracy between guessing ({guess:.1f}) and the best known ({best})"
            )
    if entry.top1 is not None and entry.top5 is not None and entry.top5 < entry.top1:
        yield Fault("top5_printed", f"{entry.top5}% right", f"at least the top-1 accuracy of {entry.top1}")


def half_digit(printed: Decimal) -> Decimal:
    """Half a unit of the last printed digit: how far the exact figure may lie from it."""
    return Decimal(5).scaleb(int(printed.as_tuple().exponent) - 1)


def _costs(entry: Entry) -> Iterator[Fault]:
    shares = _shares(
        (entry.cost_printed_g, entry.dense_cost_printed_g),
        {"cost_kept_pct": entry.cost_kept_pct, "cost_cut_pct": entry.cost_cut_pct, "speedup_x": entry.speedup_x},
        "cost_printed_g",
    )
    if "cost-doubtful" not in entry.flags:
        yield from _disagreement(shares, "cost-doubtful")


def _params(entry: Entry) -> Iterator[Fault]:
    shares = _shares(
        (entry.params_printed_m, entry.dense_params_printed_m),
        {
            "params_kept_pct": entry.params_kept_pct,
            "params_cut_pct": entry.params_cut_pct,
            "params_shrink_x": entry.params_shrink_x,
        },
        "params_printed_m",
    )
    if "params-doubtful" not in entry.flags:
        yield from _disagreement(shares, "params-doubtful")


def _shares(
    absolute: tuple[Decimal | None, Decimal | None], relative: dict[str, Decimal | None], name: str
) -> dict[str, tuple[Decimal, Decimal]]:
    """The share kept as each column has it, with its rounding."""
    shares = {}
    own, dense = absolute
    if own is not None and dense is not None:
        share = own / dense
        shares[name] = (share, share * (half_digit(own) / own + half_digit(dense) / dense))
    for column, value in relative.items():
        if value is None:
            continue
        if column.endswith("_x"):
            shares[column] = (1 / value, half_digit(value) / value**2)
        else:
            share = value / 100
            shares[column] = (1 - share if column.endswith("cut_pct") else share, half_digit(value) / 100)
    return shares


def _disagreement(shares: dict[str, tuple[Decimal, Decimal]], flag: str) -> Iterator[Fault]:
    columns = list(shares)
    for column in columns[1:]:
        (first, first_off), (second, second_off) = shares[columns[0]], shares[column]
        if abs(first - second) > first_off + second_off + SHARE_SLACK:
            yield Fault(
                column,
                f"{100 * second:.1f}% kept",
                f"what {columns[0]} says ({100 * first:.1f}% kept); correct one, or flag the row {flag} and say why",
            )


def _drop(entry: Entry, metric: str) -> Iterator[Fault]:
    own: Decimal | None = getattr(entry, f"{metric}_printed")
    dense: Decimal | None = getattr(entry, f"dense_{metric}_printed")
    drop: Decimal | None = getattr(entry, f"{metric}_drop_printed")
    if own is None or dense is None or drop is None:
        return
    expected = dense - own if entry.accuracy_unit == "accuracy" else own - dense
    if abs(expected - drop) > half_digit(own) + half_digit(dense) + half_digit(drop):
        allowed = f"the difference of the printed accuracies ({expected}); correct one, or flag the row drop-doubtful"
        yield Fault(f"{metric}_drop_printed", str(drop), allowed)
