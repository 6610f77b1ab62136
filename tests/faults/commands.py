"""The commands that are disturbed, at a size where each takes a second, and the folders that they begin with."""

from __future__ import annotations

import shutil
from collections.abc import Iterator, Sequence
from functools import cached_property
from pathlib import Path

import numpy as np
import torch
from PIL import Image

from tests.faults import child
from tests.faults.child import Command
from tests.faults.crash import begin
from thinresnet import networks
from thinresnet.leaderboard.store import render

ROOT = Path(__file__).parents[2]
SMALL = (
    "--recipe", "digits", "--arch", "resnet20_cifar", "--width", "0.125", "--batch-size", "512", "--warmup-epochs", "0",
    "--seed", "1",
)  # fmt: skip
BIB = "@misc{thinresnet,\n  title = {{thinresnet}: The Bar That a Structured-Pruning Paper Must Clear},\n}\n"
PAPER = (
    "@inproceedings{lin2020hrank,\n  title = {HRank},\n  author = {Lin, A},\n  booktitle = {CVPR},\n  year = {2020}\n}"
)
ROWS = f"""common:
  paper:
  bibtex: |
    {PAPER.replace(chr(10), chr(10) + "    ")}
  dataset: imagenet
  arch: resnet50
  family: pruned
  dense_top1: 76.15
  dense_macs: 4.09G
  locator: Table 2
  read_repo: lmbxmu/HRank
rows:
  - {{method: HRank, top1: 74.98, macs: 2.30G}}
  - {{method: HRank, top1: 71.98, macs: 1.55G}}
"""
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
PAGE = "# Tables\n\n<!-- paper tables: begin -->\n<!-- paper tables: end -->\n"


class Home:
    """Where commands begin: folders below one, each made when it is asked for, by the commands that come before."""

    def __init__(self, home: Path) -> None:
        torch.set_num_threads(1)
        # So deep that `../..` is still below `home`.
        self.home, self.root = home, home / "in" / "it" / "work"
        self.root.parent.mkdir(parents=True)
        _trace_once()

    def commands(self, only: Sequence[str] = ()) -> Iterator[Command]:
        """The commands of these names, or all."""
        unknown = [name for name in only if name not in _MAKERS]
        if unknown:
            raise ValueError(f"{unknown[0]}: one of {', '.join(_MAKERS)}")
        yield from (make(self, name) for name, make in _MAKERS.items() if not only or name in only)

    def after(self, name: str) -> Path:
        """What the command of that name leaves."""
        (command,) = self.commands([name])
        return self._after(command, f"after {name}")

    @cached_property
    def empty(self) -> Path:
        return self._folder("empty")

    @cached_property
    def train(self) -> Command:
        given = ("--epochs", "2", "--holdout", "0.1", "--output", "runs")
        return Command("train", ("train", *SMALL, *given), self.empty)

    @cached_property
    def trained(self) -> Path:
        return self._after(self.train, "trained")

    @cached_property
    def run(self) -> str:
        """The folder of the trained run, as a command names it."""
        return str(next((self.trained / "runs").iterdir()).relative_to(self.trained))

    @cached_property
    def board(self) -> Path:
        board = self.home / "board"
        shutil.copytree(self.trained, board)
        (board / "board.csv").write_text(render([]), encoding="utf-8")
        (board / "board.bib").write_text(BIB, encoding="utf-8")
        (board / "rows.yaml").write_text(ROWS, encoding="utf-8")
        return board

    @cached_property
    def add(self) -> Command:
        return Command("leaderboard add", ("leaderboard", "add", self.run, "--board", "board.csv", "--yes"), self.board)

    @cached_property
    def add_file(self) -> Command:
        given = ("--file", "rows.yaml", "--board", "board.csv", "--yes")
        return Command("leaderboard add --file", ("leaderboard", "add", *given), self.board)

    @cached_property
    def filled(self) -> Path:
        return self._after(self.add_file, "filled")

    @cached_property
    def added(self) -> Path:
        return self._after(self.add, "added")

    @cached_property
    def untidy(self) -> Path:
        """A board with Windows line ends."""
        folder = self.home / "untidy"
        shutil.copytree(self.added, folder)
        board = folder / "board.csv"
        board.write_bytes(board.read_bytes().replace(b"\n", b"\r\n"))
        return folder

    @cached_property
    def foreign(self) -> Path:
        """Somebody's state dicts, and images to measure them on."""
        folder = self._folder("foreign")
        random = np.random.default_rng(0)
        for label in range(10):
            place = folder / "pictures" / "test" / f"class{label}"
            place.mkdir(parents=True)
            Image.fromarray(random.integers(0, 256, (32, 32, 3), np.uint8)).save(place / "0.png")
        for width in (1, 2):
            model = networks.build(networks.describe(f"thinresnet20-w{width}", num_classes=10), seed=0)
            torch.save(model.state_dict(), folder / f"w{width}.pt")
        return folder

    @cached_property
    def imported(self) -> Path:
        return self.after("import")

    @cached_property
    def imported_run(self) -> str:
        """The folder of the imported network, as a command names it."""
        return str(next(self.imported.rglob("imported.json")).parent.relative_to(self.imported))

    @cached_property
    def page(self) -> Path:
        folder = self._folder("page")
        shutil.copy(ROOT / "docs" / "thinresnet.md", folder / "page.md")
        return folder

    @cached_property
    def pictures(self) -> Path:
        """Class folders to train on."""
        folder = self._folder("pictures")
        random = np.random.default_rng(0)
        for split, count in (("train", 4), ("val", 2)):
            for label in range(2):
                (folder / "data" / split / f"class{label}").mkdir(parents=True)
                for number in range(count):
                    pixels = random.integers(0, 256, (8, 8, 3), np.uint8)
                    Image.fromarray(pixels).save(folder / "data" / split / f"class{label}" / f"{number}.png")
        return folder

    @cached_property
    def study(self) -> Path:
        folder = self._folder("study")
        (folder / "tiny.yaml").write_text(STUDY, encoding="utf-8")
        return folder

    @cached_property
    def study_run(self) -> Command:
        return Command("study run", ("study", "run", "tiny.yaml"), self.study)

    @cached_property
    def studied(self) -> Path:
        folder = self._after(self.study_run, "studied")
        for name in ("board.csv", "board.bib"):
            shutil.copy(self.board / name, folder / name)
        return folder

    @cached_property
    def packed(self) -> Path:
        """Evidence of a study, and a document that its tables go into."""
        folder = self.after("study pack")
        (folder / "page.md").write_text(PAGE, encoding="utf-8")
        return folder

    def _folder(self, name: str) -> Path:
        folder = self.home / name
        folder.mkdir(parents=True)
        return folder

    def _after(self, command: Command, name: str) -> Path:
        """What the command leaves when nothing disturbs it."""
        begin(command, self.root)
        ended = child.run(command.arguments, self.root)
        if ended.code != 0:
            raise RuntimeError(f"{command.name}: {ended.said}")
        shutil.copytree(self.root, self.home / name)
        return self.home / name


