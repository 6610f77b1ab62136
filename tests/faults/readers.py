"""Damaged and hostile files for all that reads one: it is read, or refused in one line, soon and in little memory.

Nothing but InputError may come out. Files are damaged as bytes (cut off, flipped, in another encoding), as what they
hold (each value of a JSON, YAML or CSV file by one that does not belong there), and as files (a pipe, a device, a loop
of links, a folder). The same seed makes the same files.
"""

from __future__ import annotations

import json
import os
import random
import resource
import shutil
import signal
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
import yaml
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import seed as seeded
from PIL import Image

from tests.faults import child
from tests.faults.commands import ROWS, Home
from tests.faults.crash import Case, chosen, seconds_since
from tests.faults.damages import damages, hostile
from thinresnet import curves, networks, recipe
from thinresnet.cli import counted
from thinresnet.convert import brief
from thinresnet.errors import InputError
from thinresnet.evaluation import Evaluation
from thinresnet.imported import Imported
from thinresnet.leaderboard import authors_page
from thinresnet.leaderboard.adding import propose_all
from thinresnet.leaderboard.evidence import check_evidence
from thinresnet.leaderboard.papers import read_bib
from thinresnet.leaderboard.rowfiles import rows_from_file
from thinresnet.leaderboard.store import read_board
from thinresnet.networks import latency
from thinresnet.networks.foreign import adopt, read_state
from thinresnet.networks.hub import read_config
from thinresnet.pruning.parent import read_parent
from thinresnet.pruning.record import read_pruning
from thinresnet.result import Result
from thinresnet.studies.graphs import read_graphs
from thinresnet.studies.hashes import FolderHashes
from thinresnet.studies.paper import findings, tables
from thinresnet.studies.paper.rows import read_evidence
from thinresnet.studies.store import Store
from thinresnet.training import checkpoint
from thinresnet.training.data.beton_writing import Encoding
from thinresnet.training.data.images import read_image
from thinresnet.training.data.info import describe_beton, write_betons
from thinresnet.training.data.memory import _kept
from thinresnet.training.preparing import as_trained
from thinresnet.training.run import read_settings

LONGEST_SECONDS = 10.0
MOST_BYTES = 2 << 30  # of address space beyond what the imports take
EXAMPLES = 300  # drawn by hypothesis, of each reader
_QUESTION = {"count": "resnet50"}


@dataclass(frozen=True)
class Reader:
    """What reads a file, and a folder with a good one."""

    name: str
    folder: Path
    file: str  # below the folder
    read: Callable[[Path], object]  # given the path of the file


class _TooSlowError(BaseException):
    pass


def readers(home: Home, only: Sequence[str] = ()) -> Iterator[Reader]:
    """Everything that reads what somebody else may have written, or the readers of these names."""
    for name, make in _MAKERS.items():
        if not only or name in only:
            yield Reader(name, *make(home))


def _trained(name: str, read: Callable[[Path], object]) -> _Maker:
    return lambda home: (home.trained, f"{home.run}/{name}", read)


def _part(name: str, read: Callable[[Path], object]) -> _Maker:
    return lambda home: (_parts(home), name, read)


def _stage(home: Home) -> tuple[Path, str, Callable[[Path], object]]:
    graph = read_graphs(home.studied / "tiny.yaml")[0]
    file = next((home.studied / "runs").rglob("stage.json"))
    stage = next(own for own in graph.stages.values() if own.folder == file.parent.name)
    return home.studied, str(file.relative_to(home.studied)), lambda path: Store(path.parents[1]).state(stage)


def _metrics(home: Home) -> tuple[Path, str, Callable[[Path], object]]:
    result = Result.read(home.trained / home.run)
    return home.trained, f"{home.run}/metrics.csv", lambda path: check_evidence(path.parent, result)


def _pruned(home: Home) -> tuple[Path, str, Callable[[Path], object]]:
    pruned = next((home.after("prune") / "pruned").iterdir())
    return pruned, "pruning.json", lambda path: read_pruning(path.parent)


def _of_folder(read: Callable[[Path], object]) -> Callable[[Path], object]:
    return lambda path: read(path.parent)


def _rows(path: Path) -> object:
    return propose_all(rows_from_file(path), [], {})


