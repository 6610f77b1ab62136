"""Every field of a recipe is a flag: names, types, help and defaults."""

from __future__ import annotations

import argparse
import dataclasses

import pytest

from thinresnet.cli.flags import add_flags, overrides_from
from thinresnet.recipe import GROUPS, Recipe


def parser(recipe: Recipe | None = None) -> argparse.ArgumentParser:
    found = argparse.ArgumentParser(prog="train.py")
    add_flags(found, recipe)
    return found


def test_every_field_is_a_flag_and_only_what_was_typed_overrides() -> None:
    typed = "--lr 5e-3 --scale 0.1 1 --no-amp --channels-last --arch resnet18 -b 5 --aa rand-m9"
    typed += " --model-kwargs width=0.5 deep=true"
    found = overrides_from(parser().parse_args(typed.split()))
    assert found == {
        "lr": 0.005, "scale": [0.1, 1.0], "amp": False, "channels_last": True, "model": "resnet18", "batch_size": 5,
        "model_kwargs": {"width": 0.5, "deep": True}, "aa": "rand-m9",
    }  # fmt: skip
    options = {action.dest for action in parser()._actions}
    assert {field.name for field in dataclasses.fields(Recipe)} <= options


def test_help_shows_groups_units_and_the_recipe_s_own_defaults(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        parser(Recipe(lr=0.25)).parse_args(["--help"])
    shown = capsys.readouterr().out
    assert all(title in shown for title in GROUPS.values())
    assert "learning rate, whatever the batch (default: 0.25)" in " ".join(shown.split())


@pytest.mark.parametrize("flags", ["--lr abc", "--epochs 1.5", "--epochs 1e3", "--scale x y", "--model-kwargs width"])
def test_a_wrong_flag_ends_with_code_2(flags: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        parser().parse_args(flags.split())
    assert caught.value.code == 2
    assert flags.split()[0] in capsys.readouterr().err
