"""`thinresnet study`."""

from __future__ import annotations

import json
import sys
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from thinresnet.errors import InputError, nearest

if TYPE_CHECKING:
    from thinresnet.studies.plan import Plan

File = Annotated[Path, typer.Argument(metavar="FILE", help="A study, such as baselines/digits.yaml.")]
Output = Annotated[Path, typer.Option("--output", "-o", help="Folder of runs; each study has a folder in it.")]
DataDir = Annotated[str | None, typer.Option(help="The images, instead of where the study says.")]
Dataset = Annotated[str | None, typer.Option(help="The data set, instead of the study's; '' for class folders.")]
Only = Annotated[str | None, typer.Option(help="The study of this name alone, where the file holds several.")]

_PLACES = ("here", "ray")


app = typer.Typer(
    name="study", no_args_is_help=True, help="Methods and plain scaling compared under one budget, from one file."
)


@app.command("run")
def run_verb(
    file: File,
    output: Output = Path("runs"),
    data_dir: DataDir = None,
    dataset: Dataset = None,
    only: Only = None,
    jobs: Annotated[int, typer.Option(min=1, help="Stages at a time, on this machine.")] = 1,
    on: Annotated[str, typer.Option(help="Where: here, or ray (a cluster).")] = "here",
    address: Annotated[
        str | None, typer.Option(help="HOST:PORT of the Ray cluster; default: RAY_ADDRESS.", envvar="RAY_ADDRESS")
    ] = None,
    cpus: Annotated[float, typer.Option(min=0, help="Cores of a stage, on Ray.")] = 1,
    gpus: Annotated[float, typer.Option(min=0, help="GPUs of a stage, on Ray.")] = 0,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Print the stages and the training bill, do nothing.")
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="With --dry-run: print JSON for machines.")] = False,
) -> None:
    """Run a study: what is finished stays, what is left is done; the same command goes on after a stop.

    Example: thinresnet study run baselines/digits.yaml
    """
    if as_json and not dry_run:
        raise InputError("--json: it is for --dry-run; thinresnet study show --json prints results")
    if on not in _PLACES:
        raise InputError(f"--on {on}: it is one of {', '.join(_PLACES)}{nearest(on, _PLACES)}")
    plans = _plans(file, data_dir, dataset, only)
    if dry_run:
        _print_bills(plans, as_json)
        return
    from rich.console import Console

    from thinresnet.stopping import REQUEUE_EXIT_CODE, TrainingInterruptedError
    from thinresnet.studies.run import Processes, ThisProcess, Workers, run

    console = Console(stderr=True, highlight=False)
    workers: Workers
    if on == "ray":
        from thinresnet.studies.cluster import Ray

        workers = Ray(address, cpus=cpus, gpus=gpus)
    else:
        workers = ThisProcess() if jobs == 1 else Processes(jobs)
    failed: dict[str, str] = {}
    with closing(workers):
        for plan in plans:
            try:
                failed |= run(plan, output / plan.study.name, workers, console)
            except TrainingInterruptedError as error:
                saved = "saved: the same command goes on from there"
                print(f"thinresnet: {plan.study.name}: {error}; {saved}", file=sys.stderr)
                raise typer.Exit(REQUEUE_EXIT_CODE) from None
    for name, why in failed.items():
        print(f"thinresnet: {name}: {why}", file=sys.stderr)
    if failed:
        raise typer.Exit(1)


@app.command("show")
def show_verb(
    file: File,
    output: Output = Path("runs"),
    data_dir: DataDir = None,
    dataset: Dataset = None,
    only: Only = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON for machines, and write nothing.")] = False,
) -> None:
    """Show what is finished as a table with verdicts, charts and a page (works offline); flags as for `study run`.

    Example: thinresnet study show baselines/digits.yaml
    """
    from thinresnet.studies.report import show
    from thinresnet.studies.store import Store

    plans = _plans(file, data_dir, dataset, only)
    if as_json and len(plans) > 1:
        raise InputError(f"--json: {file} holds {len(plans)} studies; choose one with --only")
    for plan in plans:
        root = output / plan.study.name
        show(plan, Store(root), output=root / "report", as_json=as_json)


