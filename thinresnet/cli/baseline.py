"""`thinresnet baseline list | show | run | cite | page`: the baseline's two members, to train, evaluate and cite.

`thinresnet` is the authors' own: base widths, their recipe, their weights. `exact` is this project's: networks within
exact budgets under named recipes.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from thinresnet import public_weights
from thinresnet.budget import short
from thinresnet.cli.leaderboard_output import BoardOption, read_rows
from thinresnet.cli.terminal import JsonFlag, print_json, print_table, print_written, say
from thinresnet.errors import InputError

if TYPE_CHECKING:
    from thinresnet.authors import Member
    from thinresnet.baseline import Baseline

Pattern = Annotated[str, typer.Argument(metavar="[NAME]", help="A name, or several: 'imagenet-resnet50*'.")]


app = typer.Typer(
    name="baseline",
    help="The baseline: ThinResNet by its authors, and this project's exact-budget networks, frozen.",
    no_args_is_help=True,
)


@app.command("list")
def list_verb(pattern: Pattern = "*", as_json: JsonFlag = False) -> None:
    """List the networks of both members with what they cost.

    Example: thinresnet baseline list 'imagenet-*resnet50*'
    """
    theirs, found = _chosen(pattern)
    if as_json:
        print_json([*map(_record_of_theirs, theirs), *map(_record, found)])
        return
    rows: list[tuple[object, ...]] = []
    for member in theirs:
        (macs, params), (dense_macs, dense_params) = member.cost, member.dense_cost
        cost = (short(macs), f"{macs / dense_macs:.1%}", short(params), f"{params / dense_params:.1%}")
        rows.append((member.name, "thinresnet", *cost, f"base width {member.network.width}"))
    for one in found:
        widths = one.network.channels.values()
        shares = (f"{one.test_macs / one.dense_macs:.1%}", f"{one.params / one.dense_params:.1%}")
        cost = (short(one.test_macs), shares[0], short(one.params), shares[1])
        rows.append((one.name, "exact", *cost, f"{min(widths)} to {max(widths)}"))
    print_table(("name", "member", "MACs", "of dense", "params", "of dense", "widths"), rows, left=2)


@app.command("show")
def show_verb(
    name: Annotated[str, typer.Argument(help="A name of `thinresnet baseline list`.")],
    output: Annotated[
        Path | None, typer.Option("--output", "-o", help="Write the network's JSON here, for train --network.")
    ] = None,
    as_json: JsonFlag = False,
) -> None:
    """Show a baseline: its network, cost, training cost, the command that trains it, and its result if there is one.

    Example: thinresnet baseline show imagenet-resnet50-50-r8 --output imagenet-resnet50-50-r8.json
    """
    theirs, found = _chosen(name)
    if output is not None:
        _write(output, name, theirs, found)
    if as_json:
        print_json([*map(_record_of_theirs, theirs), *(_record(one, whole=True) for one in found)])
        return
    for member in theirs:
        _print_theirs(member)
    for one in found:
        _print_whole(one)


@app.command("run")
def run_verb(
    name: Annotated[str, typer.Argument(help="An exact-budget network of `thinresnet baseline list`.")],
    recipe: Annotated[str | None, typer.Option(help="One of its recipes; needed where it has several.")] = None,
    data_dir: Annotated[str | None, typer.Option(metavar="DATA", help="Where its dataset is.")] = None,
    seeds: Annotated[str, typer.Option(metavar="N,N…", help="Random seeds, trained one after the other.")] = "0,1,2",
    loader: Annotated[str, typer.Option(help="auto, memory, beton, ffcv or torch.")] = "auto",
    output: Annotated[Path, typer.Option("--output", "-o", help="Where the run folders are.")] = Path("runs"),
) -> None:
    """Train a frozen baseline as it is stated; the results are kept in baselines/results, where `show` finds them.

    The same command resumes. Random seeds whose results are kept there are not trained again.

    Example: thinresnet baseline run cifar10-resnet20_cifar-50-r8 --data-dir DATA
    """
    from thinresnet.cli.baseline_run import run

    raise typer.Exit(run(name, recipe, data_dir, seeds, loader, output))


@app.command("cite")
def cite_verb(
    names: Annotated[list[str] | None, typer.Argument(help="Names of baselines; none: ThinResNet's paper.")] = None,
) -> None:
    """Print BibTeX: of each exact-budget network named, of ThinResNet's paper and code, and of this project.

    Example: thinresnet baseline cite imagenet-resnet50-50-r8
    """
    from thinresnet.authors import CODE_BIBTEX
    from thinresnet.baseline import bibtex
    from thinresnet.leaderboard.cite import BASELINE, PROJECT

    chosen = [_chosen(name) for name in names or []]
    own = [bibtex(one) for _, found in chosen for one in found]
    code = [CODE_BIBTEX] if any(theirs for theirs, _ in chosen) else []
    sys.stdout.write("\n".join([*own, *code, BASELINE.bibtex, PROJECT.bibtex]))


@app.command("page")
def page_verb(
    output: Annotated[Path, typer.Option("--output", "-o", help="The page; its pictures stand beside it.")] = Path(
        "docs/thinresnet.md"
    ),
    check: Annotated[
        bool, typer.Option("--check", help="Write nothing; exit with 2 if something is not current.")
    ] = False,
    board: BoardOption = None,
) -> None:
    """Write what docs/thinresnet.md shows of ThinResNet: tables and pictures, from the board and its evaluations.

    Example: thinresnet baseline page
    """
    from thinresnet.leaderboard import authors, authors_page
    from thinresnet.leaderboard.boards import find_board

    found = authors.evidence(read_rows(board), find_board(board).path.parent)
    if not check:
        print_written(authors_page.write(found, output), as_json=False)
        return
    if old := authors_page.outdated(found, output):
        raise InputError(f"{', '.join(map(str, old))}: not current; write them with: thinresnet baseline page")
    say("the page and its pictures are current")


def _chosen(pattern: str) -> tuple[list[Member], list[Baseline]]:
    """The networks of both members whose names are like this; at least one."""
    from thinresnet.authors import members
    from thinresnet.baseline import baselines

    theirs = members(pattern)
    try:
        return theirs, baselines(pattern)
    except InputError:
        if theirs:
            return theirs, []
        raise


def _write(output: Path, name: str, theirs: list[Member], found: list[Baseline]) -> None:
    """The JSON of the one network that is named."""
    from thinresnet.files import write_atomically

    if len(theirs) + len(found) > 1:
        raise InputError(f"--output {output}: {name} are {len(theirs) + len(found)} networks; name the one to write")
    if found:
        write_atomically(output, found[0].network.to_json())
        return
    from thinresnet.networks import describe

    classes = public_weights.CLASSES[theirs[0].weights.dataset]
    write_atomically(output, describe(theirs[0].network.name, num_classes=classes).to_json())


def _record_of_theirs(member: Member) -> dict[str, Any]:
    from thinresnet.authors import measured
    from thinresnet.baseline import evidence_folder

    weights = member.weights
    results = measured(member, evidence_folder().parent)
    return {
        "name": member.name,
        "member": "thinresnet",
        "dataset": weights.dataset,
        "arch": member.network.arch,
        "base_width": member.network.width,
        "macs": member.cost[0],
        "params": member.cost[1],
        "dense_macs": member.dense_cost[0],
        "dense_params": member.dense_cost[1],
        "recipe": member.recipe,
        "training_macs": member.training_macs,
        "weights": weights.url,
        "licence": weights.licence,
        "printed_top1": weights.printed_top1,
        "locator": weights.locator,
        "measured": [
            {"dataset": one.dataset, "top1": one.top1, "images": one.images, "restricted": one.restricted}
            for one in results
        ],
    }


def _print_theirs(member: Member) -> None:
    record = _record_of_theirs(member)
    say(f"[bold]{member.name}[/bold]  ThinResNet, by its authors: base width {member.network.width}")
    (macs, params), (dense_macs, dense_params) = member.cost, member.dense_cost
    share = f"{macs / dense_macs:.2%} and {params / dense_params:.2%} of {member.network.arch}"
    say(f"  cost      {short(macs)} MACs, {short(params)} parameters ({share})")
    training = f"{record['training_macs']:.3g}".replace("e+", "e")
    say(f"  training  {member.recipe}: 750,000 updates, {training} MACs: 3 x forward x images")
    say(f"  weights   {record['weights']} ({record['licence']})")
    say(f"  measure   thinresnet evaluate {member.network.name} --data-dir DATA")
    printed = f"{record['printed_top1']} % ({record['locator']})" if record["printed_top1"] else "nothing"
    say(f"  printed   {printed}")
    among = {True: ", predictions restricted to its classes", False: ""}
    found = "; ".join(
        f"{one['top1']:.2f} % on {one['dataset']}{among[one['restricted']]}" for one in record["measured"]
    )
    say(f"  measured  {found or 'not yet'}")


def _record(one: Baseline, *, whole: bool = False) -> dict[str, Any]:
    record: dict[str, Any] = {
        "name": one.name,
        "member": "exact",
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

    from thinresnet.baseline import measured

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
    say(f"[bold]{one.name}[/bold]  exact-budget v{one.set.version}, channels {rounding}")
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
