"""`thinresnet leaderboard holes`: the runs of scaled networks that the bar misses."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated

import typer

from thinresnet.cli.leaderboard_output import (
    RULE,
    AgainstOption,
    BoardOption,
    OnOption,
    RecipesOption,
    ResolutionOption,
    cells_asked,
    print_words,
    read_rows,
    table,
    text,
)
from thinresnet.cli.terminal import JsonFlag, console, print_json, say
from thinresnet.leaderboard import show as choosing
from thinresnet.leaderboard import weights
from thinresnet.leaderboard.bar import Bar
from thinresnet.leaderboard.holes import Hole
from thinresnet.leaderboard.holes import holes as find_holes
from thinresnet.leaderboard.records import plain
from thinresnet.leaderboard.references import RULES, UNITS

app = typer.Typer()


@app.command()
def holes(
    dataset: Annotated[str, typer.Option(help="Dataset; all without it.")] = "",
    arch: Annotated[str, typer.Option(help="Architecture; all without it.")] = "",
    against: AgainstOption = "",
    recipes: RecipesOption = "any",
    resolution: ResolutionOption = "any",
    on: OnOption = "macs",
    limit: Annotated[int, typer.Option(min=0, help="Lines at most; 0 for all.")] = 20,
    as_json: JsonFlag = False,
    board: BoardOption = None,
) -> None:
    """List the costs at which one run of a scaled network is missing: wide gaps first, then what nothing judges.

    Example: thinresnet leaderboard holes --dataset imagenet
    """
    first = cells_asked(against, recipes, resolution, on)[0]
    entries = read_rows(board)
    choosing.choose(entries, {}, choosing.Choice(dataset=dataset, arch=arch))
    found = find_holes(
        entries, Bar(entries), dataset=dataset, arch=arch, references=first.references if against else "",
        recipes=first.recipes, resolution=first.resolution, budget=first.budget,
    )  # fmt: skip
    shown = found[:limit] if limit else found
    if as_json:
        records = [{**_hole_record(hole), "public_weights": weights.record_for(hole)} for hole in shown]
        print_json({"rules": RULES, "holes": records})
        return
    numbers = (f"{UNITS[on].split()[0]} {UNITS[on].split()[1]}", "dense", "results", "top-1 %")
    made = table("Runs that the bar misses", "what", "networks", *numbers, right=numbers)
    for hole in shown:
        share = f"{hole.share:.1%}" if hole.share is not None else ""
        what = f"{hole.kind} {hole.factor:.1f}x" if hole.factor else hole.kind
        low, high = hole.top1
        figures = (f"{hole.cost:.4g}", share, str(len(hole.verdicts)), f"{low:.1f} to {high:.1f}")
        made.add_row(*map(text, (what, f"{', '.join(hole.archs)} on {hole.dataset}", *figures)))
    to = console()
    to.print(made)
    _print_weights(shown, limit)
    under = choosing.Under(first.references if against else "", first.recipes, first.resolution, first.budget)
    flag = "--params" if on == "params" else "--macs"
    print_words(
        to, f"{len(shown)} of {len(found)} missing runs against {under.says}: `thinresnet train {flag}`. {RULE}"
    )


def _print_weights(holes: Sequence[Hole], limit: int) -> None:
    """Which of these holes public weights would fill: a line each, and the commands for the first of them."""
    if not (found := weights.fills(holes)):
        return
    shown = found[:limit] if limit else found
    say("Public weights would serve some of them; evaluating takes minutes, and no training:")
    for fill in shown:
        say(f"  {fill.weights.network} on {fill.weights.dataset}, {fill.cost:.4g}: {len(fill.serves)} results")
    if len(shown) < len(found):
        say(f"  and {len(found) - len(shown)} more; --limit 0 shows all")
    first = shown[0].weights
    say(f"The first of them, as all the others:\n  file     {first.url}")
    say(f"  measure  {weights.command_for(first)}\n  add      {weights.add_command_for(first)}")


def _hole_record(hole: Hole) -> dict[str, object]:
    under = hole.assumptions
    return {
        "kind": hole.kind, "dataset": hole.dataset, "archs": list(hole.archs), "references": under.references,
        "recipes": under.recipes, "resolution": under.resolution, "budget": under.budget, "cost": plain(hole.cost),
        "of_dense": plain(hole.share), "factor": plain(hole.factor),
        "results": [verdict.entry.id for verdict in hole.verdicts], "top1": [plain(figure) for figure in hole.top1],
    }  # fmt: skip
