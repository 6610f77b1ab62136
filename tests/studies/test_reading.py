"""Reading a study: what a document says, and that what it cannot say is one line."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from thinresnet.errors import InputError
from thinresnet.studies.graphs import graph_of
from thinresnet.studies.protocols import PROTOCOLS
from thinresnet.studies.reading import read_studies
from thinresnet.studies.study import Study

GOOD: dict[str, Any] = {
    "study": "good",
    "arch": "resnet20_cifar",
    "kwargs": {"depths": [1, 1, 1]},
    "holdout": 0.1,
    "recipes": {"short": {"recipe": "digits", "epochs": 4}, "plain": "digits"},
    "finetune": {"epochs": 2, "warmup_epochs": 0},
    "budgets": [{"macs": "50%"}, {"macs": "25%", "params": "30k"}],
    "methods": ["l1", {"method": "slimming", "set": {"epochs": 1}, "scope": "layer", "label": "thin"}],
    "protocols": ["dense", "scratch-b"],
    "seeds": [1, 2],
}


def read(folder: Path, *documents: Any, **changes: Any) -> tuple[Study, ...]:
    path = folder / "study.yaml"
    path.write_text("---\n".join(yaml.safe_dump(document, sort_keys=False) for document in documents), encoding="utf-8")
    return read_studies(path, protocols=list(PROTOCOLS), changes=changes)


def test_a_document_is_read(tmp_path: Path) -> None:
    (study,) = read(tmp_path, GOOD)
    short, plain = study.setups
    tuned = [setup.finetunings[0].for_method("l1", 10) for setup in (short, plain)]
    assert (short.recipe.epochs, tuned[0].epochs, tuned[0].warmup_epochs) == (4, 2, 0)
    assert (plain.recipe.epochs, tuned[1].epochs) == (20, 2)
    assert short.recipe.model == "resnet20_cifar"
    assert [point.tag for point in study.points] == ["macs50pct", "macs25pct-params30k"]
    l1, thin = study.pruners
    assert (l1.label, thin.label, thin.method.name, thin.method.epochs, thin.scope) == (  # type: ignore[attr-defined]
        "l1",
        "thin",
        "slimming",
        1,
        "layer",
    )
    assert study.seeds == (1, 2)


def test_trainings_with_and_without_a_teacher(tmp_path: Path) -> None:
    own = {"recipes": {"short": "digits", "bare": {"recipe": "digits", "distill": "none"}}}
    (study,) = read(tmp_path, {**GOOD, **own, "distill": ["none", "dense"]})
    assert [setup.label for setup in study.setups] == ["short", "short-distilled", "bare"]
    (study,) = read(tmp_path, {**GOOD, **own, "distill": ["dense", {"alpha": 0.5, "temperature": 2}]})
    assert [setup.label for setup in study.setups] == ["short-distilled-a0.9-t4", "short-distilled-a0.5-t2", "bare"]
    assert study.setups[0].recipe == study.setups[2].recipe  # what a teacher is for is said of each training
    (study,) = read(tmp_path, GOOD)
    assert not any(setup.distill for setup in study.setups)


def test_flags_go_over_every_recipe(tmp_path: Path) -> None:
    (study,) = read(tmp_path, GOOD, dataset="torch/cifar10", data_dir="images")
    assert {(setup.recipe.dataset, setup.finetunings[0].for_method("l1", 10).data_dir) for setup in study.setups} == {
        ("torch/cifar10", "images")
    }


def test_a_file_may_hold_several(tmp_path: Path) -> None:
    assert [study.name for study in read(tmp_path, GOOD, {**GOOD, "study": "other"})] == ["good", "other"]
    with pytest.raises(InputError, match="'good'; give each study a name of its own"):
        read(tmp_path, GOOD, GOOD)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"protocls": ["dense"]}, "unknown key 'protocls'; did you mean 'protocols'"),
        ({"protocols": ["scratch-c"]}, "protocols: unknown protocol 'scratch-c'; did you mean 'scratch-e'"),
        ({"methods": ["l11"]}, "methods, entry 1: .*unknown method 'l11'; did you mean 'l1'"),
        ({"methods": [{"method": "slimming", "set": {"epoch": 1}}]}, "unknown setting 'epoch'; did you mean 'epochs'"),
        ({"methods": [{"method": "l1", "stream": "yes"}]}, "stream: takes true or false, or null, got 'yes'"),
        ({"budgets": [{"macs": None}]}, "macs: takes a string, an integer or a number, got None"),
        ({"methods": [{"method": "synexp", "preconfig": 1}]}, "preconfig: takes true or false, got 1"),
        (
            {"methods": [{"method": "l1", "finetune": False}]},
            "finetune: is about sparse training from scratch",
        ),
        ({"methods": [{"method": "snip", "preconfig": True}]}, "preconfig: snip cannot give"),
        ({"methods": [{"method": "snip", "protocols": ["at-int"]}]}, "unknown protocol 'at-int'"),
        ({"methods": ["synexp", {"method": "synexp"}]}, "'synexp' is given twice"),
        ({"methods": ["l1", {"method": "l1", "scope": "global"}]}, "'l1' is given twice; give one of them a label"),
        ({"budgets": [{"macs": "50%"}, {"macs": "50%"}]}, "'macs50pct' is given twice"),
        ({"budgets": [{"flops": "50%"}]}, "budgets, entry 1: unknown key 'flops'"),
        ({"budgets": [{"macs": "half"}]}, "not a budget"),
        ({"budgets": [{"to": "R56-A", "macs": "50%"}]}, "leave out the budgets beside it"),
        ({"budgets": {"macs": "50%"}}, "budgets: takes a list of entries"),
        ({"recipes": {"short": "digit"}}, "recipes: short: recipe 'digit': no recipe of that name"),
        ({"recipes": {"short": {"recipe": "digits", "epoch": 1}}}, "recipes: short: .*unknown key 'epoch'"),
        ({"recipes": {"a/b": "digits"}}, "recipe's label is a name of letters"),
        ({"recipes": {}}, "recipes: takes 1 to 100 values, got 0"),
        ({"recipes": {"short": {"epochs": 1}}}, "recipes: short: takes a `recipe: NAME`"),
        ({"recipes": {"short": {"recipe": "digits", "initial_checkpoint": "x"}}}, "what a training starts from"),
        ({"finetune": {"lr": "fast"}}, "lr: takes a number"),
        ({"seeds": [1, 1]}, "seeds: 1 stands twice"),
        ({"seeds": ["one"]}, "seeds: takes an integer, at least 0, at most 9.22337e.18, got 'one'"),
        ({"holdout": 1}, "holdout: takes a number, at least 0, below 1, got 1"),
        ({"study": "../up"}, "takes a name of letters"),
        ({"measure": {"run": 3}}, "unknown key 'run'; did you mean 'runs'"),
        ({"measure": {"runs": 1}}, "measure: runs: takes an integer, at least 3, at most 10000, got 1"),
        ({"measure": {"batch_size": 10**9}}, "measure: batch_size: takes an integer, at least 1, at most 10000"),
        ({"seeds": [2**63]}, "seeds: takes an integer, at least 0, at most 9.22337e.18"),
        ({"distill": {"from": "a-run"}}, "recipes: short: distill: takes none, dense, {from: dense"),
        ({"distill": {"alfa": 0.5}}, "distill: unknown key 'alfa'; did you mean 'alpha'"),
        ({"distill": {"alpha": 0}}, "alpha: takes a number, above 0, at most 1, got 0"),
        ({"distill": ["none", None]}, "distill: takes none, dense"),
        ({"distill": ["dense", {"from": "dense"}]}, "distill: .* is given twice"),
        ({"distill": ["none", "none"]}, "distill: 'none' is given twice"),
        ({"distill": []}, "leave it out for none"),
        ({"recipes": {"short": {"recipe": "digits", "distill_alpha": 0.5}}}, "say them in `distill:"),
        ({"steps": 1}, "steps: takes an integer, at least 2, at most 1000, got 1"),
        ({"steps": 10**9}, "steps: takes an integer, at least 2, at most 1000, got 1000000000"),
    ],
)
def test_what_cannot_be_is_one_line(changes: dict[str, Any], message: str, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=message) as refused:
        read(tmp_path, {**GOOD, **changes})
    assert "\n" not in str(refused.value)
    assert "study.yaml" in str(refused.value)


VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-3, 10**7)
    | st.floats()
    | st.text(max_size=6)
    | st.sampled_from(["l1", "50%"]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(["macs", "method", "x"]), inner),
    max_leaves=5,
)


@settings(max_examples=150, deadline=None)
@given(key=st.sampled_from([*GOOD, "measure", "transfer", "steps", "about", "input_size", "data_dir"]), value=VALUES)
def test_whatever_a_value_is_it_is_read_or_refused_in_one_line(key: str, value: Any) -> None:
    with tempfile.TemporaryDirectory() as folder:
        said = refusal(Path(folder), {**GOOD, key: value})
    assert said is None or (len(said.splitlines()) == 1 and "study.yaml" in said)


def refusal(folder: Path, document: dict[str, Any]) -> str | None:
    try:
        read(folder, document)
    except InputError as error:
        return str(error)
    return None


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("study: [", "line 1: not plain YAML"),
        ("study: a\nstudy: b", "'study' twice"),
        ("a: &x [1]\nb: *x", "an alias"),
        ("!!python/object/apply:os.system [ls]", "could not determine a constructor"),
        ("", "empty"),
        ("- a", "takes `key: value` lines"),
    ],
)
def test_a_file_that_is_no_study(text: str, message: str, tmp_path: Path) -> None:
    path = tmp_path / "study.yaml"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(InputError, match=message):
        read_studies(path, protocols=list(PROTOCOLS))
    with pytest.raises(InputError, match="no such file"):
        read_studies(tmp_path / "none.yaml", protocols=list(PROTOCOLS))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"budgets": []}, "the protocol 'scratch-b' needs 'budgets'"),
        ({"methods": []}, "the protocol 'scratch-b' needs 'methods'"),
        ({"protocols": ["transfer"]}, "the protocol 'transfer' needs 'transfer'"),
        ({"budgets": [{"macs": "1%"}]}, "good: l1 at macs 1%: --macs 1%: no pruned network"),
        ({"budgets": [{"macs": "100%"}]}, "costs no more already"),
        ({"budgets": [{"to": "R56-A"}]}, "that list is for resnet56_cifar"),
        ({"protocols": ["scaled-depth"]}, "good: scaled-depth at macs 50%: .*no depth scaling"),
        ({"arch": "resnet20_cifr"}, "unknown architecture 'resnet20_cifr'; did you mean 'resnet20_cifar'"),
        ({"dataset": "torch/cifar10", "data_dir": "none"}, "to plan without images, give the study classes and"),
        ({"classes": 7}, "it is for 7 classes, digits has 10"),
    ],
)
def test_a_plan_that_cannot_be_is_refused_before_anything_is_done(
    changes: dict[str, Any], message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("THINRESNET_CACHE", str(tmp_path))
    (study,) = read(tmp_path, {**GOOD, **changes})
    with pytest.raises(InputError, match=message) as refused:
        graph_of(study)
    assert "\n" not in str(refused.value)
