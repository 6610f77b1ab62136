"""From densities to channel counts: the geometric program against scipy, counts within budgets on twenty networks."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch

from thinresnet.budget import Budget
from thinresnet.errors import InputError
from thinresnet.networks import Network, build, count, describe, fit, scale
from thinresnet.networks.blueprint import blueprint
from thinresnet.networks.search import Limits
from thinresnet.pruning.initialisation.allocation import MOST_UNUSED, nearest_factors, rounded_counts, search_space
from thinresnet.pruning.initialisation.densities import densities_left, layers_of
from thinresnet.pruning.initialisation.geometric import largest_product
from thinresnet.pruning.initialisation.masking import masks
from thinresnet.pruning.initialisation.quadratic import CostForms, SearchSpace
from thinresnet.pruning.method import Method
from thinresnet.pruning.registry import method
from thinresnet.pruning.session import Outcome, prune

MACS_HALF, PARAMS_FIFTH = Budget.parse("macs", "50%"), Budget.parse("params", "20%")
BOTH = [Budget.parse("macs", "40%"), Budget.parse("params", "40%")]
NETWORKS = {
    "resnet20_cifar": 32,
    "resnet56_cifar": 32,
    "wrn16_2_cifar": 32,
    "vgg16_cifar": 32,
    "densenet40_cifar": 32,
    "mobilenetv2_cifar": 32,
    "resnet18": 64,
    "resnet50": 64,
    "resnext50_32x4d": 64,
    "resnet18d": 64,
    "mobilenetv1_100": 64,
    "mobilenetv2_100": 64,
    "mobilenetv3_large_100": 64,
    "ghostnet_100": 64,
    "shufflenet_v2_x1_0": 64,
    "efficientnet_b0": 64,
    "regnety_004": 64,
    "convnext_atto": 64,
    "regnetx_004": 64,
    "ese_vovnet19b_dw": 64,
}


def _opened(network: Network, budgets: list[Budget], *, grow: bool = False) -> tuple[Limits, SearchSpace]:
    ties = blueprint(network.arch, network.kwargs, network.input_size).ties
    limits = Limits(network.arch, budgets, ties.cost(dict(network.channels)))
    return limits, search_space(network, limits, grow=grow)[0]


def _pruned(criterion: Method, network: Network, budgets: list[Budget], **given: Any) -> Outcome:
    (outcome,) = prune(criterion, network, None, [budgets], **given)
    return outcome


@pytest.mark.parametrize("arch", NETWORKS)
def test_counts_are_within_budgets_and_hardly_under(arch: str) -> None:
    network = scale(arch, input_size=(3, NETWORKS[arch], NETWORKS[arch]))
    ties, layers = blueprint(arch, {}, network.input_size).ties, layers_of(network)
    _, opened = _opened(network, BOTH)
    for budgets in ([MACS_HALF], [PARAMS_FIFTH], BOTH):
        limits = Limits(arch, budgets, ties.cost(dict(network.channels)))
        space = replace(opened, limits=limits)
        erk_like = nearest_factors(space.forms, layers, np.clip(300 / np.sqrt(layers.weights), 1e-3, 1))
        for factors in (largest_product(space), erk_like, np.zeros(len(space.low))):
            widths = space.forms.widths(rounded_counts(space, factors))
            cost = ties.cost(widths)
            assert limits.allow(cost)
            assert max(getattr(cost, quantity) / most for quantity, most in limits.most.items()) >= 1 - MOST_UNUSED
            assert all(1 <= widths[name] <= group.width for name, group in ties.groups.items())
            assert all(widths[name] % group.multiple == 0 for name, group in ties.groups.items())


@pytest.mark.parametrize("arch", ["resnext50_32x4d", "densenetbc100_cifar", "shufflenet_v2_x1_0", "convnext_atto"])
def test_the_quadratic_form_is_the_closed_form(arch: str) -> None:
    network = scale(arch, input_size=(3, 64, 64))
    ties = blueprint(arch, {}, network.input_size).ties
    forms = CostForms(ties, dict(network.channels), layers_of(network))
    drawn = np.random.default_rng(0)
    for _ in range(5):
        counts = forms.steps * np.maximum(1, (forms.channels / forms.steps * drawn.uniform(0, 1.5, len(forms.names))))
        counts = counts.astype(np.int64) // forms.steps * forms.steps
        np.testing.assert_array_equal(forms.costs(counts.astype(float)), ties.cost(forms.widths(counts)))
        after = forms.costs_after(counts.astype(float), forms.steps.astype(float))
        for place in range(0, len(forms.names), 7):
            wider = counts + forms.steps * (np.arange(len(counts)) == place)
            np.testing.assert_allclose(after[:, place], forms.costs(wider.astype(float)), rtol=1e-12)


@pytest.mark.parametrize(
    ("arch", "budgets"),
    [
        ("resnet20_cifar", [MACS_HALF]),
        ("resnet20_cifar", [PARAMS_FIFTH]),
        ("resnet20_cifar", BOTH),
        ("mobilenetv2_cifar", BOTH),
        # Budgets at which a search that stops early is far from the best.
        ("mobilenetv2_100", [Budget.parse("params", "5%")]),
        ("densenet121", [PARAMS_FIFTH]),
        ("densenet121", [Budget.parse("macs", "10%")]),
    ],
)
def test_the_geometric_program_is_solved(arch: str, budgets: list[Budget]) -> None:
    """In a convex problem what meets these conditions is the best: there are multipliers of the right sign."""
    _, space = _opened(scale(arch), budgets)
    forms, x = space.forms, largest_product(space)
    gains, channels = forms.shares.sum(0), space.channels(x)
    spent = space.spent(forms.costs(channels))
    assert spent.max() == pytest.approx(1, abs=1e-5)
    slopes = space.spent(forms.slopes(channels) * channels) / spent[:, None]
    free, binding = (x > space.low + 1e-6) & (x < space.high - 1e-6), spent > 1 - 1e-5
    multipliers = np.linalg.lstsq(slopes[binding][:, free].T, gains[free], rcond=None)[0]
    assert (multipliers > 0).all()
    rest = gains - multipliers @ slopes[binding]
    np.testing.assert_allclose(rest[free], 0, atol=1e-3)
    assert (rest[x >= space.high - 1e-6] >= -1e-3).all()
    assert (rest[x <= space.low + 1e-6] <= 1e-3).all()


def test_uniform_is_width_scaling() -> None:
    network = scale("resnet20_cifar")
    outcome = _pruned(method("uniform"), network, [MACS_HALF])
    thin = outcome.pruned.network
    fitted = fit("resnet20_cifar", [MACS_HALF])
    assert all(abs(thin.channels[name] - fitted.channels[name]) <= 1 for name in network.channels)
    assert outcome.pruned.asked is not None
    factors = outcome.pruned.asked.factors
    assert max(factors.values()) == pytest.approx(min(factors.values()))


def test_densities_come_back_from_the_factors_that_made_them() -> None:
    network = scale("mobilenetv2_cifar")
    _, space = _opened(network, [MACS_HALF])
    factors = np.random.default_rng(0).uniform(-1, 0, len(space.low))
    found = nearest_factors(space.forms, layers_of(network), np.exp(space.forms.shares @ factors))
    np.testing.assert_allclose(found, factors, atol=1e-9)


def test_an_emptied_shortcut_says_nothing_about_its_stream() -> None:
    network = scale("resnet18", input_size=(3, 64, 64))
    _, space = _opened(network, [MACS_HALF])
    layers = layers_of(network)
    densities = np.where(["downsample" in name for name in layers.names], 0.0, 0.6)
    rest = densities > 0
    alone = np.linalg.lstsq(space.forms.shares[rest], np.log(densities[rest]), rcond=None)[0]
    np.testing.assert_allclose(nearest_factors(space.forms, layers, densities), alone, atol=1e-9)


@pytest.mark.parametrize("name", ["synexp", "erk", "synflow"])
def test_what_comes_out_is_measured_and_trains(name: str) -> None:
    network = scale("mobilenetv2_cifar", width=0.5, input_size=(3, 16, 16), num_classes=10)
    dense = count(scale("mobilenetv2_cifar", input_size=(3, 16, 16), num_classes=10))
    settings = {"rounds": 2} if name == "synflow" else {}
    budgets = [Budget.parse("macs", "15%"), Budget.parse("params", "12%")]
    thin = _pruned(method(name, settings), network, budgets, seed=1)
    cost = count(thin.pruned.network)
    assert (cost.macs, cost.params) == thin.cost
    assert thin.dense_cost == (dense.macs, dense.params)
    shares = (cost.macs / (0.15 * dense.macs), cost.params / (0.12 * dense.params))
    assert 0.99 <= max(shares) <= 1
    model = build(thin.pruned.network, seed=0)
    model(torch.randn(4, 3, 16, 16)).sum().backward()
    assert all(parameter.grad is not None for parameter in model.parameters())
    again = _pruned(method(name, settings), network, budgets, seed=1)
    assert again.pruned.network == thin.pruned.network


def test_what_the_counter_finds_besides_layers_is_left_free() -> None:
    """ECA's convolution along the channels is no layer of the ties."""
    network = scale("ecaresnet26t", input_size=(3, 64, 64))
    thin = _pruned(method("synexp"), network, [MACS_HALF])
    assert 0.99 * thin.dense_cost[0] <= 2 * thin.cost[0] <= thin.dense_cost[0]


