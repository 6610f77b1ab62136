"""Fitting: never over a budget, hardly under it, the same answer every time."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from thinresnet.budget import Budget
from thinresnet.errors import InputError
from thinresnet.networks import count, fit, scale
from thinresnet.networks.blueprint import blueprint


def _macs(text: str) -> Budget:
    return Budget.parse("macs", text)


def _params(text: str) -> Budget:
    return Budget.parse("params", text)


@pytest.mark.parametrize("text", ["2.05G", "50%", "1G", "12.5%"])
def test_resnet50_within_a_hair(text: str) -> None:
    limit = _macs(text).limit(4_089_184_256)
    assert 0.999 * limit <= count(fit("resnet50", [_macs(text)])).macs <= limit


@settings(max_examples=8, deadline=None)
@given(share=st.floats(1, 300), params=st.booleans(), interior=st.booleans())
def test_never_over(share: float, params: bool, interior: bool) -> None:
    budget = (_params if params else _macs)(f"{share:.3f}%")
    dense = count(scale("resnet20_cifar"))
    limit = budget.limit(dense.params if params else dense.macs)
    scaling = "interior" if interior else "width"
    thinnest = count(scale("resnet20_cifar", **{scaling: 0.001}))
    if (thinnest.params if params else thinnest.macs) > limit:
        with pytest.raises(InputError, match="the smallest has"):
            fit("resnet20_cifar", [budget], scaling=scaling)
        return
    cost = count(fit("resnet20_cifar", [budget], scaling=scaling))
    assert (cost.params if params else cost.macs) <= limit


def test_two_budgets_at_once() -> None:
    cost = count(fit("resnet50", [_macs("50%"), _params("6M")]))
    assert cost.macs <= 2_044_592_128
    assert 0.985 * 6e6 <= cost.params <= 6e6


def test_nothing_more_fits() -> None:
    """No group can be one channel wider: what is left of the budget is less than any step costs."""
    ties = blueprint("resnet20_cifar", {}, (3, 32, 32)).ties
    network = fit("resnet20_cifar", [_macs("50%")])
    limit = _macs("50%").limit(ties.cost(ties.dense_widths())[0])
    wider = [{**network.channels, name: network.channels[name] + 1} for name in network.channels]
    cheapest = min(ties.cost(widths)[0] for widths in wider)
    assert cheapest > limit or limit - count(network).macs < 0.005 * limit


@pytest.mark.parametrize("arch", ["resnet18", "regnetx_004", "ecaresnet50t"])
def test_the_same_answer_every_time(arch: str) -> None:
    first = fit(arch, [_macs("30%")], input_size=(3, 64, 64))
    assert fit(arch, [_macs("30%")], input_size=(3, 64, 64)) == first


def test_interior_fit_keeps_the_stream() -> None:
    network = fit("resnet50", [_macs("60%")], scaling="interior")
    assert network.channels["layer4.0.conv3"] == 2048
    assert 0.985 * 0.6 <= count(network).macs / 4_089_184_256 <= 0.6


@pytest.mark.parametrize(("scaling", "arch"), [("depth", "resnet56_cifar"), ("growth", "densenet40_cifar")])
def test_steps(scaling: str, arch: str) -> None:
    dense = count(scale(arch)).macs
    network = fit(arch, [_macs("50%")], scaling=scaling)
    assert count(network).macs <= 0.5 * dense
    assert network.kwargs


def test_resolution_takes_the_largest_side() -> None:
    network = fit("resnet20_cifar", [_macs("50%")], scaling="resolution")
    side = network.input_size[1]
    dense = count(scale("resnet20_cifar")).macs
    larger = count(scale("resnet20_cifar", resolution=side + 1)).macs
    assert count(network).macs <= 0.5 * dense < larger


def test_a_budget_above_the_dense_network_widens_it() -> None:
    assert count(fit("resnet20_cifar", [_macs("200%")])).macs > 1.97 * count(scale("resnet20_cifar")).macs


def test_what_cannot_be_met_says_what_the_smallest_costs() -> None:
    with pytest.raises(InputError, match=r"--macs 1k: no width scaling of resnet18 .* the smallest has"):
        fit("resnet18", [_macs("1k")])
    with pytest.raises(InputError, match="no depth scaling"):
        fit("resnet56_cifar", [_macs("1%")], scaling="depth")


@pytest.mark.parametrize(
    "given",
    [
        {"macs": "50%"},
        {"macs": 20_275_520},
        {"macs": _macs("50%")},
        {"budgets": _macs("50%")},
        {"budgets": [_macs("50%")]},
    ],
    ids=["text", "number", "budget", "one budget", "budgets"],
)
def test_budgets_in_every_form(given: dict[str, Any]) -> None:
    assert fit("resnet20_cifar", **given) == fit("resnet20_cifar", [_macs("50%")])


def test_budgets_of_both_quantities_by_name() -> None:
    both = fit("resnet20_cifar", macs="50%", params="30%")
    assert both == fit("resnet20_cifar", [_macs("50%"), _params("30%")])


def test_budgets_that_do_not_say_of_what() -> None:
    with pytest.raises(InputError, match=r"fit: '50%' does not say what it bounds; write macs=\"50%\""):
        fit("resnet34", "50%")  # type: ignore[arg-type]
    with pytest.raises(InputError, match=r"fit: \['50%'\] does not say what it bounds"):
        fit("resnet34", ["50%"])  # type: ignore[list-item]
    with pytest.raises(InputError, match=r"fit: macs='50%' was given a budget of params"):
        fit("resnet34", macs=_params("50%"))


def test_bad_requests() -> None:
    with pytest.raises(InputError, match="give a budget"):
        fit("resnet18", [])
    with pytest.raises(InputError, match="did you mean 'width'"):
        fit("resnet18", [_macs("50%")], scaling="widht")
