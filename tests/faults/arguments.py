"""Hostile values of every flag and argument of every verb: done, or refused in one line, soon."""

from __future__ import annotations

import os
import re
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from functools import partial
from itertools import groupby, product

from tests.faults import child
from tests.faults.child import Command
from tests.faults.commands import NAMES, Home
from tests.faults.crash import Case, begin, chosen, seconds_since
from tests.faults.disk import refused
from thinresnet.convert import brief

LONGEST_SECONDS = 60.0
# `pipe` waits for ever, `file` is a file, `folder` a folder; two bytes of a lone surrogate are what no UTF-8 is.
VALUES = (
    "", " ", "-1", "0", "nan", "inf", "1e400", "1e-300", "9" * 8, "9" * 20, "9" * 400, "9" * 5000, "x", "x\ny",
    "\x1b[31m", "\udcff", "[bold]", "x" * 300, "d/" * 3000, "pipe", "folder", "file/child",
    "/dev/zero", "/dev/full", "arch=1", "../..",
)  # fmt: skip
_BOARD = ("--board", "board.csv")
# Verbs that write nothing, by the folder that they begin with.
_UNWRITING = (
    ("train folders", "pictures", ("train", "--data-dir", "data", "--dataset", "", "--epochs", "1")),
    ("count", "empty", ("count", "resnet20_cifar")),
    ("networks", "empty", ("networks", "--check", "resnet20_cifar")),
    ("recipes", "empty", ("recipes", "digits")),
    ("data info", "pictures", ("data", "info", "--data-dir", "data")),
    ("leaderboard show", "filled", ("leaderboard", "show", *_BOARD)),
    ("leaderboard compare", "filled", ("leaderboard", "compare", "resnet50:75@2G", *_BOARD)),
    ("leaderboard holes", "filled", ("leaderboard", "holes", *_BOARD)),
    ("leaderboard cite", "filled", ("leaderboard", "cite", "thinresnet", *_BOARD)),
    ("leaderboard diff", "filled", ("leaderboard", "diff", "board.csv", *_BOARD)),
    ("baseline list", "empty", ("baseline", "list")),
    ("baseline cite", "empty", ("baseline", "cite", "cifar10-resnet20_cifar-50-r8")),
    ("study protocols", "empty", ("study", "protocols")),
)
_OPTION = re.compile(r"(?<![\w-])--[a-z][a-z0-9-]*")


def campaign(home: Home, only: Sequence[str], most: int | None) -> Iterator[Case]:
    """Every value of every flag and argument of every verb, or `most` of each command."""
    for verb, own in groupby(_every(home, only), key=_verb):
        commands = list(own)
        flags = _flags(verb, home)
        for place, command in enumerate(commands):
            # A flag of a verb that is called in several ways meets some of its values in each of them.
            every = list(_lines(command, flags, place, len(commands)))
            for number in chosen(len(every), most):
                what, arguments = every[number - 1]
                start = time.monotonic()
                begin(command, home.root)
                os.mkfifo(home.root / "pipe")
                (home.root / "file").write_text("a file\n")
                (home.root / "folder").mkdir()
                ended = child.run(arguments, home.root, seconds=LONGEST_SECONDS)
                yield Case("arguments", command.name, what, refused(ended), seconds_since(start))


def _every(home: Home, only: Sequence[str]) -> list[Command]:
    """The commands that are disturbed, a study where its stages are done, and verbs that write nothing; by verb."""
    makers: dict[str, Callable[[], Command]] = {name: partial(_disturbed, home, name) for name in NAMES}
    for name, folder, arguments in _UNWRITING:
        makers[name] = partial(_unwriting, home, name, folder, arguments)
    if unknown := set(only) - set(makers):
        raise ValueError(f"{min(unknown)}: one of {', '.join(makers)}")
    return sorted((make() for name, make in makers.items() if not only or name in only), key=_verb)


def _disturbed(home: Home, name: str) -> Command:
    (command,) = home.commands([name])
    return replace(command, begins_with=home.studied) if name == "study run" else command


def _unwriting(home: Home, name: str, folder: str, arguments: tuple[str, ...]) -> Command:
    return Command(name, arguments, getattr(home, folder))


def _verb(command: Command) -> tuple[str, ...]:
    given = command.arguments
    return given[: 2 if given[0] in ("leaderboard", "study", "data", "baseline") else 1]


def _flags(verb: tuple[str, ...], home: Home) -> list[str]:
    os.environ["COLUMNS"] = "200"
    told = child.run((*verb, "--help"), home.empty).output
    return sorted(set(_OPTION.findall(told)) - {"--help", "--install-completion", "--show-completion"})


def _lines(command: Command, flags: Sequence[str], first: int, step: int) -> Iterator[tuple[str, tuple[str, ...]]]:
    """Each flag of the verb with each value, from the first one in steps, and each argument replaced by each value."""
    given = command.arguments
    for value, flag in list(product(VALUES, flags))[first::step]:
        yield f"{flag} {brief(value)}", (*given, flag, value)
    for value, place in product(VALUES, range(len(_verb(command)), len(given))):
        if not given[place].startswith("--"):
            yield f"{value and brief(value)} for {given[place]}", (*given[:place], value, *given[place + 1 :])
