"""`thinresnet study`."""

from __future__ import annotations

import os
import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from thinresnet.cli import study_paper
from thinresnet.cli.catalogue import protocol_rows
from thinresnet.cli.idle import refuse_idle
from thinresnet.cli.study_options import DataDir, Dataset, File, Only, Output, TierName, WeightsDir, graphs_of
from thinresnet.cli.terminal import console, print_json, print_table, say, status
from thinresnet.errors import InputError, nearest, one_line

if TYPE_CHECKING:
    from thinresnet.studies.graph import StudyGraph
    from thinresnet.studies.running import Workers

_PLACES = ("here", "ray")


app = typer.Typer(
    name="study", no_args_is_help=True, help="Methods and plain scaling compared under one budget, from one file."
)


app.add_typer(study_paper.app)


@app.command("run")
def run_verb(
    context: typer.Context,
    file: File,
    output: Output = Path("runs"),
    data_dir: DataDir = None,
    dataset: Dataset = None,
    weights_dir: WeightsDir = None,
    tier: TierName = "laptop",
    only: Only = None,
    jobs: Annotated[
        int,
        typer.Option(min=1, max=1024, help="Stages at a time, on this machine; its GPUs take turns, and are shared."),
    ] = 1,
    gpus_per_stage: Annotated[
        int,
        typer.Option(min=1, max=1024, help="GPUs of a training, on this machine; as many processes split its batch."),
    ] = 1,
    on: Annotated[str, typer.Option(help="Where: here, or ray (a cluster).")] = "here",
    address: Annotated[
        str | None, typer.Option(help="HOST:PORT of the Ray cluster; default: RAY_ADDRESS.", envvar="RAY_ADDRESS")
    ] = None,
    cpus: Annotated[float, typer.Option(min=0, help="Cores of a stage, on Ray.")] = 1,
    gpus: Annotated[
        float, typer.Option(min=0, help="GPUs of a stage, on Ray; 0.25 shares one, from 2 on trainings use them all.")
    ] = 0,
    minutes: Annotated[
        float | None,
        typer.Option(min=0.01, max=1e6, help="Stop in time to end within so many minutes (exit code 75)."),
    ] = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Print the stages and the training cost, do nothing.")
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="With --dry-run: print JSON for machines.")] = False,
) -> None:
    """Run a study: finished stages stay, the others are done; the same command resumes after a stop.

    Example: thinresnet study run baselines/digits.yaml
    """
    if as_json and not dry_run:
        raise InputError("--json: it is for --dry-run; thinresnet study show --json prints results")
    if on not in _PLACES:
        raise InputError(f"--on {on}: it is one of {', '.join(_PLACES)}{nearest(on, _PLACES)}")
    _refuse_elsewhere(context, on)
    graphs = graphs_of(file, data_dir, dataset, only, weights_dir, tier)
    if dry_run:
        _print_costs(graphs, as_json)
        return
    if on == "ray":
        from thinresnet.studies.cluster import Ray

        workers: Workers = Ray(address, cpus=cpus, gpus=gpus)
    else:
        workers = _workers_here(jobs, gpus_per_stage)
    for name, why in (failed := _run(graphs, output, workers, minutes)).items():
        print(f"thinresnet: {name}: {one_line(why)}", file=sys.stderr)
    if failed:
        raise typer.Exit(1)


def _workers_here(jobs: int, gpus_per_stage: int) -> Workers:
    from thinresnet.studies.running import Processes, ThisProcess

    alone = jobs == 1 and gpus_per_stage == 1
    return ThisProcess() if alone else Processes(jobs, gpus_per_stage=gpus_per_stage)


def _refuse_elsewhere(context: typer.Context, on: str) -> None:
    """Options of the other place."""
    if on == "ray":
        why = "--cpus and --gpus of a stage say how many run at a time"
        refuse_idle(context, "on Ray", why, these=("jobs", "gpus_per_stage"))
    else:
        why = "--jobs sets how many stages run at a time here"
        refuse_idle(context, "without --on ray", why, these=("address", "cpus", "gpus"))


@contextmanager
def _stopped_after(minutes: float | None) -> Iterator[None]:
    """Within the block the process is asked to stop so early that what it saves is saved within the minutes."""
    if minutes is None:
        yield
        return
    seconds = 60 * minutes
    timer = threading.Timer(seconds - min(60.0, 0.15 * seconds), os.kill, (os.getpid(), signal.SIGTERM))
    timer.daemon = True
    timer.start()
    try:
        yield
    finally:
        timer.cancel()


def _run(graphs: list[StudyGraph], output: Path, workers: Workers, minutes: float | None) -> dict[str, str]:
    """Every study, one after the other; what could not be done and why."""
    from thinresnet.stopping import REQUEUE_EXIT_CODE, TrainingInterruptedError, end_on_signals
    from thinresnet.studies.running import run

    failed: dict[str, str] = {}
    stopped = "thinresnet: stopped; finished stages stay: the same command goes on"
    with closing(workers), end_on_signals(stopped, REQUEUE_EXIT_CODE), _stopped_after(minutes):
        for graph in graphs:
            try:
                failed |= run(graph, output / graph.study.folder_name, workers, console(stderr=True))
            except TrainingInterruptedError as error:
                saved = "saved: the same command resumes from there"
                print(f"thinresnet: {graph.study.name}: {error}; {saved}", file=sys.stderr)
                raise typer.Exit(REQUEUE_EXIT_CODE) from None
    return failed


