"""A run that is stopped, in any way and at any moment, and goes on is the run that was never stopped."""

from __future__ import annotations

import json
import random
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from thinresnet import networks
from thinresnet.stopping import REQUEUE_EXIT_CODE

ROOT = Path(__file__).parents[2]
# All that draws random numbers or keeps a state: mixing, erasing, dropout, drop path, EMA, momentum, accumulation;
# and a teacher, which must keep none.
RECIPE: dict[str, Any] = {
    "epochs": 2, "warmup_epochs": 1, "batch_size": 64, "lr": 0.05, "sched_on_updates": True, "img_size": 8,
    "mixup": 0.2, "cutmix": 1.0, "reprob": 0.2, "drop": 0.1, "drop_path": 0.1, "model_ema": True,
    "model_ema_decay": 0.9, "grad_accum_steps": 2, "aa": None,
}  # fmt: skip
Runner = Callable[..., int]


@pytest.fixture(scope="module")
def runner(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Runner]:
    """Runs one job in a forked process and returns how it ended."""
    network = networks.scale("resnet10t", width=0.25, num_classes=10, input_size=(3, 8, 8))
    teacher = str(tmp_path_factory.mktemp("teacher"))
    networks.save(teacher, network, networks.build(network, seed=0))
    process = subprocess.Popen(
        [sys.executable, str(Path(__file__).with_name("runner.py"))],
        cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=_environment(),
    )  # fmt: skip

    def run(
        folder: Path, name: str | None = None, *, saves: int = 1, milliseconds: float = 0, every_update: bool = True
    ) -> int:
        job = {"folder": str(folder), "signal": name, "saves": saves, "milliseconds": milliseconds}
        job |= {"every_update": every_update, "recipe": RECIPE, "teacher": teacher}
        print(json.dumps(job), file=process.stdin, flush=True)
        answer = process.stdout.readline()
        assert answer, "the runner died"
        return int(answer)

    yield run
    process.stdin.close()
    process.wait(timeout=30)


def _environment() -> dict[str, str]:
    import os

    return {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}


@pytest.fixture(scope="module")
def whole(runner: Runner, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run that was never stopped, and saved only at the end of its epochs."""
    folder = tmp_path_factory.mktemp("whole") / "run"
    assert runner(folder, every_update=False) == 0
    return folder


def outcome(folder: Path) -> dict[str, bytes]:
    return {
        name: (folder / name).read_bytes() for name in ("metrics.csv", "model.safetensors", "model_ema.safetensors")
    }


def test_killed_at_random_moments_it_ends_bit_identical(runner: Runner, whole: Path, tmp_path: Path) -> None:
    folder, draw = tmp_path / "run", random.Random()
    for _ in range(5):
        saves, milliseconds = draw.randint(1, 8), draw.uniform(0, 20)
        code = runner(folder, "SIGKILL", saves=saves, milliseconds=milliseconds)
        assert code in (-signal.SIGKILL, 0)
        if code == 0:
            break
    assert runner(folder) == 0
    assert outcome(folder) == outcome(whole)
    result = json.loads((folder / "result.json").read_text())
    assert result["sessions"] > 1
    assert result["teacher"]["forward_macs"] > 0
    assert not (folder / "checkpoints").exists()


@pytest.mark.parametrize("name", ["SIGTERM", "SIGINT"])
def test_asked_to_stop_it_saves_within_the_epoch_and_goes_on(
    runner: Runner, whole: Path, tmp_path: Path, name: str
) -> None:
    folder = tmp_path / "run"
    assert runner(folder, name, saves=4) == REQUEUE_EXIT_CODE
    assert list((folder / "checkpoints").glob("*.pt"))
    assert not (folder / "result.json").exists()
    assert runner(folder, every_update=False) == 0
    assert outcome(folder) == outcome(whole)


def test_a_truncated_checkpoint_falls_back_to_the_one_before(runner: Runner, whole: Path, tmp_path: Path) -> None:
    folder = tmp_path / "run"
    assert runner(folder, "SIGTERM", saves=4) == REQUEUE_EXIT_CODE
    newest = sorted((folder / "checkpoints").glob("*.pt"))[-1]
    newest.write_bytes(newest.read_bytes()[: newest.stat().st_size // 2])
    assert runner(folder) == 0
    assert outcome(folder) == outcome(whole)
