"""One forward pass on shapes, with every channel followed through it.

The network runs once on the meta device: shapes, no numbers. A layer that makes new channels hands out fresh labels; it
is watched as a whole by hooks, and everything between layers operation by operation (`operations`). Nothing here knows
an architecture; what the rules do not cover is refused by name.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from thinresnet.errors import InputError
from thinresnet.networks.labels import FIXED, LabelClasses, Labels
from thinresnet.networks.modes import evaluating
from thinresnet.networks.operations import ChannelFlow, as_list
from thinresnet.networks.shadows import compact, varying

NORMS = (nn.modules.batchnorm._NormBase, nn.LayerNorm, nn.GroupNorm)
LAYERS = (nn.Conv2d, nn.Linear, *NORMS)
# A filter of fixed weights, one a channel: told by its name because timm and others each have their own class.
BLURS = ("BlurPool2d",)
CONTAINERS = (nn.Sequential, nn.ModuleList, nn.ModuleDict)


@dataclass(frozen=True)
class TracedLayer:
    """One parametrised layer, as the forward pass met it."""

    name: str
    kind: str  # 'conv', 'depthwise', 'linear', 'norm', 'blur'
    inputs: Labels  # the label of each input channel, in order
    outputs: Labels
    groups: int  # of a grouped convolution or a group norm; 1 otherwise
    weights_a_pair: int  # weights for one input and one output channel: the kernel's area
    vectors: int  # parameters for one output channel beside those: bias, norm scale and shift
    positions: int  # at how many places of the map it is applied, for one image


@dataclass(frozen=True)
class Trace:
    """What one forward pass says about a network's channels."""

    layers: dict[str, TracedLayer]
    vectors: dict[str, tuple[int, Labels]]  # tensors outside layers that follow channels: (dimension, labels)
    buffers: frozenset[str]  # of those, the ones that are no parameters
    classes: LabelClasses
    other_params: int  # of parameters that follow no channels
    interior: Callable[
        [set[str], set[int]], bool
    ]  # of the layers that touch some channels, and of those: in one block?


def trace(model: nn.Module, input_size: tuple[int, int, int], name: str) -> Trace:
    """Follow the channels of `model`, which lies on the meta device, through a forward pass on one image.

    `name` is what messages call the network. The model's mode is restored.
    """
    tracer = _Tracer(model, name)
    try:
        with evaluating(model), shapes_only(model), tracer.watching():
            outputs = model(tracer.image(input_size))
    except InputError:
        raise
    except Exception as error:  # whatever a forward raises on an image of this size, or a shape rule does not foresee
        path = tracer.flow.path
        where = f" in {path[-1]}" if path else ""
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise InputError(
            f"{name} cannot be served at input size {input_size}: its forward failed{where}: {reason}"
        ) from error
    for output in tree_leaves(outputs):
        tracer.fix(output)
    return tracer.result()


@contextmanager
def shapes_only(model: nn.Module) -> Iterator[None]:
    """Norms pass their input's shape on after a look at its width: arithmetic on shapes is what takes the time."""

    def forward_of(norm: nn.Module) -> Callable[[Tensor], Tensor]:
        width = next((p.numel() for p in (*norm.parameters(), *norm.buffers()) if p.dim()), None)

        def forward(x: Tensor) -> Tensor:
            if width is not None and width not in x.shape:
                raise ValueError(f"a norm of {width} channels got a map of shape {tuple(x.shape)}")
            return torch.empty_like(x)

        return forward

    norms = [module for module in model.modules() if isinstance(module, NORMS)]
    for norm in norms:
        norm.forward = forward_of(norm)
    try:
        yield
    finally:
        for norm in norms:
            del norm.forward


