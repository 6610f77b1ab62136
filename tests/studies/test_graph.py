"""The graph of stages: what is shared, what a change redoes, and training costs against figures worked by hand."""

from __future__ import annotations

from dataclasses import replace
from fractions import Fraction
from pathlib import Path
from typing import Any

import pytest
import yaml

import thinresnet
from tests.networks.made_up_latency import made_up_table
from thinresnet import recipe as recipes
from thinresnet.errors import InputError
from thinresnet.networks import Network, count, scale
from thinresnet.networks.latency import write_table
from thinresnet.pruning.registry import method, methods
from thinresnet.studies import graphs as graphs_module
from thinresnet.studies import protocol as protocol_module
from thinresnet.studies import summaries as table_module
from thinresnet.studies import training_cost
from thinresnet.studies.builder import Builder, images_seen
from thinresnet.studies.graph import Experiment, StudyGraph
from thinresnet.studies.graphs import graph_of, read_graphs
from thinresnet.studies.images import size_share
from thinresnet.studies.protocol import DENSE as DENSE_KIND
from thinresnet.studies.protocol import protocol
from thinresnet.studies.protocols import PROTOCOLS
from thinresnet.studies.reading import read_studies
from thinresnet.studies.stages import Measure, Prune, Stage, Train
from thinresnet.studies.store import Store

IMAGES = 1280  # of the 1,438 of the embedded data, a tenth held out: whole batches of 64
STUDY: dict[str, Any] = {
    "study": "plan",
    "arch": "resnet20_cifar",
    "holdout": 0.1,
    "recipes": {"short": {"recipe": "digits", "epochs": 10}},
    "finetune": {"epochs": 3, "warmup_epochs": 0},
    "budgets": [{"macs": "50%"}, {"macs": "25%"}],
    "methods": [
        "l1",
        {"method": "slimming", "set": {"epochs": 2}},
        {"method": "fisher-oneshot", "set": {"images": 64}},
    ],
    "protocols": ["dense", "scaled-width", "prune-finetune", "scratch-e", "scratch-b"],
    "seeds": [1, 2],
}
DENSE = count(scale("resnet20_cifar", input_size=(3, 8, 8))).macs


def graph_from(folder: Path, **changes: Any) -> StudyGraph:
    path = folder / "study.yaml"
    path.write_text(yaml.safe_dump({**STUDY, **changes}, sort_keys=False), encoding="utf-8")
    (found,) = read_graphs(path)
    return found


@pytest.fixture(scope="module")
def graph(tmp_path_factory: pytest.TempPathFactory) -> StudyGraph:
    return graph_from(tmp_path_factory.mktemp("study"))


def row(graph: StudyGraph, protocol: str, method: str | None = None, budget: str | None = None) -> Experiment:
    (found,) = [one for one in graph.experiments if (one.protocol, one.method, one.point) == (protocol, method, budget)]
    return found


def stages(graph: StudyGraph, kind: str, holding: str = "") -> list[Stage]:
    return [stage for stage in graph.stages.values() if stage.kind == kind and holding in stage.name]


