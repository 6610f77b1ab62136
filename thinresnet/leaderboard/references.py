"""Reference sets: which simply scaled networks may be the bar, and under which assumptions they are asked for.

A reference is a dense network or a uniform scaling of one, trained on the dataset alone without a teacher. Nothing
that was pruned or searched is ever one. What a reader may doubt about a comparison is an assumption with a name:
which references, how they were trained, at which resolution they were tested, and which cost is bounded.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache

from thinresnet.errors import InputError, nearest
from thinresnet.leaderboard.schema import REFERENCE_FLAGS, Entry

# The version of the rule by which verdicts are made; docs/leaderboard-rules.md is its text.
RULES = 2

SAME_ARCHITECTURE, PLAIN_RESNETS, ANY_PLAIN_CNN = "same architecture", "plain ResNets", "any plain CNN"
REFERENCES: Mapping[str, str] = {
    SAME_ARCHITECTURE: "the row's own dense network and its scalings",
    PLAIN_RESNETS: "ResNets of 18 to 101 layers with their d and t variants; on CIFAR 20 to 110 layers",
    ANY_PLAIN_CNN: "ResNets, ResNeXts, VGGs, DenseNets, Inceptions, MobileNets V1 and V2, ConvNeXts; nothing searched",
}
ANY, CLASSICAL, OWN = "any", "classical", "own"
RECIPES: Mapping[str, str] = {
    ANY: "references trained by any recipe",
    CLASSICAL: "references whose recipe is known to be classical: short, without mixed images or learned augmentation",
}
RESOLUTIONS: Mapping[str, str] = {
    ANY: "references tested at any resolution: resolution is one way of scaling",
    OWN: "references tested at the row's own resolution",
}
# The costs that a budget bounds.
BUDGETS: Mapping[str, tuple[str, ...]] = {"macs": ("macs",), "params": ("params",), "both": ("macs", "params")}
BUDGET_NAMES: Mapping[str, str] = {"macs": "MACs", "params": "parameters", "both": "MACs and parameters"}
UNITS: Mapping[str, str] = {"macs": "G MACs", "params": "M parameters"}
# What is said wherever a reference with one of `REFERENCE_FLAGS` decides.
CAVEATS: Mapping[str, str] = {
    "best-epoch": "reports its best epoch on the test set",
    "from-image": "was read off an image of a table",
}

_PLAIN_RESNET = re.compile(r"resnet((18|26|34|50|101)([dt]|_cifar)?|(20|32|44|56|110)_cifar)")
_PLAIN_CNN = re.compile(
    r"(pre|wide_)?resnet(?!rs)(v2_?)?\d.*|wrn\d.*|resnext\d.*|vgg\d.*|densenet\w*|googlenet|inception\w*"
    r"|mobilenet_?v[12](_.*|\d*)|convnext_(atto|femto|pico|nano|tiny|small|base|large)"
)


@dataclass(frozen=True)
class Assumptions:
    """Under which assumptions a row is judged: one cell of the matrix."""

    references: str = SAME_ARCHITECTURE
    recipes: str = ANY
    resolution: str = ANY
    budget: str = "macs"

    def __post_init__(self) -> None:
        for name, choices in _CHOICES.items():
            if (value := getattr(self, name)) not in choices:
                raise InputError(f"{name} {value!r}: one of {', '.join(choices)}{nearest(value, choices)}")

    @property
    def says(self) -> str:
        """The assumptions in words."""
        size = "" if self.resolution == ANY else " at its own resolution"
        return f"{self.references}, {self.recipes} recipe{size}, on {BUDGET_NAMES[self.budget]}"


_CHOICES: Mapping[str, Mapping[str, object]] = {
    "references": REFERENCES,
    "recipes": RECIPES,
    "resolution": RESOLUTIONS,
    "budget": BUDGETS,
}
# Every cell of the matrix, in the order in which it is printed.
ALL_ASSUMPTIONS: tuple[Assumptions, ...] = tuple(
    Assumptions(references, recipes, resolution, budget)
    for budget in BUDGETS
    for references in REFERENCES
    for recipes in RECIPES
    for resolution in RESOLUTIONS
)


def usual_references(arch: str) -> str:
    """The set to show first where only one can be shown: plain ResNets for ResNets, its own scalings for others."""
    return PLAIN_RESNETS if _PLAIN_RESNET.fullmatch(arch) else SAME_ARCHITECTURE


def references_named(text: str, arch: str) -> str:
    """The reference set that a user names (`plain-resnets`), or the usual one of `arch` where the name is empty."""
    names = {name.lower().replace(" ", "-"): name for name in REFERENCES}
    if not text:
        return usual_references(arch)
    slug = text.lower().replace(" ", "-")
    if slug not in names:
        raise InputError(f"--against {text}: one of {', '.join(names)}{nearest(slug, names)}")
    return names[slug]


@lru_cache(maxsize=4096)
def serves_as(arch: str, references: str, judged_arch: str) -> bool:
    """Whether a network of `arch` belongs to the reference set for a row of `judged_arch`."""
    if references == SAME_ARCHITECTURE:
        return arch == judged_arch
    return bool((_PLAIN_RESNET if references == PLAIN_RESNETS else _PLAIN_CNN).fullmatch(arch))


def may_be_the_bar(entry: Entry) -> bool:
    """Whether a row is a simply scaled network: no search, pruning, teacher or extra data, and no flag that bars it."""
    if entry.family not in ("dense", "scaled") or entry.teacher or entry.extra_data:
        return False
    return REFERENCE_FLAGS.issuperset(entry.flags)
