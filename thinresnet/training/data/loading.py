"""The loaders behind one interface: choosing one, and the training, test and hold-out splits over it."""

from __future__ import annotations

import math
import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from timm.data.scheduled_sampler import ScheduledBatchSampler
from torch import Tensor

from thinresnet.errors import InputError
from thinresnet.files import cache_folder
from thinresnet.policy import parse_policy
from thinresnet.progress import Progress, silent
from thinresnet.recipe import Recipe
from thinresnet.training.data import beton
from thinresnet.training.data import holdout as holdouts
from thinresnet.training.data.augment import Augment, Normalise, on_device
from thinresnet.training.data.beton_loader import BetonLoader
from thinresnet.training.data.datasets import Dataset, open_dataset
from thinresnet.training.data.ffcv_loader import FfcvLoader
from thinresnet.training.data.images import Images
from thinresnet.training.data.memory import MemoryLoader, UnevenError
from thinresnet.training.data.plan import Draws, Plan, share
from thinresnet.training.data.torch_loader import TorchLoader
from thinresnet.training.data.transfer import ahead, moved
from thinresnet.training.processes import processes_here

DEFAULT_CROP_PCT = 0.875  # timm's
# Held on the training device by every process: CIFAR takes 0.2 GB, ImageNet at 64 pixels would take 16.
_LARGEST_IN_MEMORY = 2 * 2**30
# Resizing on a CPU by matrix products costs more than decoding ahead in threads once images are larger than this
# (benchmarks/training.py, part 3).
_LARGEST_SIDE_ON_CPU = 64
_PEEKED = 32
# What a GPU prepares at once: small images would take longer to ask for than to prepare. A processor has no such cost.
_MOST_PIXELS, _MOST_STEPS = 2**21, 16


class Loader(Protocol):
    """What a loader is: cropped uint8 images (N, H, W, 3) on the device for the indices that it is asked for."""

    def train_batches(
        self, plan: Plan, steps: Iterator[tuple[int, int, Tensor]], epoch: int
    ) -> Iterator[tuple[Tensor, Draws]]:
        """For each (step, size, image indices): the cropped, flipped images and the step's draws after them."""

    def eval_batches(self, split: str, batches: Iterator[Tensor], size: int, crop_pct: float) -> Iterator[Tensor]:
        """The images of those indices (of `split`: train or test) as a test sees them."""

    def close(self) -> None:
        """End what runs in the background."""


