"""Values that are of their type already, taken as they are: newer typers import pydantic to find that out (0.1 s)."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any


def take_plain_values(command: Any, context: Any) -> None:
    """Let the options of a command take strings and paths without a validator; all others are asked of it as ever.

    A typer that has no such validators has nothing to be put off.
    """
    for option in command.get_params(context):
        if getattr(option, "_runtime_param", False) is None:
            option._runtime_param = _AsTheyAre(option)


class _AsTheyAre:
    """Stands for the validator of one option until a value needs it."""

    def __init__(self, option: Any) -> None:
        self._option = option

    def coerce(self, value: Any, param: Any, ctx: Any) -> Any:
        plain, known = self._plain(value)
        if known:
            return plain
        self._option._runtime_param = None
        return self._option.get_runtime_param().coerce(value, param=param, ctx=ctx)

    def _plain(self, value: Any) -> tuple[Any, bool]:
        """The value, and whether it is known to be one that the option takes."""
        about, kind = self._option.type_descriptor.parameter_info, self._option.type_descriptor.annotation
        if about.parser is not None:
            return None, False
        if self._option.nargs != 1 or getattr(self._option, "multiple", False):
            strings = kind == list[str] and isinstance(value, (list, tuple)) and all(type(one) is str for one in value)
            return (list(value), True) if strings else ((), value is None)
        if value is None or (kind is str and type(value) is str):
            return value, True
        if kind in (int, float) and type(value) is kind and value == self._option.default:
            return value, True
        return (Path(value), True) if kind is Path and _any_path_will_do(about, value) else (None, False)


def _any_path_will_do(about: Any, value: Any) -> bool:
    """Whether nothing but its readability is asked of a path, and that is so."""
    asked = about.exists or about.writable or about.resolve_path or about.allow_dash or about.path_type is not None
    if asked or not (about.file_okay and about.dir_okay) or not isinstance(value, (str, Path)):
        return False
    return os.access(value, os.R_OK) or not os.path.lexists(value)
