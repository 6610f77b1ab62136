"""Atomic files: the old one or the new one, never half of one."""

from __future__ import annotations

import os
import socket
import stat
from pathlib import Path

import pytest

from thinresnet.errors import InputError
from thinresnet.files import (
    building,
    publish,
    read_bytes,
    read_object,
    read_table,
    read_text,
    remove_unfinished,
    replacing,
    write_atomically,
)


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


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


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (None, "said.json: no such file"),
        (b"{", "said.json, line 1: not valid JSON"),
        (b"\xff", "said.json: not valid JSON"),
        (b'{"a": 1, "a": 2}', "the key 'a' stands twice"),
        (b'{"a": NaN}', "NaN is not a JSON number"),
        (b"[" * 100_000, "said.json: not valid JSON: nested too deeply"),
        (b"[1]", "said.json: not a JSON object"),
    ],
)
def test_what_is_no_object_is_refused(tmp_path: Path, content: bytes | None, said: str) -> None:
    if content is not None:
        (tmp_path / "said.json").write_bytes(content)
    with pytest.raises(InputError, match=said):
        read_object(tmp_path / "said.json")


def test_what_is_missing_is_said_as_the_caller_wants(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"^no run there$"):
        read_object(tmp_path / "said.json", missing="no run there")
    (tmp_path / "said.json").write_text('{"a": 1}')
    assert read_object(tmp_path / "said.json", missing="no run there") == {"a": 1}


def test_a_link_stays_a_link_and_its_file_is_written(tmp_path: Path) -> None:
    real = tmp_path / "elsewhere" / "real.txt"
    write_atomically(real, "old")
    link = tmp_path / "link.txt"
    link.symlink_to(real)
    write_atomically(link, "new")
    assert link.is_symlink()
    assert real.read_text() == "new"
    assert [path.name for path in real.parent.iterdir()] == ["real.txt"]


def test_what_is_no_regular_file_is_refused_and_stays(tmp_path: Path) -> None:
    pipe, folder = tmp_path / "pipe", tmp_path / "folder"
    os.mkfifo(pipe)
    folder.mkdir()
    for target, kind in ((pipe, "device, pipe or socket"), (folder, "a folder"), (Path(os.devnull), "device")):
        with pytest.raises(InputError, match=kind):
            write_atomically(target, "x")
    assert stat.S_ISFIFO(pipe.stat().st_mode)
    assert stat.S_ISCHR(Path(os.devnull).stat().st_mode)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["folder", "pipe"]


def test_what_a_killed_writer_left_goes_with_the_next_write_and_nothing_else_does(tmp_path: Path) -> None:
    for name in (".file.txt.dead0000.part", ".other.txt.dead0000.part", "x.part", ".file.txt"):
        (tmp_path / name).write_text("half")
    write_atomically(tmp_path / "file.txt", "new")
    assert names(tmp_path) == [".file.txt", ".other.txt.dead0000.part", "file.txt", "x.part"]
    remove_unfinished(tmp_path)
    assert names(tmp_path) == [".file.txt", "file.txt", "x.part"]


def test_what_is_being_written_is_let_be(tmp_path: Path) -> None:
    with replacing(tmp_path / "file.txt") as part:
        part.write_text("first")
        write_atomically(tmp_path / "file.txt", "second")
        remove_unfinished(tmp_path)
        assert part.read_text() == "first"
    assert (tmp_path / "file.txt").read_text() == "first"
    assert names(tmp_path) == ["file.txt"]


def test_a_folder_is_built_out_of_sight_by_one_process_at_a_time(tmp_path: Path) -> None:
    folder = tmp_path / "deep" / "built"
    with building(folder) as part:
        (part / "x").write_text("one")
        assert not folder.exists()
        with pytest.raises(InputError, match="another process is writing it"), building(folder):
            pass
        publish(part, folder)
    assert (folder / "x").read_text() == "one"
    left = folder.with_name(".built.part")
    left.mkdir()
    (left / "y").write_text("of a killed process")
    with building(folder) as part:
        assert list(part.iterdir()) == []
        (part / "x").write_text("two")
        publish(part, folder)
    assert [path.name for path in folder.iterdir()] == ["x"]
    assert (folder / "x").read_text() == "two"
    assert names(folder.parent) == ["built"]


@pytest.mark.parametrize("renamed", [1, 2])
def test_a_kill_while_a_folder_is_replaced_leaves_nothing_for_good(
    renamed: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "built"
    folder.mkdir()
    (folder / "x").write_text("old")
    calls = iter(range(1, 10))
    rename, kept = Path.rename, tmp_path / ".built.part"

    def dying(self: Path, target: Path) -> Path:
        found = rename(self, target)
        if next(calls) == renamed:
            raise SystemExit
        return found

    def replace_and_die() -> None:
        with building(folder) as part:
            publish(part, folder)

    with monkeypatch.context() as patch:
        patch.setattr(Path, "rename", dying)
        with pytest.raises(SystemExit):
            replace_and_die()
    assert ".built.old.part" in names(tmp_path)
    assert not kept.exists()
    with building(folder) as part:
        (part / "x").write_text("new")
        publish(part, folder)
    assert names(tmp_path) == ["built"]
    assert (folder / "x").read_text() == "new"


@pytest.mark.parametrize("name", ["n" * 255, "ü" * 127])
def test_the_longest_names_are_written(tmp_path: Path, name: str) -> None:
    write_atomically(tmp_path / name, "x")
    assert names(tmp_path) == [name]


@pytest.mark.parametrize("kind", ["pipe", "folder", "/dev/zero", "/dev/full", "socket"])
def test_what_is_no_file_is_refused_at_once(tmp_path: Path, kind: str) -> None:
    path = tmp_path / "given"
    if kind == "pipe":
        os.mkfifo(path)
    elif kind == "folder":
        path.mkdir()
    elif kind == "socket":
        with socket.socket(socket.AF_UNIX) as own:
            own.bind(str(path))
    else:
        path.symlink_to(kind)
    for read in (read_bytes, read_table, read_object):
        with pytest.raises(InputError, match=r"given: cannot be read: "):
            read(path)


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"epoch,lr\n1\n", "line 2: not as many cells"),
        (b"epoch,lr\n1,2,3\n", "line 2: not as many cells"),
        (b"epoch,lr\n1,\xff\n", "not a CSV table"),
        (b'epoch,lr\n1,"2', "not a CSV table"),
        (b"epoch\n" + b"1" * 200_000, "not a CSV table"),
    ],
)
def test_what_is_no_table_is_refused(tmp_path: Path, content: bytes, said: str) -> None:
    (tmp_path / "table.csv").write_bytes(content)
    with pytest.raises(InputError, match=rf"table\.csv.*{said}"):
        read_table(tmp_path / "table.csv")
    (tmp_path / "table.csv").write_bytes(b"\xef\xbb\xbfepoch,lr\r\n1,2\r\n")
    assert read_table(tmp_path / "table.csv") == [{"epoch": "1", "lr": "2"}]


def test_text_is_read_with_a_byte_order_mark_and_windows_line_ends(tmp_path: Path) -> None:
    (tmp_path / "x").write_bytes(b"\xef\xbb\xbfone\r\ntwo\n")
    assert read_text(tmp_path / "x") == "one\ntwo\n"


def test_text_that_is_no_utf8_is_refused_by_its_line(tmp_path: Path) -> None:
    (tmp_path / "x").write_bytes(b"one\ntw\xe4\n")
    with pytest.raises(InputError, match=r"x, line 2: byte 0xE4 is not UTF-8; save the file as UTF-8"):
        read_text(tmp_path / "x")
