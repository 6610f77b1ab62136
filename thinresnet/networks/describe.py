"""A network held against its architecture: every group has a count that the architecture can take."""

from __future__ import annotations

import json
import math
import os
from collections.abc import Iterator, Mapping
from typing import Any

import timm

from thinresnet import base_width
from thinresnet.errors import InputError, nearest
from thinresnet.network import Network, check_input_size
from thinresnet.networks import architectures
from thinresnet.networks.blueprint import MOST_PARAMS, blueprint, default_input_size
from thinresnet.networks.thinresnet import own_counts, resolved

# What timm.create_model takes for itself: files, downloads, wrappers. None of it is a property of an architecture.
_NOT_KEYWORDS = frozenset(
    {
        "pretrained", "pretrained_cfg", "pretrained_cfg_overlay", "pretrained_strict", "pretrained_custom_load",
        "checkpoint_path", "cache_dir", "scriptable", "exportable", "no_jit", "features_only", "model_name", "device",
        "dtype", "in_chans", "width", "weights", "progress",
    }
)  # fmt: skip
# What this project's own functions take beside the keyword arguments of an architecture.
_OWN = frozenset(
    {
        "arch", "channels", "complete", "input_size", "interior", "growth", "resolution", "round_to", "scaling",
        "budgets", "macs", "params", "seed",
    }
)  # fmt: skip
# Beyond any network that was published, and still built and traced in seconds.
MOST_OF_A_NUMBER = 10**5  # classes, a width
MOST_BLOCKS = 1000  # of all stages together
MOST_NUMBERS = 1000


def describe(
    arch: str,
    *,
    channels: Mapping[str, int] | None = None,
    input_size: tuple[int, int, int] | None = None,
    complete: bool = False,
    **kwargs: Any,
) -> Network:
    """The network with these channel counts; groups that are not named keep those of `arch`.

    A count may be given under the name of any layer whose outputs are exactly one group. With `complete`, every group
    has to be named.
    """
    check_arch(arch)
    check_kwargs(arch, kwargs)
    input_size = default_input_size(arch) if input_size is None else check_input_size(input_size)
    name, (arch, kwargs) = arch, resolved(arch, kwargs)
    ties = blueprint(arch, kwargs, input_size).ties
    widths = own_counts(name, ties)
    named: dict[str, str] = {}
    for layer, count in (channels or {}).items():
        group = layer if layer in ties.groups else ties.aliases.get(layer)
        if group is None:
            known = [*ties.groups, *ties.aliases]
            raise InputError(f"channels: {arch} has no group {layer!r}{nearest(layer, known)}")
        if isinstance(count, bool) or not isinstance(count, int) or count < 1:
            raise InputError(f"channels: {layer!r} is {count!r}; a count is an integer of at least 1")
        if group in named and widths[group] != count:
            raise InputError(
                f"channels: {named[group]!r} ({widths[group]}) and {layer!r} ({count}) are tied; give them one count"
            )
        if count % ties.groups[group].multiple:
            multiple = ties.groups[group].multiple
            raise InputError(
                f"channels: {layer!r} is {count}; it has to be a multiple of {multiple} (grouped or split)"
            )
        widths[group], named[group] = count, layer
    if complete and (missing := [name for name in ties.groups if name not in named]):
        raise InputError(f"channels: no count for {missing[0]!r} (and {len(missing) - 1} more of {len(widths)} groups)")
    if ties.cost(widths)[1] > MOST_PARAMS:
        raise InputError(
            f"channels: {arch} would have {ties.cost(widths)[1]:.3g} parameters; at most {MOST_PARAMS:.3g}"
        )
    return Network(arch, dict(kwargs), input_size, widths)


def checked(network: Network, where: str) -> Network:
    """A network whose form is right, if it is one of its architecture too; `where` begins a refusal."""
    try:
        check_kwargs(network.arch, network.kwargs)  # first: their names must not be those of what `describe` takes
        return describe(
            network.arch,
            channels=network.channels,
            input_size=network.input_size,
            complete=True,
            **network.kwargs,
        )
    except InputError as error:
        raise InputError(f"{where}: {error}") from None