@dataclass(frozen=True)
class TrainSplit:
    """The training images of this process, augmented."""

    plan: Plan
    loader: Loader
    images: NDArray[np.int64]  # which of the dataset's training images are trained on
    targets: Tensor
    augment: Augment
    sizes: tuple[int, ...]
    schedule: ScheduledBatchSampler | None

    @property
    def count(self) -> int:
        """Training images, without those held out."""
        return self.plan.count

    @property
    def steps_per_epoch(self) -> int:
        """Batches an epoch, the same on every process."""
        return self.plan.steps_per_epoch

    @property
    def images_per_epoch(self) -> int:
        """Images that all processes together see in an epoch."""
        return self.plan.steps_per_epoch * self.plan.global_batch

    def epoch(self, epoch: int, start_step: int = 0) -> Iterator[tuple[Tensor, Tensor]]:
        """(images, targets) of each step from `start_step` on: a pure function of seed, epoch, step and process."""
        return ahead(self._batches(epoch, start_step), self.targets.device)

    def _batches(self, epoch: int, start_step: int) -> Iterator[tuple[Tensor, Tensor]]:
        order, together = self.plan.order(epoch), self.plan.together
        kept = torch.from_numpy(self.images)
        groups = range(start_step // together, self.plan.groups)
        chosen = {group: kept[order[self.plan.positions(group)]] for group in groups}
        sizes = self._sizes(epoch)
        asked = ((group, sizes[group * together], indices) for group, indices in chosen.items())
        batches = self.loader.train_batches(self.plan, asked, epoch)
        for (group, indices), (images, draws) in zip(chosen.items(), batches, strict=True):
            (there,) = moved(self.targets.device, indices)
            targets = self.targets[there]
            if together == 1:
                yield self._augmented(images, epoch, group, draws), targets.repeat(self._versions)
                continue
            found = self.augment(images, epoch, group, draws)
            size, first = self.plan.batch_size, group * together
            for start in range(max(0, start_step - first) * size, len(found), size):
                yield found[start : start + size], targets[start : start + size]

    @property
    def _versions(self) -> int:
        """How often a step has each of its images."""
        return self.augment.recipe.aug_splits or 1

    def _augmented(self, images: Tensor, epoch: int, step: int, draws: Draws) -> Tensor:
        """The images of a step; with aug_splits all first versions, then all second ones, as timm puts them."""
        if self._versions == 1:
            return self.augment(images, epoch, step, draws)
        found = []
        for number, part in enumerate(images.chunk(self._versions)):
            clean = number == 0 and self.augment.recipe.resplit
            augment = replace(self.augment, recipe=self.augment.recipe.replace(reprob=0.0)) if clean else self.augment
            found.append(augment(part, epoch, step + number * self.steps_per_epoch, draws))
        return torch.cat(found)

    def scheduled(self, recipe: Recipe) -> TrainSplit:
        """The same images, with their sizes over the epochs of another recipe."""
        return replace(self, schedule=size_schedule(recipe, self.plan, self.sizes))

    def _sizes(self, epoch: int) -> Sequence[int]:
        if self.schedule is None:
            return self.sizes * self.steps_per_epoch
        self.schedule.set_epoch(epoch)
        return [self.sizes[choice] for ((_, choice),) in self.schedule]


@dataclass(frozen=True)
class EvalSplit:
    """Images to be counted: each process has a share of its own, and together they have each image once."""

    loader: Loader
    split: str
    images: NDArray[np.int64]
    targets: Tensor
    batch_size: int
    size: int
    crop_pct: float
    normalise: Normalise
    process_index: int
    process_count: int

    @property
    def count(self) -> int:
        """Images over all processes."""
        return len(self.images)

    @property
    def _share(self) -> Tensor:
        return torch.from_numpy(self.images)[share(self.count, self.process_index, self.process_count)]

    def __len__(self) -> int:
        return math.ceil(len(self._share) / self.batch_size)

    def __iter__(self) -> Iterator[tuple[Tensor, Tensor]]:
        batches = self._share.split(self.batch_size) if len(self._share) else ()
        loaded = self.loader.eval_batches(self.split, iter(batches), self.size, self.crop_pct)
        for indices, images in zip(batches, loaded, strict=True):
            (there,) = moved(self.targets.device, indices)
            yield self.normalise(images), self.targets[there]


@dataclass(frozen=True)
class Data:
    """An opened dataset; close it, or use it as a context manager, to end the workers of its loader."""

    name: str
    class_names: tuple[str, ...]
    loader: str
    image_size: int
    train: TrainSplit
    test: EvalSplit
    holdout: EvalSplit | None

    @property
    def num_classes(self) -> int:
        """Classes."""
        return len(self.class_names)

    def close(self) -> None:
        """End what the loader runs in the background."""
        self.test.loader.close()

    def __enter__(self) -> Data:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def open_data(
    recipe: Recipe,
    *,
    input_size: tuple[int, int, int] | None,
    device: torch.device,
    holdout: float = 0.0,
    loader: str = "auto",
    process_index: int = 0,
    process_count: int = 1,
    progress: Progress = silent,
    cache_dir: Path | None = None,
) -> Data:
    """Open the images that a recipe names.

    `input_size` is the network's (C, H, W), which `recipe.img_size` overrules; None where the recipe alone decides.
    `holdout` is the share of the training set to keep away from training. `progress` is told what is being done, how
    much of it is done, and how much there is. `cache_dir` is for .beton files and decoded images.
    """
    if loader not in LOADERS:
        raise InputError(f"--loader {loader}: takes one of {', '.join(LOADERS)}")
    if input_size and input_size[0] != 3:
        raise InputError(f"the network takes {input_size[0]} channels; the images here have 3")
    size = recipe.img_size or (input_size[1] if input_size else None)
    if size is None:
        raise InputError("img_size: neither the recipe nor the network says how large images are; give --img-size")
    dataset = open_dataset(recipe)
    if recipe.num_classes not in (None, len(dataset.class_names)):
        raise InputError(
            f"num_classes: {recipe.num_classes}, but {dataset.name} has {len(dataset.class_names)} classes; "
            f"give --num-classes {len(dataset.class_names)}"
        )
    kept, held = holdouts.split(dataset.train.targets, holdout)
    sizes = recipe.train_img_sizes or (size,)
    plan = Plan(len(kept), recipe.batch_size, recipe.seed, process_index, process_count, max(1.0, recipe.aug_repeats))
    _check_crops(recipe, dataset.train, sizes)
    request = Request(recipe, dataset, sizes, device, process_count, progress, cache_dir or cache_folder())
    name, opened = _open(loader, request)
    plan = replace(plan, together=_together(plan, name, request))

    normalise = Normalise.of(recipe)
    # timm's transforms did the policy and the jitter already, image by image.
    policy = parse_policy(recipe.aa) if recipe.aa and name != "torch" else None
    jitter = 0.0 if recipe.aa or name == "torch" else recipe.color_jitter or 0.0
    targets = {part: torch.from_numpy(getattr(dataset, part).targets).to(device) for part in ("train", "test")}
    erased = recipe.replace(reprob=0.0) if recipe.no_aug else recipe
    crop_pct = recipe.crop_pct or DEFAULT_CROP_PCT
    batch = recipe.validation_batch_size or recipe.batch_size
    place = (batch, size, crop_pct, normalise, process_index, process_count)
    return Data(
        name=dataset.name,
        class_names=dataset.class_names,
        loader=name,
        image_size=size,
        train=TrainSplit(
            plan, opened, kept, targets["train"], Augment(erased, plan, normalise, policy, jitter), sizes,
            size_schedule(recipe, plan, sizes),
        ),
        test=EvalSplit(opened, "test", np.arange(len(dataset.test)), targets["test"], *place),
        holdout=EvalSplit(opened, "train", held, targets["train"], *place) if len(held) else None,
    )  # fmt: skip


def size_schedule(recipe: Recipe, plan: Plan, sizes: tuple[int, ...]) -> ScheduledBatchSampler | None:
    """timm's schedule of training sizes, which is a function of seed and epoch too; a step is a batch of one here."""
    if len(sizes) == 1:
        return None
    return ScheduledBatchSampler(
        range(plan.steps_per_epoch),
        [1] * len(sizes),
        choice_weights=recipe.train_size_probs,
        seed=recipe.seed,
        choice_schedule=recipe.train_size_schedule,
        schedule_epochs=recipe.epochs,
        schedule_spread=recipe.train_size_schedule_spread,
        schedule_random_mix=recipe.train_size_random_mix,
    )


def _together(plan: Plan, loader: str, to: Request) -> int:
    """For how many steps images are prepared at once; versions of images are put together step by step."""
    if loader != "memory" or to.device.type == "cpu" or len(to.sizes) > 1 or to.recipe.aug_splits:
        return 1
    side = to.sizes[0]
    return max(1, min(_MOST_STEPS, plan.steps_per_epoch, _MOST_PIXELS // (plan.batch_size * side * side)))


def _check_crops(recipe: Recipe, images: Images, sizes: tuple[int, ...]) -> None:
    if recipe.crop_padding:
        found = images.read(0).size
        if sizes != found[:1] or found[0] != found[1]:
            raise InputError(
                f"crop_padding: crops an image at its own size, but images are {found[0]}x{found[1]} and the training "
                f"size is {' '.join(map(str, sizes))}; give --crop-padding 0 or another --img-size"
            )


@dataclass(frozen=True)
class Request:
    """What a loader is opened with."""

    recipe: Recipe
    dataset: Dataset
    sizes: tuple[int, ...]  # of training images, pixels
    device: torch.device
    process_count: int
    progress: Progress
    cache: Path

    @property
    def workers(self) -> int:
        """Loader processes or threads of this process: no more than its share of the cores."""
        return min(self.recipe.workers, max(1, (os.cpu_count() or 1) // processes_here(self.process_count)))

    @property
    def batched(self) -> bool:
        """Whether what the recipe does to images has a form for whole batches, on the device."""
        return not self.alone and on_device(parse_policy(self.recipe.aa) if self.recipe.aa else None)

    @property
    def alone(self) -> str:
        """What the recipe asks for that timm's transforms alone do, image by image."""
        if self.recipe.color_jitter_prob is not None:
            return "color_jitter_prob"
        names = ("no_aug", "train_crop_mode", "vflip", "grayscale_prob", "gaussian_blur_prob", "aug_splits")
        return next((name for name in names if getattr(self.recipe, name)), "")


# A loader is one file, and one line here; "auto" takes the fastest of them that can serve.
OPENERS: dict[str, Callable[[Request], Loader]] = {
    "memory": lambda to: MemoryLoader(to.recipe, to.dataset.train, to.dataset.test, to.device, to.progress, to.cache),
    "beton": lambda to: BetonLoader(to.recipe, to.dataset, to.device, to.workers, to.progress, to.cache),
    "ffcv": lambda to: FfcvLoader(to.recipe, to.dataset, to.device, to.workers, to.progress, to.cache),
    "torch": lambda to: TorchLoader(to.recipe, to.dataset.train, to.dataset.test, to.sizes, to.device, to.workers),
}
LOADERS = ("auto", *OPENERS)
_IN_BATCHES = ("memory", "beton", "ffcv")


def _open(wanted: str, to: Request) -> tuple[str, Loader]:
    """The loader asked for, or the fastest that can serve this recipe and these images."""
    if wanted in _IN_BATCHES and not to.batched:
        what = to.alone or f"aa {to.recipe.aa}"
        raise InputError(f"--loader {wanted}: has no batched form of {what}; use --loader torch")
    if wanted != "auto":
        return wanted, OPENERS[wanted](to)
    if to.batched and _small_and_even(to.dataset, to.device):
        with suppress(UnevenError):
            return "memory", OPENERS["memory"](to)
    name = "beton" if to.batched and to.dataset.train.pixels is None and beton.available() else "torch"
    return name, OPENERS[name](to)


def _small_and_even(dataset: Dataset, device: torch.device) -> bool:
    """Whether all images seem to be of one size (a sample of them is looked at) and fit the bound on memory."""
    total, shapes = 0, set()
    for images in (dataset.train, dataset.test):
        for index in np.linspace(0, len(images) - 1, _PEEKED, dtype=int):
            width, height = images.read(int(index)).size
            shapes.add((width, height))
        total += len(images) * width * height * 3
    quick = device.type != "cpu" or dataset.train.pixels is not None or max(max(shapes)) <= _LARGEST_SIDE_ON_CPU
    return len(shapes) == 1 and total <= _LARGEST_IN_MEMORY and quick
