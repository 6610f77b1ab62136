"""`thinresnet study`."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from thinresnet.studies.plan import Plan

File = Annotated[Path, typer.Argument(metavar="FILE", help="A study, such as baselines/digits.yaml.")]
Output = Annotated[Path, typer.Option("--output", "-o", help="Folder of runs; each study has a folder in it.")]
DataDir = Annotated[str | None, typer.Option(help="The images, instead of where the study says.")]
Dataset = Annotated[str | None, typer.Option(help="The data set, instead of the study's; '' for class folders.")]


def add_to(app: typer.Typer) -> None:
    """Add this room's verbs to the command line."""
    study = typer.Typer(
        no_args_is_help=True, help="Methods and plain scaling compared under one budget, from one file."
    )
    study.command("run")(run_verb)
    app.add_typer(study, name="study")


def run_verb(
    file: File,
    output: Output = Path("runs"),
    data_dir: DataDir = None,
    dataset: Dataset = None,
    jobs: Annotated[int, typer.Option(min=1, help="Stages at a time, on this machine.")] = 1,
) -> None:
    """Run a study: what is finished stays, what is left is done; the same command goes on after a stop.

    Example: thinresnet study run baselines/digits.yaml
    """
    from rich.console import Console

    from thinresnet.studies.run import Processes, ThisProcess, run
    from thinresnet.training.stopping import REQUEUE_EXIT_CODE, TrainingInterruptedError

    console = Console(stderr=True, highlight=False)
    workers = ThisProcess() if jobs == 1 else Processes(jobs)
    failed: dict[str, str] = {}
    for plan in _plans(file, data_dir, dataset):
        try:
            failed |= run(plan, output / plan.study.name, workers, console)
        except TrainingInterruptedError as error:
            print(
                f"thinresnet: {plan.study.name}: {error}; saved: the same command goes on from there", file=sys.stderr
            )
            raise typer.Exit(REQUEUE_EXIT_CODE) from None
    for name, why in failed.items():
        print(f"thinresnet: {name}: {why}", file=sys.stderr)
    if failed:
        raise typer.Exit(1)


def _plans(file: Path, data_dir: str | None, dataset: str | None) -> list[Plan]:
    """The plans of a file's studies, all checked before anything is done."""
    from thinresnet.studies.plan import Plan
    from thinresnet.studies.protocols import PROTOCOLS
    from thinresnet.studies.study import read_studies

    given = {"data_dir": data_dir, "dataset": dataset}
    changes = {key: value for key, value in given.items() if value is not None}
    return [Plan(study) for study in read_studies(file, protocols=list(PROTOCOLS), changes=changes)]
