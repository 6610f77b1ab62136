"""What a recipe is: how a network is trained, in the words of timm's train.py.

Owns the field names, their types, ranges and defaults, the reading of recipe files, and the flags. A field has the name
and the default of timm's flag, so that a recipe means the same there and here. `crop_padding` and its mode are the
exception: timm has no padded crop, and its parser passes over the keys. Standard library and PyYAML only: help answers
in a blink.
"""

from __future__ import annotations

import argparse
import ast
import dataclasses
import functools
import hashlib
import itertools
import json
import math
import re
import reprlib
import types
import typing
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

import thinresnet
from thinresnet.errors import InputError, nearest
from thinresnet.policy import parse_policy

Scalar = bool | int | float | str

GROUPS = {
    "data": "where the images are",
    "model": "which network",
    "input": "sizes in pixels and normalisation",
    "batch": "batch and precision",
    "optimizer": "optimizer",
    "schedule": "learning rate over epochs",
    "augment": "augmentation",
    "loss": "mixing and loss",
    "ema": "moving average of the weights",
    "run": "this run",
}
# What a recipe is known by is how it trains: the same recipe on other images, another network or another seed is the
# same recipe, and those three are recorded beside it.
_NOT_HASHED = ("data", "model", "run")
_LARGEST_FILE = 65_536
_show = reprlib.Repr()
_show.maxstring = _show.maxother = 60
_show.maxlevel = 2


def _option(
    group: str,
    default: Any,
    about: str,
    *,
    low: float | None = None,
    high: float | None = None,
    above: float | None = None,
    choices: tuple[str, ...] = (),
    count: tuple[int, ...] = (),
    also: tuple[str, ...] = (),
) -> Any:
    """A field: its group, timm's default, help with the unit, the range allowed, and other spellings of its flag."""
    limits = {"low": low, "high": high, "above": above, "choices": choices, "count": count}
    return field(default=default, metadata={"group": group, "help": about, "also": also, **limits})


def _about(group: str, about: str) -> dict[str, Any]:
    """What is said of a field of names and values."""
    return {"group": group, "help": about, "also": ()}


