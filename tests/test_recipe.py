"""Recipes as files, flags and objects: what is read, what is refused and in which words."""

from __future__ import annotations

import dataclasses
import math
import os
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from thinresnet import recipe as recipes
from thinresnet.errors import InputError
from thinresnet.recipe import Recipe


def write(folder: Path, text: str | bytes) -> Path:
    path = folder / "mine.yaml"
    path.write_bytes(text.encode() if isinstance(text, str) else text)
    return path


def one_line(error: InputError) -> None:
    assert "\n" not in str(error)


def test_a_recipe_survives_being_written_and_read() -> None:
    recipe = Recipe(
        lr=1e-5,
        opt_betas=(0.6, 0.98),
        model_kwargs={"width": 0.5},
        train_img_sizes=(160, 192),
        aa="rand-m9",
        mean=(0.5,),
    )
    assert Recipe.from_mapping(yaml.safe_load(recipe.to_yaml()), "again") == recipe


def test_a_string_that_is_a_number_is_one_as_in_timm(tmp_path: Path) -> None:
    assert recipes.load(write(tmp_path, "lr: 5e-3\nepochs: '20'\n")).lr == 0.005


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("epohcs: 3", "unknown key 'epohcs'; did you mean 'epochs'?"),
        ("lr: fast", "lr: takes a number, at least 0, at most 10000, or null, got 'fast'"),
        ("epochs: true", "epochs: takes an integer"),
        ("epochs: 1.5", "epochs: takes an integer"),
        ("epochs: 0", "at least 1"),
        ("amp: 1", "amp: takes true or false"),
        ("amp: 'no'", "amp: takes true or false"),
        ("lr: .nan", "lr: takes a number"),
        ("lr: .inf", "lr: takes a number"),
        ("momentum: 1.5", "at most 1"),
        ("scale: [0.5]", "scale: takes 2 values, got 1"),
        ("scale: ['0.5', 1]", "got '0.5'"),
        ("scale: [0.9, 0.5]", "the first value is at most the second"),
        ("mean: [0.5, 0.5]", "mean: takes 1 or 3 values"),
        ("decay_milestones: [30, 20]", "must increase"),
        ("train_size_schedule: progressive", "needs two or more train_img_sizes"),
        ("sched: cosin", "sched: takes one of 'cosine'"),
        ("aa: rand-m9-n2-x3", "'x3' is not understood"),
        ("aa: randaugment", "is not a policy"),
        ("aa: rand-m9-m9", "'m9' is not understood"),
        ("epochs: 3", "warmup_epochs: 5 are more than epochs (3)"),
        ("model_kwargs: {a: {b: 1}}", "a: takes true or false, an integer, a number, a string or a list of"),
        ("model_kwargs: {'a b': 1}", "is not the name of an argument"),
        ("model: !!python/object/apply:os.system [echo]", "line 1"),
        ("model: &a [*a]", "an alias"),
        ("lr: 1\nlr: 2", "line 2"),
        ("lr: !!int ''", "mine.yaml: not plain YAML"),
        ("epochs: 0x" + "f" * 5000, "an integer of thousands of digits"),
        ("lr: 1\n---\nlr: 2", "2 documents"),
        ("model_kwargs: {a: 1, a: 2}", "the key 'a' twice"),
        ("- lr", "a recipe has lines of `key: value`, got ['lr']"),
        ("lr: [", "line 1"),
        ("", "got None"),
        ("? [1, 2]\n: 3", "mine.yaml"),
        ("1: 2", "unknown key 1"),
        ("lr: 2020-13-45", "mine.yaml"),
        ('model: "a\\x1bb"', "model: takes a string without line breaks and control characters"),
        (b"\xff\xfe\x00", "cannot be read"),
        ("seed: " + "9" * 5000, "mine.yaml"),
        ("model: " + "x" * 70_000, "larger than 65,536 bytes"),
        ("model: " + "[" * 5000 + "]" * 5000, "mine.yaml"),
    ],
)  # fmt: skip
def test_what_is_wrong_is_said_in_one_line(tmp_path: Path, text: str | bytes, said: str) -> None:
    path = write(tmp_path, text)
    with pytest.raises(InputError) as caught:
        recipes.load(path)
    message = str(caught.value)
    assert said in message
    assert str(path) in message
    assert "\n" not in message
    assert len(message) < 600


