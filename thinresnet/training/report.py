"""The closing report of a run in the terminal."""

from __future__ import annotations

from rich.console import Console

from thinresnet.budget import short
from thinresnet.progress import duration
from thinresnet.result import PARTS, Result, Score


def report(result: Result, console: Console, place: str | None = None) -> None:
    """The closing report: accuracy, cost, time, and where everything lies."""
    console.print(
        f"\n[bold]{result.arch} {result.shape}[/bold] on {result.dataset}, seed {result.seed}", highlight=False
    )
    for part, name in PARTS.items():
        score: Score | None = getattr(result, part)
        if score is not None:
            top5 = "" if score.top5 is None else f"   top-5 {score.top5:.2f} %"
            counts = f"({score.correct1:,} of {score.images:,} images)"
            _line(console, name, f"[bold]top-1 {score.top1:.2f} %[/bold]{top5}   {counts}")
    share = 100 * result.macs / result.dense_macs
    cost = f"{short(result.macs)} MACs an image ({share:.1f} % of dense), {short(result.params)} parameters"
    _line(console, "network", cost)
    if result.masks is not None:
        held, weights = result.masks["zeros"], result.masks["weights"]
        _line(console, "masks", f"{held:,} of {weights:,} weights held at zero, and computed")
    if result.teacher is not None:
        own = result.teacher
        how = (
            f"alpha {own['alpha']:g}, temperature {own['temperature']:g}, {short(own['forward_macs'])} MACs of its own"
        )
        _line(console, "teacher", f"{own['name']} ({own['source']}), {how}")
    epochs = "1 epoch" if result.epochs == 1 else f"{result.epochs} epochs"
    work = f"{epochs} of {result.images_train:,} images, {short(result.training_macs)} MACs"
    _line(console, "training", f"{work}, {duration(result.seconds_total)}, {result.images_per_second:,.0f} images/s")
    if place is not None:
        _line(console, "board", place)
    _line(console, "run", str(result.folder))


def _line(console: Console, name: str, text: str) -> None:
    console.print(f"  {name:<14}  {text}", highlight=False, soft_wrap=True)
