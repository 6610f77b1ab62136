"""What the verbs say about latency: predicted by a table, and measured after."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from thinresnet.budget import milliseconds
from thinresnet.cli.terminal import print_json, progress, say

if TYPE_CHECKING:  # both come with torch, and `--help` does without
    from thinresnet.network import Network
    from thinresnet.networks.latency import LatencyTable

LatencyTableFile = Annotated[
    Path | None, typer.Option(help="What predicts it (time ARCH --table FILE); default: this machine's, batch 1.")
]
_FAR = 1.15  # times: shares of dense, predicted and measured, differ by less on a machine that does nothing else


def latency_row(record: Mapping[str, Any]) -> tuple[str, str, str, str]:
    """The predicted latency before and after, as a row of a table."""
    predicted, dense = record["predicted_ms"], record["predicted_dense_ms"]
    return "latency, predicted", f"{dense:.4g} ms (dense)", f"{predicted:.4g} ms", f"{predicted / dense:.2%}"


def say_latency(record: Mapping[str, Any]) -> None:
    """What was measured beside the prediction, and where."""
    threads = f"{record['threads']} thread{'s' if record['threads'] > 1 else ''}"
    where = f"{record['device']}, {threads}, batch {record['batch_size']}, {record['precision']}"
    table = f"table {record['table_sha256'][:8]} of {record['measured'][:10]}"
    predicted = record["predicted_ms"] / record["predicted_dense_ms"]
    say(f"Latency predicted: {record['predicted_ms']:.4g} ms, {predicted:.1%} of dense ({where}; {table})")
    if record["measured_ms"] is None:
        say("Latency measured: not here, the table is of another machine")
        return
    measured = record["measured_ms"] / record["measured_dense_ms"]
    say(f"Latency measured now: {record['measured_ms']:.4g} ms, {measured:.1%} of dense, in turns with it")
    if not 1 / _FAR < measured / predicted < _FAR:
        say("Far apart: the machine is busy, or was when the table was measured (thinresnet time ARCH --table FILE).")


def latency_table_of(network: Network, given: Path | None) -> LatencyTable:
    """The table given, or that of this machine, which is measured the first time."""
    from thinresnet.networks.latency_measuring import table_of

    with progress("reading the latency table") as show:
        return table_of(network, given, progress=show)


def write_latency_table(
    network: Network, path: Path, *, batch_size: int, runs: int, device: str | None, as_json: bool
) -> None:
    """Measure a latency table and write it."""
    from thinresnet.networks.latency import NANOSECONDS, write_table
    from thinresnet.networks.latency_measuring import measured_table

    with progress("timing layers") as show:
        table = measured_table(network, batch_size=batch_size, runs=runs, device=device, progress=show)
    write_table(path, table)
    if as_json:
        dense_ms = table.dense_ns / NANOSECONDS
        print_json({"file": str(path), "arch": table.arch, "dense_ms": dense_ms, **table.conditions})
        return
    say(
        f"Written to {path}: {len(table.layers)} layers of {table.arch}, {len(table.times)} kinds of them; dense "
        f"{milliseconds(table.dense_ns)} ({table.says})"
    )
