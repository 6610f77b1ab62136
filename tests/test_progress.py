"""Progress of library calls: shown where somebody looks on, told to a callable, silent elsewhere."""

from __future__ import annotations

import io
import sys

import pytest

from thinresnet import progress
from thinresnet.progress import Bar, shown, silent


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_a_bar_is_drawn_where_somebody_looks_on(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stderr", io.StringIO())
    monkeypatch.delitem(sys.modules, "ipykernel", raising=False)
    assert shown(True) is silent
    monkeypatch.setitem(sys.modules, "ipykernel", progress)
    assert isinstance(shown(True), Bar)
    monkeypatch.delitem(sys.modules, "ipykernel")
    monkeypatch.setattr(sys, "stderr", Terminal())
    assert isinstance(shown(True), Bar)
    assert shown(False) is silent
    assert shown(print) is print  # type: ignore[comparison-overlap,arg-type]


def test_the_bar_waits_says_the_time_left_and_goes() -> None:
    now, stream = [0.0], io.StringIO()
    bar = Bar(stream, clock=lambda: now[0])
    for done in range(5):
        now[0] = done * 1.0
        bar("counting", done, 4)
    drawn = stream.getvalue().split("\r")
    assert drawn[1] == f"counting {'█' * 6}{'░' * 18} 1 of 4, 3s left"
    assert "3 of 4, 1s left" in drawn[3]
    assert drawn[-2].strip() == drawn[-1] == ""  # the line is empty when all is done
    stream.truncate(0)
    for done in range(5):
        now[0] += 0.01
        bar("short work", done, 4)
    assert not stream.getvalue().strip("\x00")
