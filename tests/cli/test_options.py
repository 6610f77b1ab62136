"""No verb ignores a flag: in every way of calling a verb, each of its options changes something or is refused.

`WAYS` lists the ways of calling each verb; `VALUES` a value for every option, which the walk adds to each way alone.
What comes out (printed, written, handed to what does the work) must differ from what comes out without it, or the verb
ends with code 2. A verb or an option that is missing here fails the test.
"""

from __future__ import annotations

import csv
import hashlib
import os
import re
import shutil
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest
import torch
import typer
from PIL import Image
from typer.testing import CliRunner

from thinresnet import cli, networks
from thinresnet.errors import InputError
from thinresnet.leaderboard import store
from thinresnet.networks import timing
from thinresnet.pruning import folder as pruning_folder
from thinresnet.studies import running as studies_running

ROOT = Path(__file__).parents[2]
CLASSES = ("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck")
STUDY = """study: one
arch: resnet20_cifar
dataset: digits
recipes: {short: {recipe: digits, epochs: 1, warmup_epochs: 0}}
budgets: [{macs: 50%}]
protocols: [dense, scaled-width]
seeds: [0]
tiers: {more: {seeds: [1, 2]}}
---
study: two
arch: resnet20_cifar
dataset: digits
recipes: {short: {recipe: digits, epochs: 2, warmup_epochs: 0}}
budgets: [{macs: 50%}]
protocols: [dense, scaled-width]
seeds: [0]
tiers: {more: {seeds: [1, 2]}}
"""

