"""The commands that are killed, at a size where each takes a second, and the folders that they begin with."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from pathlib import Path

import torch

# Imported once, here: every case is a fork of this process.
from tests.faults.crash import Command, begin, run, said
from thinresnet.leaderboard.store import render

SMALL = (
    "--recipe", "digits", "--arch", "resnet20_cifar", "--width", "0.125", "--batch-size", "512", "--warmup-epochs", "0",
    "--seed", "1",
)  # fmt: skip
BIB = "@misc{thinresnet,\n  title = {{thinresnet}: The Bar That a Structured-Pruning Paper Must Clear},\n}\n"
STUDY = """study: tiny
arch: resnet20_cifar
dataset: digits
holdout: 0.1
recipes: {short: {recipe: digits, epochs: 1, warmup_epochs: 0, batch_size: 512}}
finetune: {epochs: 1}
budgets: [macs: 5%]
methods: [l1]
protocols: [dense, scaled-width, prune-finetune]
seeds: [1]
"""


def commands(home: Path, only: Sequence[str] = ()) -> list[Command]:
    """The commands of these names, or all; what they begin with is made below `home`."""
    torch.set_num_threads(1)
    root = home / "work"
    train = Command("train", ("train", *SMALL, "--epochs", "2", "--holdout", "0.1", "--output", "runs"), home / "empty")
    (home / "empty").mkdir(parents=True)
    trained = _after(train, root, home / "trained")
    folder = next((trained / "runs").iterdir()).relative_to(trained)
    board = home / "board"
    shutil.copytree(trained, board)
    (board / "board.csv").write_text(render([]), encoding="utf-8")
    (board / "board.bib").write_text(BIB, encoding="utf-8")
    added = _after(_add(folder, board), root, home / "added")
    (home / "fit").mkdir()
    found = [
        train,
        Command("prune", ("prune", "l1", str(folder), "--macs", "1%", "--output", "pruned"), trained),
        _add(folder, board),
        Command("leaderboard page", ("leaderboard", "page", "--board", "board.csv", "--output", "page.html"), added),
        Command("fit", ("fit", "resnet20_cifar", "--macs", "50%", "--output", "network.json"), home / "fit"),
    ]
    if not only or any(name.startswith("study") for name in only):
        found += _of_studies(home, root, board)
    return [command for command in found if not only or command.name in only]


def _add(folder: Path, board: Path) -> Command:
    return Command("leaderboard add", ("leaderboard", "add", str(folder), "--board", "board.csv", "--yes"), board)


def _of_studies(home: Path, root: Path, board: Path) -> list[Command]:
    (home / "study").mkdir()
    (home / "study" / "tiny.yaml").write_text(STUDY, encoding="utf-8")
    study = Command("study run", ("study", "run", "tiny.yaml"), home / "study")
    studied = _after(study, root, home / "studied")
    for name in ("board.csv", "board.bib"):
        shutil.copy(board / name, studied / name)
    return [
        study,
        Command("study show", ("study", "show", "tiny.yaml"), studied),
        Command("study export", ("study", "export", "tiny.yaml", "--board", "board.csv"), studied),
    ]


def _after(command: Command, root: Path, kept: Path) -> Path:
    """What the command leaves when nothing disturbs it."""
    begin(command, root)
    code, _ = run(command, root)
    if code != 0:
        raise RuntimeError(f"{command.name}: {said(root)}")
    shutil.copytree(root, kept)
    return kept
