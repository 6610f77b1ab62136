"""A stage on its way to whoever does it: pickled between processes of one study, which trust each other."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from thinresnet.studies.stages import Stage

Answer = dict[str, Any]


@dataclass(frozen=True)
class Work:
    """A stage, the folders of what it depends on by role, and its own."""

    stage: Stage
    inputs: Mapping[str, str]
    folder: str
    quiet: bool = True

    def do(self) -> Answer:
        """Do it; returns what `stage.json` is to say: the folders of its outputs, and how long it took."""
        start = time.perf_counter()
        inputs = {role: Path(path) for role, path in self.inputs.items()}
        outputs = self.stage.run(inputs, Path(self.folder), quiet=self.quiet)
        return {"outputs": outputs, "seconds": round(time.perf_counter() - start, 3)}
