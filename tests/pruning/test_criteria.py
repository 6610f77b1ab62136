"""Criteria on small cases: against finite differences, closed forms and brute force."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from thinresnet import recipe as recipes
from thinresnet.budget import Budget
from thinresnet.errors import InputError
from thinresnet.networks import Network, build, count, scale
from thinresnet.networks.cutting import channels_of, readers
from thinresnet.pruning import methods, prune
from thinresnet.pruning.gates import gated
from thinresnet.pruning.job import Job
from thinresnet.pruning.slimming import Slimming
from thinresnet.training.data import Data, open_data

NETWORK = scale("resnet20_cifar", width=0.25, input_size=(3, 8, 8), num_classes=10)


@pytest.fixture(scope="module")
def digits() -> Iterator[tuple[recipes.Recipe, Data]]:
    recipe = recipes.load("digits", {"epochs": 1, "warmup_epochs": 0, "lr": 0.1, "batch_size": 256})
    with open_data(recipe, input_size=(3, 8, 8), device=torch.device("cpu")) as data:
        yield recipe, data


def job_for(model: nn.Module, network: Network = NETWORK, **given: object) -> Job:
    values = {"recipe": None, "data": None, "targets": (), **given}
    return Job("test", network, model, seed=0, **values)  # type: ignore[arg-type]


def unsettled(network: Network = NETWORK) -> nn.Module:
    """A network in float64 whose norms have scales and shifts of their own."""
    model = build(network, seed=0).double()
    torch.manual_seed(1)
    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d):
            nn.init.uniform_(module.weight, 0.5, 1.5)
            nn.init.normal_(module.bias, std=0.3)
            nn.init.normal_(module.running_mean, std=0.3)
            nn.init.uniform_(module.running_var, 0.5, 2)
    return model.eval()


def losses(model: nn.Module, x: Tensor, y: Tensor) -> Tensor:
    return nn.functional.cross_entropy(model(x), y, reduction="none")


# --- gates ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("arch", ["resnet20_cifar", "vgg16_cifar", "densenet40_cifar", "mobilenetv2_cifar"])
def test_gates_are_the_derivative_of_the_loss_in_a_mask(arch: str) -> None:
    network = scale(arch, width=0.25, input_size=(3, 16, 16), num_classes=10)
    model, channels = unsettled(network), channels_of(network)
    x, y = torch.randn(3, 3, 16, 16, dtype=torch.float64), torch.tensor([1, 5, 9])
    with gated(model, channels) as gates:
        losses(model, x, y).sum().backward()
        found = gates.take().double()
    assert found.shape == (3, channels.total)

    def with_gate(channel: int, gate: float) -> Tensor:
        """The losses with a factor on the channel wherever a layer reads it."""
        handles = []
        for name in readers(channels):
            factor = torch.ones(len(channels.places[name, "in"]), dtype=torch.float64)
            factor[channels.places[name, "in"] == channel] = gate

            def hook(module: nn.Module, inputs: tuple[Tensor], factor: Tensor = factor) -> tuple[Tensor]:
                return (inputs[0] * (factor if inputs[0].dim() == 2 else factor[:, None, None]),)

            handles.append(model.get_submodule(name).register_forward_pre_hook(hook))
        with torch.no_grad():
            value = losses(model, x, y)
        for handle in handles:
            handle.remove()
        return value

    step = 1e-5
    for channel in np.random.default_rng(0).choice(channels.total, 6, replace=False).tolist():
        slope = (with_gate(channel, 1 + step) - with_gate(channel, 1 - step)) / (2 * step)
        torch.testing.assert_close(found[:, channel], slope, rtol=1e-4, atol=1e-6)


def test_gates_obey_the_batch_norm_identity() -> None:
    # ReLU is homogeneous: what scales its output scales the norm's scale and shift together.
    model, channels = unsettled(), channels_of(NETWORK)
    x, y = torch.randn(1, 3, 8, 8, dtype=torch.float64), torch.tensor([3])
    with gated(model, channels) as gates:
        losses(model, x, y).sum().backward()
        found = gates.take()[0].double()
    for name in ("layer1.0", "layer2.1", "layer3.2"):
        norm = model.get_submodule(f"{name}.bn1")
        expected = norm.weight * norm.weight.grad + norm.bias * norm.bias.grad
        torch.testing.assert_close(found[channels.slices[f"{name}.conv1"]], expected, rtol=1e-4, atol=1e-7)


def test_fisher_is_half_the_mean_square_and_taylor_the_mean_size(digits: tuple[recipes.Recipe, Data]) -> None:
    recipe, data = digits
    model = unsettled().float()
    images = 300  # more than a batch, and not a whole number of them
    fisher, taylor = (
        methods()[name](images=images).scores(job_for(model, recipe=recipe, data=data))
        for name in ("fisher-oneshot", "taylor-oneshot")
    )
    channels = channels_of(NETWORK)
    seen, rows = 0, []
    for x, y in data.train.epoch(0):
        for one in range(min(len(y), images - seen)):
            with gated(model, channels) as gates:
                losses(model, x[one : one + 1], y[one : one + 1]).sum().backward()
                rows.append(gates.take()[0])
        seen = len(rows)
        if seen == images:
            break
    each = torch.stack(rows).double().numpy()
    np.testing.assert_allclose(fisher, (each**2).sum(0) / (2 * images), rtol=1e-3, atol=1e-9)
    sizes = np.abs(each).mean(0)
    for span in channels.slices.values():
        np.testing.assert_allclose(taylor[span], sizes[span] / np.linalg.norm(sizes[span]), rtol=1e-3, atol=1e-6)


def test_fisher_divided_by_what_a_channel_costs() -> None:
    from thinresnet.pruning.gradual import saved

    job = job_for(build(NETWORK, seed=0))
    dense = count(NETWORK)
    for index, cost in enumerate(("macs", "params")):
        shares = saved(job, job.channels.full(), cost)
        for group in ("layer1.0.conv1", "layer3.1.conv1"):
            fewer = {**NETWORK.channels, group: NETWORK.channels[group] - 1}
            thin = count(Network(NETWORK.arch, NETWORK.kwargs, NETWORK.input_size, fewer))
            less = (dense.macs - thin.macs, dense.params - thin.params)[index]
            np.testing.assert_allclose(shares[job.channels.slices[group]], less / 1e6)


# --- slimming ---------------------------------------------------------------------------------------------------------


def test_slimming_adds_the_sign_of_every_scale(digits: tuple[recipes.Recipe, Data]) -> None:
    recipe, data = digits
    after = []
    for sparsity in (0.0, 0.05):
        job = job_for(unsettled().float(), recipe=recipe.replace(opt="momentum", momentum=0.0), data=data)
        nn.init.constant_(job.model.layer1[0].bn1.weight, -0.5)  # a negative scale is driven up
        tuning = job.finetuning(epochs=1)
        batches = next(iter(tuning.batches()))
        penalty = Slimming(sparsity=sparsity)
        from thinresnet.pruning.slimming import _penalise

        scales = [m.weight for m in job.model.modules() if isinstance(m, nn.BatchNorm2d)]
        tuning.step(batches, lambda scales=scales, penalty=penalty: _penalise(scales, penalty.sparsity))  # type: ignore[misc]
        after.append({name: value.detach().clone() for name, value in job.model.named_parameters()})
    rate = tuning._optimizer.param_groups[0]["lr"]
    for name, plain in after[0].items():
        change = after[1][name] - plain
        if "bn" in name and name.endswith("weight"):
            sign = -1.0 if name == "layer1.0.bn1.weight" else 1.0
            torch.testing.assert_close(change, torch.full_like(change, -rate * 0.05 * sign), rtol=1e-3, atol=1e-6)
        else:
            assert torch.equal(change, torch.zeros_like(change))


def test_slimming_has_one_threshold_and_leaves_no_layer_empty(digits: tuple[recipes.Recipe, Data]) -> None:
    recipe, data = digits
    model = unsettled().float()
    nn.init.constant_(model.layer2[1].bn1.weight, 1e-6)  # a layer that the threshold would empty
    model.layer2[1].bn1.weight.data[5] = 2e-6
    limit = Budget.parse("macs", round(0.6 * count(NETWORK).macs))
    (outcome,) = prune(Slimming(epochs=0), NETWORK, model, [[limit]], data=data, recipe=recipe)
    kept = outcome.pruned.kept
    assert kept["layer2.1.conv1"] == [5]
    scales = {
        name: model.get_submodule(name.replace("conv1", "bn1")).weight.detach().abs()
        for name in kept
        if name.startswith("layer") and name.endswith("conv1") and name != "layer2.1.conv1"
    }
    gone = [float(v) for name, values in scales.items() for i, v in enumerate(values) if i not in kept[name]]
    left = [float(v) for name, values in scales.items() for i, v in enumerate(values) if i in kept[name]]
    # One threshold, but for channels that came back because they were cheap enough for what was left of the budget.
    above = [value for value in gone if value > min(left)]
    assert len(above) <= 2
    assert len(gone) > 20


def test_slimming_starts_its_scales_where_it_is_told(digits: tuple[recipes.Recipe, Data]) -> None:
    recipe, data = digits
    model = build(NETWORK, seed=0)
    method = Slimming(epochs=0, start=0.5)
    limit = Budget.parse("macs", round(0.6 * count(NETWORK).macs))
    (outcome,) = prune(method, NETWORK, model, [[limit]], data=data, recipe=recipe)
    assert outcome.pruned.model is not None
    scales = {
        name: set(module.weight.tolist())
        for name, module in outcome.pruned.model.named_modules()
        if isinstance(module, nn.BatchNorm2d)
    }
    assert {"layer1.0.bn1", "layer3.0.bn1"} <= scales.keys()
    assert all(scales[name] == {0.5} for name in ("layer1.0.bn1", "layer3.0.bn1"))


def test_slimming_needs_scales(digits: tuple[recipes.Recipe, Data]) -> None:
    recipe, data = digits
    network = scale("convnext_atto", input_size=(3, 32, 32), num_classes=10)
    model = build(network, seed=0)
    with pytest.raises(InputError, match="no batch norm on"):
        list(prune(Slimming(), network, model, [[Budget.parse("macs", "50%")]], data=data, recipe=recipe))
