"""`thinresnet networks`, `count`, `fit` and `time`."""

from __future__ import annotations

import fnmatch
import hashlib
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from thinresnet.budget import LATENCY, Budget, milliseconds, parse_budgets, short
from thinresnet.cli.counted import remembered
from thinresnet.cli.idle import refuse_idle
from thinresnet.cli.latency import LatencyTableFile, latency_table_of, say_latency, write_latency_table
from thinresnet.cli.next_steps import training_line
from thinresnet.cli.terminal import JsonFlag, print_json, print_table, progress, say, status
from thinresnet.errors import InputError, nearest
from thinresnet.files import read_bytes, write_atomically
from thinresnet.network import Network
from thinresnet.runs import is_weights_file, names_weights

if TYPE_CHECKING:
    from thinresnet.networks.cost import Cost
    from thinresnet.networks.timing import Timing

What = Annotated[
    str, typer.Argument(metavar="ARCH|FILE", help="An architecture, a network.json, a run folder or a file of weights.")
]
Arch = Annotated[str | None, typer.Option(help="Of a file of weights: its architecture, where its layers do not tell.")]
Width = Annotated[float | None, typer.Option(help="Factor on the channels of every group.")]
Interior = Annotated[
    float | None, typer.Option(help="Factor on the channels inside blocks; the residual stream stays.")
]
RoundToOfArch = Annotated[int | None, typer.Option("--round-to", help="Channel counts are multiples of this.")]
InputPx = Annotated[int | None, typer.Option("--input", help="Side of the input in pixels.")]
Classes = Annotated[int | None, typer.Option(help="Number of classes.")]


app = typer.Typer()
_FAST = 8  # channel counts that hardware computes without padding are multiples of this
_LARGEST_BYTES = 2 << 30  # of a file of weights
_AUTHORS = "ThinResNet authors', by base width"


@app.command("networks")
def networks(
    pattern: Annotated[str, typer.Argument(help="Only names like this, such as 'resnet*'.")] = "*",
    check: Annotated[bool, typer.Option("--check", help="Try every timm architecture of these names now.")] = False,
    as_json: JsonFlag = False,
) -> None:
    """List the networks that are known to work, or try others.

    Example: thinresnet networks --check 'seresnext26*'
    """
    if check:
        _check_networks(pattern, as_json)
        return
    from thinresnet import base_width
    from thinresnet.known import KNOWN

    every = {**KNOWN, _AUTHORS: tuple(network.name for network in base_width.every())}
    found = {family: fnmatch.filter(names, pattern) for family, names in every.items()}
    found = {family: names for family, names in found.items() if names}
    if not found:
        known = [name for names in every.values() for name in names]
        raise InputError(
            f"networks: no known network is named {pattern!r}{nearest(pattern, known)}; "
            f"--check tries any timm architecture of that name"
        )
    if as_json:
        print_json(found)
        return
    rows = [(family, _ranges(names) if family == _AUTHORS else ", ".join(names)) for family, names in found.items()]
    title = "Known to work: built, trained, counted, fitted and saved by the tests"
    print_table(("family", "networks"), rows, title=title, left=2)
    say("Any other of timm's CNNs: [bold]thinresnet networks --check NAME[/bold] tries it.")


def _ranges(names: list[str]) -> str:
    """`thinresnet20-w1 … w64` for each depth: a base width a name is too much to read."""
    widths: dict[str, list[str]] = {}
    for name in names:
        depth, _, width = name.partition("-")
        widths.setdefault(depth, []).append(width)
    return ", ".join(f"{depth}-{own[0]}" + (f" … {own[-1]}" if own[1:] else "") for depth, own in widths.items())


def _check_networks(pattern: str, as_json: bool) -> None:
    import timm

    from thinresnet.networks import build, scale, thinresnet, zoo

    thin = {*zoo.THIN, *thinresnet.NAMES}
    names = [name for name in fnmatch.filter(timm.list_models(), pattern) if name not in thin]
    if not names:
        raise InputError(f"networks: timm has no architecture named {pattern!r}{nearest(pattern, timm.list_models())}")
    found: dict[str, str] = {}
    with progress("building networks") as show:
        for done, name in enumerate(names, start=1):
            try:
                build(scale(name, width=0.5))
                found[name] = "works"
            except InputError as refusal:
                found[name] = f"refused: {refusal}"
            show("trying half width", done, len(names))
    if as_json:
        print_json(found)
        return
    for name, outcome in found.items():
        print(f"{name}: {outcome}")


