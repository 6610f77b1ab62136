"""What is shown while something lasts: at once in a terminal, gone at the end; plain lines or nothing elsewhere."""

from __future__ import annotations

import io
import re

import pytest
from rich.console import Console

from thinresnet.cli import terminal


@pytest.fixture
def screen(monkeypatch: pytest.MonkeyPatch) -> io.StringIO:
    """A terminal, as what is written to it."""
    written = io.StringIO()
    seen = Console(file=written, force_terminal=True, width=100, legacy_windows=False)
    monkeypatch.setattr(terminal, "console", lambda *, stderr=False: seen)
    return written


def _words(written: io.StringIO) -> str:
    return re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", written.getvalue())


def test_a_terminal_is_told_at_once_what_begins(screen: io.StringIO) -> None:
    with terminal.status("tracing resnet50"):
        pass
    assert "tracing resnet50…" in _words(screen)
    with terminal.progress("reading runs/one") as show:
        assert "reading runs/one…" in _words(screen)
        assert "0/" not in _words(screen)
        show("images", 30, 120)
        before = len(screen.getvalue())
    last = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", screen.getvalue()[before:])
    assert "images" in last
    assert " 30/120" in last
    assert "reading" not in last  # what began is over
    assert screen.getvalue().endswith("\x1b[2K")  # the lines are gone when the work is done


def test_what_has_no_known_end_may_follow(screen: io.StringIO) -> None:
    with terminal.progress("reading") as show:
        show("images", 120, 120)
        show("drawing", 0, 0)
        before = len(screen.getvalue())
    last = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", screen.getvalue()[before:])
    assert "drawing…" in last
    assert "120/120" in last


def test_a_log_gets_plain_lines(capsys: pytest.CaptureFixture[str]) -> None:
    with terminal.status("tracing"), terminal.progress("reading") as show:
        for done in range(21):
            show("images", done, 20)
        show("drawing", 0, 0)
    said = capsys.readouterr()
    assert not said.out
    lines = said.err.splitlines()
    assert len(lines) == 10
    assert lines[0].startswith("images: 2 of 20")
    assert "\x1b" not in said.err
