"""What stages are known by: new fields at their defaults move no key, what decides does, and they travel pickled."""

from __future__ import annotations

import dataclasses
import pickle
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from thinresnet import recipe as recipes
from thinresnet.budget import Budget
from thinresnet.errors import InputError
from thinresnet.networks import count, scale
from thinresnet.recipe import Recipe
from thinresnet.studies.graph import StudyGraph
from thinresnet.studies.stages import (
    CostPoint,
    Guide,
    Import,
    Mask,
    Measure,
    Prune,
    Rescale,
    Rewind,
    Source,
    Stage,
    Timing,
    Train,
)
from thinresnet.studies.stages import train as train_module
from thinresnet.studies.stages.defaults import DEFAULTS

KINDS = (Train, Measure, Import, Prune, Rescale, Guide, Rewind, Mask, Timing)


def trained(kind: type[Train] = Train, **changes: Any) -> Train:
    values: dict[str, Any] = {
        "name": "a-run",
        "recipe": recipes.load("digits"),
        "recipe_name": "short",
        "shape": "dense",
        "seed": 1,
        "dataset": "digits",
        "classes": 10,
        "images": 1438,
        "network": scale("resnet20_cifar", input_size=(3, 8, 8)),
        "macs": 10**6,
    }
    return kind(**{**values, **changes})


def pruned(**changes: Any) -> Prune:
    values: dict[str, Any] = {
        "name": "a-pruning",
        "method": "l1",
        "settings": {},
        "seed": 1,
        "points": (CostPoint((Budget.parse("macs", "50%"),)),),
        "parent": Source(trained()),
        "macs": 10**6,
        "images_seen": 0,
    }
    return Prune(**{**values, **changes})


def test_every_default_of_a_stage_is_documented() -> None:
    assert {kind.kind for kind in KINDS} == set(DEFAULTS)
    for kind in KINDS:
        decide = [one for one in dataclasses.fields(kind) if one.metadata.get("decides", True)]
        assert set(DEFAULTS[kind.kind]) <= {one.name for one in decide}
        for one in decide:
            if one.default is not dataclasses.MISSING:
                assert DEFAULTS[kind.kind][one.name] == one.default, f"{kind.kind}: {one.name}"


def test_a_new_field_at_its_default_moves_no_key(monkeypatch: pytest.MonkeyPatch) -> None:
    @dataclass(frozen=True, eq=False, kw_only=True)
    class Grown(Train):
        patience: int = 0

    before = trained()
    monkeypatch.setitem(DEFAULTS, "train", {**DEFAULTS["train"], "patience": 0})
    assert trained(Grown).key == before.key
    assert trained(Grown, patience=3).key != before.key
    # Nor the keys of what goes on from it.
    assert pruned(parent=Source(trained(Grown))).key == pruned().key


def test_a_new_field_of_a_recipe_at_its_default_moves_no_key() -> None:
    @dataclass(frozen=True)
    class Grown(Recipe):
        sharpness: float = dataclasses.field(default=0.0, metadata=_LIKE_LR)

    old = recipes.load("digits")
    values = {one.name: getattr(old, one.name) for one in dataclasses.fields(old)}
    before, after = trained(recipe=old), trained(recipe=_new(Grown, values))
    assert after.key == before.key
    assert trained(recipe=_new(Grown, {**values, "sharpness": 0.5})).key != before.key


_LIKE_LR = next(one for one in dataclasses.fields(Recipe) if one.name == "lr_base").metadata


def _new(kind: type[Any], values: dict[str, Any]) -> Any:
    """An instance whose fields are not checked: what knows of fields knows those of today."""
    found = object.__new__(kind)
    for one in dataclasses.fields(kind):
        object.__setattr__(found, one.name, values.get(one.name, one.default))
    return found


@pytest.mark.parametrize(
    "changes",
    [
        {"seed": 2},
        {"holdout": 0.1},
        {"shape": "w0.5"},
        {"dataset": "cifar10"},
        {"images": 1437},
        {"equal_macs": 10**6},
        {"total_macs": 10**13},
        {"recipe": recipes.load("digits", {"epochs": 21})},
        {"network": scale("resnet20_cifar", input_size=(3, 8, 8), width=0.5)},
        {"weights": Source(trained())},
        {"teacher": Source(trained())},
    ],
)
def test_what_decides_moves_the_key(changes: dict[str, Any]) -> None:
    assert trained(**changes).key != trained().key


def test_what_differs_from_machine_to_machine_does_not() -> None:
    elsewhere = recipes.load("digits", {"data_dir": "/data", "workers": 9, "log_wandb": True, "seed": 5})
    assert trained(recipe=elsewhere, name="another", macs=3).key == trained().key
    assert pruned(data_dir="/data", images_seen=7).key == pruned().key


def test_a_teacher_s_passes_are_part_of_the_training_cost() -> None:
    teacher = trained(macs=7 * 10**6)
    images = 1438 // 64 * 64 * teacher.epochs  # whole batches
    assert trained(teacher=Source(teacher)).training_macs == (3 * 10**6 + 7 * 10**6) * images
    assert trained().training_macs == 3 * 10**6 * images
    # The key of a stage as it was before there was a teacher.
    assert trained().key == "78100ea2b0d09bbcd2d4e530d780cf4754f847018873d2fb94869a41e06011a3"


def test_a_stage_that_travelled_is_the_same() -> None:
    stage = pruned()
    again = pickle.loads(pickle.dumps(stage))
    assert (again.key, again.folder, again.training_macs) == (stage.key, stage.folder, stage.training_macs)
    assert list(again.inputs) == ["parent"]


def test_no_two_stages_of_a_study_share_a_key_by_chance(graph: StudyGraph) -> None:
    identities = [(stage.kind, repr(stage.identity)) for stage in graph.stages.values()]
    assert len(set(identities)) == len(graph.stages)


def test_stages_name_no_folder_of_the_machine(graph: StudyGraph) -> None:
    stages: list[Stage] = list(graph.stages.values())
    assert not any(str(Path.cwd()) in repr(stage.identity) or "'/" in repr(stage.identity) for stage in stages)


def test_an_equal_total_is_what_the_records_leave(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of 40 epochs of the dense network, its own training took 20, the search two: the rest is for half the MACs."""
    network = scale("resnet20_cifar", input_size=(3, 8, 8), width=0.5)
    dense = count(scale("resnet20_cifar", input_size=(3, 8, 8))).macs
    epoch = 3 * dense * (1438 // 64 * 64)
    record = {"training_macs": 2 * epoch, "parent_run": {"run": "parent", "training_macs": 20 * epoch}}
    monkeypatch.setattr(train_module, "read_pruning", lambda folder: SimpleNamespace(**record))
    monkeypatch.setattr(train_module, "read_network", lambda folder: network)
    found: list[Recipe] = []
    monkeypatch.setattr(train_module, "train", lambda recipe, *_, **__: found.append(recipe))
    source = Source(pruned(macs=dense, parent=Source(trained(macs=dense))))
    # Planned with an upper bound of the found network's MACs, trained by what it has.
    stage = trained(network=source, total_macs=40 * epoch, macs=dense)
    assert stage.epochs == 20
    stage.run({"network": tmp_path}, tmp_path / "out", quiet=True)
    assert found[0].total_epochs == 18 * dense // count(network).macs
    assert found[0].lr_base == stage.recipe.lr_base
    # A total that is gone by then is refused in words.
    record["training_macs"] = 20 * epoch
    with pytest.raises(InputError, match="less than an epoch is left"):
        stage.run({"network": tmp_path}, tmp_path / "out", quiet=True)
