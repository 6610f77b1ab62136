"""`thinresnet prune`."""

from __future__ import annotations

import sys
from dataclasses import dataclass, replace
from importlib.metadata import entry_points
from itertools import groupby
from pathlib import Path
from typing import Annotated, Any

import typer

from thinresnet.budget import Budget, short
from thinresnet.cli.catalogue import COLUMNS, Row, as_markdown, cells, method_rows, settings_rows
from thinresnet.cli.idle import refuse_idle
from thinresnet.cli.latency import LatencyTableFile, latency_row, say_latency
from thinresnet.cli.next_steps import training_line
from thinresnet.cli.terminal import JsonFlag, note, print_json, print_table, progress, say, status
from thinresnet.errors import InputError

Params = Annotated[list[str] | None, typer.Option(help="At most this many parameters: 12M or 50%.")]
Latencies = Annotated[list[str] | None, typer.Option(help="At most this predicted time of a batch: 12ms or 50%.")]
LARGEST_SEED = 2**63 - 1  # of torch
app = typer.Typer()
GROUP = "thinresnet.methods"  # as in pruning/registry.py, which takes seconds to import

Recalibrate = Annotated[
    int,
    typer.Option(
        min=0,
        metavar="IMAGES",
        help="Measure batch norms anew after the cut on training images at hand; 0: do not.",
    ),
]
SettingsFlag = Annotated[
    bool, typer.Option("--settings", help="With --list: each setting beside its paper's, and why they differ.")
]
MarkdownFlag = Annotated[bool, typer.Option("--markdown", help="Print --list --settings as Markdown.")]
What = Annotated[
    str,
    typer.Argument(metavar="[RUN|NETWORK]", help="A run folder, a network.json, a file of weights or an architecture."),
]
Macs = Annotated[
    list[str] | None, typer.Option(help="At most this many MACs: 2.05G, or a share: 50%. Again for more folders.")
]
To = Annotated[str | None, typer.Option(help="Instead of a budget: a paper's list (R56-A …), a network.json or a run.")]
Scope = Annotated[
    str | None, typer.Option(help="layer: the same share of each; global: one ranking. Default: the method's.")
]
Stream = Annotated[
    bool | None, typer.Option("--stream/--no-stream", help="Prune the residual stream too. Default: the method's.")
]
Settings = Annotated[
    list[str] | None,
    typer.Option("--set", metavar="NAME=VALUE", help="A setting of the method; see METHOD --list."),
]
OwnMethod = Annotated[
    str | None,
    typer.Option("--method", metavar="FILE.py:NAME", help="A method of your own, or of an installed package."),
]
ArchOfWeights = Annotated[
    str | None, typer.Option(help="Of a file of weights: its architecture, where its layers do not tell.")
]
Pretrained = Annotated[
    bool, typer.Option("--pretrained", help="The architecture's pretrained weights, by timm's loader.")
]
Holdout = Annotated[float | None, typer.Option(help="Share of the training set kept aside; default: the run's own.")]


