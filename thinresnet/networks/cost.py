"""What a network costs: the one counter, and the one convention.

MACs are multiply-accumulates of convolution and linear layers for one image, counted by fvcore, which calls them flops.
ResNet-50 at 224 px: 4,089,184,256. fvcore's own total adds norms and pooling (4.1115 G); other tools print 4.12 G (with
biases and activations) or 8.18 G (two operations a MAC) for the same network. fvcore runs the network, which takes
minutes on images of thousands of pixels: there the same layers are counted from shapes alone (a test compares both).
"""

from __future__ import annotations

import warnings
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.hooks import RemovableHandle

from thinresnet.budget import Costs, short
from thinresnet.errors import InputError
from thinresnet.network import Network, counters
from thinresnet.networks.blueprint import construct
from thinresnet.networks.modes import evaluating
from thinresnet.networks.tracer import shapes_only
from thinresnet.notebook import html_details, html_table, sides

with warnings.catch_warnings():  # fvcore imports what torch is about to retire, and that is not the user's concern
    warnings.simplefilter("ignore", FutureWarning)
    from fvcore.nn import FlopCountAnalysis

# fvcore's names of convolution and linear layers (addmm is a linear layer that was called as a function).
_COUNTED = ("conv", "linear", "addmm")
MOST_PIXELS_RUN = 512 * 512  # of an image that fvcore runs a network on
_COUNTED_ALREADY: dict[tuple[str, tuple[int, ...]], Cost] = {}  # by hash and input size


@dataclass(frozen=True)
class LayerCost:
    """One layer's share."""

    name: str
    kind: str
    shape: tuple[int, ...]  # of its weight
    macs: int
    params: int


@dataclass(frozen=True)
class Cost:
    """For one image: MACs, parameters, activations (elements that convolution and linear layers put out)."""

    macs: int
    params: int
    activations: int
    input_size: tuple[int, int, int]
    layers: tuple[LayerCost, ...]

    def __repr__(self) -> str:
        return (
            f"<Cost of an image {sides(self.input_size)}: {self.macs:,} MACs, {self.params:,} parameters, "
            f"{self.activations:,} activations, {len(self.layers)} layers>"
        )

    def _repr_html_(self) -> str:
        totals = {"MACs": self.macs, "parameters": self.params, "activations": self.activations}
        rows = [(name, f"{value:,}", short(value)) for name, value in totals.items()]
        layers = [(own.name, own.kind, sides(own.shape), f"{own.macs:,}", f"{own.params:,}") for own in self.layers]
        by_layer = html_table(("layer", "kind", "weight", "MACs", "parameters"), layers, left=2)
        caption = f"cost of an image {sides(self.input_size)}"
        return html_table(("", "", ""), rows, caption=caption) + html_details(f"{len(layers)} layers", by_layer)


def count(what: Network | nn.Module, input_size: tuple[int, int, int] | None = None) -> Cost:
    """Count a network, or a model that exists (then say its input size, unless its own configuration does).

    The model's mode, state and the random numbers stay as they are. A network that was counted is not counted again.
    """
    if isinstance(what, Network):
        own_size = input_size or what.input_size
        asked = what.sha256, tuple(own_size)
        if asked not in _COUNTED_ALREADY:
            large = own_size[1] * own_size[2] > MOST_PIXELS_RUN
            _COUNTED_ALREADY[asked] = count_shapes(what, own_size) if large else _count(_hollow(what), own_size)
        return _COUNTED_ALREADY[asked]
    model = getattr(what, "_orig_mod", what)  # a compiled model cannot be traced; the one it was made from can
    size = input_size or (getattr(model, "pretrained_cfg", None) or {}).get("input_size")
    if size is None:
        raise InputError(f"count: say the input size of this {type(model).__name__} (channels, height, width)")
    return _count(model, size)


def _totals(network: Network) -> tuple[int, int]:
    cost = count(network)
    return cost.macs, cost.params


counters.append(_totals)


