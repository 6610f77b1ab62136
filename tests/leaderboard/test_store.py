"""The file: hostile bytes are refused by place or read rightly, and no kill, merge or crowd of writers loses a row."""

from __future__ import annotations

import csv
import io
import multiprocessing
import os
import random
import signal
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from decimal import Decimal
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from thinresnet.errors import InputError
from thinresnet.leaderboard import store
from thinresnet.leaderboard.adding import Proposal, add
from thinresnet.leaderboard.check import check
from thinresnet.leaderboard.schema import COLUMNS, NAMES, Column, Entry, order, text_fault
from thinresnet.leaderboard.store import default_board, merge, read_board, read_lines, render
from thinresnet.leaderboard.tidying import tidy

HEADER = ",".join(NAMES)


def values_of(column: Column) -> st.SearchStrategy[object]:
    """Values that the column allows, empty ones among them."""
    if column.kind == "choice":
        return st.sampled_from(column.choices if column.required else ("", *column.choices))
    if column.kind == "flags":
        return st.sets(st.sampled_from(column.choices), max_size=3).map(lambda flags: tuple(sorted(flags)))
    low, high = column.within
    if column.kind == "count":
        return st.none() | st.integers(int(low), int(high))
    if column.kind == "number":
        digits = st.integers(0, 5).flatmap(
            lambda places: st.integers(int(low.scaleb(places)) + 1, int(high.scaleb(places))).map(
                lambda whole: Decimal(whole).scaleb(-places)
            )
        )
        return st.none() | digits
    if column.pattern:
        return st.sampled_from(PATTERNED[column.name])
    written = st.text(min_size=1, max_size=20).filter(lambda text: not text_fault(text))
    return written if column.required else st.just("") | written


PATTERNED = {
    "arch": ("resnet50", "wrn40_2_cifar"),
    "paper": ("lin2020hrank", "a-b_c3"),
    "read_commit": ("", "0123abc", "f" * 40),
    "evidence": ("", "baselines/results/a.b-c/D"),
}
CHANGES = {column.name: values_of(column) for column in COLUMNS if column.name != "id"}
BASE = Entry(
    id="row-0", source="published", dataset="imagenet", arch="resnet50", method="HRank", family="pruned",
    accuracy_unit="accuracy", cost_unit="macs", paper="lin2020hrank", locator="Table 4", hand="first",
)  # fmt: skip


def changed(number: int, changes: list[tuple[str, object]]) -> Entry:
    return replace(BASE, id=f"row-{number}", **dict(changes))


one_change = st.sampled_from(sorted(CHANGES)).flatmap(lambda name: st.tuples(st.just(name), CHANGES[name]))
random_entries = st.lists(
    st.builds(changed, st.integers(1, 99), st.lists(one_change, max_size=7)), max_size=5, unique_by=lambda each: each.id
)
property_test = settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))


