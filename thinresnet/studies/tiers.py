"""`tiers` of a study: the same tables over other epochs and random seeds, and nothing else.

A tier says `seeds`, and `epochs` by label: of a recipe (the dense parent's), of a way of fine-tuning, or of a method
that trains while it prunes (its setting `epochs`; of a gradual one, `updates` between removals).
"""

from __future__ import annotations

import copy
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from thinresnet.convert import convert, setting, unknown_name
from thinresnet.errors import InputError

USUAL = "laptop"  # the document as it is


@dataclass(frozen=True)
class Tier:
    """An entry of `tiers`."""

    seeds: tuple[int, ...] = setting((), "instead of the study's", low=0, distinct=True)
    epochs: dict[str, int] = setting(
        dict, "by label: of a recipe, a way of fine-tuning, or a method (of a gradual one: updates)"
    )


def at_tier(document: Any, tier: str, where: str) -> Any:
    """A document as a tier has it, without the tiers; the usual one is the document as it is."""
    if not isinstance(document, Mapping):
        return document  # whoever reads it says what it is not
    given = copy.deepcopy(dict(document))
    tiers = given.pop("tiers", {})
    if not isinstance(tiers, dict) or not all(isinstance(own, dict) for own in tiers.values()):
        raise InputError(f"{where}: tiers: takes a mapping of names to `seeds` and `epochs`")
    known = {name: convert(Tier, own, f"{where}: tiers: {name}", source="yaml") for name, own in tiers.items()}
    if tier == USUAL:
        return given
    if tier not in known:
        raise unknown_name(where, "tier", tier, [USUAL, *known])
    own = known[tier]
    if own.seeds:
        given["seeds"] = list(own.seeds)
    places = dict(_places(given))
    for label, epochs in own.epochs.items():
        if label not in places:
            raise unknown_name(f"{where}: tiers: {tier}: epochs", "label", label, list(places))
        if epochs < 1:
            raise InputError(f"{where}: tiers: {tier}: epochs: {label}: takes 1 or more, got {epochs}")
        entry, key = places[label]
        entry[key] = epochs
    return given


def _places(given: dict[str, Any]) -> Iterator[tuple[str, tuple[dict[str, Any], str]]]:
    """Where the epochs of each label stand."""
    recipes = given.get("recipes")
    for label, entry in recipes.items() if isinstance(recipes, dict) else ():
        if isinstance(entry, dict):
            yield str(label), (entry, "epochs")
    ways = given.get("finetune")
    for way in ways if isinstance(ways, list) else [ways]:
        if isinstance(way, dict) and "label" in way:
            yield str(way["label"]), (way, "epochs")
    methods = given.get("methods")
    for method in methods if isinstance(methods, list) else ():
        settings = method.get("set") if isinstance(method, dict) else None
        if isinstance(settings, dict) and (
            key := next((name for name in ("epochs", "updates") if name in settings), "")
        ):
            yield str(method.get("label", method.get("method"))), (settings, key)
