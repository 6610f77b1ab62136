"""Masks: one threshold against a plain sort, what they cost in theory, that they last; lottery tickets."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from thinresnet import networks
from thinresnet import recipe as recipes
from thinresnet.budget import Budget
from thinresnet.errors import InputError
from thinresnet.networks import build, count, scale
from thinresnet.pruning import method, prune
from thinresnet.training import train
from thinresnet.training.data import Data, open_data

SIZE = (3, 8, 8)
NETWORK = scale("resnet20_cifar", width=0.25, input_size=SIZE, num_classes=10)
COST = count(NETWORK)
CONVS = {f"{layer.name}.weight": layer for layer in COST.layers if layer.kind == "Conv2d"}


@pytest.fixture(scope="module")
def digits() -> tuple[recipes.Recipe, Data]:
    """One epoch of the embedded data, in six updates."""
    recipe = recipes.load("digits", {"epochs": 1, "warmup_epochs": 0, "batch_size": 220})
    return recipe, open_data(recipe, input_size=SIZE, device=torch.device("cpu"))


def _budget(quantity: str, share: float) -> Budget:
    return Budget.parse(quantity, round(share * getattr(COST, quantity)))


def _sorted(model: nn.Module) -> tuple[np.ndarray, np.ndarray]:
    """The sizes of all convolution weights from the largest down, and the MACs of each."""
    sizes = np.concatenate([model.get_parameter(name).detach().abs().numpy().ravel() for name in CONVS])
    macs = np.concatenate([np.full(np.prod(one.shape), one.macs // np.prod(one.shape)) for one in CONVS.values()])
    order = np.argsort(-sizes, kind="stable")
    return sizes[order], macs[order]


@pytest.mark.parametrize("quantity", ["macs", "params"])
def test_one_threshold_against_a_plain_sort(quantity: str) -> None:
    model = build(NETWORK, seed=0)
    budgets = [[_budget(quantity, share)] for share in (0.6, 0.2)]
    sizes, macs = _sorted(model)
    for outcome, (budget,) in zip(prune(method("magnitude"), NETWORK, model, budgets), budgets, strict=True):
        masks, left, notes = outcome.pruned.masks, outcome.pruned.model, outcome.pruned.notes
        assert masks is not None
        assert list(masks) == list(CONVS)
        number = sum(int(mask.sum()) for mask in masks.values())
        for name, mask in masks.items():
            assert torch.equal(mask, model.get_parameter(name).abs() >= float(sizes[number - 1]))
            assert torch.equal(left.get_parameter(name), model.get_parameter(name) * mask)
        others = [name for name in model.state_dict() if name not in masks]
        assert all(torch.equal(left.state_dict()[name], model.state_dict()[name]) for name in others)
        # What zeros would save, counted afresh: the next weight would have been too much.
        theory = {
            "macs": COST.macs - int(macs[number:].sum()),
            "params": sum(
                int(parameter.count_nonzero()) for name, parameter in left.named_parameters() if name in masks
            )
            + sum(parameter.numel() for name, parameter in left.named_parameters() if name not in masks),
        }
        assert notes["theoretical_macs"] == theory["macs"]
        assert notes["theoretical_params"] == theory["params"]
        assert notes["density"] == number / len(sizes)
        limit, price = budget.limit(0), {"macs": int(macs[number]), "params": 1}[quantity]
        assert limit - price < theory[quantity] <= limit
        # The network itself is as large as it was, and says so.
        assert outcome.cost == (COST.macs, COST.params)
        assert outcome.pruned.network == NETWORK


def test_both_budgets_hold() -> None:
    budgets = [_budget("macs", 0.5), _budget("params", 0.3)]
    (outcome,) = prune(method("magnitude"), NETWORK, build(NETWORK, seed=0), [budgets])
    notes = outcome.pruned.notes
    assert notes["theoretical_macs"] <= budgets[0].limit(0)
    assert notes["theoretical_params"] == budgets[1].limit(0)


def test_a_ticket_is_the_beginning_of_the_run(tmp_path: Path) -> None:
    recipe = recipes.load("digits", {"epochs": 1, "warmup_epochs": 0, "batch_size": 220, "seed": 7})
    run = train(recipe.replace(lr=1e-60), NETWORK, output=tmp_path).folder
    began = networks.load(run)[1]  # at this rate nothing moves: this is what the training room begins with
    trained = build(NETWORK, seed=1)
    data = open_data(recipe, input_size=SIZE, device=torch.device("cpu"))
    budgets = [[_budget("params", 0.3)]]
    (ticket,) = prune(method("lottery"), NETWORK, trained, budgets, data=data, recipe=recipe, seed=3)
    (pruned,) = prune(method("magnitude"), NETWORK, trained, budgets)
    (other,) = prune(method("lottery", {"init": str(run)}), NETWORK, trained, budgets)
    masks = pruned.pruned.masks
    assert masks is not None
    assert ticket.pruned.masks is not None
    for name, parameter in began.named_parameters():
        mask = masks.get(name, torch.ones_like(parameter))
        assert torch.equal(ticket.pruned.masks.get(name, mask), mask)
        assert torch.equal(ticket.pruned.model.get_parameter(name), parameter * mask)
        assert torch.equal(other.pruned.model.get_parameter(name), parameter * mask)
    assert ticket.pruned.notes["rewound_to"] == "the initialisation of seed 7"
    assert other.pruned.notes["rewound_to"] == str(run)


def test_rounds_mask_the_same_share_each_time(digits: tuple[recipes.Recipe, Data]) -> None:
    recipe, data = digits
    trained, budget = build(NETWORK, seed=1), _budget("params", 0.3)
    rounds = method("lottery-rounds", {"rounds": 3})
    (outcome,) = prune(rounds, NETWORK, trained, [[budget]], data=data, recipe=recipe)
    assert outcome.updates == 2 * data.train.steps_per_epoch
    pruned, limit, began = outcome.pruned, budget.limit(0), build(NETWORK, seed=recipe.seed)
    assert pruned.masks is not None
    assert pruned.notes["theoretical_params"] == limit
    for name, parameter in began.named_parameters():
        assert torch.equal(pruned.model.get_parameter(name), parameter * pruned.masks.get(name, 1))
    # The first round ranks the weights as they came, to the first of three equal steps.
    convs = sum(int(np.prod(layer.shape)) for layer in CONVS.values())
    left = (limit - (COST.params - convs)) / convs
    first = Budget.parse("params", int(COST.params - convs + left ** (1 / 3) * convs))
    (one_shot,) = prune(method("magnitude"), NETWORK, trained, [[first]])
    assert one_shot.pruned.masks is not None
    assert not any((mask & ~one_shot.pruned.masks[name]).any() for name, mask in pruned.masks.items())
    # Training between the rounds had a say in what followed.
    (at_once,) = prune(method("magnitude"), NETWORK, trained, [[budget]])
    assert at_once.pruned.masks is not None
    assert any((mask != at_once.pruned.masks[name]).any() for name, mask in pruned.masks.items())


def test_what_cannot_be_is_one_line(tmp_path: Path) -> None:
    model = build(NETWORK, seed=0)
    half = [[_budget("macs", 0.5)]]
    convs = sum(int(np.prod(layer.shape)) for layer in CONVS.values())
    least = COST.params - convs + 1
    (barely,) = prune(method("magnitude"), NETWORK, model, [[Budget.parse("params", least)]])
    assert barely.pruned.notes["density"] == 1 / convs
    assert len(barely.pruned.notes["empty"]) == len(CONVS) - 1
    refused: list[tuple[str, dict[str, Any], dict[str, Any]]] = [
        ("no masked network of resnet20_cifar costs so little", {}, {"budgets": [[Budget.parse("params", least - 1)]]}),
        ("neither --to nor --scope layer", {}, {"budgets": half, "scope": "layer"}),
        ("neither --to nor --scope layer", {}, {"to": NETWORK}),
        (f"{tmp_path}.*cannot be read", {"init": str(tmp_path / "none.safetensors")}, {"budgets": half}),
    ]
    for message, settings, asked in refused:
        name = "lottery" if settings else "magnitude"
        with pytest.raises(InputError, match=message) as caught:
            prune(method(name, settings), NETWORK, model, **asked)
        assert "\n" not in str(caught.value)
    nn.init.constant_(model.layer1[1].conv2.weight, float("nan"))
    with pytest.raises(InputError, match=r"'layer1\.1\.conv2\.weight' has a non-finite value"):
        list(prune(method("magnitude"), NETWORK, model, half))
    standardised = scale("nf_resnet26", width=0.125, input_size=(3, 32, 32))
    with pytest.raises(InputError, match="standardises its weights"):
        prune(method("magnitude"), standardised, build(standardised, seed=0), [[Budget.parse("macs", "0.5%")]])
    with pytest.raises(InputError, match=r"^prune lottery-rounds: rounds: takes an integer, at least 2, at most 100"):
        method("lottery-rounds", {"rounds": 1})


@pytest.mark.parametrize("share", [0.0, 0.1, 0.5, 0.9])
def test_of_equal_weights_as_many_stay_as_fit(share: float) -> None:
    model = build(NETWORK, seed=0)
    for name in CONVS:
        nn.init.constant_(model.get_parameter(name), 0.25)
    convs = sum(int(np.prod(layer.shape)) for layer in CONVS.values())
    budget = Budget.parse("params", COST.params - convs + max(1, int(share * convs)))
    (outcome,) = prune(method("magnitude"), NETWORK, model, [[budget]])
    assert outcome.pruned.masks is not None
    left = torch.cat([mask.flatten() for mask in outcome.pruned.masks.values()])
    assert outcome.pruned.notes["theoretical_params"] == budget.limit(0)
    assert not left[int(left.sum()) :].any()  # the first ones
