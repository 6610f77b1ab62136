"""Isomorphic pruning: which groups are of one kind, the Taylor score in closed form, and equal shares of each kind."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn

from thinresnet import recipe as recipes
from thinresnet.budget import Budget
from thinresnet.networks import build, scale
from thinresnet.pruning import method, prune
from thinresnet.pruning.isomorphic import Isomorphic, kinds_of
from thinresnet.pruning.job import Job
from thinresnet.training.data import Data, open_data

SIZE = (3, 8, 8)
NETWORK = scale("resnet20_cifar", width=0.5, input_size=SIZE, num_classes=10, shortcut="B")


@pytest.fixture(scope="module")
def digits() -> tuple[recipes.Recipe, Data]:
    recipe = recipes.load("digits", {"batch_size": 64})
    return recipe, open_data(recipe, input_size=SIZE, device=torch.device("cpu"))


def test_the_insides_of_blocks_are_of_one_kind() -> None:
    job = Job("test", NETWORK, build(NETWORK, seed=0), (), None, None, 0, stream=True)
    kinds = {group: set(kinds_of(job)[span].tolist()) for group, span in job.channels.slices.items()}
    assert all(len(own) == 1 for own in kinds.values())
    inside = [own for group, own in kinds.items() if job.channels.ties.groups[group].interior]
    streams = [own for group, own in kinds.items() if not job.channels.ties.groups[group].interior]
    assert inside == [inside[0]] * 9
    assert inside[0] not in streams


def test_the_score_and_the_shares(digits: tuple[recipes.Recipe, Data]) -> None:
    recipe, data = digits
    model = build(NETWORK, seed=0)
    job = Job("test", NETWORK, model, (), recipe, data, 0, stream=True)
    found = Isomorphic(images=64).scores(job)
    ((image, target),) = job.batches(64)
    nn.functional.cross_entropy(model.eval()(image), target).backward()
    kinds = kinds_of(job)
    spans = [job.channels.slices[group] for group in ("layer2.1.conv1", "layer3.2.conv1")]
    sums = []
    for block in (model.layer2[1], model.layer3[2]):
        product = [(own.weight * own.weight.grad).abs() for own in (block.conv1, block.bn1, block.conv2)]
        own = (product[0].sum((1, 2, 3)) + product[1] + product[2].sum((0, 2, 3))).detach().double()
        sums.append(own / own.mean())
    # In one ranking with each other: the order of the places is that of the scores.
    assert len(set(kinds[spans[0]]) | set(kinds[spans[1]])) == 1
    places = np.concatenate([found[span] for span in spans])
    assert np.array_equal(np.argsort(places), np.argsort(torch.cat(sums).numpy()))
    for kind in set(kinds.tolist()):
        own = np.sort(found[kinds == kind])
        np.testing.assert_allclose(own, (np.arange(len(own)) + 0.5) / len(own))


def test_every_kind_loses_the_same_share(digits: tuple[recipes.Recipe, Data]) -> None:
    recipe, data = digits
    (outcome,) = prune(
        method("isomorphic", {"images": 10**6}), NETWORK, build(NETWORK, seed=0), [[Budget.parse("macs", "10%")]],
        data=data, recipe=recipe,
    )  # fmt: skip
    assert outcome.images_seen == data.train.images_per_epoch  # all that there are
    job = Job("test", NETWORK, build(NETWORK, seed=0), (), None, None, 0, stream=True)
    kinds, kept = kinds_of(job), job.channels.mask(outcome.pruned.kept)
    shares = [kept[kinds == kind].mean() for kind in set(kinds.tolist())]
    assert len(shares) > 1
    assert max(shares) - min(shares) < 0.2
    assert max(shares) < 0.9
