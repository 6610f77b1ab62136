"""Checkpoints: written whole or not at all; the newest whole one wins, those before it are kept.

A checkpoint is one file that `torch.load(weights_only=True)` reads: nothing in it is executed. It carries the identity
of its run, so that another network's or another recipe's checkpoint is refused by name. The zip container keeps a
checksum of each part, so that a truncated or damaged file is noticed before a number of it is used.
"""

from __future__ import annotations

import io
import math
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from thinresnet.convert import brief
from thinresnet.errors import InputError
from thinresnet.files import write_atomically
from thinresnet.identity import FREE_IN_A_RUN, RECIPE_DEFAULTS, RUN_DEFAULTS, differing

_PATTERN = "epoch*-step*.pt"
# What an update's images are made of: their product says how many, however many processes there are.
_BATCH = ("recipe: batch_size", "recipe: grad_accum_steps", "processes")


def save(
    folder: Path, identity: Mapping[str, Any], state: Mapping[str, Any], *, epoch: int, step: int, kept: int
) -> None:
    """Write the state after `step` batches of `epoch`; of the checkpoints keep the newest ones, at least two."""
    content = io.BytesIO()  # torch's own file writer does not say why a write failed
    torch.save({"identity": dict(identity), "state": dict(state)}, content)
    write_atomically(folder / f"epoch{epoch:06d}-step{step:08d}.pt", content.getvalue())
    for old in sorted(folder.glob(_PATTERN))[: -max(2, kept)]:
        old.unlink(missing_ok=True)


def newest(folder: Path) -> Path | None:
    """The newest checkpoint, whole or not."""
    return max(folder.glob(_PATTERN), default=None)


def load_newest(folder: Path, identity: Mapping[str, Any]) -> tuple[dict[str, Any] | None, list[str]]:
    """The newest whole state of this run (None where there is none), and a line for each file that was passed over.

    The state's `batch` is that of the session that wrote it: images a process, accumulated batches, processes.
    """
    notes: list[str] = []
    for path in sorted(folder.glob(_PATTERN), reverse=True):
        content = _read(path)
        if content is None:
            notes.append(f"{path}: truncated or damaged; falling back to the checkpoint before it")
            continue
        check_identity(path, content["identity"], identity)
        return {**content["state"], "batch": batch_of(content["identity"])}, notes
    if notes:
        notes.append(f"{folder}: no whole checkpoint is left; starting from the beginning")
    return None, notes


def _read(path: Path) -> dict[str, Any] | None:
    """What a checkpoint holds, or None where the file is not whole, or none (a pipe would never be read)."""
    if not path.is_file():
        return None
    try:
        with zipfile.ZipFile(path) as parts:
            if parts.testzip() is not None:
                return None
        content = torch.load(path, map_location="cpu", weights_only=True)
    except (zipfile.BadZipFile, OSError, EOFError):
        return None
    except Exception as error:  # a whole zip file that torch refuses: somebody else's
        raise InputError(f"{path}: not a checkpoint of thinresnet ({type(error).__name__}); move it away") from error
    if not isinstance(content, dict) or set(content) != {"identity", "state"}:
        raise InputError(f"{path}: not a checkpoint of thinresnet; move it away")
    return content


def check_identity(path: Path, found: Mapping[str, Any], wanted: Mapping[str, Any]) -> None:
    """Refuse what belongs to another run and name what differs.

    What is at its default may stand in an identity or not: an older version wrote it, or did not know it yet. Another
    number of processes is the same run where its updates have as many images.
    """
    theirs, ours = _flat(found), _flat(wanted)
    then, now = batch_of(found), batch_of(wanted)
    if then is not None and now is not None and theirs["processes"] != ours["processes"]:
        if math.prod(then) != math.prod(now):
            raise InputError(
                f"{path}: was trained with {math.prod(then)} images an update {_product(then)}, here there are "
                f"{math.prod(now)} {_product(now)}; resume with --batch-size and --grad-accum-steps that make as many"
            )
        theirs, ours = ({key: own for key, own in each.items() if key not in _BATCH} for each in (theirs, ours))
    for key in [*ours, *theirs]:
        if ours.get(key) != theirs.get(key):
            default = {**RUN_DEFAULTS, **{f"recipe: {name}": value for name, value in RECIPE_DEFAULTS.items()}}.get(key)
            raise InputError(
                f"{path}: belongs to another run: its {key} is {brief(theirs.get(key, default))}, here it is "
                f"{brief(ours.get(key, default))}; move it away, or train into another folder"
            )


def batch_of(identity: Mapping[str, Any]) -> tuple[int, int, int] | None:
    """Images of a process, accumulated batches and processes that an identity tells; None where it tells none."""
    recipe, processes = identity.get("recipe", {}), identity.get("processes")
    if not isinstance(recipe, Mapping):
        return None
    found = (*(recipe.get(name, RECIPE_DEFAULTS[name]) for name in ("batch_size", "grad_accum_steps")), processes)
    return found if all(isinstance(own, int) and own > 0 for own in found) else None


def _product(batch: tuple[int, int, int]) -> str:
    return f"(batch_size {batch[0]} x grad_accum_steps {batch[1]} x {batch[2]} process{'es' if batch[2] > 1 else ''})"


def _flat(identity: Mapping[str, Any]) -> dict[str, Any]:
    """What differs from the defaults, as `recipe: lr`, `network: arch`, `seed`."""
    if not all(isinstance(identity.get(part, {}), Mapping) for part in ("recipe", "network")):
        return dict(identity)
    facts = {key: value for key, value in identity.items() if key not in ("format", "recipe", "network")}
    recipe = differing(identity.get("recipe", {}), RECIPE_DEFAULTS)
    return {
        **{f"network: {key}": value for key, value in identity.get("network", {}).items()},
        **{f"recipe: {key}": value for key, value in recipe.items() if key not in FREE_IN_A_RUN},
        **differing(facts, RUN_DEFAULTS),
    }
