"""What follows from printed figures: accuracies from errors and drops, shares from any of the ways of printing one."""

from __future__ import annotations

from decimal import Decimal


def right(unit: str, printed: Decimal | None) -> Decimal | None:
    """A printed percentage as percent right."""
    return 100 - printed if printed is not None and unit == "error" else printed


def accuracy(unit: str, printed: Decimal | None, dense_printed: Decimal | None, drop: Decimal | None) -> Decimal | None:
    """Percent right: as printed, else from what the source's dense network has and the drop."""
    if printed is not None:
        return right(unit, printed)
    dense = right(unit, dense_printed)
    return dense - drop if dense is not None and drop is not None else None


def drop(dense: Decimal | None, own: Decimal | None, printed: Decimal | None) -> Decimal | None:
    """Points lost: the difference of the accuracies, else as printed."""
    return dense - own if dense is not None and own is not None else printed


def relative(
    absolute: tuple[Decimal | None, Decimal | None, str],
    kept_pct: Decimal | None,
    cut_pct: Decimal | None,
    shrink: tuple[Decimal | None, str],
) -> tuple[float, str] | None:
    """The share that is kept and what says so, from the most precise figure that the source printed."""
    own, dense, what = absolute
    if own is not None and dense is not None:
        return float(own / dense), f"printed {what} / printed dense {what}"
    if kept_pct is not None:
        return float(kept_pct) / 100, "printed share kept"
    if cut_pct is not None:
        return 1 - float(cut_pct) / 100, "printed cut"
    times, name = shrink
    return (float(1 / times), f"printed {name}") if times is not None else None
