"""The verbs: `thinresnet networks | count | fit | time | prune | crop | study | baseline | leaderboard …`.

Each room keeps its own verbs in `verbs.py`, which imports nothing heavy before a verb is called, so that help and the
leaderboard answer in a blink. Here they are put together, and what a user got wrong becomes one line and exit code 2.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from typing import Any

import typer

import thinresnet
from thinresnet.errors import InputError
from thinresnet.leaderboard import verbs as leaderboard_verbs
from thinresnet.leaderboard.cite import BASELINE, PROJECT
from thinresnet.networks import verbs as network_verbs
from thinresnet.pruning import verbs as pruning_verbs
from thinresnet.pruning.initialisation import verbs as crop_verbs
from thinresnet.studies import baseline_verbs
from thinresnet.studies import verbs as study_verbs
from thinresnet.training import verbs as training_verbs

app = typer.Typer(
    name="thinresnet",
    help="The bar that a structured-pruning paper must clear: scaled networks, trained the modern way.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
for verbs in (network_verbs, training_verbs, pruning_verbs, crop_verbs, leaderboard_verbs):
    verbs.add_to(app)


def _add_runs() -> Callable[..., Sequence[Any]]:
    from thinresnet.leaderboard.adding import add_runs

    return add_runs


study_verbs.add_to(app, _add_runs)
baseline_verbs.add_to(app, [BASELINE.bibtex, PROJECT.bibtex])


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
    try:
        app()
    except InputError as error:
        print(f"thinresnet: {error}", file=sys.stderr)
        sys.exit(2)


if __name__ == "__main__":
    main()