@app.command("count")
def count_verb(
    what: What,
    arch: Arch = None,
    width: Width = None,
    interior: Interior = None,
    round_to: RoundToOfArch = None,
    input_px: InputPx = None,
    num_classes: Classes = None,
    layers: Annotated[bool, typer.Option("--layers", help="Print every layer.")] = False,
    as_json: JsonFlag = False,
) -> None:
    """Count MACs, parameters and activations, and compare them with the dense network.

    Example: thinresnet count resnet50 --width 0.5
    """

    def counted() -> dict[str, Any]:
        from thinresnet.networks import count

        with status(f"tracing {what}"):
            network, dense = _network_and_dense(what, arch, width, interior, round_to, input_px, num_classes)
            cost = count(network)
            return _as_record(network, cost, cost if network == dense else count(dense))

    options = {"width": str(width), "interior": str(interior), "round_to": round_to, "px": input_px}
    record = remembered(
        {"count": what, "file": _content_of(what), "arch": arch, "classes": num_classes, **options}, counted
    )
    if as_json:
        print_json({key: value for key, value in record.items() if layers or key != "layers"})
        return
    _print_cost(record)
    if layers:
        _print_layers(record)


@app.command("fit")
def fit_verb(
    arch: Annotated[str, typer.Argument(metavar="ARCH", help="An architecture.")],
    macs: Annotated[str | None, typer.Option(help="At most this many MACs: 2.05G, or a share: 50%.")] = None,
    params: Annotated[str | None, typer.Option(help="At most this many parameters: 12M or 50%.")] = None,
    latency: Annotated[str | None, typer.Option(help="At most this predicted time of a batch: 12ms or 50%.")] = None,
    latency_table: LatencyTableFile = None,
    scaling: Annotated[str, typer.Option(help="What is scaled: width, interior, depth, growth, resolution.")] = "width",
    round_to: RoundToOfArch = None,
    fast: Annotated[
        bool, typer.Option("--fast", help=f"The same as --round-to {_FAST}: odd counts cost speed.")
    ] = False,
    input_px: InputPx = None,
    num_classes: Classes = None,
    output: Annotated[Path | None, typer.Option("--output", "-o", help="Write the network's JSON here.")] = None,
    as_json: JsonFlag = False,
) -> None:
    """Find the largest network of a scaling that costs no more than a budget.

    Example: thinresnet fit resnet50 --macs 2.05G --output half.json
    """
    budgets = parse_budgets({"macs": macs, "params": params, LATENCY: latency})
    if fast and round_to is not None:
        raise InputError(f"--fast: is --round-to {_FAST}; give one of the two")
    step = _FAST if fast else 1 if round_to is None else round_to

    def fitted() -> dict[str, Any]:
        return _fitted(arch, budgets, latency_table, scaling, step, input_px, num_classes)

    question = {"macs": macs, "params": params, "scaling": scaling, "round_to": step, "px": input_px}
    remembers = latency is None and latency_table is None  # a latency is measured anew
    record = remembered({"fit": arch, "classes": num_classes, **question}, fitted) if remembers else fitted()
    network = Network.from_json(json.dumps(record["network"]))
    if output is not None:
        write_atomically(output, network.to_json())
    if as_json:
        print_json({key: value for key, value in record.items() if key != "layers"})
        return
    _print_cost(record)
    for budget in budgets:
        print(_used(budget, record))
    if "latency" in record:
        say_latency(record["latency"])
    if step == 1 and (odd := sum(count % _FAST != 0 for count in network.channels.values())):
        print(
            f"{odd} of {len(network.channels)} channel counts are no multiple of {_FAST}, which can cost speed (--fast)"
        )
    if output is not None:
        print(f"Written to {output}; train it with: {training_line(output, network.input_size[1])}")


def _fitted(
    arch: str,
    budgets: Sequence[Budget],
    latency_table: Path | None,
    scaling: str,
    round_to: int,
    input_px: int | None,
    num_classes: int | None,
) -> dict[str, Any]:
    """The fitted network, its cost and that of the dense one, as JSON values."""
    from thinresnet.networks import count, fit, scale
    from thinresnet.networks.latency_measuring import latency_record

    kwargs: dict[str, Any] = {**_kwargs(num_classes), "input_size": _input_size(arch, input_px)}
    with status(f"tracing {arch}"):
        dense = scale(arch, **kwargs)
    timed = any(budget.quantity == LATENCY for budget in budgets)
    table = latency_table_of(dense, latency_table) if timed else None
    with status(f"fitting {arch}"):
        network = fit(arch, budgets, scaling=scaling, round_to=round_to, latency_table=table or latency_table, **kwargs)
        record = _as_record(network, count(network), count(dense))
    if table is not None:
        record["latency"] = latency_record(table, network)
    return record


