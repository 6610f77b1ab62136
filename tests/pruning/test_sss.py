"""Sparse structure selection: the proximal step, which blocks leave, and that scales end up in the weights."""

from __future__ import annotations

import itertools
from collections.abc import Iterator

import numpy as np
import pytest
import torch
from scipy.optimize import minimize_scalar
from torch import nn

from thinresnet import recipe as recipes
from thinresnet.budget import Budget, Costs
from thinresnet.errors import InputError
from thinresnet.networks import Network, build, count, describe, scale
from thinresnet.networks.depth import block_costs, blocks_of, scaled
from thinresnet.networks.search import Limits
from thinresnet.pruning import Pruned, method, prune
from thinresnet.pruning.job import Job
from thinresnet.pruning.sss import Scales, SparseStructureSelection, _gone
from thinresnet.training.data import Data, open_data

SIZE = (3, 8, 8)


@pytest.fixture(scope="module")
def digits() -> tuple[recipes.Recipe, Data]:
    """One epoch of the embedded data, in six updates."""
    recipe = recipes.load("digits", {"epochs": 1, "warmup_epochs": 0, "batch_size": 220})
    return recipe, open_data(recipe, input_size=SIZE, device=torch.device("cpu"))


def test_the_proximal_step_against_its_definition() -> None:
    gamma, momentum, rate = 0.3, 0.9, 0.2
    scales = Scales(4, gamma, momentum, torch.device("cpu"))
    random = np.random.default_rng(0)
    values, velocity, zeros = np.ones(4), np.zeros(4), 0
    for _ in range(30):
        gradient = random.normal(0, 2, 4)
        scales.step(torch.tensor(gradient, dtype=torch.float32), rate)
        for one in range(4):
            moved = values[one] - rate * gradient[one]
            soft = np.sign(moved) * max(abs(moved) - rate * gamma, 0.0)
            # The soft threshold is the proximal operator of the penalty, by an independent solver.
            found = minimize_scalar(lambda u, at=moved: (u - at) ** 2 / 2 + rate * gamma * abs(u), bounds=(-9, 9))
            assert soft == pytest.approx(found.x, abs=1e-4)
            velocity[one] = soft - values[one] + momentum * velocity[one]
            values[one] = max(0.0, soft + momentum * velocity[one])
        np.testing.assert_allclose(scales.values.detach().numpy(), values, rtol=1e-4, atol=1e-5)
        zeros += int((values == 0).sum())
    assert 10 < zeros < 110  # of 120: they reach zero, and leave it


def test_an_overflowed_gradient_moves_nothing() -> None:
    scales = Scales(2, 0.1, 0.9, torch.device("cpu"))
    scales.step(torch.tensor([1.0, float("inf")]), 0.1)
    assert scales.values.tolist() == [1.0, 1.0]


def test_the_scales_get_the_gradients_of_the_loss() -> None:
    network = scale("resnet20_cifar", width=0.25, input_size=SIZE)
    model = build(network, seed=0).double().eval()
    ends = list(blocks_of(network).ends.values())
    torch.manual_seed(0)
    image, values = torch.randn(2, *SIZE, dtype=torch.float64), torch.rand(len(ends), dtype=torch.float64)
    values.requires_grad_()
    with scaled(model, ends, values):
        assert torch.autograd.gradcheck(lambda _: model(image).square().sum(), values, atol=1e-6)


def test_the_lowest_leave_and_what_fits_comes_back() -> None:
    network = scale("resnet50", input_size=(3, 64, 64))
    blocks = blocks_of(network)
    costs, cost = block_costs(network, blocks), count(network)
    whole = Costs(cost.macs, cost.params)
    limits = Limits(network.arch, [Budget.parse("macs", "70%"), Budget.parse("params", "75%")], whole)

    def allowed(gone: set[str]) -> bool:
        left = (sum(costs[b].macs for b in gone), sum(costs[b].params for b in gone))
        return limits.allow(Costs(whole.macs - left[0], whole.params - left[1]))

    came_back = 0
    for seed in range(20):
        random = np.random.default_rng(seed)
        scales = dict(zip(blocks.ends, random.random(len(blocks.ends)).tolist(), strict=True))
        dead = str(random.choice(list(scales)))
        scales[dead] = 0.0
        gone = _gone(whole, scales, costs, limits)
        assert allowed(gone)
        assert dead in gone
        assert not any(allowed(gone - {block}) for block in gone - {dead})
        # None leaves but the lowest that suffice.
        ranked = sorted(scales, key=lambda block: scales[block])
        least = next(number for number in itertools.count() if allowed(set(ranked[:number])))
        assert gone <= set(ranked[:least])
        came_back += least - len(gone)
    assert came_back > 0


