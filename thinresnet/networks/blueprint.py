"""From channel counts to a real network: the architecture's own constructor, run at the thin shapes.

timm's constructors make their layers and then initialise them by rules that read each layer's own shape. So the thin
network is not cut from a wide one: its constructor runs again, and while it runs every layer that it makes is given the
channels that the network's description says. A convolution's spread then follows its own fan, whatever rule the
architecture uses, and nothing is drawn for channels that do not exist.
"""

from __future__ import annotations

import functools
import inspect
import json
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from typing import Any

import timm
import torch
from timm.layers.blur_pool import BlurPool2d
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from thinresnet.errors import InputError
from thinresnet.network import Network
from thinresnet.networks import hub
from thinresnet.networks.modes import evaluating
from thinresnet.networks.ties import Ties, find_ties
from thinresnet.networks.tracer import shapes_only

DEFAULT_SIDE_PX = 224
# A network beyond these is a typing error: it would fill the machine's memory, and its channels take minutes to follow.
MOST_PARAMS = 20 * 10**9
MOST_CHANNELS = 500_000  # of all layers together


@dataclass(frozen=True)
class Blueprint:
    """An architecture's ties, and which layer each layer construction makes (None: thrown away by the constructor)."""

    ties: Ties
    made: tuple[str | None, ...]


@dataclass(frozen=True)
class _Shape:
    inputs: int
    outputs: int
    depthwise: bool


def blueprint(arch: str, kwargs: Mapping[str, Any], input_size: tuple[int, int, int]) -> Blueprint:
    """The architecture's ties and the layers that its constructor makes. Cached: building one again is common."""
    return _blueprint(arch, json.dumps(dict(kwargs), sort_keys=True), input_size)


@functools.lru_cache(maxsize=64)
def _blueprint(arch: str, kwargs_json: str, input_size: tuple[int, int, int]) -> Blueprint:
    kwargs = json.loads(kwargs_json)
    with _watch_layers() as made:
        model = create(arch, kwargs, input_size, device="meta")
    _check_size(arch, model)
    names = {id(module): name for name, module in model.named_modules()}
    ties = find_ties(model, input_size, arch)
    return Blueprint(ties, tuple(names.get(id(layer)) for layer in made))


def _check_size(arch: str, model: nn.Module) -> None:
    """Refuse a network, which has no weights yet, that is too large to be traced."""
    params = sum(parameter.numel() for parameter in model.parameters())
    channels = sum(len(module.weight) for module in model.modules() if isinstance(module, (nn.Conv2d, nn.Linear)))
    for number, what, most in ((params, "parameters", MOST_PARAMS), (channels, "channels", MOST_CHANNELS)):
        if number > most:
            raise InputError(f"{arch} would have {number:.3g} {what} with these keyword arguments; at most {most:.3g}")


def default_input_size(arch: str) -> tuple[int, int, int]:
    """The input that the architecture was made for."""
    config = timm.get_pretrained_cfg(arch)
    channels, height, width = (config and config.input_size) or (3, DEFAULT_SIDE_PX, DEFAULT_SIDE_PX)
    return channels, height, width


_DRAWING = frozenset(
    {Tensor.normal_, Tensor.uniform_}
    | {getattr(nn.init, name) for name in dir(nn.init) if name.endswith(("normal_", "uniform_"))}
)


class _Undrawn(TorchFunctionMode):
    """Initial weights are not drawn: where there are shapes only, torch takes as long for it as for all the rest."""

    def __torch_function__(self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Any = None) -> Any:
        given = kwargs or {}
        if func in _DRAWING:
            return args[0] if args else given["tensor"]
        return func(*args, **given)


def create(arch: str, kwargs: Mapping[str, Any], input_size: tuple[int, int, int] | None, device: str) -> nn.Module:
    """timm's constructor, with what it refuses told in one line."""
    options = dict(kwargs)
    if input_size is not None and input_size[0] != 3:
        options["in_chans"] = input_size[0]
    try:
        with torch.device(device), _Undrawn() if device == "meta" else nullcontext():
            return timm.create_model(arch, pretrained=False, **options)
    except (
        TypeError,
        ValueError,
        AssertionError,
        KeyError,
        RuntimeError,
        IndexError,
        AttributeError,
        ArithmeticError,
    ) as error:
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        given = f" with {json.dumps(options)}" if options else ""
        raise InputError(f"{arch} cannot be made{given}: {reason}") from error


