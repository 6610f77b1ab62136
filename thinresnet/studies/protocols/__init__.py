"""The protocols, a file a family; each function adds stages and experiments to the graph of a study.

A file that is put into this package is found here, as methods are in theirs.
"""

from __future__ import annotations

import importlib
import pkgutil

from thinresnet.studies.protocol import PROTOCOLS
from thinresnet.studies.protocols.dense import BASELINE

__all__ = ["BASELINE", "PROTOCOLS"]

for _found in pkgutil.iter_modules(__path__, f"{__name__}."):
    importlib.import_module(_found.name)
