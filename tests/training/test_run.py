"""What surrounds the loop: names, tables, what is said, tracking, provenance, signals."""

from __future__ import annotations

import io
import json
import math
import os
import signal
import subprocess
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import pytest
from accelerate import Accelerator
from rich.console import Console
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from thinresnet import networks, stopping
from thinresnet import recipe as recipes
from thinresnet.convert import setting
from thinresnet.errors import InputError
from thinresnet.identity import canonical_sha256, plain
from thinresnet.training import checkpoint, display, outcome, provenance, tracking
from thinresnet.training.processes import start_accelerator
from thinresnet.training.run import RunFolder, identity, read_settings, readable_id

NETWORK = networks.scale("resnet20_cifar", width=0.125, num_classes=10)


def test_a_name_says_network_data_and_seed_and_is_unique() -> None:
    def name(**changes: Any) -> str:
        recipe = recipes.load("digits", changes)
        known = identity(recipe, NETWORK, {"seed": recipe.seed})
        return readable_id("resnet20_cifar", "params50pct", "digits", "digits", recipe.seed, known)

    assert name().startswith("resnet20_cifar-params50pct-digits-s42-")
    assert name(seed=7).startswith("resnet20_cifar-params50pct-digits-s7-")
    assert len({name(), name(lr=0.3), name(seed=7), name(mixup=0.1), name(channels_last=True)}) == 5
    assert len({name(), name(workers=3), name(log_interval=9), name(data_dir="/elsewhere"), name(log_wandb=True)}) == 1
    assert name(log_tensorboard=True) == name()


@dataclass(frozen=True)
class Grown(recipes.Recipe):
    """A recipe of a later version, with a field more."""

    shuffle_mode: str = setting("all", group="augment", also=())


def _grown(recipe: recipes.Recipe, **changes: Any) -> Grown:
    return Grown(**{field.name: getattr(recipe, field.name) for field in fields(recipe)}, **changes)


def test_a_new_field_at_its_default_moves_no_run() -> None:
    recipe = recipes.load("digits", {"lr": 0.3})
    facts = {"seed": 42, "images_train": 1437, "holdout": 0.0, "initial_checkpoint": None}
    known = identity(recipe, NETWORK, facts)
    assert identity(_grown(recipe), NETWORK, {**facts, "holding": None}) == known
    assert identity(_grown(recipe, shuffle_mode="some"), NETWORK, facts) != known
    assert known["recipe"]["lr"] == 0.3
    assert "momentum" not in known["recipe"]
    assert set(known) == {"format", "network", "recipe", "seed", "images_train"}


def test_a_folder_written_before_a_field_existed_resumes(tmp_path: Path) -> None:
    recipe = recipes.load("digits")
    facts = {"seed": 42, "holdout": 0.0, "initial_checkpoint": None}
    # As runs were written once: every field, at its default or not; and the field that is new is not among them.
    every = {**plain({field.name: getattr(recipe, field.name) for field in fields(recipe)})}
    old = {"network": json.loads(NETWORK.to_json()), "recipe": every, **facts}
    (tmp_path / "run.json").write_text(json.dumps({"defined_by": old}))
    RunFolder(tmp_path, identity(_grown(recipe), NETWORK, facts)).check()
    checkpoint.save(tmp_path / "checkpoints", old, {"epoch": 1}, epoch=1, step=0, kept=2)
    state, notes = checkpoint.load_newest(tmp_path / "checkpoints", identity(_grown(recipe), NETWORK, facts))
    assert (state["epoch"], notes) == (1, [])
    for changes, said in [
        ({"momentum": 0.5}, "its recipe: momentum is 0.9, here it is 0.5"),
        ({"shuffle_mode": "some"}, "its recipe: shuffle_mode is None, here it is 'some'"),
    ]:
        with pytest.raises(InputError, match=said):
            RunFolder(tmp_path, identity(_grown(recipe).replace(**changes), NETWORK, facts)).check()
    with pytest.raises(InputError, match=r"its holdout is 0\.0, here it is 0\.1"):
        RunFolder(tmp_path, identity(recipe, NETWORK, {**facts, "holdout": 0.1})).check()
    with pytest.raises(InputError, match="its holding is None, here it is 'ab'"):
        RunFolder(tmp_path, identity(recipe, NETWORK, {**facts, "holding": "ab"})).check()


def test_what_the_folder_holds_more_is_another_run(tmp_path: Path) -> None:
    facts = {"seed": 42}
    known = identity(recipes.load("digits"), NETWORK, facts)
    (tmp_path / "run.json").write_text(json.dumps({"defined_by": {**known, "holding": "ab"}}))
    with pytest.raises(InputError, match="its holding is 'ab', here it is None"):
        RunFolder(tmp_path, known).check()


def test_a_name_is_a_safe_folder() -> None:
    name = readable_id("a/../b", "w 1", "My Images: 2", "x", 1, {})
    assert name == Path(name).name
    assert not set(name) & set("/\\: ")


