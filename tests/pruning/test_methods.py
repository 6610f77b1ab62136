"""Methods by weights alone, two budgets at once, and what is refused."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
import torch
from torch import nn

from thinresnet.budget import Budget, Costs
from thinresnet.errors import InputError
from thinresnet.networks import Network, build, count, describe, scale, search
from thinresnet.pruning import methods, prune

HALF = Budget.parse("macs", "50%")


def _first_convs(kept: tuple[int, int, int], skipped: set[int]) -> Network:
    """ResNet-56 with these widths in the first convolution of each block; convolutions are numbered from the stem."""
    counts = {
        f"layer{stage + 1}.{block}.conv1": kept[stage]
        for stage in range(3)
        for block in range(9)
        if 2 + 2 * (9 * stage + block) not in skipped
    }
    return describe("resnet56_cifar", channels=counts)


@pytest.mark.parametrize(
    ("kept", "skipped"), [((14, 28, 57), {16, 20, 38, 54}), ((6, 22, 57), {16, 18, 20, 34, 38, 54})], ids=["A", "B"]
)
def test_l1_keeps_the_filters_with_the_largest_sums(kept: tuple[int, int, int], skipped: set[int]) -> None:
    network, target = scale("resnet56_cifar"), _first_convs(kept, skipped)
    model = build(network, seed=0)
    (outcome,) = prune(methods()["l1"](), network, model, to=target)
    assert outcome.pruned.network == target
    weight = model.layer1[0].conv1.weight
    best = weight.abs().sum((1, 2, 3)).argsort(descending=True)[: kept[0]].sort().values
    assert torch.equal(outcome.pruned.model.layer1[0].conv1.weight, weight[best])


def test_fpgm_against_brute_force() -> None:
    network = scale("resnet20_cifar")
    model = build(network, seed=0)
    (outcome,) = prune(methods()["fpgm"](), network, model, [[HALF]])
    weight = model.layer3[1].conv1.weight.detach().flatten(1).double().numpy()
    distances = [sum(float(np.linalg.norm(one - other)) for other in weight) for one in weight]
    kept = outcome.pruned.network.channels["layer3.1.conv1"]
    best = np.sort(np.argsort(distances)[::-1][:kept])
    assert torch.equal(outcome.pruned.model.layer3[1].conv1.weight[:, 0], model.layer3[1].conv1.weight[best][:, 0])


@pytest.mark.parametrize("arch", ["resnet50", "vgg16_cifar", "densenet40_cifar", "mobilenetv2_cifar", "wrn16_2_cifar"])
def test_two_budgets_on_other_networks(arch: str) -> None:
    network = scale(arch, num_classes=10)
    budgets = [HALF, Budget.parse("params", "60%")]
    dense = count(network)
    (outcome,) = prune(methods()["l2"](), network, build(network, seed=0), [budgets], stream=True, scope="global")
    macs, params = outcome.cost
    assert macs <= 0.5 * dense.macs
    assert params <= 0.6 * dense.params
    assert macs >= 0.98 * 0.5 * dense.macs or params >= 0.98 * 0.6 * dense.params


def test_what_cannot_be_is_refused() -> None:
    network = scale("resnet20_cifar")
    model = build(network, seed=0)
    with pytest.raises(InputError, match="the smallest has"):
        prune(methods()["l1"](), network, model, [[Budget.parse("macs", "1%")]])
    with pytest.raises(InputError, match="costs no more already"):
        prune(methods()["l1"](), network, model, [[Budget.parse("macs", "100%")]])
    with pytest.raises(InputError, match="needs data, gradients"):
        prune(methods()["taylor-oneshot"](), network, model, [[HALF]])
    with pytest.raises(InputError, match="give budgets"):
        prune(methods()["l1"](), network, model)
    nn.init.constant_(model.layer1[0].conv1.weight, float("nan"))
    with pytest.raises(InputError, match=r"layer1\.0\.conv1"):
        list(prune(methods()["l1"](), network, model, [[HALF]]))


@pytest.mark.parametrize("name", ["l1", "uniform"])
def test_a_search_ends_though_the_counter_never_settles(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    network, over = scale("resnet20_cifar"), itertools.count(1)
    limit = 20_000_000
    monkeypatch.setattr(search, "macs_and_params", lambda found: Costs(limit + next(over), 1))
    with pytest.raises(InputError, match=f"grew in each of {search.MOST_ROUNDS} rounds"):
        list(prune(methods()[name](), network, build(network, seed=0), [[Budget.parse("macs", limit)]]))
