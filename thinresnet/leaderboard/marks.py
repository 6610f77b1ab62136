"""What the page and the figures share: colours and shapes, axes, and the short names of the bar's references."""

from __future__ import annotations

import re
from collections.abc import Mapping

from thinresnet.leaderboard.schema import Entry

# Colour and shape say the same twice; every colour keeps a contrast of 3 and more on white and on near-black.
FAMILY_MARKS: Mapping[str, tuple[str, str, str]] = {
    "pruned": ("pruned", "#d1495b", "circle"),
    "init": ("pruned at initialisation", "#7a5cff", "triangle-up"),
    "scratch": ("pruned shape, trained from scratch", "#0d8a72", "diamond"),
    "searched": ("searched", "#7b8494", "cross"),
    "scaled": ("scaled", "#2f7de1", "square"),
    "dense": ("dense", "#b3741a", "triangle-down"),
}
# What a cost axis shows: its title, the budget of the bar on it, the figure of an entry.
AXES: Mapping[str, tuple[str, str, str]] = {
    "macs": ("MACs (G)", "macs", "macs_g"),
    "params": ("parameters (M)", "params", "params_m"),
    "ratio": ("share of the dense network's MACs", "macs", "macs_ratio"),
}
_FACTOR = re.compile(r"(?:width|w|×|x)?\s?\b([0-9](?:\.[0-9]+)?)\s?(?:x|×)|width\s([0-9](?:\.[0-9]+)?)", re.IGNORECASE)


def label_of(entry: Entry) -> str:
    """A reference in as few letters as tell it from the others: `resnet50 0.75×`, `resnet50 160 px`."""
    found = _FACTOR.search(entry.method) if entry.family == "scaled" else None
    factor = f" {found[1] or found[2]}×" if found else ""
    pixels = f" {entry.resolution} px" if entry.resolution_scaled else ""
    scaled = " scaled" if entry.family == "scaled" and not (factor or pixels) else ""
    return f"{entry.arch.removesuffix('_cifar')}{factor}{pixels}{scaled}"
