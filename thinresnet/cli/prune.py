"""`thinresnet prune`."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from thinresnet.budget import QUANTITIES, Budget, short
from thinresnet.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Callable

    from thinresnet.network import Network


app = typer.Typer()


@app.command("prune")
def prune_verb(
    method: Annotated[str, typer.Argument(metavar="[METHOD]", help="What prunes: see --list.")] = "",
    what: Annotated[
        str, typer.Argument(metavar="[RUN|NETWORK]", help="The folder of a run, a network.json or an architecture.")
    ] = "",
    macs: Annotated[
        list[str] | None, typer.Option(help="At most this many MACs: 2.05G, or a share: 50%. Again for more folders.")
    ] = None,
    params: Annotated[list[str] | None, typer.Option(help="At most this many parameters: 12M or 50%.")] = None,
    to: Annotated[
        str | None, typer.Option(help="Instead of a budget: a paper's list (R56-A …), a network.json or a run.")
    ] = None,
    scope: Annotated[
        str | None, typer.Option(help="layer: the same share of each; global: one ranking. Default: the method's.")
    ] = None,
    stream: Annotated[bool, typer.Option("--stream", help="Prune the residual stream too.")] = False,
    round_to: Annotated[int, typer.Option(help="Channel counts are multiples of this.")] = 1,
    settings: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="NAME=VALUE", help="A setting of the method; see --list METHOD."),
    ] = None,
    weights: Annotated[Path | None, typer.Option(help="The network's weights, where it is not a run's folder.")] = None,
    recipe: Annotated[str | None, typer.Option(help="How to train and read images; default: the run's own.")] = None,
    data_dir: Annotated[Path | None, typer.Option(help="The images, where they are not where the run says.")] = None,
    holdout: Annotated[
        float | None, typer.Option(help="Share of the training set kept aside; default: the run's own.")
    ] = None,
    seed: Annotated[int | None, typer.Option(help="Of what is drawn; default: the run's.")] = None,
    output: Annotated[Path, typer.Option("--output", "-o", help="Folder of runs.")] = Path("runs"),
    list_methods: Annotated[bool, typer.Option("--list", help="Say what each method needs and serves.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON for machines.")] = False,
) -> None:
    """Prune a trained network to a budget: a smaller dense network in a run folder of its own.

    Example: thinresnet prune l1 runs/resnet20_cifar-w0.5-digits-s42-3f9a1c --macs 50%
    """
    if list_methods:
        _list(method, as_json)
        return
    if not method or not what:
        raise InputError("prune: say a method and what to prune: thinresnet prune l1 runs/<id> --macs 50% (--list)")
    from thinresnet.pruning.folder import How, prune_to_folders
    from thinresnet.pruning.parent import read_parent
    from thinresnet.pruning.registry import method as method_of

    chosen = method_of(method, dict(setting(text) for text in settings or []))
    parent = read_parent(what, weights=weights, recipe=recipe, data_dir=data_dir, holdout=holdout)
    how = How(
        budgets=_budgets(macs or [], params or []),
        to=_wanted(to, parent.network),
        to_name=None if to is None or Path(to).exists() else to,
        scope=scope,
        stream=stream,
        round_to=round_to,
        seed=parent.seed if seed is None else seed,
    )
    with shown() as progress:
        found = prune_to_folders(
            chosen, parent, how, output=output, command=["thinresnet", *sys.argv[1:]], progress=progress
        )
        done = list(found)
    if as_json:
        print(json.dumps([{"folder": str(folder), **record} for folder, record in done], indent=1))
        return
    if parent.weights is None:
        print("No weights were given: the network is as it was drawn.")
    for folder, record in done:
        _report(folder, record)


def setting(text: str) -> tuple[str, str]:
    """The name and the value of `--set NAME=VALUE`."""
    name, equals, value = text.partition("=")
    if not equals:
        raise InputError(f"--set {text}: write NAME=VALUE, such as --set images=512")
    return name.strip().replace("-", "_"), value.strip()


def _budgets(macs: list[str], params: list[str]) -> tuple[tuple[Budget, ...], ...]:
    """One set of budgets a folder."""
    given = {quantity: texts for quantity, texts in zip(QUANTITIES, (macs, params), strict=True) if texts}
    if len({len(texts) for texts in given.values()}) > 1:
        raise InputError(f"--macs is given {len(macs)} times and --params {len(params)}: each folder takes one of each")
    columns = [[Budget.parse(quantity, text) for text in texts] for quantity, texts in given.items()]
    return tuple(zip(*columns, strict=True))


def _wanted(to: str | None, network: Network) -> Network | None:
    """The network of `--to`."""
    if to is None:
        return None
    from thinresnet.networks import read_network
    from thinresnet.pruning.presets import preset

    return read_network(to) if Path(to).exists() or to.endswith(".json") else preset(to, network)


def _list(name: str, as_json: bool) -> None:
    """All methods, or one with its settings."""
    from thinresnet.pruning.registry import facts, method, methods

    names = [method(name).name] if name else list(methods())
    found = [facts(methods()[name]) for name in names]
    if as_json:
        print(json.dumps(found, indent=1))
        return
    from rich.console import Console

    console = Console(highlight=False)
    for one in found:
        console.print(f"[bold]{one['method']}[/bold]  {one['does']}")
        facts_ = {
            "needs": ", ".join(one["needs"]) or "weights only",
            "ranks by": one["scope"],
            "removes": one["removes"],
            "serves": one["serves"],
        }
        console.print("    " + "; ".join(f"{key} {value}" for key, value in facts_.items()), style="dim")
        if name:
            console.print(f"    {one['paper']}")
            for key, default in one["settings"].items():
                console.print(f"    --set {key}={default}")
    if not name:
        console.print("\nThe settings of one of them: thinresnet prune METHOD --list")


@contextmanager
def shown() -> Iterator[Callable[[str, int, int], None]]:
    """Progress with the time left: a bar in a terminal, a line every tenth elsewhere."""
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    from thinresnet.progress import Tenths

    console = Console(stderr=True, highlight=False)
    if not console.is_terminal:
        yield Tenths(lambda line: console.print(line, markup=False))
        return
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=console, transient=True) as bars:
        tasks: dict[str, Any] = {}

        def show(what: str, done: int, total: int) -> None:
            if what not in tasks:
                tasks[what] = bars.add_task(what, total=total)
            bars.update(tasks[what], completed=done, total=total)

        yield show


def _report(folder: Path, record: dict[str, Any]) -> None:
    """What came out, in a few lines."""
    from rich.console import Console
    from rich.table import Table

    console = Console()
    table = Table("", "before", "after", "of dense", title=record["method"])
    for name, key in (("MACs", "macs"), ("parameters", "params")):
        share = f"{record[key] / record[f'dense_{key}']:.2%}"
        table.add_row(name, short(record[f"parent_{key}"]), short(record[key]), share)
    if record["holdout_before"] is not None:
        before, after = (f"{record[key]['top1']:.2f} %" for key in ("holdout_before", "holdout_before_tuning"))
        table.add_row("hold-out top-1, before tuning", before, after, "")
    console.print(table)
    if record["masked"]:
        console.print(
            f"Weights are masked, not removed: in theory {short(record['notes']['theoretical_macs'])} MACs and "
            f"{short(record['notes']['theoretical_params'])} parameters; what is computed is the network above.",
            highlight=False,
        )
    if record["holdout_before"] is None:
        console.print("No accuracy before tuning: nothing was held out (train with --holdout 0.1).", highlight=False)
    tune = f"tune it with: accelerate launch train.py --network {folder} --initial-checkpoint {folder} --recipe …"
    if record["masked"]:
        tune = "training that keeps its masks is a study's: thinresnet study"
    console.print(f"Written to {folder}; {tune}", highlight=False, soft_wrap=True)
