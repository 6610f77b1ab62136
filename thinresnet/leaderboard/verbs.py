"""The verbs of this room."""

from __future__ import annotations

import typer


def add_to(app: typer.Typer) -> None:
    """Add this room's verbs to the command line."""