def test_with_and_without_distillation_one_parent_serves_and_is_part_of_the_cost(tmp_path: Path) -> None:
    budgets = [{"macs": "50%"}]
    given = {"budgets": budgets, "methods": ["l1", "snip"], "seeds": [1], "protocols": [
        "dense", "scaled-width", "prune-finetune", "at-init",
    ]}  # fmt: skip
    graph = graph_from(tmp_path, **given, distill=["none", {"from": "dense", "alpha": 0.5}])
    alone = graph_from(tmp_path, **given)
    # Of those without a teacher none has moved; parents, prunings and shapes are there once.
    assert {stage.folder for stage in alone.stages.values()} <= {stage.folder for stage in graph.stages.values()}
    assert len(graph.stages) == len(alone.stages) + 3
    (dense,) = stages(graph, "train", "-dense-")
    by_recipe = {own.recipe: own for own in graph.experiments if own.protocol == "scaled-width"}
    plain, distilled = by_recipe["short"], by_recipe["short-distilled"]
    assert [own.distilled for own in (plain, distilled)] == [False, True]
    assert distilled.finals[0].inputs["teacher"].stage is dense
    assert (distilled.finals[0].recipe.distill_alpha, distilled.finals[0].recipe.distill_temperature) == (0.5, 4.0)
    passes = DENSE * 10 * IMAGES
    assert distilled.training_macs == plain.training_macs + passes
    assert distilled.training_macs_with_search == plain.training_macs + passes + 3 * DENSE * 10 * IMAGES
    for name in ("prune-finetune", "at-init"):
        ones = [own for own in graph.experiments if own.protocol == name]
        assert [(own.recipe, own.distilled) for own in ones] == [("short", False), ("short-distilled", True)]
        assert ones[0].finals[0].inputs["network"].stage is ones[1].finals[0].inputs["network"].stage
    assert not any(own.distilled for own in graph.experiments if own.protocol == "dense")


def test_ten_methods_share_one_dense_parent(graph: StudyGraph) -> None:
    dense = stages(graph, "train", "-dense-")
    assert len(dense) == 2  # a seed
    assert {source.stage for stage in stages(graph, "prune") for source in stage.inputs.values()} == set(dense)
    # One training with a penalty serves both budgets; criteria prune to each on their own.
    assert len(stages(graph, "prune", "slimming")) == 2
    assert len(stages(graph, "prune", "l1")) == 4
    # What fine-tuning, Scratch-E and Scratch-B go on from was pruned once.
    three = ("prune-finetune", "scratch-e", "scratch-b")
    finals = [row(graph, protocol, "l1", "macs50pct").finals[0] for protocol in three]
    assert len({final.inputs["network"].stage for final in finals}) == 1
    assert [set(final.inputs) for final in finals] == [{"network", "weights"}, {"network"}, {"network"}]
    order = list(graph.stages.values())
    for stage in order:
        assert all(order.index(before) < order.index(stage) for before in stage.before())


