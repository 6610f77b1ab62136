"""The paper's tables as Markdown, each cell computed from evidence."""

from __future__ import annotations

import statistics
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from thinresnet.progress import duration
from thinresnet.studies.paper.rows import UNDECIDED, Evidence, Row, costs_of, difference, strongest
from thinresnet.studies.protocols.public import SCALED_PUBLIC
from thinresnet.welch import FEWEST_SEEDS

ADAPTED, CLASSIC = "adapted", "classic"  # the labels of recipes in baselines/paper.yaml
HOW = (
    "Top-1 of the test images after the last epoch, mean ± sample standard deviation over n random seeds. A seed "
    "varies the fine-tuning (of random channels the channels too): the pretraining, the parent's adaptation and the"
    " pruning are one each, and no interval covers them. Difference: to the thin network of the same budget, fine-"
    "tuned over as many epochs by the schedule that suits it best, in points, with Welch's 95 % interval from three"
    " seeds on each side; of a pruned network's schedules the claims take the best one too. Training MACs are of "
    "one seed from the origin: the authors' training of the parent or of the thin network, adaptation, pruning, "
    "fine-tuning."
)
_HEAD = (
    "", "epochs", "n", "top-1 %", "difference", "verdict", "MACs", "params", "training MACs", "fine-tuning took",
)  # fmt: skip
_NAMES = {
    "random": "random channels",
    "depgraph": "DepGraph",
    "l1": "L1",
    "slimming": "slimming",
    "fisher": "gradual Fisher",
}


def name_of(row: Row) -> str:
    """What a row is called."""
    if row.protocol == "dense":
        name = "dense parent, adapted"
    elif row.protocol == SCALED_PUBLIC:
        name = f"**thin network {row.budget}**"
    else:
        name = f"{_NAMES.get(row.method or '', row.method)}, pruned"
    return f"{name}, distilled" if row.distilled else name


def pruning_against_thin(evidence: Evidence, recipe: str = ADAPTED) -> str:
    """Table 1: at each budget the thin network and the pruned ones, by way of fine-tuning."""
    lines = _begun(_HEAD)
    own = [row for row in evidence.rows if row.recipe.startswith(recipe)]
    lines += [_line(_cells(evidence, row)) for row in own if row.budget is None]
    for budget in dict.fromkeys(row.budget for row in own if row.budget):
        lines.append(_line([f"**MACs of {budget}**", *[""] * (len(_HEAD) - 1)]))
        at = [row for row in own if row.budget == budget]
        for key in dict.fromkeys((row.distilled, row.finetuning) for row in at):
            same = [row for row in at if (row.distilled, row.finetuning) == key]
            if any(row.n for row in same):
                lines += [_line(_cells(evidence, row)) for row in sorted(same, key=_place)]
            else:
                lines.append(_line(_nothing_of(same)))
    return "\n".join(lines)


def _place(row: Row) -> tuple[bool, float]:
    """The thin network first, then the best; what is not measured last."""
    return row.protocol != SCALED_PUBLIC, -row.mean if row.n else 0.0


def _nothing_of(rows: Sequence[Row]) -> list[str]:
    """One line for rows of which none has a finished seed."""
    way = f"{rows[0].finetuning}, distilled" if rows[0].distilled else rows[0].finetuning
    return [f"all {len(rows)} rows ({way})", "", "0", rows[0].accuracy, *[""] * 6]


def _cells(evidence: Evidence, row: Row) -> list[str]:
    if not row.n:
        way = f" ({row.finetuning})" if row.finetuning else ""
        return [f"{name_of(row)}{way}", "", "0", row.accuracy, *[""] * 6]
    found = evidence.difference(row)
    verdict = "" if found is None else found.outcome
    if found is not None and verdict == UNDECIDED:
        other = evidence.reference(row)
        verdict = f"{UNDECIDED} (n={min(row.n, other.n if other else 0)})"
    way = row.finetuning if row.budget else ""
    epochs = f"{row.epochs} ({way})" if way else str(row.epochs)
    shown = "" if found is None else str(found)
    took = duration(statistics.fmean(row.seconds))
    return [name_of(row), epochs, row.seeds, row.accuracy, shown, verdict, *costs_of(row), took]


