"""Which channels of a network belong together, found by following every channel through one forward pass.

The network runs once on the meta device: shapes, no numbers. Beside each tensor goes a *shadow* of the same shape that
holds, instead of values, the label of the channel that each element belongs to. A layer that makes new channels hands
out fresh labels; an operation that moves elements (cat, split, slice, permute, reshape …) moves the shadow the same
way; an operation that combines elements one by one (an addition, a gate) ties the labels that meet. What is tied in
the end has one width, and every dimension of every parameter is a known mix of widths. Nothing here knows an
architecture; what the rules do not cover is refused by name.

Torch-Pruning's dependency graph answers the same question from autograd's graph. It gives the same groups where it
works (a test compares them), but loses track in splits, shuffles and partial sums (Res2Net, GhostNet, MixNet, DLA,
ReXNet, ShuffleNet), which is why the groups are found here.
"""

from __future__ import annotations

import itertools
import math
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves, tree_map_only
from torch.utils.weak import WeakIdKeyDictionary

from thinresnet.budget import Costs
from thinresnet.errors import InputError

Labels = np.ndarray[Any, np.dtype[np.int64]]
Role = tuple[str, str]  # (layer, 'in' | 'out') or (parameter, 'vector'): a dimension that follows channels

NORMS = (nn.modules.batchnorm._NormBase, nn.LayerNorm, nn.GroupNorm)
LAYERS = (nn.Conv2d, nn.Linear, *NORMS)
# A filter of fixed weights, one a channel: told by its name because timm and others each have their own class.
BLURS = ("BlurPool2d",)
CONTAINERS = (nn.Sequential, nn.ModuleList, nn.ModuleDict)

FREE = 0  # belongs to no channel: padding, constants
FIXED = 1  # belongs to a width that may not change: the image's colours, the classes, a map of one channel


@dataclass(frozen=True)
class Layer:
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
class Group:
    """Channels that have one width. `name` is the first layer that makes them; `width` counts them in that layer."""

    name: str
    width: int
    unit: int  # how many of the naming layer's channels stand for one tied channel (2 where two halves are tied)
    multiple: int  # the width is a multiple of this (the number of groups of a grouped convolution)
    layers: tuple[str, ...]  # every layer that makes, normalises or filters these channels
    interior: bool  # inside one block: the residual stream does not carry it


