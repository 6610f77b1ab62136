"""The library call: everything around the loop, from a recipe and a network to a Result in a run's folder."""

from __future__ import annotations

import os
import resource
import shutil
import sys
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from statistics import median

import torch
from accelerate import Accelerator
from torch import nn

from thinresnet import networks
from thinresnet.errors import InputError
from thinresnet.networks import Network
from thinresnet.networks.blueprint import blueprint
from thinresnet.recipe import Recipe
from thinresnet.result import Result, Score
from thinresnet.runs import EMA_WEIGHTS_FILE, RESULT_FILE, WEIGHTS_FILE
from thinresnet.stopping import no_room_said, wish_to_stop
from thinresnet.training import provenance
from thinresnet.training.data import Data, open_data
from thinresnet.training.display import Display, show_preparation
from thinresnet.training.loop import Training
from thinresnet.training.processes import from_each, start_accelerator
from thinresnet.training.run import RunFolder, identity, readable_id
from thinresnet.training.tracking import Tracking

_LONG_TRAINING_MACS = 10**13  # some six minutes, uncompiled, on two cores


@dataclass(frozen=True)
class Holding:
    """Something that is held true of a network while it trains, and the hash that it is known by."""

    sha256: str
    on: Callable[[nn.Module], AbstractContextManager[object]]


def train(
    recipe: Recipe,
    network: Network | Callable[[int], Network],
    *,
    recipe_name: str = "custom",
    shape: str | None = None,
    input_size: tuple[int, int, int] | None = None,
    holdout: float = 0.0,
    loader: str = "auto",
    output: Path | str = "runs",
    folder: Path | None = None,
    checkpoint_minutes: float = 10.0,
    command: list[str] | None = None,
    quiet: bool = True,
    holding: Holding | None = None,
) -> Result:
    """Train `network` by `recipe` and return what came out; the same call again goes on, or returns the result.

    Args:
        recipe: How to train, the data set, the seed and the weights to start from (`initial_checkpoint`) included.
        network: What to train; or a function from the number of classes to it, where the data decide how many there
            are (then with `input_size`).
        recipe_name: What the recipe is called in the run's name.
        shape: What the network's shape is called in the run's name, such as `w0.5`.
        input_size: Channels, height and width of the network's input, where `network` is a function.
        holdout: Share of the training set that is kept aside, by class, and measured beside the test set.
        loader: `auto`, `memory`, `ffcv` or `torch`.
        output: Where the folders of runs are; the run's own name is made from what defines it.
        folder: The run's folder itself, instead of `output`.
        checkpoint_minutes: Save at least this often within an epoch (0: only at the end of each).
        command: The command line, to be kept in the result.
        quiet: Show no progress.
        holding: What is held true of the network at every update (weights that stay zero, say).

    Raises:
        InputError: What was asked for cannot be done; nothing was changed.
        TrainingError: The run cannot go on (a loss that is no number, a full disk); what was saved is whole.
        TrainingInterruptedError: SIGTERM or Ctrl-C; the state is saved, the same call goes on from there.
    """
    accelerator = start_accelerator(recipe)
    main = accelerator.is_main_process
    with ExitStack() as stack:
        data = open_data(
            recipe,
            input_size=network.input_size if isinstance(network, Network) else input_size,
            holdout=holdout,
            loader=loader,
            device=accelerator.device,
            process_index=accelerator.process_index,
            process_count=accelerator.num_processes,
            progress=show_preparation if main and not quiet else None,
        )
        stack.enter_context(data)
        if not isinstance(network, Network):
            network = network(data.num_classes)
        recipe = _compiled_if_long(recipe, network, data, accelerator)
        initial = _initial_checkpoint(recipe)
        settings = {
            "seed": recipe.seed,
            "dataset": data.name,
            "images_train": data.train.count,
            "holdout": holdout,
            "loader": data.loader,
            "precision": str(accelerator.mixed_precision),
            "processes": accelerator.num_processes,
            "initial_checkpoint": initial["sha256"] if initial else None,
            **({"holding": holding.sha256} if holding else {}),
        }
        known = identity(recipe, network, settings)
        shape = shape or f"net_{network.sha256[:6]}"
        name = readable_id(network.arch, shape, data.name, recipe_name, recipe.seed, known)
        run = RunFolder(folder or Path(output) / name, known)
        run.check()
        if (run.path / RESULT_FILE).exists():
            if main and not quiet:
                print(f"{run.path} is complete already; delete it to train again.", flush=True)
            return Result.read(run.path)

        torch.manual_seed(recipe.seed)
        model = _build(network, recipe, data)
        if initial:
            networks.load_weights(model, network, initial["path"])
        stack.enter_context(no_room_said(run.path))
        if main:
            stack.enter_context(run.lock())
        wish = stack.enter_context(wish_to_stop())
        training = Training(accelerator, recipe, model, data, run, wish=wish, checkpoint_minutes=checkpoint_minutes)
        notes = training.load()
        if holding:
            stack.enter_context(holding.on(training.raw))
        if main:
            run.begin(recipe, network, {"recipe_name": recipe_name, "shape": shape, "holdout": holdout})
        display = Display(
            visible=main and not quiet, epochs=training.epochs, updates_per_epoch=training.updates_per_epoch
        )
        for note in notes:
            display.note(note)
        tracking = Tracking(accelerator, run.path, {**known["recipe"], **settings, "shape": shape}, display.note)
        stack.callback(tracking.finish)  # after the result is written: uploading may take a while
        with display, _said_by_its_process(main):
            training.go(display, tracking)

        peak_memory_mib = max(from_each(accelerator, _peak_memory_mib(accelerator.device)))
        if main:
            _write_weights(run.path, network, training)
            result = _result(
                network,
                training,
                run=run.path.name,
                shape=shape,
                recipe_name=recipe_name,
                initial_checkpoint=initial,
                peak_memory_mib=peak_memory_mib,
                command=command,
            )
            result.write()
            shutil.rmtree(run.checkpoints, ignore_errors=True)
        accelerator.wait_for_everyone()
        return Result.read(run.path)