def summary(evidence: Evidence) -> str:
    """For a README: what has three seeds on both sides, each by its stronger schedule, without distillation."""
    head = ("", "epochs", "n", "top-1 %", "pruned minus thin", "training MACs")
    lines = _begun(head)
    own = [row for row in evidence.rows if row.recipe == ADAPTED and row.budget is not None and not row.distilled]
    budgets = list(dict.fromkeys(row.budget for row in own))
    for row in sorted(strongest(own), key=lambda row: (budgets.index(row.budget), _place(row))):
        found = evidence.difference(row)
        if row.protocol == SCALED_PUBLIC and row.n >= FEWEST_SEEDS:
            shown = ""
        elif found is not None and found.half is not None:
            shown = f"{found} {found.outcome}"
        else:
            continue
        name = name_of(row) if row.protocol == SCALED_PUBLIC else f"{name_of(row)} to the same MACs"
        lines.append(_line([name, str(row.epochs), str(row.n), row.accuracy, shown, costs_of(row)[-1]]))
    return "\n".join(lines) if len(lines) > 2 else "Nothing has three random seeds on both sides yet."


def whose_recipe(evidence: Evidence) -> str:
    """Table 2: pruned from the classic parent and from the modern one, and the modern thin network, side by side."""
    classic = [row for row in evidence.rows if row.recipe == CLASSIC]
    head = (
        "",
        "epochs",
        "from the classic parent",
        "from the modern parent",
        "modern - classic",
        "thin - modern pruned",
    )
    lines = _begun(head)
    if not any(row.n for row in classic):
        return f"Not measured (n = 0 of {classic[0].planned})." if classic else "Not in the evidence."
    for row in classic:
        modern = next((each for each in evidence.rows if _is_modern(each, row)), None)
        lines.append(_line(_side_by_side(evidence, row, modern)))
    return "\n".join(lines)


def _is_modern(row: Row, classic: Row) -> bool:
    keys = [(own.protocol, own.method, own.budget, own.finetuning, own.distilled) for own in (row, classic)]
    return row.recipe == ADAPTED and keys[0] == keys[1]


def _side_by_side(evidence: Evidence, classic: Row, modern: Row | None) -> list[str]:
    both = modern is not None and modern.n and classic.n
    thin = evidence.reference(modern) if modern is not None else None
    epochs = next((str(row.epochs) for row in (classic, modern) if row is not None and row.n), "")
    return [
        name_of(classic),
        epochs,
        _with_n(classic),
        "" if modern is None else _with_n(modern),
        str(difference(modern, classic)) if modern is not None and both else "",
        str(difference(thin, modern)) if modern is not None and modern.n and thin is not None and thin.n else "",
    ]


def _with_n(row: Row) -> str:
    return f"{row.accuracy} (n = {row.n})" if row.n else row.accuracy


def speed(evidence: Evidence) -> str:
    """Table 3: how fast each shape is, against its MACs, in inference and in training, of one quiet run."""
    head = ("", "MACs", "share of MACs", "ms a batch", "share of time", "training images/s", "share of time")
    lines = _begun(head)
    timed: dict[str, dict[str, Any]] = {}
    for row in evidence.rows:
        if row.timing is not None:
            timed.setdefault(f"{name_of(row)}, {row.budget}", row.timing)
    if not timed:
        return "Not measured: no shape has been timed in a quiet run."
    first = next(iter(timed.values()))  # whose dense network stands for that of all
    lines.append(_line(_speeds("dense", first, "dense")))
    lines += [_line(_speeds(name, timing, "network")) for name, timing in timed.items()]
    return "\n".join([*lines, "", _conditions(first)])


def _speeds(name: str, timing: Mapping[str, Any], which: str) -> list[str]:
    own, updates = timing[which], timing["training"]
    return [
        name,
        f"{own['macs']:,}",
        f"{100 * own['macs_ratio']:.1f} %",
        f"{own['latency_ms']:.2f} ± {own['latency_spread_ms'] / 2:.2f}",
        f"{100 * own['time_ratio']:.0f} %",
        f"{updates[which]['images_per_second']:,.0f}" if updates else "",
        f"{100 * updates[which]['time_ratio']:.0f} %" if updates else "",
    ]


def _conditions(timing: Mapping[str, Any]) -> str:
    updates = timing["training"]
    trained = f", updates of {updates['batch_size']}" if updates else ""
    return (
        f"Inference of {timing['batch_size']} images{trained}; {timing['device']}; medians "
        f"of {timing['runs']} runs, ± half of what lies between the quartiles. Each shape took turns with the dense "
        "network: shares are what compares, since the machine's own speed drifts from one shape to the next."
    )


def everything(evidence: Evidence) -> str:
    """All tables, one after the other."""
    return "\n\n".join(_parts(evidence))


def _parts(evidence: Evidence) -> Iterator[str]:
    yield "### Pruning against thin networks, both fully trained"
    yield pruning_against_thin(evidence)
    yield "### Whose recipe?"
    yield whose_recipe(evidence)
    yield "### Real speed"
    yield speed(evidence)
    yield HOW


def _begun(head: Sequence[str]) -> list[str]:
    """The first two lines of a table; its figures stand to the right."""
    return [_line(head), _line(["---"] + ["---:"] * (len(head) - 1))]


def _line(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cells)} |"
