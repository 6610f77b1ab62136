"""What a recipe is: how a network is trained, in the words of timm's train.py.

Owns the field names, their types, ranges and defaults, and the reading of recipe files. A field has the name and the
default of timm's flag, so that a recipe means the same there and here. `crop_padding`, its mode and `distill_*` are the
exception: timm's parser ignores these keys. Standard library and PyYAML only.
"""

from __future__ import annotations

import dataclasses
import itertools
import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

import thinresnet
from thinresnet import identity
from thinresnet.convert import brief, check_fields, convert, fields_of, setting
from thinresnet.errors import InputError, nearest
from thinresnet.policy import parse_policy
from thinresnet.yamls import read_document

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
# The hash of a recipe is that of how it trains: the same recipe on other images, another network or another seed is the
# same recipe, and those three are recorded beside it.
NOT_HASHED = ("data", "model", "run")
_LARGEST_FILE_BYTES = 65_536


def _option(group: str, default: Any, about: str, *, also: tuple[str, ...] = (), **limits: Any) -> Any:
    """A field: its group, timm's default, help with the unit, other spellings of its flag, and its limits."""
    return setting(default, about, group=group, also=also, **limits)


@dataclass(frozen=True)
class Recipe:
    """How to train. Every field is a flag of timm's train.py with timm's default; values are checked at once."""

    data_dir: str | None = _option("data", None, "folder of the dataset")
    dataset: str = _option(
        "data", "", "'' for folders, tar and .beton files; digits, torch/cifar10, torch/cifar100, hfds/NAME or wds/"
    )
    train_split: str = _option("data", "train", "folder, archive or split of the training images")
    val_split: str = _option("data", "validation", "the same of the test images; val, test are found too")
    input_key: str | None = _option("data", None, "hfds/, wds/: column or endings of the images (image; jpg;png;webp)")
    target_key: str | None = _option("data", None, "hfds/, wds/: column or .json key of the classes (label; .cls)")
    dataset_download: bool = _option("data", False, "download the dataset if it is missing", also=("--download",))

    model: str = _option(
        "model", "resnet50", "architecture: a name of `thinresnet networks` or of timm", also=("--arch",)
    )
    model_kwargs: dict[str, Scalar] = _option(
        "model", dict, "keyword arguments of the architecture, as key=value", arguments=True
    )
    device_modules: tuple[str, ...] | None = _option(
        "model", None, "modules that timm's train.py imports first", count=(1, 100)
    )
    num_classes: int | None = _option(
        "model", None, "classes; as many as the dataset has if not given", low=1, high=10**6
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
    opt_kwargs: dict[str, Scalar] = _option(
        "optimizer", dict, "further arguments of timm's optimizer factory, as key=value", arguments=True
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
        "augment",
        None,
        "timm policy (rand-m7-mstd0.5-inc1, augmix-m5 …) or ta_wide (torchvision's)",
        check=parse_policy,
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
    distill_alpha: float = _option(
        "loss", 0.9, "share of the loss that is the teacher's, with --teacher", above=0, high=1
    )
    distill_temperature: float = _option(
        "loss", 4.0, "temperature that softens teacher and network, with --teacher", above=0, high=1000
    )
    drop: float = _option("loss", 0.0, "dropout before the classifier", low=0, high=1)
    drop_path: float | None = _option("loss", None, "stochastic depth", low=0, high=1)

    model_ema: bool = _option("ema", False, "keep a moving average of the weights")
    model_ema_decay: float = _option("ema", 0.9998, "its decay an update", low=0, high=1)
    model_ema_warmup: bool = _option("ema", False, "let the decay rise to its value over the first updates")

    seed: int = _option("run", 42, "random seed", low=0, high=2**63 - 1)
    workers: int = _option(
        "run", 4, "loader processes (torch) or threads (beton, ffcv) a process", low=0, high=1024, also=("-j",)
    )
    log_interval: int = _option("run", 50, "updates between lines of the log", low=1, high=10**9)
    val_interval: int = _option("run", 1, "epochs between evaluations", low=1, high=10**6)
    checkpoint_hist: int = _option("run", 10, "checkpoints kept", low=1, high=10**6)
    log_wandb: bool = _option("run", False, "log to Weights & Biases as well")
    log_tensorboard: bool = _option("run", False, "log to TensorBoard as well, in the run's folder")

    def __post_init__(self) -> None:
        check_fields(self)
        _check_together(self)

    @classmethod
    def from_mapping(cls, values: Mapping[str, object], where: str) -> Recipe:
        """A recipe from keys and values that came from outside; every message begins with `where`."""
        return convert(cls, values, where, source="yaml", hint="keys are timm's flags")

    def replace(self, **changes: object) -> Recipe:
        """The same recipe with some fields changed."""
        return dataclasses.replace(self, **changes)  # type: ignore[arg-type]  # __post_init__ checks every type

    def to_yaml(self) -> str:
        """Every field, by group; reads back as an equal recipe, here and in timm."""
        lines = []
        for group, title in GROUPS.items():
            values = {
                name: getattr(self, name)
                for name, entry in fields_of(type(self)).items()
                if entry.limits["group"] == group
            }
            plain = {name: list(value) if isinstance(value, tuple) else value for name, value in values.items()}
            lines.append(f"# {title}\n{yaml.safe_dump(plain, sort_keys=False, allow_unicode=True, width=120)}")
        return "\n".join(lines)

    def differing(self, *groups_left_out: str) -> dict[str, Any]:
        """The fields that are not at their documented default, as plain JSON values: what identities are made of.

        A field that is added with its default changes none of them.
        """
        groups = {name: one.limits["group"] for name, one in fields_of(type(self)).items()}
        found = identity.differing(self, identity.RECIPE_DEFAULTS)
        return {name: value for name, value in found.items() if groups[name] not in groups_left_out}

    @property
    def hash(self) -> str:
        """The identity of this way of training, whatever the network, the data and the seed."""
        known = {"format": identity.FORMAT, **self.differing(*NOT_HASHED)}
        return identity.canonical_sha256(known)[:16]

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


def _folder() -> Path:
    """The recipes of a checkout, or those that the wheel carries."""
    package = Path(thinresnet.__file__).parent
    checkout = package.parent / "recipes"
    return checkout if (checkout / "digits.yaml").is_file() else package / "recipes"


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


def _read_yaml(path: Path) -> dict[str, object]:
    """The keys and values of a recipe file that may come from a stranger."""
    values = read_document(path, f"recipe {path}", largest_bytes=_LARGEST_FILE_BYTES)
    if not isinstance(values, dict):
        raise InputError(f"recipe {path}: a recipe has lines of `key: value`, got {brief(values)}")
    return values