def test_tables_keep_every_digit_and_leave_holes_empty(tmp_path: Path) -> None:
    value = 0.1 + 0.2
    RunFolder(tmp_path, {}).write_table("metrics.csv", [{"epoch": 1, "loss": value, "top5": None}])
    header, row = (tmp_path / "metrics.csv").read_text().splitlines()
    assert header == "epoch,loss,top5"
    assert float(row.split(",")[1]) == value
    assert row.endswith(",")


@pytest.mark.parametrize("text", ["{", "[]"])
def test_damaged_settings_are_refused(tmp_path: Path, text: str) -> None:
    (tmp_path / "run.json").write_text(text)
    with pytest.raises(InputError, match=r"run\.json"):
        read_settings(tmp_path)


@pytest.mark.parametrize(
    ("seconds", "said"), [(0, "0s"), (59.6, "1m 00s"), (185, "3m 05s"), (7620, "2h 07m"), (273600, "3d 04h")]
)
def test_durations_as_people_say_them(seconds: float, said: str) -> None:
    assert display.duration(seconds) == said


ROW = {
    "epoch": 1,
    "train_loss": 2.0,
    "test_top1": 50.0,
    "test_ema_top1": None,
    "holdout_top1": 48.5,
    "holdout_ema_top1": None,
}


def shown(*, terminal: bool, visible: bool, monkeypatch: pytest.MonkeyPatch) -> str:
    text = io.StringIO()
    monkeypatch.setattr(
        display,
        "Console",
        lambda **given: Console(**{**given, "stderr": False}, file=text, force_terminal=terminal, width=140),
    )
    with display.Display(visible=visible, epochs=2, updates_per_epoch=10) as shown_:
        shown_.step(epoch=0, updates=5, loss=2.5, images_per_second=1234.5, seconds_left=75)
        shown_.epoch(ROW, images_per_second=1234.5, seconds_left=60)
        shown_.step(epoch=1, updates=15, loss=1.5, images_per_second=1234.5, seconds_left=30)
    return text.getvalue()


def test_a_terminal_has_a_live_line(monkeypatch: pytest.MonkeyPatch) -> None:
    text = shown(terminal=True, visible=True, monkeypatch=monkeypatch)
    for words in ("2/2", "loss 1.5000", "1,234 images/s", "30s left", "test 50.00%", "hold-out 48.50%"):
        assert words in text


def test_elsewhere_a_plain_line_an_epoch(monkeypatch: pytest.MonkeyPatch) -> None:
    lines = shown(terminal=False, visible=True, monkeypatch=monkeypatch).splitlines()
    assert lines == ["epoch 1/2  loss 2.0000  test 50.00%  hold-out 48.50%  1,234 images/s  1m 00s left"]


def test_the_other_processes_are_silent(monkeypatch: pytest.MonkeyPatch) -> None:
    assert shown(terminal=True, visible=False, monkeypatch=monkeypatch) == ""


# --- tracking ---------------------------------------------------------------------------------------------------------


