"""What a finished run measured, as its Result: scores, costs, times and where it comes from."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any

from thinresnet import networks
from thinresnet.errors import InputError
from thinresnet.network import Network
from thinresnet.result import FORWARD_AND_BACKWARD, Result, Score, without_folders
from thinresnet.runs import EMA_WEIGHTS_FILE, NETWORK_FILE, WEIGHTS_FILE
from thinresnet.training import provenance
from thinresnet.training.loop import Training
from thinresnet.training.masks import Masks


@dataclass(frozen=True)
class Initial:
    """Weights that a run starts from."""

    path: Path
    sha256: str

    def to_json(self) -> dict[str, str]:
        """What a result says of them: `<run>/model.safetensors` of a run folder, otherwise the name of the file."""
        of_a_run = (self.path.parent / NETWORK_FILE).is_file()
        name = f"{self.path.resolve().parent.name}/{self.path.name}" if of_a_run else self.path.name
        return {"path": name, "sha256": self.sha256}


def initial_checkpoint(given: str) -> Initial | None:
    """The file of weights that a recipe names (itself or by its run folder); None where it names none."""
    if not given:
        return None
    path = Path(given)
    path = path / WEIGHTS_FILE if path.is_dir() else path
    if not path.is_file():
        raise InputError(
            f"--initial-checkpoint {path}: no such file; give a .safetensors or .pth file, or a run folder"
        )
    return Initial(path, provenance.file_sha256(path))


def result_of(
    network: Network,
    training: Training,
    *,
    shape: str,
    recipe_name: str,
    recipe_hash: str,
    initial: Initial | None,
    masks: Masks | None,
    peak_memory_mib: float,
    command: list[str] | None,
) -> Result:
    """The result of a run whose weights are written."""
    recipe, accelerator = training.recipe, training.accelerator
    return Result(
        run=training.run.path.name,
        folder=training.run.path,
        arch=network.arch,
        arch_kwargs=dict(network.kwargs),
        shape=shape,
        network_sha256=network.sha256,
        seed=recipe.seed,
        recipe=recipe_name,
        recipe_hash=recipe_hash,
        initial_checkpoint=initial.to_json() if initial else None,
        masks=masks.to_json() if masks else None,
        teacher=training.distillation.to_json(training.progress.images_at) if training.distillation else None,
        batch_size=recipe.batch_size * recipe.grad_accum_steps * accelerator.num_processes,
        precision=str(accelerator.mixed_precision),
        processes=accelerator.num_processes,
        peak_memory_mib=peak_memory_mib,
        command=without_folders(command),
        **_data_facts(training),
        **_costs(network, training),
        **_progress_facts(training),
        **_provenance(training),
    )


def _data_facts(training: Training) -> dict[str, Any]:
    data = training.data
    return {
        "dataset": data.name,
        "classes": data.num_classes,
        "images_train": data.train.count,
        "images_holdout": data.holdout.count if data.holdout else 0,
        "images_test": data.test.count,
        "train_resolution": max(training.progress.images_at, default=data.image_size),
        "test_resolution": data.image_size,
        "loader": data.loader,
    }


def _costs(network: Network, training: Training) -> dict[str, Any]:
    """MACs, parameters and activations of the network and of the dense one, at the test resolution."""
    colours, side = network.input_size[0], training.data.image_size
    cost = networks.count(network, (colours, side, side))
    dense = networks.scale(network.arch, input_size=network.input_size, **network.kwargs)
    dense_cost = networks.count(dense, cost.input_size)
    # Exact where the training images change in size: each image counts at its own.
    forward_macs = sum(
        images * networks.count(network, (colours, side, side)).macs
        for side, images in training.progress.images_at.items()
    )
    distillation = training.distillation
    teacher_macs = distillation.forward_macs(training.progress.images_at) if distillation else 0
    return {
        "macs": cost.macs,
        "params": cost.params,
        "activations": cost.activations,
        "macs_train": round(forward_macs / training.progress.images_seen) if forward_macs else cost.macs,
        "dense_macs": dense_cost.macs,
        "dense_params": dense_cost.params,
        "training_macs": FORWARD_AND_BACKWARD * forward_macs + teacher_macs,
    }


def _progress_facts(training: Training) -> dict[str, Any]:
    progress = training.progress
    scores = {part: Score(**score) for part, score in progress.scores.items() if score}
    return {
        "epochs": progress.epoch,
        "updates": progress.updates,
        "images_seen": progress.images_seen,
        "test": scores["test"],
        "test_ema": scores.get("test_ema"),
        "holdout": scores.get("holdout"),
        "holdout_ema": scores.get("holdout_ema"),
        "seconds": progress.seconds,
        "seconds_total": progress.seconds_total,
        "images_per_second": median([row["images_per_second"] for row in progress.timings] or [0.0]),
        "started": progress.started,
        "finished": provenance.now(),
        "sessions": progress.sessions,
    }


def _provenance(training: Training) -> dict[str, Any]:
    folder = training.run.path
    commit, clean = provenance.git_state()
    ema_weights = folder / EMA_WEIGHTS_FILE
    return {
        "weights_sha256": provenance.file_sha256(folder / WEIGHTS_FILE),
        "weights_ema_sha256": provenance.file_sha256(ema_weights) if training.ema is not None else None,
        "device": provenance.device_name(training.accelerator),
        "git_commit": commit,
        "git_clean": clean,
        "versions": provenance.versions(),
    }