@app.command("prune")
def prune_verb(
    context: typer.Context,
    method: Annotated[str, typer.Argument(metavar="[METHOD]", help="What prunes: see --list.")] = "",
    what: What = "",
    macs: Macs = None,
    params: Params = None,
    latency: Latencies = None,
    latency_table: LatencyTableFile = None,
    to: To = None,
    scope: Scope = None,
    stream: Stream = None,
    round_to: Annotated[int, typer.Option(help="Channel counts are multiples of this.")] = 1,
    preconfig: Annotated[bool, typer.Option("--preconfig", help="At initialisation: layers may also grow.")] = False,
    settings: Settings = None,
    own: OwnMethod = None,
    weights: Annotated[Path | None, typer.Option(help="The network's weights, where it is not a run folder.")] = None,
    pretrained: Pretrained = False,
    arch: ArchOfWeights = None,
    input_px: Annotated[int | None, typer.Option("--input", help="Side of an architecture's input in pixels.")] = None,
    num_classes: Annotated[int | None, typer.Option(help="Number of an architecture's classes.")] = None,
    recipe: Annotated[str | None, typer.Option(help="How to train and read images; default: the run's own.")] = None,
    data_dir: Annotated[Path | None, typer.Option(help="The images, where they are not where the run says.")] = None,
    holdout: Holdout = None,
    seed: Annotated[
        int | None, typer.Option(min=0, max=LARGEST_SEED, help="The random seed; default: the run's.")
    ] = None,
    recalibrate: Recalibrate = 2048,
    output: Annotated[Path, typer.Option("--output", "-o", help="Folder of runs.")] = Path("runs"),
    list_methods: Annotated[bool, typer.Option("--list", help="Say what each method needs, serves and does.")] = False,
    published: SettingsFlag = False,
    as_markdown_: MarkdownFlag = False,
    as_json: JsonFlag = False,
) -> None:
    """Prune a network to a budget, trained or at initialisation: a smaller dense network.

    Examples: thinresnet prune l1 runs/resnet20_cifar-dense-digits-s42-3f9a1c --macs 50%
    and before anything is trained: thinresnet prune synflow resnet50 --macs 50%
    """
    names = [name for name in (method, what) if name]
    if (published or as_markdown_) and not list_methods:
        raise InputError("--settings, --markdown: they go with --list; a method's setting is set by --set NAME=VALUE")
    if list_methods:
        shown = ("own", "list_methods", "published", "as_markdown_", "as_json")
        refuse_idle(context, "with --list", "it prunes nothing", all_but=shown)
        _list(own, names, _Shown(published, as_markdown_, as_json))
        return
    wanted, subject = _wanted_method(own, names)
    source = _Source(subject, arch, weights, pretrained, input_px, num_classes, recipe, data_dir, holdout)
    texts = {"macs": macs or [], "params": params or [], "latency": latency or []}
    given = _Given(texts, latency_table, to, scope, stream, round_to, preconfig, seed, recalibrate)
    done = _prune(wanted, dict(setting(text) for text in settings or []), source, given, output)
    if as_json:
        print_json([{"folder": str(folder), **record.to_json()} for folder, record in done])
        return
    for folder, record in done:
        _report(folder, record)


@dataclass(frozen=True)
class _Shown:
    """The flags that say how methods are listed."""

    settings: bool
    as_markdown: bool
    as_json: bool


@dataclass(frozen=True)
class _Source:
    """The flags that say what is pruned."""

    what: str
    arch: str | None
    weights: Path | None
    pretrained: bool
    input_px: int | None
    num_classes: int | None
    recipe: str | None
    data_dir: Path | None
    holdout: float | None

    def parent(self) -> Any:
        """The network with its weights, and the recipe and images that come with it or that flags name."""
        from thinresnet.networks.blueprint import default_input_size
        from thinresnet.networks.describe import describe
        from thinresnet.pruning.parent import read_parent

        if self.pretrained:
            return self._pretrained()
        found = read_parent(
            self.what,
            arch=self.arch,
            weights=self.weights,
            recipe=self.recipe,
            data_dir=self.data_dir,
            holdout=self.holdout,
        )
        if self.input_px is None and self.num_classes is None:
            return found
        if Path(self.what).exists():
            raise InputError(f"--input, --num-classes: {self.what} says both itself; they are for architectures")
        size = None if self.input_px is None else (default_input_size(self.what)[0], self.input_px, self.input_px)
        kwargs: dict[str, Any] = {} if self.num_classes is None else {"num_classes": self.num_classes}
        return replace(found, network=describe(self.what, input_size=size, **kwargs))

    def _pretrained(self) -> Any:
        """An architecture with its pretrained weights, at the input that they were trained for."""
        from thinresnet.pruning.parent import read_parent
        from thinresnet.training.pretrained import pretrained_weights

        if self.weights is not None or self.input_px is not None or self.arch is not None:
            raise InputError(
                "--pretrained brings weights and their input size; leave out --weights, --arch and --input"
            )
        if Path(self.what).exists():
            raise InputError(f"--pretrained: {self.what} is a file or a folder; the flag is for architectures")
        network, weights = pretrained_weights(self.what, self.num_classes)
        found = read_parent(
            self.what, weights=weights, recipe=self.recipe, data_dir=self.data_dir, holdout=self.holdout
        )  # fmt: skip
        return replace(found, network=network)


