"""Every method that removes channels, on every kind of network: what is left computes what the masked network did."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn

from thinresnet import networks
from thinresnet import recipe as recipes
from thinresnet.budget import Budget
from thinresnet.networks import count, scale
from thinresnet.networks.cutting import masked
from thinresnet.pruning import Method, Pruned, methods, prune
from thinresnet.pruning.gradual import Gradually, is_criterion
from thinresnet.pruning.job import Job
from thinresnet.pruning.method import INITIALISATION
from thinresnet.training.data import Data, open_data

# Settings with which each method is done in a moment; one that is not named here is so by its defaults.
SETTINGS: dict[str, dict[str, Any]] = {
    "chip": {"images": 32},
    "fisher": {"updates": 1, "channels": 100, "lr": 0.01},
    "fisher-oneshot": {"images": 32},
    "gradual": {"updates": 1, "channels": 100, "lr": 0.01},
    "group-norm": {"epochs": 1},
    "hrank": {"images": 32},
    "isomorphic": {"images": 32},
    "lasso": {"images": 32},
    "sfp": {"epochs": 1},
    "slimming": {"epochs": 1},
    "sss": {"epochs": 1},
    "taylor": {"updates": 1, "channels": 100, "lr": 0.01},
    "taylor-oneshot": {"images": 32},
    "thinet": {"images": 32},
}
_SIZE = (3, 16, 16)
_NETWORKS = (
    "resnet20_cifar", "vgg16_cifar", "wrn16_2_cifar", "densenet40_cifar", "mobilenetv2_cifar", "resnet50"
)  # fmt: skip
# Fewer blocks: two of a kind show what twelve do.
_SHALLOW: dict[str, dict[str, Any]] = {
    "resnet20_cifar": {"depths": [2, 2, 2]},
    "wrn16_2_cifar": {"depths": [1, 2, 1]},
    "densenet40_cifar": {"depths": [3, 3, 3]},
    "resnet50": {"layers": [1, 2, 1, 1]},
}
_FEWER = ("resnet20_cifar", "densenet40_cifar", "mobilenetv2_cifar", "resnet50")  # for what differs in scores only
_PHYSICAL = [
    (name, arch)
    for name, kind in methods().items()
    if kind.removes == "channels" and kind.when != INITIALISATION
    for arch in (_FEWER if (is_criterion(kind) and name != "l1") or issubclass(kind, Gradually) else _NETWORKS)
]


@pytest.fixture(scope="module")
def images(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[recipes.Recipe, Data]]:
    """Thirty-two small images of two classes, and a recipe that goes through them in one update."""
    folder, random = tmp_path_factory.mktemp("images"), np.random.default_rng(0)
    for split in ("train", "val"):
        for label in ("cat", "dog"):
            (folder / split / label).mkdir(parents=True)
            for number in range(16):
                pixels = random.integers(0, 256, (16, 16, 3), dtype=np.uint8)
                Image.fromarray(pixels).save(folder / split / label / f"{number}.png")
    changes = {"data_dir": str(folder), "val_split": "val", "img_size": 16, "batch_size": 32, "workers": 0}
    recipe = recipes.load("cifar-classic-160", {**changes, "dataset": "", "num_classes": None})
    with open_data(recipe, input_size=_SIZE, device=torch.device("cpu"), loader="memory") as data:
        yield recipe, data


def unsettled(model: nn.Module) -> nn.Module:
    """Batch norms with means, variances, scales and shifts that are not those of a fresh network."""
    torch.manual_seed(1)
    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d):
            nn.init.normal_(module.running_mean, std=0.5)
            nn.init.uniform_(module.running_var, 0.5, 2)
            nn.init.uniform_(module.weight, 0.5, 1.5)
            nn.init.normal_(module.bias, std=0.5)
    return model


@pytest.mark.parametrize(("name", "arch"), _PHYSICAL)
def test_masked_and_rebuilt_are_equal(
    name: str, arch: str, images: tuple[recipes.Recipe, Data], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    recipe, data = images
    network = scale(arch, width=0.25, input_size=_SIZE, num_classes=2, **_SHALLOW.get(arch, {}))
    model = unsettled(networks.build(network, seed=0))
    before = copy.deepcopy(model.state_dict())
    method = methods()[name](**SETTINGS.get(name, {}))
    jobs: list[Job] = []
    run = type(method).run

    def watched(self: Method, job: Job) -> Iterator[Pruned]:
        jobs.append(job)
        yield from run(self, job)

    monkeypatch.setattr(type(method), "run", watched)
    limit = round(0.7 * count(network).macs)
    (outcome,) = prune(method, network, model, [[Budget.parse("macs", limit)]], data=data, recipe=recipe)
    pruned = outcome.pruned

    (job,) = jobs
    # Within the budget by the counter, close to it, and nothing empty.
    assert 0.98 * limit <= count(pruned.network).macs <= limit
    assert min(pruned.network.channels.values()) >= 1
    assert all(
        pruned.network.channels[group] == network.channels[group]
        for group in network.channels
        if group not in job.movable
    )
    assert all(torch.equal(value, before[key]) for key, value in model.state_dict().items())  # what was given stays
    # The same logits, with the weights as the method has left them.
    x = torch.randn(4, *_SIZE, dtype=torch.float64)
    kept = torch.from_numpy(job.channels.mask(pruned.kept))
    whole, thin = job.model.double().eval(), pruned.model.double().eval()
    with torch.no_grad(), masked(whole, job.channels, kept):
        expected = whole(x)
    with torch.no_grad():
        found = thin(x)
    assert expected.std() > 0
    torch.testing.assert_close(found, expected, rtol=1e-9, atol=1e-9)
    if name != "l1":
        return
    # Saved and loaded it is the same, and training goes on from there: with whatever method it was pruned.
    networks.save(tmp_path, pruned.network, thin.float())
    loaded = networks.load(tmp_path)[1]
    with torch.no_grad():
        assert torch.equal(loaded.eval()(x.float()), thin(x.float()))
    loaded.train()(torch.randn(4, *_SIZE)).square().sum().backward()
    assert all(parameter.grad is not None for parameter in loaded.parameters())
