"""The harness itself finds what is wrong: a careless writer, a reader that fails, a command that hangs."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path

import pytest

from tests.faults import readers
from tests.faults.child import Command, run
from tests.faults.crash import campaign, chosen, difference
from tests.faults.disk import refused


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
    cases = list(campaign(Command("careless", ()), tmp_path / "work"))
    assert [case.wrong for case in cases] == ["", "differs: out.txt"]


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


def test_cases_are_chosen_evenly_with_the_last() -> None:
    assert chosen(10, None) == chosen(10, 12) == list(range(1, 11))
    assert chosen(10, 3) == [1, 6, 10]
    assert chosen(10, 1) == [10]
