"""Every method, on a network and images of a pretended GPU."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
import torch

from tests.accelerator.pretend import Pretend
from thinresnet import recipe as recipes
from thinresnet.budget import Budget
from thinresnet.networks import build, count, scale
from thinresnet.pruning import methods, prune
from thinresnet.pruning.job import Job
from thinresnet.training.data import open_data

NETWORK = scale("resnet20_cifar", width=0.125, input_size=(3, 8, 8), num_classes=10)
# What makes a method short, wherever it has a setting of that name.
SHORT = {
    "updates": 1,
    "channels": 100,
    "images": 32,
    "epochs": 1,
    "rounds": 2,
    "lr": 0.01,
    "locations": 2,
    "per_class": 2,
}
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


def test_float16_does_not_change_what_scores_mean(cuda: Pretend) -> None:
    """Derivatives in the gates come without the loss scale, and do not leave the range of half precision."""
    found = []
    for more in ({}, {"amp": True, "amp_dtype": "float16"}):
        recipe = recipes.load("digits", {**RECIPE, **more})
        with open_data(recipe, input_size=NETWORK.input_size, device=torch.device("cuda")) as data:
            job = Job("fisher", NETWORK, build(NETWORK, seed=0).to("cuda"), (), recipe, data, 0)
            tuning = job.finetuning(updates=1, lr=0.01, quiet=True)
            with methods()["fisher"]().scoring(job) as scoring:
                tuning.step(next(tuning.batches()))
                scoring.watch()
                found.append(scoring.take(job.channels.full()))
    assert tuning.loss_scale > 1
    assert np.isfinite(found[1]).all()
    assert np.corrcoef(*found)[0, 1] > 0.99
    assert np.median(found[1] / found[0]) == pytest.approx(1, abs=0.05)
