"""The command line: `thinresnet networks | count | train | prune | study | leaderboard …`.

One file a group of verbs, imported when one of its verbs is called; the files here are the only ones that join the
leaderboard with the rest, and the only ones that import inside functions, so that help, the leaderboard and a slip of
the keyboard are answered without torch. What a user got wrong becomes one line and exit code 2.
"""

from __future__ import annotations

import gc
import io
import sys
from typing import Any, NoReturn

import typer

import thinresnet
from thinresnet.cli.on_demand import OnDemand, Verbs
from thinresnet.cli.slow_imports import imports_told
from thinresnet.errors import FAILED_EXIT_CODE, INPUT_EXIT_CODE, check_utf8, one_line
from thinresnet.stopping import end_on_signals, ending

_ClickError: type[Exception] = typer.BadParameter.__mro__[2]  # what typer raises for any slip, under a private name
STOPPED_EXIT_CODE = 130  # as shells say of Ctrl-C
_STOPPED = "thinresnet: stopped; files are whole or as they were: give the command again to do it anew"
# Each verb (or group of verbs): the file of this package that has it, and what the list of verbs says of it (the first
# line of its own help), so that the list is shown without importing them all.
VERBS = {
    "networks": ("networks", "List the networks that are known to work, or try others."),
    "count": ("networks", "Count MACs, parameters and activations, and compare them with the dense network."),
    "fit": ("networks", "Find the largest network of a scaling that costs no more than a budget."),
    "time": ("networks", "Measure latency and throughput here, against the dense network, beside the MAC ratio."),
    "train": ("train", "Train a network by a recipe; the same as train.py, whose flags are those of recipes."),
    "import": (
        "evaluate",
        "Make foreign weights a run folder: read without unpickling, mapped layer by layer.",
    ),
    "evaluate": (
        "evaluate",
        "Measure networks on test images, each with its own preprocessing unless flags say another.",
    ),
    "predict": (
        "predict",
        "Predict the classes of images with a run's network and its own preprocessing.",
    ),
    "export": (
        "export",
        "Export a run's network as ONNX, TorchScript or torch.export, checked against the network's own outputs.",
    ),
    "plot": (
        "runs",
        "Draw accuracy, loss, learning rate and speed of runs over their epochs, as PNG, SVG and HTML (works offline).",
    ),
    "recipes": ("runs", "List the recipes, or print one of them with its sources."),
    "data": ("data", "Look at a dataset; write it as .beton files for FFCV."),
    "prune": (
        "prune",
        "Prune a network to a budget, trained or at initialisation: a smaller dense network.",
    ),
    "study": ("study", "Methods and plain scaling compared under one budget, from one file."),
    "baseline": (
        "baseline",
        "The baseline: ThinResNet by its authors, and this project's exact-budget networks, frozen.",
    ),
    "leaderboard": ("leaderboard", "Published pruning results against simply scaled networks at no greater cost."),
}
_GROUPS = frozenset({"data", "study", "baseline", "leaderboard"})


class _Groups(OnDemand):
    verbs = Verbs(VERBS, _GROUPS)

    def get_command(self, ctx: Any, cmd_name: str) -> Any:
        found = super().get_command(ctx, cmd_name)
        if cmd_name != "leaderboard":
            gc.enable()  # what a verb makes from now on may be garbage; what was imported is none
        return found


app = typer.Typer(
    name="thinresnet",
    cls=_Groups,
    help="The bar that a structured-pruning paper must clear: scaled networks, trained the modern way.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


def _print_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"thinresnet {thinresnet.__version__}")
        raise typer.Exit


@app.callback()
def _options(
    version: bool = typer.Option(
        False, "--version", callback=_print_version, is_eager=True, help="Print the version and stop."
    ),
) -> None:
    """Run one verb; `thinresnet VERB --help` shows an example."""


def main() -> None:
    """The console script."""
    gc.disable()  # nothing that is imported is garbage, nor is any row of a board
    # Where nothing catches a signal to save its state, the verb is over.
    with end_on_signals(_STOPPED, STOPPED_EXIT_CODE), imports_told(sys.stderr):
        try:
            check_utf8(sys.argv[1:])
            for stream in (sys.stdout, sys.stderr):
                if isinstance(stream, io.TextIOWrapper):  # names on a disk may be no UTF-8; they are shown as escapes
                    stream.reconfigure(errors="backslashreplace")
            sys.exit(app(standalone_mode=False))
        except _ClickError as error:
            _end_usage(error)
        except typer.Abort:
            _end("stopped; nothing was done", FAILED_EXIT_CODE)
        except Exception as error:
            if not (ended := ending(error)):
                raise
            _end(*ended)


def _end_usage(error: Any) -> NoReturn:
    """A slip of the keyboard as one line like any other, where typer draws a box; a group alone shows its help."""
    if type(error).__name__ == "NoArgsIsHelpError":  # the help is printed already
        sys.exit(INPUT_EXIT_CODE)
    verbs: list[str] = []
    context = getattr(error, "ctx", None)
    while context is not None and context.parent is not None:
        verbs.insert(0, context.info_name)
        context = context.parent
    said = " ".join(error.format_message().split()).rstrip(".")
    _end(f"{said}; see {' '.join(['thinresnet', *verbs])} --help", INPUT_EXIT_CODE)


def _end(line: str, code: int) -> NoReturn:
    print(f"thinresnet: {one_line(line)}", file=sys.stderr)
    sys.exit(code)