@dataclass(frozen=True)
class _Given:
    """The flags that say how far to prune."""

    budget_texts: dict[str, list[str]]
    latency_table: Path | None
    to: str | None
    scope: str | None
    stream: bool | None
    round_to: int
    preconfig: bool
    seed: int | None
    recalibrate: int

    def budgets(self) -> tuple[tuple[Budget, ...], ...]:
        """One set of budgets a folder."""
        texts = {quantity: own for quantity, own in self.budget_texts.items() if own}
        if len({len(own) for own in texts.values()}) > 1:
            times = " and ".join(f"--{quantity} {len(own)} times" for quantity, own in texts.items())
            raise InputError(f"{times}: each folder takes one of each")
        columns = [[Budget.parse(quantity, text) for text in own] for quantity, own in texts.items()]
        return tuple(zip(*columns, strict=True))


def setting(text: str) -> tuple[str, str]:
    """The name and the value of `--set NAME=VALUE`."""
    name, equals, value = text.partition("=")
    if not equals:
        raise InputError(f"--set {text}: write NAME=VALUE, such as --set images=512")
    return name.strip().replace("-", "_"), value.strip()


def _wanted_method(own: str | None, names: list[str]) -> tuple[Any, str]:
    """The method's class, and what it is to prune; with --method the network alone is left to name."""
    from thinresnet.pruning.registry import asked_for, found

    if own is not None:
        if len(names) != 1:
            raise InputError(f"prune: with --method {own} give the network alone, not {' '.join(names) or 'nothing'}")
        return asked_for(own), names[0]
    if len(names) != 2:
        raise InputError(
            "prune: give a method and what to prune: thinresnet prune l1 runs/<id> --macs 50% (methods: --list)"
        )
    return found(names[0]), names[1]


def _prune(kind: Any, settings: dict[str, str], source: _Source, given: _Given, output: Path) -> list[tuple[Path, Any]]:
    """Prune into folders."""
    from thinresnet.networks import read_network
    from thinresnet.networks.latency_measuring import table_of
    from thinresnet.pruning.folder import prune_to_folders
    from thinresnet.pruning.method import INITIALISATION
    from thinresnet.pruning.presets import preset
    from thinresnet.pruning.registry import configured
    from thinresnet.pruning.session import How, recalibrates

    method = configured(kind, settings)
    with status(f"reading {source.what}"):
        parent = source.parent()
    to = given.to
    is_file = to is not None and (Path(to).exists() or to.endswith(".json"))
    how = How(
        budgets=given.budgets(),
        to=None if to is None else read_network(to) if is_file else preset(to, parent.network),
        to_name=None if is_file else to,
        scope=given.scope,
        stream=given.stream,
        round_to=given.round_to,
        grow=given.preconfig,
        seed=parent.seed if given.seed is None else given.seed,
        latency_table=None if given.latency_table is None else table_of(parent.network, given.latency_table),
        recalibrate=given.recalibrate,
    )
    if method.when == INITIALISATION and (source.weights is not None or source.pretrained):
        flag = "--pretrained" if source.pretrained else "--weights"
        raise InputError(f"{flag}: {method.name} acts at initialisation, on weights drawn from --seed; leave it out")
    command = ["thinresnet", *sys.argv[1:]]
    with progress(f"pruning by {method.name}") as shown:
        done = list(prune_to_folders(method, parent, how, output=output, command=command, progress=shown))
    if method.when != INITIALISATION and parent.weights is None:
        note(_no_weights(source.what))
    elif given.recalibrate and recalibrates(method) and not all(record.recalibrate for _, record in done):
        note(
            "Batch norms keep the statistics of the network before the cut, for want of images: give a run whose data "
            "are at hand, or --recipe and --data-dir (--recalibrate 0: leave them on purpose)."
        )
    return done


def _no_weights(what: str) -> str:
    """What is pruned where no weights were given, and how to give some."""
    said = "No weights were given: the network is as it was drawn from the random seed."
    if Path(what).exists():
        return said
    return f"{said} Its pretrained weights: --pretrained; a file of them: thinresnet import FILE, then prune that run."


