"""`thinresnet predict`: the most likely classes of images."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from thinresnet.cli.evaluate import (
    Crop,
    Interpolation,
    Mean,
    Resize,
    ResizeOn,
    Std,
    device_given,
    preprocessing_given,
)
from thinresnet.cli.terminal import JsonFlag, note, print_json, print_table, progress, status
from thinresnet.errors import InputError

if TYPE_CHECKING:
    from thinresnet.training.predicting import Prediction

app = typer.Typer()


@app.command("predict")
def predict_verb(
    run: Annotated[Path, typer.Argument(metavar="RUN", help="A run folder, trained here or imported.")],
    images: Annotated[list[Path], typer.Argument(metavar="IMAGE...", help="Image files, and folders of them.")],
    top: Annotated[int, typer.Option(min=1, max=1000, help="Classes an image, the likeliest first.")] = 5,
    ema: Annotated[bool, typer.Option("--ema/--no-ema", help="The moving average of a run's weights.")] = False,
    mean: Mean = None,
    std: Std = None,
    resize: Resize = None,
    crop: Crop = None,
    interpolation: Interpolation = None,
    resize_on: ResizeOn = None,
    batch_size: Annotated[int, typer.Option(min=1, max=10_000, help="Images in a batch.")] = 64,
    device: Annotated[str | None, typer.Option(help="cpu, cuda …; the GPU where there is one.")] = None,
    as_json: JsonFlag = False,
) -> None:
    """Predict the classes of images with a run's network and its own preprocessing.

    Example: thinresnet predict runs/resnet20_cifar-w0.5-cifar10-s42-3f9a1c cat.png photos/ --top 3
    """
    from thinresnet.training.evaluation import open_subject
    from thinresnet.training.predicting import images_of, predict

    prepared = preprocessing_given(mean, std, resize, crop, interpolation, resize_on)
    files = images_of(images)
    with status(f"reading {run}"):
        subject = open_subject(run, ema=ema, preprocessing=prepared)
    how = subject.preprocessing
    if how.resize_px is None and (interpolation or resize_on):
        raise InputError("--interpolation, --resize-on: no effect on images that are not resized; give --resize PX too")
    note(f"images are prepared by: {how.in_words}")
    with progress("predicting") as show:
        found = list(
            predict(
                subject, files, top=top, batch_size=batch_size, device=device_given(device), progress=show
            )
        )  # fmt: skip
    if as_json:
        print_json([_record(one) for one in found])
        return
    _print(found)


def _record(one: Prediction) -> dict[str, object]:
    guesses = [
        {"class": guess.name, "description": guess.description, "index": guess.index, "probability": guess.probability}
        for guess in one.guesses
    ]
    return {"image": str(one.image), "classes": guesses}


def _print(found: list[Prediction]) -> None:
    from rich.markup import escape

    rows = [
        (
            escape(str(one.image)) if place == 0 else "",
            escape(guess.name if guess.description == guess.name else f"{guess.name} {guess.description}"),
            f"{100 * guess.probability:.2f} %",
        )
        for one in found
        for place, guess in enumerate(one.guesses)
    ]
    print_table(("image", "class", "probability"), rows, left=2)