def _used(budget: Budget, record: Mapping[str, Any]) -> str:
    """How much of a budget is used."""
    if budget.quantity == LATENCY:
        dense_ms, used_ms = record["latency"]["predicted_dense_ms"], record["latency"]["predicted_ms"]
        limit, used = budget.limit(round(1e6 * dense_ms)), round(1e6 * used_ms)
        says = f"{milliseconds(used)} of {milliseconds(limit)}"
    else:
        limit, used = budget.limit(record[f"dense_{budget.quantity}"]), record[budget.quantity]
        says = f"{used:,} of {limit:,}"
    return f"--{budget.quantity} {budget.text}: {says} ({used / limit:.2%} used)"


@app.command("time")
def time_verb(
    context: typer.Context,
    what: What,
    arch: Arch = None,
    width: Width = None,
    interior: Interior = None,
    round_to: RoundToOfArch = None,
    input_px: InputPx = None,
    num_classes: Classes = None,
    batch_size: Annotated[int, typer.Option(min=1, max=10_000, help="Images in a batch.")] = 1,
    runs: Annotated[int, typer.Option(min=3, max=10_000, help="Timed runs of each network.")] = 20,
    device: Annotated[str | None, typer.Option(help="cpu, cuda, cuda:1 …; the GPU where there is one.")] = None,
    channels_last: Annotated[bool, typer.Option("--channels-last", help="Channels-last memory layout.")] = False,
    compiled: Annotated[bool, typer.Option("--compile", help="torch.compile both networks.")] = False,
    training: Annotated[
        bool, typer.Option("--training", help="Time updates (forward, backward, SGD) instead of inference.")
    ] = False,
    table: Annotated[
        Path | None,
        typer.Option(help="Time every layer at several widths instead, and write the table for --latency."),
    ] = None,
    as_json: JsonFlag = False,
) -> None:
    """Measure latency and throughput here, against the dense network, beside the MAC ratio.

    An architecture is timed at half width, unless flags say another shape; a network by its name as it is.

    Example: thinresnet time resnet50 --width 0.5 --batch-size 8
    """
    from thinresnet import base_width
    from thinresnet.networks import measure

    if table is not None:
        idle = ("width", "interior", "round_to", "channels_last", "compiled", "training")
        refuse_idle(context, "with --table", "it holds all widths' inference, in float32", these=idle)
        network, _ = _network_and_dense(what, arch, None, None, None, input_px, num_classes)
        write_latency_table(network, table, batch_size=batch_size, runs=runs, device=device, as_json=as_json)
        return
    if width is None and interior is None and not _is_described(what) and base_width.parse(what) is None:
        width = 0.5
    with status(f"tracing {what}"):
        network, dense = _network_and_dense(what, arch, width, interior, round_to, input_px, num_classes)
    pair = [dense] if network == dense else [dense, network]
    with progress("timing") as show:
        timings = measure(
            pair,
            batch_size=batch_size,
            runs=runs,
            device=device,
            channels_last=channels_last,
            compiled=compiled,
            training=training,
            progress=show,
        )
    title = f"{network.arch}, {'updates of ' if training else ''}batch {batch_size}, {runs} runs in turns"
    if as_json:
        facts = {"arch": network.arch, "training": training, "batch_size": batch_size, "runs": runs}
        print_json({**facts, "timings": _timing_rows(dense, timings)})
    else:
        _print_timings(_timing_rows(dense, timings), title)


def _timing_rows(dense: Network, timings: Sequence[Timing]) -> list[dict[str, Any]]:
    return [
        {
            "network": "dense" if timing.network == dense else "this network",
            "macs": timing.macs,
            "macs_ratio": timing.macs_ratio,
            "latency_ms": timing.latency_ms,
            "latency_spread_ms": timing.latency_spread_ms,
            "images_per_second": timing.images_per_second,
            "time_ratio": timing.time_ratio,
        }
        for timing in timings
    ]


