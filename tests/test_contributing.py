"""CONTRIBUTING's table "to add X, touch Y": a flag, a loader, a column and a protocol, in a copy of the package.

An architecture is added in networks/test_architectures.py, a method in pruning/test_registry.py.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import thinresnet
from thinresnet import recipe

ROOT = Path(thinresnet.__file__).parents[1]
LOADER = '''"""Black images."""

import torch


class Black:
    def __init__(self, request):
        self.side = request.sizes[0]

    def train_batches(self, plan, steps, epoch):
        for step, size, indices in steps:
            yield torch.zeros(len(indices), size, size, 3, dtype=torch.uint8), plan.generator(epoch, step)

    def eval_batches(self, split, batches, size, crop_pct):
        for indices in batches:
            yield torch.zeros(len(indices), size, size, 3, dtype=torch.uint8)

    def close(self):
        pass
'''
PROTOCOL = '''
from thinresnet.studies.builder import Builder
from thinresnet.studies.protocol import DENSE, protocol


@protocol("nothing", DENSE, "nothing at all")
def _nothing(to: Builder) -> None:
    """Trains nothing."""
'''
WALK = """
import gc
gc.disable()  # a quarter of what the imports take
from thinresnet import recipe
from thinresnet.leaderboard.store import read_board
from thinresnet.studies.protocols import PROTOCOLS
from thinresnet.training.data import LOADERS, open_data
import torch

known = recipe.load("digits")
assert known.brightness == 0.0 and known.hash == EXPECTED_HASH, known.hash
assert recipe.load("digits", {"brightness": 0.5}).hash != known.hash
assert "black" in LOADERS
with open_data(known, input_size=(3, 8, 8), device=torch.device("cpu"), loader="black") as data:
    assert all(int(batch.max()) == int(batch.min()) for batch in data.test.loader.eval_batches(
        "test", iter([torch.arange(4)]), 8, 1.0))
assert PROTOCOLS["nothing"].does == "Trains nothing."
rows = read_board(BOARD)
assert rows and all(row.weather == "" for row in rows)
print("done")
"""


def _after(file: Path, line: str, more: str) -> None:
    text = file.read_text(encoding="utf-8")
    assert text.count(line) == 1, f"{file.name}: {line!r} stands {text.count(line)} times"
    file.write_text(text.replace(line, line + more), encoding="utf-8")


def test_a_flag_a_loader_a_column_and_a_protocol(tmp_path: Path) -> None:
    package = tmp_path / "thinresnet"
    shutil.copytree(ROOT / "thinresnet", package, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copytree(ROOT / "recipes", tmp_path / "recipes")
    _after(
        package / "recipe.py",
        '    reprob: float = _option("augment", 0.0, "chance of random erasing", low=0, high=1)\n',
        '    brightness: float = _option("augment", 0.0, "strength of brightness", low=0, high=1)\n',
    )
    (package / "training" / "data" / "black.py").write_text(LOADER)
    loading = package / "training" / "data" / "loading.py"
    _after(
        loading, "from thinresnet.training.data import beton\n", "from thinresnet.training.data.black import Black\n"
    )
    _after(loading, "OPENERS: dict[str, Callable[[Request], Loader]] = {\n", '    "black": Black,\n')
    (package / "studies" / "protocols" / "nothing.py").write_text(PROTOCOL, encoding="utf-8")
    _after(
        package / "leaderboard" / "schema.py",
        '    evidence: str = _text("run folder of a measured row", pattern=_EVIDENCE)\n',
        '    weather: str = _text("of the day when it was measured")\n',
    )
    facts = f"EXPECTED_HASH = {recipe.load('digits').hash!r}\nBOARD = {str(ROOT / 'leaderboard.csv')!r}\n"
    environment = {**os.environ, "PYTHONPATH": str(tmp_path)}
    done = subprocess.run(
        [sys.executable, "-c", facts + WALK], cwd=tmp_path, env=environment, capture_output=True, text=True, check=False
    )
    assert done.stdout.strip() == "done", done.stderr
    checked = subprocess.run(
        [sys.executable, "-m", "thinresnet", "leaderboard", "check", "--fix", "--board", "leaderboard.csv"],
        cwd=_board_in(tmp_path), env=environment, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert checked.returncode == 0, checked.stderr
    header = (tmp_path / "leaderboard.csv").read_text(encoding="utf-8").partition("\n")[0]
    assert ",evidence,weather," in header


def _board_in(folder: Path) -> Path:
    """A board of this project, published rows only, whose file lacks the new column."""
    board = (ROOT / "leaderboard.csv").read_text(encoding="utf-8").splitlines(keepends=True)
    (folder / "leaderboard.csv").write_text(
        "".join(line for line in board if ",measured," not in line), encoding="utf-8"
    )
    shutil.copy(ROOT / "leaderboard.bib", folder)
    return folder
