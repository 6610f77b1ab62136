"""What something is known by, so that it stays the same when the product grows.

An identity holds only what differs from the documented default. The defaults are frozen here: a new field (added with
its default, at the end of its table) moves no identity, and a default that changes is a new FORMAT. Standard library
only.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
from collections.abc import Mapping
from typing import Any

FORMAT = 1
# The defaults of recipes (timm's) as identities know them; the lists are what JSON makes of tuples.
RECIPE_DEFAULTS: Mapping[str, Any] = {
    "data_dir": None, "dataset": "", "train_split": "train", "val_split": "validation", "dataset_download": False,
    "model": "resnet50", "model_kwargs": {}, "device_modules": None, "num_classes": None, "initial_checkpoint": "",
    "channels_last": False, "torchcompile": None, "torchcompile_mode": None, "img_size": None, "train_img_sizes": None,
    "train_size_schedule": "constant", "train_size_schedule_spread": 0.65, "train_size_random_mix": 0.1,
    "crop_pct": None, "mean": None, "std": None, "interpolation": "", "train_interpolation": "random",
    "batch_size": 128, "validation_batch_size": None, "grad_accum_steps": 1, "amp": False, "amp_dtype": "float16",
    "opt": "sgd", "opt_eps": None, "opt_betas": None, "momentum": 0.9, "weight_decay": 2e-05, "clip_grad": None,
    "clip_mode": "norm", "opt_kwargs": {}, "sched": "cosine", "sched_on_updates": False, "lr": None, "lr_base": 0.1,
    "lr_base_size": 256, "lr_base_scale": "", "warmup_lr": 1e-05, "warmup_epochs": 5, "warmup_prefix": False,
    "min_lr": 0.0, "epochs": 300, "cooldown_epochs": 0, "decay_epochs": 90.0, "decay_rate": 0.1,
    "decay_milestones": [90, 180, 270], "scale": [0.08, 1.0], "ratio": [0.75, 1.3333333333333333], "crop_padding": 0,
    "crop_padding_mode": "constant", "hflip": 0.5, "color_jitter": 0.4, "aa": None, "aug_repeats": 0.0, "reprob": 0.0,
    "remode": "pixel", "recount": 1, "mixup": 0.0, "cutmix": 0.0, "mixup_prob": 1.0, "mixup_switch_prob": 0.5,
    "mixup_mode": "batch", "mixup_off_epoch": 0, "smoothing": 0.1, "bce_loss": False, "bce_target_thresh": None,
    "drop": 0.0, "drop_path": None, "model_ema": False, "model_ema_decay": 0.9998, "model_ema_warmup": False,
    "seed": 42, "workers": 4, "log_interval": 50, "val_interval": 1, "checkpoint_hist": 10, "log_wandb": False,
    "distill_alpha": 0.9, "distill_temperature": 4.0, "log_tensorboard": False,
    "train_size_probs": None, "grad_checkpointing": False, "bn_momentum": None, "bn_eps": None, "sync_bn": False,
    "split_bn": False, "head_init_scale": None, "head_init_bias": None, "layer_decay": None,
    "layer_decay_min_scale": 0.0, "layer_decay_no_opt_scale": None, "weight_decay_also": None, "patience_epochs": 10,
    "lr_noise": None, "lr_noise_pct": 0.67, "lr_noise_std": 1.0, "lr_cycle_mul": 1.0, "lr_cycle_decay": 0.5,
    "lr_cycle_limit": 1, "lr_k_decay": 1.0, "no_aug": False, "train_crop_mode": None, "vflip": 0.0,
    "color_jitter_prob": None, "grayscale_prob": None, "gaussian_blur_prob": None, "aug_splits": 0, "resplit": False,
    "cutmix_minmax": None, "bce_sum": False, "bce_pos_weight": None, "jsd_loss": False, "task_loss_weight": None,
    "distill_loss_weight": None, "input_key": None, "target_key": None,
}  # fmt: skip
# Fields of a recipe whose default is None, "as the device does it best", and was False when the format began.
LEFT_TO_THE_DEVICE = ("amp", "channels_last")
# Of the facts about a run beside its network and its recipe, those that have a default.
RUN_DEFAULTS: Mapping[str, Any] = {
    "holdout": 0.0, "initial_checkpoint": None, "holding": None, "teacher": None,
    "measure_only": False, "preprocessing": None, "data_order": 1, "fused": False,
}  # fmt: skip

# Fields of a recipe that may differ between two sessions of one run without changing a bit of its weights.
FREE_IN_A_RUN = frozenset({
    "data_dir", "dataset_download", "device_modules", "initial_checkpoint", "model", "model_kwargs", "num_classes",
    "workers", "log_interval", "checkpoint_hist", "log_wandb", "log_tensorboard",
})  # fmt: skip


def plain(values: object) -> Any:
    """The same as JSON gives it back: a tuple is a list."""
    return json.loads(json.dumps(values))


def differing(values: Any, defaults: Mapping[str, Any] | None = None) -> dict[str, Any]:
    """What of `values` (a mapping or a dataclass) is not the default, as plain JSON values, sorted by name.

    `defaults` is the frozen table; fields of a dataclass that it does not name have the default of their class.
    """
    known = dict(defaults or {})
    if dataclasses.is_dataclass(values) and not isinstance(values, type):
        known = {**_class_defaults(values), **known}
        values = {field.name: getattr(values, field.name) for field in dataclasses.fields(values)}
    given, known = plain(dict(values)), plain(known)
    return {name: given[name] for name in sorted(given) if name not in known or given[name] != known[name]}


def canonical_sha256(value: Any) -> str:
    """The hash of a JSON value whatever the order of its keys."""
    return hashlib.sha256(json.dumps(value, sort_keys=True, separators=(",", ":")).encode()).hexdigest()


def _class_defaults(instance: Any) -> dict[str, Any]:
    found = {}
    for field in dataclasses.fields(instance):
        if field.default is not dataclasses.MISSING:
            found[field.name] = field.default
        elif field.default_factory is not dataclasses.MISSING:
            found[field.name] = field.default_factory()
    return found
