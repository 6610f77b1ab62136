"""Slow imports are told in a terminal while they last, and nowhere else."""

from __future__ import annotations

import gc
import importlib
import io
import sys
from pathlib import Path

import pytest

from thinresnet.cli import slow_imports
from thinresnet.cli.slow_imports import imports_told


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.fixture(autouse=True)
def packages(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A slow package that imports another one, and one that fails."""
    texts = {"slow_outer": "import slow_inner", "slow_inner": "", "slow_wrong": "raise ImportError('no')"}
    for name, text in texts.items():
        (tmp_path / f"{name}.py").write_text(text)
        monkeypatch.delitem(sys.modules, name, raising=False)
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.setattr(slow_imports, "SLOW", frozenset(texts))


def test_the_line_follows_the_import_and_goes() -> None:
    stream, before = Terminal(), list(sys.meta_path)
    with imports_told(stream), imports_told(stream):
        module = importlib.import_module("slow_outer")
        with pytest.raises(ImportError, match="no"):
            importlib.import_module("slow_wrong")
    said = stream.getvalue().split("\r\x1b[K")[1:]
    outer, inner, wrong = (f"importing slow_{name}…" for name in ("outer", "inner", "wrong"))
    assert said == [outer, inner, outer, "", wrong, ""]
    assert sys.meta_path == before
    assert "exec_module" not in vars(module.__spec__.loader)


def test_a_pipe_sees_nothing() -> None:
    stream, before = io.StringIO(), list(sys.meta_path)
    with imports_told(stream), imports_told(None):
        importlib.import_module("slow_inner")
    assert not stream.getvalue()
    assert sys.meta_path == before


def test_no_garbage_is_looked_for_while_a_slow_package_loads(tmp_path: Path) -> None:
    was = gc.isenabled()
    (tmp_path / "slow_inner.py").write_text("import gc\nseen = gc.isenabled()")
    try:
        for enabled in (True, False):
            (gc.enable if enabled else gc.disable)()
            sys.modules.pop("slow_inner", None)
            with imports_told(None):
                assert importlib.import_module("slow_inner").seen is False
            assert gc.isenabled() == enabled
            with imports_told(None), pytest.raises(ImportError):
                importlib.import_module("slow_wrong")
            assert gc.isenabled() == enabled
    finally:
        (gc.enable if was else gc.disable)()
