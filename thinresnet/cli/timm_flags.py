"""All flags of timm's train.py beside those here, as a page: `python -m thinresnet.cli.timm_flags`.

docs/reference/timm-flags.json states timm's parser (names, kinds, defaults), so that the page is made without it; a
test holds that file against a real train.py where there is one. `--from train.py` makes the file anew. What is the
same, different or absent is what `Recipe` and `timm_args` do; only the reasons for differences are written here.
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import thinresnet
from thinresnet.convert import fields_of
from thinresnet.errors import InputError
from thinresnet.files import write_atomically
from thinresnet.recipe import Recipe
from thinresnet.timm_args import DROPPED, REFUSED, TRANSLATED

FOLDER = Path(thinresnet.__file__).parents[1] / "docs" / "reference"
FLAGS, PAGE = FOLDER / "timm-flags.json", FOLDER / "timm-flags.md"
VERSION = "1.0.31"
_ERASED_FIRST = (
    "erased before images are mixed, as timm does with --no-prefetcher; its prefetcher mixes first and erases after"
)
_MIXED_LAST = (
    "mixed after normalising, as timm does with --no-prefetcher; its prefetcher mixes whole levels from 0 to 255"
)
# Fields that have timm's name and are not quite the same.
DIFFERENT = {
    "aa": "also ta_wide, torchvision's TrivialAugment; timm knows it with --device-modules thinresnet.training.timm_aa",
    "amp": "where it is not given, bfloat16 on CUDA; timm's default is off, as --no-amp is and its args.yaml says",
    "amp_dtype": "float16 is refused on a CPU, where it is slower than float32",
    "aug_repeats": "also with one process",
    "bce_loss": "binary also with --smoothing 0 and no mixing, where timm takes cross-entropy",
    "bn_eps": "where the architecture takes it; it is part of the network",
    "bn_momentum": "of every batch norm; timm hands it to the model, and few take it",
    "channels_last": "where it is not given, on with CUDA; timm's default is off (--no-channels-last)",
    "checkpoint_hist": "checkpoints are for resuming and are removed when the run is complete",
    "cutmix": _MIXED_LAST,
    "cutmix_minmax": _MIXED_LAST,
    "data_dir": "the folder may have splits named val or test too",
    "dataset": "folders, tar and .beton files, digits, torch/cifar…, hfds/ and wds/; tfds/ and hfids/ are refused",
    "device_modules": "kept for timm's train.py; here all networks are known",
    "distill_loss_weight": "with --teacher; where neither weight is given, distill_alpha weighs (timm: 1 and 1)",
    "initial_checkpoint": "a .safetensors file, a state dict or a run folder; nothing is unpickled",
    "log_interval": "in updates, for trackers; the table of epochs is always written",
    "mixup": _MIXED_LAST,
    "model": "also this project's networks, with or without thin_ before the name",
    "num_classes": "as many as the dataset has where not given; timm takes the model's",
    "recount": _ERASED_FIRST,
    "remode": _ERASED_FIRST,
    "reprob": _ERASED_FIRST,
    "sched": "plateau follows the training loss, because the test set chooses nothing; none is not known",
    "seed": "other random numbers: batches are a function of seed, epoch and step",
    "split_bn": "needs aug_splits; the weights that are kept have one batch norm, as timm evaluates",
    "sync_bn": "refused on CPUs, where torch has none",
    "task_loss_weight": "with --teacher; where neither weight is given, distill_alpha weighs (timm: 1 and 1)",
    "torchcompile": "long trainings on a GPU or one CPU are compiled without it; eager leaves that out",
    "train_interpolation": "random, bilinear or bicubic",
    "workers": "processes or threads of the loader; no result depends on them",
}
_PLACES = ("same", "different", "translated", "no effect", "refused")
_HEAD = f"""# Flags of timm's train.py

Made by `python -m thinresnet.cli.timm_flags`; a test keeps it current. All flags of `train.py` of timm {VERSION}.

- *same*: the same name, default and meaning, through timm's own optimizers, schedules, losses, mixup and transforms.
- *different*: the same name, and what is said.
- *translated*: another name here, which an `args.yaml` is read with.
- *no effect*: dropped when an `args.yaml` is read, with a line that names what was set.
- *refused*: an `args.yaml` in which it is not at its default is refused by name.

"""


def read_flags() -> dict[str, dict[str, Any]]:
    """timm's flags as they are stated: kind, default, and what else its parser has."""
    found: dict[str, dict[str, Any]] = json.loads(FLAGS.read_text(encoding="utf-8"))
    return found


def flags_of(train: Path) -> dict[str, dict[str, Any]]:
    """The flags of a real train.py, from its parser."""
    spec = importlib.util.spec_from_file_location("timm_train", train)
    if spec is None or spec.loader is None:
        raise InputError(f"{train}: no Python file")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    parser: argparse.ArgumentParser = module.parser
    return {
        action.dest: _stated(action)
        for action in sorted(parser._actions, key=lambda one: one.dest)
        if action.dest != "help"
    }


def page() -> str:
    """The whole page."""
    rows = list(_rows())
    counts = {
        what: sum(row[2] == what for row in rows)
        for what in ("same", "different", "translated", "no effect", "refused")
    }
    total = ", ".join(f"{count} {what}" for what, count in counts.items())
    lines = [f"{len(rows)} flags: {total}.\n", "| flag | default | here | why |", "|-|-|-|-|"]
    lines += [f"| `--{name.replace('_', '-')}` | {default} | {what} | {why} |" for name, default, what, why in rows]
    own = sorted(set(fields_of(Recipe)) - set(read_flags()))
    lines += ["", "Fields of recipes that timm's parser ignores: " + ", ".join(f"`{name}`" for name in own) + "."]
    return _HEAD + "\n".join(lines) + "\n"


def _rows() -> Iterator[tuple[str, str, str, str]]:
    for name, flag in read_flags().items():
        default = "" if flag["default"] in (None, "", {}, []) else f"`{json.dumps(flag['default'])}`"
        if name in fields_of(Recipe):
            yield name, default, "different" if name in DIFFERENT else "same", DIFFERENT.get(name, "")
        elif name in TRANSLATED:
            yield name, default, "translated", f"`{TRANSLATED[name]}`"
        elif name in DROPPED:
            yield name, default, "no effect", DROPPED[name]
        else:
            yield name, default, "refused", REFUSED[name].instead


def _stated(action: argparse.Action) -> dict[str, Any]:
    kinds = {int: "int", float: "float", str: "str", None: "str"}
    kind = "flag" if action.nargs == 0 else "kwargs" if type(action).__name__ == "ParseKwargs" else kinds[action.type]  # type: ignore[index]
    found: dict[str, Any] = {"kind": kind, "default": action.default}
    if action.nargs not in (None, 0):
        found["nargs"] = action.nargs
    if action.choices is not None:
        found["choices"] = list(action.choices)
    return found


def as_json(flags: dict[str, dict[str, Any]]) -> str:
    """The file of flags: one line each."""
    return "{\n" + ",\n".join(f"  {json.dumps(name)}: {json.dumps(flag)}" for name, flag in flags.items()) + "\n}\n"


def main(arguments: list[str]) -> int:
    """Write the page, and with `--from train.py` the flags before it."""
    if arguments[:1] == ["--from"] and len(arguments) == 2:
        write_atomically(FLAGS, as_json(flags_of(Path(arguments[1]))))
    write_atomically(PAGE, page())
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