# Each way of calling a verb: words that need no more than the files of `world`.
WAYS: dict[str, list[str]] = {
    "networks": ["networks mobilenetv2_100"],
    "count": ["count resnet20_cifar --width 0.3", "count net.json", "count w2.pt"],
    "fit": ["fit resnet20_cifar --macs 37%", "fit resnet20_cifar --macs 37% --scaling depth"],
    "time": ["time resnet20_cifar --width 0.3", "time net.json", "time w2.pt"],
    "import": ["import w2.pt"],
    "evaluate": [
        "evaluate w2.pt --data-dir images",
        "evaluate run --data-dir images --json",
    ],
    "predict": ["predict run images/other/cat/0.png --resize 48"],
    "export": ["export run --to torchscript --output model.pt"],
    "plot": ["plot run"],
    "recipes": ["recipes", "recipes digits"],
    "data write": ["data write --data-dir images"],
    "data info": ["data info --data-dir images", "data info --dataset digits", "data info no.beton"],
    "prune": [
        "prune l1 net.json --macs 50%",
        "prune synflow net.json --macs 50%",
        "prune l1 w2.pt --macs 50%",
        "prune --list",
        "prune l1 --list",
    ],
    "study run": [
        "study run study.yaml --only one",
        "study run study.yaml --only one --dry-run",
        "study run study.yaml --only one --on ray",
    ],
    "study show": ["study show study.yaml --only one"],
    "study export": ["study export study.yaml --only one"],
    "study protocols": ["study protocols"],
    "study pack": ["study pack study.yaml --only one"],
    "study paper": ["study paper"],
    "baseline list": ["baseline list"],
    "baseline show": ["baseline show cifar10-resnet20_cifar-50-r8", "baseline show thinresnet20-w8"],
    "baseline run": ["baseline run cifar10-resnet20_cifar-50-r8 --data-dir images"],
    "baseline cite": ["baseline cite"],
    "baseline page": ["baseline page --check --board whole.csv"],
    "leaderboard show": ["leaderboard show --board small.csv"],
    "leaderboard compare": [
        "leaderboard compare --board small.csv",
        "leaderboard compare ROW --board small.csv",
        "leaderboard compare PAPER --board small.csv",
        "leaderboard compare --arch resnet50 --top1 75 --macs 2.3G --board small.csv",
    ],
    "leaderboard holes": ["leaderboard holes --board whole.csv"],
    "leaderboard add": [
        "leaderboard add --file row.yaml --dry-run --board small.csv",
        "leaderboard add --template",
    ],
    "leaderboard check": ["leaderboard check --board small.csv", "leaderboard check --json --board small.csv"],
    "leaderboard diff": ["leaderboard diff other.csv --board small.csv"],
    "leaderboard cite": ["leaderboard cite", "leaderboard cite ROW --board small.csv"],
    "leaderboard page": ["leaderboard page --board small.csv"],
    "leaderboard figure": ["leaderboard figure --output figure.svg --board small.csv"],
}
# A value for each option (None: it is a flag that takes none), for one verb alone where its name comes first.
VALUES: dict[str, str | None] = {
    "WHAT": "", "RUN": "", "BEFORE": "", "PATTERN": "", "NAME": "", "NAMES": "", "FILE": "", "RUNS": "", "METHOD": "",
    "ARCH": "", "SOURCE": "", "FOLDERS": "", "IMAGES": "", "--check": None, "--json": None, "--width": "0.6",
    "--interior": "0.6", "--round-to": "8", "--fast": None, "--input": "16", "--num-classes": "7", "--layers": None,
    "--arch": "resnet56_cifar", "--macs": "21%", "--params": "11%", "--scaling": "interior", "--output": "elsewhere",
    "--batch-size": "3", "--runs": "4", "--device": "cuda:9", "--channels-last": None, "--compile": None,
    "--training": None,
    "--model-kwargs": "shortcut=A", "--dataset": "cifar100", "--key": "inside", "--licence": "MIT",
    "--mean": "0.1,0.2,0.3", "--std": "0.1,0.2,0.3", "--resize": "48", "--crop": "24", "--interpolation": "bicubic",
    "--resize-on": "tensor", "--yes": None, "--trust": None, "--data-dir": "images2", "--split": "other",
    "--ema": None, "--classes": "cat,dog", "--per-class": None, "--confusion": None, "--mode": "raw",
    "--max-resolution": "16", "--jpeg-quality": "50", "--compress-probability": "0.1", "--train-split": "other",
    "--val-split": "other", "--to": "R56-A",
    "--scope": "global", "--stream": None, "--preconfig": None, "--set": "images=3", "--method": "own.py:last",
    "--weights": "w3.pt", "--recipe": "digits", "--holdout": "0.2", "--seed": "9", "--list": None, "--only": "two",
    "--gpus-per-stage": "3",
    "--jobs": "2", "--on": "ray", "--address": "host:1", "--cpus": "3", "--gpus": "1", "--dry-run": None,
    "--board": "other.csv", "leaderboard diff --board": "whole.csv", "--against": "any", "--recipes": "classical",
    "--resolution": "own", "--sort": "macs", "--limit": "1", "--columns": "id,top1", "--csv": None,
    "--markdown": None, "--latex": None, "--family": "scaled", "--source": "measured", "--paper": "fang2023depgraph",
    "--year": "2020", "--verdict": "loses", "--search": "HRank", "--top1": "71", "--fix": None, "--papers": None,
    "--mine": "Ours:76.0@2.05G", "--cost": "params", "--linear": None, "--labels": None,
    "--label": "short", "--template": None, "--bibtex": "new.bib", "--yaml": "row.yaml", "--settings": None,
    "--top": "2", "--pretrained": None, "--tolerance": "0.5",
    "--recalibrate": "7", "export --to": "torchscript", "--latency": "97%", "--latency-table": "missing.json",
    "--table": "table.json", "leaderboard show --dataset": "imagenet", "leaderboard show --method": "HRank",
    "leaderboard show --macs": "1.5G", "leaderboard show --params": "12M", "leaderboard show --arch": "resnet18",
    "leaderboard compare --arch": "resnet18", "leaderboard compare --macs": "1.5G",
    "leaderboard compare --params": "12M", "leaderboard compare --dataset": "cifar10",
    "leaderboard holes --arch": "resnet18", "leaderboard holes --dataset": "imagenet",
    "leaderboard figure --arch": "resnet18", "leaderboard figure --dataset": "cifar10",
    "leaderboard figure --csv": "data.csv", "leaderboard compare --on": "params", "leaderboard show --on": "params",
    "leaderboard holes --on": "params", "study run --dataset": "torch/cifar10",
    "study show --dataset": "torch/cifar10", "study export --dataset": "torch/cifar10",
    "evaluate --dataset": "digits", "data info --dataset": "digits", "prune --arch": "resnet56_cifar",
    "--seeds": "4,5", "baseline run --loader": "torch",
    "--tier": "more", "--weights-dir": "weights", "--minutes": "3", "study pack --to": "evidence", "EVIDENCE": "",
    "--evaluations": "elsewhere", "--document": "paper.md", "--figures": "pictures",
    "study pack --dataset": "torch/cifar10",
    "--file": "row.yaml", "evaluate --num-classes": "10", "import --dataset": "cifar10", "import --num-classes": "9",
}  # fmt: skip
# What may change nothing, and why.
EXEMPT: dict[str, str] = {
    "--yes": "answers a question that these ways do not raise; tests/leaderboard/test_adding.py, test_evaluate.py",
    "import --trust": "needs a pickle; tests/networks/test_foreign.py",
    "study run --minutes": "ends what is replaced here; tests/studies/test_run.py",
    "study paper --evaluations": "there is no evidence here; tests/studies/test_paper.py",
    "study paper --document": "the same",
    "study paper --figures": "the same",
    "study paper --check": "the same",
    "study show --json": "what does the work is replaced before it prints; tests/studies/test_report.py",
    "predict --batch-size": "one image is one batch; tests/cli/test_predict.py",
    "baseline page --output": "the board of this test has no evaluations; tests/leaderboard/test_authors_page.py",
    "export --tolerance": "the outputs are equal here; tests/cli/test_predict.py",
    "leaderboard figure --csv": "the drawing is replaced; tests/leaderboard/test_verbs.py",
    "plot --json": "what does the work is replaced before it prints; tests/test_curves.py",
    "data write --json": "the same; tests/training/data/test_info.py",
    "time --json": "the same; tests/cli/test_networks.py",
    "prune --json": "the same; tests/cli/test_prune.py",
    "data info --check": "finds what is broken, and here nothing is; tests/training/data/test_info.py",
    "data info no.beton --json": "the file is not there; tests/training/data/test_info.py",
    "leaderboard check --fix": "the board of this test is in canonical form; tests/leaderboard/test_check.py",
}