def test_preconfig_lets_layers_grow() -> None:
    network = scale("resnet20_cifar")
    full = [Budget.parse("macs", "100%"), Budget.parse("params", "100%")]
    grown = _pruned(method("synexp"), network, full, grow=True)
    assert any(grown.pruned.network.channels[name] > number for name, number in network.channels.items())
    assert max(grown.pruned.asked.factors.values()) <= 2 + 1e-9
    assert 0.99 <= max(own / dense for own, dense in zip(grown.cost, grown.dense_cost, strict=True)) <= 1
    left = densities_left(network, grown.pruned.network)
    assert sum(np.log(list(left.values()))) > 0  # a larger product of densities than the network has as it is
    twice = _pruned(method("uniform"), network, [Budget.parse("params", "200%")], grow=True)
    assert 1.98 <= twice.cost[1] / twice.dense_cost[1] <= 2


def test_what_cannot_be_is_refused() -> None:
    network = scale("resnet20_cifar")
    with pytest.raises(InputError, match="no pruned network of resnet20_cifar costs so little; the smallest has"):
        _pruned(method("synexp"), network, [Budget.parse("params", "0.1%")])
    with pytest.raises(InputError, match="costs no more already"):
        _pruned(method("synexp"), network, [Budget.parse("params", "100%")])
    with pytest.raises(InputError, match="give a budget"):
        _pruned(method("synexp"), network, [])
    with pytest.raises(InputError, match="prune snip: needs data"):
        _pruned(method("snip"), network, [MACS_HALF])
    with pytest.raises(InputError, match="--preconfig: synflow ranks the weights"):
        _pruned(method("synflow"), network, [MACS_HALF], grow=True)
    with pytest.raises(InputError, match="cannot be served"):
        _pruned(method("synexp"), scale("vit_tiny_patch16_224"), [MACS_HALF])


