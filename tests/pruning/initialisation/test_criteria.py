"""Each criterion against an independent small computation, in double precision on a tiny network."""

from __future__ import annotations

import copy
import itertools
from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from thinresnet.errors import InputError
from thinresnet.networks import Network, build, scale
from thinresnet.pruning.initialisation.criterion import Criterion, Task
from thinresnet.pruning.initialisation.densities import Allowance, layers_of
from thinresnet.pruning.initialisation.snip import loss_gradients, sensitivities
from thinresnet.pruning.initialisation.synflow import flow
from thinresnet.pruning.job import Job
from thinresnet.pruning.method import INITIALISATION
from thinresnet.pruning.registry import method, methods

CLASSES = 10


class _Images:
    """Two batches of drawn images of ten classes, so that 2 of each class fill both halves."""

    num_classes = CLASSES

    def __init__(self) -> None:
        generator = torch.Generator().manual_seed(0)
        images = torch.randn(20, 3, 8, 8, generator=generator, dtype=torch.float64)
        targets = torch.arange(20) % CLASSES
        self.batches = [(images[:10], targets[:10]), (images[10:], targets[10:])]
        self.epochs: list[int] = []
        self.train = SimpleNamespace(epoch=self._epoch)

    def _epoch(self, epoch: int) -> Iterator[tuple[Tensor, Tensor]]:
        """Every epoch has its own order of batches."""
        self.epochs.append(epoch)
        return iter(self.batches if epoch % 2 == 0 else self.batches[::-1])


def _task(name: str, share: float, arch: str = "resnet20_cifar", width: float = 0.25, **budgets: float) -> Task:
    network = scale(arch, width=width, input_size=(3, 8, 8), num_classes=CLASSES)
    return _task_of(name, network, build(network, seed=0).double(), **(budgets or {"params": share}))


def _task_of(name: str, network: Network, model: nn.Module, **budgets: float) -> Task:
    images: Any = _Images()  # what a criterion reads of data
    job = Job(name, network, model, targets=(), recipe=None, data=images, seed=0)
    return Task(job, Allowance(layers_of(network), budgets))


def criterion(name: str, settings: dict[str, Any] | None = None) -> Criterion:
    found = method(name, settings)
    assert isinstance(found, Criterion)
    return found


def _flat(values: list[Tensor]) -> Any:
    return torch.cat([value.detach().flatten() for value in values]).numpy()


def _weights(model: nn.Module, task: Task) -> list[nn.Parameter]:
    return [model.get_submodule(name).weight for name in task.allowance.layers.names]


def test_snip_is_the_derivative_in_a_mask() -> None:
    task = _task("snip", 0.3)
    found = criterion("snip").find(task)
    model = copy.deepcopy(task.job.model).train()
    images, targets = task.job.data.batches[0]  # type: ignore[union-attr]
    weights = _weights(model, task)
    kept = np.concatenate(found.masks)

    def loss() -> float:
        with torch.no_grad():
            return float(nn.functional.cross_entropy(model(images), targets))

    slopes = np.zeros(len(kept))
    places = np.random.default_rng(0).choice(len(kept), 40, replace=False)
    starts = np.cumsum([0, *(weight.numel() for weight in weights)])
    for place in places:
        layer = int(np.searchsorted(starts, place, side="right")) - 1
        flat = weights[layer].data.view(-1)
        index, value = int(place - starts[layer]), float(flat[place - starts[layer]])
        step = 1e-5
        flat[index] = value * (1 + step)
        above = loss()
        flat[index] = value * (1 - step)
        slopes[place] = abs(above - loss()) / (2 * step)
        flat[index] = value
    model_, scored = task.scored()
    scores = np.concatenate(sensitivities(scored, loss_gradients(model_.train(), scored, [(images, targets)], seed=0)))
    np.testing.assert_allclose(scores[places], slopes[places], rtol=1e-3, atol=1e-9)
    np.testing.assert_array_equal(np.flatnonzero(kept), np.sort(np.argsort(-scores)[: int(0.3 * len(kept))]))