@dataclass(frozen=True)
class Recipe:
    """How to train. Every field is a flag of timm's train.py with timm's default; values are checked at once."""

    data_dir: str | None = _option("data", None, "folder of the data set")
    dataset: str = _option("data", "", "'' for class folders, digits, torch/cifar10 or torch/cifar100")
    train_split: str = _option("data", "train", "folder of the training images inside data_dir")
    val_split: str = _option("data", "validation", "folder of the test images inside data_dir; val, test are found too")
    dataset_download: bool = _option("data", False, "download the data set if it is missing", also=("--download",))

    model: str = _option(
        "model", "resnet50", "architecture: a name of `thinresnet networks` or of timm", also=("--arch",)
    )
    model_kwargs: dict[str, Scalar] = field(
        default_factory=dict, metadata=_about("model", "keyword arguments of the architecture, as key=value")
    )
    device_modules: tuple[str, ...] | None = _option("model", None, "modules that timm's train.py imports first")
    num_classes: int | None = _option(
        "model", None, "classes; as many as the data set has if not given", low=1, high=10**6
    )
    initial_checkpoint: str = _option("model", "", "weights to start from: a .safetensors or .pth file")
    channels_last: bool = _option("model", False, "keep images and weights in channels-last order")
    torchcompile: str | None = _option(
        "model", None, "torch.compile backend; inductor for long CPU runs if not given; eager: none"
    )
    torchcompile_mode: str | None = _option("model", None, "mode of torch.compile, such as max-autotune")

    img_size: int | None = _option(
        "input", None, "image side, pixels; the network's own if not given", low=1, high=4096
    )
    train_img_sizes: tuple[int, ...] | None = _option(
        "input", None, "training image sides, pixels, where they differ from img_size", low=1, high=4096, count=(1, 16)
    )
    train_size_schedule: str = _option(
        "input", "constant", "how train_img_sizes are used over the epochs", choices=("constant", "progressive")
    )
    train_size_schedule_spread: float = _option(
        "input", 0.65, "width of the moving window over the sizes", low=0, high=100
    )
    train_size_random_mix: float = _option("input", 0.1, "share of steps with any of the sizes", low=0, high=1)
    crop_pct: float | None = _option(
        "input", None, "test crop side / resized side; 0.875 if not given", above=0, high=1
    )
    mean: tuple[float, ...] | None = _option("input", None, "channel means, of 1", low=0, high=1, count=(1, 3))
    std: tuple[float, ...] | None = _option("input", None, "channel deviations, of 1", above=0, high=1, count=(1, 3))
    interpolation: str = _option(
        "input", "", "test resizing; bicubic if not given", choices=("", "bilinear", "bicubic")
    )
    train_interpolation: str = _option(
        "input", "random", "training resizing", choices=("random", "bilinear", "bicubic")
    )

    batch_size: int = _option("batch", 128, "images a step and process", low=1, high=10**6, also=("-b",))
    validation_batch_size: int | None = _option(
        "batch", None, "images a test step and process; batch_size if not given", low=1, high=10**6, also=("-vb",)
    )
    grad_accum_steps: int = _option("batch", 1, "batches summed before an update", low=1, high=10**4)
    amp: bool = _option("batch", False, "mixed precision")
    amp_dtype: str = _option("batch", "float16", "type of mixed precision", choices=("float16", "bfloat16"))

    opt: str = _option("optimizer", "sgd", "timm optimizer: sgd (Nesterov), momentum (plain), lamb, adamw, rmsproptf …")
    opt_eps: float | None = _option("optimizer", None, "epsilon of the optimizer", above=0, high=1)
    opt_betas: tuple[float, ...] | None = _option(
        "optimizer", None, "betas of the optimizer", low=0, high=1, count=(1, 3)
    )
    momentum: float = _option("optimizer", 0.9, "momentum", low=0, high=1)
    weight_decay: float = _option("optimizer", 2e-5, "weight decay a step", low=0, high=10)
    clip_grad: float | None = _option("optimizer", None, "bound on the gradient", above=0)
    clip_mode: str = _option("optimizer", "norm", "what clip_grad bounds", choices=("norm", "value", "agc"))
    opt_kwargs: dict[str, Scalar] = field(
        default_factory=dict,
        metadata=_about("optimizer", "further arguments of timm's optimizer factory, as key=value"),
    )

    sched: str = _option("schedule", "cosine", "shape of the schedule", choices=("cosine", "step", "multistep", "poly"))
    sched_on_updates: bool = _option("schedule", False, "change the rate at every update instead of every epoch")
    lr: float | None = _option("schedule", None, "learning rate, whatever the batch", low=0, high=10**4)
    lr_base: float = _option("schedule", 0.1, "learning rate at a global batch of lr_base_size", low=0, high=10**4)
    lr_base_size: int = _option("schedule", 256, "global batch that lr_base is meant for, images", low=1, high=10**7)
    lr_base_scale: str = _option(
        "schedule", "", "how lr follows the batch; sqrt for Adam and LAMB if not given", choices=("", "linear", "sqrt")
    )
    warmup_lr: float = _option("schedule", 1e-5, "learning rate where the warm-up begins", low=0, high=10**4)
    warmup_epochs: int = _option("schedule", 5, "epochs of warm-up", low=0, high=10**6)
    warmup_prefix: bool = _option("schedule", False, "warm up before `epochs` instead of within them")
    min_lr: float = _option("schedule", 0.0, "lowest learning rate", low=0, high=10**4)
    epochs: int = _option("schedule", 300, "epochs", low=1, high=10**6)
    cooldown_epochs: int = _option("schedule", 0, "epochs at min_lr after the schedule", low=0, high=10**6)
    decay_epochs: float = _option("schedule", 90.0, "epochs between steps of sched step", above=0, high=10**6)
    decay_rate: float = _option(
        "schedule", 0.1, "factor of a step; exponent of sched poly", low=0, high=100, also=("--dr",)
    )
    decay_milestones: tuple[int, ...] = _option(
        "schedule", (90, 180, 270), "epochs where sched multistep steps", low=0, high=10**6, count=(1, 100)
    )

    scale: tuple[float, ...] = _option(
        "augment", (0.08, 1.0), "area of the random crop, of 1", above=0, high=1, count=(2, 2)
    )
    ratio: tuple[float, ...] = _option(
        "augment", (3 / 4, 4 / 3), "aspect ratio of the random crop", above=0, high=100, count=(2, 2)
    )
    crop_padding: int = _option(
        "augment", 0, "pixels around an image before a crop of its own side, instead of scale and ratio",
        low=0, high=1024,
    )  # fmt: skip
    crop_padding_mode: str = _option(
        "augment",
        "constant",
        "what crop_padding puts there: black, or the image reflected",
        choices=("constant", "reflect"),
    )
    hflip: float = _option("augment", 0.5, "chance of a horizontal flip", low=0, high=1)
    color_jitter: float | None = _option(
        "augment", 0.4, "strength of colour jitter; not used together with aa", low=0, high=10
    )
    aa: str | None = _option(
        "augment", None, "timm policy (rand-m7-mstd0.5-inc1, augmix-m5 …) or ta_wide (torchvision's)"
    )
    aug_repeats: float = _option("augment", 0.0, "times an image recurs in a step, augmented anew", low=0, high=100)
    reprob: float = _option("augment", 0.0, "chance of random erasing", low=0, high=1)
    remode: str = _option("augment", "pixel", "what random erasing fills in", choices=("pixel", "const", "rand"))
    recount: int = _option("augment", 1, "most rectangles erased in an image", low=1, high=100)

    mixup: float = _option("loss", 0.0, "alpha of mixup; 0 is off", low=0, high=100)
    cutmix: float = _option("loss", 0.0, "alpha of cutmix; 0 is off", low=0, high=100)
    mixup_prob: float = _option("loss", 1.0, "chance of mixing a batch", low=0, high=1)
    mixup_switch_prob: float = _option("loss", 0.5, "chance of cutmix where both are on", low=0, high=1)
    mixup_mode: str = _option("loss", "batch", "one mix a batch, pair or image", choices=("batch", "pair", "elem"))
    mixup_off_epoch: int = _option("loss", 0, "epoch from which nothing is mixed; 0 is never", low=0, high=10**6)
    smoothing: float = _option("loss", 0.1, "label smoothing", low=0, high=1)
    bce_loss: bool = _option("loss", False, "binary cross-entropy instead of cross-entropy")
    bce_target_thresh: float | None = _option(
        "loss", None, "binary cross-entropy: targets above it are 1", low=0, high=1
    )
    drop: float = _option("loss", 0.0, "dropout before the classifier", low=0, high=1)
    drop_path: float | None = _option("loss", None, "stochastic depth", low=0, high=1)

    model_ema: bool = _option("ema", False, "keep a moving average of the weights")
    model_ema_decay: float = _option("ema", 0.9998, "its decay an update", low=0, high=1)
    model_ema_warmup: bool = _option("ema", False, "let the decay rise to its value over the first updates")

    seed: int = _option("run", 42, "random seed", low=0, high=2**63 - 1)
    workers: int = _option(
        "run", 4, "loader processes (torch) or threads (ffcv) a process", low=0, high=1024, also=("-j",)
    )
    log_interval: int = _option("run", 50, "updates between lines of the log", low=1, high=10**9)
    val_interval: int = _option("run", 1, "epochs between evaluations", low=1, high=10**6)
    checkpoint_hist: int = _option("run", 10, "checkpoints kept", low=1, high=10**6)
    log_wandb: bool = _option("run", False, "log to Weights & Biases as well")

    def __post_init__(self) -> None:
        for entry in dataclasses.fields(self):
            object.__setattr__(self, entry.name, _checked(entry, getattr(self, entry.name)))
        _check_together(self)

    @classmethod
    def from_mapping(cls, values: Mapping[str, object], where: str) -> Recipe:
        """A recipe from keys and values that came from outside; every message begins with `where`."""
        known = _fields()
        for key in values:
            if key not in known:
                named = _show.repr(key)
                raise InputError(f"{where}: unknown key {named}{nearest(str(key), known)} (keys are timm's flags)")
        try:
            return cls(**values)  # type: ignore[arg-type]  # __post_init__ checks every type
        except InputError as error:
            raise InputError(f"{where}: {error}") from None

    def replace(self, **changes: object) -> Recipe:
        """The same recipe with some fields changed."""
        return dataclasses.replace(self, **changes)  # type: ignore[arg-type]  # __post_init__ checks every type

    def to_yaml(self) -> str:
        """Every field, by group; reads back as an equal recipe, here and in timm."""
        lines = []
        for group, title in GROUPS.items():
            values = {
                name: getattr(self, name) for name, entry in _fields().items() if entry.metadata["group"] == group
            }
            plain = {name: list(value) if isinstance(value, tuple) else value for name, value in values.items()}
            lines.append(f"# {title}\n{yaml.safe_dump(plain, sort_keys=False, allow_unicode=True, width=120)}")
        return "\n".join(lines)

    @property
    def hash(self) -> str:
        """What this way of training is known by, whatever the order of keys, the network, the data and the seed."""
        hashed = {
            name: getattr(self, name) for name, entry in _fields().items() if entry.metadata["group"] not in _NOT_HASHED
        }
        return hashlib.sha256(json.dumps(hashed, sort_keys=True).encode()).hexdigest()[:16]

    @property
    def total_epochs(self) -> int:
        """Epochs that a run takes, warm-up and cool-down included."""
        return self.epochs + self.cooldown_epochs + (self.warmup_epochs if self.warmup_prefix else 0)

    def learning_rate(self, process_count: int) -> float:
        """The peak learning rate: `lr`, or `lr_base` scaled to the global batch by timm's rule."""
        if self.lr:
            return self.lr
        ratio = self.batch_size * self.grad_accum_steps * process_count / self.lr_base_size
        scale = self.lr_base_scale or (
            "sqrt" if any(name in self.opt.lower() for name in ("ada", "lamb")) else "linear"
        )
        return self.lr_base * (math.sqrt(ratio) if scale == "sqrt" else ratio)


