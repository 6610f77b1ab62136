"""Studies that begin with public weights: tiny files stand for the authors', found by their bytes."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
import torch

from thinresnet import public_weights
from thinresnet.errors import InputError
from thinresnet.networks import build, describe, load
from thinresnet.studies import api
from thinresnet.studies.graph import StudyGraph
from thinresnet.studies.graphs import read_graphs
from thinresnet.studies.records import as_records
from thinresnet.studies.stages import Import, Prune, Train
from thinresnet.studies.store import Store
from thinresnet.studies.summaries import distinct, summaries

from .conftest import PUBLIC_STUDY


def _graph(tmp_path: Path, weights: Path, text: str = PUBLIC_STUDY) -> StudyGraph:
    path = tmp_path / "study.yaml"
    path.write_text(text, encoding="utf-8")
    (found,) = read_graphs(path, weights_dir=str(weights))
    return found


def test_a_study_from_public_weights_is_run(public: tuple[StudyGraph, Store], weights: Path) -> None:
    graph, store = public
    assert store.root.name == "shared"  # its `folder`

    imported = [stage for stage in graph.stages.values() if isinstance(stage, Import)]
    assert {stage.network.channels["conv1"] for stage in imported} == {3, 4}
    for stage in imported:  # what the files hold, to the bit
        width = stage.network.channels["conv1"]
        theirs = build(describe(f"thinresnet20-w{width}", num_classes=10), seed=width)
        _, ours = load(store.folder(stage))
        assert all(torch.equal(one, other) for one, other in zip(theirs.parameters(), ours.parameters(), strict=True))

    records = as_records(distinct(summaries(graph, store)))
    by_name = {record["name"]: record for record in records}
    scaled = by_name["plain width, its authors' weights, fine-tuned (short)"]
    pruned = by_name["l1, fine-tuned (short)"]
    assert scaled["verdicts"]["macs"]["outcome"] == "the bar"
    assert pruned["verdicts"]["macs"]["reference"]["name"] == scaled["name"]
    long = by_name["l1, fine-tuned (long)"]["verdicts"]["macs"]["reference"]["name"]
    assert long == "plain width, its authors' weights, fine-tuned (long)"


def test_costs_are_counted_from_the_origin(public: tuple[StudyGraph, Store], weights: Path) -> None:
    found = {own.name: own for own in summaries(*public)}
    scaled = found["plain width, its authors' weights, fine-tuned (short)"]
    network = public_weights.find("thinresnet20-w3").base_width
    assert network is not None
    origin = public_weights.training_macs(network, "cifar10")
    assert scaled.training_macs_with_search == scaled.training_macs + origin
    parent = public_weights.find("thinresnet20-w4").base_width
    assert parent is not None
    assert found["dense"].training_macs_with_search == found["dense"].training_macs + public_weights.training_macs(
        parent, "cifar10"
    )


def test_a_seed_varies_what_the_study_says(tmp_path: Path, weights: Path) -> None:
    graph = _graph(tmp_path, weights)
    prunings = [stage for stage in graph.stages.values() if isinstance(stage, Prune)]
    assert sorted((stage.method, stage.seed) for stage in prunings) == [("l1", 0), ("random", 0), ("random", 1)]
    parents = [stage for stage in graph.stages.values() if isinstance(stage, Train) and stage.shape == "dense"]
    assert [stage.seed for stage in parents] == [0]
    (l1,) = (own for own in graph.experiments if own.method == "l1" and own.finetuning == "short")
    assert [final.seed for final in l1.finals] == [0, 1]  # type: ignore[attr-defined]
    # Every seed is charged with the whole parent.
    (parent,) = parents
    assert l1.training_macs_with_search >= l1.training_macs + parent.training_macs


def test_stages_come_in_the_order_of_their_worth(tmp_path: Path, weights: Path) -> None:
    graph = _graph(tmp_path, weights)
    order = graph.by_worth
    assert sorted(stage.key for stage in order) == sorted(graph.stages)
    trained = [stage.name for stage in order if isinstance(stage, Train)]
    seeds = [name[-1] for name in trained if "short" in name]
    assert seeds == sorted(seeds)  # all rows of a seed before the next one
    assert max(place for place, name in enumerate(trained) if "short" in name) < min(
        place for place, name in enumerate(trained) if "long" in name
    )


def test_where_the_file_lies_is_no_part_of_it(tmp_path: Path, weights: Path) -> None:
    one, other = (_graph(tmp_path, folder) for folder in (weights, tmp_path / "elsewhere"))
    assert list(one.stages) == list(other.stages)


@pytest.mark.parametrize(
    ("before", "after", "message"),
    [
        ("weights: thinresnet20-w4", "weights: thinresnet20-w9", "thinresnet20-w9: no public weights are known"),
        ("weights: thinresnet20-w4", "weights: [1]", "takes the name of public weights"),
        ("weights: thinresnet20-w4", "weights: thinresnet20-w4, mean: [0.5, 0.5, 0.5]", "mean: .*leave it out"),
        ("classes: 10\n", "", "classes"),
        ("like: thinresnet20-w3", "like: resnet20_cifar", "like: 'resnet20_cifar'"),
        ("like: thinresnet20-w3", "{like: thinresnet20-w3, macs: 50%}", "leave out macs"),
        ("budgets: [thinresnet20-w3]}", "budgets: [w1]}", "unknown budget 'w1'"),
        ("vary: finetuning", "vary: nothing", "vary"),
        ("arch: thinresnet20-w4", "arch: resnet20_cifar", "another network"),
    ],
)
def test_what_cannot_be_is_refused(tmp_path: Path, weights: Path, before: str, after: str, message: str) -> None:
    assert before in PUBLIC_STUDY
    with pytest.raises(InputError, match=message):
        _graph(tmp_path, weights, PUBLIC_STUDY.replace(before, after))


def test_a_file_that_is_not_there_is_said_with_its_address(tmp_path: Path, weights: Path) -> None:
    (tmp_path / "empty").mkdir()
    for folder, why in ((tmp_path / "empty", "none of its 0 files"), (tmp_path / "no", "no such folder")):
        failed = api.run(_graph(tmp_path, folder), tmp_path / "runs", progress=False)
        assert any(why in message for message in failed.values())


@pytest.mark.real_weights
def test_the_real_files_are_what_the_paper_s_study_begins_with(tmp_path: Path) -> None:
    paper = Path(__file__).parents[2] / "baselines" / "paper.yaml"
    found: dict[str, Import] = {}
    for graph in read_graphs(paper, weights_dir=os.environ["THINRESNET_WEIGHTS"]):
        found |= {stage.key: stage for stage in graph.stages.values() if isinstance(stage, Import)}
    assert {stage.weights.network for stage in found.values()} == {
        "resnet20_cifar", *(f"thinresnet20-w{width}" for width in (6, 8, 11, 16)),
    }  # fmt: skip
    for stage in found.values():
        if stage.weights.base_width is not None:
            stage.run({}, tmp_path / stage.folder, quiet=True)
            assert load(tmp_path / stage.folder)[0] == stage.network
