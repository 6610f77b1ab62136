"""What to cite: the paper behind a row, the ThinResNet baseline, and this project."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import thinresnet
from thinresnet.errors import InputError, nearest
from thinresnet.leaderboard.measured import PROJECT_KEY
from thinresnet.leaderboard.papers import Paper, escape
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
        "author": "{The thinresnet authors}",
        "year": "2026",
        "howpublished": "Python package thinresnet",
        "note": f"Software, version {thinresnet.__version__}",
    },
)


def cite(names: Sequence[str], entries: Sequence[Entry], papers: Mapping[str, Paper]) -> list[Paper]:
    """The papers for these names (rows, citation keys, `thinresnet`), each once; without names baseline and project."""
    if not names:
        return [citable(BASELINE), citable(PROJECT)]
    known = {**papers, BASELINE.key: BASELINE, PROJECT.key: PROJECT}
    key_of_row = {entry.id: entry.paper for entry in entries}
    found: dict[str, Paper] = {}
    for name in names:
        key = key_of_row.get(name, name)
        if key not in known:
            raise InputError(
                f"{name!r} is neither a row nor a paper of this board{nearest(name, [*known, *key_of_row])}"
            )
        found[key] = citable(known[key])
    return list(found.values())


def citable(paper: Paper) -> Paper:
    """The paper in a form that BibTeX's standard styles print without a warning.

    Those ask every article for its authors. Where no source that was read names them, the entry becomes a @misc that
    keeps its title, venue and year, with a `key` to be sorted by; nothing is made up.
    """
    if "author" in paper.fields:
        return paper
    where = {"howpublished": escape(paper.venue)} if paper.venue and paper.venue != "arXiv" else {}
    kept = {name: value for name, value in paper.fields.items() if name not in ("booktitle", "journal", *_OF_A_JOURNAL)}
    return Paper(paper.key, "misc", {**where, **kept, "key": paper.fields["title"]})


# Without a journal these mean nothing.
_OF_A_JOURNAL = ("volume", "number", "pages")