def load(name_or_path: str | Path, overrides: Mapping[str, object] | None = None) -> Recipe:
    """The recipe of that name (see `names`) or in that file, with `overrides` (flags) on top."""
    path = find(name_or_path)
    recipe = Recipe.from_mapping(_read_yaml(path), str(name_or_path))
    if not overrides:
        return recipe
    values = {entry.name: getattr(recipe, entry.name) for entry in dataclasses.fields(recipe)}
    return Recipe.from_mapping({**values, **overrides}, f"{name_or_path} with flags")


def names() -> tuple[str, ...]:
    """The recipes that come with the package."""
    return tuple(sorted(path.stem for path in _folder().glob("*.yaml")))


def find(name_or_path: str | Path) -> Path:
    """The file of a recipe given by name or by path."""
    text = str(name_or_path)
    path = Path(text)
    if path.suffix in (".yaml", ".yml") or len(path.parts) > 1:
        if not path.is_file():
            raise InputError(f"recipe {text}: no such file")
        return path
    if text not in names():
        raise InputError(
            f"recipe {text!r}: no recipe of that name{nearest(text, names())}; there are {', '.join(names())}"
        )
    return _folder() / f"{text}.yaml"


def add_flags(parser: argparse.ArgumentParser, recipe: Recipe | None = None) -> None:
    """Every field as a flag, by group; `recipe` is where the defaults that the help shows come from."""
    shown = recipe or Recipe()
    for group, title in GROUPS.items():
        section = parser.add_argument_group(title)
        for name, entry in _fields().items():
            if entry.metadata["group"] == group:
                _add_flag(section, entry, getattr(shown, name))


