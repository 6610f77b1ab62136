"""Measured rows: what a run folder says, over its seeds, as the cells of a row; and its evidence beside the board.

A run folder holds `result.json`, `network.json`, `recipe.yaml` and `metrics.csv`. The row's figures are computed from
the `result.json` of every seed by `cells_of`, both when a row is added and whenever the board is checked.
"""

from __future__ import annotations

import math
import os
import re
from collections.abc import Iterator, Mapping, Sequence
from decimal import ROUND_HALF_EVEN, Decimal
from pathlib import Path
from typing import Any

from thinresnet import base_width
from thinresnet.convert import one_of
from thinresnet.errors import InputError
from thinresnet.files import building, publish
from thinresnet.leaderboard import weights
from thinresnet.leaderboard.evidence import check_evidence
from thinresnet.leaderboard.schema import DATASETS, NAMES, Entry, Fault, format_row
from thinresnet.result import Result, published, teacher_of
from thinresnet.runs import EVALUATION_FILE, IMPORTED_FILE, METRICS_FILE, NETWORK_FILE, RECIPE_FILE, RESULT_FILE

EVIDENCE_FOLDER = "baselines/results"
EVIDENCE_FILES = (RESULT_FILE, NETWORK_FILE, RECIPE_FILE, METRICS_FILE, IMPORTED_FILE, EVALUATION_FILE)
PROJECT_KEY = "thinresnet"
EMA = " (EMA)"
_SAME = ("arch", "dataset", "network_sha256", "recipe_hash", "epochs", "macs", "params", "test_resolution", "shape")
# Where shapes are found, each seed may find its own; what the shape decides may then differ.
FOUND = ("pruned", "scratch", "init")
_OF_THE_SHAPE = ("network_sha256", "recipe_hash", "epochs", "macs", "params")
_SCALED = re.compile(r"[wi][0-9.]+|(macs|params)-[0-9.a-zA-Z]+")
_MILLI, _MICRO = Decimal("0.001"), Decimal("0.000001")


def read_results(folders: Sequence[str | os.PathLike[str]], family: str = "") -> list[dict[str, Any]]:
    """The results of several seeds of one run; anything that makes them different runs is refused by name.

    Seeds of a method that finds shapes, at one budget, are one run too, where `family` is one of `FOUND`.
    """
    if not folders:
        raise InputError("no run folder given; name at least one, such as runs/resnet20_cifar-w0.5-digits-s42-3f9a1c")
    results = [_read_result(Path(folder)) for folder in folders]
    _check_teachers(folders, results)
    same = [*(name for name in _SAME if name not in _OF_THE_SHAPE), "recipe"] if family in FOUND else _SAME
    for folder, result in zip(folders[1:], results[1:], strict=True):
        for name in same:
            if result.get(name) != results[0].get(name):
                raise InputError(
                    f"{folder}, {name}: {result.get(name)!r}, but {results[0].get(name)!r} in {folders[0]}: "
                    "one row averages seeds of one run"
                )
    seeds = [result["seed"] for result in results]
    if len(set(seeds)) != len(seeds):
        raise InputError(f"seeds {seeds}: the same seed twice is one run, not two")
    return results


def _check_teachers(folders: Sequence[str | os.PathLike[str]], results: Sequence[Mapping[str, Any]]) -> None:
    """Seeds may have teachers of their own, which are one network trained alike by the same share of the loss."""
    for folder, result in zip(folders[1:], results[1:], strict=True):
        ours, theirs = ((one.get("teacher") or {}) for one in (result, results[0]))
        for name in ("name", "alpha", "temperature"):
            if ours.get(name) != theirs.get(name):
                raise InputError(
                    f"{folder}, teacher: {name} {ours.get(name)!r}, but {theirs.get(name)!r} in {folders[0]}: "
                    "one row averages seeds of one run"
                )


def cells_of(results: Sequence[Mapping[str, Any]], family: str, *, ema: bool) -> dict[str, str]:
    """The figures of a row from the results of its seeds: means and sample deviations of the last epoch.

    Where seeds have shapes of their own, costs and epochs are the largest.
    """
    first = results[0]
    part = "test_ema" if ema else "test"
    top1 = [_percent(result, f"correct1_{part}") for result in results]
    top5 = [_percent(result, f"correct5_{part}") for result in results if result.get(f"correct5_{part}") is not None]
    # Seeds of one run may stop at slightly different updates when they are resumed; the cost is their mean.
    known = [Decimal(str(result["training_macs"])) for result in results if result["training_macs"] is not None]
    training = sum(known, Decimal(0)) / len(known) if len(known) == len(results) else None
    cells = {
        "source": "measured",
        "dataset": first["dataset"],
        "arch": first["arch"],
        "accuracy_unit": "accuracy",
        "top1_printed": _text(_mean(top1)),
        "n": str(len(results)),
        "cost_unit": "macs",
        "cost_printed_g": _giga(max(result["macs"] for result in results)),
        "params_printed_m": _mega(max(result["params"] for result in results)),
        "test_resolution": str(first["test_resolution"]),
        "hand": "first",
    }
    cells |= {name: str(first[name]) for name in ("recipe", "train_resolution") if first[name]}
    theirs = first.get("weights") == "theirs"
    cells |= weights.cells_of_theirs(first) if theirs else {"teacher": teacher_of(first)}
    if family != "dense":
        cells["dense_cost_printed_g"] = _giga(first["dense_macs"])
        cells["dense_params_printed_m"] = _mega(first["dense_params"])
    if len(top5) == len(results):
        cells["top5_printed"] = _text(_mean(top5))
    if len(top1) > 1:
        cells["top1_std"] = _text(_deviation(top1))
    if training is None:
        return cells  # someone else's, and not stated
    epochs = max(result["epochs"] for result in results)
    if first.get("initial_checkpoint") is None:
        cells["train_epochs"] = str(epochs)
        # What training the teacher took, its own run does not know of this one: the study that has both does.
        if not teacher_of(first):
            cells["training_macs_printed_g"] = _text(training / 10**9, _MICRO)
    else:
        cells["tune_epochs"] = str(epochs)
    return cells


