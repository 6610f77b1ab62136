"""Group norm as its authors run it: scores, the penalty, and channels that leave step by step, beside their library."""

from __future__ import annotations

import numpy as np
import pytest
import torch
import torch_pruning
from torch import nn

from thinresnet import recipe as recipes
from thinresnet.budget import Budget
from thinresnet.networks import Network, build, count, cutting, scale
from thinresnet.networks.cutting import channels_of
from thinresnet.pruning import method, prune
from thinresnet.pruning.group_norm import GroupNorm, GroupScores, Penalty, step_by_step
from thinresnet.pruning.job import Job
from thinresnet.pruning.measures import Squares
from thinresnet.pruning.selection import Target, best, shrunk
from thinresnet.training.data import Data, open_data

SIZE = (3, 8, 8)
NETWORK = scale("resnet20_cifar", width=0.25, input_size=SIZE, num_classes=10, shortcut="B")


def unsettled(network: Network = NETWORK, seed: int = 1) -> nn.Module:
    """A network in float64 whose batch norms have scales of their own."""
    model = build(network, seed=0).double()
    torch.manual_seed(seed)
    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d):
            nn.init.uniform_(module.weight, 0.5, 1.5)
    return model.eval()


def job_for(model: nn.Module, network: Network = NETWORK, *, stream: bool = True) -> Job:
    return Job("test", network, model, (), None, None, 0, stream=stream)


def test_all_that_leaves_with_a_channel_counts() -> None:
    model, channels = unsettled(), channels_of(NETWORK)
    block = model.layer2[1]
    expected = block.conv1.weight.square().sum((1, 2, 3)) + block.bn1.weight.square()
    expected = expected + block.conv2.weight.square().sum((0, 2, 3))
    torch.testing.assert_close(Squares(model, channels).of()[channels.slices["layer2.1.conv1"]], expected.detach())


