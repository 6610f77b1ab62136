"""The exact-budget networks v1: exact networks under exact recipes, to train, compare with and cite the same baseline.

They are this project's own; ThinResNet itself, by its authors, is the baseline's other member (`thinresnet.authors`).
Owns the reading of `baselines/exact-*.yaml` (which recipes, for which networks) with the networks beside them in
JSON, what training them costs, the runs kept as evidence that are theirs, and their BibTeX. Version 1 is frozen: its
files do not change any more; tests hold them. Nothing heavy is imported: costs were counted when it was frozen.
"""

from __future__ import annotations

import fnmatch
import hashlib
import json
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

import thinresnet
from thinresnet import recipe as recipes
from thinresnet.errors import InputError, nearest
from thinresnet.files import read_object
from thinresnet.network import Network
from thinresnet.recipe import Recipe

EVIDENCE = Path("baselines/results")
# Digests of what each file says, and of the networks beside it: what a run by `baseline run` stands for.
FROZEN = {
    "exact-cifar10": ("c542b11012108d6e", "a7f58149d8f4da4b"),
    "exact-cifar100": ("04755bf9e55549f6", "2f0435ad2dc51640"),
    "exact-imagenet": ("bcc660c891dac985", "b042e5aefcb9468e"),
}
_TITLES = {"imagenet": "ImageNet", "cifar10": "CIFAR-10", "cifar100": "CIFAR-100"}


@dataclass(frozen=True)
class Set:
    """The baselines of one dataset: one file."""

    name: str
    version: int
    dataset: str
    images: int  # of the training set
    recipes: Mapping[str, str]  # name: hash
    changes: Mapping[str, str | int]  # of the recipes, where they are written for another dataset


@dataclass(frozen=True)
class Baseline:
    """One exact-budget network, and what it costs."""

    name: str
    set: Set
    budget: str  # of the dense network's MACs
    round_to: int
    network: Network
    macs: Mapping[int, int]  # by side of the input in pixels: those that its recipes train and test at
    params: int
    dense_macs: int
    dense_params: int

    @property
    def test_macs(self) -> int:
        """MACs at the size it is tested at."""
        return self.macs[self.network.input_size[1]]

    def recipe(self, name: str) -> Recipe:
        """One of its recipes, as it trains on this dataset."""
        return recipes.load(name, self.set.changes)

    def training_macs(self, recipe: Recipe) -> int:
        """The cost of one training: forward and backward over every image of every epoch."""
        (side,) = recipe.train_img_sizes or (self.network.input_size[1],)
        return 3 * self.macs[side] * self.set.images * recipe.total_epochs

    def command(self, recipe_name: str) -> str:
        """The command that trains it, with the batch that the recipe is meant for; it needs no checkout."""
        recipe = recipes.load(recipe_name)
        processes = recipe.lr_base_size // recipe.batch_size
        several = f"accelerate launch --multi_gpu --num_processes {processes} -m thinresnet train"
        launch = several if processes > 1 else "thinresnet train"
        changes = "".join(f" --{key.replace('_', '-')} {value}" for key, value in self.set.changes.items())
        return f"{launch} --recipe {recipe_name} --network {self.name}.json{changes} --data-dir DATA"


@dataclass(frozen=True)
class Measured:
    """What the runs of one network under one recipe came to."""

    seeds: tuple[int, ...]
    top1: tuple[float, ...]
    top1_ema: tuple[float, ...]  # empty where the recipe keeps no moving average

    @property
    def says(self) -> str:
        """In words: mean, deviation over seeds, how many."""
        ema = f", EMA {_spread(self.top1_ema)}" if self.top1_ema else ""
        return f"{_spread(self.top1)}{ema} (n = {len(self.seeds)})"


def baselines(pattern: str = "*") -> list[Baseline]:
    """The baselines whose names are like this, in the order of their files."""
    found = [baseline for path in sorted(_folder().glob("exact-*.yaml")) for baseline in _read(path)]
    chosen = [baseline for baseline in found if fnmatch.fnmatchcase(baseline.name, pattern)]
    if not chosen:
        names = [baseline.name for baseline in found]
        raise InputError(f"baseline {pattern!r}: there is none of that name{nearest(pattern, names)}")
    return chosen


def measured(baseline: Baseline, recipe_name: str) -> Measured | None:
    """The runs among the evidence that trained this network by this recipe on this dataset; None if there are none."""
    wanted = {
        "network_sha256": baseline.network.sha256,
        "dataset": baseline.set.dataset,
        "recipe_hash": baseline.set.recipes[recipe_name],
        "batch_size": recipes.load(recipe_name).lr_base_size,
        "initial_checkpoint": None,
        "teacher": None,
    }
    runs = [result for result in _evidence() if all(result.get(key) == value for key, value in wanted.items())]
    if not runs:
        return None
    runs.sort(key=lambda result: int(result["seed"]))
    return Measured(
        seeds=tuple(run["seed"] for run in runs),
        top1=tuple(run["top1_test"] for run in runs),
        top1_ema=tuple(run["top1_test_ema"] for run in runs if run["top1_test_ema"] is not None),
    )