def test_the_smallest_network_is_reached() -> None:
    network = scale("vgg16_cifar")
    ties = blueprint(network.arch, {}, network.input_size).ties
    smallest = ties.cost({name: group.multiple for name, group in ties.groups.items()})
    thin = _pruned(method("synexp"), network, [Budget.parse("params", smallest[1])])
    assert set(thin.pruned.network.channels.values()) == {1}


def test_masks_have_the_densities_of_a_thinner_network() -> None:
    network = scale("mobilenetv2_cifar", width=0.5)
    thin = describe(network.arch, channels={name: (n + 1) // 2 for name, n in network.channels.items()})
    densities = densities_left(network, thin)
    layers = layers_of(network)
    single, whole = (masks(network, densities, kind, seed=3) for kind in ("weight", "filter"))
    for name, shape in zip(layers.names, layers.shapes, strict=True):
        wanted = densities[name]
        weights, filters = single[f"{name}.weight"], whole[f"{name}.weight"]
        assert weights.shape == filters.shape == shape
        assert abs(float(weights.float().mean()) - wanted) <= 0.5 / weights.numel() + 1e-9
        side = 1 if name == layers.names[-1] else 0  # classes are no filters to remove: what they read is
        assert abs(float(filters.float().mean()) - wanted) <= max(0.5, 1 - wanted * shape[side]) / shape[side] + 1e-9
        lines = filters.movedim(side, 0).flatten(1)
        assert bool((lines.all(1) | ~lines.any(1)).all())
    again = masks(network, densities, "weight", seed=3)
    assert all(torch.equal(mask, again[name]) for name, mask in single.items())
    other = masks(network, densities, "weight", seed=4)
    assert any(not torch.equal(mask, other[name]) for name, mask in single.items())


def test_masks_that_cannot_be_are_refused() -> None:
    network = scale("resnet20_cifar")
    with pytest.raises(InputError, match="granularity: 'filters' is not one of weight, filter; did you mean 'filter'"):
        masks(network, {"conv1": 0.5}, "filters", 0)
    with pytest.raises(InputError, match=r"densities: conv1 is 1\.5"):
        masks(network, {"conv1": 1.5}, "weight", 0)
    with pytest.raises(InputError, match="has no layer 'conv'"):
        masks(network, {"conv": 0.5}, "weight", 0)
