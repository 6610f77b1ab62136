"""Where stages are kept, and whether what is there is what was written.

A stage's folder is finished when it has `stage.json`, written last, with the hash of every file and of what the stage
depends on. A folder whose files are not those any more (changed by hand, cut off) is noticed, said, and done again.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from thinresnet.files import read_object, remove_unfinished, write_atomically
from thinresnet.identity import LEFT_TO_THE_DEVICE, canonical_sha256
from thinresnet.pruning.record import FILE as PRUNING_FILE
from thinresnet.pruning.record import MASKS, OWN_MASKS, read_pruning
from thinresnet.runs import NETWORK_FILE, WEIGHTS_FILE
from thinresnet.studies.hashes import FolderHashes
from thinresnet.studies.stages import Source, Stage
from thinresnet.training.provenance import now

FORMAT = 2
FILE = "stage.json"
# What later stages read of a folder; times and pictures may differ without making them another stage's result.
_HANDED_ON = (NETWORK_FILE, WEIGHTS_FILE, MASKS, OWN_MASKS, PRUNING_FILE)
_PASSING = ("checkpoints",)
_HASHES = ".hashes"  # beside the stages: what is known of their files


@dataclass(frozen=True)
class State:
    """What there is of a stage: its record if it is finished, and otherwise what is wrong, if anything is."""

    record: Mapping[str, Any] | None
    wrong: str = ""


class Store:
    """The stages of one study, below one folder."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self._known: dict[str, State] = {}

    def folder(self, stage: Stage) -> Path:
        """Where a stage works."""
        return self.root / stage.folder

    def path(self, source: Source) -> Path:
        """The folder of a finished stage, or of one of its outputs."""
        if not source.output:
            return self.folder(source.stage)
        record = self.state(source.stage).record
        assert record is not None, f"{source.stage.name} is not finished"
        return self.folder(source.stage) / str(record["outputs"][source.output])

    def state(self, stage: Stage) -> State:
        """Whether a stage is finished, by the content of every file."""
        if stage.key not in self._known:
            self._known[stage.key] = self._look(stage)
        return self._known[stage.key]

    def finished(self, stage: Stage) -> bool:
        """Whether it need not be done."""
        return self.state(stage).record is not None

    def clear(self, stage: Stage) -> None:
        """Remove what is wrong, so that it is done from the beginning."""
        shutil.rmtree(self.folder(stage))
        self._look_again()

    def write(self, stage: Stage, said: Mapping[str, Any]) -> None:
        """Record that a stage is finished, with its outputs and how long it took."""
        folder = self.folder(stage)
        remove_unfinished(folder)  # of killed writers, which would be recorded, and gone with the next write
        record = {
            "format": FORMAT,
            "key": stage.key,
            "kind": stage.kind,
            "name": stage.name,
            "stage": stage.facts,
            "inputs": self._inputs(stage),
            "files": self._hashes(folder),
            **said,
            "finished": now(),
        }
        write_atomically(folder / FILE, json.dumps(record, indent=1, allow_nan=False) + "\n")
        self._look_again()

    def _look_again(self) -> None:
        """At all that was not finished: what it depends on may be there now."""
        self._known = {key: state for key, state in self._known.items() if state.record is not None}

    def _look(self, stage: Stage) -> State:
        folder = self.folder(stage)
        if not (folder / FILE).exists():
            return State(None)
        try:
            record = read_object(folder / FILE)
            whole = record["format"] == FORMAT and record["key"] == stage.key
            if not whole or not all(isinstance(record[key], dict) for key in ("stage", "files", "outputs", "inputs")):
                return State(None, f"{FILE} is not this stage's")
        except (OSError, ValueError, KeyError):
            return State(None, f"{FILE} cannot be read")
        if wrong := _changed_fact(record["stage"], stage.facts):
            return State(None, wrong)
        found = self._hashes(folder)
        if wrong := _difference(record["files"], found):
            return State(None, wrong)
        if not all(self.finished(source.stage) for source in stage.inputs.values()):
            return State(None)  # nothing is wrong with it if the same comes out again
        if record["inputs"] != self._inputs(stage):
            return State(None, "what it depends on has changed")
        return State(record)

    def _inputs(self, stage: Stage) -> dict[str, Any]:
        """The content of what a stage depends on."""
        return {role: self._handed_on(source) for role, source in stage.inputs.items()}

    def _handed_on(self, source: Source) -> dict[str, str]:
        """What later stages read of a folder: weights, masks, and the channels that were kept."""
        folder = self.path(source)
        hashes = self._of(self.folder(source.stage))
        found = {name: hashes.sha256(folder / name) for name in _HANDED_ON if (folder / name).is_file()}
        hashes.keep()
        if PRUNING_FILE in found:
            found[PRUNING_FILE] = canonical_sha256(read_pruning(folder).kept)  # the rest holds times
        return found

    def _hashes(self, folder: Path) -> dict[str, str]:
        """Every file of a folder by its path in it, but for what passes and for the record itself."""
        hashes = self._of(folder)
        found = {
            str(path.relative_to(folder)): hashes.sha256(path)
            for path in sorted(folder.rglob("*"))
            if path.is_file() and path.relative_to(folder).parts[0] not in (*_PASSING, FILE)
        }
        hashes.keep()
        return found

    def _of(self, folder: Path) -> FolderHashes:
        return FolderHashes(folder, self.root / _HASHES / f"{folder.name}.json")


def _difference(written: Mapping[str, str], found: Mapping[str, str]) -> str:
    """The first file that is not what was written, in words; nothing if all are."""
    for name in sorted({*found, *written}):
        if found.get(name) != written.get(name):
            how = "is missing" if name not in found else "is new" if name not in written else "was changed"
            return f"{name} {how}"
    return ""


def _changed_fact(recorded: Mapping[str, Any], now: Mapping[str, Any]) -> str:
    """The first fact that both know and that is not what it was, in words: a default has changed; nothing if none.

    What is left to the device was recorded as off before it could be left to it: one stage, by its key.
    """
    for name in sorted({*recorded} & {*now}):
        before, after = recorded[name], now[name]
        if isinstance(before, dict) and isinstance(after, dict):
            if changed := _changed_fact(before, after):
                return f"{name}: {changed}"
        elif before != after and not (name in LEFT_TO_THE_DEVICE and not before and not after):
            return f"{name} was {before!r}, now it is {after!r}"
    return ""
