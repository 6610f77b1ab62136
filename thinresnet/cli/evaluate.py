"""`thinresnet import` and `evaluate`: other people's weights as run folders, and any weights on test images."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from thinresnet import base_width, public_weights
from thinresnet.budget import short
from thinresnet.cli.idle import refuse_folder_of_digits, refuse_idle
from thinresnet.cli.terminal import JsonFlag, note, print_json, print_table, progress, say, status
from thinresnet.errors import InputError
from thinresnet.runs import EVALUATION_FILE, WEIGHTS_SUFFIXES

if TYPE_CHECKING:
    from thinresnet.evaluation import Evaluation
    from thinresnet.training.evaluation import Subject, TestImages
    from thinresnet.training.importing import Opened

Arch = Annotated[
    str | None,
    typer.Option(help="What the weights are of: thinresnet20-w11, or an architecture whose counts are read off."),
]
ArchKwargs = Annotated[
    list[str] | None, typer.Option("--model-kwargs", metavar="KEY=VALUE", help="Keyword arguments of the architecture.")
]
Dataset = Annotated[str | None, typer.Option(help="What they were trained on: cifar10, cifar100, imagenet, or a name.")]
Key = Annotated[str | None, typer.Option(help="Key of the checkpoint that holds the state dict, such as model_ema.")]
Mean = Annotated[str | None, typer.Option(metavar="R,G,B", help="Mean of each colour, of images from 0 to 1.")]
Std = Annotated[str | None, typer.Option(metavar="R,G,B", help="Standard deviation of each colour.")]
Resize = Annotated[int | None, typer.Option(help="Shorter side after resizing, pixels; 0: not resized.")]
Crop = Annotated[int | None, typer.Option(help="Side of the centre crop, pixels; 0: not cropped.")]
Interpolation = Annotated[str | None, typer.Option(help="bilinear or bicubic.")]
ResizeOn = Annotated[
    str | None, typer.Option("--resize-on", help="Resize the 8-bit image, or the float tensor: image or tensor.")
]
Yes = Annotated[bool, typer.Option("--yes", "-y", help="Accept names that were mapped by order and shape.")]

_MOST_CLASSES_SHOWN = 20

app = typer.Typer()


@app.command("import")
def import_verb(
    source: Annotated[
        str, typer.Argument(metavar="FILE|URL", help="A state dict, a checkpoint with one, safetensors.")
    ],
    arch: Arch = None,
    model_kwargs: ArchKwargs = None,
    dataset: Dataset = None,
    num_classes: Annotated[int | None, typer.Option(help="Classes that the weights must have.")] = None,
    key: Key = None,
    licence: Annotated[str, typer.Option(help="Licence of the weights, to be kept with them.")] = "",
    mean: Mean = None,
    std: Std = None,
    resize: Resize = None,
    crop: Crop = None,
    interpolation: Interpolation = None,
    resize_on: ResizeOn = None,
    yes: Yes = False,
    trust: Annotated[
        bool, typer.Option("--trust", help="Unpickle a whole pickled model: RUNS ANY CODE that the file names.")
    ] = False,
    output: Annotated[Path | None, typer.Option("--output", "-o", help="The run folder. Default: runs/FILE.")] = None,
    as_json: JsonFlag = False,
) -> None:
    """Make foreign weights a run folder: read without unpickling, mapped layer by layer.

    Example: thinresnet import resnet20_width11_cifar10_ema.pt --arch thinresnet20-w11 --dataset cifar10
    """
    from thinresnet.training.importing import Wanted, name_of, open_weights, write

    prepared = preprocessing_given(mean, std, resize, crop, interpolation, resize_on)
    wanted = Wanted(arch, _kwargs(model_kwargs), dataset, num_classes, None, key, trust, licence, prepared)
    with progress("reading weights") as show:
        opened = open_weights(source, wanted, progress=show)
    _accept(opened, source, yes=yes)
    folder = output or Path("runs") / name_of(source)
    imported = write(opened, folder)
    if as_json:
        import json

        print_json({"folder": str(folder), **json.loads(imported.to_json())})
        return
    origin = imported.origin
    say(f"[bold]{folder}[/bold]")
    known = " ".join(part for part in (origin.repository, origin.commit[:8], origin.licence) if part)
    say(
        f"  network        {imported.arch} {imported.shape}, {short(imported.macs)} MACs, "
        f"{short(imported.params)} parameters"
    )
    say(f"  trained on     {imported.dataset or 'not said'}, {imported.classes} classes")
    say(f"  mapped by      {origin.rule}")
    say(f"  preprocessing  {imported.preprocessing.in_words}")
    say(f"  from           {known or origin.url or origin.file}, sha256 {origin.sha256[:16]}")
    say(f"Evaluate it with: thinresnet evaluate {folder} --data-dir DATA")


@app.command("evaluate")
def evaluate_verb(
    context: typer.Context,
    what: Annotated[
        list[str], typer.Argument(metavar="RUN|FILE|NAME...", help="Run folders, weight files, or thinresnet20-w8.")
    ],
    data_dir: Annotated[str, typer.Option(help="Folder with the test images: CLASS/IMAGE, in test/ or val/.")] = "",
    dataset: Annotated[str, typer.Option(help="Instead of class folders: torch/cifar10, torch/cifar100, digits.")] = "",
    split: Annotated[str, typer.Option(help="Folder of the test images inside --data-dir.")] = "validation",
    arch: Arch = None,
    ema: Annotated[bool, typer.Option("--ema/--no-ema", help="The moving average of a run's weights.")] = False,
    classes: Annotated[
        str | None, typer.Option(help="Only these classes: names with commas, or `data`: those of the images.")
    ] = None,
    mean: Mean = None,
    std: Std = None,
    resize: Resize = None,
    crop: Crop = None,
    interpolation: Interpolation = None,
    resize_on: ResizeOn = None,
    batch_size: Annotated[int, typer.Option(min=1, max=10_000, help="Images in a batch.")] = 125,
    device: Annotated[str | None, typer.Option(help="cpu, cuda …; the GPU where there is one.")] = None,
    per_class: Annotated[bool, typer.Option("--per-class", help="Print the accuracy of every class.")] = False,
    confusion: Annotated[bool, typer.Option("--confusion", help="Print the confusion matrix.")] = False,
    yes: Yes = False,
    output: Annotated[
        Path | None,
        typer.Option("--output", "-o", help="Table, picture, and run folders of files. Default: evaluations."),
    ] = None,
    as_json: JsonFlag = False,
) -> None:
    """Measure networks on test images, each with its own preprocessing unless flags say another.

    Writes evaluation.json into each run folder (a training's own result stays as it is), and for several networks
    evaluations.csv and a picture of accuracy against MACs.

    Example: thinresnet evaluate runs/* --data-dir cifar10-jpeg
    """
    from thinresnet.training.evaluation import TestImages, evaluate
    from thinresnet.training.importing import write

    if not data_dir and not dataset:
        raise InputError("no images: give --data-dir DIR with test images in class folders, or --dataset torch/cifar10")
    _refuse_idle_flags(context, dataset, as_json=as_json)
    test = TestImages.open(data_dir, dataset, split)
    prepared = preprocessing_given(mean, std, resize, crop, interpolation, resize_on)
    home = output or Path("evaluations")
    with tempfile.TemporaryDirectory(prefix="thinresnet-") as staging, progress("reading images") as show:
        subjects, opened = _subjects(_chosen(what), test, arch, ema, prepared, yes, Path(staging), show)
        found = evaluate(
            subjects, test, classes=_classes(classes), batch_size=batch_size, device=device_given(device), progress=show
        )
    folders = []
    for subject, evaluation in zip(subjects, found, strict=True):
        folder = subject.folder
        if subject.name in opened:
            folder = home / subject.name
            write(opened[subject.name], folder)
        evaluation.write(folder)
        folders.append(folder)
    _report(found, folders, home if output or len(found) > 1 else None, per_class, confusion, as_json)


def _refuse_idle_flags(context: typer.Context, dataset: str, *, as_json: bool) -> None:
    if as_json:
        refuse_idle(context, "with --json", f"{EVALUATION_FILE} holds both", these=("per_class", "confusion"))
    if dataset:
        refuse_idle(context, "with --dataset", "its test images are one set", these=("split",))
    refuse_folder_of_digits(context, dataset)


def _chosen(what: list[str]) -> list[str]:
    """What is named, without files that a pattern such as DIR/* has taken along and that hold no weights."""
    if len(what) == 1:
        return what
    left = []
    for one in what:
        if Path(one).is_file() and not one.lower().endswith(WEIGHTS_SUFFIXES):
            note(f"{one}: passed over; weight files end in {', '.join(WEIGHTS_SUFFIXES)}")
        else:
            left.append(one)
    if not left:
        raise InputError(f"{what[0]}: not a weight file; those end in {', '.join(WEIGHTS_SUFFIXES)}")
    return left


def _subjects(
    what: list[str],
    test: TestImages,
    arch: str | None,
    ema: bool,
    prepared: dict[str, Any],
    yes: bool,
    staging: Path,
    show: Any,
) -> tuple[list[Subject], dict[str, Opened]]:
    """The networks that are named; those of files are imported into `staging` until they have been measured."""
    from thinresnet.training.evaluation import open_subject
    from thinresnet.training.importing import Wanted, name_of, open_weights, write

    subjects: list[Subject] = []
    opened: dict[str, Opened] = {}
    for one in what:
        show(f"reading {one}", 0, 0)
        if Path(one).is_dir():
            if arch is not None:
                raise InputError(f"--arch {arch}: it says what a file of weights is of; {one} says its network itself")
            subjects.append(open_subject(Path(one), ema=ema, preprocessing=prepared))
            continue
        if ema:
            raise InputError(f"--ema: {one} holds one state dict; --ema is for runs of this project")
        source = (
            one if Path(one).exists() or "://" in one or one.lower().endswith(WEIGHTS_SUFFIXES) else _public(one, test)
        )
        weights = open_weights(source, Wanted(arch=arch), progress=show)
        _accept(weights, one, yes=yes)
        name = name_of(source)
        if name in opened:
            raise InputError(f"{one}: another file given is called {name} too; evaluate them one after the other")
        write(weights, staging / name)
        opened[name] = weights
        subjects.append(open_subject(staging / name, preprocessing=prepared))
    return subjects, opened


def _public(name: str, test: TestImages) -> str:
    """The address of a network's public weights for the images' classes."""
    network = base_width.parse(name)
    count = len(test.class_names)
    by_classes = {number: dataset for dataset, number in public_weights.CLASSES.items()}
    known = {one.network for one in public_weights.every()}
    if network is None and name not in known:
        raise InputError(f"{name}: no run folder, no weight file, and no network whose public weights are known")
    dataset = "imagenet" if network is not None and not network.cifar else by_classes.get(count)
    url = public_weights.find(name, dataset).url
    assert url is not None, "what is found has an address"
    return url


def _accept(opened: Opened, source: str, *, yes: bool) -> None:
    """Names that no rule maps were paired by order and shape: a person has to look at that."""
    from thinresnet.networks.foreign import BY_ORDER

    if opened.adopted.rule != BY_ORDER or yes:
        return
    for theirs, ours in opened.adopted.names.items():
        note(f"  {theirs}  ->  {ours}  {tuple(opened.adopted.state[ours].shape)}")
    raise InputError(
        f"{source}: no rule knows these names, so they were paired by order and shape; look, then give --yes"
    )


def preprocessing_given(
    mean: str | None,
    std: str | None,
    resize: int | None,
    crop: int | None,
    interpolation: str | None,
    resize_on: str | None,
) -> dict[str, Any]:
    """What flags say of the preprocessing."""
    said: dict[str, Any] = {}
    for name, text in (("mean", mean), ("std", std)):
        if text is not None:
            said[name] = _numbers(name, text)
    for name, side in (("resize_px", resize), ("crop_px", crop)):
        if side is not None:
            said[name] = side or None
    words = {"interpolation": interpolation, "resized_on": resize_on}
    return {**said, **{name: word for name, word in words.items() if word is not None}}


def _numbers(name: str, text: str) -> tuple[float, ...]:
    try:
        found = tuple(float(part) for part in text.replace(",", " ").split())
    except ValueError:
        found = ()
    if len(found) != 3:
        raise InputError(f"--{name} {text!r:.60}: three numbers with commas, such as 0.485,0.456,0.406")
    return found


def _kwargs(pairs: list[str] | None) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for pair in pairs or []:
        key, equals, text = pair.partition("=")
        if not equals or not key.isidentifier():
            raise InputError(f"--model-kwargs {pair!r:.60}: takes key=value, such as shortcut=B")
        number = text.lstrip("-").isdigit()
        found[key] = int(text) if number else {"true": True, "false": False}.get(text.lower(), text)
    return found


def _classes(text: str | None) -> list[str] | str | None:
    from thinresnet.training.evaluation import DATA_CLASSES

    if text is None or text == DATA_CLASSES:
        return text
    names = [name.strip() for name in text.split(",") if name.strip()]
    if len(names) < 2:
        raise InputError(f"--classes {text!r:.60}: two or more names with commas, or `data`")
    return names


def device_given(name: str | None) -> Any:
    import torch

    if name is None:
        return None
    try:
        device = torch.device(name)
        torch.empty(0, device=device)
    except (RuntimeError, AssertionError) as error:
        raise InputError(f"--device {name}: {' '.join(str(error).split())[:120]}") from None
    return device


def _report(
    found: list[Evaluation], folders: list[Path], home: Path | None, per_class: bool, confusion: bool, as_json: bool
) -> None:
    from thinresnet.training.evaluation_table import draw, imported_of, row, write_table

    rows = [row(one, imported_of(folder)) for one, folder in zip(found, folders, strict=True)]
    written = []
    if home is not None:
        with status("drawing"):
            written = [write_table(rows, home), *draw(rows, home)]
    if as_json:
        files = {
            "evaluations": [str(folder / EVALUATION_FILE) for folder in folders],
            "written": list(map(str, written)),
        }
        print_json({**files, "rows": rows})
        return
    columns = ("network", "shape", "MACs", "params", "top-1", "95 % interval", "top-5", "printed", "images/s")
    table = [
        (
            one["name"], one["shape"], short(int(one["macs"])), short(int(one["params"])), one["top1"],
            f"{one['top1_low95']} to {one['top1_high95']}", one["top5"], one["printed_top1"], one["images_per_second"],
        )
        for one in rows
    ]  # fmt: skip
    first = found[0]
    among = f", predictions among {len(first.classes)} of {first.outputs} classes" if first.restricted else ""
    print_table(columns, table, title=f"{first.dataset}: {first.images:,} test images{among}", left=2)
    for one in found:
        _print_classes(one, per_class=per_class, confusion=confusion)
    for path in [*written, *(folder / EVALUATION_FILE for folder in folders[: 1 if len(folders) == 1 else 0])]:
        say(str(path))


def _print_classes(one: Evaluation, *, per_class: bool, confusion: bool) -> None:
    if per_class:
        cells = [(name, "" if top1 is None else f"{top1:.2f}") for name, top1 in one.top1_by_class.items()]
        print_table(("class", "top-1"), cells, title=one.name)
    if confusion:
        if len(one.classes) > _MOST_CLASSES_SHOWN:
            say(f"{one.name}: the confusion of {len(one.classes)} classes stands in {EVALUATION_FILE}")
            return
        rows = [(name, *row) for name, row in zip(one.classes, one.confusion, strict=True)]
        print_table(("class \\ prediction", *one.classes), rows, title=one.name)
