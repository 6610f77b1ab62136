"""The graph of stages: what is shared, what a change redoes, and bills against figures worked by hand."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import yaml

import thinresnet
from thinresnet.errors import InputError
from thinresnet.networks import Network, count, parse_network, scale
from thinresnet.pruning.initialisation.registry import criteria
from thinresnet.pruning.registry import methods
from thinresnet.studies import bill
from thinresnet.studies.plan import Plan, Row, Stage
from thinresnet.studies.protocols import PROTOCOLS
from thinresnet.studies.study import read_studies

IMAGES = 1294  # of the 1,438 of the embedded data, a tenth held out
STUDY: dict[str, Any] = {
    "study": "plan",
    "arch": "resnet20_cifar",
    "holdout": 0.1,
    "recipes": {"short": {"recipe": "digits", "epochs": 10}},
    "tune": {"epochs": 3, "warmup_epochs": 0},
    "budgets": [{"macs": "50%"}, {"macs": "25%"}],
    "methods": ["l1", {"method": "slimming", "set": {"epochs": 2}}, {"method": "fisher", "set": {"images": 64}}],
    "protocols": ["dense", "scaled-width", "prune-tune", "scratch-e", "scratch-b"],
    "seeds": [1, 2],
}
DENSE = count(scale("resnet20_cifar", input_size=(3, 8, 8))).macs


def plan_of(folder: Path, **changes: Any) -> Plan:
    path = folder / "study.yaml"
    path.write_text(yaml.safe_dump({**STUDY, **changes}, sort_keys=False), encoding="utf-8")
    (study,) = read_studies(path, protocols=list(PROTOCOLS))
    return Plan(study)


@pytest.fixture(scope="module")
def plan(tmp_path_factory: pytest.TempPathFactory) -> Plan:
    return plan_of(tmp_path_factory.mktemp("study"))


def row(plan: Plan, protocol: str, method: str | None = None, budget: str | None = None) -> Row:
    (found,) = [one for one in plan.rows if (one.protocol, one.pruner, one.point) == (protocol, method, budget)]
    return found


def stages(plan: Plan, kind: str, holding: str = "") -> list[Stage]:
    return [stage for stage in plan.stages.values() if stage.kind == kind and holding in stage.name]


def test_ten_methods_share_one_dense_parent(plan: Plan) -> None:
    dense = stages(plan, "train", "-dense-")
    assert len(dense) == 2  # a seed
    assert {source.stage for stage in stages(plan, "prune") for source in stage.inputs.values()} == set(dense)
    # One training with a penalty serves both budgets; criteria prune to each on their own.
    assert len(stages(plan, "prune", "slimming")) == 2
    assert len(stages(plan, "prune", "l1")) == 4
    # What tuning, Scratch-E and Scratch-B go on from was pruned once.
    finals = [row(plan, protocol, "l1", "macs50pct").finals[0] for protocol in ("prune-tune", "scratch-e", "scratch-b")]
    assert len({final.inputs["network"].stage for final in finals}) == 1
    assert [set(final.inputs) for final in finals] == [{"network", "weights"}, {"network"}, {"network"}]
    order = list(plan.stages.values())
    for stage in order:
        assert all(order.index(before) < order.index(stage) for before in stage.before())


def test_bills_worked_by_hand(plan: Plan) -> None:
    half = DENSE // 2
    training = 3 * IMAGES * DENSE * 10
    assert bill.row_bill(row(plan, "dense")) == (training, training)
    width = count(network_of(row(plan, "scaled-width", None, "macs50pct"))).macs
    assert width <= half
    assert bill.row_bill(row(plan, "scaled-width", None, "macs50pct")) == (3 * IMAGES * width * 10,) * 2
    tuning = 3 * IMAGES * half * 3
    # Dense parent, 64 images of the criterion through it, tuning.
    assert bill.row_bill(row(plan, "prune-tune", "fisher", "macs50pct")) == (training + 3 * 64 * DENSE + tuning, tuning)
    assert bill.row_bill(row(plan, "prune-tune", "slimming", "macs50pct"))[0] == training * 1.2 + tuning
    assert bill.row_bill(row(plan, "scratch-e", "l1", "macs50pct")) == (
        training + 3 * IMAGES * half * 10,
        3 * IMAGES * half * 10,
    )
    # Equal computation: 20 epochs at half the MACs.
    final = row(plan, "scratch-b", "l1", "macs50pct").finals[0]
    assert (final.epochs, final.training_macs) == (10 * DENSE // half, 3 * IMAGES * half * (10 * DENSE // half))
    assert bill.total(plan) == sum(stage.training_macs for stage in plan.stages.values())
    assert sum(entry.times for entry in bill.entries(plan)) == len(plan.stages)


def network_of(found: Row) -> Network:
    return parse_network(json.dumps(found.finals[0].spec["network"]))


def test_scratch_b_may_be_capped(tmp_path: Path) -> None:
    plan = plan_of(tmp_path, protocols=["scratch-b", "scratch-b-2x"], methods=["l1"], seeds=[1])
    assert row(plan, "scratch-b", "l1", "macs25pct").finals[0].epochs == 10 * DENSE // (DENSE // 4)
    assert row(plan, "scratch-b-2x", "l1", "macs25pct").finals[0].epochs == 20


def test_a_change_redoes_what_hangs_on_it(plan: Plan, tmp_path: Path) -> None:
    def kept(**changes: Any) -> set[str]:
        return {stage.name for key, stage in plan_of(tmp_path, **changes).stages.items() if key in plan.stages}

    everything = {stage.name for stage in plan.stages.values()}
    assert kept() == everything
    assert kept(recipes={"short": {"recipe": "digits", "epochs": 10, "workers": 3}}) == everything
    tuned = {name for name in everything if "-tuned-" in name}
    assert kept(tune={"epochs": 4, "warmup_epochs": 0}) == everything - tuned
    assert kept(recipes={"short": {"recipe": "digits", "epochs": 11}}) == {
        name for name in everything if "scaled-width" in name and name.endswith("-time")
    }
    # A seed or a method more redoes nothing; a budget more only the methods that train on their way down.
    assert kept(seeds=[1, 2, 3]) == everything
    assert kept(methods=[*STUDY["methods"], "l2"]) == everything
    more = kept(budgets=[*STUDY["budgets"], {"macs": "30%"}])
    assert {name for name in everything - more if "slimming" not in name} == set()


def test_stages_that_claim_one_name(tmp_path: Path) -> None:
    # Slimming goes through both budgets at once, and so does, by its name, L1 at the second one.
    alike = [{"method": "slimming", "set": {"epochs": 1}}, {"method": "l1", "label": "slimming-macs50pct"}]
    with pytest.raises(InputError, match=r"two different stages claim the name .*; give the methods or recipes labels"):
        plan_of(tmp_path, methods=alike, protocols=["prune-tune"])


def test_the_plan_for_machines_and_the_measured_step(plan: Plan, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bill, "_MEASURED_SECONDS", 0.0)
    seconds = bill.seconds_per_mac(plan.network(plan.study.regimes[0]))
    assert 0 < seconds < 1e-6
    found = bill.as_json(plan, seconds)
    assert found["hours"] == pytest.approx(seconds * found["training_macs"] / 3600)
    assert len(found["stages"]) == len(plan.stages)
    assert {row["protocol"] for row in found["rows"]} == set(STUDY["protocols"])


def test_without_the_images_the_study_says_how_many(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("THINRESNET_CACHE", str(tmp_path))
    plan = plan_of(
        tmp_path,
        recipes={"classic": "cifar-classic-160"},
        classes=10,
        images_train=50000,
        holdout=0,
        protocols=["dense"],
    )
    macs = count(scale("resnet20_cifar")).macs
    assert bill.total(plan) == 2 * 3 * 50000 * 160 * macs
    (note,) = bill.missing(plan)
    assert "50,000 training images" in note


BASELINES = Path(thinresnet.__file__).parents[1] / "baselines"


@pytest.fixture
def nothing_at_hand(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No images but the embedded ones."""
    monkeypatch.setenv("THINRESNET_CACHE", str(tmp_path))


