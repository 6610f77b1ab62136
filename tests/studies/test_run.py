"""Studies that really run, on the embedded images: the cache, kills, what was changed by hand, what cannot be done."""

from __future__ import annotations

import hashlib
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, ClassVar

import filelock
import psutil
import pytest
import torch
import yaml
from typer.testing import CliRunner

from thinresnet import networks
from thinresnet.cli import app
from thinresnet.errors import InputError
from thinresnet.files import read_object
from thinresnet.leaderboard.evidence import check_evidence
from thinresnet.networks import count, read_network
from thinresnet.networks.store import read_weights
from thinresnet.pruning.record import read_pruning
from thinresnet.studies import training_cost
from thinresnet.studies.graphs import read_graphs
from thinresnet.studies.stages import Prune, Source
from thinresnet.studies.store import Store
from thinresnet.training import Result, loop

STUDY: dict[str, Any] = {
    "study": "tiny",
    "arch": "resnet20_cifar",
    "kwargs": {"depths": [1, 1, 1]},
    "holdout": 0.1,
    "recipes": {"short": {"recipe": "digits", "epochs": 1, "warmup_epochs": 0}},
    "finetune": {"epochs": 1, "lr": 0.01},
    "budgets": [{"macs": "50%"}],
    "methods": ["l1", "magnitude", "lottery"],
    "protocols": ["dense", "scaled-width", "prune-finetune", "scratch-b", "rewind", "guided"],
    "seeds": [3],
    "measure": {"batch_size": 2, "runs": 3, "training_batch_size": 2},
}


def write(folder: Path, **changes: Any) -> Path:
    path = folder / "study.yaml"
    path.write_text(yaml.safe_dump({**STUDY, **changes}, sort_keys=False), encoding="utf-8")
    return path


def study(verb: str, *arguments: Any) -> Any:
    """The verb, as a user types it."""
    done = CliRunner().invoke(app, ["study", verb, *map(str, arguments)])
    if done.exception is not None and not isinstance(done.exception, (InputError, SystemExit)):
        raise done.exception
    return done


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """The study's file and its folder of runs, everything done."""
    folder = tmp_path_factory.mktemp("studies")
    path = write(folder)
    done = study("run", path, "-o", folder / "runs")
    assert done.exit_code == 0, done.stderr
    return path, folder / "runs" / "tiny"


def stage(root: Path, holding: str) -> Path:
    (found,) = [path for path in folders(root) if holding in path.name]
    return found


def folders(root: Path) -> list[Path]:
    return [path for path in root.iterdir() if path.is_dir() and not path.name.startswith(".")]


def times(root: Path) -> dict[str, int]:
    return {path.name: (path / "stage.json").stat().st_mtime_ns for path in folders(root)}


