"""Foreign weights: a state dict that other code wrote, read without running any of it, mapped onto a network here.

Owns which files are read and how, the rules by which other code's names become ours, and reading off which network the
weights are of. Nothing is unpickled but tensors (`weights_only=True`); what does not fit is refused by layer and shape.
"""

from __future__ import annotations

import os
import pickle
import re
import warnings
import zipfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import timm
import torch
from torch import Tensor, nn

from thinresnet import base_width
from thinresnet.errors import InputError, nearest
from thinresnet.files import check_regular
from thinresnet.network import Network
from thinresnet.networks import store
from thinresnet.networks.blueprint import construct
from thinresnet.networks.describe import check_arch, check_kwargs, describe
from thinresnet.networks.store import check_fit, network_of_shapes, read_weights, shapes_of

LARGEST_BYTES = 2 << 30
# Where a checkpoint keeps a state dict, the first that it has; a moving average before the weights, as in timm.
_STATES = ("state_dict_ema", "model_ema", "ema_state_dict", "state_dict", "model_state_dict", "model", "net")
_WRAPPERS = ("module.", "_orig_mod.", "model.")
# What stands beside the weights: torch's count of averaged models, and what thop leaves behind.
_NOT_WEIGHTS = re.compile(r"(.*\.)?(n_averaged|total_ops|total_params)")
_COUNTER = "num_batches_tracked"
_LAYER = re.compile(r"layer([1-4])\.([0-9]{1,3})\.")
BY_ORDER = "by order and shape"


@dataclass(frozen=True)
class Rule:
    """How some code's names become ours, and what its networks are by keyword that no weight tells."""

    name: str
    pairs: tuple[tuple[str, str], ...] = ()
    kwargs: Mapping[str, Any] = field(default_factory=dict)

    def renamed(self, name: str) -> str:
        for pattern, replacement in self.pairs:
            name = re.sub(pattern, replacement, name)
        return name


RULES = (
    Rule("names as they are here"),
    Rule("the ThinResNet authors' names", ((r"^embed\.0\.", "conv1."), (r"^embed\.1\.", "bn1."))),
    Rule("pytorch_resnet_cifar10's names", ((r"^linear\.", "fc."),), {"shortcut": "A-strided"}),
    Rule("shortcut and linear", ((r"^linear\.", "fc."), (r"\.shortcut\.", ".downsample."))),
)


@dataclass(frozen=True)
class Foreign:
    """The tensors of a file by the names that they have there, without prefixes of wrappers."""

    path: Path
    state: dict[str, Tensor]
    inside: str  # the key of the checkpoint that held them; empty where the file is the state dict


@dataclass(frozen=True)
class Adopted:
    """Foreign weights as weights of a network here."""

    network: Network
    state: dict[str, Tensor]
    names: dict[str, str]  # theirs -> ours
    rule: str


def read_state(path: Path, key: str | None = None, *, trust: bool = False) -> Foreign:
    """The state dict of a file: safetensors, a PyTorch state dict, or a checkpoint that holds one (under `key`).

    With `trust` a file that holds a whole pickled model is unpickled, which runs whatever code the file names; only a
    person who knows where it comes from may say so.
    """
    content = _read(path, trust=trust)
    inside = ""
    if key is not None:
        if key not in content:
            raise InputError(f"{path}: no key {key!r:.60}{nearest(key, map(str, content))}; it has {_listed(content)}")
        inside, content = key, content[key]
    elif found := next((name for name in _STATES if isinstance(content.get(name), Mapping)), None):
        inside, content = found, content[found]
    if not isinstance(content, Mapping) or not any(isinstance(value, Tensor) for value in content.values()):
        raise InputError(
            f"{path}: no state dict in it; name the key that holds one with --key (it has {_listed(content)})"
        )
    return Foreign(path, _unwrapped(path, content), inside)


