"""Hostile values of every flag and argument of every verb: done, or refused in one line, soon."""

from __future__ import annotations

import os
import re
import time
from collections.abc import Iterator, Sequence

from tests.faults import child
from tests.faults.child import Command
from tests.faults.commands import Home
from tests.faults.crash import Case, begin, chosen, seconds_since
from tests.faults.disk import refused
from thinresnet.convert import brief

LONGEST_SECONDS = 60.0
# `pipe` waits for ever, `file` is a file, `folder` a folder; two bytes of a lone surrogate are what no UTF-8 is.
VALUES = (
    "", " ", "-1", "0", "nan", "inf", "1e400", "1e-300", "9" * 20, "9" * 5000, "x", "x\ny", "\x1b[31m", "\udcff",
    "[bold]", "x" * 300, "d/" * 3000, "pipe", "folder", "file/child", "/dev/zero", "/dev/full", "arch=1", "../..",
)  # fmt: skip
_OPTION = re.compile(r"(?<![\w-])--[a-z][a-z0-9-]*")
_VALUE = re.compile(r"\.(csv|yaml|json|html|svg|pt)\Z|/")


def campaign(home: Home, only: Sequence[str], most: int | None) -> Iterator[Case]:
    """Every value of every flag and argument of every verb, or `most` of each verb."""
    for command in [*home.commands(), *_more(home)]:
        if not only or command.name in only:
            every = list(_lines(command, home))
            for number in chosen(len(every), most):
                what, arguments = every[number - 1]
                start = time.monotonic()
                begin(command, home.root)
                os.mkfifo(home.root / "pipe")
                (home.root / "file").write_text("a file\n")
                (home.root / "folder").mkdir()
                ended = child.run(arguments, home.root, seconds=LONGEST_SECONDS)
                yield Case("arguments", command.name, what, refused(ended), seconds_since(start))


def _more(home: Home) -> list[Command]:
    """Verbs that write nothing."""
    board = ("--board", "board.csv")
    return [
        Command("train folders", ("train", "--data-dir", "data", "--dataset", "", "--epochs", "1"), home.pictures),
        Command("count", ("count", "resnet20_cifar"), home.empty),
        Command("networks", ("networks", "--check", "resnet20_cifar"), home.empty),
        Command("recipes", ("recipes", "digits"), home.empty),
        Command("data info", ("data", "info", "--data-dir", "data"), home.pictures),
        Command("data write", ("data", "write", "--data-dir", "data"), home.pictures),
        Command("leaderboard show", ("leaderboard", "show", *board), home.filled),
        Command("leaderboard compare", ("leaderboard", "compare", "resnet50:75@2G", *board), home.filled),
        Command("leaderboard holes", ("leaderboard", "holes", *board), home.filled),
        Command("leaderboard cite", ("leaderboard", "cite", "thinresnet", *board), home.filled),
        Command("baseline", ("baseline", "list"), home.empty),
    ]


def _lines(command: Command, home: Home) -> Iterator[tuple[str, tuple[str, ...]]]:
    """Each flag of the verb with each value, and each argument replaced by it."""
    given = command.arguments
    verb = given[: 2 if given[0] in ("leaderboard", "study", "data", "baseline") else 1]
    os.environ["COLUMNS"] = "200"
    told = child.run((*verb, "--help"), home.empty).output
    flags = sorted(set(_OPTION.findall(told)) - {"--help", "--install-completion", "--show-completion"})
    for value in VALUES:
        shown = brief(value)
        for flag in flags:
            yield f"{flag} {shown}", (*given, flag, value)
        for place in range(len(verb), len(given)):
            if not given[place].startswith("--"):
                yield f"{value and shown} for {given[place]}", (*given[:place], value, *given[place + 1 :])
