"""`thinresnet study`."""

from __future__ import annotations

import sys
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from thinresnet.cli.catalogue import protocol_rows
from thinresnet.cli.idle import refuse_idle
from thinresnet.cli.terminal import console, print_json, print_table, say, status
from thinresnet.errors import InputError, nearest, one_line

if TYPE_CHECKING:
    from thinresnet.studies.graph import StudyGraph

File = Annotated[Path, typer.Argument(metavar="FILE", help="A study, such as baselines/digits.yaml.")]
Output = Annotated[Path, typer.Option("--output", "-o", help="Folder of runs; each study has a folder in it.")]
DataDir = Annotated[str | None, typer.Option(help="The images, instead of where the study says.")]
Dataset = Annotated[str | None, typer.Option(help="The dataset, instead of the study's; '' for class folders.")]
Only = Annotated[str | None, typer.Option(help="The study of this name alone, where the file holds several.")]

_PLACES = ("here", "ray")


app = typer.Typer(
    name="study", no_args_is_help=True, help="Methods and plain scaling compared under one budget, from one file."
)


@app.command("run")
def run_verb(
    context: typer.Context,
    file: File,
    output: Output = Path("runs"),
    data_dir: DataDir = None,
    dataset: Dataset = None,
    only: Only = None,
    jobs: Annotated[
        int, typer.Option(min=1, help="Stages at a time, on this machine; its GPUs take turns, and are shared.")
    ] = 1,
    gpus_per_stage: Annotated[
        int, typer.Option(min=1, help="GPUs of a training, on this machine; as many processes split its batch.")
    ] = 1,
    on: Annotated[str, typer.Option(help="Where: here, or ray (a cluster).")] = "here",
    address: Annotated[
        str | None, typer.Option(help="HOST:PORT of the Ray cluster; default: RAY_ADDRESS.", envvar="RAY_ADDRESS")
    ] = None,
    cpus: Annotated[float, typer.Option(min=0, help="Cores of a stage, on Ray.")] = 1,
    gpus: Annotated[
        float, typer.Option(min=0, help="GPUs of a stage, on Ray; 0.25 shares one, from 2 on trainings use them all.")
    ] = 0,
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
    if on == "ray":
        why = "--cpus and --gpus of a stage say how many run at a time"
        refuse_idle(context, "on Ray", why, these=("jobs", "gpus_per_stage"))
    else:
        why = "--jobs sets how many stages run at a time here"
        refuse_idle(context, "without --on ray", why, these=("address", "cpus", "gpus"))
    graphs = _graphs(file, data_dir, dataset, only)
    if dry_run:
        _print_costs(graphs, as_json)
        return
    from thinresnet.stopping import REQUEUE_EXIT_CODE, TrainingInterruptedError, end_on_signals
    from thinresnet.studies.running import Processes, ThisProcess, Workers, run

    workers: Workers
    if on == "ray":
        from thinresnet.studies.cluster import Ray

        workers = Ray(address, cpus=cpus, gpus=gpus)
    else:
        alone = jobs == 1 and gpus_per_stage == 1
        workers = ThisProcess() if alone else Processes(jobs, gpus_per_stage=gpus_per_stage)
    failed: dict[str, str] = {}
    stopped = "thinresnet: stopped; finished stages stay: the same command goes on"
    with closing(workers), end_on_signals(stopped, REQUEUE_EXIT_CODE):
        for graph in graphs:
            try:
                failed |= run(graph, output / graph.study.name, workers, console(stderr=True))
            except TrainingInterruptedError as error:
                saved = "saved: the same command resumes from there"
                print(f"thinresnet: {graph.study.name}: {error}; {saved}", file=sys.stderr)
                raise typer.Exit(REQUEUE_EXIT_CODE) from None
    for name, why in failed.items():
        print(f"thinresnet: {name}: {one_line(why)}", file=sys.stderr)
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
    from thinresnet.studies.records import as_records
    from thinresnet.studies.report import print_tables, write_report
    from thinresnet.studies.store import Store
    from thinresnet.studies.summaries import distinct, summaries

    graphs = _graphs(file, data_dir, dataset, only)
    if as_json and len(graphs) > 1:
        raise InputError(f"--json: {file} holds {len(graphs)} studies; choose one with --only")
    for graph in graphs:
        root = output / graph.study.name
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
    board: Annotated[Path | None, typer.Option(help="The board; default: ./leaderboard.csv.")] = None,
) -> None:
    """Put finished rows on the board as measured entries, with their evidence; flags as for `study run`.

    Example: thinresnet study export baselines/cifar10-jpeg.yaml --data-dir cifar10-jpeg
    """
    from thinresnet.leaderboard.adding import add_runs
    from thinresnet.studies.export import export
    from thinresnet.studies.store import Store

    for graph in _graphs(file, data_dir, dataset, only):
        for line in export(graph, Store(output / graph.study.name), add_runs, board=board):
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


def _graphs(file: Path, data_dir: str | None, dataset: str | None, only: str | None) -> list[StudyGraph]:
    """The graphs of a file's studies, all checked before anything is done."""
    from thinresnet.studies.graphs import read_graphs

    given = {"data_dir": data_dir, "dataset": dataset}
    with status(f"reading {file}"):
        return read_graphs(file, changes={key: value for key, value in given.items() if value is not None}, only=only)


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
    dense = next(stage.training_macs for stage in graph.stages.values())
    stages = []
    for entry in entries(graph):
        macs, hours = "", ""
        if entry.training_macs:
            macs, hours = scientific(entry.training_macs), f"{seconds_per_mac * entry.training_macs / 3600:.2f}"
        stages.append((entry.name, entry.kind, entry.times, entry.epochs or "", macs, hours))
    columns = ("stage", "kind", "times", "epochs", "training MACs", "hours")
    print_table(columns, stages, title=f"{name}: stages", left=2)
    columns = ("recipe", "protocol", "method", "budget", "with dense parent and search", "last training alone")
    costs = [
        (own.recipe, own.protocol, own.method, own.point,
         scientific(own.training_macs_with_search), scientific(own.training_macs))
        for own in graph.experiments
    ]  # fmt: skip
    print_table(columns, costs, title="experiments: training MACs of one seed", left=4)
    say(
        f"{len(graph.stages)} stages, at most {scientific(total)} training MACs ({total / dense:.1f} dense ones), "
        f"about {seconds_per_mac * total / 3600:.1f} hours here, one stage at a time, without loading images "
        f"({1e-9 / seconds_per_mac:.0f} G MACs a second)"
    )
    for note in graph.notes:
        console().print(note, markup=False, soft_wrap=True)
