"""The validator: what each kind of annotation takes, and what is refused in which words."""

from __future__ import annotations

import dataclasses
import math
from dataclasses import dataclass
from typing import Any, ClassVar, Literal

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from thinresnet.convert import NAME, check_fields, convert, fields_of, number, one_of, setting
from thinresnet.errors import InputError


def _even(value: int) -> None:
    if value % 2:
        raise InputError(f"{value} is odd")


@dataclass(frozen=True)
class Entry:
    """A method, or its name alone."""

    SHORTHAND: ClassVar[str] = "method"
    method: str
    set: dict[str, Any] = setting(dict)
    scope: str | None = setting(None, choices=("layer", "global"))


@dataclass(frozen=True)
class Study:
    """One field of each kind."""

    study: str = setting(pattern=NAME)
    methods: tuple[Entry, ...] = ()
    recipes: dict[str, str | Entry] = setting(dict, count=(0, 3))
    seeds: tuple[int, ...] = setting((42,), low=0, distinct=True)
    steps: int = setting(4, low=2, high=100, check=_even)
    share: float = setting(0.0, low=0, below=1)
    size: tuple[int, int, int] | None = None
    kind: Literal["a", "b"] = "a"
    flag: bool = False
    any_number: int | float | None = None
    loose: int | str = 0
    free: Any = None
    names: list[str] = setting(list)
    kwargs: dict[str, bool | int | float | str] = setting(dict, arguments=True)
    text: str = setting("", lines=True)

    def __post_init__(self) -> None:
        if self.steps > 50 and self.flag:
            raise InputError("steps: more than 50 with a flag")


def _one_line(error: InputError) -> None:
    assert "\n" not in str(error)


def _study(source: Any = "yaml", **values: object) -> Study:
    return convert(Study, {"study": "one", **values}, "s.yaml", source=source)


@pytest.mark.parametrize(
    ("given", "kept"),
    [
        ({"methods": ["l1", {"method": "fpgm"}]}, {"methods": (Entry("l1"), Entry("fpgm"))}),
        ({"recipes": {"a": "x", "b": {"method": "y"}}}, {"recipes": {"a": "x", "b": Entry("y")}}),
        ({"seeds": [3, 1]}, {"seeds": (3, 1)}),
        ({"share": "5e-3"}, {"share": 0.005}),
        ({"share": 0}, {"share": 0.0}),
        ({"size": [3, 32, 32]}, {"size": (3, 32, 32)}),
        ({"any_number": 3}, {"any_number": 3}),
        ({"any_number": 3.5}, {"any_number": 3.5}),
        ({"loose": "7"}, {"loose": "7"}),
        ({"free": [{"a": None}]}, {"free": [{"a": None}]}),
        ({"names": ["a"]}, {"names": ["a"]}),
        ({"kwargs": {"eps": 1, "on": True, "way": "x"}}, {"kwargs": {"eps": 1, "on": True, "way": "x"}}),
        ({"text": "two\nlines"}, {"text": "two\nlines"}),
    ],
)
def test_what_is_allowed_is_kept_in_its_own_type(given: dict[str, object], kept: dict[str, object]) -> None:
    study = _study(**given)
    for name, value in kept.items():
        assert getattr(study, name) == value
        assert type(getattr(study, name)) is type(value)


@pytest.mark.parametrize(
    ("given", "said"),
    [
        (3, "s.yaml: takes `key: value` lines, got 3"),
        ({}, "s.yaml: the key 'study' is missing"),
        ({"study": "a b"}, "study: takes a name of letters, digits, '_', '.' and '-', got 'a b'"),
        ({"study": "a", "stesp": 3}, "s.yaml: unknown key 'stesp'; did you mean 'steps'"),
        ({"study": "a", 1: 3}, "unknown key 1"),
        ({"study": "a", "methods": 3}, "methods: takes a list of entries, got 3"),
        ({"study": "a", "methods": ["x", 3]}, "methods, entry 2: takes `key: value` lines, or a string for 'method'"),
        ({"study": "a", "methods": [{}]}, "methods, entry 1: the key 'method' is missing"),
        ({"study": "a", "methods": [{"methd": 1}]}, "methods, entry 1: unknown key 'methd'; did you mean 'method'?"),
        ({"study": "a", "methods": [{"method": "x", "scope": "globl"}]}, "got 'globl'; did you mean 'global'?"),
        ({"study": "a", "recipes": {"a": 3}}, "recipes: a: takes a string or a mapping with the keys method, set"),
        ({"study": "a", "recipes": {"a": {"b": 3}}}, "recipes: a: unknown key 'b'"),
        ({"study": "a", "recipes": dict.fromkeys("abcd", "x")}, "recipes: takes 0 to 3 values, got 4"),
        ({"study": "a", "recipes": {3: "x"}}, "recipes: the key 3 is not a string"),
        ({"study": "a", "seeds": [1, 2, 1]}, "seeds: 1 stands twice"),
        ({"study": "a", "seeds": [-1]}, "seeds: takes an integer, at least 0, got -1"),
        ({"study": "a", "seeds": ["1"]}, "seeds: takes an integer, at least 0, got '1'"),
        ({"study": "a", "steps": 3}, "steps: 3 is odd"),
        ({"study": "a", "steps": 2.0}, "steps: takes an integer, at least 2, at most 100, got 2.0"),
        ({"study": "a", "steps": True}, "steps: takes an integer"),
        ({"study": "a", "steps": 60, "flag": True}, "s.yaml: steps: more than 50 with a flag"),
        ({"study": "a", "share": 1}, "share: takes a number, at least 0, below 1, got 1"),
        ({"study": "a", "share": math.nan}, "share: takes a number"),
        ({"study": "a", "share": "nan"}, "share: takes a number"),
        ({"study": "a", "share": 10**400}, "share: takes a number"),
        ({"study": "a", "any_number": 10**5000}, "got an integer of thousands of digits"),
        ({"study": "a", "size": [1, 2]}, "size: takes 3 values, got 2"),
        ({"study": "a", "size": 3}, "size: takes 3 integers, or null, got 3"),
        ({"study": "a", "kind": "c"}, "kind: takes one of 'a', 'b', got 'c'"),
        ({"study": "a", "flag": "yes"}, "flag: takes true or false, got 'yes'"),
        ({"study": "a", "loose": [1]}, "loose: takes an integer or a string, got [1]"),
        ({"study": "a", "kwargs": {"a b": 1}}, "kwargs: the key 'a b' is not the name of an argument"),
        ({"study": "a", "kwargs": {"a": None}}, "kwargs: a: takes true or false, an integer, a number or a string"),
        ({"study": "a\x1b"}, "study: takes a string without line breaks and control characters"),
    ],
)  # fmt: skip
def test_what_is_wrong_is_one_line(given: object, said: str) -> None:
    with pytest.raises(InputError) as refusal:
        convert(Study, given, "s.yaml", source="yaml")
    assert said in str(refusal.value)
    assert str(refusal.value).startswith("s.yaml: ")
    assert "\n" not in str(refusal.value)
    assert len(str(refusal.value)) < 400