def construct(network: Network, device: str = "cpu") -> nn.Module:
    """A freshly initialised network of these channel counts; proven to run before it is handed out."""
    plan = blueprint(network.arch, network.kwargs, network.input_size)
    known, model = network.sha256, None
    if known not in _PROVEN:
        model = _construct_on(plan, network, "meta")
        _PROVEN[known] = _prove(network, model)
    if model is None or device != "meta":
        model = _construct_on(plan, network, device)
    facts = _PROVEN[known]
    for name in ("num_features", "head_hidden_size"):
        if name in facts.widths and isinstance(getattr(model, name, None), int):
            setattr(model, name, facts.widths[name])
    for info in _feature_info(model):
        if info["module"] in facts.feature_widths:
            info["num_chs"] = facts.feature_widths[info["module"]]
    is_dense = dict(network.channels) == plan.ties.dense_widths()
    hub.tell_timm(model, network, network.arch if is_dense else hub.ENTRYPOINT)
    return model


@dataclass(frozen=True)
class _Facts:
    """What a network's attributes say about its channels, for whoever replaces its classifier or reads its features."""

    widths: dict[str, int]
    feature_widths: dict[str, int]


_PROVEN: dict[str, _Facts] = {}  # by the network's hash


def _prove(network: Network, model: nn.Module) -> _Facts:
    """Run a network on shapes alone: what does not run is refused here. The model is as new afterwards."""
    seen: dict[str, int] = {}

    def note(name: str) -> Callable[..., None]:
        def hook(module: nn.Module, inputs: Any, output: Any) -> None:
            if isinstance(output, Tensor) and output.dim() == 4:
                seen[name] = output.shape[1]

        return hook

    handles = [
        model.get_submodule(info["module"]).register_forward_hook(note(info["module"])) for info in _feature_info(model)
    ]
    image = torch.empty(1, *network.input_size, device="meta")
    try:
        with evaluating(model), shapes_only(model):
            features = model.forward_features(image) if hasattr(model, "forward_features") else None
            model(image) if features is None else model.forward_head(features)
    except Exception as error:
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise InputError(
            f"{network.arch} cannot be served: it does not run at these channel counts ({reason})"
        ) from error
    finally:
        for handle in handles:
            handle.remove()
    widths: dict[str, int] = {}
    classifier = model.get_classifier() if hasattr(model, "get_classifier") else None
    if isinstance(features, Tensor) and features.dim() == 4:
        widths["num_features"] = features.shape[1]
    if isinstance(classifier, nn.Linear):
        widths["head_hidden_size"] = classifier.in_features
    return _Facts(widths, seen)


def _construct_on(plan: Blueprint, network: Network, device: str) -> nn.Module:
    widths = dict(network.channels)
    shapes = [_shape(plan.ties, name, widths) for name in plan.made]
    with _shape_layers(shapes):
        model = create(network.arch, network.kwargs, network.input_size, device)
    for name, (dim, _) in plan.ties.vectors.items():
        _resize_vector(model, name, dim, plan.ties.length((name, "vector"), widths))
    for module in model.modules():
        follow = _FOLLOW.get(type(module).__name__)
        if follow is not None:
            follow(module)
    return model


def _shape(ties: Ties, name: str | None, widths: dict[str, int]) -> _Shape | None:
    if name is None or name not in ties.layers:
        return None
    layer = ties.layers[name]
    outputs = ties.length((name, "out"), widths)
    inputs = outputs if layer.kind in ("norm", "blur") else ties.length((name, "in"), widths)
    return _Shape(inputs, outputs, layer.kind == "depthwise")


# Constructors under watch -------------------------------------------------------------------------------------------

_Arguments = dict[str, Any]


def _shape_conv(arguments: _Arguments, shape: _Shape) -> None:
    arguments.update(in_channels=shape.inputs, out_channels=shape.outputs)
    if shape.depthwise:
        arguments["groups"] = shape.inputs


_SHAPERS: dict[type, Callable[[_Arguments, _Shape], None]] = {
    nn.Conv2d: _shape_conv,
    nn.Linear: lambda arguments, shape: arguments.update(in_features=shape.inputs, out_features=shape.outputs),
    nn.modules.batchnorm._NormBase: lambda arguments, shape: arguments.update(num_features=shape.outputs),
    nn.LayerNorm: lambda arguments, shape: arguments.update(normalized_shape=shape.outputs),
    nn.GroupNorm: lambda arguments, shape: arguments.update(num_channels=shape.outputs),
    BlurPool2d: lambda arguments, shape: arguments.update(channels=arguments["channels"] and shape.outputs),
}
_CONSTRUCTING = threading.RLock()


