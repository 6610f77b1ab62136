"""Rankings within limits, densities in proportion, and the best product: against sorting, algebra and scipy."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import minimize

from thinresnet.errors import InputError
from thinresnet.networks import scale
from thinresnet.pruning.initialisation.densities import (
    Allowance,
    Layers,
    WeightLimit,
    check_scores,
    densities_left,
    keep_highest,
    layers_of,
    scaled_densities,
)
from thinresnet.pruning.initialisation.synexp import best_product

SCORES = st.floats(width=64, allow_nan=False) | st.sampled_from([0.0, -0.0, 1.0, 1.0, -np.inf, 5e-324])


@settings(max_examples=60, deadline=None)
@given(
    st.lists(st.tuples(st.lists(SCORES, min_size=1, max_size=30), st.integers(1, 9)), min_size=1, max_size=4),
    st.floats(0, 1.2),
    st.none() | st.floats(0, 1.2),
)
def test_the_highest_scores_stay(layers: list[tuple[list[float], int]], share: float, macs: float | None) -> None:
    scores = [np.array(own) for own, _ in layers]
    places = np.array([own for _, own in layers])
    total = sum(map(len, scores))
    limits = [WeightLimit(np.ones(len(scores), dtype=np.int64), share * total)]
    if macs is not None:
        limits.append(WeightLimit(places, macs * sum(len(own) * n for own, n in layers)))
    masks = keep_highest(scores, limits)
    counts = np.array([mask.sum() for mask in masks])
    assert all(limit.cost @ counts <= limit.most for limit in limits)
    kept = np.concatenate([own[mask] for own, mask in zip(scores, masks, strict=True)])
    gone = np.concatenate([own[~mask] for own, mask in zip(scores, masks, strict=True)])
    assert not np.isneginf(kept).any()
    assert not len(kept) or not len(gone) or gone.max() <= kept.min()
    if macs is None:
        assert len(kept) == min(int(share * total), int(sum((own > -np.inf).sum() for own in scores)))


def _layers(counts: list[int], places: list[int]) -> Layers:
    return Layers(tuple(map(str, range(len(counts)))), tuple((n,) for n in counts), np.array(places))


def test_erk_is_solved_exactly() -> None:
    """100 weights of 170: in the ratios 1 : .5 : .1 the first would be 1.6 dense; then the second too."""
    layers = _layers([10, 60, 100], [1, 1, 1])
    found = scaled_densities(np.array([1.0, 0.5, 0.1]), layers, [WeightLimit(np.ones(3, dtype=np.int64), 100.0)])
    np.testing.assert_allclose(found, [1, 1, 0.3], rtol=1e-12)
    found = scaled_densities(np.array([1.0, 0.5, 0.1]), layers, [WeightLimit(np.ones(3, dtype=np.int64), 45.0)])
    np.testing.assert_allclose(found, 0.9 * np.array([1, 0.5, 0.1]), rtol=1e-12)  # none is dense: 50 per unit
    grown = scaled_densities(
        np.array([1.0, 0.5, 0.1]), layers, [WeightLimit(np.ones(3, dtype=np.int64), 100.0)], grow=True
    )
    np.testing.assert_allclose(grown, [2, 1, 0.2], rtol=1e-12)


@settings(max_examples=40, deadline=None)
@given(st.lists(st.tuples(st.integers(1, 10**6), st.integers(1, 10**4)), min_size=1, max_size=12), st.data())
def test_proportions_spend_the_tighter_budget(pairs: list[tuple[int, int]], data: st.DataObject) -> None:
    layers = _layers([n for n, _ in pairs], [p for _, p in pairs])
    ratios = np.array(data.draw(st.lists(st.floats(1e-3, 1), min_size=len(pairs), max_size=len(pairs))))
    shares = {"params": data.draw(st.floats(0.01, 0.99)), "macs": data.draw(st.floats(0.01, 0.99))}
    limits = Allowance(layers, shares).limits()
    found = scaled_densities(ratios, layers, limits)
    assert max(limit.cost * layers.weights @ found / limit.most for limit in limits) == pytest.approx(1, rel=1e-9)
    sparse = found < 1
    if sparse.any():
        scale_ = (found / ratios)[sparse]
        np.testing.assert_allclose(scale_, scale_[0], rtol=1e-9)
        assert (ratios[~sparse] * scale_[0] >= 1 - 1e-9).all()


@settings(max_examples=60, deadline=None)
@given(st.lists(st.tuples(st.integers(1, 10**6), st.integers(1, 10**4)), min_size=1, max_size=12), st.data())
def test_synexp_is_optimal(pairs: list[tuple[int, int]], data: st.DataObject) -> None:
    """1/p = multipliers @ costs where p < 1, and at least that where p = 1; each multiplier's budget is spent."""
    layers = _layers([n for n, _ in pairs], [p for _, p in pairs])
    budgets = data.draw(st.sampled_from([("params",), ("macs",), ("params", "macs")]))
    limits = Allowance(layers, {name: data.draw(st.floats(0.01, 0.99)) for name in budgets}).limits()
    found = best_product(layers.weights, limits)
    costs = np.stack([limit.cost * layers.weights / limit.most for limit in limits])
    spent = costs @ found
    assert spent.max() <= 1 + 1e-9
    sparse = found < 1 - 1e-12
    binding = spent > 1 - 1e-7
    assert binding.any()
    multipliers = np.zeros(len(limits))
    if sparse.any():
        relative = (costs * found)[:, sparse][binding]  # multipliers @ costs * p = 1
        multipliers[binding] = np.linalg.lstsq(relative.T, np.ones(sparse.sum()), rcond=None)[0]
        np.testing.assert_allclose((multipliers @ (costs * found))[sparse], 1, rtol=1e-5)
        assert (multipliers >= -1e-6).all()
        assert ((multipliers @ costs)[~sparse] <= 1 + 1e-5).all()


