"""The front door: the README's command under accelerate launch, its flags, and one line for every mistake."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from thinresnet import networks
from thinresnet import recipe as recipes
from thinresnet.cli import app
from thinresnet.cli import train as command
from thinresnet.training import TrainingInterruptedError, loop

ROOT = Path(__file__).parents[2]
ENVIRONMENT = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT), "COLUMNS": "200"}


def launch(*arguments: object, launcher: tuple[str, ...] = ()) -> subprocess.CompletedProcess[str]:
    line = [sys.executable, "-m", "accelerate.commands.launch", *launcher, "train.py", *map(str, arguments)]
    return subprocess.run(line, cwd=ROOT, env=ENVIRONMENT, capture_output=True, text=True, timeout=300, check=False)


def result(output: Path) -> dict[str, Any]:
    (folder,) = output.iterdir()
    found: dict[str, Any] = json.loads((folder / "result.json").read_text())
    return found


@pytest.fixture(scope="module")
def readme(tmp_path_factory: pytest.TempPathFactory) -> tuple[subprocess.CompletedProcess[str], Path]:
    output = tmp_path_factory.mktemp("runs")
    return launch("--width", 0.5, "--output", output), output


def test_the_readme_command_trains_the_embedded_default(
    readme: tuple[subprocess.CompletedProcess[str], Path],
) -> None:
    answer, output = readme
    assert answer.returncode == 0, answer.stderr
    found = result(output)
    assert found["run"].startswith("resnet20_cifar-w0.5-digits-s42-")
    assert found["top1_test"] >= 97.0
    assert found["images_test"] + found["images_train"] == 1797
    assert "training on the small embedded dataset" in answer.stdout
    for words in (f"top-1 {found['top1_test']:.2f} %", "--recipe cifar-modern", "--recipe imagenet-a2"):
        assert words in answer.stdout
    assert f"epoch {found['epochs']}/{found['epochs']}" in answer.stderr


def test_two_processes_reach_the_same_and_count_each_image_once(
    readme: tuple[subprocess.CompletedProcess[str], Path], tmp_path: Path
) -> None:
    answer = launch(
        "--width", 0.5, "--batch-size", 32, "--epochs", 6, "--holdout", 0.1, "--output", tmp_path,
        "--teacher", next(readme[1].iterdir()),
        launcher=("--multi_gpu", "--num_processes", "2", "--main_process_port", "0"),
    )  # fmt: skip
    assert answer.returncode == 0, answer.stderr
    one, two = result(readme[1]), result(tmp_path)
    assert two["processes"] == 2
    assert two["batch_size"] == one["batch_size"]
    assert two["teacher"]["weights_sha256"] == one["weights_sha256"]
    assert two["training_macs"] == (3 * two["macs"] + one["macs"]) * two["images_seen"]
    assert two["images_test"] == one["images_test"]
    assert two["images_train"] + two["images_holdout"] == one["images_train"]
    for part in ("test", "holdout"):  # whole counts over all images, none twice
        assert two[f"top1_{part}"] == 100 * two[f"correct1_{part}"] / two[f"images_{part}"]
    assert abs(two["top1_test"] - one["top1_test"]) < 3
    assert answer.stdout.count("top-1") == 2  # test and hold-out, from the main process only


def test_interrupted_it_ends_with_the_code_to_requeue_on_and_resumes_from_the_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    line = [sys.executable, "train.py", "--width", "0.125", "--epochs", "500", "--output", str(tmp_path)]
    process = subprocess.Popen(
        line, cwd=ROOT, env=ENVIRONMENT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    assert process.stderr is not None
    for text in process.stderr:
        if text.startswith("epoch 2/"):
            process.send_signal(signal.SIGTERM)
            break
    said = process.stderr.read()
    assert process.wait() == 75
    assert "saved: the same command resumes from there" in said
    (folder,) = tmp_path.iterdir()
    begun: list[int] = []

    def go(self: loop.Training, *_: object) -> None:
        begun.append(self.progress.updates)
        raise TrainingInterruptedError("enough")

    monkeypatch.setattr(loop.Training, "go", go)
    assert command.main(["--resume", str(folder)]) == 75
    assert begun[0] > 0
    assert command.main(["--resume", str(folder), "--lr", "0.7"]) == 2
    assert command.main(["--resume", str(folder), "--width", "0.5"]) == 2


# --- flags ------------------------------------------------------------------------------------------------------------


def chosen(*flags: str, classes: int = 10) -> tuple[networks.Network, str]:
    options, recipe, _ = command.read_flags(flags)
    network, size, shape = command.choose_network(options, recipe)
    found = network(classes)
    assert found.input_size == size
    return found, shape


def test_the_default_is_resnet20_at_the_width_asked_for() -> None:
    dense, shape = chosen("--width", "1")
    assert (dense.arch, shape) == ("resnet20_cifar", "w1")
    half, shape = chosen("--width", "0.5")
    assert shape == "w0.5"
    assert half == networks.scale("resnet20_cifar", width=0.5, num_classes=10, input_size=(3, 8, 8))


def test_flags_win_over_the_recipe_and_the_recipe_over_timm() -> None:
    _, recipe, name = command.read_flags(["--recipe", "cifar-modern", "--lr", "0.123", "--no-model-ema"])
    assert (recipe.lr, recipe.model_ema, name) == (0.123, False, "cifar-modern")
    assert recipe.epochs == recipes.load("cifar-modern").epochs


def test_flags_are_spelled_as_timm_spells_them() -> None:
    flags = ["--torchcompile", "--model-kwargs", "depths=[1,1,2]", "shortcut=B", "--lr-noise", "0.4", "0.9", "--no-aug"]
    _, recipe, _ = command.read_flags([*flags, "--crop-padding", "0", "--kd-temperature", "2"])
    assert (recipe.torchcompile, recipe.no_aug, recipe.lr_noise) == ("inductor", True, (0.4, 0.9))
    assert recipe.model_kwargs == {"depths": (1, 1, 2), "shortcut": "B"}
    assert recipe.distill_temperature == 2.0
    assert command.read_flags(["--torchcompile", "eager"])[1].torchcompile == "eager"
    assert command.read_flags(["--crop-padding", "0", "--no-aug", "--no-no-aug"])[1].no_aug is False
    network, _ = chosen("--model-kwargs", "depths=[1,1,2]")
    assert network.kwargs["depths"] == [1, 1, 2]


def test_the_epsilon_of_batch_norms_becomes_part_of_the_network() -> None:
    network, _ = chosen("--arch", "efficientnet_lite0", "--img-size", "32", "--bn-eps", "0.01")
    assert network.kwargs["bn_eps"] == 0.01


@pytest.mark.parametrize(("quantity", "text"), [("macs", "50%"), ("params", "20k"), ("macs", "1M")])
def test_a_budget_is_kept_and_used(quantity: str, text: str) -> None:
    network, shape = chosen(f"--{quantity}", text)
    dense = networks.count(networks.scale("resnet20_cifar", num_classes=10, input_size=(3, 8, 8)))
    from thinresnet.budget import Budget

    limit = Budget.parse(quantity, text).limit(getattr(dense, quantity))
    cost = getattr(networks.count(network), quantity)
    assert 0.9 * limit < cost <= limit
    assert shape == f"{quantity}{text.replace('%', 'pct')}"


def test_a_network_file_carries_its_shape_to_other_classes(tmp_path: Path) -> None:
    narrow = networks.scale("resnet20_cifar", width=0.25, num_classes=10)
    file = tmp_path / "narrow.json"
    file.write_text(narrow.to_json())
    network, shape = chosen("--recipe", "digits", "--network", str(file), classes=7)
    assert shape == "narrow"
    assert network.channels == narrow.channels
    assert network.kwargs["num_classes"] == 7


MISTAKES = [
    (["--epohcs", "3"], "unknown flag '--epohcs'; did you mean '--epochs'"),
    (["--epochs", "three"], "--epochs: takes an integer, got 'three'"),
    (["--lr", "-1"], "lr: takes a number, at least 0"),
    (["--smoothing", "1"], "smoothing: takes a number, at least 0, below 1"),  # nothing to learn; timm's losses refuse
    (["--crop-pct", "1e-300"], "crop_pct: takes a number, at least 0.01"),
    (["--torchcompile", "x"], "torchcompile: 'x' is no backend here"),
    (["--recipe", "digit"], "did you mean 'digits'"),
    (["--recipe", "no/such.yaml"], "no such file"),
    (["--arch", "resnet20_cifr"], "did you mean 'resnet20_cifar'"),
    (["--width", "0.5", "--macs", "50%"], "--macs or --params and --width each set the shape"),
    (["--macs", "lots"], "--macs lots: not a budget"),
    (["--params", "10"], "10"),
    (["--width", "nan"], "width"),
    (
        ["--width", "0.5", "--scaling", "depth"],
        "--scaling depth: it says what a budget scales; give --macs or --params",
    ),
    (["--round-to", "8"], "--round-to 8: no channel count is changed here; leave it out"),
    (
        ["--macs", "50%", "--scaling", "depth", "--round-to", "8"],
        "--round-to 8: depth leaves channel counts as they are",
    ),
    (["--holdout", "1.5"], "--holdout 1.5"),
    (["--loader", "tape"], "--loader tape: takes one of auto, memory"),
    (["--recipe", "digits", "--network", "nowhere.json"], "nowhere.json: cannot be read"),
    (["--network", "half.json"], "--network half.json: name a recipe too, such as --recipe cifar-modern"),
    (["--data-dir", "photos"], "--data-dir photos: name a recipe too"),
    (["--resume", "nowhere"], "--resume nowhere: no run there"),
    (["--initial-checkpoint", "nowhere.safetensors"], "no such file"),
    (["--recipe", "digits", "--dataset", "", "--data-dir", "nowhere"], "nowhere"),
    (["--batch-size", "5000"], "use a smaller --batch-size"),
    (["--model-kwargs", "widht=0.5"], "unexpected keyword argument 'widht'"),
    (["--model-kwargs", "arch=1"], "'arch' is not a property of an architecture; leave it out"),
    (["--seed", "9" * 20], "seed: takes an integer, at least 0, at most 9.22337e+18"),
    (["--seed", "9" * 400], "seed: takes an integer, at least 0, at most 9.22337e+18"),
    (["--seed", "-1"], "seed: takes an integer, at least 0"),
    (["--amp", "--amp-dtype", "float16"], "float16 needs a GPU"),
]


@pytest.mark.parametrize(
    ("flags", "said"), MISTAKES, ids=lambda value: "_".join(value) if isinstance(value, list) else ""
)
def test_a_mistake_is_one_line_code_2_and_changes_nothing(
    flags: list[str], said: str, tmp_path: Path, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    if "--amp" in flags:
        import torch

        monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert command.main([*flags, "--output", str(tmp_path / "runs")]) == 2
    line = capfd.readouterr().err.strip()
    assert said in line
    assert "\n" not in line
    assert line.startswith("train.py: ")
    assert not list(tmp_path.iterdir())


def test_what_is_said_names_the_command_that_was_typed() -> None:
    done = CliRunner().invoke(app, ["train", "--seed", "-1"])
    assert (done.exit_code, done.stderr.partition(":")[0]) == (2, "thinresnet train")
    assert "usage: thinresnet train" in command.parser(recipes.Recipe(), "thinresnet train").format_help()
    assert "train.py" not in command._NEXT  # without a checkout there is none


def test_an_output_that_cannot_be_written_is_one_line(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "file").write_text("")
    assert command.main(["--width", "0.125", "--output", str(tmp_path / "file")]) == 2
    assert "cannot be made (Not a directory); give another --output" in capfd.readouterr().err


def test_only_the_main_process_speaks(capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RANK", "1")
    assert command.main(["--epohcs", "3"]) == 2
    assert capfd.readouterr() == ("", "")


def test_more_processes_than_gpus_is_one_line(
    capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    import torch

    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    monkeypatch.setenv("LOCAL_WORLD_SIZE", "4")
    assert command.main(["--output", str(tmp_path)]) == 2
    assert "4 processes on this machine, which has 2 GPUs" in capfd.readouterr().err


def test_a_port_in_use_is_one_line(tmp_path: Path) -> None:
    import socket

    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        place = {
            "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(taken.getsockname()[1]), "WORLD_SIZE": "2", "RANK": "0",
            "LOCAL_RANK": "0", "LOCAL_WORLD_SIZE": "2",
        }  # fmt: skip
        answer = subprocess.run(
            [sys.executable, "train.py", "--output", str(tmp_path)],
            cwd=ROOT, env={**ENVIRONMENT, **place}, capture_output=True, text=True, timeout=120, check=False,
        )  # fmt: skip
    assert answer.returncode == 2
    lines = [line for line in answer.stderr.splitlines() if line.startswith("train.py: ")]
    assert len(lines) == 1
    assert "give accelerate launch another one with --main_process_port" in lines[0]


def test_help_is_quick_to_import_and_tells_every_field_and_the_exit_codes() -> None:
    code = (
        "import sys\nfrom thinresnet.cli import train as command\n"
        "try: command.main(['--help'])\nexcept SystemExit: pass\n"
        "assert not {'torch', 'timm', 'accelerate'} & set(sys.modules), 'heavy'"
    )
    answer = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, env=ENVIRONMENT, capture_output=True, text=True, check=False
    )
    assert answer.returncode == 0, answer.stderr
    for word in ("--width", "--mixup", "--model-ema-decay", "--holdout", "--checkpoint-minutes", "75", "learning rate"):
        assert word in answer.stdout