@contextmanager
def _said_by_its_process(main: bool) -> Iterator[None]:
    """What one process meets in its share of the data (a damaged image) is said by it: the main one cannot know."""
    try:
        yield
    except InputError as error:
        if not main:
            print(error, file=sys.stderr)
        raise


def _build(network: Network, recipe: Recipe, data: Data) -> nn.Module:
    """The network with the recipe's dropout and drop path, which change nothing of its shape."""
    drops = {"drop_rate": recipe.drop, "drop_path_rate": recipe.drop_path}
    kwargs = {**network.kwargs, **{name: rate for name, rate in drops.items() if rate}}
    try:
        model = networks.build(replace(network, kwargs=kwargs))
    except TypeError as error:
        raise InputError(f"{network.arch}: cannot be built with {kwargs}: {error}") from error
    if model.num_classes != data.num_classes:
        raise InputError(
            f"{network.arch}: the network has {model.num_classes} classes, {data.name} has {data.num_classes}; "
            f"describe the network with num_classes={data.num_classes}"
        )
    return model


def _compiled_if_long(recipe: Recipe, network: Network, data: Data, accelerator: Accelerator) -> Recipe:
    """The recipe with torch.compile where that pays and was measured to: one process on a CPU, training for minutes.

    On two cores compiling takes some twenty seconds and saves a quarter of each step of a thin network. With several
    image sizes it would be done for each. `--torchcompile eager` trains as it is.
    """
    macs, _ = blueprint(network.arch, network.kwargs, network.input_size).ties.cost(dict(network.channels))
    training_macs = 3 * macs * data.train.images_per_epoch * recipe.total_epochs
    measured = accelerator.device.type == "cpu" and accelerator.num_processes == 1 and not recipe.train_img_sizes
    wanted = recipe.torchcompile is None and training_macs >= _LONG_TRAINING_MACS
    compiler = shutil.which(os.environ.get("CXX") or "g++") or shutil.which("clang++")
    return recipe.replace(torchcompile="inductor") if measured and wanted and compiler else recipe


