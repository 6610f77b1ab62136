"""The `torch` loader: timm's transforms, image by image, in the worker processes of a torch DataLoader.

Every image is augmented under a seed of its own, so the result depends neither on the number of workers nor on which
of them is quicker. Random erasing and normalising follow in batches on the device, as in timm's own prefetcher.
"""

from __future__ import annotations

import random
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from PIL import Image, ImageOps
from timm.data import create_transform
from torch import Tensor
from torch.utils.data import DataLoader, Dataset
from torchvision import transforms
from torchvision.transforms import InterpolationMode

from thinresnet.errors import InputError
from thinresnet.recipe import Recipe
from thinresnet.training.data.augment import Normalise
from thinresnet.training.data.images import Images
from thinresnet.training.data.plan import Draws, Plan

# (size, seed, index of the image): all that a worker is told.
Item = tuple[int, int, int]


@dataclass
class Augmented(Dataset[Tensor]):
    """The training images, each augmented as its item says."""

    images: Images
    transforms: dict[int, Any]

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, item: Item) -> Tensor | InputError:
        size, seed, index = item
        try:
            image = self.images.read(index)
        except InputError as error:  # raised in a worker it would reach the user as a trace
            return error
        with seeded(seed):
            found: Tensor = self.transforms[size](image)
        return found


@dataclass
class Versions:
    """Versions of an image after one crop, the first without the policy: timm's AugMixDataset as a transform."""

    crop: Any
    policy: Any
    last: Any
    count: int

    def __call__(self, image: Image.Image) -> Tensor:
        cropped = self.crop(image)
        others = [self.policy(cropped) for _ in range(self.count - 1)]
        return torch.stack([self.last(version) for version in (cropped, *others)])


@dataclass
class Plain(Dataset[Tensor]):
    """Images as a test sees them."""

    images: Images
    transform: Any

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, index: int) -> Tensor | InputError:
        try:
            found: Tensor = self.transform(self.images.read(index))
        except InputError as error:
            return error
        return found


@dataclass
class Batches:
    """What the DataLoader asks for, batch by batch; filled anew before each pass."""

    items: list[list[Any]] = field(default_factory=list)

    def __iter__(self) -> Iterator[list[Any]]:
        return iter(self.items)

    def __len__(self) -> int:
        return len(self.items)


class TorchLoader:
    """Both splits through DataLoaders, whose workers live as long as this object."""

    def __init__(
        self, recipe: Recipe, train: Images, test: Images, sizes: tuple[int, ...], device: torch.device, workers: int
    ):
        self.recipe, self.device, self.workers = recipe, device, workers
        self.images = {"train": train, "test": test}
        self.train_items = Batches()
        augmented = Augmented(train, {size: train_transform(recipe, size) for size in sizes})
        self.loader = self._loader(augmented, self.train_items)
        self._plain: dict[tuple[str, int, float], tuple[Batches, DataLoader[Any]]] = {}

    def _loader(self, dataset: Dataset[Any], items: Batches) -> DataLoader[Any]:
        return DataLoader(
            dataset,
            batch_sampler=items,
            num_workers=self.workers,
            collate_fn=stacked,
            pin_memory=self.device.type == "cuda",
            persistent_workers=self.workers > 0,
            generator=torch.Generator(),  # or it would draw its base seed from the global state
        )

    def train_batches(
        self, plan: Plan, steps: Iterator[tuple[int, int, Tensor]], epoch: int
    ) -> Iterator[tuple[Tensor, Draws]]:
        """For each (step, size, image indices): the augmented images, uint8, and the step's draws."""
        asked = list(steps)
        self.train_items.items = [
            [
                (size, plan.sample_seed(epoch, position), index)
                for position, index in zip(plan.positions(step).tolist(), indices.tolist(), strict=True)
            ]
            for step, size, indices in asked
        ]
        for (step, _, _), images in zip(asked, self.loader, strict=True):
            yield self._on_device(images), plan.generator(epoch, step)

    def eval_batches(self, split: str, batches: Iterator[Tensor], size: int, crop_pct: float) -> Iterator[Tensor]:
        """The images of those indices (of `split`: train or test) as a test sees them."""
        key = (split, size, crop_pct)
        if key not in self._plain:
            items = Batches()
            dataset = Plain(self.images[split], test_transform(self.recipe, size, crop_pct))
            self._plain[key] = (items, self._loader(dataset, items))
        items, loader = self._plain[key]
        items.items = [indices.tolist() for indices in batches]
        for images in loader:
            yield self._on_device(images)

    def _on_device(self, images: Tensor | InputError) -> Tensor:
        if isinstance(images, InputError):
            raise images
        if images.ndim == 5:  # versions: all of the first, then all of the second …
            images = images.transpose(0, 1).flatten(0, 1)
        return images.to(self.device, non_blocking=True).permute(0, 2, 3, 1)

    def close(self) -> None:
        """End the workers."""
        for loader in (self.loader, *(loader for _, loader in self._plain.values())):
            iterator = loader._iterator
            if iterator is not None and self.workers:
                iterator._shutdown_workers()
            loader._iterator = None


