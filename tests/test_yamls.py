"""Plain YAML: what is read, and that everything else is one line."""

from __future__ import annotations

import re
from pathlib import Path
from unittest import mock

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from thinresnet import yamls
from thinresnet.errors import InputError
from thinresnet.recipe import Recipe
from thinresnet.yamls import parse_documents, read_document, read_documents


def _file(folder: Path, content: str | bytes) -> Path:
    path = folder / "their.yaml"
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    return path


def _one_line(error: InputError) -> None:
    assert "\n" not in str(error)


def test_documents_are_read_in_order(tmp_path: Path) -> None:
    path = _file(tmp_path, "a: 1\n---\n- 2\n")
    assert read_documents(path) == [{"a": 1}, [2]]
    with pytest.raises(InputError, match="2 documents"):
        read_document(path)
    assert read_document(_file(tmp_path, "")) is None


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("a: &x 1\nb: *x", ", line 2: not plain YAML: an alias"),
        ("a: 1\na: 2", ", line 2: not plain YAML: the key 'a' twice"),
        ("a: !!python/object/apply:os.system [echo]", ", line 1: not plain YAML"),
        ("a: [", "line"),
        ("a: !!int ''", "not plain YAML"),
        ("a: !!float x", "not plain YAML"),
        ("a: !!timestamp x", "not plain YAML"),
        ("a: !!binary é", "not plain YAML"),
        ("a: !!bool x", "not plain YAML"),
        ("a: 2020-13-45", "not plain YAML"),
        ("a: 2020-01-01 00:00:00+99:00", "not plain YAML"),
        ("? [1, 2]\n: 3", "not plain YAML"),
        ("? {a: 1}\n: 3", "not plain YAML"),
        ('a: "\\ud800"', "not plain YAML"),
        ("[" * 5000, ""),
        ("a: \x01", "not plain YAML"),
        ("x" * 2000, "larger than 1,000 bytes"),
        (b"\xff\xfe\x00", "cannot be read: not UTF-8"),
        ("---\n- \n" * 120, "larger than"),
    ],
)
def test_what_is_wrong_is_one_line(tmp_path: Path, content: str | bytes, said: str) -> None:
    limit = 1_000 if "larger" in said else 262_144
    if said == "larger than":
        limit = 100
    path = _file(tmp_path, content)
    with pytest.raises(InputError) as refusal:
        read_documents(path, largest_bytes=limit)
    message = str(refusal.value)
    assert message.startswith(str(path))
    assert said in message
    assert "\n" not in message
    assert len(message) < 400


def test_values_may_stay_strings() -> None:
    assert parse_documents("top1: 76.10\nday: 2020-13-45\non: yes", "x", strings=True) == [
        {"top1": "76.10", "day": "2020-13-45", "on": "yes"}
    ]
    with pytest.raises(InputError, match="an alias"):
        parse_documents("a: &x 1\nb: *x", "x", strings=True)
    with pytest.raises(InputError, match="the key 'a' twice"):
        parse_documents("a: 1\na: 2", "x", strings=True)


def test_many_documents_are_refused() -> None:
    with pytest.raises(InputError, match="more than 1,000 documents"):
        parse_documents("---\n" * 1_002, "x")


def test_files_that_are_not_there(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no such file"):
        read_document(tmp_path / "none.yaml")
    with pytest.raises(InputError, match="see baselines"):
        read_document(tmp_path / "none.yaml", missing="see baselines")
    with pytest.raises(InputError, match="cannot be read"):
        read_document(tmp_path)


@settings(max_examples=300, deadline=None)
@given(st.text(alphabet="{}[]:,-?!&*#|>'\"% \n\tab1.e~", max_size=40))
def test_any_text_is_read_or_refused(text: str) -> None:
    try:
        parse_documents(text, "x")
    except InputError as error:
        _one_line(error)


_WORDS = st.one_of(
    st.from_regex(r"-?[0-9.][A-Za-z0-9_.%+/-]{0,8}", fullmatch=True),
    st.sampled_from(
        ["''", "{}", "[]", "true", "no", "null", "1e-3", "5e3", "2020-01-31", "1_000", "0o17", ".inf", "."]
    ),
)
_LINES = st.one_of(
    st.builds("{}: {}".format, st.sampled_from("abcd"), _WORDS),
    st.builds("{}:".format, st.sampled_from("abcd")),
    st.builds("{}- {}".format, st.sampled_from(["", "  "]), _WORDS),
    st.builds("  {}: {}".format, st.sampled_from("xyz"), _WORDS),
    st.sampled_from(["# said", ""]),
)


@settings(max_examples=200, deadline=None)
@given(st.lists(_LINES, max_size=8))
def test_the_fast_parser_of_simple_texts_says_what_the_other_says(lines: list[str]) -> None:
    text = "".join(f"{line}\n" for line in lines)
    assert yamls._SIMPLE.fullmatch(text)

    def read(simple: re.Pattern[str]) -> str:
        with mock.patch.object(yamls, "_SIMPLE", simple):
            try:
                return repr(parse_documents(text, "a.yaml"))  # 1, 1.0 and True differ
            except InputError as error:
                return str(error)

    assert read(yamls._SIMPLE) == read(re.compile("nothing like it"))


def test_own_recipes_are_simple_texts_and_others_are_not() -> None:
    assert yamls._SIMPLE.fullmatch(Recipe().to_yaml())
    for other in (
        "a: &b 1\n",
        "a: *b\n",
        "a: !!int 1\n",
        "a: b: c\n",
        "--- \n",
        "a: 'b'\n",
        "a:\t1\n",
        "a: é\n",
        "a: 1",
    ):
        assert not yamls._SIMPLE.fullmatch(other), other