@app.command("export")
def export_verb(
    file: File,
    output: Output = Path("runs"),
    data_dir: DataDir = None,
    dataset: Dataset = None,
    only: Only = None,
    board: Annotated[Path | None, typer.Option(help="The board; default: ./leaderboard.csv.")] = None,
) -> None:
    """Put finished rows on the board as measured entries, with their evidence; flags as for `study run`.

    Example: thinresnet study export baselines/cifar10-jpeg.yaml --data-dir cifar10-jpeg
    """
    from thinresnet.leaderboard.adding import add_runs
    from thinresnet.studies.export import export
    from thinresnet.studies.store import Store

    for plan in _plans(file, data_dir, dataset, only):
        for line in export(plan, Store(output / plan.study.name), add_runs, board=board):
            print(f"{plan.study.name}: {line}")


@app.command("protocols")
def protocols_verb(
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON for machines.")] = False,
) -> None:
    """List the protocols that a study may name.

    Example: thinresnet study protocols
    """
    from thinresnet.studies.protocols import PROTOCOLS

    rows = [{"protocol": one.name, "does": one.does} for one in PROTOCOLS.values()]
    if as_json:
        print(json.dumps(rows, indent=1))
        return
    for row in rows:
        print(f"{row['protocol']:<22}{row['does']}")


def _plans(file: Path, data_dir: str | None, dataset: str | None, only: str | None) -> list[Plan]:
    """The plans of a file's studies, all checked before anything is done."""
    from thinresnet.studies.plan import Plan
    from thinresnet.studies.protocols import PROTOCOLS
    from thinresnet.studies.study import read_studies

    given = {"data_dir": data_dir, "dataset": dataset}
    changes = {key: value for key, value in given.items() if value is not None}
    studies = read_studies(file, protocols=list(PROTOCOLS), changes=changes)
    names = [study.name for study in studies]
    if only is not None and only not in names:
        raise InputError(f"--only {only}: {file} has no such study{nearest(only, names)} ({', '.join(names)})")
    return [Plan(study) for study in studies if only in (None, study.name)]


def _print_bills(plans: list[Plan], as_json: bool) -> None:
    """What will be done, and what it will cost."""
    from thinresnet.studies import bill

    rates = {}
    for plan in plans:
        regime = plan.study.regimes[0]
        dense = plan.network(regime)
        if dense.sha256 not in rates:
            rates[dense.sha256] = bill.seconds_per_mac(dense)
        plan_rate = rates[dense.sha256]
        if not as_json:
            _print_bill(plan, plan_rate)
    if as_json:
        found = [bill.as_json(plan, rates[plan.network(plan.study.regimes[0]).sha256]) for plan in plans]
        print(json.dumps(found, indent=1))


def _print_bill(plan: Plan, seconds_per_mac: float) -> None:
    from rich.table import Table

    from thinresnet.studies import bill
    from thinresnet.studies.report import wide_console

    console = wide_console()
    study, dense = plan.study, next(stage.training_macs for stage in plan.stages.values())
    stages = Table(title=f"{study.name}: stages", box=None, padding=(0, 2, 0, 0))
    for column in ("stage", "does", "times", "epochs", "training MACs", "hours"):
        stages.add_column(column, justify="left" if column in ("stage", "does") else "right", overflow="fold")
    for entry in bill.entries(plan):
        macs, hours = "", ""
        if entry.training_macs:
            macs, hours = _power(entry.training_macs), f"{seconds_per_mac * entry.training_macs / 3600:.2f}"
        stages.add_row(entry.name, entry.kind, str(entry.times), str(entry.epochs or ""), macs, hours)
    rows = Table(title="rows: training MACs of one seed", box=None, padding=(0, 2, 0, 0))
    for column in ("recipe", "protocol", "method", "budget", "with all that it hangs on", "last training alone"):
        rows.add_column(column, justify="right" if " " in column else "left")
    for row in plan.rows:
        rows.add_row(row.regime, row.protocol, row.pruner, row.point, *map(_power, bill.row_bill(row)))
    console.print(stages)
    console.print(rows)
    total = bill.total(plan)
    console.print(
        f"{len(plan.stages)} stages, at most {_power(total)} training MACs ({total / dense:.1f} dense ones), about "
        f"{seconds_per_mac * total / 3600:.1f} hours here, one stage at a time, without loading images "
        f"({1e-9 / seconds_per_mac:.0f} G MACs a second)",
        soft_wrap=True,
    )
    for note in (*plan.notes, *bill.missing(plan)):
        console.print(note, markup=False, soft_wrap=True)


def _power(macs: int) -> str:
    """`1.25e15`: training MACs go beyond every unit that people know."""
    return f"{macs:.2e}".replace("e+", "e")