def adopt(
    foreign: Foreign,
    arch: str | None = None,
    *,
    num_classes: int | None = None,
    input_size: tuple[int, int, int] | None = None,
    **kwargs: Any,
) -> Adopted:
    """The network that foreign weights are of, and the weights under its names.

    `arch` is a network's name (its counts must then fit) or an architecture's (its counts are then read off); without
    one the families of `RULES` are recognised by their layers. `num_classes` refuses another classifier.
    """
    where = str(foreign.path)
    arch = recognised(foreign) if arch is None else arch
    check_arch(arch)
    check_kwargs(arch, kwargs)
    names, options, rule = _mapping(foreign, arch, kwargs)
    state = {names[name]: tensor for name, tensor in foreign.state.items() if name in names}
    options["num_classes"] = _classes(where, arch, state, num_classes)
    shapes = shapes_of(state)
    if base_width.parse(arch) is None:
        for name in _counters(arch, options):
            shapes.setdefault(name, ())
        network = network_of_shapes(shapes, arch, where, input_size=input_size, **options)
    else:
        network = describe(arch, input_size=input_size, **options)
    state = _completed(network, state)
    check_fit(network, shapes_of(state), where)
    _check_values(where, state)
    return Adopted(network, state, names, rule)


def load_weights(model: nn.Module, network: Network, path: str | os.PathLike[str]) -> None:
    """Put the weights of a file into a model of `network`: safetensors, or a state dict as other code writes it.

    A file that does not fit changes nothing.
    """
    file = Path(path)
    if file.suffix == ".safetensors":
        store.load_weights(model, network, file)
        return
    adopted = adopt(read_state(file), network.arch, input_size=network.input_size, **network.kwargs)
    if adopted.rule == BY_ORDER:
        raise InputError(
            f"{file}: no rule knows the names of its layers; thinresnet import {file} --arch {network.arch} pairs them "
            "by order and shape, for you to look at, and writes a run folder to use instead"
        )
    for group, count in network.channels.items():
        if (found := adopted.network.channels[group]) != count:
            raise InputError(f"{file}: {group} has {found} channels; the network has {count}")
    model.load_state_dict(adopted.state)


def described(path: Path, arch: str | None) -> Network:
    """The network that the weights in a file are of; `arch` where its layers do not tell."""
    return adopt(read_state(path), arch).network


def recognised(foreign: Foreign) -> str:
    """The network or architecture of weights whose family is told by their names and layers."""
    state = foreign.state
    stages: dict[int, int] = {}
    for name in state:
        if layer := _LAYER.match(name):
            stage, block = int(layer[1]), int(layer[2])
            stages[stage] = max(stages.get(stage, 0), block + 1)
    blocks = [stages[stage] for stage in sorted(stages)]
    stem = state.get("embed.0.weight", state.get("conv1.weight"))
    if stem is not None and stem.dim() == 4 and blocks:
        bottlenecks = "layer1.0.conv3.weight" in state
        kernel = stem.shape[-1]
        network = base_width.of_structure(blocks, 16, bottlenecks=bottlenecks, stem_px=kernel)
        if "embed.0.weight" in state and network is not None:
            network = base_width.of_structure(blocks, len(stem), bottlenecks=bottlenecks, stem_px=kernel)
            if network is not None:
                return network.name
        elif network is not None and network.cifar:
            return network.arch
    raise InputError(f"{foreign.path}: its layers do not tell which network it is; name it with --arch")


# Reading ------------------------------------------------------------------------------------------------------------


def _read(path: Path, *, trust: bool) -> Mapping[Any, Any]:
    """What is in the file: tensors and plain values only, unless the user trusts it."""
    check_regular(path)
    try:
        size = path.stat().st_size
        with path.open("rb") as file:
            head = file.read(16)
    except OSError as error:
        raise InputError(f"{path}: cannot be read: {error.strerror}") from None
    if size > LARGEST_BYTES:
        raise InputError(f"{path}: {size:,} bytes; weights are read up to {LARGEST_BYTES:,}")
    if head[8:9] == b"{":
        return read_weights(path)
    if head[:2] != b"PK" and head[:1] != b"\x80":
        raise InputError(f"{path}: neither safetensors nor a PyTorch state dict")
    _check_unpacked(path, head)
    try:
        with warnings.catch_warnings():  # of other pickle protocols: what cannot be read is refused below
            warnings.simplefilter("ignore")
            content = torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        if trust:
            return _unpickled(path)
        named = re.search(r"(?:GLOBAL|global) ([\w.]+)", str(error))
        what = f" ({named[1]})" if named else ""
        raise InputError(
            f"{path}: damaged, or a pickle of more than tensors{what}, which would run the code that it names; ask for "
            "its state dict or for safetensors, or, if you know who made it, give thinresnet import --trust"
        ) from None
    except Exception as error:  # torch raises many kinds for a damaged file
        reason = " ".join(str(error).split())[:120]
        raise InputError(f"{path}: a damaged or truncated file ({reason})") from None
    if not isinstance(content, Mapping):
        raise InputError(f"{path}: holds a {type(content).__name__}; a state dict is a mapping of names to tensors")
    return content


