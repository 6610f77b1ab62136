"""The documented defaults of stages: what is not hashed, so that a new field does not make finished work unknown.

A field in this table counts towards a stage's key only where it differs. A new field comes in with the value that
means what was done before there was one; every key stays. Changing a value in this table changes what existing keys
mean: that takes a new `thinresnet.identity.FORMAT`, with which all keys change.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

DEFAULTS: dict[str, Mapping[str, Any]] = {
    "train": {
        "holdout": 0.0, "weights": None, "equal_macs": None, "most_times": None, "teacher": None, "total_macs": None,
    },
    "prune": {
        "settings": {}, "scope": None, "stream": False, "grow": False, "recipe": None, "dataset": None, "holdout": 0.0,
        "latency_table_sha256": None,
        "revision": 1,
    },
    "import": {},
    "rescale": {},
    "guide": {},
    "rewind": {},
    "mask": {"change": None},
    "measure": {"holdout": 0.0, "total_macs": None},
    "time": {"batch_size": 1, "runs": 20, "training_batch_size": None},
}  # fmt: skip
