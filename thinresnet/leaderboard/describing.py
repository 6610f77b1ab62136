"""Rows in words: a reference, the spread of an accuracy, what to beware of, and why a row cannot be judged."""

from __future__ import annotations

from thinresnet.leaderboard.schema import FLAGS, Entry

# The paper of a row that somebody typed instead of adding it to the board.
TYPED_IN = "typed-in"


def describe(entry: Entry) -> str:
    """A row in a few words: what it is, how accurate and how costly."""
    return f"{reference_in_words(entry)}{f', {entry.params_m:.4g} M' if entry.params_m is not None else ''}"


def reference_in_words(entry: Entry) -> str:
    """A reference in a few words: its name, resolution, paper, MACs and accuracy."""
    size = f" at {entry.resolution} px" if entry.resolution_scaled else ""
    cost = f"{entry.macs_g:.4g} G, " if entry.macs_g is not None else ""
    name = entry.method if entry.arch in entry.method.lower().replace("-", "") else f"{entry.arch} {entry.method}"
    return f"{name}{size} [{entry.paper}] ({cost}{entry.top1} %)"


def uncertainty_of(entry: Entry) -> str:
    """What is known of the spread of a row's accuracy."""
    runs = f"{entry.n} run{'s' if entry.n != 1 else ''}" if entry.n is not None else "runs not stated"
    return f"±{entry.top1_std} ({runs})" if entry.top1_std is not None else f"spread unknown ({runs})"


def caveats(entry: Entry) -> list[str]:
    """What must be said beside any comparison of this row."""
    said = [f"distilled from a teacher: {entry.teacher}"] if entry.teacher else []
    said += [f"trained on extra data: {entry.extra_data}"] if entry.extra_data else []
    said += [f"tested at {entry.resolution} px, not at {entry.usual_resolution}"] if entry.resolution_scaled else []
    said += [f"quoted by another source ({entry.read_repo})"] if entry.hand == "second" else []
    return said + [f"{flag}: {FLAGS[flag]}" for flag in entry.flags]


def why_not(entry: Entry, missing: str) -> str:
    """Why a row cannot be judged; `missing` is what is not known of it: `top1`, `macs` or `params`."""
    if "accuracy-doubtful" in entry.flags:
        return "its sources disagree about its accuracy"
    if missing == "top1":
        return "its top-1 accuracy does not follow from what was printed"
    flag, what = ("cost-doubtful", "MACs") if missing == "macs" else ("params-doubtful", "parameters")
    if flag in entry.flags:
        return f"its sources disagree about its {what}"
    if missing == "macs" and entry.cost_unit == "unknown" and entry.cost_printed_g is not None:
        return "the unit of its cost is unknown"
    if entry.paper == TYPED_IN:
        return f"its {what} were not given"
    return f"its {what} do not follow from what was printed"
