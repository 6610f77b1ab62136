"""The claims of the founding papers, and what the evidence here says of each: holds, fails, or undecided."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from thinresnet.studies.paper.rows import (
    BETTER,
    SAME,
    UNDECIDED,
    WORSE,
    Difference,
    Evidence,
    Row,
    difference,
    strongest,
)
from thinresnet.studies.protocols.public import SCALED_PUBLIC

_MORE = 1.05  # times the MACs: less than this is no more
HOLDS, FAILS, OPEN = "holds here", "fails here", "undecided here"


@dataclass(frozen=True)
class Finding:
    """What the evidence says of a claim."""

    answer: str  # one of the three above
    run: str  # what was run, with n and the interval


@dataclass(frozen=True)
class Claim:
    """A claim of a paper in our words, and how it is judged."""

    source: str
    claim: str
    judge: Callable[[Evidence], Finding]


def _not_run(what: str) -> Callable[[Evidence], Finding]:
    return lambda evidence: Finding(OPEN, f"Not run at full training strength: {what}.")


def _pruned(evidence: Evidence) -> list[Row]:
    return [row for row in evidence.rows if row.protocol == "prune-finetune" and row.recipe.startswith("adapted")]


def thin_above_pruned(evidence: Evidence) -> Finding:
    """Whether the thin network is better than every network pruned to its MACs."""
    own = strongest([row for row in _pruned(evidence) if row.method != "random"])
    found = [(row, evidence.difference(row)) for row in own]
    decided = [(row, one) for row, one in found if one is not None and one.outcome != UNDECIDED]
    outcomes = [one.outcome for _, one in decided]
    if BETTER in outcomes:
        answer = FAILS
    else:
        answer = HOLDS if outcomes and len(outcomes) == len(own) and set(outcomes) == {WORSE} else OPEN
    count = (
        f"{len(decided)} of {len(own)} comparisons have three seeds on both sides: pruned is worse in "
        f"{outcomes.count(WORSE)}, better in {outcomes.count(BETTER)}, within the interval in {outcomes.count(SAME)}"
    )
    return Finding(answer, f"{count}.{_extremes(decided)}")


def _extremes(decided: Sequence[tuple[Row, object]]) -> str:
    """The best and the worst pruned network against its thin one."""
    if not decided:
        return ""
    ordered = sorted(decided, key=lambda own: getattr(own[1], "gap", 0.0))
    said = [f"{row.method} at {row.budget} ({row.epochs} epochs, n = {row.n}): {one}" for row, one in ordered[::-1]]
    if len(said) == 1:
        return f" Pruned minus thin, points: {said[0]}."
    return f" Pruned minus thin, points, best: {said[0]}; worst: {said[-1]}."


def criteria_above_random(evidence: Evidence) -> Finding:
    """Whether criteria keep better channels than a draw does."""
    own = _pruned(evidence)
    pairs = [(row, each) for row in own for each in own if each.method == "random" != row.method and _alike(each, row)]
    found = [difference(row, other) for row, other in pairs if row.n and other.n]
    outcomes = [one.outcome for one in found if one.outcome != UNDECIDED]
    whole = bool(outcomes) and len(outcomes) == len(pairs)
    answer = HOLDS if whole and set(outcomes) == {BETTER} else FAILS if WORSE in outcomes else OPEN
    return Finding(
        answer,
        f"{len(outcomes)} of {len(pairs)} comparisons have three seeds on both sides: better than random channels in "
        f"{outcomes.count(BETTER)}, worse in {outcomes.count(WORSE)}, within the interval in {outcomes.count(SAME)}.",
    )


def _alike(one: Row, other: Row) -> bool:
    first, second = ((own.budget, own.finetuning, own.distilled) for own in (one, other))
    return first == second


def pruned_cost_more_macs_a_parameter(evidence: Evidence) -> Finding:
    """MACs a parameter of pruned shapes against those of the thin network at the same MACs."""
    ratios: dict[str, float | None] = {}  # a shape that is fine-tuned in several ways counts once
    for row in _pruned(evidence):
        if row.method != "random":
            other, shape = evidence.reference(row), f"{row.method} at {row.budget}"
            ratios.setdefault(shape, None)
            if row.n and other is not None and other.n:
                ratios[shape] = row.macs / row.params / (other.macs / other.params)
    counted = [ratio for ratio in ratios.values() if ratio is not None]
    if not counted:
        return Finding(OPEN, "No pruned network has been measured.")
    answer = HOLDS if min(counted) > _MORE else FAILS if max(counted) < 1 else OPEN
    said = (
        f"{len(counted)} of {len(ratios)} pruned networks have {min(counted):.2f} to {max(counted):.2f} times the MACs "
        "a parameter of the thin network at the same MACs. Shapes are counted, so there is no interval."
    )
    return Finding(answer if len(counted) == len(ratios) else OPEN, said)


def longer_finetuning_turns_it(evidence: Evidence) -> Finding:
    """Whether the longest fine-tuning brings pruned networks above thin ones that were below after the shortest."""
    found: dict[int, list[Difference]] = {}
    for row in _pruned(evidence):
        own = evidence.difference(row)
        if own is not None and own.half is not None and row.epochs is not None and row.method != "random":
            found.setdefault(row.epochs, []).append(own)
    if len(found) < 2:
        return Finding(OPEN, "Fine-tuning of two lengths with three seeds has not been measured.")
    said = "; ".join(
        f"{epochs} epochs: worse in {_count(own, WORSE)}, better in {_count(own, BETTER)} of {len(own)}"
        for epochs, own in sorted(found.items())
    )
    first, last = found[min(found)], found[max(found)]
    turned = _count(last, BETTER) == len(last) and _count(first, WORSE) == len(first)
    answer = HOLDS if turned else FAILS if _count(last, WORSE) == len(last) else OPEN
    return Finding(answer, f"Pruned against thin, by length of fine-tuning: {said}.")


def _count(found: Sequence[Difference], outcome: str) -> int:
    return sum(own.outcome == outcome for own in found)


CLAIMS = (
    Claim(
        "ThinResNet (2309.12854)",
        "Thin networks with modern training are above every pruned network at equal cost.",
        thin_above_pruned,
    ),
    Claim(
        "control",
        "What a criterion keeps is better than channels drawn at random, after the same fine-tuning.",
        criteria_above_random,
    ),
    Claim(
        "counter-claim",
        "Pruned networks only need to be fine-tuned for longer to be above thin ones.",
        longer_finetuning_turns_it,
    ),
    Claim(
        "Crowley et al. (1810.04622)",
        "At like parameters pruned networks cost more MACs than thin ones (12 to 20 % on WRN-40-2).",
        pruned_cost_more_macs_a_parameter,
    ),
    Claim(
        "Crowley et al.",
        "Every reduced network trained from scratch is better than pruned and fine-tuned ones at its budget.",
        _not_run("the WRN-40-2 family from scratch"),
    ),
    Claim(
        "Crowley et al.",
        "The shape that Fisher pruning found is better trained from scratch than fine-tuned.",
        _not_run("found shapes from scratch"),
    ),
    Claim(
        "Liu et al., Rethinking the Value of Network Pruning (1810.05270)",
        "With equal computation (Scratch-B) pruned shapes trained from scratch reach fine-tuned ones.",
        _not_run("Scratch-E and Scratch-B over whole schedules"),
    ),
    Claim(
        "Liu et al.",
        "A lottery ticket is no better than a new initialisation at a usual learning rate.",
        _not_run("lottery tickets over whole schedules"),
    ),
    Claim(
        "PreCrop",
        "Densities decide accuracy: channels cropped at initialisation do as well as weight masks at equal densities.",
        _not_run("masks, filters and channels at equal densities with three seeds"),
    ),
    Claim(
        "Wang et al. (2301.05219)",
        "Pruning early and training on at the large rate is above training from scratch at equal total cost.",
        _not_run("pruning at epoch 30 with equal totals"),
    ),
)


def as_markdown(evidence: Evidence) -> str:
    """A line for each claim: what was run, n and interval, and the answer."""
    lines = ["| claim | source | here | what was run |", "| --- | --- | --- | --- |"]
    for claim in CLAIMS:
        found = claim.judge(evidence)
        lines.append(f"| {claim.claim} | {claim.source} | **{found.answer}** | {found.run} |")
    return "\n".join([*lines, "", f"{measured(evidence)} rows have three random seeds or more."])


def measured(evidence: Evidence) -> int:
    """Rows with three seeds or more."""
    return sum(row.n >= 3 for row in evidence.rows if row.protocol in (SCALED_PUBLIC, "prune-finetune"))