def test_what_the_protocols_made(finished: tuple[Path, Path]) -> None:
    root = finished[1]
    dense = Result.read(stage(root, "-dense-"))
    (pruned,) = [path for path in stage(root, "-l1-macs50pct-digits").iterdir() if path.is_dir()]
    tuned = Result.read(stage(root, "-l1-macs50pct-finetuned"))
    assert tuned.macs <= dense.macs // 2
    assert read_network(pruned) == read_network(tuned.folder)
    assert tuned.initial_checkpoint is not None
    # Scratch-B takes as much computation as the dense network did; the cost of Scratch-E would be half of it.
    scratch = Result.read(stage(root, "scratch-b"))
    assert (scratch.epochs, scratch.initial_checkpoint) == (dense.macs // tuned.macs, None)
    # Rewound: what training had begun with, of the channels that were kept.
    network, start = networks.load(stage(root, "l1-macs50pct-start"))
    assert network == read_network(pruned)
    kept = read_object(pruned / "pruning.json")["kept"]["layer1.0.conv1"]
    first = networks.build(read_network(dense.folder), seed=3)
    assert torch.equal(start.layer1[0].conv1.weight, first.layer1[0].conv1.weight[kept])
    assert Result.read(stage(root, "l1-macs50pct-rewind")).initial_checkpoint is not None
    assert count(read_network(stage(root, "guided-short-shape"))).macs <= dense.macs // 2
    timed = read_object(stage(root, "l1-macs50pct-short-time") / "timing.json")
    for both in (timed, timed["training"]):
        assert (both["dense"]["macs"], both["network"]["macs"]) == (dense.macs, tuned.macs)


@pytest.mark.parametrize("holding", ["-magnitude-macs50pct-finetuned", "-lottery-macs50pct-rewind"])
def test_masked_weights_stay_zero_through_training(finished: tuple[Path, Path], holding: str) -> None:
    root = finished[1]
    trained = read_weights(stage(root, holding) / "model.safetensors")
    method = holding.split("-")[1]
    (masked,) = [path for path in stage(root, f"-{method}-macs50pct-digits").iterdir() if path.is_dir()]
    before = read_weights(masked / "model.safetensors")
    for name, mask in read_weights(masked / "masks.safetensors").items():
        assert torch.equal(trained[name] != 0, mask.bool())
        assert not torch.equal(trained[name], before[name])


def test_the_table_counts_what_was_trained(finished: tuple[Path, Path]) -> None:
    path, root = finished
    done = study("show", path, "-o", root.parent, "--json")
    assert done.exit_code == 0
    dense = Result.read(stage(root, "-dense-"))
    tuned = Result.read(stage(root, "-l1-macs50pct-finetuned"))
    # One epoch of 1,280 images in full batches: 3 × MACs × images, for the dense network and for tuning; L1 reads
    # weights only.
    assert (dense.training_macs, tuned.training_macs) == (3 * dense.macs * 1280, 3 * tuned.macs * 1280)
    assert str(dense.training_macs + tuned.training_macs) in done.stdout


def test_no_stage_spends_more_than_its_bound(finished: tuple[Path, Path]) -> None:
    path, root = finished
    (graph,) = read_graphs(path)
    store = Store(root)
    for own in graph.stages.values():
        outputs = [point.tag for point in own.points] if isinstance(own, Prune) else [""]
        for output in outputs:
            assert own.spent(store.path(Source(own, output))) <= own.training_macs, own.name
    assert sum(own.training_macs > 0 for own in graph.stages.values()) >= 6


def test_no_record_says_where_files_lay(finished: tuple[Path, Path]) -> None:
    """What differs from machine to machine stays out of every JSON; a recipe to resume from has its folders."""
    root = finished[1]
    records = [path for path in root.rglob("*.json") if ".hashes" not in path.parts]
    assert {path.name for path in records} >= {"stage.json", "result.json", "pruning.json", "timing.json"}
    for path in records:
        text = path.read_text(encoding="utf-8")
        assert str(root.parents[1]) not in text, path
        assert '"/' not in text, path


@pytest.fixture(scope="module")
def at_init(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """What the founding paper on pruning at initialisation compares, small, everything done."""
    folder = tmp_path_factory.mktemp("at-init")
    path = write(
        folder,
        methods=[
            {"method": "synflow", "set": {"rounds": 5}},
            {"method": "synexp", "preconfig": True},
            "magnitude",
        ],
        budgets=[{"params": "40%"}],
        protocols=[
            "scaled-width", "at-init", "at-init-weights", "at-init-filters", "at-init-masks", "at-init-masks-reinit",
            "at-init-masks-shuffled", "masks-reinit", "masks-shuffled",
        ],
    )  # fmt: skip
    done = study("run", path, "-o", folder / "runs")
    assert done.exit_code == 0, done.stderr
    return path, folder / "runs" / "tiny"


@pytest.mark.parametrize("granularity", ["weights", "filters", "masks"])
def test_masks_at_initialisation_are_as_dense_as_they_should_be(at_init: tuple[Path, Path], granularity: str) -> None:
    root = at_init[1]
    (pruned,) = stage(root, "-synflow-params40pct-short-pruned-s3").glob("*/pruning.json")
    layers = read_pruning(pruned.parent).layers
    wanted = {name: own["asked" if granularity == "masks" else "left"] for name, own in layers.items()}
    trained = read_weights(stage(root, f"-synflow-params40pct-{granularity}-digits") / "model.safetensors")
    start = stage(root, f"-synflow-params40pct-{granularity}-start-s3")
    first = networks.build(read_network(start), seed=3).state_dict()
    found = read_weights(start / "masks.safetensors")
    assert {name.removesuffix(".weight") for name in found} == set(wanted)
    for name, mask in found.items():
        of = mask.shape[0] if granularity == "filters" and name != "fc.weight" else mask.numel()
        of = mask.shape[1] if granularity == "filters" and name == "fc.weight" else of
        density = float(mask.float().mean())
        assert abs(density - wanted[name.removesuffix(".weight")]) <= 1 / of
        assert torch.equal(trained[name] != 0, mask.bool())
        assert not torch.equal(trained[name], first[name] * mask)  # it has learnt
    assert torch.equal(read_weights(start / "model.safetensors")["conv1.weight"], first["conv1.weight"])


@pytest.mark.parametrize("method", ["synflow", "magnitude"])
def test_a_mask_on_other_weights_and_another_mask_on_the_same_weights(at_init: tuple[Path, Path], method: str) -> None:
    root, shape = at_init[1], f"-{method}-params40pct-masks"
    found = (
        stage(root, f"{shape}-start-s3") / "masks.safetensors"
        if method == "synflow"
        else next(stage(root, "-magnitude-params40pct-digits").glob("*/masks.safetensors"))
    )
    own = read_weights(found)
    first = networks.build(read_network(stage(root, f"{shape}-shuffled-start-s3")), seed=3).state_dict()
    for change in ("reinitialised", "shuffled"):
        start, trained = (stage(root, f"{shape}-{change}-{part}") for part in ("start-s3", "digits"))
        weights, masks = (read_weights(start / f"{part}.safetensors") for part in ("model", "masks"))
        kept = read_weights(trained / "model.safetensors")
        assert set(masks) == set(own)
        for name, mask in masks.items():
            assert torch.equal(weights[name], first[name]) is (change == "shuffled")
            assert torch.equal(mask, own[name]) is (change == "reinitialised" or bool(own[name].all()))
            assert mask.sum() == own[name].sum()
            assert torch.equal(kept[name] != 0, mask.bool())


def test_layers_may_grow_at_initialisation(at_init: tuple[Path, Path]) -> None:
    path, root = at_init
    dense = networks.scale("resnet20_cifar", input_size=(3, 8, 8), depths=[1, 1, 1])
    grown = Result.read(stage(root, "-synexp-preconfig-params40pct-init-digits"))
    channels = read_network(grown.folder).channels
    assert any(count > dense.channels[name] for name, count in channels.items())
    assert grown.params <= 0.4 * count(dense).params
    rows = json.loads(study("show", path, "-o", root.parent, "--json").stdout)
    masked = [row for row in rows if row["kind"] == "masked at initialisation"]
    assert {row["name"]: row["verdicts"]["params"]["says"] for row in masked} == {
        "synflow, weights masked at the same densities": "over budget",
        "synflow, filters masked at the same densities": "over budget",
        "synflow, its own masks": "over budget",
        "synflow, its own masks on new random weights": "over budget",
        "synflow, its own masks shuffled within layers": "over budget",
    }


def test_the_same_command_again_changes_nothing(finished: tuple[Path, Path]) -> None:
    path, root = finished
    before = times(root)
    done = study("run", path, "-o", root.parent)
    assert done.exit_code == 0
    assert f"{len(before)} of {len(before)} stages are finished already" in done.stderr
    assert times(root) == before


@pytest.mark.parametrize(
    ("holding", "file", "change", "said"),
    [
        ("scaled-width-macs50pct-digits", "model.safetensors", "flip", "model.safetensors was changed"),
        ("-l1-macs50pct-finetuned", "metrics.csv", "delete", "metrics.csv is missing"),
        ("scratch-b", "result.json", "cut", "result.json was changed"),
        ("guided-short-shape", "more.txt", "add", "more.txt is new"),
        ("-dense-", "stage.json", "cut", "stage.json cannot be read"),
    ],
)
def test_what_was_changed_by_hand_is_noticed_and_done_again(
    finished: tuple[Path, Path], tmp_path: Path, holding: str, file: str, change: str, said: str
) -> None:
    path, original = finished
    root = shutil.copytree(original, tmp_path / "runs" / "tiny")
    before, weights = times(root), {p.name: weights_of(p) for p in folders(root)}
    changed = stage(root, holding) / file
    if change == "add":
        changed.write_text("mine")
    elif change == "delete":
        changed.unlink()
    else:
        content = bytearray(changed.read_bytes())
        content[len(content) // 2] ^= 1
        changed.write_bytes(content if change == "flip" else content[: len(content) // 2])
    done = study("run", path, "-o", tmp_path / "runs")
    assert done.exit_code == 0
    assert said in done.stderr
    # Trainings come out again to the bit, so that what hangs on them stays.
    assert [name for name, when in times(root).items() if when != before[name]] == [changed.parent.name]
    assert {p.name: weights_of(p) for p in folders(root)} == weights


def weights_of(folder: Path) -> bytes | None:
    file = folder / "model.safetensors"
    return file.read_bytes() if file.exists() else None


def test_what_hangs_on_changed_weights_is_done_again(finished: tuple[Path, Path], tmp_path: Path) -> None:
    path, original = finished
    root = shutil.copytree(original, tmp_path / "runs" / "tiny")
    before = times(root)
    # Somebody replaces the dense parent, and makes its record fit.
    dense = stage(root, "-dense-")
    network, model = networks.load(dense)
    with torch.no_grad():
        model.layer3[0].conv1.weight.mul_(-2)
    networks.save(dense, network, model)
    record = read_object(dense / "stage.json")
    record["files"]["model.safetensors"] = sha256(dense / "model.safetensors")
    (dense / "stage.json").write_text(json.dumps(record))
    done = study("run", path, "-o", tmp_path / "runs")
    assert "what it depends on has changed" in done.stderr
    again = {name for name, when in times(root).items() if when != before[name]}
    assert {dense.name, stage(root, "scaled-width-macs50pct-digits").name} & again == {dense.name}
    assert {stage(root, "-l1-macs50pct-digits").name, stage(root, "-l1-macs50pct-finetuned").name} <= again


def sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


@pytest.fixture
def long_study(tmp_path: Path) -> Path:
    """Two trainings of a few seconds each."""
    recipes = {"short": {"recipe": "digits", "epochs": 12, "warmup_epochs": 0}}
    return write(tmp_path, recipes=recipes, protocols=["dense"], methods=[], seeds=[1, 2])


def until(true: Callable[[], object]) -> None:
    deadline = time.monotonic() + 300
    while not true():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def test_a_study_that_is_asked_to_stop_goes_on(
    long_study: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    root = tmp_path / "runs" / "tiny"
    monkeypatch.setattr(loop, "_SECONDS_BETWEEN_SAVES", 0.0)  # so that a checkpoint tells how far it is

    def ask() -> None:
        until(lambda: list(root.glob("*-s2-*/checkpoints/*.pt")))
        os.kill(os.getpid(), signal.SIGTERM)

    before = signal.signal(signal.SIGTERM, lambda number, frame: None)  # should it come too late
    asking = threading.Thread(target=ask)
    asking.start()
    try:
        done = study("run", long_study, "-o", tmp_path / "runs")
        asking.join()
    finally:
        signal.signal(signal.SIGTERM, before)
    assert done.exit_code == 75
    assert "the same command resumes from there" in done.stderr
    first, second = stage(root, "-s1-"), stage(root, "-s2-")
    assert not (second / "stage.json").exists()
    finished_at = (first / "stage.json").stat().st_mtime_ns
    assert "1 of 2 stages are finished already" in study("run", long_study, "-o", tmp_path / "runs").stderr
    assert (first / "stage.json").stat().st_mtime_ns == finished_at
    assert Result.read(second).sessions == 2


def trains_in(folder: Path, processes: list[psutil.Process]) -> psutil.Process:
    lock = str(folder / "checkpoints" / ".lock")
    return next(process for process in processes if lock in {file.path for file in process.open_files()})


def test_several_processes_that_are_killed_go_on(long_study: Path, tmp_path: Path) -> None:
    root = tmp_path / "runs" / "tiny"
    flags = [str(long_study), "-o", str(tmp_path / "runs")]
    command = [sys.executable, "-m", "thinresnet", "study", "run", *flags, "--jobs", "2"]
    with subprocess.Popen(command, stderr=subprocess.DEVNULL) as process:
        trainings: dict[Path, psutil.Process] = {}

        def hold() -> bool:
            """Suspend each where it begins and listens: on a busy machine one would be done before the other begins."""
            for folder in {file.parent for file in root.glob("*/run.json")} - set(trainings):
                trainings[folder] = trains_in(folder, psutil.Process(process.pid).children(recursive=True))
                trainings[folder].suspend()
            return len(trainings) == 2

        until(hold)
        process.kill()
    assert process.returncode == -signal.SIGKILL
    for training in trainings.values():
        training.resume()
    assert not psutil.wait_procs(trainings.values(), timeout=60)[1]  # they save themselves before they follow
    done = study("run", *flags)  # in this process: three more that import torch take longer than all that is trained
    assert done.exit_code == 0, done.stderr
    results = [Result.read(stage(root, f"-s{seed}-")) for seed in (1, 2)]
    assert [(result.epochs, result.sessions) for result in results] == [(12, 2), (12, 2)]


class _AtOnce:
    """A timer whose time has come."""

    seconds: ClassVar[list[float]] = []

    def __init__(self, seconds: float, call: Callable[..., object], args: Sequence[object]) -> None:
        self.seconds.append(seconds)
        self._call = lambda: call(*args)

    def start(self) -> None:
        self._call()

    def cancel(self) -> None:
        """There is nothing left to cancel."""


def test_minutes_end_a_run_in_time(long_study: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(threading, "Timer", _AtOnce)
    done = study("run", long_study, "-o", tmp_path / "runs", "--minutes", "9")
    assert (done.exit_code, _AtOnce.seconds) == (75, [480.0])  # a minute is left to save in
    assert "the same command" in done.stderr


def test_what_is_not_finetuned_is_the_cut_network(tmp_path: Path) -> None:
    """Sparse training of an equal total, and then nothing: the result is that of the pruned folder's own weights."""
    path = write(
        tmp_path, methods=["sss", "sfp"], protocols=["sparse-train-equal-total"], total_training="2x dense",
        kwargs={"depths": [2, 1, 1]}, budgets=[{"macs": "80%"}],
    )  # fmt: skip
    done = study("run", path, "-o", tmp_path / "runs")
    assert done.exit_code == 0, done.stderr
    root = tmp_path / "runs" / "tiny"
    for method in ("sss", "sfp"):
        (pruned,) = [
            own for own in stage(root, f"-{method}-macs80pct-sparse-equal-total-digits").iterdir() if own.is_dir()
        ]
        result = Result.read(stage(root, f"-{method}-macs80pct-sparse-equal-total-measured"))
        record = read_pruning(pruned)
        assert (result.epochs, result.training_macs, record.images_seen) == (0, 0, 2 * (result.images_train // 64 * 64))
        before, after = (read_weights(folder / "model.safetensors") for folder in (pruned, result.folder))
        assert all(torch.equal(before[name], after[name]) for name in before)
        assert result.holdout is not None
        assert record.holdout_pruned is not None
        assert result.holdout.correct1 == record.holdout_pruned["correct1"]
        check_evidence(result.folder, result)
    shown = json.loads(study("show", path, "-o", tmp_path / "runs", "--json").stdout)
    assert {row["method"]: (row["training_macs"], row["total_training_macs_left"]) for row in shown} == {
        "sss": (0, 0),
        "sfp": (0, 0),
    }


def test_a_stage_that_cannot_be_done_leaves_the_others_be(tmp_path: Path) -> None:
    recipes = {
        "wild": {"recipe": "digits", "epochs": 1, "warmup_epochs": 0, "lr": 10000.0},
        "short": {"recipe": "digits", "epochs": 1, "warmup_epochs": 0},
    }
    path = write(tmp_path, recipes=recipes, protocols=["dense", "prune-finetune"], methods=["l1"])
    done = study("run", path, "-o", tmp_path / "runs")
    assert done.exit_code == 1
    lines = [line for line in done.stderr.splitlines() if line.startswith("thinresnet: ")]
    assert len(lines) == 4
    assert "-dense-digits-wild-s3: " in lines[0]
    assert re.search("non-finite|not a finite number", lines[0])
    assert all("wild" in line and "what it depends on could not be done" in line for line in lines[1:])
    assert Result.read(stage(tmp_path / "runs" / "tiny", "-l1-macs50pct-finetuned-digits-short")).epochs == 1


def test_what_is_refused_leaves_nothing_behind(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("THINRESNET_CACHE", str(tmp_path / "cache"))
    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    output = tmp_path / "runs"
    gone = {"classes": 10, "images_train": 100, "dataset": "torch/cifar10"}
    for changes, flags, message in (
        (gone, [], "torch/cifar10: not in"),
        ({}, ["--on", "rey"], "--on rey: it is one of here, ray; did you mean 'ray'"),
        ({}, ["--on", "ray"], "give --address HOST:PORT or set RAY_ADDRESS"),
        ({}, ["--on", "ray", "--address", "127.0.0.1:1"], "--address 127.0.0.1:1: nobody answers there"),
        ({}, ["--on", "ray", "--address", "here"], "write HOST:PORT"),
        ({}, ["--json"], "--json: it is for --dry-run"),
        ({}, ["--only", "tinny"], "has no such study; did you mean 'tiny'"),
    ):
        done = study("run", write(tmp_path, **changes), "-o", output, *flags)
        assert isinstance(done.exception, InputError)
        assert message in str(done.exception)
        assert "\n" not in str(done.exception)
        assert not output.exists()


def test_two_at_once(finished: tuple[Path, Path]) -> None:
    path, root = finished
    with filelock.FileLock(root / ".lock"):
        done = study("run", path, "-o", root.parent)
    assert isinstance(done.exception, InputError)
    assert "being run by another process" in str(done.exception)


def test_the_dry_run_prints_and_does_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(training_cost, "_MEASURED_SECONDS", 0.0)
    path = write(tmp_path)
    done = study("run", path, "-o", tmp_path / "runs", "--dry-run")
    assert done.exit_code == 0
    assert "dense ones" in done.stdout
    found = json.loads(study("run", path, "--dry-run", "--json").stdout)
    assert [one["study"] for one in found] == ["tiny"]
    assert not (tmp_path / "runs").exists()


def test_the_protocols_are_listed() -> None:
    rows = json.loads(study("protocols", "--json").stdout)
    assert {"dense", "scaled-width", "prune-finetune", "scratch-b", "transfer"} <= {row["protocol"] for row in rows}
    assert "scratch-b-2x" in study("protocols").stdout
