"""Soft filter pruning: which filters are zeroed, that they may come back, and that what leaves is what was zeroed."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn

from thinresnet import recipe as recipes
from thinresnet.budget import Budget
from thinresnet.errors import InputError
from thinresnet.networks import build, scale
from thinresnet.networks.cost import macs_and_params
from thinresnet.networks.cutting import channels_of
from thinresnet.networks.search import Limits
from thinresnet.pruning import method, prune
from thinresnet.pruning.job import Job
from thinresnet.pruning.selection import Target
from thinresnet.pruning.sfp import SoftFilterPruning, zero_filters
from thinresnet.training.data import Data, open_data

NETWORK = scale("resnet20_cifar", width=0.25, input_size=(3, 8, 8), num_classes=10)


@pytest.fixture(scope="module")
def digits() -> tuple[recipes.Recipe, Data]:
    """Two epochs of the embedded data, in six updates each."""
    recipe = recipes.load("digits", {"epochs": 2, "warmup_epochs": 0, "batch_size": 220})
    return recipe, open_data(recipe, input_size=(3, 8, 8), device=torch.device("cpu"))


def _job(digits: tuple[recipes.Recipe, Data], macs: str = "4%") -> Job:
    dense = macs_and_params(scale("resnet20_cifar", input_size=(3, 8, 8), num_classes=10))
    target = Target(NETWORK, limits=Limits(NETWORK.arch, [Budget.parse("macs", macs)], dense))
    model = build(NETWORK, seed=0)
    return Job("sfp", NETWORK, model, (target,), *digits, 0)


def test_the_shortest_filters_are_zeroed_and_may_regrow(digits: tuple[recipes.Recipe, Data]) -> None:
    job = _job(digits)
    before = {name: value.clone() for name, value in job.model.state_dict().items()}
    (target,) = job.targets
    kept = SoftFilterPruning()._soften(job, target)
    counts = target.counts(job.channels, job.movable)
    zeroed = {}
    for stage, block in np.ndindex(3, 3):
        name = f"layer{stage + 1}.{block}.conv1"
        old, new = before[f"{name}.weight"].numpy(), job.model.get_parameter(f"{name}.weight")
        lengths = [float(np.sqrt((one.astype(np.float64) ** 2).sum())) for one in old]
        gone = sorted(np.argsort(lengths)[: len(old) - counts[name]].tolist())
        assert gone == np.flatnonzero(~kept[job.channels.slices[name]]).tolist()
        assert gone == [number for number, one in enumerate(new) if not one.any()]
        stays = np.setdiff1d(np.arange(len(old)), gone)
        assert torch.equal(new[stays], before[f"{name}.weight"][stays])
        zeroed[name] = gone
    assert sum(map(len, zeroed.values())) > 0
    others = [name for name in before if name.removesuffix(".weight") not in zeroed]
    assert all(torch.equal(job.model.state_dict()[name], before[name]) for name in others)
    # Behind a zeroed filter stands batch norm's shift; where it is positive, the gradient comes through.
    for block in (*job.model.layer1, *job.model.layer2, *job.model.layer3):
        nn.init.constant_(block.bn1.bias, 0.1)
    tuning = job.finetuning(epochs=1)
    tuning.step(next(tuning.batches()))
    for name, gone in zeroed.items():
        assert all(one.any() for one in job.model.get_parameter(f"{name}.weight")[gone])


def test_filters_of_a_residual_stream_are_zeroed_in_all_that_make_it() -> None:
    model = build(NETWORK, seed=0)
    channels = channels_of(NETWORK)
    zero_filters(model, channels, channels.mask({"conv1": [0, 2, 3]}))
    # Padding shortcuts hand the channels of the first stage on to the others.
    makers = [model.conv1, *(block.conv2 for stage in (model.layer1, model.layer2, model.layer3) for block in stage)]
    assert all([number for number, one in enumerate(conv.weight) if not one.any()] == [1] for conv in makers)
    assert all(one.any() for one in model.layer1[0].conv1.weight)


def test_what_was_zeroed_last_leaves(digits: tuple[recipes.Recipe, Data]) -> None:
    job = _job(digits)
    (pruned,) = SoftFilterPruning().run(job)
    for name, kept in pruned.kept.items():
        if name in job.movable:
            weight = job.model.get_parameter(f"{name}.weight")
            assert [number for number, one in enumerate(weight) if one.any()] == kept
            assert pruned.network.channels[name] == len(kept)
    # Batch norm makes constants of zeroed filters: without its shifts, zeroed and cut networks compute the same.
    for model in (job.model, pruned.model):
        for block in (*model.layer1, *model.layer2, *model.layer3):
            nn.init.zeros_(block.bn1.bias)
            nn.init.zeros_(block.bn1.running_mean)
    images = torch.randn(4, 3, 8, 8, dtype=torch.float64)
    with torch.no_grad():
        expected = job.model.double().eval()(images)
        torch.testing.assert_close(pruned.model.double().eval()(images), expected, rtol=1e-9, atol=1e-9)


def test_each_budget_is_trained_towards_from_the_start(digits: tuple[recipes.Recipe, Data]) -> None:
    recipe, data = digits
    model = build(NETWORK, seed=0)
    looser, tighter = ([Budget.parse("macs", text)] for text in ("4%", "3%"))
    sfp = method("sfp", {"epochs": "1"})
    both = list(prune(sfp, NETWORK, model, [looser, tighter], data=data, recipe=recipe))
    (alone,) = prune(sfp, NETWORK, model, [tighter], data=data, recipe=recipe)
    assert both[1].pruned.network == alone.pruned.network
    states = (both[1].pruned.model.state_dict(), alone.pruned.model.state_dict())
    assert all(torch.equal(states[0][name], states[1][name]) for name in states[1])
    assert both[0].images_seen == both[1].images_seen == alone.images_seen == data.train.images_per_epoch


def test_bad_settings() -> None:
    with pytest.raises(
        InputError, match=r"^prune sfp: epochs: takes an integer, at least 1, at most .*, or null, got 0$"
    ):
        method("sfp", {"epochs": 0})
