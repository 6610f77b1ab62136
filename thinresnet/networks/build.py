"""From whatever names a network (a description, a file, an architecture with a width) to the model itself."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import nn

from thinresnet.errors import InputError
from thinresnet.network import Network
from thinresnet.networks.blueprint import construct
from thinresnet.networks.describe import describe, parse_network, read_network
from thinresnet.networks.scaling import scale


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
    return parse_network(what) if isinstance(what, str) and is_json else read_network(what)


def _is_file(what: str) -> bool:
    return what.endswith(".json") or os.sep in what or Path(what).is_dir()
