"""What a network is here: a timm architecture and the channel count of every group of tied channels.

One JSON describes any network, one function builds it. The description is complete (every group is listed), so that it
means the same network tomorrow; it is checked against the architecture's groups before anything is built from it.
"""

from __future__ import annotations

import hashlib
import json
import math
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from thinresnet.errors import InputError, nearest

if TYPE_CHECKING:
    from torch import nn

FORMAT = 1
LARGEST_JSON_BYTES = 4 << 20
LARGEST_SIDE_PX = 4096
# A network of more parameters than this is a slip of the keyboard, and would fill the machine's memory.
MOST_PARAMS = 20 * 10**9
# What timm.create_model takes for itself: files, downloads, wrappers. None of it is a property of an architecture.
_NOT_KEYWORDS = frozenset(
    {
        "pretrained", "pretrained_cfg", "pretrained_cfg_overlay", "pretrained_strict", "pretrained_custom_load",
        "checkpoint_path", "cache_dir", "scriptable", "exportable", "no_jit", "features_only", "model_name", "device",
        "dtype", "in_chans", "width", "weights", "progress",
    }
)  # fmt: skip


@dataclass(frozen=True)
class Network:
    """An architecture by timm's name, its keyword arguments, its input (channels, height, width) and channel counts.

    `channels` maps the name of each group (the first layer that makes its channels) to that layer's count.
    """

    arch: str
    kwargs: Mapping[str, Any]
    input_size: tuple[int, int, int]
    channels: Mapping[str, int]

    def to_json(self) -> str:
        """Canonical text: equal networks give equal bytes."""
        content = {
            "format": FORMAT,
            "arch": self.arch,
            "kwargs": dict(sorted(self.kwargs.items())),
            "input_size": list(self.input_size),
            "channels": dict(self.channels),
        }
        return json.dumps(content, indent=1) + "\n"

    @property
    def sha256(self) -> str:
        return hashlib.sha256(self.to_json().encode()).hexdigest()

    @classmethod
    def from_json(cls, text: str | bytes, where: str = "network JSON") -> Network:
        """Read and check a description; `where` names its source in messages."""
        if len(text) > LARGEST_JSON_BYTES:
            raise InputError(f"{where}: {len(text)} bytes; a network's description has at most {LARGEST_JSON_BYTES}")
        try:
            content = json.loads(text, object_pairs_hook=_no_twins, parse_constant=_no_constant)
        except (ValueError, RecursionError) as error:
            raise InputError(f"{where}: not valid JSON: {error or 'nested too deeply'}") from None
        fields = ("format", "arch", "kwargs", "input_size", "channels")
        if not isinstance(content, dict):
            raise InputError(f"{where}: a network is an object with the keys {', '.join(fields)}")
        for key in content:
            if key not in fields:
                raise InputError(f"{where}: unknown key {key!r}{nearest(key, fields)} (allowed: {', '.join(fields)})")
        for key in fields:
            if key not in content:
                raise InputError(f"{where}: the key {key!r} is missing")
        if content["format"] != FORMAT:
            raise InputError(f"{where}: format {content['format']!r} is not known here; this version reads {FORMAT}")
        for key, kind in (("arch", str), ("kwargs", dict), ("input_size", list), ("channels", dict)):
            if not isinstance(content[key], kind):
                raise InputError(f"{where}: {key!r} must be a {_JSON_NAMES[kind]}, not {content[key]!r:.80}")
        try:
            return describe(
                content["arch"],
                channels=content["channels"],
                input_size=tuple(content["input_size"]),
                complete=True,
                **content["kwargs"],
            )
        except InputError as error:
            raise InputError(f"{where}: {error}") from None

    @classmethod
    def read(cls, path: str | os.PathLike[str]) -> Network:
        """Read a network file, or the `network.json` of a run folder."""
        file = Path(path)
        file = file / "network.json" if file.is_dir() else file
        try:
            with file.open("rb") as stream:
                text = stream.read(LARGEST_JSON_BYTES + 1)
        except OSError as error:
            raise InputError(f"{file}: cannot be read: {error.strerror}") from None
        return cls.from_json(text, where=str(file))


_JSON_NAMES = {str: "string", dict: "object", list: "list of three whole numbers"}


def describe(
    arch: str,
    *,
    channels: Mapping[str, int] | None = None,
    input_size: tuple[int, int, int] | None = None,
    complete: bool = False,
    **kwargs: Any,
) -> Network:
    """The network with these channel counts; groups that are not named keep the architecture's own.

    A count may be given under the name of any layer whose outputs are exactly one group. With `complete`, every group
    has to be named.
    """
    from thinresnet.networks.blueprint import blueprint, default_input_size

    check_arch(arch)
    check_kwargs(arch, kwargs)
    input_size = default_input_size(arch) if input_size is None else check_input_size(input_size)
    ties = blueprint(arch, kwargs, input_size).ties
    widths = ties.dense_widths()
    named: dict[str, str] = {}
    for layer, count in (channels or {}).items():
        group = layer if layer in ties.groups else ties.aliases.get(layer)
        if group is None:
            known = [*ties.groups, *ties.aliases]
            raise InputError(f"channels: {arch} has no group {layer!r}{nearest(layer, known)}")
        if isinstance(count, bool) or not isinstance(count, int) or count < 1:
            raise InputError(f"channels: {layer!r} is {count!r}; a count is a whole number of at least 1")
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


