"""The one error that a user can cause, and the help that goes with it. Standard library only."""

from __future__ import annotations

import difflib
from collections.abc import Iterable


class InputError(ValueError):
    """Something that came from outside is wrong: a flag, a file, a row, a network that cannot be served.

    The message is one line that a person can act on: where (file, key, row), which value, what is allowed, what to
    do. The command line prints it and ends with code 2; anything else that is raised is a bug and shows its trace.
    """


def nearest(name: str, known: Iterable[str], *, count: int = 3) -> str:
    """`; did you mean 'a', 'b'?` for the known names closest to a misspelt one, or an empty string."""
    close = difflib.get_close_matches(name, list(known), n=count, cutoff=0.6)
    return f"; did you mean {', '.join(repr(match) for match in close)}?" if close else ""
