"""How long verbs take from a cold start, beside `python -c pass` and an empty typer app; with --all those of torch too.

    python benchmarks/cold_start.py
    python benchmarks/cold_start.py --rounds 15 --only "leaderboard compare"
    python benchmarks/cold_start.py --all --rounds 3

Round by round, each command runs once in a process of its own. CPU seconds (user and system, of the process) are what
counts: other work on the machine stretches the wall clock, and hardly them. Of both, the least and the median are
given, and how many times the CPU seconds of an empty typer app a verb takes: the median of the ratios within a round.
Verbs that write do so in a temporary folder, on copies of the board. Those of torch begin with an empty cache, and what
they read (a run of one epoch on digits, a study of one network) is made before; `count` alone is also asked again.

Writes cold_start.json into --output.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from statistics import median
from typing import Any

from child import ROOT, account

EMPTY_APP = "import typer; app = typer.Typer(); app.command()(lambda: None); app()"
BASELINES = {"python": ["-c", "pass"], "empty typer app": ["-c", EMPTY_APP]}
VERBS = (
    "--help",
    "prune --list",
    "study protocols",
    "leaderboard --help",
    "leaderboard show",
    "leaderboard show --json",
    "leaderboard show --sort gap",
    "leaderboard compare",
    "leaderboard compare --arch resnet50 --macs 2.05G --top1 76.0",
    "leaderboard compare fang2023depgraph",
    "leaderboard holes",
    "leaderboard cite fang2023depgraph",
    "leaderboard diff {before}",
    "leaderboard add --file {rows} --board {copy} --dry-run --yes",
    "leaderboard check",
    "leaderboard figure -o {folder}/figure.svg",
    "leaderboard page -o {folder}/page.html",
)
AGAIN = (
    "count resnet50 --width 0.5",
    "fit resnet50 --macs 2.05G -o {new}/again.json",
)  # remembered since the first round
TORCH = (
    "recipes",
    "networks",
    "baseline list",
    "plot {run} -o {new}/curves",
    "data info --dataset digits",
    "count resnet50 --width 0.35",
    "fit resnet50 --macs 1G -o {new}/half.json",
    "time resnet20_cifar --width 0.5 --runs 3",
    "train --width 0.25 --epochs 1 --warmup-epochs 0 --output {new}",
    "evaluate {run} --dataset digits -o {new}/table",
    "predict {run} {image}",
    "prune l1 {run} --macs 3% -o {new}",
    "export {run} --to torchscript -o {new}/network.pt",
    "study run {study} --dry-run",
    "study show {study} --output {folder}/studies",
)
TRAIN = "train --width 0.25 --epochs 1 --warmup-epochs 0 --holdout 0.1 --output {folder}/runs"
STUDY = (
    "study: cold\narch: resnet20_cifar\ndataset: digits\n"
    "recipes: {short: {recipe: digits, epochs: 1, warmup_epochs: 0}}\n"
    "budgets: [macs: 3%]\nprotocols: [scaled-width]\nseeds: [1]\n"
)
ROW = (
    "paper: fang2023depgraph\ndataset: imagenet\narch: resnet50\nmethod: Cold start\nfamily: pruned\ntop1: 76.1\n"
    "macs: 2.05G\ndense_macs: 4.09G\nlocator: table 1\nread_repo: VainF/Torch-Pruning\n"
)


def main() -> None:
    """Measure, print, and write the results."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=7, help="rounds (default: 7)")
    parser.add_argument("--only", action="append", default=[], help="a verb to measure; may be given several times")
    parser.add_argument("--all", action="store_true", help="verbs that need torch too")
    parser.add_argument("--output", type=Path, default=ROOT / "benchmarks" / "results", help="folder of the result")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        names = args.only or (*VERBS, *AGAIN * args.all, *TORCH * args.all)
        commands = {**BASELINES, **_verbs(names, Path(folder))}
        rounds = []
        for number in range(args.rounds + 1):
            seconds = {name: measure(command, Path(folder), cold=name in TORCH) for name, command in commands.items()}
            # The first round compiles files of this package and reads them into the system's memory.
            rounds += [seconds] if number else []
    _report(args, rounds)


