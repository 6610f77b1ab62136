"""What an augmentation policy string says (`aa`): timm's spellings, and `ta_wide`. Standard library only.

timm: `rand-m9-n2-p0.5-mstd0.5-mmax10-inc1-tweights`, `augmix-m3-w3-d-1-mstd0`, `v0 v0r original originalr 3a`.
TrivialAugment has no name in timm, but its rule (one operation, always applied, strength drawn evenly) is
`rand-m10-n1-p1-mstd101-inc1`. `ta_wide` is torchvision's operator with its wider ranges (for timm: `training.timm_aa`).
"""

from __future__ import annotations

import math
import re
from dataclasses import dataclass

from thinresnet.errors import InputError

AUTO_POLICIES = ("v0", "v0r", "original", "originalr", "3a")
_EXAMPLES = "such as rand-m9-mstd0.5-inc1, rand-m10-n1-p1-mstd101-inc1, augmix-m5, original or ta_wide"
_SETS = ("weights", "3aw", "3a")
_LARGEST = {"m": 100, "n": 16, "p": 1, "mstd": 1e6, "mmax": 100, "inc": 1, "w": 16, "d": 16, "b": 1}


@dataclass(frozen=True)
class Policy:
    """A policy as read: `family` is rand, augmix, auto or ta_wide; the rest is what that family uses."""

    family: str
    magnitude: float = 10.0
    layers: int = 2
    probability: float = 0.5
    magnitude_std: float = 0.0
    magnitude_max: float = 10.0
    increasing: bool = False
    operations: str = ""


def parse_policy(text: str) -> Policy:
    """Read a policy string, refusing what timm would stop on or silently pass over."""
    family, *parts = text.split("-")
    if text == "ta_wide":
        return Policy("ta_wide")
    if family == "rand":
        return _rand(text, _numbers(text, parts, ("m", "n", "p", "mstd", "mmax", "inc"), sets=True))
    if family == "augmix":
        _numbers(text, parts, ("m", "w", "d", "b", "mstd"), sets=False)
        return Policy("augmix")
    if family in AUTO_POLICIES:
        _numbers(text, parts, ("mstd",), sets=False)
        return Policy("auto")
    raise InputError(f"{text[:60]!r} is not a policy; write one {_EXAMPLES}")


def _numbers(text: str, parts: list[str], keys: tuple[str, ...], *, sets: bool) -> dict[str, str]:
    found: dict[str, str] = {}
    for part in parts:
        if sets and part.startswith("t"):
            key, value = "t", part[1:]
            allowed = value in _SETS
        else:
            written = re.fullmatch(r"([a-z]+)(\d+(?:\.\d+)?)", part, re.ASCII)
            key, value = written.groups() if written else ("", "")
            whole = key in ("m", "n", "mmax", "inc", "w", "d", "b")
            allowed = key in keys and (value.isdigit() or not whole) and float(value) <= _LARGEST[key]
        if not allowed or key in found:
            raise InputError(f"{text[:60]!r}: {part[:20]!r} is not understood; write a policy {_EXAMPLES}")
        found[key] = value
    return found


def _rand(text: str, numbers: dict[str, str]) -> Policy:
    std = float(numbers.get("mstd", 0))
    policy = Policy(
        "rand",
        magnitude=float(numbers.get("m", 10)),
        layers=int(numbers.get("n", 2)),
        probability=float(numbers.get("p", 0.5)),
        magnitude_std=math.inf if std > 100 else std,  # timm's spelling of an even draw from 0 to m
        magnitude_max=float(numbers.get("mmax", 10)) or 10.0,
        increasing=numbers.get("inc") == "1",
        operations=numbers.get("t", ""),
    )
    if policy.layers < 1:
        raise InputError(f"{text[:60]!r}: n is at least 1")
    return policy