def _list(own: str | None, names: list[str], shown: _Shown) -> None:
    """All methods, or one with its settings; or the settings of all or one beside their papers'."""
    rows = _rows(own, names)
    if shown.settings:
        if shown.as_markdown:
            print(as_markdown(rows), end="")
        elif shown.as_json:
            print_json(settings_rows(rows))
        else:
            print_table(COLUMNS, map(cells, settings_rows(rows)), left=len(COLUMNS))
        return
    if shown.as_markdown:
        raise InputError("--markdown: it is for --list --settings")
    if shown.as_json:
        print_json(rows)
        return
    for when, group in groupby(rows, lambda row: str(row["when"])):
        say(f"{when.capitalize()}:")
        for row in group:
            _say_facts(row, settings=bool(own or names))
        say()
    if not (own or names):
        for point in entry_points(group=GROUP):
            say(f"[bold]{point.name}[/bold]  of an installed package ({point.value}): --method {point.name}")
        say("The settings of one of them: thinresnet prune METHOD --list; all beside their papers': --list --settings")


def _rows(own: str | None, names: list[str]) -> list[Row]:
    """What is listed; our own methods are known without importing them."""
    known = {str(row["method"]): row for row in method_rows()}
    if own is None and set(names) <= set(known):
        return [known[name] for name in names] or list(known.values())
    from thinresnet.pruning.registry import asked_for, facts, found

    return [facts(kind) for kind in ([asked_for(own)] if own else map(found, names))]


def _say_facts(row: Row, *, settings: bool) -> None:
    """A method in two or three lines, or with its paper and settings."""
    say(f"  [bold]{row['method']}[/bold]  {row['does']}")
    told = [f"needs {', '.join(row['needs']) or 'shapes only'}", f"removes {row['removes']}", f"serves {row['serves']}"]
    if row["when"] != "at initialisation":
        told += [f"ranks by {row['scope']}", *(["prunes the residual stream"] if row["stream"] else [])]
    told += ["layers may grow (--preconfig)"] if row["preconfig"] else []
    say("      " + "; ".join(told), style="dim")
    if row["reconstruction"]:
        say(f"      reconstruction, {row['reconstruction']}", style="dim")
    if settings:
        say(f"      {row['paper']}")
        for key, default in row["settings"].items():
            say(f"      --set {key}={default}  {row['takes'][key]}")


def _report(folder: Path, record: Any) -> None:
    """What came out, in a few lines."""
    rows: list[tuple[str, ...]] = [
        (name, short(before), short(after), f"{after / dense:.2%}")
        for name, before, after, dense in (
            ("MACs", record.parent_macs, record.macs, record.dense_macs),
            ("parameters", record.parent_params, record.params, record.dense_params),
        )
    ]
    if record.latency is not None:
        rows.append(latency_row(record.latency))
    if record.holdout_before is not None and record.holdout_pruned is not None:
        top1 = (f"{score['top1']:.2f} %" for score in (record.holdout_before, record.holdout_pruned))
        rows.append(("hold-out top-1, before fine-tuning", *top1, ""))
    if record.layers:
        left = sorted((layer["left"], name) for name, layer in record.layers.items())
        rows += [
            (f"{which} layer, {name}", "", f"{density:.2%}", "")
            for which, (density, name) in (("sparsest", left[0]), ("densest", left[-1]))
        ]
    print_table(("", "before", "after", "of dense"), rows, title=f"{record.method} ({record.when})")
    if record.latency is not None:
        say_latency(record.latency)
    if record.reconstruction:
        say(f"Reconstruction, {record.reconstruction}.")
    if record.masked:
        notes = record.notes
        say(
            f"Weights are masked, not removed: in theory {short(notes['theoretical_macs'])} MACs and "
            f"{short(notes['theoretical_params'])} parameters; what is computed is the network above."
        )
    say(f"Written to {folder}; {_next(folder, record)}")


def _next(folder: Path, record: Any) -> str:
    """What to do with the folder."""
    from thinresnet.networks import read_network

    side_px = read_network(folder).input_size[1]
    if record.masked:
        return f"train it, its zeros held, with: {training_line(folder, side_px, fine_tune=True)}"
    if record.layers:
        return f"train it with: {training_line(folder, side_px)}"
    if record.holdout_before is None:
        say("No accuracy before fine-tuning: nothing was held out (train with --holdout 0.1).")
    return f"fine-tune it with: {training_line(folder, side_px, fine_tune=True)}"