def _parts(home: Home) -> Path:
    """Good files that no command of the others leaves."""
    parts = home.home / "parts"
    if parts.exists():
        return parts
    shutil.copytree(next((home.after("evaluate one file") / "evaluations").iterdir()), parts / "imported")
    checkpoint.save(parts, {"seed": 1}, {"weights": torch.zeros(3)}, epoch=1, step=0, kept=2)
    picture = Image.fromarray(np.random.default_rng(0).integers(0, 256, (9, 7, 3), np.uint8))
    for kind in _IMAGES:
        picture.save(parts / f"image.{kind}")
    rows = yaml.load(ROWS, Loader=yaml.BaseLoader)
    own = [{**rows["common"], **row} for row in rows["rows"]]
    names = [name for name in own[0] if name not in ("bibtex", "paper")]
    lines = [",".join(["paper", *names]), *(",".join(["lin2020hrank", *(row[name] for name in names)]) for row in own)]
    (parts / "rows.csv").write_text("\n".join(lines) + "\n", encoding="utf-8")
    _counted(parts / "cache" / "counted" / "x.json")
    next(parts.rglob("counted/*.json")).rename(parts / "counted.json")
    (written, _) = write_betons(recipe.Recipe(data_dir=str(home.pictures / "data")), encoding=Encoding("raw"))
    shutil.copy(written, parts / "data.beton")
    np.save(parts / "images.npy", np.zeros((4, 3, 3, 3), np.uint8))
    (parts / "hashes.json").write_text(json.dumps({"model.safetensors": [1, 2, 3, 4, "a" * 64]}))
    return parts


def _tabled(path: Path) -> object:
    evidence = read_evidence([path.parent])
    return tables.everything(evidence), findings.as_markdown(evidence)


def _plot(path: Path) -> object:
    return [*curves._long(path.parent), *curves._speed(path.parent)]


def _counted(path: Path) -> object:
    """Ask for what the cache holds: the file is put where the question looks for it."""
    os.environ["THINRESNET_CACHE"] = str(path.parent / "cache")
    for place in (path.parent / "cache").rglob("counted/*.json"):
        place.unlink()
        place.symlink_to(path)
    return counted.remembered(_QUESTION, lambda: {"macs": 1})


_Maker = Callable[[Home], tuple[Path, str, Callable[[Path], object]]]
_IMAGES = ("png", "jpg", "tif", "webp", "bmp")
_MAKERS: dict[str, _Maker] = {
    "recipe.yaml": _trained("recipe.yaml", recipe.load),
    "study.yaml": lambda home: (home.study, "tiny.yaml", read_graphs),
    "rows.yaml": lambda home: (home.board, "rows.yaml", _rows),
    "rows.csv": _part("rows.csv", _rows),
    "board.csv": lambda home: (home.filled, "board.csv", read_board),
    "board.bib": lambda home: (home.filled, "board.bib", read_bib),
    "network.json": _trained("network.json", networks.read_network),
    "result.json": _trained("result.json", _of_folder(Result.read)),
    "run.json": _trained("run.json", _of_folder(read_settings)),
    "run.json, to prune": _trained("run.json", lambda path: read_parent(str(path.parent))),
    "run.json, to evaluate": _trained("run.json", lambda path: as_trained(recipe.Recipe(), path.parent)),
    "metrics.csv, evidence": _metrics,
    "metrics.csv, plot": _trained("metrics.csv", _plot),
    "timing.csv, plot": _trained("timing.csv", _plot),
    "stage.json": _stage,
    "study.json": lambda home: (home.packed / "evidence" / "tiny", "study.json", _tabled),
    "safetensors": _trained("model.safetensors", _of_folder(networks.load)),
    "foreign .pt": lambda home: (home.foreign, "w1.pt", lambda path: adopt(read_state(path))),
    "checkpoint": _part("epoch000001-step00000000.pt", lambda path: checkpoint.load_newest(path.parent, {"seed": 1})),
    "imported.json": _part("imported/imported.json", _of_folder(Imported.read)),
    "evaluation.json": _part("imported/evaluation.json", _of_folder(Evaluation.read)),
    "pruning.json": _pruned,
    "config.json": _trained("config.json", lambda path: read_config(path.parent, 10)),
    "latency table": lambda home: (home.after("time"), "table.json", latency.read_table),
    "page.md": lambda home: (home.page, "page.md", authors_page._text),
    "count cache": _part("counted.json", _counted),
    "image cache": _part("images.npy", lambda path: _kept(path, 4)),
    "hash cache": _part("hashes.json", lambda path: FolderHashes(path.parent, path)),
    **{f"image.{kind}": _part(f"image.{kind}", read_image) for kind in _IMAGES},
    ".beton": _part("data.beton", describe_beton),
}


def campaign(home: Home, only: Sequence[str], most: int | None, seed: int) -> Iterator[Case]:
    """Every damage of every file, or `most` of them."""
    hostile(b"0", "").example()  # what hypothesis reads before its first example, once for all
    for reader in readers(home, only):
        yield from _of_reader(reader, home.root, most, seed)