def _initial_checkpoint(recipe: Recipe) -> dict[str, str] | None:
    if not recipe.initial_checkpoint:
        return None
    path = Path(recipe.initial_checkpoint)
    path = path / WEIGHTS_FILE if path.is_dir() else path
    if not path.is_file():
        raise InputError(f"--initial-checkpoint {path}: no such file; give a .safetensors file or a run's folder")
    return {"path": str(path), "sha256": provenance.file_sha256(path)}


def _write_weights(folder: Path, network: Network, training: Training) -> None:
    networks.save(folder, network, training.raw)
    if training.ema is not None:
        networks.save(folder, network, training.ema.module, weights=EMA_WEIGHTS_FILE)


def _result(
    network: Network,
    training: Training,
    *,
    run: str,
    shape: str,
    recipe_name: str,
    initial_checkpoint: dict[str, str] | None,
    peak_memory_mib: float,
    command: list[str] | None,
) -> Result:
    """Put together what a finished run says of itself."""
    progress, recipe, data, accelerator = training.progress, training.recipe, training.data, training.accelerator
    folder = training.run.path
    scores = {part: Score(**score) for part, score in progress.scores.items() if score}
    colours = network.input_size[0]
    cost = networks.count(network, (colours, data.image_size, data.image_size))
    dense = networks.count(
        networks.scale(network.arch, input_size=network.input_size, **network.kwargs), cost.input_size
    )
    # Exact where the training images change in size: each image pays for its own.
    forward_macs = sum(
        images * networks.count(network, (colours, side, side)).macs for side, images in progress.images_at.items()
    )
    commit, clean = provenance.git_state()
    ema_weights = folder / EMA_WEIGHTS_FILE
    return Result(
        run=run,
        folder=folder,
        arch=network.arch,
        arch_kwargs=dict(network.kwargs),
        shape=shape,
        network_sha256=network.sha256,
        dataset=data.name,
        classes=data.num_classes,
        images_train=data.train.count,
        images_holdout=data.holdout.count if data.holdout else 0,
        images_test=data.test.count,
        train_resolution=max(progress.images_at),
        test_resolution=data.image_size,
        macs=cost.macs,
        params=cost.params,
        activations=cost.activations,
        macs_train=round(forward_macs / progress.images_seen),
        dense_macs=dense.macs,
        dense_params=dense.params,
        training_macs=3 * forward_macs,
        epochs=progress.epoch,
        updates=progress.updates,
        images_seen=progress.images_seen,
        batch_size=recipe.batch_size * recipe.grad_accum_steps * accelerator.num_processes,
        test=scores["test"],
        test_ema=scores.get("test_ema"),
        holdout=scores.get("holdout"),
        holdout_ema=scores.get("holdout_ema"),
        seed=recipe.seed,
        recipe=recipe_name,
        recipe_hash=recipe.hash,
        initial_checkpoint=initial_checkpoint,
        weights_sha256=provenance.file_sha256(folder / WEIGHTS_FILE),
        weights_ema_sha256=provenance.file_sha256(ema_weights) if training.ema is not None else None,
        seconds=progress.seconds,
        seconds_total=progress.seconds_total,
        images_per_second=median(row["images_per_second"] for row in progress.timings),
        peak_memory_mib=peak_memory_mib,
        loader=data.loader,
        precision=str(accelerator.mixed_precision),
        processes=accelerator.num_processes,
        device=provenance.device_name(accelerator),
        git_commit=commit,
        git_clean=clean,
        versions=provenance.versions(),
        command=command,
        started=progress.started,
        finished=provenance.now(),
        sessions=progress.sessions,
    )


def _peak_memory_mib(device: torch.device) -> float:
    """The most memory that this process has held: of the GPU what torch allocated, otherwise its resident set."""
    if device.type == "cuda":
        return float(torch.cuda.max_memory_allocated(device)) / 2**20
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak / 2**20 if sys.platform == "darwin" else peak / 2**10
