"""The args.yaml that timm's train.py writes, read as a recipe: what becomes of the flags that are no field here.

A key that is a field of a recipe is read as it is. Of the others, what changes nothing of the result is dropped by
name; what says the same in other words is translated; what would change the result is refused by name, unless it is at
timm's default. Standard library only.
"""

from __future__ import annotations

from collections.abc import Container, Mapping
from dataclasses import dataclass
from typing import Any

from thinresnet.convert import brief
from thinresnet.errors import InputError

# Flags that change where, how fast or how loudly timm trains, and why the result here does not depend on them.
DROPPED: Mapping[str, str] = {
    "amp_impl": "of older versions of timm: there is one implementation of mixed precision left",
    "checkpoint_interval": "of older versions of timm; checkpoints are written by time and after each epoch",
    "device": "the device is accelerate's",
    "drop_connect": "timm's train.py reads it and does not use it; drop_path is used",
    "eval_metric": "nothing is chosen by what is measured: the last epoch counts",
    "experiment": "the run's folder has a name of its own, under --output",
    "fuser": "how operations are joined for speed",
    "kd_student_feature_dim": "of distillation from features, which is refused",
    "kd_teacher_feature_dim": "of distillation from features, which is refused",
    "kd_token_distill_type": "of distillation by a token, which is refused",
    "local_rank": "processes are accelerate's",
    "model_ema_force_cpu": "where the moving average is kept; it is the same average",
    "naflex_loss_scale": "of the NaFlex loader, which is refused",
    "naflex_max_seq_len": "of the NaFlex loader, which is refused",
    "naflex_patch_size_probs": "of the NaFlex loader, which is refused",
    "naflex_patch_sizes": "of the NaFlex loader, which is refused",
    "naflex_patchify_channels_first": "of the NaFlex loader, which is refused",
    "naflex_train_seq_lens": "of the NaFlex loader, which is refused",
    "no_prefetcher": "how batches travel to the device; erasing comes before mixing, as timm has it without prefetcher",
    "no_resume_opt": "of resuming, which is refused",
    "output": "a place; --output here",
    "pin_mem": "how batches travel to the device",
    "recovery_interval": "checkpoints are written by time: --checkpoint-minutes",
    "save_images": "pictures to look at",
    "synchronize_step": "when the processor waits for the device",
    "torchscript": "how the same operations are run",
    "use_multi_epochs_loader": "how long loader processes live",
    "wandb_project": "a name for the tracker",
    "wandb_resume_id": "the tracker's run is found by itself",
    "wandb_tags": "names for the tracker",
    "worker_seeding": "every image is augmented under a seed of its own, whatever the worker",
}


@dataclass(frozen=True)
class Refused:
    """A flag that would change the result: the values at which it does not, and what to do about others."""

    neutral: tuple[Any, ...]
    instead: str


# Flags that would change the result and are not known here.
REFUSED: Mapping[str, Refused] = {
    "class_map": Refused(("",), "classes are numbered by the names of their folders"),
    "dataset_trust_remote_code": Refused((False,), "strangers' code is not run"),
    "dist_bn": Refused(("reduce",), "statistics of batch norms are averaged over the processes after every epoch"),
    "drop_block": Refused((None, 0, 0.0), "DropBlock is not known; use drop_path"),
    "epoch_repeats": Refused((0, 0.0), "give more epochs"),
    "fast_norm": Refused((False,), "norms are computed in single precision"),
    "gp": Refused((None,), "give model_kwargs: {global_pool: …} where the architecture takes it"),
    "in_chans": Refused((None, 3), "images have three channels"),
    "input_img_mode": Refused((None, "RGB"), "images are read in RGB"),
    "kd_distill_type": Refused(("logit",), "teachers are learned from by their logits"),
    "kd_loss_type": Refused(("kl",), "the loss against a teacher is the KL divergence"),
    "model_dtype": Refused((None, "float32"), "weights are in single precision; for mixed precision use amp"),
    "naflex_loader": Refused((False,), "images have one size a batch; use train_img_sizes"),
    "no_ddp_bb": Refused((False,), "buffers are broadcast by the main process"),
    "pretrained": Refused((False,), "take it out of the file and give the flag --pretrained"),
    "pretrained_path": Refused((None,), "thinresnet import reads it; then give initial_checkpoint"),
    "resume": Refused(("", None), "checkpoints of timm are not resumed; thinresnet import reads their weights"),
    "start_epoch": Refused((None, 0), "a run is resumed from its own folder: --resume RUN"),
    "train_batch_sizes": Refused((None,), "batches have one size; train_img_sizes may differ"),
    "train_batches_per_epoch": Refused((None,), "an epoch is one pass over the images; give other epochs"),
    "train_num_samples": Refused((None,), "the number of images is counted"),
    "tta": Refused((0, 1), "every test image is seen once"),
    "val_num_samples": Refused((None,), "the number of images is counted"),
    "variable_batch_loss_scale": Refused(("none",), "batches have one size"),
}
# Flags that say the same as a field or a flag here.
TRANSLATED: Mapping[str, str] = {
    "data": "data_dir",
    "input_size": "img_size",
    "kd_model_name": "--teacher",
    "kd_temperature": "distill_temperature",
}
_OF_A_TEACHER = ("kd_temperature", "task_loss_weight", "distill_loss_weight")