# `study run --dry-run` is put before a command as it will be given.
_PREVIEWED = {
    "--output", "--jobs", "--gpus-per-stage", "--data-dir", "--address", "--cpus", "--gpus", "--minutes",
    "--weights-dir",
}  # fmt: skip


_TIMES = re.compile(rb"20\d\d-\d\d-\d\d[T ][0-9:.+Z-]+")


class Came(NamedTuple):
    """What came of a call."""

    code: int
    said: str
    files: dict[str, str]


class Echo(Exception):  # noqa: N818  # it is no error
    """Raised in place of the work, with what it was given."""


def _echo(*given: Any, **named: Any) -> Any:
    shown = [_shown(each) for each in given] + [f"{name}={_shown(each)}" for name, each in sorted(named.items())]
    raise Echo(" ".join(shown))


class _Clock:
    """A second passes each time that one looks."""

    def __init__(self) -> None:
        self.now = 0.0

    def perf_counter(self) -> float:
        self.now += 1
        return self.now


class _Ray:
    """In place of a cluster."""

    def __init__(self, *given: Any, **named: Any) -> None:
        self.given = (given, named)

    def close(self) -> None:
        """Nothing was started."""


def _shown(value: Any) -> str:
    return re.sub(r" at 0x[0-9a-f]+", "", repr(value))


def _verbs() -> Iterator[tuple[str, Any]]:
    group: Any = typer.main.get_group(cli.app)
    for name in cli.VERBS:
        verb = group.get_command(None, name)
        if hasattr(verb, "commands"):
            yield from ((f"{name} {inner}", one) for inner, one in verb.commands.items())
        elif name != "train":  # its flags are a recipe's: tests/cli/test_flags.py, test_train.py
            yield name, verb


def _options(verb: Any) -> list[str]:
    """Its options by their long names; columns of the board are flags of `add` that the schema's tests walk."""
    return [
        max(each.opts, key=len) if each.param_type_name == "option" else str(each.name).upper()
        for each in verb.params
        if getattr(each, "rich_help_panel", None) != "Columns"
    ]


VERBS = dict(_verbs())
STEPS = [
    (verb, way, option)
    for verb, ways in WAYS.items()
    if verb in VERBS
    for way in ways
    for option in _options(VERBS[verb])
    if option.startswith("--") and f" {option}" not in way
]


