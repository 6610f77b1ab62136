"""A baseline of our own on the embedded digits, trained as it is stated, and refused where something was changed."""

from __future__ import annotations

import functools
import json
import multiprocessing
import os
import shutil
import signal
from pathlib import Path
from typing import Any

import pytest
import yaml
from typer.testing import CliRunner

from thinresnet import baseline, recipe
from thinresnet.cli import app
from thinresnet.networks import scale
from thinresnet.training import checkpoint, loop, session

NAME = "digits-toy-50-r1"
CHANGES = {"epochs": 1, "warmup_epochs": 0}


def run(*arguments: str) -> tuple[int, str]:
    """The exit code, and what was said."""
    done = CliRunner().invoke(app, ["baseline", *arguments], env={"COLUMNS": "300"})
    return done.exit_code, done.output


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A set of one network under two recipes of the same schedule."""
    folder = tmp_path_factory.mktemp("set")
    network = scale("resnet10t", width=0.125, num_classes=10, input_size=(3, 8, 8))
    content = {
        "version": 1, "dataset": "digits", "images": 1438, "changes": CHANGES,
        "recipes": {"digits": recipe.load("digits", CHANGES).hash},
    }  # fmt: skip
    row = {
        "budget": "50%", "round_to": 1, "macs": {"8": 1}, "params": 1, "dense_macs": 2, "dense_params": 2,
        "network": json.loads(network.to_json()),
    }  # fmt: skip
    (folder / "exact-digits.yaml").write_text(yaml.safe_dump(content))
    (folder / "exact-digits.json").write_text(json.dumps({"format": 1, "networks": {"toy-50-r1": row}}))
    return folder


@pytest.fixture
def here(files: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A working folder whose frozen baselines are these."""
    frozen = tmp_path / "frozen"
    shutil.copytree(files, frozen)
    monkeypatch.setattr(baseline, "_folder", lambda: frozen)
    monkeypatch.setitem(baseline.FROZEN, "exact-digits", baseline.digests(frozen / "exact-digits.yaml"))
    monkeypatch.chdir(tmp_path)
    return frozen