def overrides_from(namespace: argparse.Namespace) -> dict[str, object]:
    """The fields that were given as flags."""
    return {name: value for name, value in vars(namespace).items() if name in _fields()}


@dataclass(frozen=True)
class _Type:
    """What a field holds: one `kind`, several of it (`many`) or a mapping of scalars; and whether None may stand."""

    kind: type
    many: bool
    optional: bool


@functools.cache
def _fields() -> dict[str, dataclasses.Field[Any]]:
    return {entry.name: entry for entry in dataclasses.fields(Recipe)}


@functools.cache
def _types() -> dict[str, _Type]:
    return {name: _type_of(hint) for name, hint in typing.get_type_hints(Recipe).items()}


def _type_of(hint: Any) -> _Type:
    optional = typing.get_origin(hint) is types.UnionType
    bare = next(part for part in typing.get_args(hint) if part is not types.NoneType) if optional else hint
    origin = typing.get_origin(bare)
    if origin is tuple:
        return _Type(typing.get_args(bare)[0], True, optional)
    return _Type(origin or bare, False, optional)


def _folder() -> Path:
    """The recipes of a checkout, or those that the wheel carries."""
    package = Path(thinresnet.__file__).parent
    checkout = package.parent / "recipes"
    return checkout if (checkout / "digits.yaml").is_file() else package / "recipes"


def _checked(entry: dataclasses.Field[Any], value: object) -> object:
    """The value in the field's own type, or a refusal that says what the field takes."""
    kind = _types()[entry.name]
    if value is None and kind.optional:
        return None
    if kind.kind is dict:
        return _checked_mapping(entry.name, value)
    if kind.many:
        if not isinstance(value, (list, tuple)):
            raise _refusal(entry, value)
        fewest, most = entry.metadata["count"] or (1, 100)
        if not fewest <= len(value) <= most:
            wanted = f"{fewest}" if fewest == most else f"{fewest} to {most}"
            raise InputError(f"{entry.name}: takes {wanted} values, got {len(value)}")
        # timm leaves what stands inside a list as it is, so a text that looks like a number is one nowhere.
        return tuple(_one(entry, kind.kind, item, read_text=False) for item in value)
    return _one(entry, kind.kind, value, read_text=True)


