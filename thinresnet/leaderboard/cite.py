"""What to cite: the paper behind a row, the ThinResNet baseline, and this project."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import thinresnet
from thinresnet.errors import InputError, nearest
from thinresnet.leaderboard.measured import PROJECT_KEY
from thinresnet.leaderboard.papers import Paper
from thinresnet.leaderboard.schema import Entry

BASELINE = Paper(
    "tessier2023thinresnet",
    "misc",
    {
        "title": "{ThinResNet}: A New Baseline for Structured Convolutional Networks Pruning",
        "author": "Tessier, Hugo and Boukli Hacene, Ghouti and Gripon, Vincent",
        "year": "2023",
        "eprint": "2309.12854",
        "archiveprefix": "arXiv",
    },
)
PROJECT = Paper(
    PROJECT_KEY,
    "misc",
    {
        "title": "{thinresnet}: The Bar That a Structured-Pruning Paper Must Clear",
        "note": f"Software, version {thinresnet.__version__}",
    },
)


def cite(names: Sequence[str], entries: Sequence[Entry], papers: Mapping[str, Paper]) -> list[Paper]:
    """The papers for these names (rows, citation keys, `thinresnet`), each once; without names baseline and project."""
    if not names:
        return [BASELINE, PROJECT]
    known = {**papers, BASELINE.key: BASELINE, PROJECT.key: PROJECT}
    key_of_row = {entry.id: entry.paper for entry in entries}
    found: dict[str, Paper] = {}
    for name in names:
        key = key_of_row.get(name, name)
        if key not in known:
            raise InputError(
                f"{name!r} is neither a row nor a paper of this board{nearest(name, [*known, *key_of_row])}"
            )
        found[key] = known[key]
    return list(found.values())