def _trace_once() -> None:
    """Have the networks of the commands traced and counted before anything is forked: what the package remembers."""
    for width in (1.0, 0.125):
        networks.count(networks.scale("resnet20_cifar", width=width, num_classes=10, input_size=(3, 8, 8)))
    for width in (1, 2):
        network = networks.describe(f"thinresnet20-w{width}", num_classes=10)
        networks.build(network, seed=0).eval()(torch.zeros(1, *network.input_size))
        networks.count(network)


_MAKERS = {
    "train": lambda home, name: home.train,
    "prune": lambda home, name: Command(
        name, ("prune", "l1", home.run, "--macs", "1%", "--output", "pruned"), home.trained
    ),
    # One of two folders is there, and is made again with the other.
    "prune more": lambda home, name: Command(
        name, ("prune", "l1", home.run, "--macs", "1.5%", "--macs", "1%", "--output", "pruned"), home.after("prune")
    ),
    "import": lambda home, name: Command(name, ("import", "w1.pt", "--arch", "thinresnet20-w1"), home.foreign),
    "evaluate": lambda home, name: Command(
        name, ("evaluate", home.run, "--dataset", "digits", "--device", "cpu"), home.trained
    ),
    "evaluate one file": lambda home, name: Command(
        name, ("evaluate", "w1.pt", "--data-dir", "pictures", "--device", "cpu"), home.foreign
    ),
    "evaluate files": lambda home, name: Command(
        name, ("evaluate", "w1.pt", "w2.pt", "--data-dir", "pictures", "--device", "cpu"), home.foreign
    ),
    "plot": lambda home, name: Command(name, ("plot", home.run), home.trained),
    "fit": lambda home, name: Command(
        name, ("fit", "resnet20_cifar", "--macs", "50%", "--output", "network.json"), home.empty
    ),
    "time": lambda home, name: Command(
        name,
        ("time", "resnet20_cifar", "--input", "8", "--table", "table.json", "--runs", "3", "--device", "cpu"),
        home.empty,
    ),
    "predict": lambda home, name: Command(
        name, ("predict", home.imported_run, "pictures", "--device", "cpu"), home.imported
    ),
    "export": lambda home, name: Command(
        name, ("export", home.imported_run, "--to", "torchscript", "--output", "model.pt"), home.imported
    ),
    "data write": lambda home, name: Command(name, ("data", "write", "--data-dir", "data"), home.pictures),
    "baseline show": lambda home, name: Command(
        name, ("baseline", "show", "cifar10-resnet20_cifar-50-r8", "--output", "network.json"), home.empty
    ),
    "baseline page": lambda home, name: Command(
        name, ("baseline", "page", "--output", "page.md", "--board", str(ROOT / "leaderboard.csv")), home.page
    ),
    "leaderboard add": lambda home, name: home.add,
    "leaderboard add --file": lambda home, name: home.add_file,
    "leaderboard page": lambda home, name: Command(
        name, ("leaderboard", "page", "--board", "board.csv", "--output", "page.html"), home.added
    ),
    "leaderboard figure": lambda home, name: Command(
        name,
        ("leaderboard", "figure", "--board", "board.csv", "--output", "figure.svg", "--csv", "figure.csv"),
        home.filled,
    ),
    "leaderboard check --fix": lambda home, name: Command(
        name, ("leaderboard", "check", "--fix", "--board", "board.csv"), home.untidy
    ),
    "study run": lambda home, name: home.study_run,
    "study show": lambda home, name: Command(name, ("study", "show", "tiny.yaml"), home.studied),
    "study export": lambda home, name: Command(
        name, ("study", "export", "tiny.yaml", "--board", "board.csv"), home.studied
    ),
    "study pack": lambda home, name: Command(name, ("study", "pack", "tiny.yaml", "--to", "evidence"), home.studied),
    "study paper": lambda home, name: Command(
        name, ("study", "paper", "evidence", "--document", "page.md", "--figures", "pictures"), home.packed
    ),
}  # fmt: skip
NAMES = tuple(_MAKERS)
