"""The documents: every command in them is one that there is, every block can be pasted, every link leads somewhere.

Each command of a block is run here, in a folder with small files in place of the reader's, where it takes a moment
(`RUN`); otherwise its own parser and what reads its files (a recipe, a study, a method's settings) have to accept it. A
first word that is in neither list fails, so that no block is left out. What stands below a `$` is what the command
prints, line by line; `…` alone on a line stands for any others.
"""

from __future__ import annotations

import ast
import re
import shlex
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import typer
import yaml
from PIL import Image
from typer.testing import CliRunner

from thinresnet import cli, leaderboard, networks
from thinresnet.cli import reference, train
from thinresnet.cli.catalogue import method_rows
from thinresnet.errors import InputError
from thinresnet.pruning.registry import asked_for, configured, method
from thinresnet.recipe import load
from thinresnet.studies.protocols import PROTOCOLS
from thinresnet.studies.reading import read_studies

ROOT = Path(__file__).parents[1]
NOTEBOOKS = sorted((ROOT / "docs" / "notebooks").glob("*.ipynb"))
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").rglob("*.md"))]
SHELL = ("bash", "sh", "shell")
# What stands for something of the reader's, and what it is here.
STANDS_FOR = {
    "runs/<id>": "runs/ID", "runs/<pruned>": "runs/ID", "runs/resnet56_cifar-dense-…": "runs/ID", "…": "",
    "study run FILE": "study run baselines/digits.yaml", '"$DATA"': "data", '"$RUNS"': "runs", "PEERS": "data",
}  # fmt: skip
# Run as they stand, by how they begin: they take a moment here. Everything else is parsed.
RUN = re.compile(
    r"networks$|recipes|study protocols|prune --list|prune --method mine\.py|data info --data-dir MYDATA|count runs/ID"
    r"|fit resnet20_cifar|prune l1 runs/ID --macs 50%$|predict runs/ID (cat\.png|MYDATA)|evaluate runs/ID"
    r"|baseline (list|show|cite)|leaderboard compare (--arch resnet50 --macs 2\.05G|fang2023depgraph)|leaderboard cite"
    r"|leaderboard show|leaderboard add --template|study run half\.yaml --dry-run"
)
# Not of this project: it is enough that they are written as their own documents have them.
FOREIGN = (
    "pytest", "pre-commit install", "tensorboard --logdir runs", "apt-get update", "apt-get install -y", "wait", "trap",
    "docker build", "sphinx-build", "git show main:leaderboard.csv > before.csv",
)  # fmt: skip
LIKE_RUNS = re.compile(r"(accelerate launch( --(multi_gpu|\w+ \S+))* train\.py|python train\.py|thinresnet train)\b")


class Block(NamedTuple):
    """A fenced block of a document."""

    page: Path
    line: int
    language: str
    text: str

    def __str__(self) -> str:
        return f"{self.page.relative_to(ROOT)}:{self.line}"


def _blocks() -> Iterator[Block]:
    for page in PAGES:
        text = page.read_text(encoding="utf-8")
        for found in re.finditer(r"^```(\w*)\n(.*?)^```$", text, re.MULTILINE | re.DOTALL):
            yield Block(page, text[: found.start()].count("\n") + 1, found[1], found[2])


BLOCKS = list(_blocks())
PYTHON = [block for block in BLOCKS if block.language == "python" and block.page.parent.name != "reference"]


def _commands(text: str) -> Iterator[list[str]]:
    """The commands of a block as words: comments and redirections left out, continued lines joined."""
    for theirs, ours in STANDS_FOR.items():
        text = text.replace(theirs, ours)
    for line in text.replace("\\\n", " ").splitlines():
        words: list[str] = []
        for word in shlex.split(line, comments=True):
            if word in ("&&", "&", ";"):
                yield words
                words = []
            elif word.endswith(";"):
                yield [*words, word[:-1]]
                words = []
            else:
                words.append(word)
        if words:
            yield words