def test_grasp_removes_the_highest() -> None:
    task = _task("grasp", 0.3)
    found = criterion("grasp", {"per_class": 2, "temperature": 2.0}).find(task)
    model = copy.deepcopy(task.job.model).train()
    weights = _weights(model, task)

    def gradient() -> list[Tensor]:
        halves = (
            nn.functional.cross_entropy(model(images) / 2, targets)
            for images, targets in task.job.data.batches  # type: ignore[union-attr]
        )
        return list(torch.autograd.grad(sum(halves), weights))  # type: ignore[arg-type]

    drawn, along, step = [weight.detach().clone() for weight in weights], gradient(), 1e-8
    sides = []
    for sign in (1, -1):
        with torch.no_grad():
            for weight, own, direction in zip(weights, drawn, along, strict=True):
                weight.copy_(own + sign * step * direction)
        sides.append(gradient())
    product = [(above - below) / (2 * step) for above, below in zip(*sides, strict=True)]
    scores = -_flat(drawn) * _flat(product)  # as the paper has it: the highest are removed
    kept = np.concatenate(found.masks)
    assert scores[kept].max() <= np.sort(scores)[int(0.3 * len(scores))] + 1e-8
    highest = np.argsort(-scores)[: int(0.65 * len(scores))]
    assert kept[highest].mean() < 0.01
    assert kept.sum() == int(0.3 * len(kept))
    assert task.job.scored_at == {8: 40}  # each once for the gradient, once along it


def _literal_synflow(task: Task, share: float, rounds: int) -> Iterator[Any]:
    """The masks after each round, by the definition: everything sorted, all weights one list."""
    model = copy.deepcopy(task.job.model).eval()
    weights = _weights(model, task)
    with torch.no_grad():
        for value in model.state_dict().values():
            value.copy_(value.abs())
    kept = np.ones(sum(weight.numel() for weight in weights), dtype=bool)
    for number in range(1, rounds + 1):
        gradients = torch.autograd.grad(model(torch.ones(1, 3, 8, 8, dtype=torch.float64)).sum(), weights)
        scores = np.abs(_flat(list(weights)) * _flat(list(gradients)))
        order = np.argsort(np.where(kept, -scores, 1.0), kind="stable")
        kept = np.zeros_like(kept)
        kept[order[: int(share ** (number / rounds) * len(kept))]] = True
        parts = np.split(kept, np.cumsum([weight.numel() for weight in weights])[:-1])
        with torch.no_grad():
            for weight, part in zip(weights, parts, strict=True):
                weight.mul_(torch.from_numpy(part).view(weight.shape))
        yield kept


def test_synflow_by_its_definition() -> None:
    task = _task("synflow", 0.1)
    found = criterion("synflow", {"rounds": 7}).find(task)
    *_, theirs = _literal_synflow(task, 0.1, 7)
    np.testing.assert_array_equal(np.concatenate(found.masks), theirs)
    assert task.notes["layers_left_dense"] == []


def test_synflow_conserves_the_flow_layer_by_layer() -> None:
    task = _task("synflow", 0.1, "vgg16_cifar", 0.1, params=0.1)
    model, weights = task.scored()
    with torch.no_grad():
        for value in model.state_dict().values():
            value.abs_()
    sums = [own.sum() for own in flow(model, weights, task.job.network.input_size)]
    np.testing.assert_allclose(sums, sums[0], rtol=1e-9)


@pytest.mark.parametrize(("arch", "width"), [("resnet20_cifar", 0.25), ("vgg16_cifar", 0.1)])
def test_synflow_empties_no_layer(arch: str, width: float) -> None:
    task = _task("synflow", 0.05, arch, width)
    found = criterion("synflow").find(task)
    left = found.values * task.allowance.layers.weights
    assert left.min() >= 1
    assert left.sum() == pytest.approx(int(0.05 * task.allowance.layers.weights.sum()))


def test_gates_and_clipped_activations_do_not_stop_synflow() -> None:
    """What feeds a gate only stays dense; nothing else may be without a score, though ReLU6 and sigmoids saturate."""
    network = scale("efficientnet_b0", width=0.25, input_size=(3, 32, 32), num_classes=CLASSES)
    task = _task_of("synflow", network, build(network, seed=0), macs=0.3, params=0.5)
    found = criterion("synflow", {"rounds": 3}).find(task)
    gates = [name for name in task.allowance.layers.names if ".se." in name]
    assert task.notes["layers_left_dense"] == gates
    assert found.values[[name in gates for name in task.allowance.layers.names]].min() == 1
    for limit in task.allowance.limits():
        assert limit.cost @ (found.values * task.allowance.layers.weights) <= limit.most * (1 + 1e-9)


