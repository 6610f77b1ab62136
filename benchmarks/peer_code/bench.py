"""What the comparisons share: running authors' code on a case, and our methods on the same weights and batches."""

from __future__ import annotations

import copy
import math
import re
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import numpy as np
import torch
from child import output_of
from torch import Tensor, nn

from peer_code.compare import Array, Finding
from peer_code.images import Batch, GivenData, GivenTrain, Pictures
from peer_code.repositories import Library, Repository
from thinresnet.budget import Budget
from thinresnet.network import Network
from thinresnet.networks import build
from thinresnet.networks.cost import macs_and_params
from thinresnet.networks.cutting import channels_of, cut
from thinresnet.pruning import method, prune
from thinresnet.pruning.finetuning import FineTuning
from thinresnet.pruning.session import Outcome
from thinresnet.recipe import Recipe

State = dict[str, Tensor]
Pairs = Sequence[tuple[str, str]]
_CHILD = Path(__file__).with_name("theirs.py")


@dataclass(frozen=True)
class Bench:
    """Where the peers are, the images, public weights, and the seed."""

    peers: Path | None
    weights: Path | None
    train: Pictures
    test: Pictures
    seed: int
    batch: int
    updates: int  # an epoch
    dense_epochs: int  # by which public weights get used to other shortcuts

    @property
    def batches(self) -> list[Batch]:
        """The training batches of an epoch."""
        return self.train.batches(self.batch, self.updates)

    @property
    def perturbed(self) -> list[Batch]:
        """The same with the rounding of other hardware: noise of 1e-7."""
        noise = torch.Generator().manual_seed(self.seed)
        return [
            (images * (1 + 1e-7 * torch.randn(images.shape, generator=noise)), targets)
            for images, targets in self.batches
        ]

    @property
    def test_batches(self) -> list[Batch]:
        """The test images."""
        return list(zip(self.test.images.split(50), self.test.targets.split(50), strict=True))

    def theirs(self, source: Repository | Library, runner: str, **case: Any) -> dict[str, Any]:
        """What the authors' code makes of a case, in a process and a folder of its own."""
        folder = str((self.peers / source.name).resolve()) if isinstance(source, Repository) and self.peers else None
        asked = {"runner": runner, "shims": list(source.shims), "folder": folder, **case}
        with tempfile.TemporaryDirectory() as place:
            files = [Path(place, name) for name in ("case.pt", "result.pt")]
            torch.save(asked, files[0])
            output_of([str(_CHILD), *map(str, files)], {"CUDA_VISIBLE_DEVICES": ""}, folder=Path(place))
            result: dict[str, Any] = torch.load(files[1], weights_only=True)
        if isinstance(source, Repository) and (unknown := set(result["loaded"]) - set(source.files)):
            raise SystemExit(f"{source.address}: files ran that were not compared: {sorted(unknown)}")
        return result

    def public(self, name: str, network: Network) -> nn.Module | None:
        """Our network with the public weights of that file, as far as they fit; None where they are not given."""
        if self.weights is None or not (self.weights / name).is_file():
            return None
        state = torch.load(self.weights / name, weights_only=True, map_location="cpu")["state_dict"]
        names = {key.removeprefix("module.").replace("linear.", "fc."): tensor for key, tensor in state.items()}
        model = build(network, seed=self.seed)
        model.load_state_dict(names, strict=False)
        return model


def problem(source: Repository | Library, peers: Path | None) -> str | None:
    """Why this code cannot be run here, or None."""
    if isinstance(source, Repository):
        return source.problem(peers)
    try:
        found = version(source.name)
    except PackageNotFoundError:
        return f"{source.name} is not installed (pip install {source.name}=={source.version})"
    return None if found == source.version else f"{source.name} is {found}, not {source.version}"


# Weights --------------------------------------------------------------------------------------------------------------


def renamed(state: Mapping[str, Tensor], pairs: Pairs) -> State:
    """A state dict with its names replaced by patterns, one after the other."""
    found: State = {}
    for name, tensor in state.items():
        new = name
        for pattern, replacement in pairs:
            new = re.sub(pattern, replacement, new)
        found[new] = tensor.detach().clone()
    return found


def weights_of(state: Mapping[str, Tensor]) -> dict[str, Array]:
    """The tensors of a state dict that training moves, and running statistics."""
    return {name: tensor.numpy() for name, tensor in state.items() if tensor.is_floating_point()}


