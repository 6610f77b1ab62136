"""Batch-norm statistics after a cut: measured anew on training images, counted, and left alone where so asked."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import islice

import pytest
import torch
from torch import nn

from thinresnet import recipe as recipes
from thinresnet.budget import Budget
from thinresnet.networks import build, scale
from thinresnet.pruning import methods, prune
from thinresnet.pruning.recalibration import recalibrate
from thinresnet.training.data import Data, open_data

NETWORK = scale("resnet20_cifar", width=0.25, input_size=(3, 8, 8), num_classes=10)


@pytest.fixture(scope="module")
def data() -> Iterator[Data]:
    recipe = recipes.load("digits", {"batch_size": 32})
    with open_data(recipe, input_size=(3, 8, 8), device=torch.device("cpu")) as found:
        yield found


def test_statistics_are_those_of_all_images_alike(data: Data) -> None:
    """The first norm's mean is that of all images together, though the last batch is smaller; weights stay."""
    model = build(NETWORK, seed=0).train()
    momentum, before = model.bn1.momentum, {name: value.clone() for name, value in model.named_parameters()}
    assert recalibrate(model, data, 72) == {8: 72}
    images = torch.cat([batch for batch, _ in islice(data.train.epoch(0), 3)])[:72]
    with torch.no_grad():
        expected = model.conv1(images)
    torch.testing.assert_close(model.bn1.running_mean, expected.mean((0, 2, 3)), rtol=1e-4, atol=1e-6)
    variances = [part.var((0, 2, 3)) for part in expected.split(32)]
    mean = sum(len(part) * own for part, own in zip(expected.split(32), variances, strict=True)) / 72
    torch.testing.assert_close(model.bn1.running_var, mean, rtol=1e-4, atol=1e-6)
    assert all(torch.equal(value, before[name]) for name, value in model.named_parameters())
    assert model.training
    assert model.bn1.momentum == momentum


def test_one_image_has_no_variance_and_some_networks_no_statistics(data: Data) -> None:
    assert recalibrate(build(NETWORK, seed=0), data, 33) == {8: 32}
    assert recalibrate(nn.Linear(2, 2), data, 64) == {}
    assert recalibrate(build(NETWORK, seed=0), data, 10**6) == {8: data.train.images_per_epoch}


def test_what_was_cut_is_measured_where_images_are_at_hand(data: Data) -> None:
    budgets = [[Budget.parse("macs", 120_000)]]
    model = build(NETWORK, seed=0)

    def means(method: str, **given: object) -> tuple[torch.Tensor, dict[int, int]]:
        (outcome,) = prune(methods()[method](), NETWORK, model, budgets, **given)  # type: ignore[arg-type]
        pruned = outcome.pruned.model
        assert pruned is not None
        assert pruned.layer1[0].bn2.running_mean is not None
        return pruned.layer1[0].bn2.running_mean, dict(outcome.recalibrated_at)

    assert means("l1", recalibrate=64, data=data)[0].any()
    assert means("l1", recalibrate=64, data=data)[1] == {8: 64}
    for given in ({"data": data}, {"recalibrate": 64}):
        found, seen = means("l1", **given)
        assert not found.any()
        assert seen == {}
    assert means("magnitude", recalibrate=64, data=data)[1] == {}  # its network is the whole one
