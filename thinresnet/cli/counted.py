"""What `thinresnet count` has counted before, so that the same question is answered without loading torch and timm.

An answer holds for the versions of the packages, and for the code of this one that counts, by whose hash it is cached;
with any other it is counted again. Standard library only.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import platform
from collections.abc import Callable, Mapping
from importlib import metadata
from pathlib import Path
from typing import Any

from thinresnet.files import cache_folder, read_object, write_atomically

_PACKAGES = ("torch", "torchvision", "timm", "fvcore")


def remembered(question: Mapping[str, Any], answer: Callable[[], dict[str, Any]]) -> dict[str, Any]:
    """The answer to a question (JSON values both), from the cache if it is there; a broken cache is done without."""
    asked = {**question, "given_by": _versions()}
    name = hashlib.sha256(json.dumps(asked, sort_keys=True).encode()).hexdigest()[:32]
    path = cache_folder() / "counted" / f"{name}.json"
    try:
        found = read_object(path)
        if found["asked"] == asked:
            return dict(found["answer"])
    except (OSError, ValueError, LookupError, TypeError):
        pass
    given = answer()
    with contextlib.suppress(OSError):
        write_atomically(path, json.dumps({"asked": asked, "answer": given}))
    return given


def counting_files() -> list[Path]:
    """The files whose code says what a network costs and how the answer is written down."""
    package = Path(__file__).parents[1]
    return [*sorted((package / "networks").rglob("*.py")), *sorted(package.glob("*.py")), package / "cli/networks.py"]


def _versions() -> dict[str, str]:
    code = hashlib.sha256()
    for file in counting_files():
        code.update(file.read_bytes())
    return {
        "python": platform.python_version(),
        "code": code.hexdigest()[:16],
        **{package: metadata.version(package) for package in _PACKAGES},
    }