def test_training_costs_worked_by_hand(graph: StudyGraph) -> None:
    half = DENSE // 2
    training = 3 * IMAGES * DENSE * 10
    assert cost_of(row(graph, "dense")) == (training, training)
    width = count(network_of(row(graph, "scaled-width", None, "macs50pct"))).macs
    assert width <= half
    assert cost_of(row(graph, "scaled-width", None, "macs50pct")) == (3 * IMAGES * width * 10,) * 2
    tuning = 3 * IMAGES * half * 3
    # Dense parent, 64 images of the criterion through it, tuning.
    assert cost_of(row(graph, "prune-finetune", "fisher-oneshot", "macs50pct")) == (
        training + 3 * 64 * DENSE + tuning,
        tuning,
    )
    assert cost_of(row(graph, "prune-finetune", "slimming", "macs50pct"))[0] == training * 1.2 + tuning
    assert cost_of(row(graph, "scratch-e", "l1", "macs50pct")) == (
        training + 3 * IMAGES * half * 10,
        3 * IMAGES * half * 10,
    )
    # Equal computation: 20 epochs at half the MACs.
    final = row(graph, "scratch-b", "l1", "macs50pct").finals[0]
    assert (final.epochs, final.training_macs) == (10 * DENSE // half, 3 * IMAGES * half * (10 * DENSE // half))
    assert graph.training_macs == sum(stage.training_macs for stage in graph.stages.values())
    assert sum(entry.times for entry in training_cost.entries(graph)) == len(graph.stages)


def cost_of(found: Experiment) -> tuple[int, int]:
    return found.training_macs_with_search, found.training_macs


def network_of(found: Experiment) -> Network:
    final = found.finals[0]
    assert isinstance(final, Train)
    assert isinstance(final.network, Network)
    return final.network


def test_the_plan_counts_training_images_at_their_own_sizes(tmp_path: Path) -> None:
    """ImageNet's A3 trains at 160 px and tests at 224: the plan is the closed form of what a run records."""
    given: dict[str, Any] = {
        "arch": "resnet18", "recipes": {"a3": "imagenet-a3"}, "classes": 1000, "images_train": 1281167, "seeds": [1],
        "budgets": [{"macs": "50%"}], "holdout": 0, "methods": ["slimming"], "finetune": {},
    }  # fmt: skip
    graph = graph_from(tmp_path, **given, protocols=["dense", "scaled-width", "prune-finetune"])
    seen = 1281167 // 256 * 256 * 100
    thin = network_of(row(graph, "scaled-width", None, "macs50pct"))
    at_160, thin_at_160 = (count(own, (3, 160, 160)).macs for own in (scale("resnet18"), thin))
    assert row(graph, "dense").training_macs == 3 * at_160 * seen
    assert row(graph, "scaled-width", None, "macs50pct").training_macs == 3 * thin_at_160 * seen
    (sparse,) = stages(graph, "prune", "slimming")
    assert sparse.training_macs == 3 * at_160 * seen
    assert 1.9 < count(scale("resnet18")).macs / at_160 < 2.0


@pytest.mark.parametrize("mix", [0.0, 1.0])
def test_the_share_of_each_training_size_is_the_mean_of_what_is_drawn(mix: float) -> None:
    """From the smaller size to the larger one, each for half of the epochs; or any of them, whatever the epoch."""
    network = scale("resnet20_cifar", input_size=(3, 8, 8))
    recipe = recipes.load("digits", {
        "train_img_sizes": [4, 8], "train_size_schedule": "progressive", "train_size_schedule_spread": 0.0,
        "train_size_random_mix": mix, "epochs": 20, "warmup_epochs": 0,
    })  # fmt: skip
    half = Fraction(count(network, (3, 4, 4)).macs + DENSE, 2 * DENSE)
    assert size_share(recipe, network) == half
    assert size_share(recipe.replace(train_size_schedule="constant"), network) == half
    assert size_share(recipes.load("digits"), network) == 1


EQUAL_TOTAL = [f"{name}-equal-total" for name in ("scaled-width", "prune-finetune", "scratch", "sparse-train")]


def test_equal_totals_are_equal_to_within_an_epoch(tmp_path: Path) -> None:
    some = ["l1", {"method": "slimming", "set": {"epochs": 2}}]
    given: dict[str, Any] = {"methods": some, "protocols": EQUAL_TOTAL, "total_training": "2.5x dense", "seeds": [1]}
    graph = graph_from(tmp_path, **given)
    epoch = 3 * IMAGES
    total = 25 * DENSE * epoch
    assert len(graph.experiments) == 2 * (1 + 2 + 2 + 1)
    for found in graph.experiments:
        final = found.finals[0]
        assert isinstance(final, Train)
        assert final.total_macs == total
        assert total - epoch * final.macs < found.training_macs_with_search <= total, (found.protocol, found.method)
    half = DENSE // 2
    # Dense parent 10 epochs, with slimming 12: the rest of 25 at half the MACs.
    for protocol_name in ("prune-finetune-equal-total", "scratch-equal-total"):
        by_l1, by_slimming = (row(graph, protocol_name, name, "macs50pct").finals[0] for name in ("l1", "slimming"))
        assert (by_l1.epochs, by_slimming.epochs) == (15 * DENSE // half, 13 * DENSE // half)
    width = row(graph, "scaled-width-equal-total", None, "macs50pct")
    assert width.finals[0].epochs == 25 * DENSE // count(network_of(width)).macs
    # Ten sparse epochs and three of fine-tuning at half the MACs usually: all of it 25 / 11.5 times as long.
    sparse = row(graph, "sparse-train-equal-total", "slimming", "macs50pct").finals[0]
    (before,) = sparse.before()
    assert isinstance(before, Prune)
    assert before.recipe is not None
    assert before.recipe.total_epochs == int(10 * 25 / (10 + Fraction(3 * half, DENSE)))
    assert before.images_seen == IMAGES * before.recipe.total_epochs
    assert sparse.epochs == (25 - before.recipe.total_epochs) * DENSE // half
    # Without a total all is as it was.
    assert {own.key for own in graph.stages.values()}.isdisjoint(
        own.key for own in graph_from(tmp_path, **given | {"protocols": ["scaled-width", "scratch-e"]}).stages.values()
        if own.kind == "train" and "-dense-" not in own.name
    )  # fmt: skip


def test_what_its_authors_do_not_finetune_is_measured_as_it_is(tmp_path: Path) -> None:
    given: dict[str, Any] = {
        "protocols": ["sparse-train", "sparse-train-equal-total"], "seeds": [1], "budgets": [{"macs": "50%"}],
        "total_training": "2.55x dense", "finetune": ["recipe", "full"],
    }  # fmt: skip
    tuned = {"method": "sss", "label": "sss-tuned", "finetune": True}
    graph = graph_from(tmp_path, methods=["slimming", "sss", "sfp", tuned], **given)
    # One row however many ways of fine-tuning there are, and one a way where something is fine-tuned.
    rows = [(found.protocol, found.method) for found in graph.experiments]
    for name in given["protocols"]:
        assert [rows.count((name, own)) for own in ("sss", "sfp", "sss-tuned", "slimming")] == [1, 1, 2, 2]
    for method_name in ("sss", "sfp"):
        final = row(graph, "sparse-train", method_name, "macs50pct").finals[0]
        assert isinstance(final, Measure)
        assert (final.epochs, final.training_macs, final.inputs["network"].output) == (0, 0, "macs50pct")
        # Blocks that nothing is trained after are whole, or gone.
        assert final.inputs["network"].stage.identity.get("settings") == (
            {"fill": False} if method_name == "sss" else None
        )
        total = row(graph, "sparse-train-equal-total", method_name, "macs50pct")
        (before,) = total.finals[0].before()
        assert isinstance(before, Prune)
        # All of the total is sparse training, in whole epochs.
        assert before.recipe is not None
        assert before.recipe.total_epochs == 25
        assert total.total_macs == int(25.5 * 3 * DENSE * IMAGES)
        assert total.training_macs_with_search == 25 * 3 * DENSE * IMAGES
    own = [found for found in graph.experiments if (found.protocol, found.method) == ("sparse-train", "sss-tuned")]
    assert all(isinstance(found.finals[0], Train) for found in own)
    # A method that is fine-tuned is as it was before there was another way: its stages keep their keys.
    alone = graph_from(tmp_path, methods=["slimming"], **given)
    assert {stage.folder for stage in alone.stages.values()} <= {stage.folder for stage in graph.stages.values()}
    distilled = graph_from(tmp_path, methods=["slimming", "sfp"], **given, distill="dense")
    assert {found.method for found in distilled.experiments} == {"slimming"}
    assert "sfp takes no part in sparse-train: nothing is trained after the cut that could have a teacher" in (
        distilled.notes
    )


def test_an_equal_total_counts_the_teacher(tmp_path: Path) -> None:
    graph = graph_from(tmp_path, methods=["l1"], protocols=EQUAL_TOTAL[:3], distill="dense", seeds=[1])
    for found in graph.experiments:
        final = found.finals[0]
        assert isinstance(final, Train)
        # The parent is the teacher too, and trained once.
        left = 10 * 3 * DENSE * IMAGES
        assert final.epochs == left // ((3 * final.macs + DENSE) * IMAGES)
        assert found.training_macs_with_search <= 2 * left


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"total_training": "1x dense"}, r"study plan: l1-macs50pct-.*total_training: .* less than an epoch is left"),
        ({"methods": [{"method": "slimming", "set": {"epochs": 10}}]}, "less than an epoch is left"),
        ({"total_training": "twice"}, "a multiple of the dense training: 2x dense"),
        ({"total_training": "0x dense", "protocols": EQUAL_TOTAL[:1]}, "less than an epoch is left"),
    ],
)
def test_a_total_that_the_parent_takes_up_is_refused(changes: dict[str, Any], says: str, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=says):
        graph_from(tmp_path, **{"protocols": EQUAL_TOTAL[1:2], "methods": ["l1"], "seeds": [1], **changes})


