"""The library call: everything around the loop, from a recipe and a network to a Result in a run folder."""

from __future__ import annotations

import resource
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import torch
from accelerate import Accelerator
from torch import nn

from thinresnet import networks
from thinresnet.errors import InputError
from thinresnet.files import remove_unfinished
from thinresnet.identity import plain
from thinresnet.network import Network
from thinresnet.networks import hub
from thinresnet.networks.blueprint import blueprint
from thinresnet.progress import silent
from thinresnet.recipe import Recipe
from thinresnet.result import FORWARD_AND_BACKWARD, Result, without_folders
from thinresnet.runs import EMA_WEIGHTS_FILE, RESULT_FILE
from thinresnet.stopping import full_disk_as_one_line, stop_on_signals
from thinresnet.training import optim
from thinresnet.training.data import Data, open_data
from thinresnet.training.device_defaults import chosen, compiled_if_long, on_device
from thinresnet.training.display import Display, show_preparation
from thinresnet.training.distillation import Distillation
from thinresnet.training.evaluation import of_recipe
from thinresnet.training.loop import Training
from thinresnet.training.masks import Masks, apply_masks, keep_masks, masks_beside
from thinresnet.training.outcome import Initial, initial_checkpoint, result_of
from thinresnet.training.preparing import as_kept, check_bfloat16, of_model, prepare, with_preprocessing
from thinresnet.training.processes import (
    agreed,
    check_shared,
    from_each,
    lost_process_as_one_line,
    start_accelerator,
)
from thinresnet.training.run import RunFolder, identity, readable_id
from thinresnet.training.teachers import open_teacher
from thinresnet.training.tracking import Tracking


def train(
    recipe: Recipe,
    network: Network | Callable[[int], Network],
    *,
    recipe_name: str = "custom",
    shape: str | None = None,
    arch: str | None = None,
    input_size: tuple[int, int, int] | None = None,
    holdout: float = 0.0,
    loader: str = "auto",
    output: Path | str = "runs",
    folder: Path | None = None,
    checkpoint_minutes: float = 10.0,
    command: list[str] | None = None,
    quiet: bool = True,
    teacher: str | None = None,
    release_masks: bool = False,
    measure_only: bool = False,
) -> Result:
    """Train `network` by `recipe` and return its result; the same call again resumes, or returns the result.

    Args:
        recipe: How to train, with the dataset, the random seed and the weights to start from (`initial_checkpoint`).
        network: What to train; or a function from the number of classes to it, where the data decide how many there
            are (then with `arch`, whose model says how images are prepared, and `input_size`).
        recipe_name: What the recipe is called in the run's name.
        shape: What the network's shape is called in the run's name, such as `w0.5`.
        input_size: Channels, height and width of the network's input, where `network` is a function.
        holdout: Share of the training set that is held out, by class, and measured beside the test set.
        loader: `auto`, `memory`, `beton`, `ffcv` or `torch`.
        output: Where the folders of runs are; the run's own name is made from what defines it.
        folder: The run's folder itself, instead of `output`.
        checkpoint_minutes: Save at least this often within an epoch (0: only at the end of each).
        command: The command line, to be kept in the result.
        quiet: Show no progress.
        teacher: What the network learns from beside the labels: a run folder, a file of weights, or a name.
        release_masks: Train all weights; otherwise those that the initial checkpoint's masks set to zero stay zero.
        measure_only: Train nothing: the result, of 0 epochs, is that of the initial checkpoint's weights as they are.

    Raises:
        InputError: What was asked for cannot be done; nothing was changed.
        TrainingError: The run cannot continue (a non-finite loss, a full disk); what was saved is whole.
        TrainingInterruptedError: SIGTERM or Ctrl-C; the state is saved, the same call resumes.
    """
    accelerator = start_accelerator(recipe, by_device=True)
    stated, given = recipe, on_device(recipe, accelerator.device)
    recipe = with_preprocessing(given, network.arch if isinstance(network, Network) else arch)
    options = _Options(recipe_name, holdout, checkpoint_minutes, command, quiet, teacher, release_masks, measure_only)
    size = network.input_size if isinstance(network, Network) else input_size
    with ExitStack() as stack:
        stack.enter_context(lost_process_as_one_line(accelerator))
        with agreed(accelerator):
            data = stack.enter_context(_opened(accelerator, recipe, size, loader, options))
            found = network if isinstance(network, Network) else network(data.num_classes)
            job = _job(accelerator, (stated, given, recipe), found, data, shape, options)
        folder = folder or Path(output) / job.name
        check_shared(accelerator, folder)
        return _completed(job, folder)


@dataclass(frozen=True)
class _Options:
    """What a caller says beside the recipe and the network."""

    recipe_name: str
    holdout: float
    checkpoint_minutes: float
    command: list[str] | None
    quiet: bool
    teacher: str | None
    release_masks: bool
    measure_only: bool