@contextmanager
def _hooked(on_layer: Callable[[nn.Module, type, _Arguments], None]) -> Iterator[None]:
    """Call `on_layer(layer, class, arguments)` for every layer that this thread makes, before it is made."""
    originals = {kind: kind.__init__ for kind in _SHAPERS}  # type: ignore[misc]  # they are put back below
    thread = threading.get_ident()

    def hooked(kind: type, original: Callable[..., None]) -> Callable[..., None]:
        signature = inspect.signature(original)

        @functools.wraps(original)
        def init(self: nn.Module, *args: Any, **kwargs: Any) -> None:
            if threading.get_ident() != thread:
                return original(self, *args, **kwargs)
            bound = signature.bind(self, *args, **kwargs)
            bound.apply_defaults()
            on_layer(self, kind, bound.arguments)
            return original(*bound.args, **bound.kwargs)

        return init

    with _CONSTRUCTING:
        try:
            for kind, original in originals.items():
                kind.__init__ = hooked(kind, original)  # type: ignore[misc]
            yield
        finally:
            for kind, original in originals.items():
                kind.__init__ = original  # type: ignore[misc]


@contextmanager
def _watch_layers() -> Iterator[list[nn.Module]]:
    """The layers made inside the block, in order."""
    made: list[nn.Module] = []
    with _hooked(lambda layer, kind, arguments: made.append(layer)):
        yield made


@contextmanager
def _shape_layers(shapes: list[_Shape | None]) -> Iterator[None]:
    """Give the n-th layer made inside the block the n-th shape."""
    waiting = iter(shapes)

    def on_layer(layer: nn.Module, kind: type, arguments: _Arguments) -> None:
        shape = next(waiting)
        if shape is not None:
            _SHAPERS[kind](arguments, shape)

    with _hooked(on_layer):
        yield


# What else in a network knows its channels --------------------------------------------------------------------------


def _resize_vector(model: nn.Module, name: str, dim: int, length: int) -> None:
    """Parameters outside layers (layer scales, say) start at one value everywhere, so that they can be cut or grown."""
    path, _, attribute = name.rpartition(".")
    owner = model.get_submodule(path)
    old: Tensor = getattr(owner, attribute)
    if old.shape[dim] == length:
        return
    first = old.narrow(dim, 0, 1)
    if not old.is_meta and not bool((old == first).all()):
        raise InputError(f"{name} is initialised with different values along its channels; its width cannot be changed")
    sizes = [length if d == dim else -1 for d in range(old.dim())]
    new = first.detach().expand(sizes).clone()
    if isinstance(old, nn.Parameter):
        setattr(owner, attribute, nn.Parameter(new, requires_grad=old.requires_grad))
    else:
        owner.register_buffer(attribute, new, persistent=attribute not in owner._non_persistent_buffers_set)


def _follow_bottle2neck(module: Any) -> None:
    module.width = module.convs[0].in_channels


def _follow_mixed_conv(module: Any) -> None:
    convs = list(module.values())
    module.splits = [conv.in_channels for conv in convs]
    module.in_channels, module.out_channels = sum(module.splits), sum(conv.out_channels for conv in convs)


def _follow_ghost(module: Any) -> None:
    module.out_chs = module.primary_conv[0].out_channels + module.cheap_operation[0].out_channels


def _follow_rexnet(module: Any) -> None:
    first = next(conv for conv in module.modules() if isinstance(conv, nn.Conv2d))
    module.in_channels, module.out_channels = first.in_channels, module.conv_pwl.conv.out_channels


def _follow_cross_stage(module: Any) -> None:
    if hasattr(module.conv_exp, "conv"):
        module.expand_chs = module.conv_exp.conv.out_channels


def _follow_selective_kernel(module: Any) -> None:
    module.in_channels = (
        sum(path.conv.in_channels for path in module.paths)
        if module.split_input
        else (module.paths[0].conv.in_channels)
    )
    module.out_channels = module.paths[0].conv.out_channels


def _follow_head(module: Any) -> None:
    if isinstance(module.fc, nn.Linear):
        module.in_features = module.fc.in_features


def _follow_norm_mlp_head(module: Any) -> None:
    module.in_features = module.norm.weight.shape[0] if module.norm.weight is not None else module.in_features
    if isinstance(module.fc, nn.Linear):
        module.num_features = module.fc.in_features


# timm's blocks that keep channel counts as numbers and cut their maps by them.
_FOLLOW: dict[str, Callable[[Any], None]] = {
    "Bottle2neck": _follow_bottle2neck,
    "DlaBottle2neck": _follow_bottle2neck,
    "MixedConv2d": _follow_mixed_conv,
    "GhostModule": _follow_ghost,
    "LinearBottleneck": _follow_rexnet,
    "CrossStage": _follow_cross_stage,
    "CrossStage3": _follow_cross_stage,
    "SelectiveKernel": _follow_selective_kernel,
    "ClassifierHead": _follow_head,
    "NormMlpClassifierHead": _follow_norm_mlp_head,
}


def _feature_info(model: nn.Module) -> list[dict[str, Any]]:
    infos = getattr(model, "feature_info", None)
    names = {name for name, _ in model.named_modules()}
    return [info for info in infos if info.get("module") in names] if isinstance(infos, list) else []
