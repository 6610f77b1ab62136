"""thinresnet: the bar that a structured-pruning paper must clear.

Nothing heavy is imported here; each room (`networks`, `training`, `leaderboard`) is imported when it is used.
"""

__version__ = "0.1.0"
