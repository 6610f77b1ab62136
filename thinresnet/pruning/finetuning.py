"""Training while pruning: the recipe's optimizer, schedule, loss and images on a network that a method changes.

The same factories as `thinresnet.training`, without its run folder: what is trained here is a step on the way to one.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Iterator

from torch import Tensor, nn

from thinresnet.errors import InputError
from thinresnet.progress import Progress
from thinresnet.recipe import Recipe
from thinresnet.training import optim
from thinresnet.training.data import Data
from thinresnet.training.epochs import over_epochs
from thinresnet.training.loop import Batch, grouped, seed_update
from thinresnet.training.preparing import check_bfloat16
from thinresnet.training.processes import start_accelerator


class FineTuning:
    """Goes through the training images and updates the model; counts epochs, updates and images.

    `for batches in tuning.batches(): tuning.step(batches, penalty)`: `penalty` may add to the gradients before the
    optimizer moves. With `epochs` the recipe's whole schedule goes over so many, so that the rate at the end is its
    last. With `updates` it ends after so many, and the schedule is that of the recipe all the same; with `lr` the rate
    stays at that value throughout, whatever the schedule and its warm-up.
    """

    def __init__(
        self,
        model: nn.Module,
        recipe: Recipe,
        data: Data,
        *,
        epochs: int | None,
        updates: int | None,
        lr: float | None,
        progress: Progress,
    ) -> None:
        if recipe.sched == "plateau":
            raise InputError("sched: plateau follows a whole training; prune with another schedule, such as cosine")
        if epochs is not None:
            recipe = over_epochs(recipe, epochs)
        self.model, self.recipe, self.data = model, recipe, data
        self._train = data.train.scheduled(recipe)
        self.epoch = self.updates = 0
        self.images_at: Counter[int] = Counter()  # by the side of the training image, pixels
        self._step = 0
        self._progress = progress
        self.loss_scale = 1.0  # of the last backward pass: float16's factor on the loss
        self._accelerator = start_accelerator(recipe)
        check_bfloat16(model, self._train.sizes, self._accelerator.mixed_precision, self._accelerator.device)
        bare = optim.build_optimizer(recipe, model, 1)
        self._per_epoch = math.ceil(self._train.steps_per_epoch / recipe.grad_accum_steps)
        self._schedule = None
        if lr is None:
            self._schedule, _ = optim.build_schedule(recipe, bare, self._per_epoch)
        else:  # no schedule is built: to build one writes the rate of its warm-up into the optimizer
            for group in bare.param_groups:
                group["lr"] = lr
        self._optimizer = self._accelerator.prepare_optimizer(bare)
        self._loss = optim.build_loss(recipe)
        self._mixup = optim.build_mixup(recipe, data.num_classes)
        self.total_updates = updates if updates is not None else recipe.total_epochs * self._per_epoch
        if self.total_updates < 1:
            raise InputError("prune: training while pruning has no updates; give epochs of at least 1")

    def batches(self) -> Iterator[list[Batch]]:
        """The batches of each update, epoch by epoch; the rate is set before each."""
        while self.updates < self.total_updates:
            self.model.train()
            optim.set_mixing(self._mixup, self.recipe, self.epoch)
            for batches in grouped(self._train.epoch(self.epoch), self.recipe.grad_accum_steps):
                seed_update(self.recipe.seed, self.epoch, self._step, 0)
                optim.set_rate(self._schedule, self.epoch, self.updates)
                yield batches
                if self.updates >= self.total_updates:
                    return
            self.epoch += 1
            self._step = 0

    @property
    def ends_epoch(self) -> bool:
        """Whether the update just made was the last one of its epoch."""
        return self.updates % self._per_epoch == 0

    @property
    def rate(self) -> float:
        """The learning rate of the update to come."""
        return float(self._optimizer.param_groups[0]["lr"])

    def gradient(self, tensor: Tensor) -> Tensor:
        """The gradient of a tensor that the optimizer does not know, without the factor of float16's loss scale."""
        assert tensor.grad is not None
        scaler = self._accelerator.scaler
        return tensor.grad if scaler is None else tensor.grad / scaler.get_scale()

    def step(self, batches: list[Batch], penalty: Callable[[], None] | None = None) -> float:
        """One update; returns the loss, which has to be finite."""
        images = sum(len(target) for _, target in batches)
        total = 0.0
        if (scaler := self._accelerator.scaler) is not None:
            self.loss_scale = float(scaler.get_scale())  # the step changes it
        for batch in batches:
            image, target = batch if self._mixup is None else self._mixup(*batch)
            with self._accelerator.autocast():
                output = self.model(image)
            loss: Tensor = self._loss(output.float(), target) * (len(target) / images)
            self._accelerator.backward(loss)
            total += float(loss.detach())
            self.images_at[image.shape[-1]] += len(target)
        if not math.isfinite(total):
            raise InputError(
                f"prune: non-finite loss at update {self.updates + 1} of training while pruning; a lower lr may help"
            )
        if penalty is not None or self.recipe.clip_grad is not None:
            self._accelerator.unscale_gradients(self._optimizer)
        if penalty is not None:
            penalty()
        optim.clip(self.recipe, self.model)
        self._optimizer.step()
        self._optimizer.zero_grad()
        self.updates += 1
        self._step += len(batches)
        self._progress("updates", self.updates, self.total_updates)
        return total
