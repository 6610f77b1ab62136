"""The harness itself finds what is wrong: a careless writer, a reader that fails, a command that hangs."""

from __future__ import annotations

import json
import os
import signal
import sys
from pathlib import Path

import pytest

from tests.faults import crash, readers
from tests.faults.changes import Keep, die_before, fingerprint
from tests.faults.child import Command, run
from tests.faults.crash import begin, campaign, chosen, difference
from tests.faults.disk import refused
from thinresnet.files import write_atomically


@pytest.mark.parametrize(
    ("found", "said"),
    [({}, "lost: a"), ({"a": b"1", "b": b""}, "left over: b"), ({"a": b"2"}, "differs: a"), ({"a": b"1"}, "")],
)
def test_what_is_lost_left_over_or_another_is_found(found: dict[str, bytes], said: str) -> None:
    assert difference({"a": b"1"}, found) == said


def test_the_harness_finds_a_command_that_writes_in_place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A writer that is not atomic is caught in the act: half of its file stays where the next run takes it as it is."""
    from thinresnet import cli

    def careless() -> None:
        if not Path("out.txt").exists():
            Path("out.txt").write_text("all of it")

    monkeypatch.setattr(cli, "main", careless)
    (tmp_path / "work").mkdir()
    cases = list(campaign(Command("careless", ()), tmp_path / "work", killed=2))
    assert [(case.what, case.wrong) for case in cases] == [
        ("SIGKILL before 1: open out.txt", ""),
        ("SIGKILL before 2: write out.txt", "differs: out.txt"),
        ("before 1 of 2: open out.txt", ""),
        ("before 2 of 2: write out.txt", "differs: out.txt"),
    ]


def test_what_is_seen_before_a_change_is_what_a_kill_then_leaves(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Buffered bytes, a file that is written through a link, one that is cut short, a folder that goes."""
    from thinresnet import cli

    def work() -> None:
        Path("folder").mkdir()
        Path("real.txt").write_text("old and long")
        Path("link.txt").symlink_to("real.txt")
        with Path("link.txt").open("w") as file:
            file.write("123456")
            file.write("abcdef")
        write_atomically("whole.txt", "whole")
        Path("folder").rmdir()

    monkeypatch.setattr(cli, "main", work)
    root, states = tmp_path / "work", tmp_path / "states"
    states.mkdir()
    command = Command("work", ())
    begin(command, root)
    assert crash.run(command, root, Keep(root, states)).code == 0
    count = len(list(states.glob("*.what")))
    assert count > 12
    for number in range(1, count + 1):
        begin(command, root)
        assert crash.run(command, root, die_before(number)).code == -signal.SIGKILL
        assert fingerprint(root) == fingerprint(states / str(number)), (states / f"{number}.what").read_text()


def test_the_harness_finds_what_is_no_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from thinresnet import cli

    def said(words: str, code: int) -> str:
        def fail() -> None:
            print(words, file=sys.stderr)
            sys.exit(code)

        monkeypatch.setattr(cli, "main", fail)
        return refused(run((), tmp_path))

    assert said("thinresnet: board.csv: no such file", 2) == ""
    assert said("thinresnet: board.csv\nno such file", 2).startswith("does not end with one line")
    assert said("Traceback (most recent call last):", 1).startswith("ended with 1")
    assert said("killed", 137).startswith("ended with 137")
    monkeypatch.setattr(cli, "main", lambda: os.read(os.pipe()[0], 1))
    assert refused(run((), tmp_path, seconds=0.05)).startswith("hung")


def test_the_harness_finds_a_reader_that_fails(tmp_path: Path) -> None:
    (tmp_path / "good").mkdir()
    (tmp_path / "good" / "a.json").write_text('{"a": 1}')
    careless = readers.Reader("careless", tmp_path / "good", "a.json", lambda path: json.loads(path.read_bytes())["a"])
    cases = list(readers._of_reader(careless, tmp_path / "work", 8, seed=1))
    assert cases[0].wrong == ""
    assert {case.wrong.partition(":")[0] for case in cases[1:]} & {"JSONDecodeError", "KeyError", "UnicodeDecodeError"}
    assert cases[-1].what.startswith("drawn by hypothesis: ")
    assert cases[-1].wrong


def test_cases_are_chosen_evenly_with_the_last() -> None:
    assert chosen(10, None) == chosen(10, 12) == list(range(1, 11))
    assert chosen(10, 3) == [1, 6, 10]
    assert chosen(10, 1) == [10]