def _of_reader(reader: Reader, root: Path, most: int | None, seed: int) -> Iterator[Case]:
    """One process reads them all, in bounded memory; one that hangs in a library is seen by its silence."""
    shutil.rmtree(root, ignore_errors=True)
    shutil.copytree(reader.folder, root, symlinks=True)
    file = root / reader.file
    content = file.read_bytes()
    every = [*damages(content, file.suffix, random.Random(f"{seed} {reader.name}")), *_SPECIAL]
    chosen_ones = [every[number - 1] for number in chosen(len(every), most)]
    picked = [(what, made() if callable(made) else made) for what, made in chosen_ones]

    def work() -> None:
        taken = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
        resource.setrlimit(resource.RLIMIT_AS, (taken + MOST_BYTES, taken + MOST_BYTES))
        for what, damaged in [("as it is", content), *picked]:
            start = time.monotonic()
            _put(file, damaged)
            print(json.dumps([what, _try(reader, file), seconds_since(start)]), flush=True)
        for what, wrong, seconds, times in _drawn(reader, file, content, seed, EXAMPLES if most is None else most):
            print(json.dumps([what, wrong, seconds, times]), flush=True)
        raise SystemExit(0)

    ended = child.run((), root, before=work, seconds=120 + LONGEST_SECONDS * 3 + 0.5 * len(picked))
    answers = [json.loads(line) for line in ended.output.splitlines() if line.startswith("[")]
    for what, wrong, seconds, *times in answers:
        yield Case("readers", reader.name, what, wrong, seconds, *times)
    if len(answers) <= len(picked) + 1:
        what = [*(name for name, _ in picked), "drawn by hypothesis"][len(answers) - 1] if answers else "as it is"
        said = "hung in a library" if ended.hung else f"the process died ({ended.code}): {ended.said}"
        yield Case("readers", reader.name, what, said, round(ended.seconds, 2))


def _try(reader: Reader, file: Path) -> str:
    """What is wrong with how a file was read or refused."""

    def ring(*_: object) -> None:
        raise _TooSlowError

    # Seconds of the processor, which a busy machine does not always give; and many more of anything else.
    timers = ((signal.ITIMER_PROF, signal.SIGPROF, 1), (signal.ITIMER_REAL, signal.SIGALRM, 30))
    for timer, number, times in timers:
        signal.signal(number, ring)
        signal.setitimer(timer, times * LONGEST_SECONDS)
    try:
        reader.read(file)
    except InputError as error:
        text = str(error)
        return f"not one line: {brief(text)}" if "\n" in text or len(text) < 8 else ""
    except _TooSlowError:
        return f"took more than {LONGEST_SECONDS:.0f} s"
    except BaseException as error:
        return f"{type(error).__name__}: {str(error)[:200]}"
    finally:
        for timer, _, _ in timers:
            signal.setitimer(timer, 0)
    return ""


def _drawn(reader: Reader, file: Path, content: bytes, seed: int, count: int) -> Iterator[tuple[str, str, float, int]]:
    """Files drawn by hypothesis: how many were read, and the smallest one that is bad, if any is."""
    start, found = time.monotonic(), [("", "")]
    tried = 0

    @seeded(seed)
    @settings(
        max_examples=count, database=None, deadline=None, suppress_health_check=list(HealthCheck),
        phases=(Phase.generate, Phase.shrink),
    )  # fmt: skip
    @given(hostile(content, file.suffix))
    def holds(damaged: bytes) -> None:
        nonlocal tried
        tried += 1
        _put(file, damaged)
        if wrong := _try(reader, file):
            found[0] = (wrong, repr(damaged[:200]))
            raise AssertionError

    try:
        holds()
    except AssertionError:
        yield f"drawn by hypothesis: {found[0][1]}", found[0][0], seconds_since(start), tried
    else:
        yield "drawn by hypothesis", "", seconds_since(start), tried


def _put(file: Path, damaged: bytes | str) -> None:
    """The damaged file, or something of that name that is no file."""
    if file.is_dir() and not file.is_symlink():
        file.rmdir()
    else:
        file.unlink(missing_ok=True)
    if isinstance(damaged, bytes):
        file.write_bytes(damaged)
    elif damaged == "pipe":
        os.mkfifo(file)
    elif damaged == "folder":
        file.mkdir()
    elif damaged:
        file.symlink_to(damaged)


_SPECIAL: list[tuple[str, bytes | str]] = [
    ("a pipe", "pipe"), ("a folder", "folder"), ("missing", ""), ("an endless device", "/dev/zero"),
    ("a device", "/dev/full"), ("a broken link", "/nowhere/at/all"), ("a loop of links", "loop"),
]  # fmt: skip