def _one(entry: dataclasses.Field[Any], kind: type, value: object, *, read_text: bool) -> object:
    found: object = None
    if kind is bool or kind is str:
        found = value if type(value) is kind else None
    elif (isinstance(value, str) and read_text) or (type(value) is int and kind in (int, float)):
        found = _number(kind, value)
    elif type(value) is float and kind is float:
        found = value
    if found is None or (isinstance(found, float) and not math.isfinite(found)) or not _in_range(entry, found):
        raise _refusal(entry, value)
    return found


def _number(kind: type, value: str | int) -> object:
    """The number that was written, or None: YAML 1.1 reads 5e-3 as a text, and argparse has only texts."""
    if isinstance(value, str) and not re.fullmatch(r"[+-]?[0-9.]+([eE][+-]?[0-9]+)?", value.strip(), re.ASCII):
        return None
    try:
        return kind(value)
    except (ValueError, OverflowError):
        return None


def _in_range(entry: dataclasses.Field[Any], value: object) -> bool:
    limits = entry.metadata
    if isinstance(value, str):
        if entry.name == "aa":
            parse_policy(value)
        return (not limits["choices"] or value in limits["choices"]) and value.isprintable()
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return True
    low, high, above = limits["low"], limits["high"], limits["above"]
    return (low is None or value >= low) and (high is None or value <= high) and (above is None or value > above)


def _refusal(entry: dataclasses.Field[Any], value: object) -> InputError:
    return InputError(f"{entry.name}: takes {_wanted(entry)}, got {_show.repr(value)}")


def _wanted(entry: dataclasses.Field[Any]) -> str:
    kind, limits = _types()[entry.name], entry.metadata
    if limits["choices"]:
        return "one of " + ", ".join(repr(choice) for choice in limits["choices"])
    words = {bool: "true or false", int: "a whole number", float: "a number", str: "a text"}[kind.kind]
    parts = [f"a list, each {words}" if kind.many else words]
    if limits["low"] is not None:
        parts.append(f"at least {limits['low']:g}")
    if limits["above"] is not None:
        parts.append(f"above {limits['above']:g}")
    if limits["high"] is not None:
        parts.append(f"at most {limits['high']:g}")
    return ", ".join(parts) + (", or nothing (null)" if kind.optional else "")


def _checked_mapping(name: str, value: object) -> dict[str, Scalar]:
    if not isinstance(value, Mapping):
        raise InputError(f"{name}: takes a mapping of names to values, got {_show.repr(value)}")
    found: dict[str, Scalar] = {}
    for key, item in value.items():
        if not isinstance(key, str) or not key.isidentifier():
            raise InputError(f"{name}: {_show.repr(key)} is not the name of an argument")
        if not isinstance(item, (bool, int, float, str)) or (isinstance(item, float) and not math.isfinite(item)):
            raise InputError(f"{name}: {key} takes a number, a text, true or false, got {_show.repr(item)}")
        found[key] = item
    return found


def _check_together(recipe: Recipe) -> None:
    """What no field can say alone."""
    for name in ("scale", "ratio"):
        low, high = getattr(recipe, name)
        if low > high:
            raise InputError(f"{name}: the first value is at most the second, got {low:g} {high:g}")
    steps = recipe.decay_milestones
    if any(later <= earlier for earlier, later in itertools.pairwise(steps)):
        raise InputError(f"decay_milestones: must increase, got {' '.join(map(str, steps))}")
    if recipe.train_size_schedule == "progressive" and len(recipe.train_img_sizes or ()) < 2:
        raise InputError("train_size_schedule: progressive needs two or more train_img_sizes")
    if not recipe.warmup_prefix and recipe.warmup_epochs > recipe.epochs:
        raise InputError(
            f"warmup_epochs: {recipe.warmup_epochs} are more than epochs ({recipe.epochs}); set warmup_epochs too, or "
            "warmup_prefix to warm up before them"
        )
    for name in ("mean", "std"):
        if len(getattr(recipe, name) or (0,)) == 2:
            raise InputError(f"{name}: takes 1 or 3 values, got 2")


