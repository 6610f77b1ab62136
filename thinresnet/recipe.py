"""What a recipe is: how a network is trained, in the words of timm's train.py.

Owns the field names, their types, ranges and defaults, and the reading of recipe files. A field has the name and the
default of timm's flag, so that a recipe means the same there and here. `crop_padding`, its mode, `weight_decay_also`,
`distill_alpha` and `distill_temperature` are the exception: timm's parser ignores these keys. What fields say together
is checked in `recipe_checks`; other keys of timm's own args.yaml are read by `timm_args`. Standard library and PyYAML
only.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

import thinresnet
from thinresnet import identity, recipe_checks, timm_args
from thinresnet.convert import brief, check_fields, convert, fields_of, setting
from thinresnet.errors import InputError, nearest
from thinresnet.policy import parse_policy
from thinresnet.yamls import read_document

Scalar = bool | int | float | str
SCHEDULES = ("cosine", "step", "multistep", "poly", "tanh", "constant", "wsd", "rsqrt", "plateau")
_IN_CYCLES = ("cosine", "tanh", "poly")  # schedules that end: timm cools down after them, and may begin them anew

GROUPS = {
    "data": "where the images are",
    "model": "which network",
    "input": "sizes in pixels and normalisation",
    "batch": "batch and precision",
    "norm": "batch norm and the classifier's start",
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
    model_kwargs: dict[str, Scalar | tuple[Scalar, ...]] = _option(
        "model", dict, "keyword arguments of the architecture, as key=value", arguments=True
    )
    device_modules: tuple[str, ...] | None = _option(
        "model", None, "modules that timm's train.py imports first", count=(1, 100)
    )
    num_classes: int | None = _option(
        "model", None, "classes; as many as the dataset has if not given", low=1, high=10**6
    )
    initial_checkpoint: str = _option("model", "", "weights to start from: a .safetensors or .pth file")
    channels_last: bool | None = _option(
        "model", None, "keep images and weights in channels-last order; on CUDA if not given"
    )
    torchcompile: str | None = _option(
        "model", None, "torch.compile backend; inductor for long runs if not given; eager: none", bare="inductor"
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
    train_size_probs: tuple[float, ...] | None = _option(
        "input", None, "how often each of train_img_sizes is used, in any unit; equally if not given",
        low=0, high=10**6, count=(1, 16),
    )  # fmt: skip
    crop_pct: float | None = _option(
        "input", None, "test crop side / resized side; the model's own if not given", low=0.01, high=1
    )
    mean: tuple[float, ...] | None = _option(
        "input", None, "channel means, of 1; the model's own if not given", low=0, high=1, count=(1, 3)
    )
    std: tuple[float, ...] | None = _option(
        "input", None, "channel deviations, of 1; the model's own if not given", above=0, high=1, count=(1, 3)
    )
    interpolation: str = _option(
        "input", "", "test resizing; the model's own if not given", choices=("", "bilinear", "bicubic")
    )
    train_interpolation: str = _option(
        "input", "random", "training resizing", choices=("random", "bilinear", "bicubic")
    )

    batch_size: int = _option("batch", 128, "images a step and process", low=1, high=10**6, also=("-b",))
    validation_batch_size: int | None = _option(
        "batch", None, "images a test step and process; batch_size if not given", low=1, high=10**6, also=("-vb",)
    )
    grad_accum_steps: int = _option("batch", 1, "batches summed before an update", low=1, high=10**4)
    amp: bool | None = _option("batch", None, "mixed precision; bfloat16 on CUDA if not given")
    amp_dtype: str = _option("batch", "float16", "type of mixed precision", choices=("float16", "bfloat16"))
    grad_checkpointing: bool = _option("batch", False, "compute activations again in the backward pass: less memory")

    bn_momentum: float | None = _option("norm", None, "momentum of batch norms; the network's own if not given",
        above=0, high=1)  # fmt: skip
    bn_eps: float | None = _option("norm", None, "epsilon of batch norms, where the architecture takes one",
        above=0, high=1)  # fmt: skip
    sync_bn: bool = _option("norm", False, "batch norms over the batches of all processes (on GPUs)")
    split_bn: bool = _option("norm", False, "batch norms of their own for each of aug_splits")
    head_init_scale: float | None = _option("norm", None, "factor of the classifier's first weights and biases",
        low=0, high=10**4)  # fmt: skip
    head_init_bias: float | None = _option("norm", None, "first value of the classifier's biases",
        low=-(10**4), high=10**4)  # fmt: skip

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
    layer_decay: float | None = _option("optimizer", None, "learning rate of a layer / that of the next one",
        above=0, high=1)  # fmt: skip
    layer_decay_min_scale: float = _option("optimizer", 0.0, "lowest factor of layer_decay", low=0, high=1)
    layer_decay_no_opt_scale: float | None = _option(
        "optimizer", None, "factor of layer_decay below which a layer is not trained", low=0, high=1
    )
    weight_decay_also: tuple[str, ...] | None = _option(
        "optimizer", None, "norms and biases that are decayed all the same, by a part of their name", count=(1, 100)
    )

    sched: str = _option("schedule", "cosine", "shape of the schedule; plateau: of the training loss",
        choices=SCHEDULES)  # fmt: skip
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
        "schedule", 0.1, "factor of a step or plateau; exponent of sched poly", low=0, high=100, also=("--dr",)
    )
    decay_milestones: tuple[int, ...] = _option(
        "schedule", (90, 180, 270), "epochs where sched multistep steps", low=0, high=10**6, count=(1, 100)
    )
    patience_epochs: int = _option("schedule", 10, "epochs without improvement before sched plateau steps",
        low=0, high=10**6)  # fmt: skip
    lr_noise: tuple[float, ...] | None = _option(
        "schedule",
        None,
        "share of the schedule from which the rate is noisy, and to which",
        low=0,
        high=1,
        count=(1, 2),
    )
    lr_noise_pct: float = _option("schedule", 0.67, "bound on that noise, of the rate", above=0, high=100)
    lr_noise_std: float = _option("schedule", 1.0, "deviation of that noise", low=0, high=10)
    lr_cycle_mul: float = _option("schedule", 1.0, "length of a cycle / that of the one before", low=0.01, high=100)
    lr_cycle_decay: float = _option("schedule", 0.5, "peak of a cycle / that of the one before", low=0, high=1)
    lr_cycle_limit: int = _option("schedule", 1, "cycles of cosine, tanh or poly", low=1, high=1000)
    lr_k_decay: float = _option("schedule", 1.0, "exponent of k-decay of cosine and poly", above=0, high=100)

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
    no_aug: bool = _option("augment", False, "resize and crop the centre only, whatever else is set")
    train_crop_mode: str | None = _option(
        "augment", None, "training crop: rrc (random, resized), rkrc or rkrr (resized in proportion, centre or random)",
        choices=("rrc", "rkrc", "rkrr"),
    )  # fmt: skip
    hflip: float = _option("augment", 0.5, "chance of a horizontal flip", low=0, high=1)
    vflip: float = _option("augment", 0.0, "chance of a vertical flip", low=0, high=1)
    color_jitter: float | None = _option(
        "augment", 0.4, "strength of colour jitter; not used together with aa", low=0, high=10
    )
    color_jitter_prob: float | None = _option("augment", None, "chance of colour jitter; always if not given",
        low=0, high=1)  # fmt: skip
    grayscale_prob: float | None = _option("augment", None, "chance of a grey image", low=0, high=1)
    gaussian_blur_prob: float | None = _option("augment", None, "chance of a blurred image", low=0, high=1)
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
    aug_splits: int = _option("augment", 0, "versions of each image in a batch, the first without aa", low=0, high=16)
    resplit: bool = _option("augment", False, "erase nothing in the first of aug_splits")

    mixup: float = _option("loss", 0.0, "alpha of mixup; 0 is off", low=0, high=100)
    cutmix: float = _option("loss", 0.0, "alpha of cutmix; 0 is off", low=0, high=100)
    cutmix_minmax: tuple[float, ...] | None = _option(
        "loss",
        None,
        "shortest and longest side of what cutmix pastes, of 1, instead of alpha",
        low=0,
        high=1,
        count=(2, 2),
    )
    mixup_prob: float = _option("loss", 1.0, "chance of mixing a batch", low=0, high=1)
    mixup_switch_prob: float = _option("loss", 0.5, "chance of cutmix where both are on", low=0, high=1)
    mixup_mode: str = _option("loss", "batch", "one mix a batch, pair or image", choices=("batch", "pair", "elem"))
    mixup_off_epoch: int = _option("loss", 0, "epoch from which nothing is mixed; 0 is never", low=0, high=10**6)
    smoothing: float = _option("loss", 0.1, "label smoothing", low=0, below=1)
    bce_loss: bool = _option("loss", False, "binary cross-entropy instead of cross-entropy")
    bce_target_thresh: float | None = _option(
        "loss", None, "binary cross-entropy: targets above it are 1", low=0, high=1
    )
    bce_sum: bool = _option("loss", False, "binary cross-entropy: summed over the classes, not their mean")
    bce_pos_weight: float | None = _option("loss", None, "binary cross-entropy: weight of the positive class",
        above=0, high=10**6)  # fmt: skip
    jsd_loss: bool = _option("loss", False, "cross-entropy of the first of aug_splits, and what the others differ by")
    distill_alpha: float = _option(
        "loss", 0.9, "share of the loss that is the teacher's, with --teacher", above=0, high=1
    )
    distill_temperature: float = _option(
        "loss", 4.0, "temperature that softens teacher and network, with --teacher", above=0, high=1000,
        also=("--kd-temperature",),
    )  # fmt: skip
    task_loss_weight: float | None = _option("loss", None, "weight of the recipe's loss, instead of distill_alpha",
        low=0, high=10**4)  # fmt: skip
    distill_loss_weight: float | None = _option("loss", None, "weight of the teacher's loss, instead of distill_alpha",
        low=0, high=10**4)  # fmt: skip
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
        recipe_checks.check_together(self)

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
            lines.append(
                f"# {title}\n{yaml.safe_dump(identity.plain(values), sort_keys=False, allow_unicode=True, width=120)}"
            )
        return "\n".join(lines)

    def differing(self, *groups_left_out: str) -> dict[str, Any]:
        """The fields that are not at their documented default, as plain JSON values: what identities are made of.

        A field that is added with its default changes none of them. What is left to the device is known as off, as it
        was when identities began; what a run made of it is in the run's identity.
        """
        groups = {name: one.limits["group"] for name, one in fields_of(type(self)).items()}
        found = identity.differing(self, identity.RECIPE_DEFAULTS)
        left = {name for name in identity.LEFT_TO_THE_DEVICE if getattr(self, name) is None}
        return {
            name: value for name, value in found.items() if name not in left and groups[name] not in groups_left_out
        }

    @property
    def hash(self) -> str:
        """The identity of this way of training, whatever the network, the data and the seed."""
        known = {"format": identity.FORMAT, **self.differing(*NOT_HASHED)}
        return identity.canonical_sha256(known)[:16]

    @property
    def cools_down(self) -> bool:
        """Whether the schedule has an end, after which cooldown_epochs follow; timm's steps and plateaus have none."""
        return self.sched in (*_IN_CYCLES, "wsd", "rsqrt")

    @property
    def total_epochs(self) -> int:
        """Epochs that a run takes by timm's count, with warm-up, all cycles and cool-down."""
        before = self.warmup_epochs if self.warmup_prefix else 0
        if not self.cools_down:
            return self.epochs + before
        length, cycles, grows = self.epochs, self.lr_cycle_limit, self.lr_cycle_mul
        if self.sched in _IN_CYCLES and cycles > 1:
            all_cycles = length * cycles if grows == 1 else length * (grows**cycles - 1) / (grows - 1)
            length = math.floor(all_cycles)
        return length + self.cooldown_epochs + before

    @property
    def mixes(self) -> bool:
        """Whether images are mixed, so that the labels arrive as shares of all classes."""
        return self.mixup > 0 or self.cutmix > 0 or self.cutmix_minmax is not None

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
    """The recipe of that name (see `names`) or in that file, with `overrides` (flags) on top.

    The file may be the args.yaml of timm's train.py: see `from_timm`.
    """
    recipe = Recipe.from_mapping(from_timm(name_or_path).values, str(name_or_path))
    if not overrides:
        return recipe
    values = {entry.name: getattr(recipe, entry.name) for entry in dataclasses.fields(recipe)}
    return Recipe.from_mapping({**values, **overrides}, f"{name_or_path} with flags")


def from_timm(name_or_path: str | Path) -> timm_args.Read:
    """The values of a recipe file, with keys of timm's train.py that are no fields dropped, translated or refused."""
    return timm_args.read(_read_yaml(find(name_or_path)), fields_of(Recipe), f"recipe {name_or_path}")


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


def _read_yaml(path: Path) -> dict[str, object]:
    """The keys and values of a recipe file that may come from a stranger."""
    values = read_document(path, f"recipe {path}", largest_bytes=_LARGEST_FILE_BYTES)
    if not isinstance(values, dict):
        raise InputError(f"recipe {path}: a recipe has lines of `key: value`, got {brief(values)}")
    return values
