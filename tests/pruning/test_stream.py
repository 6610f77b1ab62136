"""The residual stream: pruned where a method's authors do, unless asked otherwise; recorded, and part of a stage."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from thinresnet.budget import Budget
from thinresnet.errors import InputError
from thinresnet.networks import build, scale
from thinresnet.networks.cutting import channels_of
from thinresnet.pruning import method, methods, prune
from thinresnet.pruning.folder import prune_to_folders
from thinresnet.pruning.parent import Parent
from thinresnet.pruning.registry import facts
from thinresnet.pruning.session import How, check_targets
from thinresnet.studies.graphs import read_graphs
from thinresnet.studies.stages import Prune

NETWORK = scale("resnet20_cifar", depths=[1, 1, 1], width=0.5, input_size=(3, 8, 8), num_classes=10)
HALF = (Budget.parse("macs", "12%"),)
INSIDE = {name for name, group in channels_of(NETWORK).ties.groups.items() if group.interior}


def test_the_default_is_what_the_authors_prune() -> None:
    assert {name for name, kind in methods().items() if kind.stream} >= {"group-norm"}
    assert not {"l1", "fpgm", "sfp", "slimming", "thinet", "lasso"} & {
        n for n, kind in methods().items() if kind.stream
    }
    assert facts(methods()["group-norm"])["stream"]
    assert not facts(methods()["l1"])["stream"]


@pytest.mark.parametrize(
    ("name", "given", "goes"),
    [("l1", None, False), ("l1", True, True), ("group-norm", None, True), ("group-norm", False, False)],
)
def test_what_is_cut_and_recorded(
    name: str, given: bool | None, goes: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(methods()[name], "needs", frozenset({"weights"}))  # without epochs there are no images either
    chosen = method(name, {"epochs": 0} if name == "group-norm" else {})
    parent = Parent(name="own", network=NETWORK, recipe=None, holdout=0.0)
    ((_, record),) = prune_to_folders(chosen, parent, How(budgets=(HALF,), stream=given), output=tmp_path)
    cut = {group for group in NETWORK.channels if record.channels[group] < NETWORK.channels[group]}
    assert cut & INSIDE
    assert record.stream is goes
    assert bool(cut - INSIDE) is goes


def test_a_budget_that_needs_the_stream_says_so() -> None:
    model = build(NETWORK, seed=0)
    with pytest.raises(InputError, match=r"keeps its residual stream.*; --stream prunes it too$"):
        prune(method("l1"), NETWORK, model, [(Budget.parse("macs", "2%"),)])
    with pytest.raises(InputError, match=r"; --stream would not reach it either$"):
        prune(method("l1"), NETWORK, model, [(Budget.parse("macs", "0.01%"),)])
    check_targets(method("l1"), NETWORK, [(Budget.parse("macs", "2%"),)], stream=True)
    check_targets(method("group-norm"), NETWORK, [(Budget.parse("macs", "2%"),)])


def test_at_initialisation_there_is_nothing_to_choose() -> None:
    check_targets(method("synexp"), NETWORK, [HALF])
    check_targets(method("synexp"), NETWORK, [HALF], stream=False)
    with pytest.raises(InputError, match="--stream: synexp acts at initialisation"):
        check_targets(method("synexp"), NETWORK, [HALF], stream=True)


def _stage(folder: Path, entry: object) -> Prune:
    path = folder / "study.yaml"
    document = {
        "study": "one", "arch": "resnet20_cifar", "kwargs": {"depths": [1, 1, 1]}, "dataset": "digits", "holdout": 0.1,
        "recipes": {"short": {"recipe": "digits", "epochs": 2, "warmup_epochs": 0}}, "finetune": {"epochs": 1},
        "budgets": [{"macs": "50%"}], "methods": [entry], "protocols": ["prune-finetune"], "seeds": [1],
    }  # fmt: skip
    path.write_text(yaml.safe_dump(document), encoding="utf-8")
    (graph,) = read_graphs(path)
    (found,) = (stage for stage in graph.stages.values() if isinstance(stage, Prune))
    return found


def test_a_stage_is_another_only_where_the_value_is(tmp_path: Path) -> None:
    bare, spelled = _stage(tmp_path, "l1"), _stage(tmp_path, {"method": "l1", "stream": False})
    assert "stream" not in bare.identity  # as before there was a default of the method's
    assert bare.key == spelled.key
    assert _stage(tmp_path, {"method": "l1", "stream": True}).identity["stream"] is True
    own, as_before = _stage(tmp_path, "group-norm"), _stage(tmp_path, {"method": "group-norm", "stream": False})
    assert own.identity["stream"] is True
    assert "stream" not in as_before.identity
