"""The command line as a whole: misspelt verbs, what the system refuses, signals."""

from __future__ import annotations

import errno
import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import pytest
import typer
from typer.testing import CliRunner

import thinresnet
from thinresnet.cli import VERBS, app, main
from thinresnet.errors import InputError, one_line, os_error_line


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


def test_a_signal_ends_a_verb_with_one_line() -> None:
    """Its output is more than a pipe holds, so that the verb waits for its reader."""
    line = [sys.executable, "-m", "thinresnet", "leaderboard", "show", "--json"]
    with subprocess.Popen(line, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, bufsize=1) as verb:
        assert verb.stdout is not None
        verb.stdout.read(1)
        verb.send_signal(signal.SIGINT)
        _, said = verb.communicate()
    assert verb.returncode == 130
    (stopped,) = [line for line in said.splitlines() if not line.startswith("board: ")]
    assert stopped.startswith("thinresnet: stopped")


def test_the_list_of_verbs_says_what_their_own_help_says() -> None:
    group = typer.main.get_group(app)
    for verb, (_, says) in VERBS.items():
        own = group.get_command(None, verb).help
        assert " ".join(own.split("\n\n")[0].split()) == says, verb
    listed = CliRunner().invoke(app, ["--help"], env={"COLUMNS": "300"}).output
    assert all(says in listed for _, says in VERBS.values())


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["fit"], "Missing argument 'ARCH'; see thinresnet fit --help"),
        (["leaderboard", "show", "--bord", "x"], r"No such option: --bord .*; see thinresnet leaderboard show --help"),
        (["prune", "--round-to", "x\ny"], "Invalid value for '--round-to': .*; see thinresnet prune --help"),
        (["prune", "l1", "x", "--seed", "9" * 20], "Invalid value for '--seed': .*; see thinresnet prune --help"),
        (["leaderboard", "page", "--output", "\udcff"], r"\\udcff: not UTF-8; rename it, or give another"),
        (["evaluate", "nothing\nthere.pt", "--dataset", "digits"], r"nothing\\nthere\.pt: .*"),
        (
            ["time", "resnet18", "--batch-size", "9" * 8],
            "Invalid value for '--batch-size': .*; see thinresnet time --help",
        ),
        (["time", "resnet18", "--runs", "9" * 8], "Invalid value for '--runs': .*; see thinresnet time --help"),
        (["study", "run", "x", "--jobs", "9" * 8], "Invalid value for '--jobs': .*; see thinresnet study run --help"),
        (
            ["study", "run", "x", "--minutes", "inf"],
            "Invalid value for '--minutes': .*; see thinresnet study run --help",
        ),
    ],
)
def test_a_slip_of_the_keyboard_is_one_line(
    arguments: list[str], said: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "argv", ["thinresnet", *arguments])
    with pytest.raises(SystemExit) as ended:
        main()
    assert ended.value.code == 2
    assert re.fullmatch(f"thinresnet: {said}\n", capsys.readouterr().err)


def test_a_message_is_bounded_and_shows_what_no_terminal_should_act_on() -> None:
    assert one_line("a\nb\x1b[2J\udcff é") == "a\\nb\\x1b[2J\\udcff é"
    assert len(one_line("x" * 10**6)) < 1_000
    line, _ = os_error_line(OSError(errno.ENAMETOOLONG, "File name too long", "x" * 5_000))
    assert len(line) < 300
    assert line.endswith("file name too long; give a shorter name")


@pytest.mark.parametrize(
    ("words", "also"),
    [
        ("compare --json", ("rich", "statistics")),
        ("compare", ()),
        ("show", ()),
        ("cite", ("rich",)),
        ("check", ("rich", "filelock")),
    ],
)
def test_verbs_of_the_leaderboard_import_what_they_use(words: str, also: tuple[str, ...]) -> None:
    """Start-up is what these verbs cost: a package more is noticed here, where a clock would not tell."""
    unused = ("torch", "timm", "numpy", "pandas", "altair", "jinja2", "pydantic", "importlib.metadata", "html.parser")
    code = (
        f"import sys\nsys.argv = ['thinresnet', 'leaderboard', *{words.split()!r}]\nfrom thinresnet.cli import main\n"
        f"try: main()\nfinally: print([name for name in {(*unused, *also)!r} if name in sys.modules], file=sys.stderr)"
    )
    root = Path(thinresnet.__file__).parents[1]
    done = subprocess.run([sys.executable, "-c", code], cwd=root, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stderr.splitlines()[-1] == "[]"


def test_a_recipe_that_is_no_utf8_is_refused_by_its_line(tmp_path: Path) -> None:
    (tmp_path / "own.yaml").write_bytes(b"epochs: 3\n# \xe4\n")
    found = CliRunner().invoke(app, ["recipes", str(tmp_path / "own.yaml")])
    assert isinstance(found.exception, InputError)
    assert "own.yaml, line 2: byte 0xE4 is not UTF-8" in str(found.exception)
