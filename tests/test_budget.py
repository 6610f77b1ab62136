"""Budgets: what is read, what is refused, and that nothing is ever rounded into one."""

from __future__ import annotations

from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from thinresnet.budget import Budget, parse_budgets, short
from thinresnet.errors import InputError


@pytest.mark.parametrize(
    ("text", "limit"),
    [
        ("2.05G", 2_050_000_000),
        ("2.05g", 2_050_000_000),
        ("12M", 12_000_000),
        ("131k", 131_000),
        ("4089184256", 4_089_184_256),
        ("4.1e9", 4_100_000_000),
        (" 50% ", 2_044_592_128),
        ("33.3%", 1_361_698_357),  # 0.333 * 4089184256 = 1361698357.248: down, never up
        ("100%", 4_089_184_256),
        (".5G", 500_000_000),
    ],
)
def test_reads_what_people_write(text: str, limit: int) -> None:
    assert Budget.parse("macs", text).limit(4_089_184_256) == limit


@pytest.mark.parametrize(
    "text", ["", "G", "2,05G", "-1G", "0", "0%", "nan", "inf", "1e999", "50 %%", "2.05GB", "٣G", "1/2", "9" * 5000]
)
def test_refuses_the_rest_in_one_line(text: str) -> None:
    with pytest.raises(InputError, match="--params") as refusal:
        Budget.parse("params", text)
    assert "\n" not in str(refusal.value)


def test_refuses_an_unknown_quantity() -> None:
    with pytest.raises(InputError, match="macs, params, latency"):
        Budget.parse("energy", "1G")


@pytest.mark.parametrize(
    ("text", "limit"), [("12ms", 12_000_000), ("800us", 800_000), (".5 s", 5 * 10**8), ("50%", 77)]
)
def test_latency_is_read_in_nanoseconds(text: str, limit: int) -> None:
    assert Budget.parse("latency", text).limit(155) == limit


@pytest.mark.parametrize("text", ["12", "12M", "12 m", "1e3ms", "0ms", "0.1ns", "-5ms", "5MS"])
def test_latency_takes_a_time_or_a_share(text: str) -> None:
    with pytest.raises(InputError, match="--latency"):
        Budget.parse("latency", text)


@given(share=st.fractions(min_value=Fraction(1, 100), max_value=200), dense=st.integers(1, 10**12))
def test_a_share_is_never_exceeded(share: Fraction, dense: int) -> None:
    text = f"{float(share):.4f}%"
    limit = Budget.parse("macs", text).limit(dense)
    exact = Fraction(text[:-1]) / 100 * dense
    assert limit <= exact < limit + 1


@pytest.mark.parametrize(
    ("count", "text"),
    [(4_089_184_256, "4.089G"), (853_018, "853k"), (25_557_032, "25.56M"), (12, "12"), (1.2e13, "12T")],
)
def test_counts_as_people_write_them(count: float, text: str) -> None:
    assert short(count) == text


def test_budgets_stand_in_one_order_whatever_was_given_first() -> None:
    found = parse_budgets({"params": "1M", "width": "0.5", "macs": 100})
    assert [(budget.quantity, budget.limit(0)) for budget in found] == [("macs", 100), ("params", 10**6)]
    assert parse_budgets({"macs": None}) == ()
