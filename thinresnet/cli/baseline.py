"""`thinresnet baseline list | show | cite`: ThinResNet, the baseline to train, compare with and cite."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from thinresnet.budget import short
from thinresnet.cli.terminal import JsonFlag, print_json, print_table, say
from thinresnet.errors import InputError

if TYPE_CHECKING:
    from thinresnet.studies.baseline import Baseline

Pattern = Annotated[str, typer.Argument(metavar="[NAME]", help="A name, or several: 'imagenet-resnet50*'.")]


app = typer.Typer(
    name="baseline",
    help="ThinResNet, frozen: exact networks and recipes to train, compare and cite.",
    no_args_is_help=True,
)


@app.command("list")
def list_verb(pattern: Pattern = "*", as_json: JsonFlag = False) -> None:
    """List the networks of ThinResNet with what they cost.

    Example: thinresnet baseline list 'imagenet-resnet50*'
    """
    from thinresnet.studies.baseline import baselines

    found = baselines(pattern)
    if as_json:
        print_json([_record(baseline) for baseline in found])
        return
    rows = []
    for one in found:
        widths = one.network.channels.values()
        shares = (f"{one.test_macs / one.dense_macs:.1%}", f"{one.params / one.dense_params:.1%}")
        cost = (short(one.test_macs), shares[0], short(one.params), shares[1])
        rows.append((one.name, *cost, f"{min(widths)} to {max(widths)}"))
    print_table(("name", "MACs", "of dense", "params", "of dense", "widths"), rows)


@app.command("show")
def show_verb(
    name: Annotated[str, typer.Argument(help="A name of `thinresnet baseline list`.")],
    output: Annotated[
        Path | None, typer.Option("--output", "-o", help="Write the network's JSON here, for train.py --network.")
    ] = None,
    as_json: JsonFlag = False,
) -> None:
    """Show a baseline: its network, cost, training cost, the command that trains it, and its result if there is one.

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
        print_json([_record(one, whole=True) for one in found])
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
    rounding = f"multiples of {one.round_to}" if one.round_to > 1 else "not rounded"
    say(f"[bold]{one.name}[/bold]  ThinResNet v{one.set.version}, channels {rounding}")
    cost = f"{short(one.test_macs)} MACs ({one.test_macs / one.dense_macs:.2%} of dense, at most {one.budget})"
    say(f"  cost      {cost}, {short(one.params)} parameters ({one.params / one.dense_params:.2%})")
    say(f"  channels  {_in_short(one.network.channels.values())}")
    say(f"  network   thinresnet baseline show {one.name} --output {one.name}.json")
    for name in one.set.recipes:
        under = _under(one, name)
        macs = f"{under['training_macs']:.3g}".replace("e+", "e")
        result = under["result"]["says"] if under["result"] else "not measured yet"
        say(f"\n  [bold]{name}[/bold]  {under['epochs']} epochs in batches of {under['batch_size']:,}")
        say(f"  training  {macs} MACs: 3 x forward x {one.set.images:,} images x epochs")
        say(f"  command   {under['command']}")
        say(f"  result    {result}")


def _in_short(counts: Any) -> str:
    """`16 x 3, 8, 12 x 2`: equal neighbours told once."""
    from itertools import groupby

    runs = [(count, len(list(same))) for count, same in groupby(counts)]
    return ", ".join(f"{count} x {times}" if times > 1 else str(count) for count, times in runs)