def _print_timings(rows: Sequence[Mapping[str, Any]], title: str) -> None:
    columns = ("", "MACs", "MAC ratio", "latency, ms", "± quartiles", "images/s", "time ratio")
    formats = (str, short, "{:.3f}".format, "{:.2f}".format, "{:.2f}".format, "{:.1f}".format, "{:.3f}".format)
    cells = [[show_as(value) for show_as, value in zip(formats, row.values(), strict=True)] for row in rows]  # type: ignore[operator]
    print_table(columns, cells, title=title)


def _content_of(what: str) -> str | None:
    """A hash of what a file with a network holds; None for the name of an architecture, and for what cannot be read."""
    path = Path(what) / "network.json" if Path(what).is_dir() else Path(what)
    try:
        return hashlib.sha256(read_bytes(path, largest_bytes=_LARGEST_BYTES)).hexdigest()
    except InputError:
        return None


def _network_and_dense(
    what: str,
    arch: str | None,
    width: float | None,
    interior: float | None,
    round_to: int | None,
    input_px: int | None,
    num_classes: int | None,
) -> tuple[Network, Network]:
    """The network that a user points at, and the architecture that it was scaled from."""
    from thinresnet.networks import read_network, scale
    from thinresnet.networks.foreign import described

    of_weights = names_weights(what, arch)
    if of_weights or _is_described(what):
        flags = {
            "--width": width,
            "--interior": interior,
            "--round-to": round_to,
            "--input": input_px,
            "--num-classes": num_classes,
        }
        if given := [flag for flag, value in flags.items() if value is not None]:
            raise InputError(f"{given[0]}: {what} says its shape itself; leave it out, or name an architecture")
        network = described(Path(what), arch) if of_weights else read_network(what)
        return network, scale(network.arch, input_size=network.input_size, **network.kwargs)
    kwargs: dict[str, Any] = {**_kwargs(num_classes), "input_size": _input_size(what, input_px)}
    given_factors = {"width": width, "interior": interior, "round_to": round_to}
    factors: dict[str, Any] = {name: value for name, value in given_factors.items() if value is not None}
    network = scale(what, **factors, **kwargs)
    return network, scale(network.arch, input_size=network.input_size, **network.kwargs)


def _is_described(what: str) -> bool:
    """Whether this is a file or a folder with a network, and no architecture's name."""
    return what.endswith(".json") or Path(what).is_dir() or is_weights_file(what)


def _kwargs(num_classes: int | None) -> dict[str, Any]:
    return {} if num_classes is None else {"num_classes": num_classes}


def _input_size(arch: str, input_px: int | None) -> tuple[int, int, int] | None:
    if input_px is None:
        return None
    from thinresnet.network import check_input_size
    from thinresnet.networks.blueprint import default_input_size
    from thinresnet.networks.describe import check_arch

    check_arch(arch)
    return check_input_size((default_input_size(arch)[0], input_px, input_px))


def _as_record(network: Network, cost: Cost, reference: Cost) -> dict[str, Any]:
    return {
        "network": json.loads(network.to_json()),
        "macs": cost.macs,
        "params": cost.params,
        "activations": cost.activations,
        "dense_macs": reference.macs,
        "dense_params": reference.params,
        "dense_activations": reference.activations,
        "macs_ratio": cost.macs / reference.macs,
        "params_ratio": cost.params / reference.params,
        "layers": [{**vars(layer), "shape": list(layer.shape)} for layer in cost.layers],
    }


def _print_cost(record: dict[str, Any]) -> None:
    network = record["network"]
    side = "×".join(str(size) for size in network["input_size"])
    rows = []
    for name, key in (("MACs", "macs"), ("parameters", "params"), ("activations", "activations")):
        own, dense = record[key], record[f"dense_{key}"]
        rows.append((name, f"{own:,} ({short(own)})", f"{dense:,} ({short(dense)})", f"{own / dense:.4f}"))
    print_table(("", "this network", "dense", "ratio"), rows, title=f"{network['arch']} at {side}")


def _print_layers(record: dict[str, Any]) -> None:
    rows = [
        (layer["name"], layer["kind"], "×".join(map(str, layer["shape"])), f"{layer['macs']:,}", f"{layer['params']:,}")
        for layer in record["layers"]
    ]
    print_table(("layer", "kind", "weight", "MACs", "parameters"), rows, left=2)