@app.command("show")
def show_verb(
    file: File,
    output: Output = Path("runs"),
    data_dir: DataDir = None,
    dataset: Dataset = None,
    only: Only = None,
    tier: TierName = "laptop",
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON for machines, and write nothing.")] = False,
) -> None:
    """Show what is finished as a table with verdicts, charts and a page (works offline); flags as for `study run`.

    Example: thinresnet study show baselines/digits.yaml
    """
    from thinresnet.studies.records import as_records
    from thinresnet.studies.report import print_tables, write_report
    from thinresnet.studies.store import Store
    from thinresnet.studies.summaries import distinct, summaries

    graphs = graphs_of(file, data_dir, dataset, only, tier=tier)
    if as_json and len(graphs) > 1:
        raise InputError(f"--json: {file} holds {len(graphs)} studies; choose one with --only")
    for graph in graphs:
        root = output / graph.study.folder_name
        with status("reading results"):
            found = distinct(summaries(graph, Store(root)))
        if not any(summary.results for summary in found):
            raise InputError(
                f"study {graph.study.name}: nothing is finished in {root}; `thinresnet study run` it first"
            )
        if as_json:
            print_json(as_records(found))
            return
        print_tables(found, console())
        with status("drawing"):
            written = write_report(graph, found, root / "report")
        say(f"Written: {', '.join(map(str, written))}")


@app.command("export")
def export_verb(
    file: File,
    output: Output = Path("runs"),
    data_dir: DataDir = None,
    dataset: Dataset = None,
    only: Only = None,
    tier: TierName = "laptop",
    board: Annotated[Path | None, typer.Option(help="The board; default: ./leaderboard.csv.")] = None,
) -> None:
    """Put finished rows on the board as measured entries, with their evidence; flags as for `study run`.

    Example: thinresnet study export baselines/paper.yaml --data-dir cifar10-jpeg
    """
    from thinresnet.leaderboard.adding import add_runs
    from thinresnet.studies.export import export
    from thinresnet.studies.store import Store

    for graph in graphs_of(file, data_dir, dataset, only, tier=tier):
        for line in export(graph, Store(output / graph.study.folder_name), add_runs, board=board):
            print(f"{graph.study.name}: {line}")


@app.command("protocols")
def protocols_verb(
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON for machines.")] = False,
) -> None:
    """List the protocols that a study may name.

    Example: thinresnet study protocols
    """
    rows = protocol_rows()
    if as_json:
        print_json(rows)
        return
    print_table(("protocol", "does"), ((row["protocol"], row["does"]) for row in rows), left=2)


def _print_costs(graphs: list[StudyGraph], as_json: bool) -> None:
    """What will be done, and what it will cost."""
    from thinresnet.studies import training_cost

    records, rates = [], {}
    for graph in graphs:
        dense = graph.network(graph.study.setups[0])
        if dense.sha256 not in rates:
            with status(f"timing a training step of {dense.arch}"):
                rates[dense.sha256] = training_cost.seconds_per_mac(dense)
        if as_json:
            records.append(training_cost.as_json(graph, rates[dense.sha256]))
        else:
            _print_cost(graph, rates[dense.sha256])
    if as_json:
        print_json(records)


def _print_cost(graph: StudyGraph, seconds_per_mac: float) -> None:
    from thinresnet.studies.summaries import scientific
    from thinresnet.studies.training_cost import entries

    name, total = graph.study.name, graph.training_macs
    dense = next((stage.training_macs for stage in graph.stages.values() if stage.training_macs), 1)
    stages = []
    for entry in entries(graph):
        macs, hours = "", ""
        if entry.training_macs:
            macs, hours = scientific(entry.training_macs), f"{seconds_per_mac * entry.training_macs / 3600:.2f}"
        stages.append((entry.name, entry.kind, entry.times, entry.epochs or "", macs, hours))
    columns = ("stage", "kind", "times", "epochs", "training MACs", "hours")
    print_table(columns, stages, title=f"{name}: stages", left=2)
    described = ("recipe", "protocol", "method", "budget", "fine-tuning")
    spent = ("with dense parent and search", "last training alone")
    costs = [
        (own.recipe, own.protocol, own.method, own.point, own.finetuning,
         scientific(own.training_macs_with_search), scientific(own.training_macs))
        for own in graph.experiments
    ]  # fmt: skip
    print_table((*described, *spent), costs, title="experiments: training MACs of one seed", left=5)
    say(
        f"{len(graph.stages)} stages, at most {scientific(total)} training MACs ({total / dense:.1f} dense ones), "
        f"about {seconds_per_mac * total / 3600:.1f} hours here, one stage at a time, without loading images "
        f"({1e-9 / seconds_per_mac:.0f} G MACs a second)"
    )
    for note in graph.notes:
        console().print(note, markup=False, soft_wrap=True)
