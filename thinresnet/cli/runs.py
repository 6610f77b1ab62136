"""`thinresnet plot` and `recipes`."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Optional

import typer

app = typer.Typer()


@app.command()
def plot(
    runs: Annotated[list[Path], typer.Argument(help="Folders of runs.", metavar="RUN...")],
    output: Annotated[
        Optional[Path],  # noqa: UP045  # typer reads the annotation on Python 3.10 too
        typer.Option(
            "--output", "-o", help="Name of the files, without a suffix. Default: curves, in the run's folder."
        ),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print the files' names as JSON.")] = False,
) -> None:
    """Draw accuracy, loss, learning rate and speed of runs over their epochs, as PNG, SVG and HTML (works offline).

    Example: thinresnet plot runs/resnet20_cifar-w0.5-digits-s42-3f9a1c
    """
    from thinresnet.training.plot import plot as draw

    target = output or (runs[0] / "curves" if len(runs) == 1 else Path("curves"))
    written = draw(runs, target)
    print(json.dumps([str(path) for path in written]) if as_json else "\n".join(str(path) for path in written))


@app.command()
def recipes(
    name: Annotated[str, typer.Argument(help="A recipe to print in full.", metavar="[NAME]")] = "",
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """List the recipes, or print one of them with its sources.

    Example: thinresnet recipes imagenet-a2
    """
    from thinresnet import recipe

    if name:
        text = recipe.find(name).read_text(encoding="utf-8")
        print(json.dumps({"name": name, "text": text}) if as_json else text, end="")
        return
    rows = [{"recipe": each, **_facts(each)} for each in recipe.names()]
    if as_json:
        print(json.dumps(rows, indent=2))
        return
    from rich.console import Console
    from rich.table import Table

    table = Table(box=None, padding=(0, 2, 0, 0))
    for column in rows[0]:
        table.add_column(column, justify="left" if column in ("recipe", "data", "optimizer") else "right", no_wrap=True)
    for row in rows:
        table.add_row(*(str(value) for value in row.values()))
    Console().print(table, highlight=False)


def _facts(name: str) -> dict[str, object]:
    from thinresnet import recipe

    found = recipe.load(name)
    return {
        "data": found.dataset or "folders",
        "epochs": found.total_epochs,
        "optimizer": found.opt,
        "batch": found.batch_size,
        "resolution": found.img_size or "network's",
    }
