"""Every method, on a network and images of a pretended GPU."""

from __future__ import annotations

import dataclasses

import pytest
import torch

from tests.accelerator.pretend import Pretend
from thinresnet import recipe as recipes
from thinresnet.budget import Budget
from thinresnet.networks import build, count, scale
from thinresnet.pruning import methods, prune
from thinresnet.training.data import open_data

NETWORK = scale("resnet20_cifar", width=0.125, input_size=(3, 8, 8), num_classes=10)
# What makes a method short, wherever it has a setting of that name.
SHORT = {"updates": 1, "channels": 100, "images": 32, "epochs": 1, "rounds": 2, "lr": 0.01, "locations": 2, "per_class": 2}
MOST_MACS = round(0.8 * count(NETWORK).macs)
RECIPE = {"epochs": 1, "warmup_epochs": 0, "lr": 0.05, "batch_size": 360}


def settings(name: str) -> dict[str, object]:
    return {field.name: SHORT[field.name] for field in dataclasses.fields(methods()[name]) if field.name in SHORT}


@pytest.mark.parametrize("name", methods())
def test_every_method(name: str, cuda: Pretend) -> None:
    recipe = recipes.load("digits", RECIPE)
    with open_data(recipe, input_size=NETWORK.input_size, device=torch.device("cuda")) as data:
        model = build(NETWORK, seed=0).to("cuda")
        (outcome,) = prune(
            methods()[name](**settings(name)), NETWORK, model, [[Budget.parse("macs", MOST_MACS)]],
            data=data, recipe=recipe, recalibrate=32,
        )  # fmt: skip
    assert outcome.cost.macs <= MOST_MACS or outcome.pruned.masks is not None
    if outcome.pruned.model is not None:
        assert {value.device.type for value in outcome.pruned.model.state_dict().values()} == {"cuda"}
