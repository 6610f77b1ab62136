"""`thinresnet leaderboard show | compare | holes | add | check | diff | cite | page | figure`.

Each verb has its file, which is imported when the verb is called: none waits for what another needs.
"""

from __future__ import annotations

import gc

import typer

from thinresnet.cli.on_demand import OnDemand, Verbs

VERBS = {
    "show": ("leaderboard_show", "Print rows of the board with their verdicts under one set of assumptions."),
    "compare": (
        "leaderboard_compare",
        "Hold all results for a network, a claim, a row or a paper against the bar, under every set of assumptions.",
    ),
    "holes": (
        "leaderboard_holes",
        "List the costs at which one run of a scaled network is missing: wide gaps first, then what nothing judges.",
    ),
    "add": ("leaderboard_add", "Put results on the board: from questions, flags, a YAML or CSV file, or a run folder."),
    "check": ("leaderboard_files", "Check every rule of every row and paper; ends with code 2 where one is broken."),
    "diff": (
        "leaderboard_files",
        "Show what is new on the board against another one, with verdicts, and which verdicts of other rows it moves.",
    ),
    "cite": ("leaderboard_files", "Print BibTeX."),
    "page": (
        "leaderboard_draw",
        "Write the board as one HTML file: chart, table and headline, from disk or as a static site, "
        "without a network.",
    ),
    "figure": (
        "leaderboard_draw",
        "Draw the figure for a paper: the bar, the published results and yours; prints a caption with every "
        "assumption.",
    ),
}


class _Leaderboard(OnDemand):
    verbs = Verbs(VERBS)


app = typer.Typer(
    name="leaderboard",
    cls=_Leaderboard,
    help="Published pruning results against simply scaled networks at no greater cost.",
    no_args_is_help=True,
)


@app.callback()
def _options(ctx: typer.Context) -> None:
    # A board is some hundred thousand objects that live until the verb ends: looking for garbage among them costs time.
    if gc.isenabled():
        gc.disable()
        ctx.call_on_close(gc.enable)