@pytest.mark.usefixtures("nothing_at_hand")
def test_the_founding_comparisons_state_the_published_epochs() -> None:
    studies = {study.name: study for study in read_studies(BASELINES / "cifar10.yaml", protocols=list(PROTOCOLS))}
    assert set(studies) == {"wrn40-2", "resnet56", "resnet110", "vgg16", "vgg16-guided"}
    published = {"R56-A": 178, "R56-B": 220, "R110-A": 190, "R110-B": 260}
    for name in ("resnet56", "resnet110"):
        study = studies[name]
        plan = Plan(replace(study, protocols=("scratch-b",), regimes=study.regimes[:1]))
        assert (plan.study.regimes[0].label, len(plan.rows)) == ("classic", 2)
        for found in plan.rows:
            assert found.point is not None
            assert {final.epochs for final in found.finals} == {published[found.point]}
            assert len(found.finals) == 5


@pytest.mark.usefixtures("nothing_at_hand")
@pytest.mark.parametrize("name", ["digits", "cifar10", "cifar10-jpeg", "imagenet", "precrop", "precrop-cifar10-jpeg"])
def test_every_study_that_comes_along_is_read(name: str) -> None:
    studies = read_studies(BASELINES / f"{name}.yaml", protocols=list(PROTOCOLS))
    used = {protocol for study in studies for protocol in study.protocols}
    if name == "digits":
        assert used == set(PROTOCOLS)
        named = {pruner.method.name for study in studies for pruner in study.pruners}
        assert named == set(methods())
        assert {one.criterion.name for study in studies for one in study.croppers} == set(criteria())
    else:
        assert all(regime.subject.classes and regime.subject.images_train for s in studies for regime in s.regimes)