def test_norms_of_images_are_refused_by_synflow() -> None:
    network = scale("convnext_atto", width=0.25, input_size=(3, 32, 32))
    task = _task_of("synflow", network, build(network), params=0.5)
    with pytest.raises(InputError, match=r"stem\.1 of convnext_atto is a LayerNorm"):
        criterion("synflow").find(task)


def test_norms_drawn_as_zero_are_scored_at_one() -> None:
    """timm's zero-initialised residual branches would score nothing, and be emptied."""
    network = scale("resnet18", width=0.125, input_size=(3, 32, 32), num_classes=CLASSES)
    task = _task_of("synflow", network, build(network), params=0.2)
    assert not task.job.model.layer1[0].bn2.weight.any()
    assert criterion("synflow", {"rounds": 5}).find(task).values.min() > 0
    assert task.notes["norms_scored_at_one"] == 8
    assert not task.job.model.layer1[0].bn2.weight.any()  # the model itself is as it was


@pytest.mark.parametrize("batches", [1, 2])
@pytest.mark.parametrize("name", ["force", "iter-snip"])
def test_rounds_of_snip_by_their_definition(name: str, batches: int) -> None:
    """Each round reads the batches that follow those of the round before, epoch after epoch."""
    task = _task(name, 0.1)
    found = criterion(name, {"rounds": 4, "batches": batches}).find(task)
    images_of: Any = task.job.data
    assert images_of.epochs == list(range(2 * batches))
    assert task.job.scored_at == {8: 40 * batches}
    fresh = itertools.chain.from_iterable(images_of.train.epoch(number) for number in range(2 * batches))
    model = copy.deepcopy(task.job.model).train()
    weights = _weights(model, task)
    drawn, sizes = _flat(list(weights)), [weight.numel() for weight in weights]
    kept, returned = np.ones(len(drawn), dtype=bool), 0
    for number in range(1, 5):
        gradients = np.zeros(len(drawn))
        for images, targets in itertools.islice(fresh, batches):
            loss = nn.functional.cross_entropy(model(images), targets)
            gradients += _flat(list(torch.autograd.grad(loss, weights))) / batches
        scores = np.abs(drawn * gradients)
        if name == "iter-snip":
            scores[~kept] = -1
        before, kept = kept, np.zeros_like(kept)
        kept[np.argsort(-scores)[: int(0.1 ** (number / 4) * len(kept))]] = True
        returned += int((kept & ~before).sum())
        with torch.no_grad():
            for weight, own in zip(weights, np.split(drawn * kept, np.cumsum(sizes)[:-1]), strict=True):
                weight.copy_(torch.from_numpy(own).view(weight.shape))
    np.testing.assert_array_equal(np.concatenate(found.masks), kept)
    assert (returned > 0) == (name == "force")


@pytest.mark.parametrize("name", [name for name, kind in methods().items() if kind.when == INITIALISATION])
def test_totals_meet_both_budgets(name: str) -> None:
    task = _task(name, 0.0, params=0.3, macs=0.4)
    quick = {"rounds": 3} if name in ("synflow", "force", "iter-snip") else {}
    found = criterion(name, quick).find(task)
    weights = task.allowance.layers.weights
    spent = [limit.cost @ (found.values * weights) / limit.most for limit in task.allowance.limits()]
    assert max(spent) <= 1 + 1e-9
    assert max(spent) >= 0.999
    assert found.values.max() <= 1


def test_erk_reads_the_shapes_of_weights() -> None:
    task = _task("erk", 0.2)
    found = criterion("erk").find(task).values
    layers = task.allowance.layers
    ratios = np.array([sum(shape) / np.prod(shape) for shape in layers.shapes])
    sparse = found < 1
    np.testing.assert_allclose((found / ratios)[sparse], (found / ratios)[sparse][0])
    assert (found * layers.weights).sum() == pytest.approx(0.2 * layers.weights.sum(), rel=1e-12)
