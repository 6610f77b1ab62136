"""The loop: train a network by a recipe, from the first update or from where it was stopped, to the last epoch.

Every update draws its random numbers from a seed made of (seed, epoch, batch, process), and the data are a function of
the same: so a run that resumes from a checkpoint is the run that was never stopped, bit for bit on a CPU. Nothing is
chosen by what is measured: the last epoch is what counts.
"""

from __future__ import annotations

import itertools
import math
import time
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, nullcontext
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np
import torch
from accelerate import Accelerator
from torch import Tensor, nn
from torch._dynamo.exc import TorchDynamoException

from thinresnet.errors import InputError
from thinresnet.recipe import Recipe
from thinresnet.result import PARTS, Score
from thinresnet.runs import METRICS_FILE, TIMING_FILE
from thinresnet.stopping import StopRequest, TrainingError, TrainingInterruptedError
from thinresnet.training import checkpoint, optim, provenance
from thinresnet.training.data import Data
from thinresnet.training.data.plan import DATA_ORDER
from thinresnet.training.display import Display
from thinresnet.training.distillation import Distillation
from thinresnet.training.measuring import evaluate_all
from thinresnet.training.processes import average_buffers, from_each, largest
from thinresnet.training.run import RunFolder
from thinresnet.training.tracking import Tracking

Batch = tuple[Tensor, Tensor]
_SECONDS_BETWEEN_LOOKS = 1.0
_MOST_UPDATES_BETWEEN_LOOKS = 100
_SECONDS_BETWEEN_SAVES = 60.0  # at the ends of epochs that are shorter


@dataclass
class Progress:
    """How far a run is; all of it is in a checkpoint. Between two equal runs only times and sessions differ."""

    epoch: int = 0  # whole epochs done
    step: int = 0  # batches done of the epoch that follows them
    updates: int = 0
    images_seen: int = 0
    images_at: Counter[int] = field(default_factory=Counter)  # by the side of the training image, pixels
    epoch_loss: float = 0.0  # summed over the images of this process
    epoch_images: int = 0
    rows: list[dict[str, Any]] = field(default_factory=list)
    scores: dict[str, dict[str, Any] | None] = field(default_factory=dict)  # of the last measurement
    timings: list[dict[str, Any]] = field(default_factory=list)
    losses: list[float] = field(default_factory=list)  # the mean training loss of every epoch
    epoch_seconds: float = 0.0  # the training clock: no evaluation, no checkpoints
    epoch_seen: int = 0
    seconds: float = 0.0
    seconds_total: float = 0.0
    sessions: int = 0
    started: str = field(default_factory=provenance.now)


