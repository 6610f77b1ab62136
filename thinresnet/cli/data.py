"""The verbs `thinresnet data write` and `thinresnet data info`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Optional

import typer

from thinresnet.cli.idle import refuse_folder_of_digits, refuse_idle
from thinresnet.cli.terminal import JsonFlag, print_json, print_written, progress

_FOLDER = typer.Option("--data-dir", help="Folder of the dataset.", metavar="DIR")
_DATASET = typer.Option(
    "--dataset", help="digits, torch/cifar10, torch/cifar100, hfds/NAME, wds/; folders, tar or .beton if not given."
)
_OUTPUT = typer.Option(
    "--output", "-o", help="Folder for train.beton and val.beton; the cache if not given.", metavar="DIR"
)
_MODE = typer.Option("--mode", help="raw (pixels), jpg (JPEG files as they are), proportion (some each), or auto.")
_RESOLUTION = typer.Option("--max-resolution", help="Make images smaller whose longer side is longer, pixels.")
_QUALITY = typer.Option("--jpeg-quality", help="Of images that are compressed anew, 1 to 100.")
_PROBABILITY = typer.Option("--compress-probability", help="Share of images stored as JPEG, with --mode proportion.")

app = typer.Typer(name="data", no_args_is_help=True, help="Look at a dataset; write it as .beton files for FFCV.")


@app.command()
def write(
    data_dir: Annotated[Optional[Path], _FOLDER] = None,  # noqa: UP045  # typer reads these on Python 3.10 too
    dataset: Annotated[str, _DATASET] = "",
    output: Annotated[Optional[Path], _OUTPUT] = None,  # noqa: UP045
    mode: Annotated[str, _MODE] = "auto",
    max_resolution: Annotated[Optional[int], _RESOLUTION] = None,  # noqa: UP045
    jpeg_quality: Annotated[int, _QUALITY] = 90,
    compress_probability: Annotated[float, _PROBABILITY] = 0.5,
    train_split: Annotated[str, typer.Option(help="As of train.")] = "train",
    val_split: Annotated[str, typer.Option(help="As of train.")] = "validation",
    as_json: JsonFlag = False,
) -> None:
    """Write the .beton files of a dataset, which the beton and ffcv loaders would otherwise write on first use.

    Example: thinresnet data write --data-dir imagenet --output imagenet-500 --mode proportion --max-resolution 500
    """
    from thinresnet.recipe import Recipe
    from thinresnet.training.data.beton_writing import Encoding
    from thinresnet.training.data.info import write_betons

    recipe = Recipe(
        data_dir=str(data_dir) if data_dir else None, dataset=dataset, train_split=train_split, val_split=val_split
    )
    encoding = Encoding(mode, max_resolution, jpeg_quality, compress_probability)
    with progress("looking at images") as shown:
        written = write_betons(recipe, encoding=encoding, output=output, progress=shown)
    print_written(written, as_json=as_json)


@app.command()
def info(
    context: typer.Context,
    file: Annotated[Optional[Path], typer.Argument(help="A .beton file.", metavar="[FILE]")] = None,  # noqa: UP045
    data_dir: Annotated[Optional[Path], _FOLDER] = None,  # noqa: UP045  # typer reads these on Python 3.10 too
    dataset: Annotated[str, _DATASET] = "",
    check: Annotated[bool, typer.Option("--check", help="Decode every image, and name those that are broken.")] = False,
    as_json: JsonFlag = False,
) -> None:
    """Say what a dataset or a .beton file holds: classes, images, sizes, broken files.

    Example: thinresnet data info --data-dir imagenette --check
    """
    from thinresnet.recipe import Recipe
    from thinresnet.training.data.info import describe, describe_beton

    if file is not None:
        refuse_idle(context, f"with {file}", "a .beton file is read alone", these=("data_dir", "dataset", "check"))
        found = describe_beton(file)
    else:
        refuse_folder_of_digits(context, dataset)
        recipe = Recipe(data_dir=str(data_dir) if data_dir else None, dataset=dataset)
        with progress("looking at images") as shown:
            found = describe(recipe, check=check, progress=shown)
    if as_json:
        print_json(found)
        return
    _print(found)


def _print(found: dict[str, Any], indent: str = "") -> None:
    for name, value in found.items():
        if isinstance(value, dict) and name != "sizes":
            print(f"{indent}{name}")
            _print(value, indent + "  ")
        else:
            print(f"{indent}{name.replace('_', ' ')}: {_text(name, value, indent)}")


def _text(name: str, value: Any, indent: str) -> str:
    if name == "sizes":
        return ", ".join(f"{size} ({count:,})" for size, count in value.items())
    if isinstance(value, list):
        return "".join(f"\n{indent}  {line}" for line in value) or "none"
    return str(value)
