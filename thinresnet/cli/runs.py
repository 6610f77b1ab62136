"""`thinresnet plot` and `recipes`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Optional

import typer

from thinresnet.cli.terminal import JsonFlag, print_json, print_table, print_written, status

app = typer.Typer()


@app.command()
def plot(
    runs: Annotated[list[Path], typer.Argument(help="Folders of runs.", metavar="RUN...")],
    output: Annotated[
        Optional[Path],  # noqa: UP045  # typer reads the annotation on Python 3.10 too
        typer.Option(
            "--output", "-o", help="Name of the files; each gets its suffix. Default: curves, in the run's folder."
        ),
    ] = None,
    label: Annotated[
        Optional[list[str]],  # noqa: UP045
        typer.Option("--label", help="What a run is called in the legend; once for each run, in their order."),
    ] = None,
    as_json: JsonFlag = False,
) -> None:
    """Draw accuracy, loss, learning rate and speed of runs over their epochs, as PNG, SVG and HTML (works offline).

    Example: thinresnet plot runs/resnet20_cifar-w0.5-digits-s42-3f9a1c
    """
    from thinresnet.curves import plot as draw

    target = output or (runs[0] / "curves" if len(runs) == 1 else Path("curves"))
    with status("drawing"):
        written = draw(runs, target, label or [])
    print_written(written, as_json=as_json)


@app.command()
def recipes(
    name: Annotated[str, typer.Argument(help="A recipe to print in full.", metavar="[NAME]")] = "",
    as_json: JsonFlag = False,
) -> None:
    """List the recipes, or print one of them with its sources.

    Example: thinresnet recipes imagenet-a2
    """
    from thinresnet import recipe
    from thinresnet.files import read_text

    if name:
        text = read_text(recipe.find(name))
        print_json({"name": name, "text": text}) if as_json else print(text, end="")
        return
    rows = [{"recipe": each, **_facts(each)} for each in recipe.names()]
    if as_json:
        print_json(rows)
        return
    print_table(list(rows[0]), [list(row.values()) for row in rows], left=3)


def _facts(name: str) -> dict[str, object]:
    from thinresnet import recipe

    found = recipe.load(name)
    return {
        "dataset": found.dataset or "folders",
        "optimizer": found.opt,
        "epochs": found.total_epochs,
        "batch": found.batch_size,
        "resolution": found.img_size or "network's",
    }
