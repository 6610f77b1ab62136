"""The command line as a whole: misspelt verbs, what the system refuses, signals."""

from __future__ import annotations

import errno
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
import typer
from typer.testing import CliRunner

from thinresnet.cli import VERBS, app
from thinresnet.errors import os_error_line


def run(*arguments: object, **options: object) -> subprocess.CompletedProcess[str]:
    line = [sys.executable, "-m", "thinresnet", *map(str, arguments)]
    return subprocess.run(line, capture_output=True, text=True, timeout=120, check=False, **options)  # type: ignore[call-overload,no-any-return]


def test_a_misspelt_verb_is_refused_with_the_nearest() -> None:
    done = run("cuont")
    assert done.returncode == 2
    assert "'count'" in done.stderr


@pytest.mark.parametrize(
    ("target", "said"),
    [
        ("file/page.html", "a file stands where a folder is meant"),
        ("", "is a folder"),
        ("x" * 300 + ".html", "shorter name"),
    ],
)
def test_what_the_system_refuses_is_one_line(tmp_path: Path, target: str, said: str) -> None:
    (tmp_path / "file").write_text("old")
    done = run("leaderboard", "page", "--output", target and tmp_path / target)
    assert done.returncode == 2
    (line,) = [line for line in done.stderr.splitlines() if not line.startswith("board: ")]  # which board was read
    assert line.startswith("thinresnet: ")
    assert said in line
    assert [path.name for path in tmp_path.iterdir()] == ["file"]
    assert (tmp_path / "file").read_text() == "old"


def test_a_full_disk_ends_with_1_and_says_what_to_do() -> None:
    line, code = os_error_line(OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), "runs/board.csv"))
    assert (line, code) == (
        "runs/board.csv: no space left on device; make room, then give the same command again",
        1,
    )


def test_a_signal_ends_a_verb_with_one_line(tmp_path: Path) -> None:
    """The board is a pipe that nobody writes to, so that the verb waits for it."""
    pipe = tmp_path / "board.csv"
    os.mkfifo(pipe)
    line = [sys.executable, "-m", "thinresnet", "leaderboard", "check", "--board", str(pipe)]
    with subprocess.Popen(line, stderr=subprocess.PIPE, text=True) as verb:
        writer = os.open(pipe, os.O_WRONLY)  # returns once the verb has opened it to read
        verb.send_signal(signal.SIGINT)
        said = verb.stderr.read() if verb.stderr else ""
        os.close(writer)
    assert verb.returncode == 130
    assert said.startswith("thinresnet: stopped")
    assert len(said.splitlines()) == 1


def test_the_list_of_verbs_says_what_their_own_help_says() -> None:
    group = typer.main.get_group(app)
    for verb, (_, says) in VERBS.items():
        own = group.get_command(None, verb).help
        assert " ".join(own.split("\n\n")[0].split()) == says, verb
    listed = CliRunner().invoke(app, ["--help"], env={"COLUMNS": "300"}).output
    assert all(says in listed for _, says in VERBS.values())