@pytest.mark.parametrize(
    "network",
    [
        scale("resnet20_cifar", width=0.25, input_size=SIZE, num_classes=10),
        describe(
            "resnet20_cifar",
            channels={f"layer{stage}.{block}.conv1": 2 + stage + block for stage in (1, 2, 3) for block in range(3)},
            input_size=SIZE,
        ),
    ],
    ids=["even", "uneven"],
)
def test_from_training_to_a_shallower_network(
    network: Network, digits: tuple[recipes.Recipe, Data], monkeypatch: pytest.MonkeyPatch
) -> None:
    recipe, data = digits
    jobs: list[Job] = []
    run = SparseStructureSelection.run

    def watched(self: SparseStructureSelection, job: Job) -> Iterator[Pruned]:
        jobs.append(job)
        yield from run(self, job)

    monkeypatch.setattr(SparseStructureSelection, "run", watched)
    parent, blocks = count(network), blocks_of(network)
    ends, stages = blocks.ends, blocks.stages
    budgets = [[Budget.parse("macs", round(share * parent.macs))] for share in (0.9, 0.7)]
    sss = method("sss", {"gamma": 0.1, "fill": False})
    outcomes = list(prune(sss, network, build(network, seed=0), budgets, data=data, recipe=recipe))
    assert outcomes[0].images_seen == outcomes[1].images_seen == data.train.images_per_epoch
    for outcome, (budget,) in zip(outcomes, budgets, strict=True):
        pruned = outcome.pruned
        assert outcome.cost[0] <= budget.limit(parent.macs)
        assert not pruned.kept
        scales = pruned.notes["scales"]
        assert list(scales) == list(ends)
        assert min(scales.values()) >= 0
        assert max(abs(value - 1) for value in scales.values()) > 1e-3
        kept = {own[number] for own, left in zip(stages, pruned.notes["kept_blocks"], strict=True) for number in left}
        assert all(own[0] in kept for own in stages)
        gates = torch.tensor([scales[block] if block in kept else 0.0 for block in ends], dtype=torch.float64)
        images = torch.randn(4, *SIZE, dtype=torch.float64)
        whole, shallow = jobs[0].model.double().eval(), pruned.model.double().eval()
        with torch.no_grad(), scaled(whole, list(ends.values()), gates):
            expected = whole(images)
        with torch.no_grad():
            # The scales went into weights of 32 bits.
            torch.testing.assert_close(shallow(images), expected, rtol=1e-4, atol=1e-5)
        gone = {group for group, share in pruned.notes["kept_by_group"].items() if not share}
        assert gone == {group for group in network.channels if blocks.owner(group) in set(ends) - kept}
        whole.float()
    pruned = outcomes[1].pruned
    pruned.model.float().train()(torch.randn(4, *SIZE)).square().sum().backward()
    assert all(parameter.grad is not None for parameter in pruned.model.parameters())


@pytest.mark.parametrize("share", [0.9, 0.7, 0.5])
def test_what_blocks_leave_of_a_budget_goes_to_widths(
    share: float, digits: tuple[recipes.Recipe, Data], monkeypatch: pytest.MonkeyPatch
) -> None:
    recipe, data = digits
    monkeypatch.setattr(
        SparseStructureSelection,
        "_train",
        lambda self, job, blocks: {block: 0.5 + 0.1 * number for number, block in enumerate(blocks.ends)},
    )
    network = scale("resnet20_cifar", input_size=SIZE, num_classes=10)
    limit = round(share * count(network).macs)
    (outcome,) = prune(
        method("sss", {"gamma": 1e-3}),
        network,
        build(network, seed=0),
        [[Budget.parse("macs", limit)]],
        data=data,
        recipe=recipe,
    )
    assert 0.98 * limit <= outcome.cost.macs <= limit
    kept = outcome.pruned.notes["kept_by_group"]
    assert set(kept) == set(network.channels)
    blocks = outcome.pruned.notes["kept_blocks"]
    inside = [kept[f"layer{stage + 1}.{number}.conv1"] for stage, own in enumerate(blocks) for number in own]
    assert 0 < min(inside) <= max(inside) < 1  # all a little narrower
    assert outcome.pruned.network.kwargs["depths"] == [len(own) for own in blocks]
    assert outcome.pruned.model(torch.randn(2, *SIZE)).isfinite().all()


def test_a_strong_penalty_leaves_the_first_blocks(digits: tuple[recipes.Recipe, Data]) -> None:
    recipe, data = digits
    network = scale("resnet20_cifar", width=0.25, input_size=SIZE, num_classes=10)
    budget = Budget.parse("macs", round(0.9 * count(network).macs))
    sss = method("sss", {"gamma": 10, "epochs": 1})
    (outcome,) = prune(sss, network, build(network, seed=0), [[budget]], data=data, recipe=recipe)
    assert set(outcome.pruned.notes["scales"].values()) == {0.0}
    assert outcome.pruned.network.kwargs["depths"] == [1, 1, 1]


@pytest.mark.parametrize(
    ("arch", "macs", "options", "message"),
    [
        ("vgg16_cifar", "50%", {}, "no residual blocks"),
        ("densenet40_cifar", "50%", {}, "no residual blocks"),
        ("resnet20_cifar", "10%", {}, "no network of one block a stage of resnet20_cifar costs so little"),
        ("resnet20_cifar", "50%", {"scope": "layer"}, "neither --to nor --scope layer"),
    ],
)
def test_what_cannot_be_is_one_line(
    arch: str, macs: str, options: dict[str, str], message: str, digits: tuple[recipes.Recipe, Data]
) -> None:
    network = scale(arch, input_size=(3, 32, 32))
    model: nn.Module = build(network, seed=0)
    recipe, data = digits
    with pytest.raises(InputError, match=message) as caught:
        prune(method("sss"), network, model, [[Budget.parse("macs", macs)]], data=data, recipe=recipe, **options)
    assert "\n" not in str(caught.value)
    with pytest.raises(InputError, match=r"^prune sss: gamma: takes a number, at least 0, at most 100, got -1"):
        method("sss", {"gamma": -1})
