"""thinresnet: the bar that a structured-pruning paper must clear.

Nothing heavy is imported here; each package (`networks`, `training`, `leaderboard`) is imported where it is used.
"""

__version__ = "0.1.0"