@pytest.mark.parametrize("budgets", [{"params": 0.2}, {"macs": 0.3}, {"params": 0.4, "macs": 0.5}])
def test_synexp_against_scipy(budgets: dict[str, float]) -> None:
    layers = layers_of(scale("resnet20_cifar"))
    limits = Allowance(layers, budgets).limits()
    found = best_product(layers.weights, limits)
    costs = np.stack([limit.cost * layers.weights / limit.most for limit in limits])
    theirs = minimize(
        lambda x: -x.sum(),
        np.full(len(found), np.log(0.1)),
        jac=lambda x: -np.ones_like(x),
        bounds=[(None, 0)] * len(found),
        constraints={"type": "ineq", "fun": lambda x: 1 - costs @ np.exp(x), "jac": lambda x: -costs * np.exp(x)},
        method="SLSQP",
        options={"ftol": 1e-12, "maxiter": 500},
    )
    assert np.log(found).sum() == pytest.approx(-theirs.fun, abs=1e-5)
    np.testing.assert_allclose(found, np.exp(theirs.x), rtol=1e-3)
    if budgets == {"params": 0.2}:  # every layer that is not dense keeps equally many weights
        left = (found * layers.weights)[found < 1]
        np.testing.assert_allclose(left, left[0], rtol=1e-12)
        assert left[0] == pytest.approx(3231, abs=1)
        assert (found * layers.weights * layers.positions).sum() / (
            layers.weights * layers.positions
        ).sum() == pytest.approx(0.51, abs=0.005)


def test_densities_left_by_a_thinner_network() -> None:
    dense, half = scale("resnet20_cifar"), scale("resnet20_cifar", width=0.5)
    left = densities_left(dense, half)
    assert left["conv1"] == left["fc"] == 0.5
    assert left["layer2.1.conv1"] == 0.25


def test_scores_that_cannot_be_ranked_are_refused() -> None:
    layers = _layers([2, 2], [1, 1])
    with pytest.raises(InputError, match="prune snip: 1 has scores that are not finite"):
        check_scores("prune snip", layers, [np.ones(2), np.array([1, np.nan])], silent=True)
    with pytest.raises(InputError, match="all scores of 0 are zero"):
        check_scores("prune snip", layers, [np.zeros(2), np.ones(2)], silent=False)