class Training:
    """A network, what updates it, and its progress."""

    def __init__(
        self,
        accelerator: Accelerator,
        recipe: Recipe,
        model: nn.Module,
        data: Data,
        run: RunFolder,
        *,
        stop_request: StopRequest,
        checkpoint_minutes: float,
        distillation: Distillation | None = None,
    ) -> None:
        self.accelerator, self.recipe, self.data, self.run = accelerator, recipe, data, run
        self.stop_request, self.checkpoint_minutes = stop_request, checkpoint_minutes
        self._known = {**run.identity, "data_order": DATA_ORDER}
        self.progress = Progress()
        self.updates_per_epoch = math.ceil(data.train.steps_per_epoch / recipe.grad_accum_steps)

        self.raw = model.to(accelerator.device)
        if recipe.channels_last:
            self.raw = self.raw.to(memory_format=torch.channels_last)
        # Copied before it is wrapped: the copy of a wrapped network would call the network it was copied from.
        self.ema = optim.build_ema(recipe, self.raw)
        if recipe.torchcompile is not None:
            self.raw.compile(backend=recipe.torchcompile, mode=recipe.torchcompile_mode)
        bare = optim.build_optimizer(
            recipe,
            self.raw,
            accelerator.num_processes,
            fused=accelerator.device.type == "cuda" and accelerator.scaler is None,
        )
        self.schedule, self.epochs = optim.build_schedule(recipe, bare, self.updates_per_epoch)
        self.loss, self.distillation = optim.build_loss(recipe).to(accelerator.device), distillation
        self.mixup = optim.build_mixup(recipe, data.num_classes)
        self.model, self.optimizer = accelerator.prepare(self.raw, bare)

    def go(self, display: Display, tracking: Tracking) -> None:
        """Train to the last epoch, from the progress loaded."""
        progress, recipe = self.progress, self.recipe
        progress.sessions += 1
        self._begun = self._clock = self._saved = time.perf_counter()
        self._updates_before, self._seconds_before = progress.updates, progress.seconds_total
        while progress.epoch < self.epochs:
            with _compile_errors_in_a_line(recipe):
                stop = self._train_epoch(display, tracking)
            rate, train_loss = self._end_epoch()
            optim.end_epoch(self.schedule, progress.epoch, train_loss)
            if progress.epoch % recipe.val_interval == 0 or progress.epoch == self.epochs:
                self._measure(train_loss)
                tracking.log({**progress.rows[-1], "images_per_second": rate}, step=progress.updates)
                display.epoch(progress.rows[-1], images_per_second=rate, seconds_left=self._seconds_left())
            if self._save_due_after_epoch(stop=stop):
                self.save()
            if stop and progress.epoch < self.epochs:
                raise TrainingInterruptedError(f"stopped after epoch {progress.epoch} of {self.epochs}")
        self._check_scores()

    def _save_due_after_epoch(self, *, stop: bool) -> bool:
        """Whether to save at the end of an epoch: of short ones not all, of those with a stop and the last one always.

        What a run that is killed has to do again stays below a minute.
        """
        least = min(_SECONDS_BETWEEN_SAVES, 60 * self.checkpoint_minutes)
        due = time.perf_counter() - self._saved >= least or stop or self.progress.epoch == self.epochs
        return bool(largest(self.accelerator, [int(due)])[0])

    def measure_only(self) -> None:
        """Measure the network as it is, untrained: the only row of metrics.csv is of epoch 0."""
        self.progress.sessions += 1
        self.ema = None  # there are no updates to average over
        self._measure(None)
        self.write_tables()
        self._check_scores()

    def _check_scores(self) -> None:
        """A run that ends with a loss that is not finite has failed, now and whenever the command is given again."""
        for part, score in self.progress.scores.items():
            if score is not None and not math.isfinite(score["loss"]):
                raise TrainingError(
                    f"{self.run.path}: failed: non-finite loss of {part.replace('_', ', ')} after the last epoch "
                    f"({METRICS_FILE} has all epochs); a lower --lr, a longer warm-up or --clip-grad may help (that is "
                    "then another run)"
                )

    def _train_epoch(self, display: Display, tracking: Tracking) -> bool:
        """The rest of an epoch; returns whether a stop was asked for near its end."""
        progress, recipe, last_step = self.progress, self.recipe, self.data.train.steps_per_epoch
        self.model.train()
        optim.set_mixing(self.mixup, recipe, progress.epoch)
        done: list[tuple[Tensor, int]] = []
        look_at, stop = progress.updates + 1, False
        self._clock = time.perf_counter()
        for batches in grouped(self.data.train.epoch(progress.epoch, progress.step), recipe.grad_accum_steps):
            seed_update(recipe.seed, progress.epoch, progress.step, self.accelerator.process_index)
            optim.set_rate(self.schedule, progress.epoch, progress.updates)
            done.append((self._update(batches), self._count(batches)))
            if progress.updates >= look_at or progress.step >= last_step:
                pause, stop = self._look(done, display, tracking)
                look_at = progress.updates + pause
                done.clear()
        return stop

    def _update(self, batches: list[Batch]) -> Tensor:
        """One update from the batches of an accumulation, weighted as if they were one batch; returns its loss."""
        images = sum(len(target) for _, target in batches)
        total = torch.zeros((), device=self.accelerator.device)
        for number, batch in enumerate(batches, start=1):
            image, target = batch if self.mixup is None else self.mixup(*batch)
            # Gradients travel between processes with the last batch only.
            with nullcontext() if number == len(batches) else self.accelerator.no_sync(self.model):
                loss = self._loss(image, target) * (len(target) / images)
                self.accelerator.backward(loss)
            total += loss.detach()
        if self.recipe.clip_grad is not None:
            self.accelerator.unscale_gradients(self.optimizer)
            optim.clip(self.recipe, self.raw)
        self.optimizer.step()
        self.optimizer.zero_grad()
        if self.ema is not None:
            self.ema.update(self.raw, step=self.progress.updates + 1)
        return total

    def _loss(self, image: Tensor, target: Tensor) -> Tensor:
        """The mean loss of a batch, its part against a teacher included."""
        output = self.model(image)
        loss: Tensor = self.loss(output, target)
        if self.distillation is None:
            return loss
        with self.accelerator.autocast():
            logits = self.distillation.logits(image)
        return self.distillation.loss(loss, output, logits)

    def _count(self, batches: list[Batch]) -> int:
        """Count what an update has used; returns the images of this process."""
        progress = self.progress
        progress.updates += 1
        progress.step += len(batches)
        for image, _ in batches:
            images = len(image) * self.accelerator.num_processes
            progress.images_seen += images
            progress.epoch_seen += images
            progress.images_at[image.shape[-1]] += images
        return sum(len(target) for _, target in batches)

    def _look(self, done: list[tuple[Tensor, int]], display: Display, tracking: Tracking) -> tuple[int, bool]:
        """About once a second: read the losses, show them, save or stop; returns updates to the next look, and stop.

        The processes agree on one answer, so that none waits for another that has left; and nothing here changes what
        is learned, so that a look may come at any time.
        """
        progress = self.progress
        # One transfer for all losses; added one by one, so that the sum does not depend on when the looks were.
        values = torch.stack([loss for loss, _ in done]).tolist()
        good = next((number for number, value in enumerate(values) if not math.isfinite(value)), len(values))
        for value, (_, images) in zip(values, done, strict=True):
            progress.epoch_loss += value * images
            progress.epoch_images += images
        microseconds = round(1e6 * self._lap() / len(done))
        save_due = 0 < 60 * self.checkpoint_minutes <= time.perf_counter() - self._saved
        stop, save, slowest, bad = largest(
            self.accelerator, [self.stop_request.made, save_due, microseconds, len(values) - good]
        )
        if bad:
            self._fail_at(progress.updates - bad + 1, "non-finite loss")

        display.step(
            epoch=progress.epoch,
            updates=progress.updates,
            loss=progress.epoch_loss / progress.epoch_images,
            images_per_second=progress.epoch_seen / progress.epoch_seconds,
            seconds_left=self._seconds_left(),
        )
        if progress.updates // self.recipe.log_interval > (progress.updates - len(done)) // self.recipe.log_interval:
            tracking.log({"loss": values[-1], "lr": self._rate()}, step=progress.updates)
        if (stop or save) and progress.step < self.data.train.steps_per_epoch:
            self.save()
            if stop:
                raise TrainingInterruptedError(
                    f"stopped in epoch {progress.epoch + 1} of {self.epochs}, update {progress.updates}"
                )
        pause = round(1e6 * _SECONDS_BETWEEN_LOOKS / max(1, slowest))
        return max(1, min(_MOST_UPDATES_BETWEEN_LOOKS, pause)), bool(stop)

    def _end_epoch(self) -> tuple[float, float]:
        """Count an epoch as done; returns its images per second and its mean training loss."""
        progress = self.progress
        loss, images = (sum(from_each(self.accelerator, v)) for v in (progress.epoch_loss, progress.epoch_images))
        rate = progress.epoch_seen / progress.epoch_seconds
        progress.epoch += 1
        average_buffers(self.accelerator, self.raw)
        progress.losses.append(loss / images)
        progress.timings.append({"epoch": progress.epoch, "seconds": progress.epoch_seconds, "images_per_second": rate})
        progress.step = progress.epoch_images = progress.epoch_seen = 0
        progress.epoch_loss = progress.epoch_seconds = 0.0
        return rate, loss / images

    def _measure(self, train_loss: float | None) -> None:
        """Measure the network and its moving average on the test set and the hold-out: a row of metrics.csv."""
        progress = self.progress
        row: dict[str, Any] = {
            "epoch": progress.epoch,
            "updates": progress.updates,
            "images_seen": progress.images_seen,
            "lr": self._rate() if progress.updates else None,
            "train_loss": train_loss,
        }
        for part, score in self._scores().items():
            progress.scores[part] = asdict(score) if score else None
            row |= {f"{part}_{key}": getattr(score, key) if score else None for key in ("loss", "top1", "top5")}
        progress.rows.append(row)

    def _scores(self) -> dict[str, Score | None]:
        """The score of every part that there is; the images of a split are read once for both networks."""
        found: dict[str, Score | None] = dict.fromkeys(PARTS)
        models = {"": self.raw, **({"_ema": self.ema.module} if self.ema else {})}
        for name, split in (("test", self.data.test), ("holdout", self.data.holdout)):
            if split is not None:
                scores = evaluate_all(self.accelerator, list(models.values()), split, self.data.num_classes)
                found |= {f"{name}{suffix}": score for suffix, score in zip(models, scores, strict=True)}
        return found

    def save(self) -> None:
        """Write a checkpoint of now, unless a weight is non-finite: the last good one stays the newest."""
        progress = self.progress
        weights = self.raw.state_dict()
        finite = torch.stack([torch.isfinite(value).all() for value in weights.values()]).tolist()  # one transfer
        if not all(finite):
            name = list(weights)[finite.index(False)]
            self._fail_at(progress.updates, f"{name} has a value that is not a finite number")
        sums = [from_each(self.accelerator, value) for value in (progress.epoch_loss, progress.epoch_images)]
        progress.seconds_total = self._seconds_before + time.perf_counter() - self._begun
        if self.accelerator.is_main_process:
            self.run.check_place()
            scaler = self.accelerator.scaler
            state = {
                "model": weights,
                "ema": self.ema and self.ema.module.state_dict(),
                "optimizer": self.optimizer.state_dict(),
                "scaler": scaler and scaler.state_dict(),
                "progress": {**asdict(progress), "images_at": dict(progress.images_at)},
                "of_each_process": sums,
            }
            kept = self.recipe.checkpoint_hist
            checkpoint.save(
                self.run.checkpoints, self._known, state, epoch=progress.epoch, step=progress.step, kept=kept
            )
            self.write_tables()
        self._saved = self._clock = time.perf_counter()

    def write_tables(self) -> None:
        """Write metrics.csv and timing.csv as the progress has them, and so as the newest checkpoint has."""
        self.run.write_table(METRICS_FILE, self.progress.rows)
        self.run.write_table(TIMING_FILE, self.progress.timings)

    def load(self) -> list[str]:
        """Load the newest whole checkpoint of the run; returns lines to show about it."""
        state, notes = checkpoint.load_newest(self.run.checkpoints, self._known)
        if state is not None:
            self.raw.load_state_dict(state["model"])
            for epoch, loss in enumerate(state["progress"].get("losses", ()), start=1):
                optim.end_epoch(self.schedule, epoch, loss)
            self.optimizer.load_state_dict(state["optimizer"])
            if self.ema is not None:
                self.ema.module.load_state_dict(state["ema"])
            if self.accelerator.scaler is not None:
                self.accelerator.scaler.load_state_dict(state["scaler"])
            self.progress = self._progress_of(state)
            epoch = min(self.progress.epoch + 1, self.epochs)
            notes.append(f"resuming in epoch {epoch} of {self.epochs}, after update {self.progress.updates}")
        if len(set(from_each(self.accelerator, self.progress.updates))) > 1:
            raise InputError(f"{self.run.path}: not the same on all machines; put --output on a disk that they share")
        return notes

    def _progress_of(self, state: Mapping[str, Any]) -> Progress:
        """The progress of a checkpoint, which another number of processes may have written."""
        saved, sums, here = state["progress"], state["of_each_process"], self.accelerator.process_index
        if len(sums[0]) != self.accelerator.num_processes:  # what all had summed is the main process's to go on with
            sums = [[sum(own) if here == 0 else 0.0] * (here + 1) for own in sums]
        loss, images = (own[here] for own in sums)
        step = self._step_of(int(saved["step"]), state["batch"])
        return Progress(
            **{**saved, "step": step, "epoch_loss": loss, "epoch_images": round(images),
               "images_at": Counter(saved["images_at"])}
        )  # fmt: skip

    def _step_of(self, step: int, batch: tuple[int, int, int] | None) -> int:
        """The batches of an epoch that are done, in batches of now; an epoch must be of as many images as before."""
        now = self.recipe.batch_size * self.accelerator.num_processes
        then = now if batch is None else batch[0] * batch[2]
        count, steps = self.data.train.count, self.data.train.steps_per_epoch
        if then == now:
            return step
        if count // then * then != steps * now:
            raise InputError(
                f"{self.run.path}: an epoch was {count // then * then} images in batches of {then}, here it is "
                f"{steps * now} in batches of {now}; resume with another --batch-size and --grad-accum-steps"
            )
        return int(step * then // now)

    def _fail_at(self, update: int, what: str) -> None:
        epoch = self.progress.epoch + bool(self.progress.step)
        good = checkpoint.newest(self.run.checkpoints)
        kept = f"the last good checkpoint is {good}" if good else "there was no checkpoint yet"
        raise TrainingError(
            f"{what} at update {update} (epoch {epoch}); {kept}; a lower --lr, a longer warm-up or --clip-grad may "
            "help (that is then another run)"
        )

    def _lap(self) -> float:
        """Seconds of training since the last lap, added to the clock that leaves out evaluation and checkpoints."""
        now = time.perf_counter()
        lap, self._clock = now - self._clock, now
        self.progress.epoch_seconds += lap
        self.progress.seconds += lap
        return lap

    def _seconds_left(self) -> float:
        done = self.progress.updates - self._updates_before
        left = self.epochs * self.updates_per_epoch - self.progress.updates
        return (time.perf_counter() - self._begun) / done * left

    def _rate(self) -> float:
        return float(self.optimizer.param_groups[0]["lr"])


@contextmanager
def _compile_errors_in_a_line(recipe: Recipe) -> Iterator[None]:
    """An error of torch.compile as one line: otherwise it is a page about files that are not the user's."""
    if recipe.torchcompile is None:
        yield
        return
    try:
        yield
    except TorchDynamoException as error:
        what = " ".join(str(error).strip().split("\n\n")[0].split())[:300]  # hints for developers follow
        raise TrainingError(
            f"torch.compile failed: {what}; delete a file that it names (a compiler that was killed leaves it cut off) "
            "and run the same command again, or train without, which is another run: --torchcompile eager"
        ) from error


def seed_update(seed: int, epoch: int, step: int, process: int) -> None:
    """Random numbers of one update: torch's for dropout and drop path, numpy's for timm's mixup.

    `torch.manual_seed` would go through every kind of device that torch knows, at every update.
    """
    for_torch, for_numpy = np.random.SeedSequence((seed, epoch, step, process)).generate_state(2)
    torch.default_generator.manual_seed(int(for_torch))
    if torch.cuda.is_initialized():
        torch.cuda.default_generators[torch.cuda.current_device()].manual_seed(int(for_torch))
    elif torch.backends.mps.is_available():
        torch.mps.manual_seed(int(for_torch))
    elif torch.xpu.is_available():
        torch.xpu.manual_seed(int(for_torch))
    np.random.seed(int(for_numpy))


def grouped(batches: Iterator[Batch], size: int) -> Iterator[list[Batch]]:
    """Consecutive batches, `size` at a time; the last group may be shorter."""
    while group := list(itertools.islice(batches, size)):
        yield group
