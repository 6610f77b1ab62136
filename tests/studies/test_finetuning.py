"""`finetune`: the recipe's schedule again, the authors' one, and how long; rates follow the batch."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

import thinresnet
from thinresnet import recipe as recipes
from thinresnet.errors import InputError
from thinresnet.studies import summaries as table
from thinresnet.studies.finetuning import Finetuning, read_finetunings
from thinresnet.studies.graphs import read_graphs
from thinresnet.studies.store import Store

CLASSIC = recipes.load("cifar-classic-160")
MODERN = recipes.load("cifar-modern")


def way(given: Any, recipe: recipes.Recipe = CLASSIC) -> Finetuning:
    (found,) = read_finetunings(recipe, [given])
    return found


@pytest.mark.parametrize("given", [{}, "recipe"])
def test_the_recipe_runs_again_for_as_long_as_the_authors_fine_tune(given: Any) -> None:
    found = way(given).for_method("l1", 10)
    assert (found.epochs, found.decay_milestones, found.lr_base) == (40, (21, 31), 0.1)
    assert way(given).for_method("group-norm", 10).epochs == 80  # half of the dense training
    imagenet = recipes.load("imagenet-classic")
    assert way(given, imagenet).for_method("l1", 1000).epochs == 20
    assert way(given, imagenet).for_method("slimming", 1000).epochs == 5


def test_the_authors_schedule() -> None:
    constant = way("authors").for_method("l1", 10)
    assert (constant.epochs, constant.learning_rate(1), constant.warmup_epochs) == (40, pytest.approx(0.001), 0)
    assert min(constant.decay_milestones) > 40  # never
    stepped = way("authors", MODERN).for_method("group-norm", 10)
    assert (stepped.epochs, stepped.decay_milestones) == (150, (91, 121))
    assert stepped.learning_rate(1) == pytest.approx(0.01)


def test_as_long_as_the_dense_training() -> None:
    assert way("full").for_method("l1", 10) == CLASSIC
    assert way({"epochs": "full"}).for_method("l1", 10) == CLASSIC
    assert way({"schedule": "authors", "epochs": "full"}).for_method("l1", 10).total_epochs == 160


def test_flags_go_over_the_compressed_recipe() -> None:
    flags = {"epochs": 40, "lr_base": 0.001, "lr_base_size": 64, "sched": "step", "decay_epochs": 1000}
    for recipe in (CLASSIC, MODERN):
        found = way({**flags, "warmup_epochs": 0}, recipe).for_method("l1", 10)
        assert (found.total_epochs, found.sched, found.warmup_epochs) == (40, "step", 0)
        assert found.learning_rate(1) == pytest.approx(0.001 * recipe.batch_size / 64)
    prefixed = recipes.load("imagenet-torchvision-v2")
    assert way({"epochs": 120}, prefixed).for_method("l1", 1000).total_epochs == 120
    assert way({"epochs": 120, "warmup_epochs": 0}, prefixed).for_method("l1", 1000).epochs == 120


def test_several_ways_are_told_apart() -> None:
    given = ["authors", {"epochs": 40}, {"epochs": 80, "label": "longer"}]
    assert [own.label for own in read_finetunings(CLASSIC, [given])] == ["authors", "recipe", "longer"]
    # A recipe's own list replaces the document's flags; flags of both go together.
    assert [own.label for own in read_finetunings(CLASSIC, [{"epochs": 2}, given])] == ["authors", "recipe", "longer"]
    (both,) = read_finetunings(CLASSIC, [{"epochs": 2}, {"lr_base": 0.5}])
    assert (both.epochs, both.flags, both.label) == (2, {"lr_base": 0.5}, "")


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ("author", "takes recipe, authors, full"),
        (3, "takes recipe, authors, full"),
        ([], "leave it out"),
        (["full", "full"], "give it a label"),
        ({"epochs": 0}, "epochs: takes an integer, at least 1, or full"),
        ({"epochs": "long"}, "epochs: takes an integer, at least 1, or full"),
        ({"lr": "fast"}, "lr: takes a number"),
        ({"label": "a/b"}, "label: takes a name of letters"),
    ],
)
def test_what_is_refused(given: Any, message: str) -> None:
    with pytest.raises(InputError, match=message):
        read_finetunings(CLASSIC, [given])


def test_rates_in_baselines_follow_the_batch() -> None:
    def absolute(value: Any) -> bool:
        if isinstance(value, dict):
            return "lr" in value.get("finetune", {}) or any(map(absolute, value.values()))
        return False

    for path in sorted((Path(thinresnet.__file__).parents[1] / "baselines").glob("*.yaml")):
        assert not any(map(absolute, yaml.safe_load_all(path.read_text()))), path.name


def test_each_way_is_a_row_of_its_own(tmp_path: Path) -> None:
    path = tmp_path / "study.yaml"
    path.write_text("""
study: ways
arch: resnet20_cifar
recipes: {short: {recipe: digits, epochs: 8}}
finetune: [authors, recipe]
budgets: [macs: 50%]
methods: [l1]
protocols: [prune-finetune, prune-finetune-iterative]
steps: 2
""")
    (graph,) = read_graphs(path)
    assert [(own.protocol, own.finetuning) for own in graph.experiments] == [
        ("prune-finetune", "authors"), ("prune-finetune", "recipe"),
        ("prune-finetune-iterative", "authors"), ("prune-finetune-iterative", "recipe"),
    ]  # fmt: skip
    assert {own.finals[0].epochs for own in graph.experiments} == {2}
    found = table.summaries(graph, Store(tmp_path / "runs"))
    assert [own.name for own in found[:2]] == ["l1, fine-tuned (authors)", "l1, fine-tuned (recipe)"]
    rates = [own.finals[0].recipe.learning_rate(4) for own in graph.experiments[:2]]  # type: ignore[attr-defined]
    assert rates == pytest.approx([0.004, 0.4])  # on four processes, four times the rate of one