def _opened(
    accelerator: Accelerator, recipe: Recipe, input_size: tuple[int, int, int] | None, loader: str, options: _Options
) -> Data:
    return open_data(
        recipe,
        input_size=input_size,
        holdout=options.holdout,
        loader=loader,
        device=accelerator.device,
        process_index=accelerator.process_index,
        process_count=accelerator.num_processes,
        progress=show_preparation if accelerator.is_main_process and not options.quiet else silent,
    )


@dataclass(frozen=True)
class _Job:
    """A run that is about to begin: all that is known before the first update."""

    accelerator: Accelerator
    stated: Recipe  # what is kept in the run's folder, and what the recipe is known by
    given: Recipe  # with what the device says
    recipe: Recipe  # and with what the model says of its images
    network: Network
    data: Data
    shape: str
    initial: Initial | None
    masks: Masks | None
    distillation: Distillation | None
    settings: dict[str, Any]
    identity: dict[str, Any]
    options: _Options

    @property
    def name(self) -> str:
        """The name of the run's folder."""
        recipe_name, seed = self.options.recipe_name, self.recipe.seed
        return readable_id(self.network.arch, self.shape, self.data.name, recipe_name, seed, self.identity)

    @property
    def visible(self) -> bool:
        """Whether this process shows progress."""
        return self.accelerator.is_main_process and not self.options.quiet


def _job(
    accelerator: Accelerator,
    read: tuple[Recipe, Recipe, Recipe],
    network: Network,
    data: Data,
    shape: str | None,
    options: _Options,
) -> _Job:
    stated, given, recipe = read
    initial = initial_checkpoint(recipe.initial_checkpoint)
    if options.measure_only and initial is None:
        raise InputError("measure_only: there are no weights to measure; name them in initial_checkpoint")
    if not options.measure_only:
        macs, device = _training_macs(recipe, network, data), accelerator.device
        stated, given, recipe = (
            compiled_if_long(one, macs, max(data.train.sizes), device=device, processes=accelerator.num_processes)
            for one in read
        )
        stated = stated if device.type == "cpu" else read[0]  # which is resumed on no other kind of device
    masks = masks_beside(initial.path) if initial and not options.release_masks else None
    distillation = _distillation(accelerator, recipe, data, options)
    settings: dict[str, Any] = {
        "seed": recipe.seed,
        "dataset": data.name,
        "images_train": data.train.count,
        "holdout": options.holdout,
        "loader": data.loader,
        "precision": str(accelerator.mixed_precision),
        "processes": accelerator.num_processes,
        "fused": accelerator.scaler is None and optim.fuses(recipe, accelerator.device),
        "initial_checkpoint": initial.sha256 if initial else None,
        "holding": masks.sha256 if masks else None,
        "teacher": distillation.teacher.sha256 if distillation else None,
        "measure_only": options.measure_only,
        "preprocessing": of_model(given, recipe),
    }
    known = identity(given, network, settings)
    shape = shape or f"net_{network.sha256[:6]}"
    return _Job(
        accelerator, stated, given, recipe, network, data, shape, initial, masks, distillation, settings, known, options
    )


def _distillation(accelerator: Accelerator, recipe: Recipe, data: Data, options: _Options) -> Distillation | None:
    """The teacher beside the network; what a recipe says of one that is not given is refused."""
    if options.teacher is None:
        if said := [name for name in recipe.differing() if name.startswith("distill_") or name == "task_loss_weight"]:
            raise InputError(f"{said[0]}: is about a teacher, and there is none; give --teacher RUN|FILE|NAME")
        return None
    show = show_preparation if accelerator.is_main_process and not options.quiet else silent
    teacher = open_teacher(options.teacher, data.name, data.class_names, progress=show)
    return Distillation(teacher, recipe, data.image_size, accelerator.device)


def _completed(job: _Job, folder: Path) -> Result:
    """The result in the run's folder, after training where there is none yet."""
    run = RunFolder(folder, job.identity)
    run.check()
    complete = (folder / RESULT_FILE).exists()
    if job.accelerator.is_main_process:
        remove_unfinished(folder)
        if complete:
            run.remove_checkpoints()
    if not complete:
        with ExitStack() as stack:
            _finish(job, _trained(job, run, stack))
    elif job.visible:
        print(f"{folder} is complete already; delete it to train again.", flush=True)
    return Result.read(folder)