def build(
    what: Network | str | os.PathLike[str],
    *,
    width: float | None = None,
    channels: Mapping[str, int] | None = None,
    seed: int | None = None,
    **options: Any,
) -> nn.Module:
    """A freshly initialised dense network: of a `Network`, its JSON, its file, or an architecture's name.

    With an architecture's name, `width` or `channels` give its shape and `options` are those of `scale` or
    keyword arguments of the architecture. Weights are drawn by the architecture's own rule at the thin shapes, from
    torch's global generator, or from one seeded with `seed` (the global one is then left as it was).
    """
    import torch

    from thinresnet.networks.blueprint import construct

    network = as_network(what, width=width, channels=channels, **options)
    if seed is None:
        return construct(network)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return construct(network)


def as_network(
    what: Network | str | os.PathLike[str],
    *,
    width: float | None = None,
    channels: Mapping[str, int] | None = None,
    **options: Any,
) -> Network:
    """What `build` takes, as a network."""
    from thinresnet.networks.scaling import scale

    is_json = isinstance(what, str) and what.lstrip().startswith("{")
    if isinstance(what, str) and not is_json and not _is_file(what):
        if channels is not None:
            if width is not None:
                raise InputError("give either width or channels: both set the same counts")
            return describe(what, channels=channels, **options)
        return scale(what, width=1.0 if width is None else width, **options)
    if width is not None or channels is not None or options:
        raise InputError("a network that is described already takes no width, channels or options")
    if isinstance(what, Network):
        return what
    return Network.from_json(what) if isinstance(what, str) and is_json else Network.read(what)


def _is_file(what: str) -> bool:
    return what.endswith(".json") or os.sep in what or Path(what).is_dir()


def check_arch(arch: Any) -> None:
    """Refuse what is not the plain name of a timm architecture (a hub address, say, would be fetched)."""
    import timm

    import thinresnet.networks.zoo  # noqa: F401  # registers this project's architectures with timm

    base = str(arch).split(".")[0]
    if base != arch and timm.is_model(base):
        raise InputError(f"architecture {arch!r} names pretrained weights; the architecture is {base!r}")
    if not isinstance(arch, str) or not timm.is_model(arch):
        raise InputError(f"unknown architecture {arch!r:.80}{nearest(str(arch)[:80], timm.list_models())}")
    if arch.startswith("thin_"):
        raise InputError(
            f"architecture {arch!r} is timm's name for a scaled network; here it is {arch[5:]!r} with a width"
        )


def check_kwargs(arch: str, kwargs: Mapping[str, Any]) -> None:
    """Refuse keyword arguments that are not properties of an architecture, or that JSON does not hold."""
    for key, value in kwargs.items():
        if value is None:
            raise InputError(f"kwargs: {key!r} of {arch} is null, which timm takes for its default; leave it out")
        if key in _NOT_KEYWORDS:
            raise InputError(f"kwargs: {key!r} is not a property of an architecture; leave it out")
        try:
            json.dumps(value, allow_nan=False)
        except (TypeError, ValueError, RecursionError):
            raise InputError(f"kwargs: {key!r} of {arch} is {value!r:.80}; allowed are JSON values") from None


def check_input_size(size: Any) -> tuple[int, int, int]:
    whole = isinstance(size, (tuple, list)) and len(size) == 3 and all(type(side) is int for side in size)
    if not whole or not (1 <= size[0] <= 64 and all(1 <= side <= LARGEST_SIDE_PX for side in size[1:])):
        raise InputError(
            f"input_size: {size!r:.80}; it is (channels, height, width): 1 to 64, and 1 to {LARGEST_SIDE_PX} pixels"
        )
    return (size[0], size[1], size[2])


def check_factor(name: str, value: Any, largest: float = 16.0) -> float:
    """A scale factor that a person may have typed."""
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not math.isfinite(value):
        raise InputError(f"{name}: {value!r} is not a number")
    if not 0 < value <= largest:
        raise InputError(
            f"{name}: {value!r}; it is more than 0 and at most {largest:g} (1 is the architecture as it is)"
        )
    return float(value)


def _no_twins(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for key, value in pairs:
        if key in found:
            raise ValueError(f"the key {key!r} stands twice")
        found[key] = value
    return found


def _no_constant(name: str) -> Any:
    raise ValueError(f"{name} is not a JSON number")
