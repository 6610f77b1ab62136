"""`thinresnet study pack` and `thinresnet study paper`: evidence out of runs, and a paper's tables out of evidence."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from thinresnet.cli.idle import refuse_idle
from thinresnet.cli.study_options import DataDir, Dataset, File, Only, Output, TierName, graphs_of
from thinresnet.cli.terminal import say
from thinresnet.errors import InputError

EVIDENCE = Path("baselines/evidence")
DOCUMENTS = (Path("docs/findings.md"), Path("README.md"))
_USUAL = "laptop"

app = typer.Typer()


@app.command("pack")
def pack_verb(
    file: File,
    output: Output = Path("runs"),
    to: Annotated[Path | None, typer.Option(help="Folder of the evidence; default: baselines/evidence/TIER.")] = None,
    data_dir: DataDir = None,
    dataset: Dataset = None,
    only: Only = None,
    tier: TierName = _USUAL,
) -> None:
    """Keep what is finished of a study as small files without weights: what `study paper` reads.

    Example: thinresnet study pack baselines/paper.yaml --data-dir cifar10-jpeg
    """
    from thinresnet.studies.evidence import pack
    from thinresnet.studies.store import Store

    target = to or EVIDENCE / tier
    for graph in graphs_of(file, data_dir, dataset, only, tier=tier):
        count = pack(graph, Store(output / graph.study.folder_name), target)
        say(f"{graph.study.name}: {count} of {len(graph.stages)} stages in {target / graph.study.name}")


@app.command("paper")
def paper_verb(
    context: typer.Context,
    evidence: Annotated[
        list[Path] | None, typer.Argument(metavar="[EVIDENCE]...", help="Default: baselines/evidence/TIER.")
    ] = None,
    tier: TierName = _USUAL,
    evaluations: Annotated[Path, typer.Option(help="Folder of evaluations: the thin networks as they come.")] = Path(
        "baselines/results"
    ),
    document: Annotated[
        list[Path] | None,
        typer.Option(help="Its marked parts are written; default: docs/findings.md, README.md."),
    ] = None,
    figures: Annotated[Path, typer.Option(help="Folder of the figures.")] = Path("docs/pictures"),
    check: Annotated[bool, typer.Option("--check", help="Write nothing; fail where a part is stale.")] = False,
) -> None:
    """Make every table, figure and finding of the paper from evidence folders alone.

    Example: thinresnet study paper
    """
    from thinresnet.studies.paper.charts import write_figures
    from thinresnet.studies.paper.documents import has_parts, stale, write_parts
    from thinresnet.studies.paper.rows import read_evidence

    if evidence:
        refuse_idle(context, f"with {evidence[0]}", "a tier only says which folder is read", these=("tier",))
    folders = evidence or [EVIDENCE / tier]
    for folder in folders:
        if not folder.is_dir():
            raise InputError(f"{folder}: no such folder; thinresnet study pack FILE writes evidence")
    found = read_evidence(folders, [evaluations] if evaluations.is_dir() else [])
    documents = document or [path for path in DOCUMENTS if path.is_file() and has_parts(path)]
    if check:
        if wrong := stale(found, documents):
            raise InputError(f"{wrong[0]}: is not what the evidence says; write it with: thinresnet study paper")
        say(f"{len(documents)} documents are what the evidence says")
        return
    written = [*write_parts(found, documents), *write_figures(found, figures)]
    say(f"Written: {', '.join(str(path) for path in written)}")