def _trained(job: _Job, run: RunFolder, stack: ExitStack) -> Training:
    """Train to the last epoch, from the newest checkpoint if there is one."""
    accelerator, recipe, options = job.accelerator, job.recipe, job.options
    with agreed(accelerator):
        model = _begun(job)
        stack.enter_context(full_disk_as_one_line(run.path))
        if accelerator.is_main_process:
            stack.enter_context(run.lock())
            remove_unfinished(run.checkpoints)
    stop_request = stack.enter_context(stop_on_signals())
    training = Training(
        accelerator,
        recipe,
        model,
        job.data,
        run,
        stop_request=stop_request,
        checkpoint_minutes=options.checkpoint_minutes,
        distillation=job.distillation,
    )
    notes = [*_started_from(job), *([] if options.measure_only else training.load())]
    if job.masks:
        stack.enter_context(keep_masks(training.raw, job.masks.kept))
    if accelerator.is_main_process:
        run.begin(job.stated, job.network, _kept(job))
        training.write_tables()
    if options.measure_only:
        training.measure_only()
        return training
    display = Display(visible=job.visible, epochs=training.epochs, updates_per_epoch=training.updates_per_epoch)
    for note in notes:
        display.note(note)
    config = {**plain(asdict(recipe)), **job.settings, "shape": job.shape}
    tracking = Tracking(accelerator, run.path, without_folders(config), display.note, updates=training.progress.updates)
    stack.callback(tracking.finish)  # after the result is written: uploading may take a while
    with display, _printed_by_its_process(accelerator):
        training.go(display, tracking)
    return training


def _begun(job: _Job) -> nn.Module:
    """The network with the weights that training begins with."""
    torch.manual_seed(job.recipe.seed)
    model = _build(job.network, job.recipe, job.data)
    if job.initial:
        networks.load_weights(model, job.network, job.initial.path)
    if not job.options.measure_only:
        accelerator = job.accelerator
        check_bfloat16(model, job.data.train.sizes, accelerator.mixed_precision, accelerator.device)
        model = prepare(model, job.recipe, processes=accelerator.num_processes, device=accelerator.device)
    if job.masks:  # before the moving average is copied, and before anything is written: masks may not fit
        apply_masks(model, job.masks.kept)
    return model


def _kept(job: _Job) -> dict[str, Any]:
    """What a run that is resumed by its folder alone has to know beside its recipe and its network."""
    options = job.options
    kept = {"recipe_name": options.recipe_name, "shape": job.shape, "holdout": options.holdout}
    given = {
        "teacher": options.teacher,
        "release_masks": options.release_masks,
        "preprocessing": job.settings["preprocessing"],
    }
    return {**kept, **{name: value for name, value in given.items() if value}}


def _started_from(job: _Job) -> Iterator[str]:
    """Lines about what was left to the device, what is held at zero and what is learnt from."""
    yield from chosen(job.stated, job.recipe, fused=job.settings["fused"])
    if job.masks:
        held = job.masks.to_json()
        yield (
            f"{held['zeros']:,} of {held['weights']:,} weights are masked by {job.masks.path} and stay zero "
            "(--release-masks trains them)"
        )
    if job.distillation:
        teacher, alpha, temperature = job.distillation.teacher, job.distillation.alpha, job.distillation.temperature
        yield f"distilled from {teacher.name} ({teacher.source}), alpha {alpha:g}, temperature {temperature:g}"


def _finish(job: _Job, training: Training) -> None:
    """Write the weights and the result; the checkpoints are not needed any more."""
    peak_memory_mib = max(from_each(job.accelerator, _peak_memory_mib(job.accelerator.device)))
    if job.accelerator.is_main_process:
        folder = training.run.path
        training.run.check_place()
        with as_kept(training.raw) as model:
            networks.save(folder, job.network, model)
        if training.ema is not None:
            with as_kept(training.ema.module) as model:
                networks.save(folder, job.network, model, weights=EMA_WEIGHTS_FILE)
        if job.masks:
            job.masks.write(folder)
        hub.write_config(folder, job.network, of_recipe(job.recipe, job.network), job.data.class_names)
        result_of(
            job.network,
            training,
            shape=job.shape,
            recipe_name=job.options.recipe_name,
            recipe_hash=job.stated.hash,
            initial=job.initial,
            masks=job.masks,
            peak_memory_mib=peak_memory_mib,
            command=job.options.command,
        ).write()
        training.run.remove_checkpoints()
    job.accelerator.wait_for_everyone()


@contextmanager
def _printed_by_its_process(accelerator: Accelerator) -> Iterator[None]:
    """A process prints what is wrong in its share of the data (a damaged image): the main one cannot know."""
    try:
        yield
    except InputError as error:
        if not accelerator.is_main_process:
            print(f"process {accelerator.process_index} of {accelerator.num_processes}: {error}", file=sys.stderr)
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


def _training_macs(recipe: Recipe, network: Network, data: Data) -> int:
    """MACs of the whole training."""
    macs, _ = blueprint(network.arch, network.kwargs, network.input_size).ties.cost(dict(network.channels))
    return int(FORWARD_AND_BACKWARD * macs * data.train.images_per_epoch * recipe.total_epochs)


def _peak_memory_mib(device: torch.device) -> float:
    """The most memory that this process has held: of the GPU what torch allocated, otherwise its resident set."""
    if device.type == "cuda":
        return float(torch.cuda.max_memory_allocated(device)) / 2**20
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak / 2**20 if sys.platform == "darwin" else peak / 2**10