@dataclass(frozen=True)
class Read:
    """What a recipe file says: values of fields (and unknown keys), what was dropped, and a teacher's name."""

    values: dict[str, Any]
    dropped: tuple[str, ...] = ()
    teacher: str | None = None

    said: tuple[str, ...] = ()  # of what was dropped: what was set, and is not about another flag

    @property
    def note(self) -> str:
        """What to tell the user of it: empty for a recipe of this project."""
        if not self.dropped:
            return ""
        return f"of timm's train.py; dropped, as it changes no result here: {', '.join(self.said) or 'nothing'}"


def read(given: Mapping[str, Any], fields: Container[str], where: str) -> Read:
    """The values of a recipe file; `fields` are the names that are read as they are, `where` begins a refusal."""
    values = {key: value for key, value in given.items() if key in fields or not _is_timms(key)}
    others = {key: value for key, value in given.items() if key not in values}
    for key, value in others.items():
        rule = REFUSED.get(key)
        if rule is not None and not any(type(value) is type(one) and value == one for one in rule.neutral):
            raise InputError(f"{where}: {key}: {brief(value)} of timm's train.py is not known here: {rule.instead}")
    dropped = tuple(key for key in others if key not in TRANSLATED)
    if others.get("data") and not values.get("data_dir"):
        values["data_dir"] = others["data"]
    if others.get("input_size") is not None:
        values["img_size"] = _side(others["input_size"], where)
    teacher = others.get("kd_model_name")
    if "kd_model_name" in others:
        _teach(values, others, taught=teacher is not None)
    elif "kd_temperature" in others:
        values["distill_temperature"] = others["kd_temperature"]
    if teacher is not None and not isinstance(teacher, str):
        raise InputError(f"{where}: kd_model_name: takes a name of timm, got {brief(teacher)}")
    said = tuple(key for key in dropped if key in DROPPED and others[key] and not DROPPED[key].startswith("of "))
    return Read(values, dropped, teacher, said)


def _is_timms(key: object) -> bool:
    return isinstance(key, str) and (key in DROPPED or key in REFUSED or key in TRANSLATED)


def _teach(values: dict[str, Any], others: Mapping[str, Any], *, taught: bool) -> None:
    """timm's weights of the two losses: both 1 where neither is given; without a teacher it uses none of them."""
    if not taught:
        for key in _OF_A_TEACHER:
            values.pop(key, None)
        return
    values["distill_temperature"] = others.get("kd_temperature", 4.0)
    if all(values.get(key) is None for key in ("task_loss_weight", "distill_loss_weight")):
        values |= {"task_loss_weight": 1.0, "distill_loss_weight": 1.0}


def _side(size: Any, where: str) -> int:
    if not isinstance(size, list) or len(size) != 3 or size[0] != 3 or size[1] != size[2] or type(size[1]) is not int:
        raise InputError(
            f"{where}: input_size: {brief(size)}: images here have three channels and one side; give img_size"
        )
    return int(size[1])
