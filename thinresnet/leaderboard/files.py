"""Reading the text files of the board: bounded, UTF-8, with or without a byte-order mark or Windows line ends."""

from __future__ import annotations

import os
from pathlib import Path

from thinresnet.errors import InputError
from thinresnet.files import read_bytes


class FormError(InputError):
    """A file of the board that cannot be read as a table at all: which line, and what is wrong there."""

    def __init__(self, path: str | os.PathLike[str], line: int, reason: str) -> None:
        super().__init__(f"{path}, line {line}: {reason}")
        self.path, self.line, self.reason = str(path), line, reason


# A board of 20,000 rows is about 12 MB; what is far beyond that is not a board and is not read into memory.
MAX_BYTES = 64 * 1024 * 1024


def read_text(path: str | os.PathLike[str]) -> str:
    """The text of a file of the board: UTF-8, with or without a byte-order mark or Windows line ends."""
    try:
        data = read_bytes(Path(path), largest_bytes=MAX_BYTES, missing="cannot be read: no such file")
    except InputError as error:
        raise FormError(path, 1, str(error).removeprefix(f"{path}: ")) from None
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        number = data.count(b"\n", 0, error.start) + 1
        raise FormError(path, number, f"byte 0x{data[error.start]:02X} is not UTF-8; save the file as UTF-8") from None
    return text.replace("\r\n", "\n")
