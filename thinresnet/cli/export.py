"""`thinresnet export`: a run's network for other runtimes."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from thinresnet.cli.terminal import JsonFlag, print_json, say, status

app = typer.Typer()


@app.command("export")
def export_verb(
    run: Annotated[Path, typer.Argument(metavar="RUN", help="A run folder, trained here or imported.")],
    to: Annotated[str, typer.Option(help="onnx, torchscript or torch-export.")],
    output: Annotated[Path, typer.Option("--output", "-o", metavar="FILE", help="The file to write.")],
    ema: Annotated[bool, typer.Option("--ema/--no-ema", help="The moving average of a run's weights.")] = False,
    tolerance: Annotated[
        float, typer.Option(min=0.0, help="Largest difference allowed between the file's outputs and the network's.")
    ] = 1e-4,
    as_json: JsonFlag = False,
) -> None:
    """Export a run's network as ONNX, TorchScript or torch.export, checked against the network's own outputs.

    The batch size is free; how images are prepared and the classes' names travel inside the file.

    Example: thinresnet export runs/resnet20_cifar-w0.5-cifar10-s42-3f9a1c --to onnx --output network.onnx
    """
    from thinresnet.files import write_atomically
    from thinresnet.networks.export import METADATA_KEY, export
    from thinresnet.training.evaluation import open_subject

    with status(f"reading {run}"):
        subject = open_subject(run, ema=ema)
    network, how = subject.network, subject.preprocessing
    side = how.crop_px
    size = (network.input_size[0], side or network.input_size[1], side or network.input_size[2])
    metadata = {
        "arch": network.arch,
        "network_sha256": network.sha256,
        "weights_sha256": subject.weights_sha256,
        "input_size": list(size),
        "preprocessing": how.to_json(),
        "classes": None if subject.class_names is None else list(subject.class_names),
    }
    with status(f"exporting to {to}, and running what comes out"):
        made = export(subject.model, size, to, metadata=metadata, tolerance=tolerance)
    write_atomically(output, made.content)
    if as_json:
        record = {"file": str(output), "format": to, "bytes": len(made.content)}
        print_json({**record, "max_abs_difference": made.difference, "tolerance": tolerance, **metadata})
        return
    say(f"[bold]{output}[/bold]  {to}, {len(made.content):,} bytes, any batch of {size[0]}x{size[1]}x{size[2]}")
    say(f"  checked        largest difference from the network's outputs {made.difference:.2g} (at most {tolerance:g})")
    say(f"  preprocessing  {how.in_words} (inside the file: {METADATA_KEY})")