def test_aliases_cannot_grow(tmp_path: Path) -> None:
    lines = ["a: &a0 [x, x]"] + [f"b{i}: &a{i} [{', '.join([f'*a{i - 1}'] * 9)}]" for i in range(1, 30)]
    with pytest.raises(InputError, match="an alias"):
        recipes.load(write(tmp_path, "\n".join(lines)))


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("imagenet-a4", "did you mean 'imagenet-"),
        ("nowhere/x.yaml", "no such file"),
        ("/dev/zero.yaml", "no such file"),
    ],
)
def test_a_recipe_that_is_not_there(name: str, said: str) -> None:
    with pytest.raises(InputError, match=said):
        recipes.load(name)


def test_a_device_is_no_recipe(tmp_path: Path) -> None:
    pipe = tmp_path / "pipe.yaml"
    os.mkfifo(pipe)
    with pytest.raises(InputError, match="no such file"):
        recipes.load(pipe)


def test_flags_go_on_top_of_the_file(tmp_path: Path) -> None:
    path = write(tmp_path, "lr: 1\nepochs: 20\n")
    recipe = recipes.load(path, {"lr": 0.5})
    assert (recipe.lr, recipe.epochs) == (0.5, 20)
    with pytest.raises(InputError, match="with flags: warmup_epochs: 5"):
        recipes.load(path, {"epochs": 2})


def test_the_hash_is_of_how_to_train() -> None:
    recipe = Recipe(lr=0.1)
    assert Recipe.from_mapping({"epochs": 300, "lr": "1e-1"}, "x").hash == recipe.hash
    elsewhere = recipe.replace(
        model="resnet18", seed=7, data_dir="there", dataset="digits", workers=0, torchcompile="x"
    )
    assert elsewhere.hash == recipe.hash
    for field in dataclasses.fields(Recipe):
        if field.name in ("lr", "crop_padding", "smoothing", "img_size", "amp", "model_ema", "opt_kwargs"):
            changed = {"opt_kwargs": {"a": 1}, "img_size": 7, "amp": True, "model_ema": True, "crop_padding": 1}
            assert recipe.replace(**{field.name: changed.get(field.name, 0.5)}).hash != recipe.hash


def test_the_rate_follows_the_batch_by_timm_s_rule() -> None:
    assert Recipe(lr=0.3).learning_rate(8) == 0.3
    assert Recipe(batch_size=128).learning_rate(4) == pytest.approx(0.1 * 2)
    assert Recipe(batch_size=64, grad_accum_steps=2).learning_rate(4) == pytest.approx(0.1 * 2)
    for opt in ("lamb", "adamw"):
        assert Recipe(batch_size=128, opt=opt).learning_rate(4) == pytest.approx(0.1 * math.sqrt(2))
    assert Recipe(batch_size=128, opt="lamb", lr_base_scale="linear").learning_rate(4) == pytest.approx(0.2)


def test_reading_a_recipe_imports_nothing_heavy() -> None:
    code = "import sys; from thinresnet import recipe; recipe.load('digits'); assert 'torch' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True, cwd=Path(recipes.__file__).parents[2])


# A value of each sort that YAML knows, so that every field meets every wrong type.
VALUES = st.one_of(
    st.none(), st.booleans(), st.integers(), st.floats(), st.text(max_size=20), st.dates(),
    st.lists(st.one_of(st.integers(), st.floats(), st.text(max_size=5)), max_size=4),
    st.dictionaries(st.text(max_size=5), st.integers(), max_size=3),
)  # fmt: skip
NAMES = st.sampled_from([field.name for field in dataclasses.fields(Recipe)])


@settings(max_examples=300, deadline=None)
@given(st.dictionaries(NAMES, VALUES, max_size=4))
def test_anything_is_either_a_recipe_that_reads_back_or_refused(values: dict[str, object]) -> None:
    try:
        recipe = Recipe.from_mapping(values, "x")
    except InputError as error:
        one_line(error)
        return
    again = Recipe.from_mapping(yaml.safe_load(recipe.to_yaml()), "again")
    assert again == recipe
    assert again.hash == recipe.hash
    for name, value in values.items():
        kept = getattr(recipe, name)
        assert type(kept) is not bool or isinstance(value, bool)


