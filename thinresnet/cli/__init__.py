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
from typer.core import TyperGroup

import thinresnet
from thinresnet.errors import FAILED_EXIT_CODE, INPUT_EXIT_CODE, InputError, os_error_line
from thinresnet.stopping import REQUEUE_EXIT_CODE, TrainingError, TrainingInterruptedError, end_on_signals

STOPPED_EXIT_CODE = 130  # as shells say of Ctrl-C
_STOPPED = "thinresnet: stopped; files are whole or as they were: give the command again to do it anew"
# Each verb (or group of verbs) and the file of this package that has it.
VERBS = {
    "networks": "networks",
    "count": "networks",
    "fit": "networks",
    "time": "networks",
    "train": "train",
    "import": "evaluate",
    "evaluate": "evaluate",
    "plot": "runs",
    "recipes": "runs",
    "data": "data",
    "prune": "prune",
    "study": "study",
    "baseline": "baseline",
    "leaderboard": "leaderboard",
}
_GROUPS = frozenset({"data", "study", "baseline", "leaderboard"})


class _OnDemand(TyperGroup):
    """Verbs whose files are imported when they are asked for."""

    def __init__(self, **settings: Any) -> None:
        super().__init__(**settings)
        self.commands = dict.fromkeys(VERBS)  # type: ignore[assignment]  # names, to suggest from

    def list_commands(self, ctx: Any) -> list[str]:
        return list(VERBS)

    def get_command(self, ctx: Any, cmd_name: str) -> Any:
        if cmd_name not in VERBS:
            return None
        group = typer.main.get_group(importlib.import_module(f"{__name__}.{VERBS[cmd_name]}").app)
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