def family_of(result: Mapping[str, Any]) -> str:
    """The family that a run's shape tells, or an empty string where only its author knows."""
    if result.get("initial_checkpoint") is not None:
        return "pruned"
    if result["shape"] == "dense":
        return "dense"
    shape = str(result["shape"])
    return "scaled" if _SCALED.fullmatch(shape) or base_width.of_shape(shape) else ""


def keep_evidence(board: Path, evidence: str, folders: Sequence[Path]) -> None:
    """Copy what proves a row beside the board, one folder a seed, no weights; a folder appears whole or not at all.

    Where things lay on the machine stays there: of absolute paths the copy has the last name.
    What a killed addition has left there is taken as it is if it is the same; anything else there is refused.
    """
    home = board.parent / evidence
    targets = {home / folder.resolve().name: folder for folder in folders}
    for standing in home.glob("[!.]*"):
        if standing not in targets or not _same_files(targets[standing], standing):
            raise InputError(
                f"{standing}: other evidence stands there already; move it away, or give the run another name"
            )
    for target, folder in targets.items():
        if target.exists():
            continue
        with building(target) as part:
            for name in _proofs(folder):
                (part / name).write_bytes(published(folder / name))
            publish(part, target)


def _proofs(folder: Path) -> list[str]:
    # A link could carry any file of this machine along.
    return [name for name in EVIDENCE_FILES if (folder / name).is_file() and not (folder / name).is_symlink()]


def _same_files(one: Path, two: Path) -> bool:
    names = _proofs(one)
    return names == _proofs(two) and all(published(one / name) == (two / name).read_bytes() for name in names)


def evidence_faults(root: Path, entry: Entry) -> Iterator[Fault]:
    """What the evidence folder of a measured row does not bear out: its figures are worked out from it again."""
    names = (RESULT_FILE, IMPORTED_FILE)
    folders = sorted({path.parent for name in names for path in (root / entry.evidence).glob(f"[!.]*/{name}")})
    if not folders:
        yield Fault("evidence", entry.evidence, "a folder beside the board that holds one run folder a seed")
        return
    try:
        expected = cells_of(read_results(folders, entry.family), entry.family, ema=entry.method.endswith(EMA))
    except InputError as error:
        yield Fault("evidence", entry.evidence, str(error))
        return
    cells = dict(zip(NAMES, format_row(entry), strict=True))
    for name, value in expected.items():
        if cells[name] != value:
            yield Fault(name, cells[name], f"what its evidence gives: {value}")


def _read_result(folder: Path) -> dict[str, Any]:
    path = folder / RESULT_FILE
    if not folder.is_dir():
        raise InputError(f"{folder}: not a folder; name a run folder such as runs/<id>")
    if weights.is_imported(folder):
        return weights.result_of(folder)
    result = Result.read(folder)
    one_of(f"{path}: dataset", result.dataset, DATASETS)
    if result.classes != DATASETS[result.dataset].classes:
        raise InputError(
            f"{path}: classes: takes {DATASETS[result.dataset].classes} for {result.dataset}, got {result.classes}; "
            "a part of a dataset needs a name of its own"
        )
    check_evidence(folder, result)
    return result.to_json()


def _percent(result: Mapping[str, Any], name: str) -> Decimal:
    correct = result.get(name)
    if not isinstance(correct, int) or not 0 <= correct <= result["images_test"]:
        raise InputError(f"{name}: {correct!r} is not a count of {result['images_test']} test images")
    return Decimal(100 * correct) / int(result["images_test"])


def _mean(values: Sequence[Decimal]) -> Decimal:
    return sum(values, Decimal(0)) / len(values)


def _deviation(values: Sequence[Decimal]) -> Decimal:
    mean = _mean(values)
    return Decimal(math.sqrt(sum((value - mean) ** 2 for value in values) / (len(values) - 1)))


def _text(value: Decimal, step: Decimal = _MILLI) -> str:
    return format(value.quantize(step, ROUND_HALF_EVEN), "f")


def _giga(count: int) -> str:
    return format(Decimal(count).scaleb(-9), "f")


def _mega(count: int) -> str:
    return format(Decimal(count).scaleb(-6), "f")