def measure(arguments: Sequence[str], folder: Path, *, cold: bool = False) -> tuple[float, float]:
    """Wall and CPU seconds of one Python process; one that fails ends the benchmark with what it printed."""
    shutil.rmtree(folder / "new", ignore_errors=True)
    (folder / "new").mkdir()
    cache = folder / ("new/cache" if cold else "cache")
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "THINRESNET_CACHE": str(cache)}
    environment.pop("PYTHONDONTWRITEBYTECODE", None)  # an installed package is compiled
    start = time.perf_counter()
    with (folder / "output").open("w+b") as output:
        child = subprocess.Popen([sys.executable, *arguments], cwd=ROOT, env=environment, stdout=output, stderr=output)
        _, code, usage = os.wait4(child.pid, 0)
        child.returncode = os.waitstatus_to_exitcode(code)
        wall = time.perf_counter() - start
        if code:
            output.seek(0)
            raise SystemExit(f"{' '.join(arguments)} failed:\n{output.read().decode()[-3000:]}")
    return wall, usage.ru_utime + usage.ru_stime


def _verbs(names: Sequence[str], folder: Path) -> dict[str, list[str]]:
    for name in ("leaderboard.csv", "leaderboard.bib"):
        (folder / name).write_bytes((ROOT / name).read_bytes())
    lines = (ROOT / "leaderboard.csv").read_text(encoding="utf-8").splitlines(keepends=True)
    (folder / "before.csv").write_text("".join(lines[:-50]), encoding="utf-8")
    (folder / "row.yaml").write_text(ROW, encoding="utf-8")
    places = {
        "before": folder / "before.csv",
        "copy": folder / "leaderboard.csv",
        "rows": folder / "row.yaml",
        "folder": folder,
        "new": folder / "new",
        "study": folder / "cold.yaml",
        "image": folder / "image.png",
    }
    if set(names) & set(TORCH):
        places["run"] = _prepared(folder)
    return {name: ["-m", "thinresnet", *(part.format(**places) for part in name.split())] for name in names}


def _prepared(folder: Path) -> Path:
    """A run and a study that verbs read; returns the run's folder."""
    (folder / "cold.yaml").write_text(STUDY, encoding="utf-8")
    (folder / "image.png").write_bytes((ROOT / "benchmarks" / "results" / "pruning.png").read_bytes())
    for line in (TRAIN, "study run {folder}/cold.yaml --output {folder}/studies"):
        measure(["-m", "thinresnet", *(part.format(folder=folder) for part in line.split())], folder)
    (run,) = (folder / "runs").iterdir()
    return run


def _report(args: argparse.Namespace, rounds: Sequence[dict[str, tuple[float, float]]]) -> None:
    rows: list[dict[str, Any]] = []
    print(f"{'':<62}{'wall s':>16}{'CPU s':>16}{'x app':>8}")
    for name in rounds[0]:
        wall, cpu = ([one[name][part] for one in rounds] for part in (0, 1))
        ratio = median(one[name][1] / one["empty typer app"][1] for one in rounds)
        rows.append(
            {
                "command": name,
                "wall_s": {"least": round(min(wall), 3), "median": round(median(wall), 3)},
                "cpu_s": {"least": round(min(cpu), 3), "median": round(median(cpu), 3)},
                "cpu_of_an_empty_typer_app": round(ratio, 2),
            }
        )
        figures = f"{min(wall):>8.2f}{median(wall):>8.2f}{min(cpu):>8.2f}{median(cpu):>8.2f}{ratio:>8.1f}"
        print(f"{name:<62}{figures}")
    result = {
        **account("typer"),
        "rounds": len(rounds),
        "commands": rows,
    }
    args.output.mkdir(parents=True, exist_ok=True)
    path = args.output / "cold_start.json"
    path.write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")
    print(path)


if __name__ == "__main__":
    main()
