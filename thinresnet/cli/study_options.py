"""What the verbs of `thinresnet study` share: options, and the graphs of a file."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from thinresnet.cli.terminal import status

if TYPE_CHECKING:  # torch is imported by the verbs that need it
    from thinresnet.studies.graph import StudyGraph

File = Annotated[Path, typer.Argument(metavar="FILE", help="A study, such as baselines/digits.yaml.")]
Output = Annotated[Path, typer.Option("--output", "-o", help="Folder of runs; each study has a folder in it.")]
DataDir = Annotated[str | None, typer.Option(help="The images, instead of where the study says.")]
Dataset = Annotated[str | None, typer.Option(help="The dataset, instead of the study's; '' for class folders.")]
WeightsDir = Annotated[
    str | None,
    typer.Option(help="Where public weights are, folders below included.", envvar="THINRESNET_WEIGHTS", metavar="DIR"),
]
TierName = Annotated[str, typer.Option("--tier", help="The study's epochs and seeds: laptop, or one of its tiers.")]
Only = Annotated[str | None, typer.Option(help="The study of this name alone, where the file holds several.")]


def graphs_of(
    file: Path,
    data_dir: str | None,
    dataset: str | None,
    only: str | None,
    weights_dir: str | None = None,
    tier: str = "laptop",
) -> list[StudyGraph]:
    """The graphs of a file's studies, all checked before anything is done."""
    from thinresnet.studies.graphs import read_graphs

    given = {"data_dir": data_dir, "dataset": dataset}
    changes = {key: value for key, value in given.items() if value is not None}
    with status(f"reading {file}"):
        return read_graphs(file, changes=changes, only=only, weights_dir=weights_dir, tier=tier)
