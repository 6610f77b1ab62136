"""What may stand in one cell: a column's rule, how its text is read, and how a value is written again.

One way to write everything: ASCII digits, no exponents, composed Unicode, nothing invisible, nothing that a spreadsheet
would run. Standard library only.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from decimal import Decimal
from typing import Literal

from thinresnet.errors import nearest

Kind = Literal["text", "choice", "flags", "count", "number"]
MAX_TEXT = 400


@dataclass(frozen=True)
class Column:
    """One column: what may stand in it."""

    name: str
    kind: Kind
    help: str
    required: bool = False
    choices: tuple[str, ...] = ()
    within: tuple[Decimal, Decimal] = (Decimal(0), Decimal(0))
    pattern: str = ""

    @property
    def allowed(self) -> str:
        """The rule in words, for messages and for help."""
        empty = "" if self.required else ", or an empty cell"
        if self.kind in ("choice", "flags"):
            several = ", several joined by '+'" if self.kind == "flags" else ""
            return f"one of {', '.join(self.choices)}{several}{empty}"
        if self.kind == "count":
            return f"an integer from {self.within[0]} to {self.within[1]}{empty}"
        if self.kind == "number":
            return f"a plain number such as 76.15 from {self.within[0]} to {self.within[1]}{empty}"
        form = f" of the form {self.pattern}" if self.pattern else ""
        return f"plain text{form}, at most {MAX_TEXT} characters, not beginning with = + - @{empty}"


def read_cell(column: Column, text: str) -> object:
    """The value that a cell's text stands for; ValueError says what is allowed, or is empty where the rule says it."""
    return _READERS[column.kind](column, text)


class Values(dict[str, object]):
    """The values of one column by their texts, each read once: most cells stand on a board many times."""

    _MOST = 1 << 15

    def __init__(self, column: Column, empty: object) -> None:
        super().__init__({"": empty})
        self._column = column

    def __missing__(self, text: str) -> object:
        value = read_cell(self._column, text)
        if len(self) < self._MOST:
            self[text] = value
        return value


def format_cell(value: object) -> str:
    """A value as the text of its cell; `read_cell` reads it back."""
    if value is None:
        return ""
    if isinstance(value, str):
        return value
    if isinstance(value, Decimal):
        return format(value, "f")
    if isinstance(value, tuple):
        return "+".join(value)
    return str(value)


def text_fault(text: str) -> str:
    """What a text may not be, if this one is that: invisible characters, formulas, untidy space. Empty if fine."""
    if len(text) > MAX_TEXT:
        return f"plain text of at most {MAX_TEXT} characters (this has {len(text)})"
    if not text.isprintable():
        # Control, right-to-left and zero-width characters and stray spaces: what is shown is not what is stored.
        odd = next(char for char in text if not char.isprintable())
        return f"plain text: U+{ord(odd):04X} ({unicodedata.name(odd, 'a control character')}) is not shown as it is"
    if text[0] in "=+-@":
        return f"plain text: a cell that begins with {text[0]} is a formula to a spreadsheet; begin with another word"
    if text != text.strip():
        return "plain text without spaces around it"
    if not text.isascii() and text != unicodedata.normalize("NFC", text):
        return "composed Unicode (NFC): two ways of writing one letter would be two names"
    return ""


def _read_text(column: Column, text: str) -> str:
    if wrong := text_fault(text):
        raise ValueError(wrong)
    if column.pattern and not re.fullmatch(column.pattern, text):
        raise ValueError
    return text


def _read_choice(column: Column, text: str) -> str:
    if text not in column.choices:
        raise ValueError(column.allowed + nearest(text, column.choices))
    return text


def _read_flags(column: Column, text: str) -> tuple[str, ...]:
    flags = tuple(text.split("+"))
    if unknown := [flag for flag in flags if flag not in column.choices]:
        raise ValueError(column.allowed + nearest(unknown[0], column.choices))
    if list(flags) != sorted(set(flags)):
        raise ValueError("flags in alphabetical order, each once")
    return flags


# ASCII digits only, no sign but minus, no exponent, no thousands: the one way to write a number on the board.
_NUMBER = re.compile(r"-?(0|[1-9][0-9]{0,12})(\.[0-9]{1,9})?")
_COUNT = re.compile(r"0|[1-9][0-9]{0,9}")


def _read_number(column: Column, text: str) -> Decimal:
    if not _NUMBER.fullmatch(text):
        raise ValueError
    number = Decimal(text)
    if not column.within[0] <= number <= column.within[1] or (number == 0 and text[0] == "-"):
        raise ValueError
    return number


def _read_count(column: Column, text: str) -> int:
    if not _COUNT.fullmatch(text) or not column.within[0] <= int(text) <= column.within[1]:
        raise ValueError
    return int(text)


_READERS: Mapping[Kind, Callable[[Column, str], object]] = {
    "text": _read_text,
    "choice": _read_choice,
    "flags": _read_flags,
    "number": _read_number,
    "count": _read_count,
}
