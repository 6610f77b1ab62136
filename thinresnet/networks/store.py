"""Networks on disk: `network.json` beside `model.safetensors`, and reading the shape off a model that exists.

Weights are safetensors: nothing is unpickled. What does not fit is refused before anything is changed.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import safetensors
import timm
from safetensors.torch import load_file
from safetensors.torch import save as serialized
from torch import Tensor, nn

from thinresnet.errors import InputError
from thinresnet.files import check_regular, write_atomically
from thinresnet.network import Network, check_input_size
from thinresnet.networks.blueprint import blueprint, construct, default_input_size
from thinresnet.networks.describe import check_arch, check_kwargs, describe, read_network
from thinresnet.networks.thinresnet import resolved
from thinresnet.networks.ties import Role, Ties
from thinresnet.runs import NETWORK_FILE, WEIGHTS_FILE


def save(folder: str | os.PathLike[str], network: Network, model: nn.Module, weights: str = WEIGHTS_FILE) -> Path:
    """Write `network.json` and the weights, and return the folder; the model has to be of that network."""
    state = _plain(model).state_dict()
    check_fit(network, shapes_of(state), "the model")
    write_atomically(Path(folder) / NETWORK_FILE, network.to_json())
    # safetensors' own file writer says a full disk in words of its own; bytes fail as any other file does.
    content = serialized({name: tensor.detach().cpu().contiguous() for name, tensor in state.items()})
    write_atomically(Path(folder) / weights, content)
    return Path(folder)


def load(folder: str | os.PathLike[str], weights: str = WEIGHTS_FILE) -> tuple[Network, nn.Module]:
    """The network of a folder and the model with its weights: the same logits as the one that was saved."""
    network = read_network(folder)
    model = construct(network)
    load_weights(model, network, Path(folder) / weights)
    return network, model


def load_weights(model: nn.Module, network: Network, path: str | os.PathLike[str]) -> None:
    """Put a safetensors file into a model of `network`; a file that does not fit changes nothing."""
    state = read_weights(path)
    check_fit(network, shapes_of(state), str(path))
    _check_types(_plain(model).state_dict(), state, str(path))
    _plain(model).load_state_dict(state)


def _check_types(expected: Mapping[str, Tensor], found: Mapping[str, Tensor], where: str) -> None:
    """Refuse weights that torch would cast without a word: integers, booleans, complex numbers."""
    for name, tensor in expected.items():
        if tensor.is_floating_point() != found[name].is_floating_point() or found[name].is_complex():
            wanted = "floating-point numbers" if tensor.is_floating_point() else "integers"
            got = str(found[name].dtype).removeprefix("torch.")
            raise InputError(f"{where}: {name} holds {got}; it takes {wanted}")


def read_weights(path: str | os.PathLike[str]) -> dict[str, Tensor]:
    """The tensors of a safetensors file."""
    check_regular(path)
    try:
        return dict(load_file(path))
    except OSError as error:
        raise InputError(f"{path}: cannot be read: {error.strerror or error}") from None
    except (safetensors.SafetensorError, ValueError, KeyError) as error:
        raise InputError(
            f"{path}: not a safetensors file, or a damaged one ({error}); pickled weights are not read"
        ) from None


def read_off(
    model: nn.Module,
    arch: str | None = None,
    *,
    input_size: tuple[int, int, int] | None = None,
    **kwargs: Any,
) -> Network:
    """The network of a timm model that some tool has already pruned, whatever tool it was.

    The counts come from the shapes of the weights. `arch` and `kwargs` are needed only where the model's own
    configuration does not tell them. A model whose shapes no channel counts explain (gathered or masked channels,
    dropped blocks) is refused.
    """
    model = _plain(model)
    config = getattr(model, "pretrained_cfg", None) or {}
    arch = arch or getattr(model, "thin_arch", None) or config.get("architecture")
    if arch is None:
        raise InputError(f"read_off: say which architecture this {type(model).__name__} was made from")
    check_arch(arch)
    classes = getattr(model, "num_classes", None)
    known = timm.get_pretrained_cfg(resolved(arch, {})[0])
    if isinstance(classes, int) and classes != (known.num_classes if known else None):
        kwargs = {"num_classes": classes, **kwargs}
    check_kwargs(arch, kwargs)
    return network_of_shapes(shapes_of(model.state_dict()), arch, "the model", input_size=input_size, **kwargs)


def network_of_shapes(
    shapes: Mapping[str, tuple[int, ...]],
    arch: str,
    where: str,
    *,
    input_size: tuple[int, int, int] | None = None,
    **kwargs: Any,
) -> Network:
    """The network whose weights have these shapes; `where` names their source in a refusal."""
    size = check_input_size(input_size) if input_size else default_input_size(arch)
    arch, kwargs = resolved(arch, kwargs)
    ties = blueprint(arch, kwargs, size).ties
    network = describe(arch, channels=_solve(arch, ties, _lengths(ties, shapes), where), input_size=size, **kwargs)
    check_fit(network, shapes, where)
    return network


def _lengths(ties: Ties, shapes: Mapping[str, tuple[int, ...]]) -> dict[Role, int]:
    """How long each dimension that follows channels is in these weights."""
    lengths: dict[Role, int] = {}
    for role, _ in ties.roles():
        name, side = role
        if side == "vector":
            shape = shapes.get(name)
            lengths |= {role: shape[ties.vectors[name][0]]} if shape and len(shape) > ties.vectors[name][0] else {}
            continue
        layer, shape = ties.layers[name], shapes.get(f"{name}.weight")
        if not shape:
            if layer.kind in ("conv", "depthwise", "linear"):
                known = ", ".join(sorted(shapes)[:3])
                raise InputError(
                    f"read_off: the model has no {name}.weight, as the architecture has ({len(shapes)} tensors, among "
                    f"them {known or 'none'}): it is made of other layers, or by another library"
                )
            continue  # a norm without scale: its layer tells the same
        if side == "out":
            lengths[role] = shape[0]
        elif layer.kind == "depthwise":
            lengths[role] = shape[0] * len(layer.inputs) // len(layer.outputs)
        elif len(shape) > 1:
            lengths[role] = shape[1] * layer.groups
    return lengths


def _solve(arch: str, ties: Ties, lengths: Mapping[Role, int], where: str) -> dict[str, int]:
    """Channel counts from lengths: each length is a known sum of them, and there are more lengths than counts."""
    names = list(ties.groups)
    rows, sums, roles = [], [], list(lengths)
    for role in roles:
        fixed, uses = ties.uses(role)
        rows.append([uses[name] for name in names])
        sums.append(lengths[role] - fixed)
    matrix, right = np.array(rows, dtype=float), np.array(sums, dtype=float)
    found = np.rint(np.linalg.lstsq(matrix, right, rcond=None)[0]) if names else np.zeros(0)
    wrong = np.flatnonzero(matrix @ found != right)
    if len(wrong):
        name, side = roles[int(wrong[0])]
        raise InputError(
            f"{where}: no channel counts of {arch} explain it: {name} has {lengths[name, side]} "
            f"{'inputs' if side == 'in' else 'outputs'}, against what is tied to it"
        )
    return {name: int(count) * ties.groups[name].unit for name, count in zip(names, found, strict=True)}


def _plain(model: nn.Module) -> nn.Module:
    """The model inside what torch.compile or a data-parallel wrapper made of it."""
    model = getattr(model, "_orig_mod", model)
    wrapped = getattr(model, "module", None)
    return (
        _plain(wrapped) if isinstance(wrapped, nn.Module) and type(model).__name__.endswith("DataParallel") else model
    )


def check_fit(network: Network, shapes: Mapping[str, tuple[int, ...]], where: str) -> None:
    """Refuse weights whose names or shapes are not those of the network, naming the first that is not."""
    expected = shapes_of(construct(network, device="meta").state_dict())
    for name, shape in expected.items():
        if name not in shapes:
            raise InputError(f"{where}: {name} is missing; {network.arch} of these channel counts has it")
        if shapes[name] != shape:
            raise InputError(f"{where}: {name} has shape {shapes[name]}; the network's channel counts make it {shape}")
    for name in shapes:
        if name not in expected:
            raise InputError(f"{where}: {name} is not part of {network.arch}")


def shapes_of(state: Mapping[str, Tensor]) -> dict[str, tuple[int, ...]]:
    return {name: tuple(tensor.shape) for name, tensor in state.items()}