class Ties:
    """The groups of a network and the shape of every layer as a function of their widths."""

    def __init__(
        self,
        layers: dict[str, Layer],
        vectors: dict[str, tuple[int, Labels]],
        labels: Found,
        other_params: int,
        inner: Callable[[set[str], set[int]], bool],
    ):
        self.layers = layers
        self.vectors = vectors  # parameters outside layers that follow channels: name -> (dimension, labels)
        self.labels = labels
        self.owners: dict[int, str] = {}  # the group of each width
        self._other_params = other_params
        self.groups: dict[str, Group] = {}
        self._uses: dict[Role, tuple[int, Counter[str]]] = {}
        self._name_groups(inner)
        # A layer whose outputs are one whole group may stand for that group.
        self.aliases = {layer: name for layer in layers if (name := self._whole(layer)) is not None}

    def roles(self) -> Iterator[tuple[Role, Labels]]:
        """Every dimension that follows channels, with the width that each of its positions belongs to."""
        return self._roles(self.labels.widths)

    def identities(self) -> Iterator[tuple[Role, Labels]]:
        """Every dimension that follows channels, with the channel that stands at each of its positions."""
        return self._roles(self.labels.channels)

    def _roles(self, classes: Labels) -> Iterator[tuple[Role, Labels]]:
        for layer in self.layers.values():
            if layer.kind in ("conv", "depthwise", "linear"):
                yield (layer.name, "in"), classes[layer.inputs]
            yield (layer.name, "out"), classes[layer.outputs]
        for name, (_, labels) in self.vectors.items():
            yield (name, "vector"), classes[labels]

    def length(self, role: Role, widths: Mapping[str, int]) -> int:
        """How long the dimension is when the groups have these widths."""
        fixed, uses = self._uses[role]
        return fixed + sum(times * (widths[name] // self.groups[name].unit) for name, times in uses.items())

    def dense_widths(self) -> dict[str, int]:
        return {name: group.width for name, group in self.groups.items()}

    def uses(self, role: Role) -> tuple[int, Counter[str]]:
        """The fixed part of a dimension and how often each group's tied channel stands in it."""
        return self._uses[role]

    def cost(self, widths: Mapping[str, int]) -> Costs:
        """MACs and parameters at these widths in closed form, for search; `count` measures the built network."""
        macs, params = 0, self._other_params
        for layer in self.layers.values():
            outputs = self.length((layer.name, "out"), widths)
            params += outputs * layer.vectors
            if layer.kind == "blur":
                macs += outputs * layer.weights_a_pair * layer.positions
            elif layer.kind != "norm":
                inputs = self.length((layer.name, "in"), widths)
                groups = inputs if layer.kind == "depthwise" else layer.groups
                weights = inputs * outputs // groups * layer.weights_a_pair
                macs += weights * layer.positions
                params += weights
        params += sum(self.length((name, "vector"), widths) for name in self.vectors)
        return Costs(macs, params)

    def _name_groups(self, inner: Callable[[set[str], set[int]], bool]) -> None:
        roles = list(self.roles())
        standing: dict[int, list[tuple[int, int]]] = {}  # of a label: in which roles it stands, and how often
        for index, (_, labels) in enumerate(roles):
            for label, times in zip(*np.unique(labels, return_counts=True), strict=True):
                if label > FIXED:
                    standing.setdefault(int(label), []).append((index, int(times)))
        alike: dict[tuple[tuple[int, int], ...], list[int]] = {}
        for one, uses in standing.items():
            alike.setdefault(tuple(uses), []).append(one)

        def maker(signature: tuple[tuple[int, int], ...]) -> tuple[int, int]:
            """The first layer that makes the channels, or else whatever they stand in first."""
            return next((use for use in signature if roles[use[0]][0][1] == "out"), signature[0])

        owner = self.owners
        for signature, members in sorted(alike.items(), key=lambda item: (maker(item[0])[0], min(item[1]))):
            index, unit = maker(signature)
            layer = roles[index][0][0]
            whole = len(members) * unit == len(roles[index][1])
            parts = list(dict.fromkeys(tuple(standing.get(int(label), ())) for label in roles[index][1]))
            name = layer if whole else f"{layer}[{parts.index(signature)}]"
            touched = [roles[index][0] for index, _ in signature]
            self.groups[name] = Group(
                name=name,
                width=len(members) * unit,
                unit=unit,
                multiple=unit * math.lcm(*(self._divisor(*roles[index][0], times) for index, times in signature)),
                layers=tuple(dict.fromkeys(layer for layer, side in touched if side == "out")),
                interior=inner({layer for layer, _ in touched}, set(members)),
            )
            owner.update(dict.fromkeys(members, name))
        for role, labels in roles:
            positions = Counter(owner[int(label)] for label in labels if int(label) in owner)
            times = {name: n * self.groups[name].unit // self.groups[name].width for name, n in positions.items()}
            self._uses[role] = (len(labels) - positions.total(), Counter(times))

    def _divisor(self, layer: str, side: str, times: int) -> int:
        """What the number of tied channels must be a multiple of for a grouped layer to stay valid."""
        if side == "vector" or self.layers[layer].kind == "depthwise":
            return 1
        groups = self.layers[layer].groups
        return groups // math.gcd(groups, times)

    def _whole(self, layer: str) -> str | None:
        """The group that makes up all outputs of a layer one to one, if there is such a group."""
        fixed, uses = self._uses[layer, "out"]
        if fixed or len(uses) != 1:
            return None
        ((name, times),) = uses.items()
        return name if times == self.groups[name].unit else None


def find_ties(model: nn.Module, input_size: tuple[int, int, int], name: str) -> Ties:
    """Follow the channels of `model`, which lies on the meta device, through a forward pass on one image.

    `name` is what error messages call the network. The model's mode is restored.
    """
    tracer = _Tracer(model, name)
    modes = {module: module.training for module in model.modules()}
    model.eval()
    try:
        with torch.no_grad(), shapes_only(model), tracer.watching():
            outputs = model(tracer.image(input_size))
    except InputError:
        raise
    except Exception as error:  # whatever a forward raises on an image of this size, or a shape rule does not foresee
        where = f" in {tracer.path[-1]}" if tracer.path else ""
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise InputError(
            f"{name} cannot be served at input size {input_size}: its forward failed{where}: {reason}"
        ) from error
    finally:
        for module, mode in modes.items():
            module.training = mode
    for output in tree_leaves(outputs):
        tracer.fix(output)
    return tracer.result()


@dataclass(frozen=True)
class Found:
    """What is known of every label in the end."""

    widths: Labels  # equal: there are as many of the one as of the other
    channels: Labels  # equal: they are the same channel
    parts: tuple[tuple[Labels, ...], ...]  # what is cut into parts of one width: the labels of each part
    lost: frozenset[int]  # widths that went through a channel shuffle: which channel came out where is not known


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


class _Labels:
    """Labels and two relations between them: the same channel, and channels of one width (a coarser relation)."""

    def __init__(self) -> None:
        self._same = [FREE, FIXED]
        self._width = [FREE, FIXED]
        self._parts: list[list[Tensor]] = []
        self._shuffled: list[Tensor] = []

    def fresh(self, count: int) -> Tensor:
        first = len(self._same)
        self._same.extend(range(first, first + count))
        self._width.extend(range(first, first + count))
        return torch.arange(first, first + count)

    def tie(self, one: Tensor, other: Tensor) -> bool:
        """These are the same channel; whether that is news."""
        news = [_join(self._same, a, b) | _join(self._width, a, b) for a, b in _pairs(one, other)]
        return any(news)

    def tie_parts(self, parts: Sequence[Tensor]) -> None:
        """There are as many channels in each of these parts."""
        for part in parts[1:]:
            for a, b in _pairs(parts[0], part):
                _join(self._width, a, b)
        self._parts.append([part.reshape(-1) for part in parts])

    def shuffle(self, parts: Sequence[Tensor]) -> list[Tensor]:
        """New labels for what comes out of a channel shuffle: of the same width, of unknown identity."""
        fresh = [self.fresh(len(part)) for part in parts]
        self.tie_parts([*parts, *fresh])
        self._shuffled += fresh
        return fresh

    def fix(self, labels: Tensor) -> None:
        self.tie(labels, torch.full_like(labels, FIXED))

    def found(self) -> Found:
        widths, channels = (
            np.array([_root(parents, label) for label in range(len(parents))]) for parents in (self._width, self._same)
        )
        return Found(
            widths=widths,
            channels=channels,
            parts=tuple(tuple(part.numpy() for part in parts) for parts in self._parts),
            lost=frozenset(int(width) for part in self._shuffled for width in widths[part.numpy()]),
        )


def _pairs(one: Tensor, other: Tensor) -> list[tuple[int, int]]:
    pairs = torch.stack([one.reshape(-1), other.reshape(-1)], 1)
    pairs = pairs[(pairs[:, 0] != pairs[:, 1]) & (pairs != FREE).all(1)]
    return [(a, b) for a, b in torch.unique(pairs, dim=0).tolist()] if len(pairs) else []


def _root(parents: list[int], label: int) -> int:
    while parents[label] != label:
        parents[label] = parents[parents[label]]
        label = parents[label]
    return label


def _join(parents: list[int], a: int, b: int) -> bool:
    a, b = _root(parents, a), _root(parents, b)
    # The smaller label stays the root, so that FIXED wins and names follow the order of the forward pass.
    parents[max(a, b)] = min(a, b)
    return a != b


_MOVING = {  # the shadow goes through the same operation
    "permute", "transpose", "t", "unsqueeze", "squeeze", "slice", "select", "cat", "stack", "unbind", "flip", "roll",
    "repeat", "narrow", "index_select", "movedim", "split", "split_with_sizes", "pixel_shuffle", "pixel_unshuffle",
}  # fmt: skip
_KEEPING = {  # the shadow stays as it is
    "clone", "contiguous", "detach", "alias", "_to_copy", "lift_fresh", "_softmax", "_log_softmax", "softmax",
    "native_dropout", "dropout", "hardswish", "threshold", "_prelu_kernel", "copy", "cumsum", "bernoulli",
}  # fmt: skip
_RESHAPING = {"view", "_unsafe_view", "reshape", "_reshape_alias", "expand", "flatten", "unflatten", "view_as"}
_REDUCING = {"mean", "sum", "amax", "amin", "var", "std", "var_mean", "max", "logsumexp", "linalg_vector_norm", "norm"}
_POOLING = {
    "avg_pool2d", "max_pool2d_with_indices", "max_pool2d", "_adaptive_avg_pool2d", "adaptive_avg_pool2d",
    "adaptive_max_pool2d", "upsample_nearest2d", "upsample_bilinear2d", "upsample_bicubic2d",
    "_upsample_nearest_exact2d", "reflection_pad2d", "replication_pad2d", "im2col",
}  # fmt: skip
_MULTIPLYING = {"mm", "bmm", "matmul", "addmm", "baddbmm", "_scaled_dot_product_attention_math"}


class _Tracer(TorchDispatchMode):
    """Carries the shadows. Layers are watched as wholes by hooks; everything between them operation by operation."""

    def __init__(self, model: nn.Module, name: str):
        super().__init__()
        self.model = model
        self.name = name
        self.labels = _Labels()
        self.shadows: WeakIdKeyDictionary = WeakIdKeyDictionary()
        self.layers: dict[str, Layer] = {}
        self.vectors: dict[str, tuple[int, Tensor]] = {}
        self.additions: list[tuple[str, Tensor]] = []  # where two maps are added, and which channels
        self.inside_layer = 0
        self.path: list[str] = []

    # Setting up ------------------------------------------------------------------------------------------------

    def image(self, input_size: tuple[int, int, int]) -> Tensor:
        image = torch.empty(1, *input_size, device="meta")
        self.shadows[image] = torch.full((1, 1, 1, 1), FIXED).expand(image.shape)
        return image

    @contextmanager
    def watching(self) -> Iterator[None]:
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
            labels = self.labels.fresh(tensor.numel())
            self.vectors[name] = (long[0], labels)
            self.shadows[tensor] = labels.view(tensor.shape)
        elif long:
            self.shadows[tensor] = torch.full([1] * tensor.dim(), FIXED).expand(tensor.shape)

    def result(self) -> Ties:
        found = self.labels.found()
        classes = found.widths
        known = {int(c) for layer in self.layers.values() for c in classes[np.append(layer.inputs, layer.outputs)]}
        vectors = {
            name: (dim, labels.numpy())
            for name, (dim, labels) in self.vectors.items()
            if known.issuperset(classes[labels.numpy()].tolist())
        }
        in_layers = {id(p) for name in self.layers for p in self.model.get_submodule(name).parameters()}
        other = sum(
            p.numel() for name, p in self.model.named_parameters() if id(p) not in in_layers and name not in vectors
        )
        return Ties(self.layers, vectors, found, other, self._interior_test(classes))

    def _interior_test(self, classes: Labels) -> Callable[[set[str], set[int]], bool]:
        """Channels are interior to a block if all that touches them lies in one block that is more than a container.

        A block within (DLA's trees, HRNet's modules) that adds to them makes them a residual stream all the same.
        """
        added = [(path, set(classes[labels.reshape(-1).numpy()].tolist())) for path, labels in self.additions]

        def inner(layers: set[str], labels: set[int]) -> bool:
            common = _common_path(layers)
            parents = [".".join(common[:depth]) for depth in range(1, len(common) + 1)]
            if all(isinstance(self.model.get_submodule(name), CONTAINERS) for name in parents):
                return False
            block = parents[-1]
            return not any(path.startswith(f"{block}.") and not labels.isdisjoint(met) for path, met in added)

        return inner

    def fix(self, output: Any) -> None:
        if isinstance(output, Tensor) and output in self.shadows:
            self.labels.fix(_compact(self.shadows[output]))

    # Layers ----------------------------------------------------------------------------------------------------

    def _enter(self, name: str) -> Any:
        def hook(module: nn.Module, inputs: Any) -> None:
            self.path.append(name)

        return hook

    def _leave(self, module: nn.Module, inputs: Any, output: Any) -> None:
        self.path.pop()

    def _enter_layer(self, module: nn.Module, inputs: Any) -> None:
        self.inside_layer += 1

    def _leave_layer(self, name: str) -> Any:
        def hook(module: nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> None:
            self.inside_layer -= 1
            if self.inside_layer == 0:
                self.shadows[output] = self._pass_layer(name, module, inputs[0], output)

        return hook

    def _pass_layer(self, name: str, module: nn.Module, x: Tensor, output: Tensor) -> Tensor:
        shadow = self.shadows.get(x)
        if shadow is None:
            self._refuse(name, "reads a tensor whose channels are not known")
        if isinstance(module, nn.Linear):
            dim = x.dim() - 1
        elif isinstance(module, nn.LayerNorm):
            dim = self._norm_dim(name, module, shadow)
        else:
            dim = 1
        inputs = self._along(name, shadow, dim)
        outputs = inputs
        kind, groups, area = "norm", 1, 0
        if isinstance(module, nn.Conv2d):
            groups, area = module.groups, math.prod(module.kernel_size)
            # A convolution of one channel into one is a gate or a map, not a depthwise layer of width 1.
            kind = "depthwise" if groups == module.in_channels and groups > 1 else "conv"
        elif isinstance(module, nn.Linear):
            kind, area = "linear", 1
        elif isinstance(module, nn.GroupNorm):
            groups = module.num_groups
        elif type(module).__name__ in BLURS:
            kind, area = "blur", module.filt_size**2
        earlier = self.layers.get(name)
        if earlier is not None:  # a layer that is used twice
            self.labels.tie(inputs, torch.from_numpy(earlier.inputs))
            outputs = torch.from_numpy(earlier.outputs)
        elif kind == "depthwise":
            outputs = inputs.repeat_interleave(output.shape[1] // len(inputs))
        elif kind in ("conv", "linear"):
            outputs = self._new_channels(output.shape[dim])
        positions = output.numel() // output.shape[dim]
        self.layers[name] = Layer(
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
        return self.labels.fresh(count) if count > 1 else torch.full((1,), FIXED)

    def _norm_dim(self, name: str, module: nn.LayerNorm, shadow: Tensor) -> int:
        """timm's LayerNorm2d is a LayerNorm that works on dimension 1: the dimension with the labels tells."""
        (width,) = module.normalized_shape if len(module.normalized_shape) == 1 else (0,)
        dims = [dim for dim in _varying(shadow) if shadow.shape[dim] == width]
        if len(dims) != 1:
            self._refuse(name, "normalises over more than the channels")
        return dims[0]

    def _along(self, name: str, shadow: Tensor, dim: int) -> Tensor:
        """The labels along a dimension, which must not depend on the others."""
        if any(other != dim for other in _varying(shadow)):
            self._refuse(name, "what it reads differs in its channels from place to place (tokens, mixed maps)")
        index: list[Any] = [0] * shadow.dim()
        index[dim] = slice(None)
        return shadow[tuple(index)].clone()

    # Operations between layers -----------------------------------------------------------------------------------

    def __torch_dispatch__(self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        output = func(*args, **kwargs)
        if self.inside_layer:
            return output
        tensors = [leaf for leaf in tree_leaves((args, kwargs)) if isinstance(leaf, Tensor)]
        if any(tensor in self.shadows for tensor in tensors):
            shadow = self._follow(func, args, kwargs, output)
            for tensor, its_shadow in zip(_as_list(output), _as_list(shadow), strict=False):
                if isinstance(tensor, Tensor) and its_shadow is not None:
                    self.shadows[tensor] = its_shadow
        return output

    def _follow(self, func: Any, args: tuple[Any, ...], kwargs: Any, output: Any) -> Any:
        op = func.overloadpacket.__name__
        op = op[:-1] if op.endswith("_") else op
        first = args[0] if isinstance(args[0], Tensor) else None
        shadow = self.shadows.get(first) if first is not None else None
        if op in _MOVING:
            return self._move(func, op, args, kwargs)
        if torch.Tag.pointwise in func.tags:
            tensors = [leaf for leaf in tree_leaves((args, kwargs)) if isinstance(leaf, Tensor)]
            return self._meet(tensors, output, adds=op in ("add", "sub"))
        if op in _MULTIPLYING:
            return self._contract(op, args, output)
        if shadow is None:
            return None
        if op in _KEEPING:
            return [shadow if t.shape == shadow.shape else None for t in _as_list(output)]
        if op in _RESHAPING:
            return self._reshape(shadow, output)
        if op in _REDUCING:
            return [self._reduce(op, shadow, args, kwargs, t) for t in _as_list(output)]
        if op in _POOLING:
            return [self._pool(op, shadow, t) for t in _as_list(output)]
        if op == "constant_pad_nd":
            return self._pad(shadow, args[1], output)
        if op == "convolution":
            return self._convolve(args, shadow, output)
        if not any(isinstance(leaf, Tensor) for leaf in tree_leaves(output)):
            return None
        return self._refuse(None, f"the operation {op!r} combines channels in a way that is not known here")

    def _move(self, func: Any, op: str, args: tuple[Any, ...], kwargs: Any) -> Any:
        def shadow_of(tensor: Tensor) -> Tensor:
            found = self.shadows.get(tensor)
            return torch.full([1] * tensor.dim(), FREE).expand(tensor.shape) if found is None else found

        moved = func(*tree_map_only(Tensor, shadow_of, args), **tree_map_only(Tensor, shadow_of, kwargs))
        if op in ("split", "split_with_sizes"):
            self._tie_equal_parts(args[2] if len(args) > 2 else kwargs.get("dim", 0), moved)
        return moved

    def _tie_equal_parts(self, dim: int, parts: Sequence[Tensor]) -> None:
        """A split into equal parts is written with one size or one count: the parts stay equal."""
        if len({part.shape[dim] for part in parts}) == 1 and dim % parts[0].dim() in _varying(
            torch.cat(list(parts), dim)
        ):
            self.labels.tie_parts([_compact(part) for part in parts])

    def _meet(self, tensors: list[Tensor], output: Tensor, adds: bool) -> Tensor | None:
        """Element by element: what meets is the same channel. A map of one channel gates the others untied."""
        shadows = [self.shadows[tensor] for tensor in tensors if tensor in self.shadows]
        full = [_match(shadow, output.dim()) for shadow in shadows]
        varying = {dim for shadow in full for dim in _varying(shadow)}
        meeting = [shadow for shadow in full if not varying or any(shadow.shape[dim] > 1 for dim in varying)]
        broadcast = torch.broadcast_tensors(*[_compact(shadow) for shadow in meeting])
        met = [self.labels.tie(broadcast[0], other) for other in broadcast[1:]]
        maps = [t for t in tensors if t in self.shadows and not isinstance(t, nn.Parameter)]
        if adds and len(maps) > 1 and any(met):
            self.additions.append((self.path[-1], broadcast[0]))
        result = broadcast[0]
        for other in broadcast[1:]:  # padding is no channel: what it meets stays what it is
            result = torch.where(result == FREE, other, result)
        return result.expand(output.shape)

    def _reshape(self, shadow: Tensor, output: Tensor) -> Tensor:
        reshaped = shadow.reshape(output.shape) if shadow.numel() == output.numel() else shadow.expand(output.shape)
        for before, after in _regrouped(shadow.shape, output.shape):
            varying_before = [dim for dim in before if dim in _varying(shadow)]
            varying_after = [dim for dim in after if dim in _varying(reshaped)]
            if len(varying_before) == 1 and len(varying_after) == 2:
                self._tie_rows(reshaped, varying_after)
            elif len(varying_before) == 2 and len(varying_after) == 1:
                rows, columns = varying_before
                if shadow.shape[columns] < shadow.shape[rows] and not _in_order(shadow, rows, columns):
                    reshaped = self._shuffle(shadow, rows, columns, output, varying_after[0])
        return reshaped

    def _tie_rows(self, shadow: Tensor, dims: list[int]) -> None:
        """`[c]` seen as `[k, c / k]`, k fixed in the code and the smaller of the two: the k rows have one width."""
        fixed = min(dims, key=lambda dim: shadow.shape[dim])
        self.labels.tie_parts(_compact(shadow).unbind(fixed))

    def _shuffle(self, shadow: Tensor, rows: int, columns: int, output: Tensor, dim: int) -> Tensor:
        """`[c / k, k]` seen as `[c]`: a channel shuffle, which deals the k parts out in turn.

        What comes out is k parts of the width that went in; which channel went where is known for one width only, so
        that the new parts keep the width and lose the identity.
        """
        parts = [self._along("a channel shuffle", part, rows) for part in shadow.split(1, columns)]
        fresh = self.labels.shuffle(parts)
        shape = [1] * output.dim()
        shape[dim] = -1
        return torch.cat(fresh).view(shape).expand(output.shape)

    def _reduce(self, op: str, shadow: Tensor, args: tuple[Any, ...], kwargs: Any, output: Tensor) -> Tensor:
        place = 2 if op in ("norm", "linalg_vector_norm") else 1  # of the dimensions among the arguments
        dims = kwargs.get("dim", args[place] if len(args) > place else None)
        if dims is None or dims == []:
            dims = list(range(shadow.dim()))
        dims = [dim % shadow.dim() for dim in ([dims] if isinstance(dims, int) else dims)]
        varying = _varying(shadow)
        for dim in sorted(dims, reverse=True):
            if dim not in varying:
                rest = shadow.narrow(dim, 0, 1)
            elif len(varying) > 1:  # branches stacked beside the channels and summed over
                branches = shadow.split(1, dim)
                for other in branches[1:]:
                    self.labels.tie(_compact(branches[0]), _compact(other))
                rest = branches[0]
            else:  # a sum over the channels themselves belongs to none of them
                rest = torch.full_like(shadow.narrow(dim, 0, 1), FREE)
            shadow = rest if output.dim() == rest.dim() else rest.squeeze(dim)
        return shadow.expand(output.shape)

    def _pool(self, op: str, shadow: Tensor, output: Tensor) -> Tensor:
        if output.dim() != shadow.dim() or output.shape[:2] != shadow.shape[:2] or {2, 3} & set(_varying(shadow)):
            self._refuse(None, f"the operation {op!r} moves channels")
        return shadow[..., :1, :1].expand(output.shape)

    def _pad(self, shadow: Tensor, pads: Sequence[int], output: Tensor) -> Tensor:
        varying = _varying(shadow)
        padded = [0] * len(pads)
        for i in range(len(pads) // 2):
            dim = shadow.dim() - 1 - i
            if dim in varying or (dim == 1 and shadow.shape[dim] == 1):
                padded[2 * i : 2 * i + 2] = pads[2 * i : 2 * i + 2]
            else:
                shadow = shadow.narrow(dim, 0, 1).expand(
                    *[output.shape[dim] if d == dim else -1 for d in range(shadow.dim())]
                )
        return nn.functional.pad(_stretchable(shadow), padded, value=FREE).expand(output.shape)

    def _convolve(self, args: tuple[Any, ...], shadow: Tensor, output: Tensor) -> Tensor:
        """A convolution that is no layer: one along the channels (ECA), whose weights know no channel."""
        x, weight = args[0], args[1]
        if weight.shape[:2] == (1, 1) and x.shape == output.shape and x.shape[1] == 1:
            return shadow
        return self._refuse(None, "a convolution whose weights are not those of a layer")

    def _contract(self, op: str, args: tuple[Any, ...], output: Tensor) -> Tensor | None:
        """A product that sums over places, not channels: pooling with weights. Any other mixes channels."""
        left, right = args[-2:] if op in ("addmm", "baddbmm") else args[:2]
        one, other = self.shadows.get(left), self.shadows.get(right)
        one = torch.full([1] * left.dim(), FREE).expand(left.shape) if one is None else one
        other = torch.full([1] * right.dim(), FREE).expand(right.shape) if other is None else other
        summed_one, summed_other = one.dim() - 1, max(other.dim() - 2, 0)
        if op == "_scaled_dot_product_attention_math" or summed_one in _varying(one) or summed_other in _varying(other):
            self._refuse(None, f"{op!r} mixes channels by weights that depend on the image (attention)")
        if _varying(one) and _varying(other):
            self._refuse(None, f"{op!r} multiplies channels with channels (attention)")
        if _varying(one):
            return one.narrow(summed_one, 0, 1).expand(output.shape)
        return other.narrow(summed_other, 0, 1).expand(output.shape)

    def _refuse(self, layer: str | None, reason: str) -> Any:
        where = layer or (self.path[-1] if self.path and self.path[-1] else "the network's forward")
        raise InputError(f"{self.name} cannot be served: in {where}, {reason}")


def _common_path(names: set[str]) -> list[str]:
    """The parts of the path of the smallest module that holds all these layers."""
    paths = [name.split(".")[:-1] for name in names]
    return [parts[0] for parts in itertools.takewhile(lambda parts: len(set(parts)) == 1, zip(*paths, strict=False))]


# Shadows ---------------------------------------------------------------------------------------------------------


def _as_list(value: Any) -> list[Any]:
    return list(value) if isinstance(value, (list, tuple)) else [value]


def _stretchable(shadow: Tensor) -> Tensor:
    return shadow if shadow.is_contiguous() else shadow.contiguous()


def _varying(shadow: Tensor) -> list[int]:
    """The dimensions along which the label changes."""
    return [
        dim
        for dim in range(shadow.dim())
        if shadow.shape[dim] > 1
        and shadow.stride(dim) != 0
        and bool((_thin(shadow, dim) != _thin(shadow, dim).narrow(dim, 0, 1)).any())
    ]


def _thin(shadow: Tensor, keep: int) -> Tensor:
    """The same labels with every broadcast dimension but one reduced to its first element."""
    for dim in range(shadow.dim()):
        if dim != keep and shadow.stride(dim) == 0 and shadow.shape[dim] > 1:
            shadow = shadow.narrow(dim, 0, 1)
    return shadow


def _compact(shadow: Tensor) -> Tensor:
    """The labels with every dimension along which they do not change reduced to one element."""
    varying = _varying(shadow)
    for dim in range(shadow.dim()):
        if dim not in varying and shadow.shape[dim] > 1:
            shadow = shadow.narrow(dim, 0, 1)
    return shadow


def _match(shadow: Tensor, dims: int) -> Tensor:
    """Leading dimensions of one element, as broadcasting adds them."""
    return shadow.reshape((1,) * (dims - shadow.dim()) + tuple(shadow.shape)) if shadow.dim() < dims else shadow


def _regrouped(before: Sequence[int], after: Sequence[int]) -> Iterator[tuple[list[int], list[int]]]:
    """The smallest runs of dimensions that a reshape turns into each other."""
    if math.prod(before) != math.prod(after):
        return
    i = j = 0
    while i < len(before) or j < len(after):
        left, right = [i], [j]
        size_left = before[i] if i < len(before) else 1
        size_right = after[j] if j < len(after) else 1
        i, j = i + 1, j + 1
        while size_left != size_right:
            if size_left < size_right:
                size_left *= before[i]
                left.append(i)
                i += 1
            else:
                size_right *= after[j]
                right.append(j)
                j += 1
        yield [d for d in left if d < len(before)], [d for d in right if d < len(after)]


def _in_order(shadow: Tensor, rows: int, columns: int) -> bool:
    """Whether the labels, read along rows and columns, come in runs: then the reshape deals nothing out in turn."""
    labels = _compact(shadow)
    return bool((labels.narrow(columns, 0, 1) == labels).all().item())