def read_network(path: str | os.PathLike[str]) -> Network:
    """The network of a file, or of a run folder's `network.json`, checked against its architecture."""
    return checked(Network.read(path), str(path))


def parse_network(text: str | bytes, where: str = "network JSON") -> Network:
    """The network of a JSON text, checked against its architecture; `where` names its source in messages."""
    return checked(Network.from_json(text, where), where)


def check_arch(arch: Any) -> None:
    """Refuse what is neither the plain name of a timm architecture (a hub address, say, would be fetched) nor the name
    of a network of the ThinResNet authors."""
    if isinstance(arch, str) and base_width.parse(arch) is not None:
        return
    base = str(arch).split(".")[0]
    if base != arch and timm.is_model(base):
        raise InputError(f"architecture {arch!r} names pretrained weights; the architecture is {base!r}")
    if not isinstance(arch, str) or not timm.is_model(arch):
        raise InputError(f"unknown architecture {arch!r:.80}{nearest(str(arch)[:80], _plain_names())}")
    if arch.startswith("thin_"):
        raise InputError(
            f"architecture {arch!r} is timm's name for a scaled network; here it is {arch[5:]!r} with a width"
        )


def _plain_names() -> list[str]:
    return [name for name in timm.list_models() if not name.startswith("thin_")]


def check_kwargs(arch: str, kwargs: Mapping[str, Any]) -> None:
    """Refuse keyword arguments that are not properties of an architecture, or that JSON does not hold."""
    for key, value in kwargs.items():
        if value is None:
            raise InputError(f"kwargs: {key!r} of {arch} is null, which timm takes for its default; leave it out")
        if key in _NOT_KEYWORDS or key in _OWN:
            raise InputError(f"kwargs: {key!r} is not a property of an architecture; leave it out")
        try:
            json.dumps(value, allow_nan=False)
        except (TypeError, ValueError, RecursionError):
            raise InputError(f"kwargs: {key!r} of {arch} is {value!r:.80}; allowed are JSON values") from None
        _check_size(arch, key, value)


def _check_size(arch: str, key: str, value: Any) -> None:
    """Refuse numbers by which a network would be too large to build, before anything is built."""
    numbers = list(_numbers(value))
    if len(numbers) > MOST_NUMBERS:
        raise InputError(f"kwargs: {key!r} of {arch} has {len(numbers)} numbers; at most {MOST_NUMBERS} are read")
    for number in numbers:
        if abs(number) > MOST_OF_A_NUMBER:
            raise InputError(f"kwargs: {key!r} of {arch} is {value!r:.80}; at most {MOST_OF_A_NUMBER} is built")
    if key in architectures.DEPTHS and isinstance(value, list):
        if not value or not all(type(count) is int and count >= 1 for count in value):
            raise InputError(f"kwargs: {key!r} of {arch} is {value!r:.80}; it has at least 1 block for each stage")
        if sum(value) > MOST_BLOCKS:
            raise InputError(f"kwargs: {key!r} of {arch} is {value!r:.80}: {sum(value)} blocks; at most {MOST_BLOCKS}")


def _numbers(value: Any) -> Iterator[float]:
    """Every number inside a JSON value."""
    if isinstance(value, (int, float)):
        yield value
    elif isinstance(value, (list, tuple, dict)):
        for inner in value.values() if isinstance(value, dict) else value:
            yield from _numbers(inner)


def check_factor(name: str, value: Any, largest: float = 16.0) -> float:
    """A scale factor, checked."""
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not math.isfinite(value):
        raise InputError(f"{name}: {value!r} is not a number")
    if not 0 < value <= largest:
        raise InputError(
            f"{name}: {value!r}; it is more than 0 and at most {largest:g} (1 is the architecture as it is)"
        )
    return float(value)
