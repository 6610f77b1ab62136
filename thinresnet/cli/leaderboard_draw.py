"""`thinresnet leaderboard page | figure`: the board as a page, and as a figure for a paper."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from thinresnet.cli.leaderboard_output import (
    AgainstOption,
    BoardOption,
    RecipesOption,
    ResolutionOption,
    cells_asked,
    read,
)
from thinresnet.cli.terminal import status
from thinresnet.errors import InputError
from thinresnet.files import write_atomically

app = typer.Typer()


@app.command()
def page(
    output: Annotated[Path, typer.Option("--output", "-o", help="The HTML file to write.")] = Path("leaderboard.html"),
    board: BoardOption = None,
) -> None:
    """Write the board as one HTML file: chart, table and headline, from disk or as a static site, without a network.

    Example: thinresnet leaderboard page --output site/index.html
    """
    from thinresnet.leaderboard.page import page as render

    entries, papers = read(board)
    with status("judging every row"):
        text = render(entries, papers)
    write_atomically(output, text)
    print(f"{output}: {len(entries)} rows, {len(text.encode()) / 1e6:.1f} MB")


@app.command()
def figure(
    output: Annotated[Path, typer.Option("--output", "-o", help="The file to write: .pdf, .svg or .png.")],
    arch: Annotated[
        list[str] | None, typer.Option(help="Architecture: resnet50 if not given; several times for panels.")
    ] = None,
    dataset: Annotated[str, typer.Option(help="Dataset.")] = "imagenet",
    labels: Annotated[
        bool, typer.Option("--labels", help="Name published results too, the best first, where there is room.")
    ] = False,
    mine: Annotated[
        list[str] | None, typer.Option(help="A result of yours, NAME:TOP1@COST; may be given several times.")
    ] = None,
    cost: Annotated[str, typer.Option(help="Horizontal axis: macs, params or ratio.")] = "macs",
    linear: Annotated[bool, typer.Option("--linear", help="A linear axis instead of a logarithmic one.")] = False,
    against: AgainstOption = "",
    recipes: RecipesOption = "any",
    resolution: ResolutionOption = "any",
    data: Annotated[Path | None, typer.Option("--csv", help="Also write the data behind the figure as CSV.")] = None,
    board: BoardOption = None,
) -> None:
    """Draw the figure for a paper: the bar, the published results and yours; prints a caption with every assumption.

    Example: thinresnet leaderboard figure --arch resnet50 --mine 'Ours:76.0@2.05G' --output fig.pdf
    """
    from thinresnet.leaderboard.figure import figure as draw
    from thinresnet.leaderboard.panels import Panels

    under = cells_asked(against, recipes, resolution, "")[0]
    archs = arch or ["resnet50"]
    if mine and len(archs) > 1:
        raise InputError("--mine: a result is of one network, and --arch names several; give one")
    entries = read(board)[0]
    figures = [
        draw(
            entries, arch=one, dataset=dataset, mine=mine or [], cost=cost, log=not linear, labels=labels,
            references=under.references if against else "", recipes=under.recipes, resolution=under.resolution,
        )
        for one in archs
    ]  # fmt: skip
    drawing = figures[0] if len(figures) == 1 else Panels(figures)
    with status("drawing"):
        drawing.save(output)
    if data is not None:
        write_atomically(data, drawing.csv)
    print(drawing.caption)