def cut_like(network: Network, state: State, kept: Mapping[str, Sequence[int]]) -> State:
    """The state of a network with these weights when only these channels are kept."""
    channels = channels_of(network)
    chosen = channels.full()
    for group, indices in kept.items():
        own = np.zeros(channels.count(group), dtype=bool)
        own[list(indices)] = True
        chosen[channels.slices[group]] = own
    model = build(network, seed=0)
    model.load_state_dict(state)
    return {name: tensor.detach() for name, tensor in cut(model, network, chosen)[1].state_dict().items()}


# Ours -----------------------------------------------------------------------------------------------------------------


def recipe_of(epochs: int, lr: float, decay: float, *, nesterov: bool = False, drop_after: int | None = None) -> Recipe:
    """SGD as authors' scripts have it; the rate falls to a tenth after so many epochs."""
    return Recipe(
        opt="sgd" if nesterov else "momentum", opt_kwargs={"filter_bias_and_bn": False}, lr=lr, weight_decay=decay,
        sched="multistep", decay_milestones=((drop_after or 10**5) + 1,), decay_rate=0.1, warmup_epochs=0,
        epochs=epochs, smoothing=0.0,
    )  # fmt: skip


def data_of(batches: Sequence[Batch]) -> Any:
    """Batches as the data that methods here read."""
    return GivenData(GivenTrain(batches))


def ours(
    name: str, network: Network, model: nn.Module, settings: Mapping[str, Any] | None = None, **how: Any
) -> Outcome:
    """What our method makes of it, to one target."""
    return next(iter(prune(method(name, settings), network, model, **how)))


def fine_tuned(model: nn.Module, recipe: Recipe, batches: Sequence[Batch]) -> nn.Module:
    """The model after training by the recipe."""
    training = FineTuning(model, recipe, data_of(batches), epochs=None, updates=None, lr=None, progress=lambda *_: None)
    for update in training.batches():
        training.step(update)
    return model


@torch.no_grad()
def accuracy(model: nn.Module, batches: Sequence[Batch]) -> float:
    """Percent of the images whose class has the largest logit."""
    model.eval()
    right = sum(int((model(images).argmax(1) == targets).sum()) for images, targets in batches)
    return 100 * right / sum(len(targets) for _, targets in batches)


def with_shortcuts(model: nn.Module, made: Callable[[nn.Module], nn.Module]) -> nn.Module:
    """A copy whose shortcuts without weights are others."""
    model = copy.deepcopy(model)
    for block in model.modules():
        if isinstance(getattr(block, "pad", None), nn.Module):
            block.pad = made(block.pad)
    return model


def weighted(model: nn.Module) -> Iterator[str]:
    """The convolutions and linear layers, in the order of their modules."""
    return (name for name, part in model.named_modules() if isinstance(part, (nn.Conv2d, nn.Linear)))


@dataclass(frozen=True)
class Share:
    """A budget of parameters that leaves a given number of weights of convolutions and linear layers."""

    network: Network
    weights: int  # all there are
    kept: int

    @classmethod
    def of(cls, network: Network, density: float) -> Share:
        """About this density."""
        model = build(network, seed=0)
        weights = sum(model.get_submodule(name).weight.numel() for name in weighted(model))
        return cls(network, weights, round(density * weights))

    @property
    def params(self) -> int:
        """The least budget of the whole network whose share of the weights is that many."""
        return math.ceil(self.kept / self.weights * macs_and_params(self.network).params)

    @property
    def density(self) -> float:
        """The share as our methods work with it."""
        return self.params / macs_and_params(self.network).params

    @property
    def middle(self) -> float:
        """A density that rounds to the same number, whether it is what stays or what goes that is rounded down."""
        return (self.kept - 0.5) / self.weights

    def masks(self, name: str, model: nn.Module, given: Sequence[Batch], **settings: Any) -> list[Array]:
        """The masks of our method, in the order of the modules."""
        outcome = ours(
            name, self.network, model, settings, budgets=[[Budget.parse("params", self.params)]],
            data=data_of(given), recipe=Recipe(),
        )  # fmt: skip
        asked = outcome.pruned.asked
        assert asked is not None
        assert asked.densities.masks is not None
        found = dict(zip(asked.layers.names, asked.densities.masks, strict=True))
        return [found[layer] for layer in weighted(model)]


Case = Callable[[Bench], Iterator[Finding]]