def _unpickled(path: Path) -> Mapping[Any, Any]:
    """The state dicts of a trusted pickle: of a model, or of a checkpoint with models in it."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            content = torch.load(path, map_location="cpu", weights_only=False)
    except (ImportError, AttributeError) as error:
        reason = " ".join(str(error).split())[:120]
        raise InputError(f"{path}: needs the code that wrote it ({reason}); put that on PYTHONPATH") from None
    except Exception as error:  # a stranger's code may raise anything
        reason = " ".join(str(error).split())[:120]
        raise InputError(f"{path}: cannot be unpickled ({type(error).__name__}: {reason})") from None
    if isinstance(content, nn.Module):
        return dict(content.state_dict())
    if not isinstance(content, Mapping):
        raise InputError(f"{path}: holds a {type(content).__name__}; neither a model nor a state dict")
    return {name: value.state_dict() if isinstance(value, nn.Module) else value for name, value in content.items()}


def _check_unpacked(path: Path, head: bytes) -> None:
    """Refuse an archive that would unpack to more than is read, or that is cut off."""
    if head[:2] != b"PK":
        return
    try:
        with zipfile.ZipFile(path) as archive:
            unpacked = sum(member.file_size for member in archive.infolist())
    except (zipfile.BadZipFile, OSError, ValueError, NotImplementedError) as error:
        raise InputError(f"{path}: a damaged or truncated file ({error})") from None
    if unpacked > LARGEST_BYTES:
        raise InputError(f"{path}: unpacks to {unpacked:,} bytes; weights are read up to {LARGEST_BYTES:,}")


def _unwrapped(path: Path, content: Mapping[Any, Any]) -> dict[str, Tensor]:
    state: dict[str, Tensor] = {}
    for name, value in content.items():
        if isinstance(name, str) and _NOT_WEIGHTS.fullmatch(name):
            continue
        if not isinstance(name, str) or not isinstance(value, Tensor):
            raise InputError(f"{path}: {name!r:.60} is a {type(value).__name__}; a state dict holds tensors by name")
        if value.layout != torch.strided or value.device.type != "cpu" or value.is_quantized:
            raise InputError(f"{path}: {name} is sparse, quantised or without values; save it dense")
        if not value.is_floating_point() and not name.endswith(_COUNTER):
            raise InputError(f"{path}: {name} is of type {value.dtype}; weights are floating-point numbers")
        state[name] = value
    while prefix := next((one for one in _WRAPPERS if all(name.startswith(one) for name in state)), None):
        state = {name.removeprefix(prefix): value for name, value in state.items()}
    return state


def _listed(content: Any) -> str:
    names = [str(name) for name in content][:6] if isinstance(content, Mapping) else []
    return f"{', '.join(f'{name:.40}' for name in names)}{', …' if len(names) == 6 else ''}" or "nothing"


# Mapping ------------------------------------------------------------------------------------------------------------


def _mapping(foreign: Foreign, arch: str, kwargs: Mapping[str, Any]) -> tuple[dict[str, str], dict[str, Any], str]:
    """Their names to ours, the keyword arguments that go with them, and by which rule."""
    theirs = {name for name in foreign.state if not name.endswith(_COUNTER)}
    for rule in RULES:
        renamed = {name: rule.renamed(name) for name in foreign.state}
        for options in _options(arch, kwargs, rule):
            if {renamed[name] for name in theirs} == set(_weights(arch, options)) and len(set(renamed.values())) == len(
                renamed
            ):
                return renamed, options, rule.name
    for options in _options(arch, kwargs, RULES[0]):
        if names := _by_order(foreign.state, arch, options):
            return names, options, BY_ORDER
    raise InputError(_differences(foreign, arch, kwargs))


def _options(arch: str, kwargs: Mapping[str, Any], rule: Rule) -> Iterator[dict[str, Any]]:
    """Keyword arguments to try: those given, and the shortcuts of a ResNet for CIFAR where none is given."""
    given = dict(kwargs)
    for_cifar = arch.startswith("resnet") and arch.endswith("_cifar") and "shortcut" not in kwargs
    if not for_cifar:
        yield given
        return
    yield {**given, **rule.kwargs}
    yield {**given, "shortcut": "B"}


def _weights(arch: str, options: Mapping[str, Any]) -> dict[str, tuple[int, ...]]:
    """Names and shapes of what a network of this architecture learns and measures, in its order."""
    return {name: shape for name, shape in _all(arch, options).items() if not name.endswith(_COUNTER)}


def _counters(arch: str, options: Mapping[str, Any]) -> list[str]:
    return [name for name in _all(arch, options) if name.endswith(_COUNTER)]


def _all(arch: str, options: Mapping[str, Any]) -> dict[str, tuple[int, ...]]:
    return shapes_of(construct(describe(arch, **options), device="meta").state_dict())


def _by_order(state: Mapping[str, Tensor], arch: str, options: Mapping[str, Any]) -> dict[str, str] | None:
    """The n-th tensor there is the n-th here, if their numbers of dimensions agree all along."""
    theirs = [name for name in state if not name.endswith(_COUNTER)]
    ours = _weights(arch, options)
    if len(theirs) != len(ours):
        return None
    pairs = dict(zip(theirs, ours, strict=True))
    return pairs if all(state[a].dim() == len(ours[b]) for a, b in pairs.items()) else None


def _differences(foreign: Foreign, arch: str, kwargs: Mapping[str, Any]) -> str:
    """Why no rule makes these the weights of that architecture, by the rule that comes nearest."""
    theirs = [name for name in foreign.state if not name.endswith(_COUNTER)]
    best: tuple[list[str], list[str], int] | None = None
    for rule in RULES:
        for options in _options(arch, kwargs, rule):
            ours = _weights(arch, options)
            renamed = {rule.renamed(name) for name in theirs}
            missing = [name for name in ours if name not in renamed]
            strange = [name for name in theirs if rule.renamed(name) not in ours]
            if best is None or len(missing) + len(strange) < len(best[0]) + len(best[1]):
                best = missing, strange, len(ours)
    assert best is not None
    missing, strange, total = best
    parts = [f"{len(missing)} of its {total} tensors are missing ({missing[0]})"] if missing else []
    parts += [f"{len(strange)} are not its own ({strange[0]:.60})"] if strange else []
    return f"{foreign.path}: not weights of {arch}: {' and '.join(parts)}"


def _classes(where: str, arch: str, state: Mapping[str, Tensor], wanted: int | None) -> int:
    """The number of classes that the classifier has; refused if it has to be another."""
    config = timm.get_pretrained_cfg(arch)
    classifier = str((config and config.classifier) or "fc")
    weight = state.get(f"{classifier}.weight")
    if weight is None or weight.dim() == 0:
        raise InputError(f"{where}: no classifier ({classifier}.weight): the number of classes is not known")
    if wanted not in (None, len(weight)):
        raise InputError(f"{where}: the classifier ({classifier}) has {len(weight)} outputs, not {wanted}")
    return len(weight)


def _completed(network: Network, state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The state in single precision and in the network's order, with counters of batches that older files lack."""
    ours = construct(network, device="meta").state_dict()
    full = {name: tensor.float() if tensor.is_floating_point() else tensor for name, tensor in state.items()}
    for name, tensor in ours.items():
        if name.endswith(_COUNTER):
            full.setdefault(name, torch.zeros(tensor.shape, dtype=tensor.dtype))
    order = {name: place for place, name in enumerate(ours)}
    return {name: full[name] for name in sorted(full, key=lambda name: order.get(name, len(order)))}


def _check_values(where: str, state: Mapping[str, Tensor]) -> None:
    for name, tensor in state.items():
        if bad := int((~torch.isfinite(tensor)).sum()):
            raise InputError(f"{where}: {name} has {bad} of {tensor.numel()} values that are not finite numbers")