def test_every_verb_is_walked_in_every_option() -> None:
    assert VERBS.keys() == WAYS.keys()
    for verb, command in VERBS.items():
        missing = [each for each in _options(command) if each not in VALUES and f"{verb} {each}" not in VALUES]
        assert not missing, f"{verb}: no value for {missing}"


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Small files of every kind that a verb is called with."""
    folder = tmp_path_factory.mktemp("world")
    thin = networks.describe("thinresnet20-w2", num_classes=10)
    (folder / "net.json").write_text(thin.to_json())
    networks.save(folder / "run", thin, networks.build(thin, seed=0))
    for name, seed in (("w2", 0), ("w3", 1)):
        torch.save(networks.build(thin, seed=seed).state_dict(), folder / f"{name}.pt")
    random = np.random.default_rng(0)
    for images, splits in (("images", ("train", "validation", "other")), ("images2", ("validation",))):
        for split in splits:
            for name in CLASSES:
                place = folder / images / split / name
                place.mkdir(parents=True)
                pixels = random.integers(0, 256, (32, 32, 3), dtype=np.uint8)
                Image.fromarray(pixels).save(place / "0.png")
    (folder / "study.yaml").write_text(STUDY)
    _write_boards(folder)
    return folder


def _write_boards(folder: Path) -> None:
    """Rows of three networks from the board, with what they are held against."""
    entries = store.read_board(ROOT / "leaderboard.csv")
    some = [
        entry
        for number, entry in enumerate(entries)
        if (entry.dataset, entry.arch)
        in {("imagenet", "resnet50"), ("imagenet", "resnet18"), ("cifar10", "resnet56_cifar")}
        and (entry.family in ("scaled", "dense") or number % 3 == 0)
        and entry.source == "published"
    ]
    for name, kept in (("small.csv", some), ("other.csv", some[:-3]), ("whole.csv", entries)):
        (folder / name).write_text(store.render(kept))
        shutil.copy(ROOT / "leaderboard.bib", folder / f"{Path(name).stem}.bib")


@pytest.fixture
def call(world: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], Came]:
    """Call a verb in a fresh copy of the world; what is slow is replaced by an echo of what it was given."""
    monkeypatch.setattr(networks, "measure", _echo)
    monkeypatch.setattr(timing, "measure", _echo)
    monkeypatch.setattr("thinresnet.curves.plot", _echo)
    monkeypatch.setattr("thinresnet.leaderboard.figure.figure", _echo)
    monkeypatch.setattr("thinresnet.training.data.info.write_betons", _echo)
    monkeypatch.setattr("thinresnet.studies.summaries.summaries", lambda graph, kept: _echo(graph.study, vars(kept)))
    monkeypatch.setattr(
        "thinresnet.studies.export.export", lambda graph, kept, add, board: _echo(graph.study, vars(kept), board)
    )
    monkeypatch.setattr("thinresnet.studies.evidence.pack", lambda graph, kept, to: _echo(graph.study, vars(kept), to))
    monkeypatch.setattr("thinresnet.studies.training_cost.seconds_per_mac", lambda network: 1e-9)
    monkeypatch.setattr(
        studies_running, "run", lambda graph, root, workers, to: _echo(graph.study, root, type(workers), vars(workers))
    )
    monkeypatch.setattr("thinresnet.studies.cluster.Ray", _Ray)
    monkeypatch.setattr(pruning_folder, "prune_to_folders", _echo_pruning)
    monkeypatch.setattr("thinresnet.cli.baseline_run._train", _echo)
    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    rows = list(csv.DictReader((world / "small.csv").open(encoding="utf-8")))
    row = next(row for row in rows if row["arch"] == "resnet50" and row["family"] == "pruned")
    count = 0

    def called(words: str) -> Came:
        nonlocal count
        count += 1
        monkeypatch.setattr("thinresnet.training.evaluation.time", _Clock())
        here = tmp_path / str(count)
        shutil.copytree(world, here, copy_function=os.link)  # every writer here replaces files; none changes one
        monkeypatch.chdir(here)
        done = CliRunner().invoke(cli.app, words.replace("ROW", row["id"]).replace("PAPER", row["paper"]).split())
        if done.exception is not None and not isinstance(done.exception, Echo | InputError | SystemExit):
            raise AssertionError(words) from done.exception
        code = 2 if isinstance(done.exception, InputError) else done.exit_code
        raised = str(done.exception) if isinstance(done.exception, Echo | InputError) else ""
        said = f"{done.output}{raised}".replace(str(here), "")
        return Came(code, said, _files(here, world))

    return called


def _echo_pruning(method: Any, parent: Any, how: Any, *, output: Path, **_: Any) -> Any:
    _echo(method, replace(parent, network=parent.network.sha256), how, output)


def _files(here: Path, world: Path) -> dict[str, str]:
    """What stands in a folder that the world has not, or has otherwise."""
    found = {str(path.relative_to(here)): path.read_bytes() for path in here.rglob("*") if path.is_file()}
    return {
        name: hashlib.sha256(_TIMES.sub(b"", content)).hexdigest()
        for name, content in found.items()
        if not (world / name).is_file() or (world / name).read_bytes() != content
    }


@pytest.mark.parametrize("way", sorted({way for _, way, _ in STEPS}))
def test_no_option_is_ignored(way: str, call: Callable[[str], Came]) -> None:
    without = call(way)
    ignored = []
    for verb, _, option in (step for step in STEPS if step[1] == way):
        if {option, f"{verb} {option}", f"{way} {option}"} & EXEMPT.keys() or (
            "--dry-run" in way and option in _PREVIEWED
        ):
            continue
        value = VALUES.get(f"{verb} {option}", VALUES.get(option))
        if call(f"{way} {option}{'' if value is None else f' {value}'}") == without:
            ignored.append(option)
    assert not ignored, (
        f"{way}: {', '.join(ignored)} changed nothing and was not refused; it said {without.said[-300:]}"
    )
