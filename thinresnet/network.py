"""What a network is here: a timm architecture and the channel count of every group of tied channels.

One JSON describes any network, and the description is complete (every group is listed), so that it means the same
network tomorrow. Reading it checks its form only, with the standard library; `networks.describe` holds it against the
architecture before anything is built from it.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from thinresnet.budget import short
from thinresnet.convert import brief, convert, setting
from thinresnet.errors import InputError
from thinresnet.files import parse_object, read_bytes
from thinresnet.notebook import html_details, html_facts, html_table, sides
from thinresnet.runs import NETWORK_FILE

FORMAT = 1
LARGEST_JSON_BYTES = 4 << 20
LARGEST_SIDE_PX = 4096

# MACs and parameters of a network, for its repr. Counting takes torch, so networks/cost.py adds what does it.
counters: list[Callable[[Network], tuple[int, int]]] = []


def _check_sides(size: Sequence[int]) -> None:
    if not (1 <= size[0] <= 64 and all(1 <= side <= LARGEST_SIDE_PX for side in size[1:])):
        raise InputError(
            f"takes 1 to 64 channels, then height and width of 1 to {LARGEST_SIDE_PX} pixels; got {brief(size)}"
        )


@dataclass(frozen=True)
class Network:
    """An architecture by timm's name, its keyword arguments, its input (channels, height, width) and channel counts.

    `channels` maps the name of each group (the first layer that makes its channels) to that layer's count.
    """

    arch: str
    kwargs: Mapping[str, Any]
    input_size: tuple[int, int, int] = setting(check=_check_sides)
    channels: Mapping[str, int] = setting(low=1)

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

    def __repr__(self) -> str:
        counts = self.channels.values()
        widths = f"{len(counts)} groups of {min(counts)} to {max(counts)} channels" if counts else "no groups"
        given = "".join(f", {name}={value!r}" for name, value in sorted(self.kwargs.items()))
        cost = "".join(f", {figure} {unit}" for unit, figure in self._cost.items())
        return f"<Network {self.arch}{given}, input {sides(self.input_size)}{cost}, {widths}, sha256 {self.sha256[:6]}>"

    def _repr_html_(self) -> str:
        arguments = ", ".join(f"{name}={value!r}" for name, value in sorted(self.kwargs.items()))
        facts = {"input": sides(self.input_size), "arguments": arguments or None, **self._cost}
        facts["sha256"] = self.sha256[:12]
        channels = html_table(("group", "channels"), self.channels.items())
        return html_facts(self.arch, facts) + html_details(f"channels of {len(self.channels)} groups", channels)

    @property
    def _cost(self) -> dict[str, str]:
        """MACs and parameters in words; empty before torch is there to count, and of what cannot be built."""
        for counter in counters:
            with contextlib.suppress(Exception):  # a repr says what it can; `networks.count` says what is wrong
                return {unit: short(figure) for unit, figure in zip(("MACs", "parameters"), counter(self), strict=True)}
        return {}

    @property
    def sha256(self) -> str:
        return hashlib.sha256(self.to_json().encode()).hexdigest()

    @classmethod
    def from_json(cls, text: str | bytes, where: str = "network JSON") -> Network:
        """Read a description and check its form; `where` names its source in messages."""
        if len(text) > LARGEST_JSON_BYTES:
            raise InputError(f"{where}: {len(text)} bytes; a network's description has at most {LARGEST_JSON_BYTES}")
        content = parse_object(text, where)
        if "format" not in content:
            raise InputError(f"{where}: the key 'format' is missing")
        if content.pop("format") != FORMAT:
            raise InputError(f"{where}: format: takes {FORMAT}; other formats are not known to this version")
        return convert(cls, content, where)

    @classmethod
    def read(cls, path: str | os.PathLike[str]) -> Network:
        """Read a network file, or the `network.json` of a run folder; `networks.read_network` checks what it says."""
        file = Path(path)
        file = file / NETWORK_FILE if file.is_dir() else file
        missing = f"{file}: cannot be read: no such file"
        return cls.from_json(read_bytes(file, largest_bytes=LARGEST_JSON_BYTES, missing=missing), where=str(file))


def check_input_size(size: Any) -> tuple[int, int, int]:
    """The size as a tuple, or a refusal: channels, height, width."""
    whole = isinstance(size, (tuple, list)) and len(size) == 3 and all(type(side) is int for side in size)
    if not whole:
        raise InputError(f"input_size: takes channels, height and width, three integers; got {brief(size)}")
    try:
        _check_sides(size)
    except InputError as error:
        raise InputError(f"input_size: {error}") from None
    return (size[0], size[1], size[2])
