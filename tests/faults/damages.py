"""What may become of a good file: damaged as bytes, as what it holds, by lists of old enemies and by hypothesis."""

from __future__ import annotations

import json
import random
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import Any

import yaml
from hypothesis import strategies as st

from thinresnet.convert import brief

_RANDOM_DAMAGES = 60
_JSON = [
    None, True, -1, 0, 1.5, 1e308, 10**5, 10**9, 10**40, "", "x\ny", "\ud800", "\0", "/etc/passwd", "../../x",
    "a" * 10_000, [], {}, [[]], [1], ["x"] * 50, [10**9] * 3, {"a": {}}, {"": None},
]  # fmt: skip
_YAML = [
    "!!int ''", "!!float x", "!!timestamp x", "!!binary x", "!!set {a}", "!!python/object/apply:os.system [x]",
    "2024-13-45", "2024-01-01", "12:30:45", "&a [*a]", "*b", "{}", "[]", "[[[[1]]]]", ".nan", "-.inf",
    "1e999", "1" * 40, "null", "~",
    '"x\\ny"', '"\\0"', '"\\ud800"', "true", "-1", "''", "? [1]", "{{a}}", "|\n", "0x", "1_000", "0o17",
    "[" * 500, "a" * 5000,
]  # fmt: skip
_CSV = [
    "",
    "nan",
    "inf",
    "-1",
    "1e999",
    "1" * 400,
    '"',
    '"x\ny"',
    "=1+1",
    "\0",
    "\ud800",
    "a" * 200_000,
    "x,y",
    "\u202e",
]
_BYTES = [
    b"\0", b"\xff", b"\xed\xa0\x80", b"\r", b"\n\n", b"{", b"[", b'"', b"'", b":", b",", b"---\n", b"...\n",
    b"!!int ''", b"&a ", b"*a", b"\\u0000", b"NaN", b"1e999", b"\x1b[2J", b"\x85", b"%", b"@", b"`", b"}" * 50,
    b"<<: ", b"? ",
]  # fmt: skip


Damage = tuple[str, Callable[[], bytes]]


def damages(content: bytes, suffix: str, draw: random.Random) -> Iterator[Damage]:
    """What may become of a file: in words, and what makes its bytes, which few of the thousands are asked for."""
    size = len(content)
    yield from (
        ("empty", lambda: b""), ("one zero", lambda: b"\0"), ("one byte", lambda: b"\xff"),
        ("with a byte-order mark", lambda: b"\xef\xbb\xbf" + content),
        ("in UTF-16", lambda: content.decode("latin-1").encode("utf-16")), ("twice", lambda: content * 2),
        ("zeros", lambda: bytes(size)), ("Windows line ends", lambda: content.replace(b"\n", b"\r\n")),
        ("without line ends", lambda: content.replace(b"\n", b"")), ("deep lists", lambda: b"[" * 100_000),
        ("deep objects", lambda: b'{"a":' * 100_000), ("deep YAML", lambda: b"- " * 5_000 + b"a"),
        ("a megabyte of one letter", lambda: b"a" * 1_000_000), ("a million lines", lambda: b"\n" * 1_000_000),
        ("100 MB of spaces", lambda: b" " * 100_000_000),
    )  # fmt: skip
    for share in (0.1, 0.25, 0.5, 0.75, 0.9):
        yield f"cut off at {share:.0%}", partial(content.__getitem__, slice(int(size * share)))
    yield "without the last byte", lambda: content[:-1]
    for number in range(_RANDOM_DAMAGES):
        place = draw.randrange(max(1, size))
        if number % 2:
            token = draw.choice(_BYTES)
            yield f"{token!r} at byte {place}", partial(b"".join, (content[:place], token, content[place:]))
        else:
            flipped = bytearray(content)
            for _ in range(draw.choice((1, 1, 4, 16))):
                flipped[draw.randrange(size)] = draw.randrange(256)
            yield f"flipped bytes, {number}", partial(bytes, flipped)
    kinds: dict[str, Callable[[bytes, random.Random], Iterator[Damage]]]
    kinds = {".json": _of_json, ".yaml": _of_yaml, ".csv": _of_csv}
    yield from kinds[suffix](content, draw) if suffix in kinds else ()


def _of_json(content: bytes, draw: random.Random) -> Iterator[Damage]:
    whole = json.loads(content)
    for name, changed in _replaced(whole, _JSON, draw):
        yield name, partial(_as_json, changed)
    for key in whole:
        yield f"without {key}", partial(_as_json, lambda key=key: {k: own for k, own in whole.items() if k != key})
    yield "unknown key", partial(_as_json, lambda: {**whole, "unknown": 1})


