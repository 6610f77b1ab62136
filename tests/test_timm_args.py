"""timm's args.yaml as a recipe, and the page of all its flags; `training/timm_args.yaml` is of a real train.py."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from thinresnet import recipe as recipes
from thinresnet import timm_args
from thinresnet.cli import timm_flags
from thinresnet.cli import train as command
from thinresnet.convert import fields_of
from thinresnet.errors import InputError
from thinresnet.recipe import Recipe

SAVED = Path(__file__).parent / "training" / "timm_args.yaml"
FLAGS = timm_flags.read_flags()


def written(folder: Path, **changes: Any) -> Path:
    """The saved file with other values."""
    path = folder / "args.yaml"
    path.write_text(yaml.safe_dump({**yaml.safe_load(SAVED.read_text()), **changes}))
    return path


def test_the_args_of_a_real_run_are_a_recipe() -> None:
    saved = yaml.safe_load(SAVED.read_text())
    recipe = recipes.load(SAVED)
    for name in saved.keys() & fields_of(Recipe).keys() - {"data_dir"}:
        value = getattr(recipe, name)
        expected = tuple(saved[name]) if isinstance(saved[name], list) else saved[name]
        assert value == expected or name == "model_kwargs", name
    assert recipe.data_dir == "data"  # timm's positional argument
    assert recipe.model_kwargs == {"layers": (1, 1, 2, 1), "stem_width": 16}
    assert (recipe.opt, recipe.lr, recipe.lr_noise, recipe.vflip) == ("lamb", 0.005, (0.4, 0.9), 0.1)


def test_what_has_no_effect_is_dropped_by_name(capsys: pytest.CaptureFixture[str]) -> None:
    read = recipes.from_timm(SAVED)
    saved = yaml.safe_load(SAVED.read_text())
    of_a_teacher = {"task_loss_weight", "distill_loss_weight"}  # there is none
    assert set(read.dropped) | set(read.values) | set(timm_args.TRANSLATED) | of_a_teacher == set(saved)
    command.read_flags(["--config", str(SAVED)])
    said = capsys.readouterr().out
    assert said.count("\n") == 1
    for name in ("pin_mem", "output", "device", "no_prefetcher"):
        assert name in said
    assert "naflex" not in said  # not set
    assert not recipes.from_timm("digits").note


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"pretrained": True}, "pretrained: True of timm's train.py is not known here: take it out of the file"),
        ({"resume": "last.pth.tar"}, "resume: 'last.pth.tar'"),
        ({"dist_bn": "broadcast"}, "dist_bn: 'broadcast'"),
        ({"drop_block": 0.1}, "drop_block: 0.1"),
        ({"naflex_loader": True}, "naflex_loader: True"),
        ({"train_batch_sizes": [8, 4]}, "train_batch_sizes: [8, 4]"),
        ({"tta": 4}, "tta: 4"),
        ({"model_dtype": "bfloat16"}, "model_dtype: 'bfloat16'"),
        ({"input_size": [1, 28, 28]}, "input_size: [1, 28, 28]: images here have three channels"),
        ({"kd_model_name": "resnet50", "kd_distill_type": "token"}, "kd_distill_type: 'token'"),
        ({"epohcs": 3}, "unknown key 'epohcs'; did you mean 'epochs'?"),
    ],
)
def test_what_would_change_the_result_is_refused_by_name(tmp_path: Path, changes: dict[str, Any], said: str) -> None:
    path = written(tmp_path, **changes)
    with pytest.raises(InputError) as caught:
        recipes.load(path)
    assert said in str(caught.value)
    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_teacher_of_timm_is_a_teacher_here_with_timm_s_weights(tmp_path: Path) -> None:
    path = written(tmp_path, kd_model_name="resnet18", kd_temperature=2.0)
    recipe = recipes.load(path)
    assert (recipe.distill_temperature, recipe.task_loss_weight, recipe.distill_loss_weight) == (2.0, 1.0, 1.0)
    assert command.read_flags(["--config", str(path)])[0].teacher == "resnet18"
    assert command.read_flags(["--config", str(path), "--kd-model-name", "mine"])[0].teacher == "mine"
    alone = recipes.load(written(tmp_path, kd_model_name="resnet18", task_loss_weight=0.3))
    assert (alone.task_loss_weight, alone.distill_loss_weight) == (0.3, None)
    without = recipes.load(written(tmp_path, kd_temperature=2.0, task_loss_weight=0.3))
    assert (without.distill_temperature, without.task_loss_weight) == (4.0, None)  # timm uses them with a teacher only


def test_other_words_for_the_same(tmp_path: Path) -> None:
    assert recipes.load(written(tmp_path, img_size=None, input_size=[3, 96, 96])).img_size == 96
    assert recipes.load(written(tmp_path, data="there", data_dir="here")).data_dir == "here"


def one_line(error: InputError) -> None:
    assert "\n" not in str(error)


KNOWN = sorted({*timm_args.DROPPED, *timm_args.REFUSED, *timm_args.TRANSLATED, "lr", "nobody's"})
VALUES = st.one_of(st.none(), st.booleans(), st.integers(), st.floats(), st.text(max_size=5), st.lists(st.integers()))


@settings(max_examples=200, deadline=None)
@given(st.dictionaries(st.sampled_from(KNOWN), VALUES, max_size=5))
def test_any_values_are_read_or_refused_in_a_line(values: dict[str, Any]) -> None:
    try:
        read = timm_args.read(values, fields_of(Recipe), "x")
    except InputError as error:
        one_line(error)
        return
    assert not {*read.values} & {*timm_args.DROPPED, *timm_args.REFUSED, "data", "input_size"}
    assert read.values.get("nobody's") == values.get("nobody's")  # refused later, as any unknown key


# --- the page ---------------------------------------------------------------------------------------------------------


def test_every_flag_of_timm_has_its_place_and_its_default_changes_nothing() -> None:
    tables = {**timm_args.DROPPED, **timm_args.REFUSED, **timm_args.TRANSLATED}
    assert set(FLAGS) <= {*fields_of(Recipe), *tables}
    assert len(tables) == len(timm_args.DROPPED) + len(timm_args.REFUSED) + len(timm_args.TRANSLATED)
    for name, rule in timm_args.REFUSED.items():
        assert FLAGS[name]["default"] in rule.neutral, name
    assert set(timm_flags.DIFFERENT) <= set(FLAGS) & set(fields_of(Recipe))


def test_the_page_is_current() -> None:
    assert timm_flags.PAGE.read_text(encoding="utf-8") == timm_flags.page(), "run python -m thinresnet.cli.timm_flags"
    assert f"{len(FLAGS)} flags" in timm_flags.page()
    assert all(f"`--{name.replace('_', '-')}`" in timm_flags.page() for name in FLAGS)


def test_the_file_of_flags_is_written_as_it_is_read() -> None:
    assert timm_flags.FLAGS.read_text(encoding="utf-8") == timm_flags.as_json(FLAGS)
    assert json.loads(timm_flags.as_json(FLAGS)) == FLAGS
