"""Criteria made gradual: what is removed and when, by which scores, and that one step is the one-shot form."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from thinresnet import recipe as recipes
from thinresnet.budget import Budget
from thinresnet.networks import build, count, scale
from thinresnet.networks.cost import macs_and_params
from thinresnet.networks.cutting import channels_of
from thinresnet.networks.search import Limits
from thinresnet.pruning import Method, Outcome, gradual, methods, prune
from thinresnet.pruning.gradual import MeanOverImages, leaving, saved
from thinresnet.pruning.job import Job
from thinresnet.pruning.selection import Scores, Target
from thinresnet.training.data import Data, open_data

NETWORK = scale("resnet20_cifar", width=0.25, input_size=(3, 8, 8), num_classes=10)
DENSE = count(NETWORK).macs
WITHIN = Limits(NETWORK.arch, [Budget.parse("macs", round(0.6 * DENSE))], macs_and_params(NETWORK))
Images = tuple[recipes.Recipe, Data]


@pytest.fixture(scope="module")
def digits() -> Iterator[Images]:
    recipe = recipes.load("digits", {"epochs": 1, "warmup_epochs": 0, "lr": 0.1, "batch_size": 16})
    with open_data(recipe, input_size=(3, 8, 8), device=torch.device("cpu")) as data:
        yield recipe, data


def pruned(method: Method, digits: Images, *shares: float, **more: Any) -> list[Outcome]:
    recipe, data = digits
    budgets = [[Budget.parse("macs", round(share * DENSE))] for share in shares]
    return list(prune(method, NETWORK, build(NETWORK, seed=0), budgets, data=data, recipe=recipe, **more))


@pytest.mark.parametrize("name", ["fisher", "taylor", "gradual"])
def test_the_least_leave_each_time_and_never_the_last(name: str, digits: Images) -> None:
    progress: list[int] = []
    looser, tighter = pruned(
        methods()[name](updates=1, lr=0.01), digits, 0.95, 0.9, progress=lambda what, done, total: progress.append(done)
    )
    order = tighter.pruned.notes["removed_in_order"]
    assert order[: len(looser.pruned.notes["removed_in_order"])] == looser.pruned.notes["removed_in_order"]
    gone = sum(NETWORK.channels.values()) - sum(tighter.pruned.network.channels.values())
    assert len(order) == len(set(order)) == gone == tighter.updates
    assert min(tighter.pruned.network.channels.values()) >= 1
    assert progress == sorted(progress)
    # One channel more would have been over the budget.
    channels = channels_of(NETWORK)
    kept = channels.mask(tighter.pruned.kept)
    kept[order[-1]] = True
    assert channels.ties.cost(channels.widths(kept))[0] > 0.9 * DENSE


@pytest.mark.parametrize("criterion", ["l1", "fpgm", "taylor-oneshot"])
def test_one_step_is_the_one_shot_form(criterion: str, digits: Images) -> None:
    """At a rate of 0 the training changes no weight; with all channels at a time there is one removal."""
    step = methods()["gradual"](criterion=criterion, updates=1, channels=10**6, lr=0.0)
    (gradually,) = pruned(step, digits, 0.6)
    (at_once,) = pruned(methods()[criterion](), digits, 0.6, scope="global")
    if criterion == "taylor-oneshot":  # the norms' running statistics are those of one update more
        together = [set(gradually.pruned.kept[group]) & set(own) for group, own in at_once.pruned.kept.items()]
        assert sum(map(len, together)) > 0.8 * sum(map(len, at_once.pruned.kept.values()))
    else:
        assert gradually.pruned.kept == at_once.pruned.kept
    assert gradually.updates == 1


@pytest.mark.parametrize("name", ["fisher", "taylor"])
def test_one_step_ranks_by_the_gradients_of_the_training(
    name: str, digits: Images, monkeypatch: pytest.MonkeyPatch
) -> None:
    rows: list[Tensor] = []
    add = MeanOverImages.add

    def watched(self: MeanOverImages, derivatives: Tensor) -> None:
        rows.append(derivatives.double())
        add(self, derivatives)

    monkeypatch.setattr(MeanOverImages, "add", watched)
    (outcome,) = pruned(methods()[name](updates=2, channels=10**6, lr=0.0), digits, 0.6)
    each = torch.cat(rows).numpy()
    assert len(each) == 2 * 16
    channels = channels_of(NETWORK)
    if name == "fisher":
        expected: Scores = (each**2).mean(0) / 2
    else:
        expected = np.abs(each).mean(0)
        for span in channels.slices.values():
            expected[span] /= np.linalg.norm(expected[span])
    target = Target(NETWORK, limits=WITHIN, scope="global")
    movable = [group for group in channels.slices if channels.ties.groups[group].interior]
    assert outcome.pruned.kept == channels.indices(target.select(channels, movable, expected))


def test_what_leaves_is_lowest_first_in_whole_steps() -> None:
    job = Job("test", NETWORK, build(NETWORK, seed=0), (), None, None, 0)
    target = Target(NETWORK, limits=WITHIN, scope="global")
    scores = np.random.default_rng(0).random(job.channels.total)
    scores[~job.members()] = -1.0  # the stream stays, however little it scores
    alive = job.channels.full()
    order = np.argsort(np.where(job.members(), scores, np.inf))
    assert leaving(job, target, alive, scores, 3) == order[:3].tolist()
    alive[order[:3]] = False
    scores[order[0]] = -9.0  # gone is gone
    assert leaving(job, target, alive, scores, 2) == order[3:5].tolist()
    # A group of one channel keeps it, though it scores least.
    group = job.channels.slices["layer1.0.conv1"]
    alive[group] = False
    alive[group.start] = True
    scores[group.start] = -5.0
    assert group.start not in leaving(job, target, alive, scores, 4)


def test_cost_prefers_channels_that_save_much() -> None:
    """With equal scores, the channel whose removal saves the most MACs goes first (Theis et al.)."""
    job = Job("test", NETWORK, build(NETWORK, seed=0), (), None, None, 0)
    target, alive = Target(NETWORK, limits=WITHIN, scope="global"), job.channels.full()
    shares = saved(job, alive, "macs")
    (first,) = leaving(job, target, alive, np.ones(job.channels.total) / shares, 1)
    assert shares[first] == shares[job.members()].max() > shares[job.members()].min()
    assert saved(job, alive, "none").max() == 1


def test_a_criterion_is_asked_about_the_network_that_is_left(digits: Images, monkeypatch: pytest.MonkeyPatch) -> None:
    widths: list[int] = []
    kind = methods()["l1"]
    scores = kind.scores

    def watched(self: Method, job: Job) -> Scores:
        widths.append(job.channels.total)
        return scores(self, job)

    monkeypatch.setattr(kind, "scores", watched)
    (outcome,) = pruned(gradual.Gradual(updates=1, channels=4), digits, 0.9)
    assert widths == list(range(channels_of(NETWORK).total, widths[-1] - 1, -4))
    assert len(widths) == outcome.updates > 1


def test_images_that_a_criterion_looks_at_are_counted(digits: Images) -> None:
    (outcome,) = pruned(gradual.Gradual(criterion="fisher-oneshot", updates=1, channels=10**6), digits, 0.9)
    assert outcome.images_at == {8: 16 + 256}
    (outcome,) = pruned(gradual.Gradual(criterion="hrank", updates=1, channels=10**6), digits, 0.8)
    assert (outcome.images_at, outcome.forward_at) == ({8: 16}, {8: 640})