@pytest.mark.parametrize("arch", ["resnet20_cifar", "resnext50_32x4d", "mobilenetv2_cifar", "densenet40_cifar"])
def test_of_what_is_left_only_what_is_left_counts(arch: str) -> None:
    """The sums of a network with channels cut are those of the whole one without these channels."""
    network = scale(arch, width=0.25, input_size=(3, 32, 32), num_classes=10)
    model, channels, random = unsettled(network), channels_of(network), np.random.default_rng(0)
    counts = {
        group: channels.steps[group] * -(-channels.count(group) // channels.steps[group] // 2)
        for group in channels.slices
        if group not in channels.locked
    }
    kept = best(channels, random.random(channels.total), counts)
    thin, cut = cutting.cut(model, network, kept)
    found = Squares(model, channels).of(torch.from_numpy(kept))
    torch.testing.assert_close(found[torch.from_numpy(kept)], Squares(cut, channels_of(thin)).of())
    assert not found[torch.from_numpy(~kept)].any()


@pytest.mark.parametrize("divide_by", ["max", "mean"])
def test_scores_and_steps_are_those_of_the_authors_library(divide_by: str) -> None:
    """Torch-Pruning's scores, and the same channels left after each of fifteen of its steps."""
    model = unsettled(seed=2).float()
    job, other = job_for(model), build(NETWORK, seed=0)
    other.load_state_dict(model.state_dict())
    importance = torch_pruning.importance.GroupMagnitudeImportance(p=2, normalizer=divide_by)
    pruner = torch_pruning.pruner.GroupNormPruner(
        other, torch.randn(1, *SIZE), importance, global_pruning=True, iterative_steps=60, pruning_ratio=1.0,
        ignored_layers=[module for module in other.modules() if isinstance(module, nn.Linear)],
    )  # fmt: skip
    names = {module: name for name, module in other.named_modules()}
    scores, total = GroupScores(job, divide_by), job.channels.total

    def group(found: torch_pruning.Group) -> str:
        root = names[found[0].dep.target.module]
        return job.channels.ties.aliases.get(root, root)

    theirs = {name: np.arange(job.channels.count(name)) for name in job.channels.slices}
    for found in pruner.DG.get_all_groups(pruner.ignored_layers, pruner.root_module_types):
        own = scores.of(job.channels.full())[job.channels.slices[group(found)]]
        np.testing.assert_allclose(own, importance(found).numpy(), rtol=1e-5)
    alive = job.channels.full()
    for step in range(1, 16):  # later a group has one channel left, which their threshold counts and ours does not
        for found in pruner.step(interactive=True):
            theirs[group(found)] = np.delete(theirs[group(found)], found[0].idxs)
            found.prune()
        left, own = job.channels.without(alive), scores.of(alive)[alive]
        alive[alive] = best(left, own, shrunk(left, job.movable, own, int(total * (1 - step / 60))))
        assert job.channels.indices(alive) == {name: own.tolist() for name, own in theirs.items()}, step


@pytest.mark.parametrize(("steps", "share"), [(1, 0.4), (7, 0.4), (10_000, 0.9)])
def test_step_by_step_is_scoring_the_smaller_network_again(steps: int, share: float) -> None:
    """Against networks that are really cut, each scored as it is; more steps than channels take one at a time."""
    job = job_for(unsettled())
    target = Target(NETWORK, limits=None, scope="global")
    floor = count(NETWORK).macs * share

    def allows(channels: object, kept: np.ndarray) -> bool:
        return bool(job.channels.ties.cost(job.channels.widths(kept)).macs <= floor)

    object.__setattr__(target, "allows", allows)
    found = step_by_step(job, target, GroupScores(job, "max"), steps, job.channels.full())

    kept, total = job.channels.full(), job.channels.total
    for step in range(1, steps + 1):
        quota = total * (steps - step) // steps
        if quota >= kept.sum():
            continue
        thin, model = cutting.cut(job.model, NETWORK, kept)
        own = channels_of(thin)
        sums = Squares(model, own).of().numpy()
        for span in own.slices.values():
            sums[span] /= sums[span].max()
        left = [own.count(name) for name in own.slices]
        order, gone = np.argsort(sums), set()
        for channel in order:
            number = next(i for i, span in enumerate(own.slices.values()) if span.start <= channel < span.stop)
            if kept.sum() - len(gone) > quota and left[number] > 1:
                left[number] -= 1
                gone.add(int(channel))
        after = kept.copy()
        after[kept] = ~np.isin(np.arange(own.total), list(gone))
        if allows(None, after):
            break
        kept = after
    assert found.tolist() == kept.tolist()


def test_the_weak_shrink_most() -> None:
    job = job_for(unsettled(), stream=False)
    model, span = job.model, job.channels.slices["layer2.1.conv1"]
    norms = Squares(model, job.channels).of().sqrt()[span]
    penalty = Penalty(job, 0.01, 4.0)
    shares = penalty.shares().double()
    rows = 0.01 * 2 ** (4 * (norms.max() - norms) / (norms.max() - norms.min()))
    torch.testing.assert_close(shares[span], rows, rtol=1e-5, atol=1e-9)
    assert not shares[torch.from_numpy(~job.members())].any()

    for parameter in model.parameters():
        parameter.grad = torch.zeros_like(parameter)
    penalty.add()
    conv1, conv2, norm = model.layer2[1].conv1.weight, model.layer2[1].conv2.weight, model.layer2[1].bn1.weight
    torch.testing.assert_close(conv1.grad, conv1.detach() * rows[:, None, None, None], rtol=1e-5, atol=1e-9)
    torch.testing.assert_close(conv2.grad, conv2.detach() * rows[None, :, None, None], rtol=1e-5, atol=1e-9)
    torch.testing.assert_close(norm.grad, norm.detach() * rows, rtol=1e-5, atol=1e-9)
    assert not model.conv1.weight.grad.any()  # the stream stays here
    with torch.no_grad():
        conv1[0] *= 3
    assert penalty.shares()[span][0] < shares[span][0]  # of the weights as they are by now


def test_the_authors_settings_go_by_the_size_of_the_images() -> None:
    assert GroupNorm().resolved(32) == GroupNorm().resolved(64) == (5e-4, "max", 400)
    assert GroupNorm().resolved(224) == (1e-4, "mean", 100)
    assert GroupNorm(sparsity=0.0, divide_by="mean", steps=3).resolved(32) == (0.0, "mean", 3)


@pytest.fixture(scope="module")
def digits() -> tuple[recipes.Recipe, Data]:
    recipe = recipes.load("digits", {"epochs": 1, "warmup_epochs": 0, "batch_size": 512, "weight_decay": 0.5})
    return recipe, open_data(recipe, input_size=SIZE, device=torch.device("cpu"))


def test_sparse_training_knows_no_weight_decay_and_one_training_serves_all_budgets(
    digits: tuple[recipes.Recipe, Data], monkeypatch: pytest.MonkeyPatch
) -> None:
    recipe, data = digits
    decays: list[float] = []
    finetuning = Job.finetuning
    monkeypatch.setattr(
        Job,
        "finetuning",
        lambda self, **given: [found := finetuning(self, **given), decays.append(found.recipe.weight_decay)][0],
    )
    dense = count(NETWORK).macs
    budgets = [[Budget.parse("macs", round(share * dense))] for share in (0.6, 0.3)]
    outcomes = list(prune(GroupNorm(), NETWORK, build(NETWORK, seed=0), budgets, data=data, recipe=recipe))
    assert decays == [0.0]
    loose, tight = (outcome.pruned for outcome in outcomes)
    for outcome, (budget,) in zip(outcomes, budgets, strict=True):
        # To within a channel: one of the first stage's stream, at 8 px, is a tenth of the tighter budget and more.
        assert 0.9 * budget.limit(dense) <= outcome.cost.macs <= budget.limit(dense)
        assert outcome.pruned.notes == {"sparsity": 5e-4, "divide_by": "max", "steps": 400}
    assert tight.network.channels["conv1"] < NETWORK.channels["conv1"]  # the stream's leave too
    assert sum(tight.network.channels.values()) < sum(loose.network.channels.values())


def test_other_scopes_take_all_at_once(digits: tuple[recipes.Recipe, Data]) -> None:
    recipe, data = digits
    chosen, half = method("group-norm", {"epochs": 0}), [Budget.parse("macs", round(0.5 * count(NETWORK).macs))]
    (outcome,) = prune(chosen, NETWORK, build(NETWORK, seed=0), [half], scope="layer", data=data, recipe=recipe)
    shares = [outcome.pruned.network.channels[group] / NETWORK.channels[group] for group in NETWORK.channels]
    assert max(shares) - min(shares) < 0.3
    (again,) = prune(
        chosen, NETWORK, build(NETWORK, seed=0), to=outcome.pruned.network, stream=True, data=data, recipe=recipe
    )
    assert again.pruned.network == outcome.pruned.network
