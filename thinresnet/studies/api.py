"""Studies from Python: `from thinresnet import studies`.

(study,) = studies.read("baselines/digits.yaml")
studies.run(study, "runs")                       # what is finished stays; {} if nothing failed
studies.table(study, "runs")                     # displays in a notebook; .records are plain values
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rich.console import Console

from thinresnet.errors import InputError
from thinresnet.notebook import html_table
from thinresnet.progress import watched
from thinresnet.studies import report, running
from thinresnet.studies.graph import StudyGraph
from thinresnet.studies.graphs import read_graphs
from thinresnet.studies.records import as_records
from thinresnet.studies.store import Store
from thinresnet.studies.summaries import distinct, summaries


@dataclass(frozen=True)
class StudyTable:
    """What is finished of a study."""

    name: str
    tables: Sequence[report.Table]  # one a recipe, cells as text
    records: Sequence[Mapping[str, Any]]  # a row each, as `thinresnet study show --json` prints them
    markdown: str  # the tables and how to read them

    def __repr__(self) -> str:
        finished = sum(bool(record["seeds"]) for record in self.records)
        return f"<StudyTable {self.name}: {finished} of {len(self.records)} rows have results>"

    def __str__(self) -> str:
        return self.markdown

    def _repr_html_(self) -> str:
        return "".join(
            html_table(
                ("at", *one.columns),
                [(point, *row) for point, rows in one.points.items() for row in rows],
                caption=f"{self.name}: {one.title}",
                left=2,
            )
            for one in self.tables
        )


def read(
    path: str | os.PathLike[str], *, only: str | None = None, data_dir: str | None = None, dataset: str | None = None
) -> list[StudyGraph]:
    """The studies of a YAML file (or the one called `only`), checked, with the stages that each consists of.

    `data_dir` and `dataset` say where the images are, instead of what the file says.
    """
    given = {"data_dir": data_dir, "dataset": dataset}
    changes = {name: value for name, value in given.items() if value is not None}
    return read_graphs(Path(path), changes=changes, only=only)


def run(
    study: StudyGraph,
    output: str | os.PathLike[str] = "runs",
    *,
    jobs: int = 1,
    gpus_per_stage: int = 1,
    progress: bool = True,
) -> dict[str, str]:
    """Do every stage that is not finished; returns what could not be done and why, by the stage's name.

    Args:
        study: One that `read` returned.
        output: The folder of runs, in which the study has a folder of its name.
        jobs: Stages at a time, in processes of this machine; its GPUs take turns.
        gpus_per_stage: GPUs of a training, which then has as many processes; they split its batch.
        progress: Print a line when a stage begins and ends, where there is a terminal or a notebook.

    Raises:
        InputError: The images are not here, or the folder is in use.
        TrainingInterruptedError: Asked to stop; the same call resumes.
    """
    for name, count in (("jobs", jobs), ("gpus_per_stage", gpus_per_stage)):
        if count < 1:
            raise InputError(f"studies.run: {name}: takes 1 or more, got {count}")
    shows = progress and watched()
    workers: running.Workers = running.ThisProcess(quiet=not shows)
    if jobs > 1 or gpus_per_stage > 1:
        workers = running.Processes(jobs, gpus_per_stage=gpus_per_stage)
    with closing(workers):
        # In a notebook every line of a Jupyter console would be an output of its own.
        told = Console(stderr=True, quiet=not shows, force_jupyter=False)
        return running.run(study, _root(study, output), workers, told)


def table(study: StudyGraph, output: str | os.PathLike[str] = "runs") -> StudyTable:
    """What is finished of a study, with its verdicts; nothing is written."""
    root = _root(study, output)
    found = distinct(summaries(study, Store(root)))
    if not any(summary.results for summary in found):
        raise InputError(f"study {study.study.name}: nothing is finished in {root}; studies.run it first")
    name = study.study.name
    return StudyTable(name, report.tables(found), as_records(found), report.markdown(name, found))


def _root(study: StudyGraph, output: str | os.PathLike[str]) -> Path:
    return Path(output) / study.study.folder_name
