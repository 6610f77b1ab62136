"""`thinresnet crop`."""

from __future__ import annotations

import json
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from thinresnet.budget import parse_budgets, short
from thinresnet.errors import InputError

if TYPE_CHECKING:
    from thinresnet.pruning.parent import Parent


app = typer.Typer()


@app.command("crop")
def crop_verb(
    criterion: Annotated[str, typer.Argument(metavar="[CRITERION]", help="What allots densities: see --list.")] = "",
    what: Annotated[
        str, typer.Argument(metavar="[ARCH|FILE]", help="An architecture, a network.json or a run folder.")
    ] = "",
    macs: Annotated[str | None, typer.Option(help="At most this many MACs: 2.05G, or a share: 50%.")] = None,
    params: Annotated[str | None, typer.Option(help="At most this many parameters: 12M or 50%.")] = None,
    preconfig: Annotated[bool, typer.Option("--preconfig", help="Layers may also grow.")] = False,
    settings: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="NAME=VALUE", help="A setting of the criterion; see --list CRITERION."),
    ] = None,
    input_px: Annotated[int | None, typer.Option("--input", help="Side of an architecture's input in pixels.")] = None,
    num_classes: Annotated[int | None, typer.Option(help="Number of an architecture's classes.")] = None,
    recipe: Annotated[str | None, typer.Option(help="How images are read, for criteria that need them.")] = None,
    data_dir: Annotated[Path | None, typer.Option(help="The images.")] = None,
    seed: Annotated[int | None, typer.Option(help="Of the weights that are scored; default: the recipe's.")] = None,
    output: Annotated[Path | None, typer.Option("--output", "-o", help="Folder to write to.")] = None,
    list_criteria: Annotated[bool, typer.Option("--list", help="Say what each criterion does and needs.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON for machines.")] = False,
) -> None:
    """Allot channels before training: from layer-wise densities at initialisation to a network within a budget.

    Example: thinresnet crop synexp resnet50 --macs 50% --output crops/resnet50-synexp
    """
    if list_criteria:
        _list(criterion, as_json)
        return
    if not criterion or not what:
        raise InputError("crop: say a criterion and a network: thinresnet crop synexp resnet50 --macs 50% (--list)")
    from thinresnet.cli.prune import setting, shown
    from thinresnet.pruning.initialisation import criterion as criterion_of
    from thinresnet.pruning.initialisation import crop
    from thinresnet.pruning.initialisation.folder import record, write
    from thinresnet.recipe import Recipe
    from thinresnet.training.processes import start_accelerator

    chosen = criterion_of(criterion, dict(setting(text) for text in settings or []))
    budgets = parse_budgets({"macs": macs, "params": params})
    parent = _parent(what, recipe, data_dir, input_px, num_classes)
    seed = parent.seed if seed is None else seed
    device = start_accelerator(parent.recipe or Recipe()).device
    looks = "data" in chosen.needs
    with parent.data(device, needed=True) if looks else nullcontext() as data, shown() as progress:
        # Scored is the network as it is drawn: weights that a run has learnt are not read.
        model = replace(parent, weights=None).model(seed, device) if "weights" in chosen.needs else None
        cropped = crop(
            chosen,
            parent.network,
            budgets,
            model=model,
            grow=preconfig,
            data=data,
            seed=seed,
            progress=progress,
        )
        found = record(chosen, cropped, seed=seed, grow=preconfig, dataset=data.name if data else None)
    if output is not None:
        write(output, cropped, found)
    if as_json:
        print(json.dumps({**found, "network": json.loads(cropped.network.to_json())}, indent=1))
        return
    _report(found, output)


def _parent(
    what: str, recipe: str | None, data_dir: Path | None, input_px: int | None, num_classes: int | None
) -> Parent:
    """The network, and the recipe and images that come with it or that flags name."""
    from thinresnet.networks.blueprint import default_input_size
    from thinresnet.networks.describe import describe
    from thinresnet.pruning.parent import read_parent

    described = Path(what) / "network.json"
    if described.is_file() and not (Path(what) / "recipe.yaml").is_file():  # no run: a network without weights
        what = str(described)
    parent = read_parent(what, recipe=recipe, data_dir=data_dir)
    if input_px is None and num_classes is None:
        return parent
    if Path(what).exists():
        raise InputError(f"--input, --num-classes: {what} says both itself; they are for architectures")
    size = None if input_px is None else (default_input_size(what)[0], input_px, input_px)
    kwargs: dict[str, Any] = {} if num_classes is None else {"num_classes": num_classes}
    return replace(parent, network=describe(what, input_size=size, **kwargs))


def _list(name: str, as_json: bool) -> None:
    """All criteria, or one with its settings."""
    from thinresnet.pruning.initialisation import criteria, criterion
    from thinresnet.pruning.initialisation.registry import facts

    found = [facts(criteria()[name]) for name in ([criterion(name).name] if name else criteria())]
    if as_json:
        print(json.dumps(found, indent=1))
        return
    from rich.console import Console

    console = Console(highlight=False)
    for one in found:
        console.print(f"[bold]{one['criterion']}[/bold]  {one['does']}")
        needs = " and ".join(one["needs"]) or "shapes only"
        console.print(f"    needs {needs}{'; layers may grow (--preconfig)' if one['preconfig'] else ''}", style="dim")
        if one["reconstruction"]:
            console.print(f"    reconstruction, {one['reconstruction']}", style="dim")
        if name:
            console.print(f"    {one['paper']}")
            for key, default in one["settings"].items():
                console.print(f"    --set {key}={default}")
    if not name:
        console.print("\nThe settings of one of them: thinresnet crop CRITERION --list")


def _report(found: dict[str, Any], output: Path | None) -> None:
    """What came out, in a few lines."""
    from rich.console import Console
    from rich.table import Table

    console = Console(highlight=False)
    table = Table("", "before", "after", "of dense", title=f"{found['arch']} cropped by {found['criterion']}")
    for name, key in (("MACs", "macs"), ("parameters", "params")):
        share = f"{found[key] / found[f'dense_{key}']:.2%}"
        table.add_row(name, short(found[f"parent_{key}"]), short(found[key]), share)
    densities = sorted((one["cropped"], name) for name, one in found["layers"].items())
    table.add_row("sparsest layer", "", f"{densities[0][0]:.2%}", densities[0][1])
    table.add_row("densest layer", "", f"{densities[-1][0]:.2%}", densities[-1][1])
    console.print(table)
    if found["reconstruction"]:
        console.print(f"Reconstruction, {found['reconstruction']}.", soft_wrap=True)
    if output is None:
        console.print(
            "Nothing was written: give --output FOLDER for the network, its densities and a picture.", soft_wrap=True
        )
        return
    console.print(f"Written to {output}; train it with: accelerate launch train.py --network {output}", soft_wrap=True)