COMMANDS = [(str(block), words) for block in BLOCKS if block.language in SHELL for words in _commands(block.text)]


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """What the reader has: a run, images, files that the documents say to save; the working folder for this file."""
    folder = tmp_path_factory.mktemp("docs")
    for name in ("baselines", "benchmarks", "recipes", "leaderboard.csv", "leaderboard.bib", "pyproject.toml"):
        (folder / name).symlink_to(ROOT / name)
    shutil.copy(ROOT / "leaderboard.csv", folder / "before.csv")
    shutil.copy(ROOT / "leaderboard.bib", folder / "before.bib")
    shutil.copy(ROOT / "tests" / "training" / "timm_args.yaml", folder / "args.yaml")
    for block in BLOCKS:  # "Saved as `mine.py`" stands after the block that it is about
        after = block.page.read_text(encoding="utf-8").partition(block.text + "```\n")[2]
        if saved := re.match(r"\s*Saved as `([\w.]+)`", after):
            (folder / saved[1]).write_text(block.text)
    thin = networks.scale("resnet20_cifar", width=0.5, num_classes=10, input_size=(3, 8, 8), depths=[1, 1, 1])
    dense = networks.describe("resnet20_cifar", num_classes=10, depths=[1, 1, 1])
    networks.save(folder / "runs" / "ID", dense, networks.build(dense, seed=0))
    (folder / "half.json").write_text(thin.to_json())
    for split in ("train", "validation"):
        for name in ("cat", "dog"):
            (folder / "MYDATA" / split / name).mkdir(parents=True)
            Image.new("RGB", (32, 32), "red").save(folder / "MYDATA" / split / name / "0901.jpg")
    Image.new("RGB", (32, 32), "red").save(folder / "cat.png")
    (folder / "photos").mkdir()
    Image.new("RGB", (32, 32), "blue").save(folder / "photos" / "dog.png")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        patch.setattr("thinresnet.studies.training_cost.seconds_per_mac", lambda network: 1e-9)
        patch.setattr("thinresnet.pruning.folder.draw", lambda *given: None)  # starting the renderer takes seconds
        yield folder


@pytest.mark.parametrize(("where", "words"), COMMANDS, ids=lambda each: each if isinstance(each, str) else each[0][:12])
def test_every_command_is_one_that_there_is(where: str, words: list[str], world: Path) -> None:
    line = " ".join(words)
    if LIKE_RUNS.match(line):
        _accept_training(words[words.index("train" if words[0] == "thinresnet" else "train.py") + 1 :])
    elif words[0] == "thinresnet":
        _accept_verb(words[1:])
    elif words[:2] == ["pip", "install"]:
        _accept_extras(line)
    elif words[0] == "python":
        _accept_script(words[1:])
    else:
        assert line.startswith(FOREIGN), f"{where}: nothing here knows {line!r}"


def _accept_training(arguments: list[str]) -> None:
    if arguments == ["--help"]:
        return
    arguments = ["data" if word in ("DATA", "IMAGENET") else word for word in arguments]
    options, recipe, _ = train.read_flags(arguments)
    assert options.network is None or options.network.exists(), options.network
    assert recipe.epochs > 0


def _accept_verb(words: list[str]) -> None:
    arguments = words[: words.index(">")] if ">" in words else words
    if RUN.match(" ".join(arguments)):
        done = CliRunner().invoke(cli.app, arguments)
        if isinstance(done.exception, InputError):
            raise done.exception
        assert done.exit_code == 0, done.output
        assert done.output or "--output" in arguments
        return
    verb: Any = typer.main.get_group(cli.app).get_command(None, arguments[0])
    rest = arguments[1:]
    if hasattr(verb, "commands"):
        verb, rest = verb.commands[rest[0]], rest[1:]
    given = verb.make_context(arguments[0], list(rest)).params
    if "file" in given and arguments[0] == "study":
        assert read_studies(Path(str(given["file"])), protocols=tuple(PROTOCOLS))
    if arguments[0] == "prune":
        settings = dict(pair.split("=", 1) for pair in given["settings"] or ())
        assert (
            method(given["method"], settings) if given["own"] is None else configured(asked_for(given["own"]), settings)
        )


def _accept_extras(line: str) -> None:
    declared = re.search(r"\[project.optional-dependencies\]\n(.*?)\n\n", (ROOT / "pyproject.toml").read_text(), re.S)
    assert declared
    for extra in re.findall(r"\[(\w+)\]", line):
        assert re.search(rf"^{extra} = ", declared[1], re.MULTILINE), f"no extra {extra}"


def _accept_script(words: list[str]) -> None:
    """A script of the checkout: it is there, and has the flags."""
    path = ROOT / (words[1].replace(".", "/") + "/__main__.py" if words[0] == "-m" else words[0])
    text = path.read_text(encoding="utf-8")
    for flag in (word for word in words[1:] if word.startswith("--") and word != "--help"):
        assert f'"{flag}"' in text, f"{path.name} has no {flag}"


CONSOLE = [
    (f"{block}, {said[1][:40]}", said[1], said[2])
    for block in BLOCKS
    for said in re.finditer(r"^\$ (.*)\n((?:(?!\$ ).*\n)*)", block.text, re.MULTILINE)
]