@settings(max_examples=150, deadline=None)
@given(st.text(alphabet=st.characters(codec="utf-8"), max_size=60))
def test_any_text_is_read_or_refused(tmp_path_factory: pytest.TempPathFactory, text: str) -> None:
    path = write(tmp_path_factory.getbasetemp(), text)
    try:
        recipes.load(path)
    except InputError as error:
        one_line(error)


def test_an_installed_package_carries_its_recipes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """setup.py puts recipes/ inside the package; a checkout has it beside the package."""
    package = tmp_path / "site" / "thinresnet"
    (package / "recipes").mkdir(parents=True)
    (package / "recipes" / "mine.yaml").write_text("epochs: 7\n")
    monkeypatch.setattr(recipes.thinresnet, "__file__", str(package / "__init__.py"))
    assert recipes.names() == ("mine",)
    assert recipes.load("mine").epochs == 7


@pytest.mark.parametrize(
    ("values", "said"),
    [
        ({"mixup": 0.2, "batch_size": 7}, "batch_size: mixup and cutmix mix pairs, so it is even; got 7, give 8"),
        ({"cutmix_minmax": [0.2, 0.6], "batch_size": 7}, "batch_size: mixup and cutmix mix pairs"),
        ({"cutmix_minmax": [0.6, 0.2]}, "cutmix_minmax: the first value is at most the second"),
        ({"opt": "adahessian"}, "opt: adahessian needs the second derivatives"),
        ({"opt": "lookahead_adahessian"}, "opt: lookahead_adahessian needs the second derivatives"),
        ({"jsd_loss": True}, "jsd_loss: is about the versions of an image; give aug_splits too"),
        ({"aug_splits": 1}, "aug_splits: takes 0 or at least 2"),
        ({"aug_splits": 3, "mixup": 0.2}, "mixup and cutmix would undo that"),
        ({"aug_splits": 3, "no_aug": True}, "no_aug would undo that"),
        ({"aug_splits": 3, "split_bn": True, "sync_bn": True}, "leave out sync_bn"),
        ({"crop_padding": 4, "train_crop_mode": "rkrc"}, "train_crop_mode rkrc is another; leave one out"),
        ({"sched": "plateau", "sched_on_updates": True}, "plateau moves at the end of an epoch"),
        ({"train_img_sizes": [8, 16], "train_size_probs": [1.0]}, "train_size_probs: one share for each"),
        ({"task_loss_weight": 0.3, "distill_alpha": 0.5}, "weighs both losses, and so does task_loss_weight"),
        ({"task_loss_weight": 2.0}, "alone it leaves the rest of 1 to the teacher"),
        ({"weight_decay_also": ["bn"], "layer_decay": 0.7}, "not known together with layer_decay"),
        ({"weight_decay_also": ["bn"], "opt_kwargs": {"filter_bias_and_bn": False}}, "all are decayed"),
    ],
)  # fmt: skip
def test_what_cannot_be_together_is_refused_in_words(values: dict[str, object], said: str) -> None:
    with pytest.raises(InputError) as caught:
        Recipe.from_mapping(values, "x")
    assert said in str(caught.value)
    one_line(caught.value)


def test_the_epochs_of_a_run_are_timm_s() -> None:
    assert Recipe(epochs=100, cooldown_epochs=10).total_epochs == 110
    assert Recipe(epochs=100, cooldown_epochs=10, warmup_prefix=True).total_epochs == 115
    for sched in ("step", "multistep", "constant", "plateau"):  # have no end, so nothing comes after it
        assert Recipe(epochs=100, cooldown_epochs=10, sched=sched).total_epochs == 100
    assert Recipe(epochs=10, lr_cycle_limit=3, cooldown_epochs=2).total_epochs == 32
    assert Recipe(epochs=10, lr_cycle_limit=3, lr_cycle_mul=2.0).total_epochs == 70


def test_lists_of_keyword_arguments_survive() -> None:
    recipe = Recipe.from_mapping({"model_kwargs": {"layers": [1, 2], "width": 0.5}}, "x")
    assert recipe.model_kwargs == {"layers": (1, 2), "width": 0.5}
    assert Recipe.from_mapping(yaml.safe_load(recipe.to_yaml()), "again") == recipe
