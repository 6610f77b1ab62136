"""Which board is meant, and a wheel that has one in it."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from thinresnet.errors import InputError
from thinresnet.leaderboard import boards
from thinresnet.leaderboard.boards import find_board, writable_board

ROOT = Path(__file__).resolve().parents[2]
IN_A_WHEEL = ("thinresnet", "recipes", "baselines")
FILES = ("setup.py", "pyproject.toml", "README.md", "LICENSE", "leaderboard.csv", "leaderboard.bib")


def test_the_file_that_is_named_the_folder_the_checkout_and_the_package_in_this_order(
    board: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    checkout, package = tmp_path / "checkout", tmp_path / "checkout" / "thinresnet"
    package.mkdir(parents=True)
    nowhere = tmp_path / "nowhere"
    nowhere.mkdir()
    monkeypatch.chdir(nowhere)
    monkeypatch.setattr(boards, "_PACKAGE", package)
    assert find_board() == boards.Board(Path("leaderboard.csv"), boards.WORKING)
    shutil.copy(board, package)
    assert find_board() == boards.Board(package / "leaderboard.csv", boards.PACKAGED)
    assert find_board().says.endswith("thinresnet/leaderboard.csv (of the installed package)")
    shutil.copy(board, checkout)
    assert find_board() == boards.Board(checkout / "leaderboard.csv", boards.CHECKOUT)
    shutil.copy(board, nowhere)
    assert find_board().origin == boards.WORKING
    assert find_board(board) == boards.Board(board, boards.GIVEN)
    monkeypatch.chdir(checkout)
    assert find_board() == boards.Board(Path("leaderboard.csv"), boards.CHECKOUT)


def test_the_board_of_a_package_is_never_written(board: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    package = tmp_path / "site-packages" / "thinresnet"
    package.mkdir(parents=True)
    (tmp_path / "empty").mkdir()
    shutil.copy(board, package)
    monkeypatch.setattr(boards, "_PACKAGE", package)
    monkeypatch.chdir(tmp_path / "empty")
    with pytest.raises(InputError, match=r"read only; copy it and leaderboard\.bib"):
        writable_board()
    assert writable_board(board).path == board


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of installed packages with this package's wheel, built without a network, in it."""
    folder = tmp_path_factory.mktemp("wheel")
    source = folder / "source"
    for name in IN_A_WHEEL:
        shutil.copytree(ROOT / name, source / name, ignore=shutil.ignore_patterns("__pycache__"))
    for name in FILES:
        shutil.copy(ROOT / name, source)
    build = [sys.executable, "-m", "pip", "wheel", "--no-deps", "--no-build-isolation", "--no-index", "-w", folder]
    done = subprocess.run([*map(str, build), str(source)], check=False, capture_output=True, text=True, timeout=240)
    assert done.returncode == 0, done.stdout + done.stderr
    (wheel,) = folder.glob("thinresnet-*.whl")
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(folder / "site-packages")
    return folder / "site-packages"


def test_a_wheel_has_the_board_in_it(installed: Path, tmp_path: Path) -> None:
    for name in ("leaderboard.csv", "leaderboard.bib"):
        assert (installed / "thinresnet" / name).read_bytes() == (ROOT / name).read_bytes()

    def run(*arguments: object) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-m", "thinresnet", "leaderboard", *map(str, arguments)]
        environment = {**os.environ, "PYTHONPATH": str(installed)}
        return subprocess.run(
            command, check=False, cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=120
        )

    answered = run("compare", "--arch", "resnet50", "--macs", "2.05G", "--top1", "76.0", "--json")
    assert answered.returncode == 0, answered.stderr
    assert json.loads(answered.stdout)
    assert f"{installed / 'thinresnet' / 'leaderboard.csv'} (of the installed package)" in answered.stderr
    checked = run("check")
    assert (checked.returncode, "every rule kept" in checked.stdout) == (0, True), checked.stdout + checked.stderr
    wrote = run("page", "--output", tmp_path / "page.html")
    assert wrote.returncode == 0, wrote.stderr
    refused = run("add", "--paper", "x")
    assert (refused.returncode, "read only" in refused.stderr) == (2, True), refused.stderr