def frozen_recipe(baseline: Baseline, recipe_name: str | None) -> tuple[str, Recipe]:
    """One of its recipes, by name (the only one, if none is given), if files and recipe are those that were frozen."""
    names = list(baseline.set.recipes)
    if recipe_name is None and len(names) > 1:
        raise InputError(f"{baseline.name}: is trained by {', '.join(names)}; name one with --recipe")
    name = names[0] if recipe_name is None else recipe_name
    if name not in names:
        raise InputError(f"--recipe {name}: {baseline.name} is trained by {', '.join(names)}{nearest(name, names)}")
    own = _folder() / f"{baseline.set.name}.yaml"
    for path, found, known in zip((own, own.with_suffix(".json")), digests(own), FROZEN[own.stem], strict=True):
        if found != known:
            raise InputError(
                f"{path}: was changed since version {baseline.set.version} was frozen (sha256 {found}, not {known}); "
                "put the file back, or train what you have with thinresnet train --network"
            )
    recipe = baseline.recipe(name)
    if recipe.hash != baseline.set.recipes[name]:
        raise InputError(
            f"recipe {name}: was changed since the baseline was frozen (hash {recipe.hash}, not "
            f"{baseline.set.recipes[name]}); put it back, or train with thinresnet train --recipe"
        )
    return name, recipe


def digests(path: Path) -> tuple[str, str]:
    """Of what the YAML file of a set says, however it is written, and of the networks beside it."""
    said = json.dumps(yaml.safe_load(path.read_text(encoding="utf-8")), sort_keys=True).encode()
    networks = path.with_suffix(".json").read_bytes()
    return hashlib.sha256(said).hexdigest()[:16], hashlib.sha256(networks).hexdigest()[:16]


def bibtex(baseline: Baseline) -> str:
    """The entry that names exactly this network of exactly this version."""
    budget = baseline.budget.replace("%", r"\%")
    arch = baseline.network.arch.replace("_", r"\_")
    dataset = _TITLES[baseline.set.dataset]
    rounding = f"channels in multiples of {baseline.round_to}" if baseline.round_to > 1 else "channels not rounded"
    fields = {
        "title": f"Exact-budget baseline v{baseline.set.version}: {arch} at {budget} of its {{MACs}} on {{{dataset}}}",
        "author": "{The thinresnet authors}",
        "note": f"{rounding}; network {baseline.network.sha256[:16]}; in thinresnet {thinresnet.__version__}",
    }
    key = f"exact-v{baseline.set.version}-{baseline.name}".replace(".", "_")
    return f"@misc{{{key},\n" + "".join(f"  {name} = {{{value}}},\n" for name, value in fields.items()) + "}\n"


def _folder() -> Path:
    """The baselines of a checkout, or those that the wheel carries."""
    package = Path(thinresnet.__file__).parent
    checkout = package.parent / "baselines"
    return checkout if (checkout / "exact-imagenet.yaml").is_file() else package / "baselines"


def _read(path: Path) -> list[Baseline]:
    content = yaml.safe_load(path.read_text(encoding="utf-8"))
    own = Set(
        name=path.stem,
        version=content["version"],
        dataset=content["dataset"],
        images=content["images"],
        recipes=content["recipes"],
        changes=content["changes"],
    )
    stored = json.loads(path.with_suffix(".json").read_text(encoding="utf-8"))
    return [_baseline(f"{own.dataset}-{name}", own, row) for name, row in stored["networks"].items()]


def _baseline(name: str, own: Set, row: Mapping[str, Any]) -> Baseline:
    shape = row["network"]
    return Baseline(
        name=name,
        set=own,
        budget=row["budget"],
        round_to=row["round_to"],
        # Not through `from_json`, which checks the counts against the architecture: a test has done that.
        network=Network(shape["arch"], shape["kwargs"], tuple(shape["input_size"]), shape["channels"]),
        macs={int(side): macs for side, macs in row["macs"].items()},
        params=row["params"],
        dense_macs=row["dense_macs"],
        dense_params=row["dense_params"],
    )


def evidence_folder() -> Path:
    """Where results are kept beside the board: in the working folder, else where this package is run from."""
    return EVIDENCE if EVIDENCE.is_dir() else _folder() / EVIDENCE.name


def _evidence() -> list[dict[str, Any]]:
    folder = evidence_folder()
    return [read_object(path) for path in sorted(folder.glob("**/result.json"))]


def _spread(values: Sequence[float]) -> str:
    mean = f"{statistics.fmean(values):.2f} %"
    return mean if len(values) < 2 else f"{mean[:-2]} ± {statistics.stdev(values):.2f} %"
