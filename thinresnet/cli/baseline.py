"""`thinresnet baseline list | show | cite`: ThinResNet, the baseline to train, compare with and cite."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from thinresnet.budget import short
from thinresnet.errors import InputError

if TYPE_CHECKING:
    from thinresnet.studies.baseline import Baseline

Pattern = Annotated[str, typer.Argument(metavar="[NAME]", help="A name, or several: 'imagenet-resnet50*'.")]
Json = Annotated[bool, typer.Option("--json", help="Print JSON for machines.")]


app = typer.Typer(
    name="baseline",
    help="ThinResNet, frozen: exact networks and recipes to train, compare and cite.",
    no_args_is_help=True,
)


@app.command("list")
def list_verb(pattern: Pattern = "*", as_json: Json = False) -> None:
    """List the networks of ThinResNet with what they cost.

    Example: thinresnet baseline list 'imagenet-resnet50*'
    """
    from thinresnet.studies.baseline import baselines

    found = baselines(pattern)
    if as_json:
        print(json.dumps([_record(baseline) for baseline in found], indent=1))
        return
    from rich.console import Console
    from rich.table import Table

    table = Table(box=None, padding=(0, 2, 0, 0))
    table.add_column("name", no_wrap=True)
    for column in ("MACs", "of dense", "params", "of dense", "widths"):
        table.add_column(column, justify="right", no_wrap=True)
    for one in found:
        widths = one.network.channels.values()
        shares = (f"{one.test_macs / one.dense_macs:.1%}", f"{one.params / one.dense_params:.1%}")
        cost = (short(one.test_macs), shares[0], short(one.params), shares[1])
        table.add_row(one.name, *cost, f"{min(widths)} to {max(widths)}")
    Console().print(table, highlight=False)


@app.command("show")
def show_verb(
    name: Annotated[str, typer.Argument(help="A name of `thinresnet baseline list`.")],
    output: Annotated[
        Path | None, typer.Option("--output", "-o", help="Write the network's JSON here, for train.py --network.")
    ] = None,
    as_json: Json = False,
) -> None:
    """Show a baseline: its network, cost, training bill, the command that trains it, and its result if there is one.

    Example: thinresnet baseline show imagenet-resnet50-50-r8 --output imagenet-resnet50-50-r8.json
    """
    from thinresnet.files import write_atomically
    from thinresnet.studies.baseline import baselines

    found = baselines(name)
    if output is not None:
        if len(found) > 1:
            raise InputError(f"--output {output}: {name} are {len(found)} networks; name the one to write")
        write_atomically(output, found[0].network.to_json())
    if as_json:
        print(json.dumps([_record(one, whole=True) for one in found], indent=1))
        return
    for one in found:
        _print_whole(one)


@app.command("cite")
def cite_verb(
    names: Annotated[list[str] | None, typer.Argument(help="Names of baselines; none: ThinResNet itself.")] = None,
) -> None:
    """Print BibTeX: of each baseline named, of the ThinResNet paper, and of this project.

    Example: thinresnet baseline cite imagenet-resnet50-50-r8
    """
    from thinresnet.leaderboard.cite import BASELINE, PROJECT
    from thinresnet.studies.baseline import baselines, bibtex

    own = [bibtex(one) for name in names or [] for one in baselines(name)]
    sys.stdout.write("\n".join([*own, BASELINE.bibtex, PROJECT.bibtex]))


def _record(one: Baseline, *, whole: bool = False) -> dict[str, Any]:
    record: dict[str, Any] = {
        "name": one.name,
        "version": one.set.version,
        "dataset": one.set.dataset,
        "arch": one.network.arch,
        "budget": one.budget,
        "round_to": one.round_to,
        "macs": one.test_macs,
        "params": one.params,
        "dense_macs": one.dense_macs,
        "dense_params": one.dense_params,
        "recipes": list(one.set.recipes),
    }
    if not whole:
        return record
    return {
        **record,
        "network": json.loads(one.network.to_json()),
        "network_sha256": one.network.sha256,
        "recipes": {name: _under(one, name) for name in one.set.recipes},
    }


def _under(one: Baseline, recipe_name: str) -> dict[str, Any]:
    """A baseline under one of its recipes."""
    from dataclasses import asdict

    from thinresnet.studies.baseline import measured

    recipe = one.recipe(recipe_name)
    result = measured(one, recipe_name)
    return {
        "recipe_hash": recipe.hash,
        "epochs": recipe.total_epochs,
        "batch_size": recipe.lr_base_size,
        "training_macs": one.training_macs(recipe),
        "command": one.command(recipe_name),
        "result": None if result is None else {**asdict(result), "says": result.says},
    }


def _print_whole(one: Baseline) -> None:
    from rich.console import Console

    console = Console(highlight=False)
    rounding = f"multiples of {one.round_to}" if one.round_to > 1 else "not rounded"
    console.print(f"[bold]{one.name}[/bold]  ThinResNet v{one.set.version}, channels {rounding}")
    cost = f"{short(one.test_macs)} MACs ({one.test_macs / one.dense_macs:.2%} of dense, at most {one.budget})"
    console.print(
        f"  cost      {cost}, {short(one.params)} parameters ({one.params / one.dense_params:.2%})", soft_wrap=True
    )
    console.print(f"  channels  {_in_short(one.network.channels.values())}", soft_wrap=True)
    console.print(f"  network   thinresnet baseline show {one.name} --output {one.name}.json", soft_wrap=True)
    for name in one.set.recipes:
        under = _under(one, name)
        bill = f"{under['training_macs']:.3g}".replace("e+", "e")
        result = under["result"]["says"] if under["result"] else "not measured yet"
        console.print(f"\n  [bold]{name}[/bold]  {under['epochs']} epochs in batches of {under['batch_size']:,}")
        console.print(f"  bill      {bill} MACs: 3 x forward x {one.set.images:,} images x epochs")
        console.print(f"  train     {under['command']}", soft_wrap=True)
        console.print(f"  result    {result}", soft_wrap=True)


def _in_short(counts: Any) -> str:
    """`16 x 3, 8, 12 x 2`: equal neighbours told once."""
    from itertools import groupby

    runs = [(count, len(list(same))) for count, same in groupby(counts)]
    return ", ".join(f"{count} x {times}" if times > 1 else str(count) for count, times in runs)
