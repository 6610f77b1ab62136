"""The architectures of this project, which timm finds once this module is imported.

To add one, write a file as `shufflenet` is one (timm's `register_model`, `default_cfgs`, and `STRUCTURES` where its
depth can be scaled) and name it in `FILES`.
"""

from __future__ import annotations

from importlib import import_module

from thinresnet.networks import structures

FILES = (
    "cifar",
    "shufflenet",
)

_MODULES = [import_module(f"thinresnet.networks.{file}") for file in FILES]
NAMES: tuple[str, ...] = tuple(name for module in _MODULES for name in module.default_cfgs)
STRUCTURES: dict[str, structures.Structure] = structures.STRUCTURES | {
    kind: structure for module in _MODULES for kind, structure in getattr(module, "STRUCTURES", {}).items()
}
DEPTHS = frozenset(structure.keyword for structure in STRUCTURES.values())  # keywords that set the blocks of each stage