def test_it_is_trained_kept_and_shown_and_trains_no_seed_twice(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    code, said = run("run", NAME, "--seeds", "3,5")
    assert code == 0, said
    assert f"{NAME} under digits: " in said
    kept = Path("baselines/results", f"{NAME}-digits")
    assert sorted(path.name for path in kept.iterdir()) == [f"{NAME}-digits-s3", f"{NAME}-digits-s5"]
    assert sorted(path.name for path in (kept / f"{NAME}-digits-s3").iterdir()) == [
        "metrics.csv", "network.json", "recipe.yaml", "result.json",
    ]  # fmt: skip
    result = json.loads((kept / f"{NAME}-digits-s5" / "result.json").read_text())
    (one,) = baseline.baselines(NAME)
    assert (result["seed"], result["epochs"], result["network_sha256"]) == (5, 1, one.network.sha256)
    found = baseline.measured(one, "digits")
    assert found is not None
    assert found.seeds == (3, 5)
    assert found.top1[1] == result["top1_test"]
    assert found.says in run("show", NAME)[1]

    # Another seed beside them; of those that are kept nothing is trained again, though their run folders are gone.
    shutil.rmtree("runs")
    code, said = run("run", NAME, "--seeds", "3,4,5")
    assert code == 0, said
    assert [path.name for path in Path("runs").iterdir()] == [f"{NAME}-digits-s4"]
    assert len(list(kept.iterdir())) == 3

    # A run that had ended before its result was kept is not trained again either.
    shutil.rmtree(kept / f"{NAME}-digits-s4")
    before = Path("runs", f"{NAME}-digits-s4", "result.json").read_bytes()
    assert run("run", NAME, "--seeds", "4")[0] == 0
    assert Path("runs", f"{NAME}-digits-s4", "result.json").read_bytes() == before
    assert (kept / f"{NAME}-digits-s4" / "result.json").is_file()


@pytest.mark.usefixtures("here")
def test_killed_in_the_middle_it_goes_on_where_it_was() -> None:
    """With the result of the run that nobody killed, bit for bit, where `show` finds it."""
    code, said = run("run", NAME, "--seeds", "5", "--output", "whole")
    assert code == 0, said
    kept = Path("baselines/results", f"{NAME}-digits", f"{NAME}-digits-s5", "result.json")
    whole = json.loads(kept.read_text())
    shutil.rmtree("baselines")

    process = multiprocessing.get_context("fork").Process(target=run_until_it_is_killed)
    process.start()
    process.join()
    assert process.exitcode == -signal.SIGKILL
    folder = Path("runs", f"{NAME}-digits-s5")
    assert [path.name for path in folder.glob("checkpoints/*.pt")]
    assert not (folder / "result.json").exists()
    assert not Path("baselines").exists()

    code, said = run("run", NAME, "--seeds", "5")
    assert code == 0, said
    result = json.loads(kept.read_text())
    assert (result["sessions"], whole["sessions"]) == (2, 1)
    assert (result["weights_sha256"], result["updates"]) == (whole["weights_sha256"], whole["updates"])
    (one,) = baseline.baselines(NAME)
    found = baseline.measured(one, "digits")
    assert found is not None
    assert (found.seeds, found.top1) == ((5,), (whole["top1_test"],))
    assert found.says in run("show", NAME)[1]


def run_until_it_is_killed() -> None:
    """The verb with a checkpoint after every update, which gets SIGKILL after the third."""
    saves, save = 0, checkpoint.save

    def counted(*arguments: Any, **named: Any) -> None:
        nonlocal saves
        save(*arguments, **named)
        saves += 1
        if saves == 3:
            os.kill(os.getpid(), signal.SIGKILL)

    checkpoint.save = counted
    loop._SECONDS_BETWEEN_LOOKS = 0.0
    session.train = functools.partial(session.train, checkpoint_minutes=1e-9)
    run("run", NAME, "--seeds", "5")


def test_changed_networks_are_refused(here: Path) -> None:
    path = here / "exact-digits.json"
    path.write_text(path.read_text().replace('"round_to": 1', '"round_to": 2'))
    found = baseline.digests(here / "exact-digits.yaml")[1]
    assert refused("run", NAME) == (
        f"{path}: was changed since version 1 was frozen (sha256 {found}, not "
        f"{baseline.FROZEN['exact-digits'][1]}); put the file back, or train what you have with "
        "thinresnet train --network"
    )


def test_a_changed_statement_is_refused(here: Path) -> None:
    path = here / "exact-digits.yaml"
    path.write_text(path.read_text().replace("images: 1438", "images: 1400"))
    assert refused("run", NAME).startswith(f"{path}: was changed since version 1 was frozen")


def test_other_words_for_the_same_are_the_same(here: Path) -> None:
    path = here / "exact-digits.yaml"
    path.write_text("# read again\n" + path.read_text())
    assert baseline.frozen_recipe(*baseline.baselines(NAME), None)[0] == "digits"


def test_a_changed_recipe_is_refused(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = recipe.load
    monkeypatch.setattr(recipe, "load", lambda name, changes=None: whole(name, changes).replace(lr_base=0.3))
    assert "recipe digits: was changed since the baseline was frozen" in refused("run", NAME)


def test_other_images_are_refused_before_anything_is_trained(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = here / "exact-digits.yaml"
    path.write_text(path.read_text().replace("images: 1438", "images: 1400"))
    monkeypatch.setitem(baseline.FROZEN, "exact-digits", baseline.digests(path))
    assert "is digits with 1,438 training images; digits-toy-50-r1 is trained on digits with 1,400" in refused(
        "run", NAME
    )
    assert not Path("runs").exists()


@pytest.mark.usefixtures("here")
def test_another_number_of_processes_is_refused_with_the_launch(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WORLD_SIZE", "2")
    said = refused("run", NAME)
    assert "a process, not on 2 processes; use: python -m thinresnet baseline run digits-toy-50-r1" in said


@pytest.mark.usefixtures("here")
@pytest.mark.parametrize(
    ("arguments", "why"),
    [
        (["digits-toy-*", "--recipe", "digit"], "--recipe digit: digits-toy-50-r1 is trained by digits; did you mean"),
        (["digits-toy-*", "--seeds", "1,x"], "--seeds 1,x: takes integers with commas between them"),
        (["digits-toy-*", "--seeds", "-1"], "seed: "),
        (["nothing"], "baseline 'nothing': there is none of that name"),
    ],
)
def test_a_mistake_is_one_line(arguments: list[str], why: str) -> None:
    said = refused("run", *arguments)
    assert said.startswith(why)
    assert not Path("runs").exists()


def test_of_several_recipes_one_is_named() -> None:
    said = refused("run", "imagenet-resnet50-50-r8")
    assert "is trained by imagenet-a3, imagenet-a2, imagenet-torchvision-v2; name one with --recipe" in said


def test_an_update_of_eight_processes_needs_eight() -> None:
    said = refused("run", "imagenet-resnet50-50-r8", "--recipe", "imagenet-a2")
    assert "2,048 images an update, 256 a process, not on 1 process" in said
    assert "accelerate launch --multi_gpu --num_processes 8 -m thinresnet baseline run imagenet-resnet50-50-r8" in said


def refused(*arguments: str) -> str:
    """The one line that it ends with."""
    code, said = run(*arguments)
    assert code == 2, said
    line = said.strip().splitlines()[-1]
    return line.removeprefix("thinresnet baseline run: ")