def test_criteria_take_part_where_they_can(tmp_path: Path) -> None:
    masking = ["at-init-weights", "at-init-filters", "at-init-masks"]
    some = [
        {"criterion": "synflow", "protocols": ["at-init-masks"]},
        "synexp",
        {"criterion": "synexp", "preconfig": True},
    ]
    plan = plan_of(tmp_path, methods=[], criteria=some, protocols=["at-init", *masking], budgets=[{"macs": "50%"}])
    assert {(row.protocol, row.pruner) for row in plan.rows} == {
        ("at-init", "synexp"),
        ("at-init", "synexp-preconfig"),
        ("at-init-masks", "synflow"),
        ("at-init-weights", "synexp"),
        ("at-init-filters", "synexp"),
    }
    assert "synexp-preconfig takes no part in at-init-weights: no mask is denser than dense" in plan.notes
    assert "synexp takes no part in at-init-masks: it finds densities without ranking weights" in plan.notes
    # One crop serves both granularities and all seeds: SynExp reads shapes only. A mask is drawn for each seed.
    assert len(stages(plan, "crop", "-synexp-macs")) == 1
    assert len(stages(plan, "shape", "-synexp-macs50pct-weights")) == 2
    # Zeros are computed: a masked network's bill is the whole network's.
    final = row(plan, "at-init-weights", "synexp", "macs50pct").finals[0]
    assert final.training_macs == 3 * DENSE * 10 * IMAGES


def test_plain_width_may_train_as_long_as_dense_costs(tmp_path: Path) -> None:
    plan = plan_of(tmp_path, methods=[], protocols=["scaled-width", "scaled-width-b"])
    short, long = (row(plan, name, None, "macs25pct") for name in ("scaled-width", "scaled-width-b"))
    macs = count(parse_network(json.dumps(long.finals[0].spec["network"]))).macs
    assert (short.finals[0].epochs, long.finals[0].epochs) == (10, 10 * DENSE // macs)
    assert long.timing is short.timing


def test_a_method_may_take_part_in_some_protocols_only(tmp_path: Path) -> None:
    some = ["l2", {"method": "l1", "protocols": ["scratch-e"]}]
    plan = plan_of(tmp_path, methods=some, protocols=["prune-tune", "scratch-e"])
    assert {(row.protocol, row.pruner) for row in plan.rows} == {
        ("prune-tune", "l2"),
        ("scratch-e", "l1"),
        ("scratch-e", "l2"),
    }
    with pytest.raises(InputError, match=r"methods, entry 1: .*unknown protocol 'rewind'"):
        plan_of(tmp_path, methods=[{"method": "l1", "protocols": ["rewind"]}], protocols=["scratch-e"])
