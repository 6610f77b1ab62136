"""A stage on its way to whoever does it: pickled between processes of one study, which trust each other."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from thinresnet.studies.devices import together
from thinresnet.studies.stages import Stage
from thinresnet.training.processes import end_processes

Answer = dict[str, Any]


@dataclass(frozen=True)
class Work:
    """A stage, the folders of what it depends on by role, and its own."""

    stage: Stage
    inputs: Mapping[str, str]
    folder: str
    quiet: bool = True
    processes: int = 1  # that do it together, where it is a training

    def do(self) -> Answer:
        """Do it; returns what `stage.json` is to say: the folders of its outputs, and how long it took."""
        start = time.perf_counter()
        several = self.processes > 1 and self.stage.is_shared
        outputs = together(self.processes, _part_of, self) if several else self.outputs(self.stage)
        return {"outputs": outputs, "seconds": round(time.perf_counter() - start, 3)}

    def outputs(self, stage: Stage) -> dict[str, str]:
        """Do the stage, or a process's part of it, here."""
        inputs = {role: Path(path) for role, path in self.inputs.items()}
        return stage.run(inputs, Path(self.folder), quiet=self.quiet)


def _part_of(work: Work) -> dict[str, str]:
    try:
        return work.outputs(work.stage.shared_by(work.processes))
    finally:
        end_processes()