def _hollow(network: Network) -> nn.Module:
    """The network with zeros for weights: what is counted does not depend on them, and nothing is drawn."""
    model = construct(network, device="meta").to_empty(device="cpu")
    with torch.no_grad():
        for tensor in (*model.parameters(), *model.buffers()):
            tensor.zero_()
    return model


def _count(model: nn.Module, input_size: tuple[int, int, int]) -> Cost:
    like = next(model.parameters(), torch.empty(()))
    image = torch.zeros(1, *input_size, device=like.device, dtype=like.dtype)
    with _undisturbed(model):
        analysis = FlopCountAnalysis(model, image).unsupported_ops_warnings(False).uncalled_modules_warnings(False)
        by_layer = analysis.tracer_warnings("none").by_module_and_operator()
        activations = _activations(model, image)
    return Cost(
        macs=_counted(by_layer[""]),
        params=sum(parameter.numel() for parameter in model.parameters()),
        activations=activations,
        input_size=input_size,
        layers=tuple(_layer_costs(model, {name: _counted(own) for name, own in by_layer.items()})),
    )


def count_shapes(network: Network, input_size: tuple[int, int, int]) -> Cost:
    """What `count` counts, from a forward pass on shapes."""
    model = construct(network, device="meta")
    macs: Counter[str] = Counter()
    inside: list[str] = []
    handles: list[RemovableHandle] = []

    def enter(name: str) -> Callable[..., None]:
        return lambda module, inputs: inside.append(name)

    def leave(module: nn.Module, inputs: Any, output: Any) -> None:
        name = inside.pop()
        if isinstance(module, nn.Linear):
            macs[name] += output.numel() * module.in_features

    class Convolutions(TorchDispatchMode):
        def __torch_dispatch__(self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Any = None) -> Any:
            output = func(*args, **(kwargs or {}))
            if func.overloadpacket.__name__ == "convolution":
                macs[inside[-1]] += output.numel() * args[1][0].numel()
            return output

    for name, module in model.named_modules():
        handles.append(module.register_forward_pre_hook(enter(name)))
        handles.append(module.register_forward_hook(leave))
    try:
        with _undisturbed(model), shapes_only(model), Convolutions():
            activations = _activations(model, torch.empty(1, *input_size, device="meta"))
    finally:
        for handle in handles:
            handle.remove()
    params = sum(parameter.numel() for parameter in model.parameters())
    layers = tuple(_layer_costs(model, macs))
    return Cost(macs.total(), params, activations, input_size, layers)


def _activations(model: nn.Module, image: torch.Tensor) -> int:
    """Elements put out by convolution and linear layers (fvcore counts the same, in a second trace)."""
    total = 0

    def add(module: nn.Module, inputs: object, output: torch.Tensor) -> None:
        nonlocal total
        total += output.numel()

    layers = [module for module in model.modules() if isinstance(module, (nn.Conv1d, nn.Conv2d, nn.Linear))]
    handles = [layer.register_forward_hook(add) for layer in layers]
    try:
        model(image)
    finally:
        for handle in handles:
            handle.remove()
    return total


def _counted(by_operator: Counter[str]) -> int:
    return int(sum(by_operator[name] for name in _COUNTED))


def _layer_costs(model: nn.Module, by_layer: Mapping[str, int]) -> Iterator[LayerCost]:
    for name, module in model.named_modules():
        own = list(module.parameters(recurse=False))
        macs = by_layer.get(name, 0) if not list(module.children()) else 0
        if own or macs:
            shape = tuple(module.weight.shape) if isinstance(getattr(module, "weight", None), torch.Tensor) else ()
            yield LayerCost(name, type(module).__name__, shape, macs, sum(parameter.numel() for parameter in own))


@contextmanager
def _undisturbed(model: nn.Module) -> Iterator[None]:
    """Evaluation mode, no gradients, no noise; afterwards the model is as it was, mode by mode."""
    devices = range(torch.cuda.device_count()) if torch.cuda.is_available() else []
    with evaluating(model), torch.random.fork_rng(devices=devices), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


def macs_and_params(network: Network) -> Costs:
    """The two quantities that budgets bound, measured."""
    cost = count(network)
    return Costs(cost.macs, cost.params)
