"""What a network is here: a timm architecture and the channel count of every group of tied channels.

One JSON describes any network, and the description is complete (every group is listed), so that it means the same
network tomorrow. Reading it checks its form only, with the standard library; `networks.describe` holds it against the
architecture before anything is built from it.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from thinresnet.errors import InputError, nearest
from thinresnet.runs import NETWORK_FILE

FORMAT = 1
LARGEST_JSON_BYTES = 4 << 20
LARGEST_SIDE_PX = 4096


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
        """Read a description and check its form; `where` names its source in messages."""
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
        for name, count in content["channels"].items():
            if type(count) is not int or count < 1:
                raise InputError(f"{where}: channels: {name!r} is {count!r:.80}; a count is an integer of at least 1")
        try:
            size = check_input_size(content["input_size"])
        except InputError as error:
            raise InputError(f"{where}: {error}") from None
        return cls(content["arch"], content["kwargs"], size, content["channels"])

    @classmethod
    def read(cls, path: str | os.PathLike[str]) -> Network:
        """Read a network file, or the `network.json` of a run folder; `networks.read_network` checks what it says."""
        file = Path(path)
        file = file / NETWORK_FILE if file.is_dir() else file
        try:
            with file.open("rb") as stream:
                text = stream.read(LARGEST_JSON_BYTES + 1)
        except OSError as error:
            raise InputError(f"{file}: cannot be read: {error.strerror}") from None
        return cls.from_json(text, where=str(file))


_JSON_NAMES = {str: "string", dict: "object", list: "list of three integers"}


def check_input_size(size: Any) -> tuple[int, int, int]:
    whole = isinstance(size, (tuple, list)) and len(size) == 3 and all(type(side) is int for side in size)
    if not whole or not (1 <= size[0] <= 64 and all(1 <= side <= LARGEST_SIDE_PX for side in size[1:])):
        raise InputError(
            f"input_size: {size!r:.80}; it is (channels, height, width): 1 to 64, and 1 to {LARGEST_SIDE_PX} pixels"
        )
    return (size[0], size[1], size[2])


def _no_twins(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for key, value in pairs:
        if key in found:
            raise ValueError(f"the key {key!r} stands twice")
        found[key] = value
    return found


def _no_constant(name: str) -> Any:
    raise ValueError(f"{name} is not a JSON number")