class PlainLoader(yaml.SafeLoader):
    """Plain YAML without what a recipe has no use for: aliases (which can grow without bound) and a key given twice."""

    def compose_node(self, parent: yaml.Node | None, index: int) -> yaml.Node | None:
        if self.check_event(yaml.AliasEvent):
            raise yaml.MarkedYAMLError(problem="an alias (*name)", problem_mark=self.peek_event().start_mark)  # type: ignore[no-untyped-call]
        return super().compose_node(parent, index)

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        seen = set()
        for key, _ in node.value:
            if key.value.__hash__ is not None and (key.tag, key.value) in seen:
                raise yaml.MarkedYAMLError(
                    problem=f"the key {_show.repr(key.value)} twice", problem_mark=key.start_mark
                )
            seen.add((key.tag, key.value if isinstance(key.value, str) else id(key)))
        return super().construct_mapping(node, deep=deep)


def _read_yaml(path: Path) -> dict[str, object]:
    """The keys and values of a recipe file that may come from a stranger."""
    try:
        if path.stat().st_size > _LARGEST_FILE:
            raise InputError(f"recipe {path}: larger than {_LARGEST_FILE:,} bytes; a recipe is a short flat YAML file")
        values = yaml.load(path.read_text(encoding="utf-8"), Loader=PlainLoader)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        at = f" line {mark.line + 1}" if mark else ""
        raise InputError(f"recipe {path}{at}: not a flat YAML file: {error.problem}") from None
    except RecursionError:
        raise InputError(f"recipe {path}: nested too deeply; a recipe is a flat YAML file") from None
    except (yaml.YAMLError, ValueError, OSError) as error:
        if isinstance(error, InputError):
            raise
        raise InputError(f"recipe {path}: cannot be read: {' '.join(str(error).split())[:200]}") from None
    if not isinstance(values, dict):
        raise InputError(f"recipe {path}: a recipe is a list of `key: value` lines, got {_show.repr(values)}")
    return values


def _add_flag(section: argparse._ArgumentGroup, entry: dataclasses.Field[Any], shown: object) -> None:
    kind = _types()[entry.name]
    flags = [
        *(flag for flag in entry.metadata["also"] if not flag.startswith("--")),
        "--" + entry.name.replace("_", "-"),
    ]
    flags += [flag for flag in entry.metadata["also"] if flag.startswith("--")]
    given: dict[str, Any] = {"dest": entry.name, "default": argparse.SUPPRESS}
    about = f"{entry.metadata['help']} (default: {_as_flag(shown)})".replace("%", "%%")
    if kind.kind is bool:
        section.add_argument(*flags, action=argparse.BooleanOptionalAction, help=about, **given)
    elif kind.kind is dict:
        section.add_argument(*flags, nargs="*", action=_KeyValues, metavar="KEY=VALUE", help=about, **given)
    else:
        convert: Callable[[str], object] = str if kind.kind is str else functools.partial(_flag_number, kind.kind)
        metavar = {int: "N", float: "X", str: "TEXT"}[kind.kind]
        section.add_argument(
            *flags, type=convert, metavar=metavar, help=about, nargs="+" if kind.many else None, **given
        )


def _flag_number(kind: type, text: str) -> object:
    found = _number(kind, text)
    if found is None:
        raise argparse.ArgumentTypeError(
            f"takes {'a whole number' if kind is int else 'a number'}, got {_show.repr(text)}"
        )
    return found


class _KeyValues(argparse.Action):
    """`width=0.5 interior=true` as a mapping; what is no Python literal is a text."""

    def __call__(
        self, parser: argparse.ArgumentParser, namespace: argparse.Namespace, values: Any, option: str | None = None
    ) -> None:
        found = {}
        for pair in values:
            key, equals, text = pair.partition("=")
            if not equals:
                parser.error(f"argument {option}: takes key=value, got {_show.repr(pair)}")
            found[key] = _literal(text)
        setattr(namespace, self.dest, found)


def _literal(text: str) -> object:
    if text.lower() in ("true", "false"):
        return text.lower() == "true"
    try:
        return ast.literal_eval(text)
    except (ValueError, SyntaxError, RecursionError, MemoryError):
        return text


def _as_flag(value: object) -> str:
    if value is None or value in ("", {}):
        return "none"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, dict):
        return " ".join(f"{key}={item}" for key, item in value.items())
    if isinstance(value, (list, tuple)):
        return " ".join(_as_flag(item) for item in value)
    return f"{value:.6g}" if isinstance(value, float) else str(value)
