"""The leaderboard: every published structured-pruning result beside simply scaled networks. No torch in here.

What the names below do is in `thinresnet.leaderboard.api`; the rule is in docs/leaderboard-rules.md.
"""

from thinresnet.leaderboard.api import Claim, compare, read_board, verdict
from thinresnet.leaderboard.bar import Bar
from thinresnet.leaderboard.claims import place
from thinresnet.leaderboard.matrix import Matrix
from thinresnet.leaderboard.references import ALL_ASSUMPTIONS, RULES, Assumptions
from thinresnet.leaderboard.schema import Entry
from thinresnet.leaderboard.verdicts import Verdict

__all__ = [
    "ALL_ASSUMPTIONS",
    "RULES",
    "Assumptions",
    "Bar",
    "Claim",
    "Entry",
    "Matrix",
    "Verdict",
    "compare",
    "place",
    "read_board",
    "verdict",
]


def __dir__() -> list[str]:
    """What tab completion offers: the public names."""
    return sorted(__all__)
