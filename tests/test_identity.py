"""Identities survive growth: a field that is added at its default moves none of them."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import Any

import pytest

from thinresnet import identity
from thinresnet import recipe as recipes
from thinresnet.convert import fields_of, setting
from thinresnet.identity import FORMAT, LEFT_TO_THE_DEVICE, RECIPE_DEFAULTS, canonical_sha256, differing, plain
from thinresnet.recipe import Recipe

# The table as it stood when its format began. Never edit a line: a default that changes is a new FORMAT and a new line.
PINNED = {1: (82, "6edffc6c69bb207e2cb686d5548d7105a05fafaa3532a386c51ed41261746702")}


@dataclass(frozen=True)
class Grown(Recipe):
    """A recipe of a later version, with two more fields."""

    shuffle_mode: str = setting("all", group="augment", also=())
    spare: tuple[int, ...] = setting((1, 2), group="loss", also=())


def test_the_table_has_the_defaults_of_the_fields() -> None:
    """A new field is added to the table, at its end; a default that changes is a new FORMAT."""
    defaults = {name: plain(one.default) for name, one in fields_of(Recipe).items()}
    assert all(defaults[name] is None for name in LEFT_TO_THE_DEVICE)
    defaults |= dict.fromkeys(LEFT_TO_THE_DEVICE, False)
    assert dict(RECIPE_DEFAULTS) == defaults
    assert {name: type(value) for name, value in RECIPE_DEFAULTS.items()} == {
        name: type(value) for name, value in defaults.items()
    }


def test_the_table_of_a_format_never_changes() -> None:
    entries, digest = PINNED[FORMAT]
    assert canonical_sha256(list(RECIPE_DEFAULTS.items())[:entries]) == digest


@pytest.mark.parametrize("name", recipes.names())
def test_a_new_field_at_its_default_moves_no_recipe_s_identity(name: str) -> None:
    recipe = recipes.load(name)
    values = {field.name: getattr(recipe, field.name) for field in dataclasses.fields(Recipe)}
    grown = Grown(**values)
    assert grown.differing() == recipe.differing()
    assert grown.hash == recipe.hash
    assert Grown(**values, shuffle_mode="some").hash != recipe.hash
    assert grown.replace(spare=(1,)).differing()["spare"] == [1]


def test_what_is_left_to_the_device_is_known_as_off() -> None:
    """Of both recipes a CPU makes the same run; what a GPU makes of them is in the run's identity."""
    for name in LEFT_TO_THE_DEVICE:
        left, off, on = Recipe(), Recipe(**{name: False}), Recipe(**{name: True})
        assert left.differing() == off.differing() == {}
        assert on.differing() == {name: True}
        assert left.hash == off.hash


def test_a_changed_default_changes_what_a_file_means_and_not_what_a_recipe_is() -> None:
    @dataclass(frozen=True)
    class Changed(Recipe):
        smoothing: float = setting(0.2, group="loss", also=())

    assert Changed().hash != Recipe().hash
    assert Changed(smoothing=0.1).hash == Recipe().hash


def test_only_what_differs_is_kept() -> None:
    assert Recipe().differing() == {}
    recipe = Recipe(lr=0.5, scale=(0.08, 1.0), opt_betas=(0.9, 0.99), seed=3, model="resnet18")
    assert recipe.differing() == {"lr": 0.5, "model": "resnet18", "opt_betas": [0.9, 0.99], "seed": 3}
    assert recipe.differing("run", "model") == {"lr": 0.5, "opt_betas": [0.9, 0.99]}


def test_mappings_and_dataclasses_alike() -> None:
    @dataclass(frozen=True)
    class Settings:
        needed: int
        a: int = 1
        b: tuple[int, ...] = dataclasses.field(default_factory=tuple)

    assert differing(Settings(0)) == {"needed": 0}
    assert differing(Settings(0, 2, (3,))) == {"a": 2, "b": [3], "needed": 0}
    assert differing(Settings(0, 2), {"a": 2}) == {"needed": 0}  # the table, not the class, says what is known
    table: dict[str, Any] = {"x": None, "y": 0.0}
    assert differing({"x": None, "y": 0.5, "z": None}, table) == {"y": 0.5, "z": None}


def test_keys_in_any_order_are_one_identity() -> None:
    assert canonical_sha256({"a": 1, "b": [2]}) == canonical_sha256({"b": [2], "a": 1})
    assert identity.plain({"a": (1, 2)}) == {"a": [1, 2]}
