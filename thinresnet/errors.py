"""Errors that a user can cause or has to mend, and the help that goes with them. Standard library only."""

from __future__ import annotations

import difflib
import errno
import re
from collections.abc import Iterable

INPUT_EXIT_CODE = 2  # something in the command or in a file has to be changed
FAILED_EXIT_CODE = 1  # the machine is in the way: a full disk, a non-finite loss
_ADVICE = {
    errno.ENOSPC: "make room, then give the same command again",
    errno.EDQUOT: "make room within the quota, then give the same command again",
    errno.EFBIG: "raise the limit on the size of files, then give the same command again",
    errno.EIO: "look at the disk, then give the same command again",
    errno.EROFS: "name a folder that can be written to",
    errno.EACCES: "change its permissions, or name another",
    errno.EPERM: "change its permissions, or name another",
    errno.ENOENT: "give the name of something that is there",
    errno.EISDIR: "give the name of a file",
    errno.ENOTDIR: "a part of this path is a file; give another",
    errno.EEXIST: "a file stands where a folder is meant; give another name",
    errno.ENAMETOOLONG: "give a shorter name",
    errno.ELOOP: "its links lead in a circle; give another",
}
_LONGEST_NAME = 300
_LONGEST_LINE = 900
_OF_THE_MACHINE = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO})
# What torch says, in errors of several classes, when it gets no memory or is asked for more bytes than can be counted.
_NO_MEMORY = re.compile(r"can.t allocate memory|out of memory|(calculation|multiplication) overflow", re.IGNORECASE)
_TRIED = re.compile(r"tried to allocate ([0-9.]+ ?[a-z]+)", re.IGNORECASE)


class InputError(ValueError):
    """Something that came from outside is wrong: a flag, a file, a row, a network that cannot be served.

    The message is one line that a person can act on: where (file, key, row), which value, what is allowed, what to
    do. The command line prints it and ends with code 2; anything else that is raised is a bug and shows its trace.
    """


def nearest(name: str, known: Iterable[str], *, count: int = 3) -> str:
    """`; did you mean 'a', 'b'?` for the known names closest to a misspelt one, or an empty string."""
    close = difflib.get_close_matches(name, list(known), n=count, cutoff=0.6)
    return f"; did you mean {', '.join(repr(match) for match in close)}?" if close else ""


def one_line(text: str) -> str:
    """A message of bounded length with line ends, and whatever else a terminal would act on, as escapes."""
    if len(text) > _LONGEST_LINE:
        text = f"{text[: _LONGEST_LINE * 2 // 3]} [...] {text[-_LONGEST_LINE // 3 :]}"
    return "".join(sign if sign.isprintable() else sign.encode("unicode_escape").decode() for sign in text)


def check_utf8(arguments: Iterable[str]) -> None:
    """Refuse arguments that are no UTF-8: no JSON, YAML or table could hold them."""
    for argument in arguments:
        if not argument.isprintable():
            try:
                argument.encode()
            except UnicodeEncodeError:
                raise InputError(f"{_short(argument)}: not UTF-8; rename it, or give another") from None


def _short(name: str) -> str:
    return name if len(name) <= _LONGEST_NAME else f"{name[:80]}...{name[-40:]}"


def os_error_line(error: OSError) -> tuple[str, int]:
    """What the system refused as one line (file, reason, what to do), and the exit code that goes with it."""
    names = [_short(str(name)) for name in (error.filename, error.filename2) if name is not None]
    parts = [" -> ".join(names), (error.strerror or str(error) or type(error).__name__).lower()]
    advice = _ADVICE.get(error.errno or 0, "")
    line = ": ".join(part for part in parts if part) + (f"; {advice}" if advice else "")
    return " ".join(line.split()), FAILED_EXIT_CODE if error.errno in _OF_THE_MACHINE else INPUT_EXIT_CODE


def memory_error_line(error: BaseException) -> str:
    """What to do about an error that is for want of memory, the GPU's or the machine's; empty for any other."""
    said = str(error)
    if not isinstance(error, MemoryError) and not (isinstance(error, RuntimeError) and _NO_MEMORY.search(said)):
        return ""
    tried = _TRIED.search(said)
    return (
        f"out of memory{f' (tried to allocate {tried[1]})' if tried else ''}; give a smaller batch, smaller images or "
        "a smaller network, or free memory"
    )