@pytest.mark.parametrize(("command", "printed"), [said[1:] for said in CONSOLE], ids=[said[0] for said in CONSOLE])
def test_what_stands_below_a_command_is_what_it_prints(
    command: str, printed: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("COLUMNS", raising=False)
    program, *arguments = shlex.split(command)
    assert program == "thinresnet"
    done = CliRunner().invoke(cli.app, arguments)
    assert done.exit_code == 0, done.output
    parts = [re.escape(part.strip("\n")) for part in re.split(r"^…$", printed, flags=re.MULTILINE)]
    found = "\n".join(line.rstrip() for line in done.stdout.splitlines())
    assert re.fullmatch(r"(?:\n.*)*\n?".join(parts), found), found


def test_readme_is_two_screens_with_figures_of_today() -> None:
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    assert len(text.splitlines()) <= 100
    assert sum(1 for said in CONSOLE if said[0].startswith("README.md")) == 2
    board = leaderboard.read_board()
    first = leaderboard.compare("resnet50", board=board).cells[0]
    flat = " ".join(text.split())
    assert f"{len(board):,} results" in flat
    assert f"all {len(method_rows())} [pruning methods]" in flat
    assert f"the {first.results} published results" in flat
    assert f"{first.loses} lose, {first.ties} tie and {first.clears} clear" in flat


def test_the_first_command_of_the_documents_trains(world: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """`thinresnet train --width 0.5`, scaled down to an epoch of a thinner network; again, it trains nothing."""
    small = ["--width", "0.125", "--epochs", "1", "--warmup-epochs", "0", "--output", "first"]
    assert train.main(small) == 0
    assert "epoch 1/1" in capsys.readouterr().err
    assert train.main(small) == 0
    assert "epoch 1/1" not in capsys.readouterr().err
    (run,) = (world / "first").iterdir()
    assert run.name.startswith("resnet20_cifar-w0.125-digits-s42-")


@pytest.mark.parametrize("block", PYTHON, ids=str)
def test_python_imports_what_there_is(block: Block) -> None:
    tree = ast.parse(block.text)
    imports = [node for node in tree.body if isinstance(node, ast.Import | ast.ImportFrom)]
    exec(compile(ast.Module(imports, []), str(block), "exec"), {})


@pytest.mark.parametrize("block", [block for block in BLOCKS if block.language == "yaml"], ids=str)
def test_yaml_is_what_its_reader_takes(block: Block, tmp_path: Path) -> None:
    (tmp_path / "it.yaml").write_text(block.text)
    if block.text.startswith("study:"):
        assert read_studies(tmp_path / "it.yaml", protocols=tuple(PROTOCOLS))
    elif block.text.startswith("model:"):
        assert load(tmp_path / "it.yaml").differing()
    else:
        documents = block.text.splitlines() if block.text.startswith("finetune") else [block.text]
        assert all(yaml.safe_load(document) for document in documents)


@pytest.mark.parametrize("path", reference.contents(), ids=lambda path: path.name)
def test_the_reference_is_current(path: Path) -> None:
    made = reference.contents()[path]()
    assert path.read_text(encoding="utf-8") == made, "run python -m thinresnet.cli.reference"


def _anchors(page: Path) -> set[str]:
    """Its headings as GitHub and MyST name them."""
    text = re.sub(r"^```.*?^```$", "", page.read_text(encoding="utf-8"), flags=re.MULTILINE | re.DOTALL)
    headings = re.findall(r"^#+ (.*)$", text, re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_links_lead_somewhere(page: Path) -> None:
    text = re.sub(r"^```.*?^```$|`[^`\n]*`", "", page.read_text(encoding="utf-8"), flags=re.MULTILINE | re.DOTALL)
    for target in re.findall(r"\]\(([^)\s]+)\)", text):
        if "://" in target:
            continue
        path, _, anchor = target.partition("#")
        other = page.parent / path if path else page
        assert other.exists(), f"{target}: no such file"
        assert not anchor or anchor in _anchors(other), f"{target}: no such heading"


def test_every_document_is_in_the_index() -> None:
    index = ROOT / "docs" / "README.md"
    listed = {
        (index.parent / path).resolve() for path in re.findall(r"\]\(([^)#\s]+)", index.read_text(encoding="utf-8"))
    }
    missing = [
        str(page.relative_to(ROOT))
        for page in [*PAGES, *NOTEBOOKS]
        if "docs" in page.parts[-3:] and page != index and page not in listed
    ]
    assert not missing