def _as_json(changed: Callable[[], Any]) -> bytes:
    return json.dumps(changed()).encode("utf-8", "surrogatepass")


def _of_yaml(content: bytes, draw: random.Random) -> Iterator[Damage]:
    whole = yaml.load(content, Loader=yaml.BaseLoader)
    for name, changed in _replaced(whole, _YAML, draw, token="HOSTILE"):
        yield name[:100], partial(_as_yaml, changed, name.partition(" = ")[2])


def _as_yaml(changed: Callable[[], Any], value: str) -> bytes:
    return yaml.dump(changed(), sort_keys=False).replace("HOSTILE", value).encode("utf-8", "surrogatepass")


def _of_csv(content: bytes, draw: random.Random) -> Iterator[Damage]:
    lines = [line.split(",") for line in content.decode().splitlines()]
    for row in range(min(3, len(lines))):
        for column in range(len(lines[row])):
            for value in draw.sample(_CSV, 4):
                yield f"row {row}, column {column} = {brief(value)}", partial(_as_csv, lines, row, column, value)


def _as_csv(lines: Sequence[Sequence[str]], row: int, column: int, value: str) -> bytes:
    changed = [list(line) for line in lines]
    changed[row][column] = value
    return ("\n".join(",".join(line) for line in changed) + "\n").encode("utf-8", "surrogatepass")


def _replaced(
    whole: Any, values: Sequence[Any], draw: random.Random, token: str | None = None
) -> Iterator[tuple[str, Callable[[], Any]]]:
    """The content with each of its values replaced by several others."""
    for path in _paths(whole):
        for value in draw.sample(values, min(12, len(values))):
            new = value if token is None else token
            yield f"{'/'.join(map(str, path))} = {value if token else brief(value)}", partial(_with, whole, path, new)


def _with(whole: Any, path: Sequence[Any], value: Any) -> Any:
    changed = json.loads(json.dumps(whole))
    place = changed
    for step in path[:-1]:
        place = place[step]
    place[path[-1]] = value
    return changed


def _paths(value: Any, above: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    items = value.items() if isinstance(value, dict) else enumerate(value[:2]) if isinstance(value, list) else ()
    for key, own in items:
        yield (*above, key)
        yield from _paths(own, (*above, key))


def hostile(content: bytes, suffix: str) -> st.SearchStrategy[bytes]:
    """What hypothesis makes of a good file: parts replaced by any bytes, and by what does not belong there."""
    place = st.integers(0, len(content))
    part = st.binary(max_size=40) | st.sampled_from(_BYTES) | st.text(max_size=40).map(
        lambda text: text.encode("utf-8", "surrogatepass")
    )  # fmt: skip
    cut = st.tuples(place, st.integers(0, 40), part)

    def spliced(cuts: list[tuple[int, int, bytes]]) -> bytes:
        found = content
        for start, length, new in cuts:
            found = found[:start] + new + found[start + length :]
        return found

    every = st.lists(cut, min_size=1, max_size=4).map(spliced)
    if suffix in (".json", ".yaml"):
        whole = json.loads(content) if suffix == ".json" else yaml.load(content, Loader=yaml.BaseLoader)
        paths = list(_paths(whole))
        scalar = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20) | st.sampled_from(_JSON)
        value = st.recursive(
            scalar, lambda own: st.lists(own, max_size=4) | st.dictionaries(st.text(max_size=8), own, max_size=4)
        )
        changes = st.lists(st.tuples(st.sampled_from(paths), value), min_size=1, max_size=3)
        every |= changes.map(lambda several: _changed(whole, several))
    if suffix == ".csv":
        cells = [line.split(",") for line in content.decode().splitlines()]
        cell = st.tuples(st.integers(0, len(cells) - 1), st.integers(0, len(cells[0]) - 1), st.text(max_size=30))
        every |= st.lists(cell, min_size=1, max_size=3).map(lambda several: _celled(cells, several))
    return every


def _changed(whole: Any, several: Sequence[tuple[tuple[Any, ...], Any]]) -> bytes:
    found = json.loads(json.dumps(whole))
    for path, value in several:
        try:
            place = found
            for step in path[:-1]:
                place = place[step]
            place[path[-1]] = value
        except (TypeError, KeyError, IndexError):  # an earlier change took it away
            continue
    return json.dumps(found).encode()  # which is YAML too


def _celled(cells: Sequence[Sequence[str]], several: Sequence[tuple[int, int, str]]) -> bytes:
    found = [list(line) for line in cells]
    for row, column, value in several:
        if column < len(found[row]):
            found[row][column] = value
    return ("\n".join(",".join(line) for line in found) + "\n").encode("utf-8", "surrogatepass")