class _Tracer(TorchDispatchMode):
    """Carries the shadows. Layers are watched as wholes by hooks; everything between them operation by operation."""

    def __init__(self, model: nn.Module, name: str):
        super().__init__()
        self.model = model
        self.flow = ChannelFlow(name)
        self.layers: dict[str, TracedLayer] = {}
        self.vectors: dict[str, tuple[int, Tensor]] = {}
        self.inside_layer = 0

    def image(self, input_size: tuple[int, int, int]) -> Tensor:
        """An image whose channels are labelled as fixed."""
        image = torch.empty(1, *input_size, device="meta")
        self.flow.shadows[image] = torch.full((1, 1, 1, 1), FIXED).expand(image.shape)
        return image

    @contextmanager
    def watching(self) -> Iterator[None]:
        """Inside, every layer and every operation of the model is followed."""
        handles = []
        owned: set[int] = set()
        for name, module in self.model.named_modules():
            if isinstance(module, LAYERS) or type(module).__name__ in BLURS:
                owned.update(id(tensor) for tensor in (*module.parameters(), *module.buffers()))
                handles.append(module.register_forward_pre_hook(self._enter_layer, prepend=True))
                handles.append(module.register_forward_hook(self._leave_layer(name)))
            else:
                handles.append(module.register_forward_pre_hook(self._enter(name)))
                handles.append(module.register_forward_hook(self._leave))
        for name, tensor in (*self.model.named_parameters(), *self.model.named_buffers()):
            if id(tensor) not in owned:
                self._label_vector(name, tensor)
        try:
            with self:
                yield
        finally:
            for handle in handles:
                handle.remove()

    def _label_vector(self, name: str, tensor: Tensor) -> None:
        """A parameter outside layers (a layer scale, say) may follow channels along its one long dimension."""
        long = [dim for dim, size in enumerate(tensor.shape) if size > 1]
        if len(long) == 1:
            labels = self.flow.labels.fresh(tensor.numel())
            self.vectors[name] = (long[0], labels)
            self.flow.shadows[tensor] = labels.view(tensor.shape)
        elif long:
            self.flow.shadows[tensor] = torch.full([1] * tensor.dim(), FIXED).expand(tensor.shape)

    def result(self) -> Trace:
        """What was found, once the forward pass is over."""
        classes = self.flow.labels.classes()
        widths = classes.widths
        known = {int(c) for layer in self.layers.values() for c in widths[np.append(layer.inputs, layer.outputs)]}
        vectors = {
            name: (dim, labels.numpy())
            for name, (dim, labels) in self.vectors.items()
            if known.issuperset(widths[labels.numpy()].tolist())
        }
        in_layers = {id(p) for name in self.layers for p in self.model.get_submodule(name).parameters()}
        other = sum(
            p.numel() for name, p in self.model.named_parameters() if id(p) not in in_layers and name not in vectors
        )
        buffers = vectors.keys() & {name for name, _ in self.model.named_buffers()}
        return Trace(self.layers, vectors, frozenset(buffers), classes, other, self._interior_test(widths))

    def _interior_test(self, widths: Labels) -> Callable[[set[str], set[int]], bool]:
        """Channels are interior to a block if all that touches them lies in one block that is more than a container.

        A block within (DLA's trees, HRNet's modules) that adds to them makes them a residual stream all the same.
        """
        added = [(path, set(widths[labels.reshape(-1).numpy()].tolist())) for path, labels in self.flow.additions]

        def inner(layers: set[str], labels: set[int]) -> bool:
            common = _common_path(layers)
            parents = [".".join(common[:depth]) for depth in range(1, len(common) + 1)]
            if all(isinstance(self.model.get_submodule(name), CONTAINERS) for name in parents):
                return False
            block = parents[-1]
            return not any(path.startswith(f"{block}.") and not labels.isdisjoint(met) for path, met in added)

        return inner

    def fix(self, output: Any) -> None:
        """What the network puts out has widths that may not change: its classes."""
        if isinstance(output, Tensor) and output in self.flow.shadows:
            self.flow.labels.fix(compact(self.flow.shadows[output]))

    def _enter(self, name: str) -> Any:
        def hook(module: nn.Module, inputs: Any) -> None:
            self.flow.path.append(name)

        return hook

    def _leave(self, module: nn.Module, inputs: Any, output: Any) -> None:
        self.flow.path.pop()

    def _enter_layer(self, module: nn.Module, inputs: Any) -> None:
        self.inside_layer += 1

    def _leave_layer(self, name: str) -> Any:
        def hook(module: nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> None:
            self.inside_layer -= 1
            if self.inside_layer == 0:
                self.flow.shadows[output] = self._pass_layer(name, module, inputs[0], output)

        return hook

    def _pass_layer(self, name: str, module: nn.Module, x: Tensor, output: Tensor) -> Tensor:
        shadow = self.flow.shadows.get(x)
        if shadow is None:
            self.flow.refuse(name, "reads a tensor whose channels are not known")
        if isinstance(module, nn.Linear):
            dim = x.dim() - 1
        elif isinstance(module, nn.LayerNorm):
            dim = self._norm_dim(name, module, shadow)
        else:
            dim = 1
        inputs = self.flow.along(name, shadow, dim)
        outputs = inputs
        kind, groups, area = _kind(module)
        earlier = self.layers.get(name)
        if earlier is not None:  # a layer that is used twice
            self.flow.labels.tie(inputs, torch.from_numpy(earlier.inputs))
            outputs = torch.from_numpy(earlier.outputs)
        elif kind == "depthwise":
            outputs = inputs.repeat_interleave(output.shape[1] // len(inputs))
        elif kind in ("conv", "linear"):
            outputs = self._new_channels(output.shape[dim])
        positions = output.numel() // output.shape[dim]
        self.layers[name] = TracedLayer(
            name=name,
            kind=kind,
            inputs=inputs.numpy(),
            outputs=outputs.numpy(),
            groups=groups,
            weights_a_pair=area,
            vectors=sum(
                p.numel() == len(outputs) for p in module.parameters() if kind == "norm" or p is not module.weight
            ),
            positions=positions + (earlier.positions if earlier else 0),
        )
        shape = [1] * output.dim()
        shape[dim] = -1
        return outputs.view(shape).expand(output.shape)

    def _new_channels(self, count: int) -> Tensor:
        return self.flow.labels.fresh(count) if count > 1 else torch.full((1,), FIXED)

    def _norm_dim(self, name: str, module: nn.LayerNorm, shadow: Tensor) -> int:
        """timm's LayerNorm2d is a LayerNorm that works on dimension 1: the dimension with the labels tells."""
        (width,) = module.normalized_shape if len(module.normalized_shape) == 1 else (0,)
        dims = [dim for dim in varying(shadow) if shadow.shape[dim] == width]
        if len(dims) != 1:
            self.flow.refuse(name, "normalises over more than the channels")
        return dims[0]

    def __torch_dispatch__(self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        output = func(*args, **kwargs)
        if self.inside_layer:
            return output
        tensors = [leaf for leaf in tree_leaves((args, kwargs)) if isinstance(leaf, Tensor)]
        if any(tensor in self.flow.shadows for tensor in tensors):
            shadow = self.flow.follow(func, args, kwargs, output)
            for tensor, its_shadow in zip(as_list(output), as_list(shadow), strict=False):
                if isinstance(tensor, Tensor) and its_shadow is not None:
                    self.flow.shadows[tensor] = its_shadow
        return output


def _kind(module: nn.Module) -> tuple[str, int, int]:
    """A layer's kind, its groups and the weights of one pair of channels, as `TracedLayer` has them."""
    if isinstance(module, nn.Conv2d):
        # A convolution of one channel into one is a gate or a map, not a depthwise layer of width 1.
        depthwise = module.groups == module.in_channels and module.groups > 1
        return "depthwise" if depthwise else "conv", module.groups, math.prod(module.kernel_size)
    if isinstance(module, nn.Linear):
        return "linear", 1, 1
    if type(module).__name__ in BLURS:
        return "blur", 1, int(module.filt_size) ** 2
    return "norm", module.num_groups if isinstance(module, nn.GroupNorm) else 1, 0


def _common_path(names: set[str]) -> list[str]:
    """The parts of the path of the smallest module that holds all these layers."""
    paths = [name.split(".")[:-1] for name in names]
    return [parts[0] for parts in itertools.takewhile(lambda parts: len(set(parts)) == 1, zip(*paths, strict=False))]
