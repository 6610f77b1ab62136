"""Amounts as papers and people write them: `2.05G`, `2.07 GMACs`, `4.1B FLOPs`, `853018`.

The decimal point moves, no digit changes. A figure whose unit is missing is refused in words, never guessed.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from decimal import Decimal

from thinresnet.errors import InputError
from thinresnet.leaderboard.dense import dense_cost
from thinresnet.leaderboard.schema import DATASETS, INPUT_SIZES, SAME_NETWORK

# Short names that people type, and the columns they fill; amounts take k, M or G.
SHORT = {
    "top1": "top1_printed",
    "top5": "top5_printed",
    "dense_top1": "dense_top1_printed",
    "dense_top5": "dense_top5_printed",
    "top1_drop": "top1_drop_printed",
    "macs": "cost_printed_g",
    "dense_macs": "dense_cost_printed_g",
    "params": "params_printed_m",
    "dense_params": "dense_params_printed_m",
}
MACS, PARAMS = ("macs", "dense_macs"), ("params", "dense_params")
# What one unit of a column is, as a power of ten: costs stand in G, parameters in millions.
UNITS = {**dict.fromkeys(MACS, 9), **dict.fromkeys(PARAMS, 6)}
_EXPONENT = {"": 0, "k": 3, "m": 6, "g": 9, "b": 9, "t": 12}
_AMOUNT = re.compile(
    r"([0-9]+(?:\.[0-9]+)?)\s*([kmgbt]?)\s*(macs?|madds?|mult-?adds|flops?|params|parameters)?",
    re.ASCII | re.IGNORECASE,
)
# Fewer than this without a unit is millions or billions whose letter was left out.
_SMALLEST_COUNT = 1000


_LONGEST = 60  # characters of a figure


def read_amount(name: str, text: str) -> tuple[str, bool]:
    """An amount in units of its column, and whether it was called FLOPs, which count one or two a MAC."""
    found = _AMOUNT.fullmatch(text.strip())
    example = "12.5M" if name in PARAMS else "2.05G"
    if text.strip().endswith("%"):
        column = "params" if name in PARAMS else "cost"
        raise InputError(f"{name}: {text!r} is a share; give it as {column}_kept_pct (what stays) or {column}_cut_pct")
    if not found or len(text) > _LONGEST:
        raise InputError(f"{name}: {text!r} is not an amount such as {example}, 512M or 853018")
    digits, scale, what = found[1], found[2].lower(), (found[3] or "").lower()
    if what and (what in ("params", "parameters")) != (name in PARAMS):
        raise InputError(f"{name}: {text!r} counts something else; write an amount such as {example}")
    if not scale and ("." in digits or int(digits) < _SMALLEST_COUNT):
        letter, words = ("M", "millions") if name in PARAMS else ("G", "billions")
        also = "" if name in PARAMS else f" ({digits}B is the same)"
        raise InputError(f"{name}: {text!r} has no unit; write {digits}{letter} for {words}{also}, or the exact count")
    figure = format(Decimal(digits).scaleb(_EXPONENT[scale] - UNITS[name]), "f")
    return figure, what.startswith("flop")


def unit_of_flops(cells: Mapping[str, str]) -> str:
    """What FLOPs count in this source, told by what it prints for a dense network whose cost has been counted."""
    dataset, arch, printed = cells.get("dataset", ""), cells.get("arch", ""), cells.get("dense_cost_printed_g", "")
    if dataset in DATASETS and printed:
        size = INPUT_SIZES.get((dataset, arch), DATASETS[dataset].input_size)
        counted = dense_cost(arch, size, DATASETS[dataset].classes)
        for unit, per_mac in (("macs", 1), ("2-per-mac", 2)):
            if counted and abs(float(printed) * 1e9 / (per_mac * counted.macs) - 1) <= SAME_NETWORK:
                return unit
    raise InputError(
        "macs: FLOPs are MACs in some papers and two a MAC in others; give dense_macs as the same table prints it, "
        "or cost_unit (macs or 2-per-mac)"
    )
