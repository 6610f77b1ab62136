"""The exact-budget networks v1 stay what they are, each is the fitted one, and the verbs say what both members cost."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml
from typer.testing import CliRunner

import thinresnet
from thinresnet import baseline
from thinresnet import recipe as recipes
from thinresnet.baseline import Baseline, baselines
from thinresnet.budget import Budget
from thinresnet.cli import app
from thinresnet.errors import InputError
from thinresnet.leaderboard.papers import parse_bib
from thinresnet.networks import describe, fit, read_network
from thinresnet.networks.blueprint import blueprint

BASELINES = Path(thinresnet.__file__).parents[1] / "baselines"
FROZEN = {
    "exact-cifar10": ("c542b11012108d6e", "a7f58149d8f4da4b"),
    "exact-cifar100": ("04755bf9e55549f6", "2f0435ad2dc51640"),
    "exact-imagenet": ("bcc660c891dac985", "b042e5aefcb9468e"),
}


def run(*arguments: str) -> str:
    """The verb, as a user types it."""
    done = CliRunner().invoke(app, ["baseline", *arguments], env={"COLUMNS": "300"})
    if done.exception is not None:
        raise done.exception
    return done.stdout


@pytest.mark.parametrize("name", sorted(FROZEN))
def test_a_version_does_not_change(name: str) -> None:
    """Not a value of its files, and nothing of what its recipes mean, defaults included. A change is a new version."""
    content = yaml.safe_load((BASELINES / f"{name}.yaml").read_text(encoding="utf-8"))
    assert baseline.digests(BASELINES / f"{name}.yaml") == FROZEN[name] == baseline.FROZEN[name]
    for recipe, known in content["recipes"].items():
        assert recipes.load(recipe).hash == recipes.load(recipe, content["changes"]).hash == known


def test_every_network_that_was_promised_is_there() -> None:
    names = {one.name for one in baselines()}
    expected = set()
    for name in FROZEN:
        content = yaml.safe_load((BASELINES / f"{name}.yaml").read_text(encoding="utf-8"))
        for arch in content["architectures"]:
            shapes = [(budget.rstrip("%"), step) for budget in content["budgets"] for step in content["round_to"]]
            expected |= {f"{content['dataset']}-{arch}-{share}-r{step}" for share, step in shapes}
    # Of a ResNet for CIFAR, padded shortcuts leave nothing that is a multiple of 8 and costs so little.
    missing = {name for name in expected if name.endswith("-12.5-r8") and "-resnet" in name and "cifar-" in name}
    assert names == expected - missing
    with pytest.raises(InputError, match="the smallest has"):
        fit("resnet20_cifar", [Budget.parse("macs", "12.5%")], round_to=8, num_classes=10)


@pytest.mark.parametrize(
    "name",
    [
        "imagenet-resnet18-50-r8",
        "imagenet-resnet50-33-r1",
        "cifar100-vgg16_cifar-25-r1",
        "cifar10-resnet20_cifar-12.5-r1",
    ],
)
def test_a_stored_network_is_the_fitted_one(name: str) -> None:
    (stored,) = baselines(name)
    budget = Budget.parse("macs", stored.budget)
    network = stored.network
    again = fit(network.arch, [budget], round_to=stored.round_to, input_size=network.input_size, **network.kwargs)
    assert again == network
    assert again.sha256 == network.sha256


@pytest.mark.parametrize("pattern", ["imagenet-*", "cifar10-*", "cifar100-*"])
def test_every_stored_cost_is_counted_and_within_its_budget(pattern: str) -> None:
    for one in baselines(pattern):
        network = one.network
        ties = blueprint(network.arch, network.kwargs, network.input_size).ties
        assert ties.cost(dict(network.channels)) == (one.test_macs, one.params)
        assert ties.cost(ties.dense_widths()) == (one.dense_macs, one.dense_params)
        assert one.test_macs <= Budget.parse("macs", one.budget).limit(one.dense_macs)
        assert describe(network.arch, channels=network.channels, complete=True, **network.kwargs) == network
        wide = [name for name, group in ties.groups.items() if group.width >= one.round_to]
        assert all(network.channels[name] % one.round_to == 0 for name in wide)


def test_training_at_other_sizes_has_its_own_cost() -> None:
    (one,) = baselines("imagenet-resnet18-50-r8")
    for side, macs in one.macs.items():
        ties = blueprint("resnet18", one.network.kwargs, (3, side, side)).ties
        assert ties.cost(dict(one.network.channels))[0] == macs
    bills = {name: one.training_macs(one.recipe(name)) for name in one.set.recipes}
    assert bills == {
        "imagenet-a3": 3 * one.macs[160] * 1_281_167 * 100,
        "imagenet-a2": 3 * one.macs[224] * 1_281_167 * 300,
        "imagenet-torchvision-v2": 3 * one.macs[176] * 1_281_167 * 600,
    }


def test_the_command_that_trains_it() -> None:
    (imagenet,) = baselines("imagenet-resnet50-50-r8")
    (cifar,) = baselines("cifar100-resnet56_cifar-50-r1")
    assert imagenet.command("imagenet-torchvision-v2") == (
        "accelerate launch --multi_gpu --num_processes 8 -m thinresnet train --recipe imagenet-torchvision-v2 "
        "--network imagenet-resnet50-50-r8.json --data-dir DATA"
    )
    assert cifar.command("cifar-modern") == (
        "thinresnet train --recipe cifar-modern --network cifar100-resnet56_cifar-50-r1.json "
        "--dataset torch/cifar100 --num-classes 100 --data-dir DATA"
    )


def test_show_writes_the_network_without_torch(tmp_path: Path) -> None:
    target = tmp_path / "half.json"
    code = (
        "import sys; from thinresnet.cli import app; "
        f"app(['baseline', 'show', 'cifar10-vgg16_cifar-50-r8', '--output', {str(target)!r}], standalone_mode=False); "
        "print('torch' in sys.modules, 'timm' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "False False"
    assert "not measured yet" in done.stdout
    assert read_network(target) == baselines("cifar10-vgg16_cifar-50-r8")[0].network


def test_the_runs_that_are_its_own_are_its_result(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (one,) = baselines("cifar10-resnet20_cifar-50-r8")
    assert "not measured yet" in run("show", one.name)
    monkeypatch.chdir(tmp_path)
    _keep(one, seed=2, top1_test=91.0, top1_test_ema=91.5)
    _keep(one, seed=1, top1_test=90.0, top1_test_ema=90.5)
    _keep(one, seed=3, dataset="cifar10-jpeg")
    _keep(one, seed=4, recipe_hash="another")
    _keep(one, seed=5, batch_size=64)
    _keep(one, seed=6, initial_checkpoint={"path": "x", "sha256": "y"})
    assert "result    90.50 ± 0.71 %, EMA 91.00 ± 0.71 % (n = 2)" in run("show", one.name)
    (record,) = json.loads(run("show", one.name, "--json"))
    assert record["recipes"]["cifar-modern"]["result"]["seeds"] == [1, 2]
    assert "not measured yet" in run("show", "cifar10-resnet20_cifar-50-r1")


def _keep(one: Baseline, *, seed: int, **changes: Any) -> None:
    result = {
        "network_sha256": one.network.sha256,
        "dataset": "cifar10",
        "recipe_hash": one.set.recipes["cifar-modern"],
        "batch_size": 128,
        "initial_checkpoint": None,
        "seed": seed,
        "top1_test": 50.0,
        "top1_test_ema": None,
        **changes,
    }
    folder = Path("baselines/results/some-run") / f"s{seed}"
    folder.mkdir(parents=True)
    (folder / "result.json").write_text(json.dumps(result))


def test_list_and_cite() -> None:
    rows = json.loads(run("list", "imagenet-resnet50-*", "--json"))
    assert len(rows) == 10
    assert {row["dense_macs"] for row in rows} == {4_089_184_256}
    assert "imagenet-resnet50-12.5-r8" in run("list")
    papers, faults = parse_bib(run("cite", "imagenet-resnet50-12.5-r8", "cifar10-wrn40_2_cifar-75-r1"))
    assert not faults
    assert list(papers) == [
        "exact-v2-imagenet-resnet50-12_5-r8",
        "exact-v1-cifar10-wrn40_2_cifar-75-r1",
        "tessier2023thinresnet",
        "thinresnet",
    ]
    (one,) = baselines("imagenet-resnet50-12.5-r8")
    assert one.network.sha256[:16] in papers["exact-v2-imagenet-resnet50-12_5-r8"].bibtex
    assert list(parse_bib(run("cite"))[0]) == ["tessier2023thinresnet", "thinresnet"]


@pytest.mark.parametrize("verb", ["list", "show", "cite"])
def test_an_unknown_name_is_one_line(verb: str) -> None:
    with pytest.raises(InputError, match=r"did you mean .*'imagenet-resnet50-50-r8'"):
        run(verb, "imagenet-resnet50-50-r9")


def test_one_network_a_file(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="10 networks; name the one to write"):
        run("show", "imagenet-resnet50-*", "--output", str(tmp_path / "x.json"))
    assert not list(tmp_path.iterdir())


def test_the_authors_networks_are_a_member_of_their_own() -> None:
    """Theirs are known by base width and weights, ours by budget; a pattern may ask for both, and BibTeX tells them."""
    both = json.loads(run("list", "imagenet-*resnet50-*", "--json"))
    assert {row["member"] for row in both} == {"thinresnet", "exact"}
    assert len([row for row in both if row["member"] == "thinresnet"]) == 15
    (record,) = json.loads(run("show", "thinresnet50-w52", "--json"))
    assert (record["macs"], record["params"]) == (2_078_505_284, 13_488_234)
    assert record["weights"].endswith("/257069b8ab05a92f0dbac6eed8f58e375221dba7/trained_models/imagenet/"
                                      "resnet50_width52_imagenet_ema.pt")  # fmt: skip
    shown = run("show", "cifar10-thinresnet56-w16")
    assert "96.76 % (main.py docstring)" in shown
    assert "thinresnet evaluate thinresnet56-w16 --data-dir DATA" in shown
    papers, faults = parse_bib(run("cite", "thinresnet50-w52"))
    assert not faults
    assert list(papers) == ["baseline-pruning", "tessier2023thinresnet", "thinresnet"]


def test_show_writes_the_authors_network(tmp_path: Path) -> None:
    target = tmp_path / "w8.json"
    run("show", "cifar100-thinresnet20-w8", "--output", str(target))
    assert read_network(target) == describe("thinresnet20-w8", num_classes=100)
