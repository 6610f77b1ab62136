"""What is known of imported weights: the keys of imported.json, which stands in the place of a training's result.

The training was someone else's, so there is no result.json; what the network is, where its weights come from and how
its images are prepared stand here, and what it reaches stands in evaluation.json once it is measured. Standard library
only.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

from thinresnet.errors import InputError, nearest
from thinresnet.files import read_object, write_atomically
from thinresnet.preprocessing import Preprocessing
from thinresnet.runs import IMPORTED_FILE

FORMAT = 1


@dataclass(frozen=True)
class Origin:
    """Where weights come from, as far as it is known; empty where it is not."""

    file: str  # its name alone: where it lay on the machine is nobody's business
    sha256: str
    git_blob: str
    url: str = ""
    repository: str = ""
    commit: str = ""
    path: str = ""
    licence: str = ""
    inside: str = ""  # the key of the checkpoint that held the state dict
    rule: str = ""  # by which their names became ours
    printed_top1: float | None = None
    locator: str = ""


@dataclass(frozen=True)
class Imported:
    """A network with imported weights."""

    arch: str
    arch_kwargs: dict[str, Any]
    shape: str
    network_sha256: str
    dataset: str  # empty where it is not known
    classes: int
    macs: int
    params: int
    dense_macs: int
    dense_params: int
    weights_sha256: str
    origin: Origin
    preprocessing: Preprocessing

    def to_json(self) -> str:
        content = {
            "format": FORMAT,
            "weights": "theirs",
            **asdict(self),
            "preprocessing": self.preprocessing.to_json(),
        }
        return json.dumps(content, indent=2, allow_nan=False) + "\n"

    def write(self, folder: Path) -> None:
        write_atomically(folder / IMPORTED_FILE, self.to_json())

    @classmethod
    def read(cls, folder: Path) -> Imported:
        """The imported.json of a folder, its form checked."""
        path = folder / IMPORTED_FILE
        content = read_object(path, missing=f"{path}: no such file; make it with: thinresnet import FILE")
        if content.pop("format", None) != FORMAT or content.pop("weights", None) != "theirs":
            raise InputError(f"{path}: not imported weights of format {FORMAT}")
        check_types(path, cls, content, skip=("origin", "preprocessing"))
        origin = content["origin"]
        if not isinstance(origin, dict):
            raise InputError(f"{path}, origin: {origin!r:.60} is not an object")
        check_types(path, Origin, origin)
        own = {**content, "origin": Origin(**origin)}
        return cls(**{**own, "preprocessing": Preprocessing.from_json(content["preprocessing"], str(path))})


_KINDS = {
    "str": (str,), "int": (int,), "float": (int, float), "float | None": (int, float, type(None)),
    "int | None": (int, type(None)), "dict[str, Any]": (dict,), "bool": (bool,), "dict[str, str]": (dict,),
    "list[str] | None": (list, type(None)), "list[list[int]]": (list,), "list[str]": (list,),
}  # fmt: skip


def check_types(path: Path, cls: type, content: dict[str, Any], *, skip: tuple[str, ...] = ()) -> None:
    """Refuse keys that are missing, unknown or of another type than a format's dataclass says."""
    known = [field.name for field in fields(cls)]
    for key in content:
        if key not in known:
            raise InputError(f"{path}: unknown key {key!r:.60}{nearest(str(key), known)}")
    for field in fields(cls):
        if field.name not in content:
            raise InputError(f"{path}: the key {field.name!r} is missing")
        value = content[field.name]
        if field.name in skip:
            continue
        wrong_bool = isinstance(value, bool) and field.type != "bool"
        if wrong_bool or not isinstance(value, _KINDS[str(field.type)]):
            raise InputError(f"{path}, {field.name}: {value!r:.60} is not of type {field.type}")
