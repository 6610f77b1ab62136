"""The seconds in which torch, timm and their kin are imported: fewer of them, and told in a terminal as they begin.

One line on standard error, gone when the import is done; where standard error is no terminal nothing is written.
Nothing that is imported is garbage: looking for some takes a quarter of the time. Standard library only.
"""

from __future__ import annotations

import gc
import importlib.machinery
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from types import ModuleType
from typing import TextIO

SLOW = frozenset({"torch", "torchvision", "timm", "accelerate", "fvcore", "sklearn", "altair", "wandb", "ray", "onnx"})


class _Teller:
    """A finder of modules that finds what the others do, and makes the loading of slow packages faster and said."""

    def __init__(self, stream: TextIO | None) -> None:
        self._stream = stream if stream is not None and stream.isatty() else None
        self._told: list[str] = []  # packages that are being imported, one for the other

    def find_spec(
        self, name: str, path: Sequence[str] | None = None, target: ModuleType | None = None
    ) -> importlib.machinery.ModuleSpec | None:
        if name not in SLOW:
            return None
        spec = importlib.machinery.PathFinder.find_spec(name, path, target)
        if spec is None or spec.loader is None:
            return spec
        loader, load = spec.loader, spec.loader.exec_module

        def told(module: ModuleType) -> None:
            del loader.exec_module  # the loader is the module's for good: leave it as it was
            self._told.append(name)
            self._draw()
            try:
                with _no_collection():
                    load(module)
            finally:
                self._told.remove(name)
                self._draw()

        loader.exec_module = told  # type: ignore[method-assign]
        return spec

    def _draw(self) -> None:
        """One line, over what it said before."""
        if self._stream is not None:
            self._stream.write(f"\r\x1b[K{f'importing {self._told[-1]}…' if self._told else ''}")
            self._stream.flush()


@contextmanager
def _no_collection() -> Iterator[None]:
    """Within, garbage is not looked for."""
    enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if enabled:
            gc.enable()


@contextmanager
def imports_told(stream: TextIO | None) -> Iterator[None]:
    """Within, slow imports are told on `stream` if it is a terminal; once, where one verb calls another program."""
    if any(isinstance(finder, _Teller) for finder in sys.meta_path):
        yield
        return
    teller = _Teller(stream)
    sys.meta_path.insert(0, teller)
    try:
        yield
    finally:
        sys.meta_path.remove(teller)
