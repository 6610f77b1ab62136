"""The one search: closed forms of its parts, never over, bounded, refused in words."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from thinresnet.budget import Budget, Costs
from thinresnet.errors import InputError
from thinresnet.network import Network
from thinresnet.networks import search
from thinresnet.networks.search import Largest, Limits, largest_factor, largest_within, spend_in_order

DENSE = Costs(1000, 100)


def _limits(**texts: str) -> Limits:
    return Limits("toy", [Budget.parse(quantity, text) for quantity, text in texts.items()], DENSE)


def test_limits_are_integers_by_name() -> None:
    assert _limits(macs="33.35%").most == {"macs": 333}
    assert _limits(macs="333", params="50%").most == {"macs": 333, "params": 50}
    twice = Limits("toy", [Budget.parse("macs", "60%"), Budget.parse("macs", "500")], DENSE)
    assert twice.most == {"macs": 500}


def test_allow_asks_every_budget() -> None:
    limits = _limits(macs="50%", params="50%")
    assert limits.allow(Costs(500, 50))
    assert not limits.allow(Costs(501, 50))
    assert not limits.allow(Costs(500, 51))
    assert _limits(params="50%").allow(Costs(10**9, 50))


def test_what_is_reserved_never_shrinks() -> None:
    limits = _limits(macs="50%", params="50%").tighter(Costs(10, 0))
    assert limits.most == {"macs": 490, "params": 50}
    assert limits.tighter(Costs(3, 2)).most == {"macs": 490, "params": 48}


def test_a_refusal_names_the_budget_that_is_broken_and_the_smallest_cost() -> None:
    error = _limits(macs="50%", params="1%").refuse(Costs(100, 2), "toy scaling")
    assert str(error) == (
        "--params 1%: no toy scaling of toy costs so little; the smallest has 2 parameters (2.00% of the dense 100)"
    )


def test_a_refusal_counts_what_is_reserved() -> None:
    limits = _limits(macs="50%").tighter(Costs(30, 0))
    assert "the smallest has 510 MACs" in str(limits.refuse(Costs(480, 0), "toy scaling"))


@given(low=st.integers(-5, 5), parts=st.integers(1, 200), threshold=st.integers(-10, 300))
def test_largest_factor_is_the_last_one_allowed(low: int, parts: int, threshold: int) -> None:
    allowed = [step for step in range(low, low + parts + 1) if step <= threshold]
    found = largest_factor(lambda factor: factor <= threshold, low, low + parts, parts)
    assert found == (max(allowed) if allowed else None)


def test_largest_factor_asks_few_times() -> None:
    asked: list[float] = []

    def allowed(factor: float) -> bool:
        asked.append(factor)
        return factor <= 0.3

    found = largest_factor(allowed, 0.0, 1.0)
    assert found is not None
    assert 0 <= 0.3 - found < 1e-11
    assert len(asked) <= 41


def test_steps_are_spent_in_order_and_none_after_a_refusal() -> None:
    prices = {"a": 5, "b": 3, "c": 1}

    def more(counts: tuple[str, ...], key: str) -> tuple[str, ...] | None:
        return (*counts, key) if counts.count(key) < 2 else None

    def cost(counts: tuple[str, ...]) -> Costs:
        return Costs(sum(prices[key] for key in counts), 0)

    spent = spend_in_order((), "abcabccc", more, cost, _limits(macs="10"))
    assert spent == ("a", "b", "c", "c")  # the second a and b do not fit, the second c does
    assert spend_in_order((), "ccc", more, cost, _limits(macs="10")) == ("c", "c")


def _search(monkeypatch: pytest.MonkeyPatch, limits: Limits, extra: Callable[[int], int]) -> Largest[int]:
    """A family of one count n that costs 10 n by its closed form, and `extra(n)` more when measured."""

    def network(n: int) -> Network:
        return Network("toy", {}, (3, 1, 1), {"only": n})

    def measured(found: Network) -> Costs:
        return Costs(10 * found.channels["only"] + extra(found.channels["only"]), 0)

    monkeypatch.setattr(search, "macs_and_params", measured)
    return largest_within(
        limits,
        at=lambda factor: 1 + int(factor),
        cost=lambda n: Costs(10 * n, 0),
        spend=lambda factor, n, within: n,
        network=network,
        what="toy scaling",
        high=99,
        steps=99,
    )


def test_largest_within(monkeypatch: pytest.MonkeyPatch) -> None:
    found = _search(monkeypatch, _limits(macs="425"), lambda n: 0)
    assert (found.counts, found.costs, found.factor) == (42, Costs(420, 0), 41)
    assert _search(monkeypatch, _limits(macs="5000"), lambda n: 0).counts == 100


def test_what_only_the_counter_finds_is_reserved(monkeypatch: pytest.MonkeyPatch) -> None:
    found = _search(monkeypatch, _limits(macs="425"), lambda n: 33)
    assert (found.counts, found.costs.macs) == (39, 423)


def test_a_cost_that_does_not_settle_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(InputError, match=r"no toy scaling of toy within the budgets was found: .* 4 rounds"):
        _search(monkeypatch, _limits(macs="425"), lambda n: 430 - 10 * n)


def test_no_budget_that_the_smallest_exceeds(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(InputError, match=r"--macs 9: no toy scaling of toy costs so little; the smallest has 10 MACs"):
        _search(monkeypatch, _limits(macs="9"), lambda n: 0)
    with pytest.raises(InputError, match="the smallest has 43 MACs"):
        _search(monkeypatch, _limits(macs="40"), lambda n: 33)
