"""Atomic files: the old one or the new one, never half of one."""

from __future__ import annotations

from pathlib import Path

import pytest

from thinresnet.files import replacing, write_atomically


def test_replaces_and_leaves_nothing_beside(tmp_path: Path) -> None:
    target = tmp_path / "deep" / "file.txt"
    write_atomically(target, "old")
    write_atomically(target, "new ×")
    assert target.read_text(encoding="utf-8") == "new ×"
    assert [entry.name for entry in target.parent.iterdir()] == ["file.txt"]


def test_an_error_keeps_the_old_file(tmp_path: Path) -> None:
    target = tmp_path / "file.txt"
    write_atomically(target, "old")

    def write_half() -> None:
        with replacing(target) as part:
            part.write_text("half")
            raise RuntimeError("disk full")

    with pytest.raises(RuntimeError, match="disk"):
        write_half()
    assert target.read_text() == "old"
    assert [entry.name for entry in tmp_path.iterdir()] == ["file.txt"]


def test_keeps_the_mode_of_what_it_replaces(tmp_path: Path) -> None:
    target = tmp_path / "file.txt"
    write_atomically(target, b"old")
    target.chmod(0o640)
    write_atomically(target, b"new")
    assert target.stat().st_mode & 0o777 == 0o640