@pytest.fixture
def no_account(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("NETRC", str(tmp_path / "netrc"))
    monkeypatch.setenv("WANDB_DIR", str(tmp_path))
    monkeypatch.delenv("WANDB_API_KEY", raising=False)


@pytest.mark.usefixtures("no_account")
def test_without_an_account_tracking_is_offline_in_the_runs_folder(tmp_path: Path) -> None:
    said: list[str] = []
    found = tracking.Tracking(Accelerator(cpu=True, log_with="wandb"), tmp_path, {"lr": 0.1}, said.append)
    found.log({"loss": 1.0, "top1": None}, step=1)
    found.finish()
    assert len(said) == 1
    assert "recording offline" in said[0]
    assert list((tmp_path / "wandb").glob("offline-run-*/*.wandb"))


class Broken:
    """An accelerator of whose trackers one fails from the second call on."""

    is_main_process = True

    def __init__(self) -> None:
        self.log_with: list[object] = ["wandb", tracking.FolderTensorBoard()]
        self.trackers: list[Any] = []
        self.logged: list[str] = []

    def init_trackers(self, *_: object, **__: object) -> None:
        self.trackers.append(Tracker(self.logged, "wandb" if "wandb" in self.log_with else "tensorboard"))


@dataclass
class Tracker:
    """What such an accelerator starts."""

    logged: list[str]
    name: str

    def log(self, *_: object, **__: object) -> None:
        self.logged.append(self.name)
        if self.logged.count(self.name) > 1 and self.name == "wandb":
            raise ConnectionError("the server is away\nand stays away")

    def finish(self) -> None:
        assert self.name == "tensorboard", "there is nothing to end any more"
        self.logged.append("end")


@pytest.mark.usefixtures("no_account")
def test_a_server_that_goes_away_stops_neither_a_run_nor_the_other_tracker(tmp_path: Path) -> None:
    said: list[str] = []
    broken = Broken()
    found = tracking.Tracking(broken, tmp_path, {}, said.append)  # type: ignore[arg-type]
    for step in range(5):
        found.log({"loss": 1.0}, step=step)
    found.finish()
    assert (broken.logged.count("wandb"), broken.logged.count("tensorboard"), broken.logged[-1]) == (2, 5, "end")
    assert said[1:] == ["Weights & Biases: ConnectionError: the server is away; continuing without it"]


def test_tensorboard_is_one_run_over_resumes(tmp_path: Path) -> None:
    """The second session starts after update 2: what the first wrote later is done again, and read once."""
    for updates, values in ((0, {1: 0.1, 2: 0.2, 3: 0.3}), (2, {3: 0.5, 4: 0.6})):
        accelerator = Accelerator(
            cpu=True, log_with=tracking.trackers(recipes.load("digits", {"log_tensorboard": True}))
        )
        found = tracking.Tracking(accelerator, tmp_path, {"aa": None, "scale": [1, 2]}, pytest.fail, updates=updates)
        for step, value in values.items():
            found.log({"loss": value, "top1": None}, step=step)
        found.finish()
    assert [path for path in tmp_path.rglob("*") if path.is_dir()] == [tmp_path / "tensorboard"]
    board = EventAccumulator(str(tmp_path / "tensorboard")).Reload()
    assert board.Tags()["scalars"] == ["loss"]
    read = {event.step: event.value for event in board.Scalars("loss")}
    assert read == pytest.approx({1: 0.1, 2: 0.2, 3: 0.5, 4: 0.6})


@pytest.mark.parametrize("package", ["wandb", "tensorboard"])
def test_a_tracker_that_is_not_installed_is_refused_before_training(
    package: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tracking, "wandb", None)
    monkeypatch.setattr(tracking, "find_spec", lambda _: None)
    with pytest.raises(
        InputError, match=rf"^log_{package}: {package} is not installed; pip install 'thinresnet\[{package}\]'"
    ):
        start_accelerator(recipes.load("digits", {f"log_{package}": True}))


def test_nothing_is_tracked_unless_asked_for(tmp_path: Path) -> None:
    found = tracking.Tracking(Accelerator(cpu=True), tmp_path, {}, lambda _: pytest.fail("said something"))
    found.log({"loss": math.pi}, step=1)
    found.finish()
    assert not list(tmp_path.iterdir())


# --- where a run comes from, and how it is stopped --------------------------------------------------------------------


def test_provenance() -> None:
    assert canonical_sha256({"b": 1, "a": [1, 2]}) == canonical_sha256({"a": [1, 2], "b": 1})
    found = provenance.versions()
    assert {"python", "torch", "timm", "accelerate", "thinresnet"} <= set(found)
    commit, clean = provenance.git_state()
    assert commit is None or len(commit) == 40
    assert (clean is None) == (commit is None)


def test_outside_a_checkout_there_is_no_commit(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(provenance, "__file__", str(tmp_path / "provenance.py"))
    monkeypatch.setenv("GIT_CEILING_DIRECTORIES", str(tmp_path.parent))
    assert provenance.git_state() == (None, None)
    subprocess.run(["git", "init", "-q", str(tmp_path)], check=True)
    identity_ = ["-c", "user.name=n", "-c", "user.email=n@example.org"]
    subprocess.run(["git", "-C", str(tmp_path), *identity_, "commit", "-q", "--allow-empty", "-m", "x"], check=True)
    commit, clean = provenance.git_state()
    assert commit is not None
    assert clean is True
    (tmp_path / "a").write_text("1")
    subprocess.run(["git", "-C", str(tmp_path), "add", "a"], check=True)
    assert provenance.git_state() == (commit, False)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_the_first_signal_is_a_request_and_the_second_acts(number: signal.Signals) -> None:
    before = signal.getsignal(number)
    signal.signal(number, signal.default_int_handler)
    try:
        with stopping.stop_on_signals() as request:
            assert not request.made
            os.kill(os.getpid(), number)
            assert request.made
            with pytest.raises(KeyboardInterrupt):
                os.kill(os.getpid(), number)
        assert signal.getsignal(number) is signal.default_int_handler
    finally:
        signal.signal(number, before)


def test_other_errors_of_the_disk_are_not_called_full(tmp_path: Path) -> None:
    with pytest.raises(PermissionError), stopping.full_disk_as_one_line(tmp_path):
        raise PermissionError(13, "Permission denied")


def test_weights_to_start_from_are_named_without_folders(tmp_path: Path) -> None:
    run = tmp_path / "resnet20-s1"
    run.mkdir()
    for file in (run / "model.safetensors", run / "network.json", tmp_path / "mine.pth"):
        file.write_bytes(b"1")
    for given, name in [(run, "resnet20-s1/model.safetensors"), (tmp_path / "mine.pth", "mine.pth")]:
        initial = outcome.initial_checkpoint(str(given))
        assert initial is not None
        assert initial.to_json() == {"path": name, "sha256": initial.sha256}
    assert outcome.initial_checkpoint("") is None