def stacked(images: list[Tensor | InputError]) -> Tensor | InputError:
    """The batch, or what was wrong with its first bad image."""
    wrong = [image for image in images if isinstance(image, InputError)]
    return wrong[0] if wrong else torch.stack([image for image in images if isinstance(image, Tensor)])


@contextmanager
def seeded(seed: int) -> Iterator[None]:
    """Python's, numpy's and torch's global states seeded inside, and as they were afterwards."""
    before = random.getstate(), np.random.get_state(), torch.get_rng_state()
    random.seed(seed)
    np.random.seed(seed % 2**32)
    torch.manual_seed(seed)
    try:
        yield
    finally:
        random.setstate(before[0])
        np.random.set_state(before[1])
        torch.set_rng_state(before[2])


def train_transform(recipe: Recipe, size: int) -> Any:
    """timm's training transform up to a uint8 tensor; its crop or policy replaced where the recipe asks for ours."""
    if recipe.no_aug:
        interpolation = recipe.interpolation or "bicubic"
        return create_transform(size, is_training=True, no_aug=True, interpolation=interpolation, use_prefetcher=True)
    trivial = recipe.aa == "ta_wide"
    crop, policy, last = create_transform(
        size,
        is_training=True,
        scale=recipe.scale,
        ratio=recipe.ratio,
        train_crop_mode=recipe.train_crop_mode,
        hflip=recipe.hflip,
        vflip=recipe.vflip,
        color_jitter=None if trivial else recipe.color_jitter,
        color_jitter_prob=recipe.color_jitter_prob,
        grayscale_prob=recipe.grayscale_prob,
        gaussian_blur_prob=recipe.gaussian_blur_prob,
        auto_augment=None if trivial else recipe.aa,
        interpolation=recipe.train_interpolation,
        mean=Normalise.of(recipe).mean,
        use_prefetcher=True,
        separate=True,
    )
    for part in policy.transforms:
        _mend_posterize(part)
    if recipe.crop_padding:
        crop = transforms.Compose(
            [
                transforms.RandomCrop(size, recipe.crop_padding, padding_mode=recipe.crop_padding_mode),
                transforms.RandomHorizontalFlip(recipe.hflip),
                *([transforms.RandomVerticalFlip(recipe.vflip)] if recipe.vflip else []),
            ]
        )
    if trivial:
        bicubic = recipe.train_interpolation == "bicubic"
        policy = transforms.TrivialAugmentWide(
            interpolation=InterpolationMode.BICUBIC if bicubic else InterpolationMode.BILINEAR
        )
    if recipe.aug_splits:
        return Versions(crop, policy, last, recipe.aug_splits)
    return transforms.Compose([crop, policy, last])


def _mend_posterize(policy: Any) -> None:
    """Let timm's posterize keep no bits at all, which its strongest level asks for and Pillow 13 refuses."""
    operations = getattr(policy, "ops", None) or [op for pair in getattr(policy, "policy", ()) for op in pair]
    for operation in operations:
        if operation.name.startswith("Posterize"):
            operation.aug_fn = posterize


def posterize(image: Image.Image, bits: int, **_: object) -> Image.Image:
    """Only the upper bits of each value; none of them are black, which Pillow refuses to say."""
    if bits == 0:
        return Image.new(image.mode, image.size)
    return image if bits >= 8 else ImageOps.posterize(image, bits)


def test_transform(recipe: Recipe, size: int, crop_pct: float) -> Any:
    """timm's test transform up to a uint8 tensor."""
    return create_transform(
        size, interpolation=recipe.interpolation or "bicubic", crop_pct=crop_pct, use_prefetcher=True
    )