@pytest.fixture(scope="module")
def scratch(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("boards") / "leaderboard.csv"


@property_test
@given(random_entries)
def test_any_board_is_read_as_it_was_written(scratch: Path, entries: list[Entry]) -> None:
    scratch.write_text(render(entries), encoding="utf-8")
    assert read_board(scratch) == sorted(entries, key=order)
    assert render(read_board(scratch)).encode() == scratch.read_bytes()


@property_test
@given(random_entries)
def test_what_a_spreadsheet_makes_of_a_board_is_read_rightly(scratch: Path, entries: list[Entry]) -> None:
    rows = list(csv.reader(io.StringIO(render(entries))))
    text = io.StringIO()
    csv.writer(text, quoting=csv.QUOTE_ALL, lineterminator="\r\n").writerows(row[::-1] for row in rows)
    scratch.write_bytes(b"\xef\xbb\xbf" + text.getvalue().encode())
    assert read_board(scratch) == sorted(entries, key=order)


@property_test
@given(random_entries, st.randoms())
def test_boards_merge_without_loss_in_any_order(entries: list[Entry], chance: random.Random) -> None:
    mine = [entry for entry in entries if chance.random() < 0.7]
    theirs = [entry for entry in entries if entry not in mine or chance.random() < 0.5]
    chance.shuffle(mine)
    chance.shuffle(theirs)
    assert merge(mine, theirs) == merge(theirs, mine) == sorted(entries, key=order)


@property_test
@given(random_entries)
def test_no_cell_is_a_formula_to_a_spreadsheet(entries: list[Entry]) -> None:
    for row in list(csv.reader(io.StringIO(render(entries))))[1:]:
        for name, cell in zip(NAMES, row, strict=True):
            number = name in {column.name for column in COLUMNS if column.kind == "number"}
            assert cell[:1] not in "=+@\t\r" or not cell
            assert number or not cell.startswith("-")


def test_two_versions_of_one_row_are_a_question(make: Callable[..., Entry]) -> None:
    with pytest.raises(InputError, match=r"lin2020hrank-resnet50-000001, column top1_printed: 74.98 .* 74.99"):
        merge([make()], [make(top1_printed="74.99")])


def line_of(entry: Entry) -> str:
    return render([entry]).split("\n")[1]


HOSTILE = {
    "no file": (None, 1, "cannot be read"),
    "nothing": (b"", 1, "missing"),
    "another header": (b"a,b\n1,2\n", 1, "'a' is not a column"),
    "duplicated column": (HEADER.replace("top5_printed", "top1_printed").encode(), 1, "twice"),
    "misspelt column": (HEADER.replace("speedup_x", "spedup_x").encode(), 1, "speedup_x"),
    "Latin-1": (HEADER.encode() + b"\n\n" + "é".encode("latin-1"), 3, "UTF-8"),
    "UTF-16": (HEADER.encode("utf-16"), 1, "UTF-8"),
    "open quote": (HEADER.encode() + b'\n"lin2020', 2, "quot"),
    "stray quote": (HEADER.encode() + b'\n"lin"x,2\n', 2, "quot"),
    "line break in a cell": (HEADER.encode() + b'\n"lin\n2020",1\n', 2, "runs over the end of the line"),
    "NUL": (HEADER.encode() + b"\nli\x00n,1\n", 2, ""),
    "a huge cell": (HEADER.encode() + b'\n"' + b"x" * 200_000 + b'"\n', 2, "too long"),
}


@pytest.mark.parametrize("case", HOSTILE)
def test_a_hostile_file_is_refused_by_file_and_line(board: Path, case: str) -> None:
    data, line, said = HOSTILE[case]
    path = board.with_name("hostile.csv")
    if data is not None:
        path.write_bytes(data)
    with pytest.raises(InputError, match=rf"hostile.csv, line {line}[:,].*{said}") as refused:
        read_board(path)
    assert "\n" not in str(refused.value)
    assert len(str(refused.value)) < 2000


def test_a_hundred_megabytes_are_not_even_read(tmp_path: Path) -> None:
    path = tmp_path / "leaderboard.csv"
    with path.open("wb") as file:
        file.truncate(100 * 1024 * 1024)
    with pytest.raises(InputError, match="larger than 67,108,864 bytes"):
        read_board(path)


def test_a_broken_cell_is_named_by_line_and_column(board: Path, make: Callable[..., Entry]) -> None:
    text = board.read_text()
    board.write_text(text.replace("71.98", "71,98".replace(",", ";")))
    with pytest.raises(InputError, match=r"line 3, column top1_printed: '71;98'"):
        read_board(board)
    lines = list(read_lines(board))
    assert [line.entry is None for line in lines] == [False, True]
    board.write_text(text + "lin2020hrank-resnet50-000003,published\n")
    with pytest.raises(InputError, match=rf"line 4, column row: '2 cells' is not a row of {len(NAMES)} cells"):
        read_board(board)


def test_the_board_of_the_working_folder_goes_first(board: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(board.parent)
    assert default_board().resolve() == board
    board.unlink()
    assert default_board().name == "leaderboard.csv"


def test_a_row_in_the_wrong_place_is_found_and_put_right(board: Path) -> None:
    clean = board.read_bytes()
    header, one, two = board.read_text().splitlines()
    board.write_bytes(b"\xef\xbb\xbf" + "\r\n".join((header, two, one, "")).encode())
    assert [(problem.line, problem.column) for problem in check(board)] == [(3, "form")]
    assert tidy(board)
    assert board.read_bytes() == clean
    assert not tidy(board)
    assert not check(board)


@pytest.mark.parametrize("kind", ["", "..", "pipe", "folder", "/dev/zero"])
@pytest.mark.parametrize("suffix", [".csv", ".bib"])
def test_what_is_no_file_is_refused_before_it_is_read(board: Path, kind: str, suffix: str) -> None:
    target = board.with_suffix(suffix)
    if kind in ("", ".."):
        board = Path(kind)
    else:
        target.unlink()
        target.symlink_to(kind) if kind.startswith("/") else os.mkfifo(target) if kind == "pipe" else target.mkdir()
    with pytest.raises(InputError, match="folder") as refused:
        tidy(board)
    assert "\n" not in str(refused.value)


def test_two_peoples_rows_merge_in_git(board: Path, make: Callable[..., Entry]) -> None:
    def git(*arguments: str) -> None:
        who = ("-c", "user.name=a", "-c", "user.email=a@example.org", "-c", "commit.gpgsign=false")
        subprocess.run(["git", *who, *arguments], cwd=board.parent, check=True, capture_output=True)

    attributes = Path(store.__file__).parents[2] / ".gitattributes"
    (board.parent / ".gitattributes").write_bytes(attributes.read_bytes())
    git("init", "-q", "-b", "main")
    git("add", "leaderboard.csv", "leaderboard.bib", ".gitattributes")
    git("commit", "-qm", "board")
    for branch, end, top1 in (("one", "a", "70.1"), ("two", "b", "70.2")):
        git("checkout", "-q", "-b", branch, "main")
        add(board, [Proposal(make(id=f"lin2020hrank-resnet50-00000{end}", top1_printed=top1))])
        git("commit", "-qam", branch)
    git("merge", "-q", "one", "-m", "both")
    tidy(board)
    assert [entry.id[-1] for entry in read_board(board)] == ["1", "2", "a", "b"]
    assert not check(board)


def fork(work: Callable[[], None]) -> int:
    """The exit status of a child process that does this."""
    child = os.fork()
    if child == 0:
        try:
            work()
            os._exit(0)
        except BaseException:
            # A child must never return into pytest.
            os._exit(1)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


@pytest.mark.skipif(not hasattr(os, "fork"), reason="kills a forked child")
def test_killing_add_at_any_touch_of_the_disk_leaves_a_whole_board(board: Path, make: Callable[..., Entry]) -> None:
    """Every open, rename, chmod and removal that adding causes is, once, the last thing that the process does."""
    import filelock  # noqa: F401 - imported here, so that the child's imports are no touches of the disk

    old, new = board.read_bytes(), None
    killed = 0
    for moment in range(1, 400):
        if new is not None:
            break

        def kill_at_the_moment(moment: int = moment) -> None:
            left = moment

            def watch(event: str, _: object) -> None:
                nonlocal left
                if event == "open" or event.startswith("os."):
                    left -= 1
                    if left == 0:
                        os.kill(os.getpid(), signal.SIGKILL)

            sys.addaudithook(watch)
            add(board, [Proposal(make(id="lin2020hrank-resnet50-00000a", top1_printed="70.1"))])

        status = fork(kill_at_the_moment)
        if status == 0:
            new = board.read_bytes()
        else:
            assert status == -signal.SIGKILL
            killed += 1
            if board.read_bytes() != old:
                new = board.read_bytes()
        assert len(read_board(board)) == (3 if new else 2)
        assert not check(board)
    assert new is not None
    assert killed > 10
    # The next writer clears away what the killed ones left, and loses nothing.
    add(board, [Proposal(make(id="lin2020hrank-resnet50-00000b", top1_printed="70.2"))])
    assert len(read_board(board)) == 4
    assert not list(board.parent.glob(".*.part"))


ADDER = """
import sys
from pathlib import Path
from thinresnet.leaderboard.adding import Proposal, add
from thinresnet.leaderboard.schema import parse
from thinresnet.leaderboard.store import read_board, format_row
from thinresnet.leaderboard.schema import NAMES
board, who = Path(sys.argv[1]), int(sys.argv[2])
cells = dict(zip(NAMES, format_row(read_board(board)[0])))
for number in range(int(sys.argv[3])):
    entry, _ = parse({**cells, "id": f"row-{who}-{number}", "top1_printed": f"{40 + who}.{number:03d}"})
    add(board, [Proposal(entry)])
    print(entry.id, flush=True)
"""


def test_killing_adders_at_random_moments_loses_no_row_that_was_added(board: Path) -> None:
    chance = random.Random(7)
    kept: list[str] = []
    for who in range(4):
        adder = subprocess.Popen(
            [sys.executable, "-c", ADDER, str(board), str(who), "500"], stdout=subprocess.PIPE, text=True
        )
        assert adder.stdout is not None
        kept += [adder.stdout.readline().strip() for _ in range(chance.randint(1, 9))]
        adder.kill()
        kept += [line.strip() for line in adder.stdout.read().splitlines() if line.strip()]
        adder.wait()
        ids = {entry.id for entry in read_board(board)}
        assert set(kept) <= ids
    assert not check(board)


def test_ten_processes_at_once_lose_nothing(board: Path, make: Callable[..., Entry]) -> None:
    context = multiprocessing.get_context("fork")
    workers = [context.Process(target=_add_three, args=(board, who, make)) for who in range(10)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
        assert worker.exitcode == 0
    assert len(read_board(board)) == 2 + 30
    assert not check(board)


def _add_three(board: Path, who: int, make: Callable[..., Entry]) -> None:
    for number in range(3):
        add(board, [Proposal(make(id=f"row-{who}-{number}", top1_printed=f"{50 + who}.{number}"))])


def test_nothing_of_torch_or_timm_is_imported() -> None:
    code = """
import importlib, pkgutil, sys
import thinresnet.leaderboard as room
for module in pkgutil.iter_modules(room.__path__):
    # What draws, and what reads files of rows.
    if module.name not in ("figure", "panels", "page", "authors_chart", "authors_page", "rowfiles"):
        importlib.import_module(f"{room.__name__}.{module.name}")
import thinresnet.cli
heavy = {"torch", "timm", "torchvision", "accelerate", "fvcore", "pandas", "altair", "itables", "numpy"}
print(sorted(heavy & set(sys.modules)))
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