def test_json_takes_values_as_they_are() -> None:
    with pytest.raises(InputError, match="share: takes a number"):
        _study("json", share="0.5")
    with pytest.raises(InputError, match="takes an object, got 3"):
        convert(Study, 3, "s.json")


def test_flags_are_strings() -> None:
    given = {"steps": "6", "share": ".5", "flag": "true", "size": "none", "any_number": "3", "loose": "7"}
    study = _study("flags", **given)
    assert (study.steps, study.share, study.flag, study.size) == (6, 0.5, True, None)
    assert (study.any_number, study.loose) == (3, 7)
    assert _study("flags", loose="seven").loose == "seven"
    with pytest.raises(InputError, match=r"prune l1: unknown setting 'a' \(settings: method, set, scope\)"):
        convert(Entry, {"a": "1"}, "prune l1", source="flags", word="setting")


def test_files_of_newer_versions_may_hold_more() -> None:
    assert convert(Entry, {"method": "x", "new": 1}, "s.json", unknown="ignore") == Entry("x")


def test_direct_construction_can_be_checked_too() -> None:
    @dataclass(frozen=True)
    class Checked:
        many: tuple[int, ...] = setting((), low=1)

        def __post_init__(self) -> None:
            check_fields(self)

    assert Checked([1, 2]).many == (1, 2)  # type: ignore[arg-type]
    with pytest.raises(InputError, match="many: takes an integer, at least 1, got 0"):
        Checked((0,))


def test_true_is_not_one() -> None:
    one_of("x", 1, (1, 2))
    with pytest.raises(InputError, match="takes one of 1, 2, got True"):
        one_of("x", True, (1, 2))


def test_fields_say_what_they_take() -> None:
    fields = fields_of(Study)
    assert fields["steps"].wanted == "an integer, at least 2, at most 100"
    assert fields["size"].wanted == "3 integers, or null"
    assert fields["study"].default is dataclasses.MISSING
    assert (fields["size"].optional, fields["seeds"].optional) == (True, False)


@given(st.floats(allow_nan=False, allow_infinity=False))
def test_numbers_read_back(value: float) -> None:
    assert number(float, repr(value)) == value


def test_an_integer_larger_than_any_float_is_one() -> None:
    assert number(int, "9" * 400) == 10**400 - 1
    assert number(float, "9" * 400) is None


@pytest.mark.parametrize("text", ["", "nan", "inf", "1_000", "1e999", "0x1", "1 2", "٣", "9" * 5000])
def test_what_is_no_number(text: str) -> None:
    assert number(int if text.isdigit() else float, text) is None


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5) | st.dates(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3) | st.integers(), inner, max_size=3),
    max_leaves=8,
)


@settings(max_examples=300, deadline=None)
@given(
    st.dictionaries(st.sampled_from(sorted(fields_of(Study))), VALUES, max_size=4),
    st.sampled_from(["json", "yaml", "flags"]),
)
def test_anything_is_converted_or_refused_and_what_is_converted_is_stable(given: Any, source: Any) -> None:
    try:
        study = convert(Study, {"study": "one", **given}, "s.yaml", source=source)
    except InputError as error:
        _one_line(error)
        return
    values = {field.name: getattr(study, field.name) for field in dataclasses.fields(Study)}
    plain = {
        **values,
        "methods": [dataclasses.asdict(entry) for entry in study.methods],
        "recipes": {
            name: entry if isinstance(entry, str) else dataclasses.asdict(entry)
            for name, entry in study.recipes.items()
        },
    }
    assert repr(convert(Study, plain, "again")) == repr(study)  # nan within `free` is not equal to itself