def test_scratch_b_may_be_capped(tmp_path: Path) -> None:
    graph = graph_from(tmp_path, protocols=["scratch-b", "scratch-b-2x"], methods=["l1"], seeds=[1])
    assert row(graph, "scratch-b", "l1", "macs25pct").finals[0].epochs == 10 * DENSE // (DENSE // 4)
    assert row(graph, "scratch-b-2x", "l1", "macs25pct").finals[0].epochs == 20


def test_a_change_redoes_what_hangs_on_it(graph: StudyGraph, tmp_path: Path) -> None:
    def kept(**changes: Any) -> set[str]:
        return {stage.name for key, stage in graph_from(tmp_path, **changes).stages.items() if key in graph.stages}

    everything = {stage.name for stage in graph.stages.values()}
    assert kept() == everything
    assert kept(recipes={"short": {"recipe": "digits", "epochs": 10, "workers": 3}}) == everything
    tuned = {name for name in everything if "-finetuned-" in name}
    assert kept(finetune={"epochs": 4, "warmup_epochs": 0}) == everything - tuned
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
        graph_from(tmp_path, methods=alike, protocols=["prune-finetune"])


def test_the_plan_for_machines_and_the_measured_step(graph: StudyGraph, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(training_cost, "_MEASURED_SECONDS", 0.0)
    seconds = training_cost.seconds_per_mac(graph.network(graph.study.setups[0]))
    assert 0 < seconds < 1e-6
    found = training_cost.as_json(graph, seconds)
    assert found["hours"] == pytest.approx(seconds * found["training_macs"] / 3600)
    assert len(found["stages"]) == len(graph.stages)
    assert {row["protocol"] for row in found["experiments"]} == set(STUDY["protocols"])


def test_without_the_images_the_study_says_how_many(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("THINRESNET_CACHE", str(tmp_path))
    graph = graph_from(
        tmp_path,
        recipes={"classic": "cifar-classic-160"},
        classes=10,
        images_train=50000,
        holdout=0,
        protocols=["dense"],
    )
    macs = count(scale("resnet20_cifar")).macs
    assert graph.training_macs == 2 * 3 * (50000 // 64 * 64) * 160 * macs
    (note,) = graph.notes
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
        graph = graph_of(replace(study, protocols=("scratch-b",), setups=study.setups[:1]))
        assert (graph.study.setups[0].label, len(graph.experiments)) == ("classic", 2)
        for found in graph.experiments:
            assert found.point is not None
            assert {final.epochs for final in found.finals} == {published[found.point]}
            assert len(found.finals) == 5


@pytest.mark.usefixtures("nothing_at_hand")
@pytest.mark.parametrize("name", ["digits", "cifar10", "imagenet", "precrop", "paper"])
def test_every_study_that_comes_along_is_read(name: str) -> None:
    studies = read_studies(BASELINES / f"{name}.yaml", protocols=list(PROTOCOLS))
    used = {protocol for study in studies for protocol in study.protocols}
    if name == "digits":
        assert used == set(PROTOCOLS) - {"scaled-public"}  # nobody published weights for digits
        named = {pruner.method.name for study in studies for pruner in study.pruners}
        assert named == set(methods())
    else:
        assert all(own.subject.classes and own.subject.images_train for study in studies for own in study.setups)


def test_methods_at_initialisation_take_part_where_they_can(tmp_path: Path) -> None:
    masking = ["at-init-weights", "at-init-filters", "at-init-masks", "at-init-masks-shuffled"]
    some = [
        {"method": "synflow", "protocols": ["at-init-masks", "at-init-masks-shuffled"]},
        "synexp",
        {"method": "synexp", "preconfig": True},
    ]
    graph = graph_from(tmp_path, methods=some, protocols=["at-init", *masking], budgets=[{"macs": "50%"}])
    assert {(row.protocol, row.method) for row in graph.experiments} == {
        ("at-init", "synexp"),
        ("at-init", "synexp-preconfig"),
        ("at-init-masks", "synflow"),
        ("at-init-masks-shuffled", "synflow"),
        ("at-init-weights", "synexp"),
        ("at-init-filters", "synexp"),
    }
    assert "synexp-preconfig takes no part in at-init-weights: no mask is denser than dense" in graph.notes
    assert "synexp takes no part in at-init-masks: it finds densities without ranking weights" in graph.notes
    # One pruning serves both granularities and all seeds: SynExp reads shapes only. A mask is drawn for each seed.
    assert len(stages(graph, "prune", "-synexp-macs")) == 1
    assert len(stages(graph, "mask", "-synexp-macs50pct-weights")) == 2
    # A layer that may grow has up to twice the channels on both sides; a budget of MACs bounds it still.
    grown = row(graph, "at-init", "synexp-preconfig", "macs50pct").finals[0]
    assert grown.training_macs == 3 * (DENSE // 2) * 10 * IMAGES
    free = graph_from(tmp_path, methods=some[2:], protocols=["at-init"], budgets=[{"params": "50%"}])
    assert (
        row(free, "at-init", "synexp-preconfig", "params50pct").finals[0].training_macs == 3 * 4 * DENSE * 10 * IMAGES
    )
    # What is changed about a mask is another stage; as it was found it is the one that it always was.
    (mask, *_), (other, *_) = (stages(graph, "mask", f"-macs50pct-masks-{name}") for name in ("start", "shuffled"))
    assert "change" not in mask.identity
    assert other.inputs["pruned"].stage.key == mask.inputs["pruned"].stage.key
    assert other.key != mask.key
    # Zeros are computed: a masked network's cost is the whole network's.
    final = row(graph, "at-init-weights", "synexp", "macs50pct").finals[0]
    assert final.training_macs == 3 * DENSE * 10 * IMAGES


@pytest.mark.parametrize(
    ("name", "settings", "images"),
    [
        ("synflow", {}, 0),
        ("snip", {"batches": 3}, 3 * 128),
        ("force", {"rounds": 5}, 5 * 128),
        ("grasp", {"per_class": 4}, 2 * 10 * 4),
        ("l1", {}, 0),
        ("taylor-oneshot", {"images": 300}, 300),
        ("slimming", {"epochs": 3}, 3 * 1000),
        ("lottery", {}, 0),
        ("lottery-rounds", {"rounds": 4, "epochs": 2}, 4 * 2 * 1000),
        ("fisher", {"updates": 2, "channels": 8}, 50 * 2 * 128),
        ("gradual", {"criterion": "hrank", "updates": 2, "channels": 8}, 50 * (2 * 128 + 640)),
    ],
)
def test_what_a_method_looks_at(name: str, settings: dict[str, Any], images: int) -> None:
    dense = scale("resnet20_cifar")  # 400 channels in groups: 50 removals of 8
    recipe = recipes.load("digits", {"batch_size": 128})
    assert sum(dense.channels.values()) == 400
    assert images_seen(method(name, settings), dense, recipe, 1000, 10) == images


def test_a_protocol_is_one_function(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A toy: half the seeds of the dense network."""
    monkeypatch.setattr(protocol_module, "PROTOCOLS", known := dict(PROTOCOLS))
    for module in (graphs_module, table_module):
        monkeypatch.setattr(module, "PROTOCOLS", known)

    @protocol("one-seed", DENSE_KIND, "dense, one seed")
    def toy(to: Builder) -> None:
        """The whole network under the first seed."""
        to.experiment("one-seed", [to.dense(to.study.seeds[0])])

    graph = graph_from(tmp_path, protocols=["one-seed"])
    assert [stage.name for stage in graph.stages.values()] == ["resnet20_cifar-dense-digits-short-s1"]
    (summary,) = table_module.summaries(graph, Store(tmp_path / "runs"))
    assert (summary.name, summary.kind, known["one-seed"].does) == (
        "dense, one seed",
        "dense",
        "The whole network under the first seed.",
    )
    for kind, name in ((DENSE_KIND, "dense"), ("no kind", "new")):
        with pytest.raises(ValueError, match=name):
            protocol(name, kind, "x")(toy)


def test_plain_width_may_train_as_long_as_dense_costs(tmp_path: Path) -> None:
    graph = graph_from(tmp_path, methods=[], protocols=["scaled-width", "scaled-width-b"])
    short, long = (row(graph, name, None, "macs25pct") for name in ("scaled-width", "scaled-width-b"))
    macs = count(network_of(long)).macs
    assert (short.finals[0].epochs, long.finals[0].epochs) == (10, 10 * DENSE // macs)
    assert long.timing is short.timing


def test_a_method_may_take_part_in_some_protocols_only(tmp_path: Path) -> None:
    some = ["l2", {"method": "l1", "protocols": ["scratch-e"]}]
    graph = graph_from(tmp_path, methods=some, protocols=["prune-finetune", "scratch-e"])
    assert {(row.protocol, row.method) for row in graph.experiments} == {
        ("prune-finetune", "l2"),
        ("scratch-e", "l1"),
        ("scratch-e", "l2"),
    }
    with pytest.raises(InputError, match=r"methods, entry 1: .*unknown protocol 'rewind'"):
        graph_from(tmp_path, methods=[{"method": "l1", "protocols": ["rewind"]}], protocols=["scratch-e"])


def test_each_step_of_pruning_trains_by_the_recipe_and_not_as_fine_tuned(tmp_path: Path) -> None:
    graph = graph_from(
        tmp_path, methods=["l1", {"method": "slimming", "set": {"epochs": 2}}], steps=2, seeds=[1],
        protocols=["prune-finetune-iterative"], budgets=[{"macs": "50%"}],
    )  # fmt: skip
    found = {stage.name.rpartition("-digits")[0][-5:]: stage for stage in stages(graph, "prune", "slimming")}
    first, second = (found[step] for step in ("step1", "step2"))
    assert isinstance(first, Prune)
    assert isinstance(second, Prune)
    assert first.recipe is None  # as its parent was trained
    assert second.recipe == graph.study.setups[0].recipe
    assert {own.recipe for own in stages(graph, "prune", "-l1-") if isinstance(own, Prune)} == {None}


def test_a_shape_found_from_all_seeds_is_charged_once(tmp_path: Path) -> None:
    graph = graph_from(tmp_path, methods=["l1"], protocols=["guided"], budgets=[{"macs": "50%"}], seeds=[1, 2, 3, 4, 5])
    (guided,) = graph.experiments
    epoch = 3 * 10 * IMAGES
    # A parent a seed, and the training of the shape: not five parents each.
    assert guided.training_macs_with_search == epoch * DENSE + epoch * (DENSE // 2)
    assert 5 * guided.training_macs_with_search == graph.training_macs


def test_sparse_training_from_scratch_has_no_dense_parent(tmp_path: Path) -> None:
    some = ["l1", {"method": "slimming", "set": {"epochs": 2}}, "sss", "sfp"]
    graph = graph_from(
        tmp_path, methods=some, protocols=["prune-finetune", "sparse-train"], budgets=[{"macs": "50%"}], seeds=[1]
    )
    epoch, half = 3 * IMAGES, DENSE // 2
    sparse = row(graph, "sparse-train", "slimming", "macs50pct")
    # All of the recipe's ten epochs with the penalty, whatever it is given on a trained network; then fine-tuning.
    assert cost_of(sparse) == (epoch * (10 * DENSE + 3 * half), epoch * 3 * half)
    assert cost_of(row(graph, "prune-finetune", "slimming", "macs50pct")) == (
        epoch * (10 * DENSE + 2 * DENSE + 3 * half),
        epoch * 3 * half,
    )
    assert not any("-dense-" in stage.name for stage in sparse.finals[0].before())
    assert {own.method for own in graph.experiments if own.protocol == "sparse-train"} == {"slimming", "sss", "sfp"}
    assert "l1 takes no part in sparse-train: its authors prune trained networks" in graph.notes


def test_a_method_that_trains_towards_each_budget_is_counted_once_for_each(tmp_path: Path) -> None:
    some = ["slimming", "sfp"]
    graph = graph_from(tmp_path, methods=some, protocols=["sparse-train"], seeds=[1])
    training = 3 * 10 * DENSE * IMAGES
    assert [len(stages(graph, "prune", name)) for name in some] == [1, 2]
    assert sum(stage.training_macs for stage in stages(graph, "prune", "sfp")) == 2 * training
    # A row is charged for the training towards its own budget.
    for point, part in (("macs50pct", 2), ("macs25pct", 4)):
        tuning = 3 * 3 * (DENSE // part) * IMAGES
        assert cost_of(row(graph, "sparse-train", "slimming", point)) == (training + tuning, tuning)
        # The authors of SFP do not fine-tune: what was cut is measured.
        assert cost_of(row(graph, "sparse-train", "sfp", point)) == (training, 0)
    # The scales of slimming start from scratch where its authors have them, unless the study says otherwise.
    (sparse,) = stages(graph, "prune", "slimming")
    assert sparse.identity["settings"] == {"start": 0.5}
    given = graph_from(tmp_path, methods=[{"method": "slimming", "set": {"start": 1.0}}], protocols=["sparse-train"])
    assert stages(given, "prune")[0].identity["settings"] == {"start": 1.0}


def test_a_study_of_latency_budgets_takes_its_table_along(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    dense = scale("resnet20_cifar", input_size=(3, 8, 8), num_classes=10)
    table = made_up_table(dense, monkeypatch)
    write_table(tmp_path / "table.json", table)
    timed: dict[str, Any] = {
        "budgets": [{"latency": "80%"}, {"macs": "50%"}], "methods": ["l1"], "latency_table": "table.json",
        "protocols": ["dense", "scaled-width", "prune-finetune"],
    }  # fmt: skip
    graph = graph_from(tmp_path, **timed)
    final = row(graph, "scaled-width", budget="latency80pct").finals[0]
    assert isinstance(final, Train)
    assert isinstance(final.network, Network)
    assert 0.78 < table.predict_ns(final.network.channels) / table.dense_ns <= 0.8
    by_point = {stage.points[0].tag: stage for stage in stages(graph, "prune") if isinstance(stage, Prune)}
    assert by_point["latency80pct"].identity["latency_table_sha256"] == table.sha256
    assert "latency_table_sha256" not in by_point["macs50pct"].identity
    for change, says in (
        ({"latency_table": None}, "budgets in latency"),
        ({"budgets": [{"macs": "50%"}]}, "budgets in latency"),
        ({"latency_table": "missing.json"}, "no such file"),
        ({"protocols": ["dense", "scaled-width", "guided"]}, "leave these protocols out"),
    ):
        given = {key: value for key, value in {**timed, **change}.items() if value is not None}
        with pytest.raises(InputError, match=says):
            graph_from(tmp_path, **given)
