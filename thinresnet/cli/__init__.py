"""The command line: `thinresnet networks | count | train | prune | study | leaderboard …`.

One file a group of verbs, imported when one of its verbs is called; the files here are the only ones that join the
leaderboard with the rest, and the only ones that import inside functions, so that help, the leaderboard and a slip of
the keyboard are answered without torch. What a user got wrong becomes one line and exit code 2.
"""

from __future__ import annotations

import importlib
import sys
from typing import Any, NoReturn

import typer
from typer.core import TyperCommand, TyperGroup

import thinresnet
from thinresnet.errors import FAILED_EXIT_CODE, INPUT_EXIT_CODE, InputError, os_error_line
from thinresnet.stopping import REQUEUE_EXIT_CODE, TrainingError, TrainingInterruptedError, end_on_signals

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
    "data": ("data", "Look at a dataset; write it as .beton files for the ffcv loader."),
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


class _OnDemand(TyperGroup):
    """Verbs whose files are imported when they are asked for."""

    def __init__(self, **settings: Any) -> None:
        super().__init__(**settings)
        self.commands = dict.fromkeys(VERBS)  # type: ignore[assignment]  # names, to suggest from
        self._lists = False

    def format_help(self, ctx: Any, formatter: Any) -> None:
        self._lists = True
        super().format_help(ctx, formatter)

    def list_commands(self, ctx: Any) -> list[str]:
        return list(VERBS)

    def get_command(self, ctx: Any, cmd_name: str) -> Any:
        if cmd_name not in VERBS:
            return None
        file, says = VERBS[cmd_name]
        if self._lists:
            return TyperCommand(cmd_name, help=says)
        group = typer.main.get_group(importlib.import_module(f"{__name__}.{file}").app)
        return group if cmd_name in _GROUPS else group.commands[cmd_name]


app = typer.Typer(
    name="thinresnet",
    cls=_OnDemand,
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
    # Where nothing catches a signal to save its state, the verb is over.
    with end_on_signals(_STOPPED, STOPPED_EXIT_CODE):
        try:
            app()
        except InputError as error:
            _end(str(error), INPUT_EXIT_CODE)
        except TrainingInterruptedError as error:
            _end(f"{error}; saved: the same command resumes from there", REQUEUE_EXIT_CODE)
        except TrainingError as error:
            _end(str(error), FAILED_EXIT_CODE)
        except OSError as error:
            _end(*os_error_line(error))


def _end(line: str, code: int) -> NoReturn:
    print(f"thinresnet: {line}", file=sys.stderr)
    sys.exit(code)
