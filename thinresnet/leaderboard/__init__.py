"""The leaderboard: every published structured-pruning number beside simply scaled networks. No torch in here."""
