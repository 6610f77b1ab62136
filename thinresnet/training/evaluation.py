"""Evaluating networks on test images: the images are read once, whatever the number of networks.

A batch is decoded, prepared once for each way of preparing it that the networks ask for, and shown to all of them. The
network alone is timed. Nothing is chosen by what is measured.
"""

from __future__ import annotations

import functools
import hashlib
import itertools
import os
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor, nn
from torchvision.transforms import InterpolationMode
from torchvision.transforms import functional as transforms

from thinresnet import networks, recipe
from thinresnet.errors import InputError, nearest
from thinresnet.evaluation import Evaluation
from thinresnet.imported import Imported
from thinresnet.network import Network
from thinresnet.networks.hub import read_config
from thinresnet.preprocessing import IMAGENET_MEAN, IMAGENET_STD, Preprocessing
from thinresnet.progress import Progress, shown
from thinresnet.recipe import Recipe
from thinresnet.result import Result
from thinresnet.runs import EMA_WEIGHTS_FILE, IMPORTED_FILE, NETWORK_FILE, RECIPE_FILE, RESULT_FILE, WEIGHTS_FILE
from thinresnet.training import provenance
from thinresnet.training.classes import known_classes
from thinresnet.training.data.datasets import open_test
from thinresnet.training.data.images import Images
from thinresnet.training.importing import of_config
from thinresnet.training.preparing import as_trained

DATA_CLASSES = "data"  # --classes data: those that the images have
_CROP_PCT = 0.875  # timm's, where a recipe says none


@dataclass(frozen=True)
class Subject:
    """A network with weights in a run folder, and how its images are prepared."""

    name: str
    folder: Path
    network: Network
    model: nn.Module
    shape: str
    weights_sha256: str
    ema: bool
    preprocessing: Preprocessing
    outputs: int
    class_names: tuple[str, ...] | None  # of the outputs, where they are known


@dataclass(frozen=True)
class TestImages:
    """Test images of some classes."""

    name: str
    class_names: tuple[str, ...]
    images: Images

    @classmethod
    def open(cls, data_dir: str, dataset: str = "", split: str = "validation") -> TestImages:
        return cls(*open_test(data_dir, dataset, split))

    def of(self, classes: Sequence[str]) -> TestImages:
        """The images of some classes only, numbered by their order here."""
        for name in classes:
            if name not in self.class_names:
                raise InputError(f"--classes: {self.name} has no class {name!r:.60}{nearest(name, self.class_names)}")
        if len(set(classes)) != len(classes):
            raise InputError("--classes: a class is named twice")
        kept = [name for name in self.class_names if name in classes]
        number = {self.class_names.index(name): place for place, name in enumerate(kept)}
        chosen = [index for index, target in enumerate(self.images.targets.tolist()) if target in number]
        targets = np.asarray([number[int(self.images.targets[index])] for index in chosen], np.int64)
        left = self.images.subset(chosen, targets)
        return replace(self, class_names=tuple(kept), images=left)


def open_subject(folder: Path, *, ema: bool = False, preprocessing: Mapping[str, Any] | None = None) -> Subject:
    """The network of a run folder, trained here or imported, with its own preprocessing and what is said instead."""
    if not (folder / NETWORK_FILE).is_file():
        raise InputError(f"{folder}: no run folder (no {NETWORK_FILE}); give runs/<id>, a weight file or a name")
    weights = EMA_WEIGHTS_FILE if ema else WEIGHTS_FILE
    if not (folder / weights).is_file():
        raise InputError(f"{folder / weights}: no such file" + ("; leave out --ema" if ema else ""))
    network, model = networks.load(folder, weights)
    if not isinstance(outputs := getattr(model, "num_classes", None), int):
        raise InputError(f"{folder}: the network does not say how many classes it has")
    prepared, names = read_config(folder, outputs)
    dataset, shape, own = _said_of(folder, network, prepared)
    return Subject(
        name=folder.resolve().name,
        folder=folder,
        network=network,
        model=model,
        shape=shape,
        weights_sha256=provenance.file_sha256(folder / weights),
        ema=ema,
        preprocessing=replace(own, **dict(preprocessing or {})),
        outputs=outputs,
        class_names=names or known_classes(dataset, outputs),
    )


def evaluate(
    subjects: Sequence[Subject],
    test: TestImages,
    *,
    classes: Sequence[str] | str | None = None,
    batch_size: int = 125,
    device: torch.device | None = None,
    progress: Progress | bool = True,
) -> list[Evaluation]:
    """Measure every network on the same images, in one pass over them.

    `classes` restricts images and predictions to some classes by name; `data` to those that the images have.
    """
    show = shown(progress)
    device = device or torch.device("cuda" if torch.cuda.is_available() else "cpu")
    restricted = classes is not None
    if classes is not None and classes != DATA_CLASSES:
        test = test.of([classes] if isinstance(classes, str) else classes)
    tallies = [_Tally(one, _columns(one, test, restricted=restricted), device) for one in subjects]
    known, side = hashlib.sha256(), [0] * len(subjects)
    total, done = len(test.images), 0
    with _side_by_side(len(subjects), device) as run:
        for images, targets in _read(test.images, batch_size, known):
            for prepared, members in _prepared(images, subjects):
                for number in members:
                    check_side(subjects[number], prepared)
                    side[number] = int(prepared.shape[-1])
                run([functools.partial(tallies[number].add, prepared, targets) for number in members])
            done += len(images)
            show("evaluating", done, total)
    return [
        tally.result(test, restricted=restricted, images_sha256=known.hexdigest(), side=side[number])
        for number, tally in enumerate(tallies)
    ]


@contextmanager
def _side_by_side(count: int, device: torch.device) -> Iterator[Callable[[list[Callable[[], None]]], None]]:
    """How to run what has to be done for several networks: on a CPU with as many of them, one on every core.

    Layers of thin networks are too small to be split between cores.
    """
    cores = torch.get_num_threads() if "OMP_NUM_THREADS" in os.environ else os.cpu_count() or 1
    if device.type != "cpu" or not 1 < cores <= count:
        yield lambda tasks: [task() for task in tasks].clear()
        return
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        with ThreadPoolExecutor(cores) as pool:
            yield lambda tasks: list(pool.map(lambda task: task(), tasks)).clear()
    finally:
        torch.set_num_threads(threads)


# What is known of a run ---------------------------------------------------------------------------------------------


def _said_of(folder: Path, network: Network, prepared: Preprocessing | None) -> tuple[str, str, Preprocessing]:
    """The dataset, the shape's name and the preprocessing of a run's images."""
    if (folder / IMPORTED_FILE).is_file():
        imported = Imported.read(folder)
        return imported.dataset, imported.shape, imported.preprocessing
    if not (folder / RECIPE_FILE).is_file():
        return "", f"net_{network.sha256[:6]}", prepared or of_config(network)
    finished = (folder / RESULT_FILE).is_file()
    shape = Result.read(folder).shape if finished else f"net_{network.sha256[:6]}"
    return "", shape, of_recipe(as_trained(recipe.load(folder / RECIPE_FILE), folder), network)


def of_recipe(how: Recipe, network: Network) -> Preprocessing:
    """A recipe's test images: resized by timm's rule, cropped, normalised."""
    side = how.img_size or network.input_size[1]
    mean, std = how.mean or IMAGENET_MEAN, how.std or IMAGENET_STD
    return Preprocessing(
        (*mean * (3 // len(mean)),),  # type: ignore[arg-type]  # one or three, as recipes are checked
        (*std * (3 // len(std)),),  # type: ignore[arg-type]
        resize_px=int(side / (how.crop_pct or _CROP_PCT)),
        crop_px=side,
        interpolation=how.interpolation or "bicubic",
    )


def _columns(subject: Subject, test: TestImages, *, restricted: bool) -> list[int]:
    """Which output of the network is each class of the images; refused where that is not known."""
    data, known = test.class_names, subject.class_names
    if known is not None and set(data) <= set(known):
        columns = [known.index(name) for name in data]
    elif subject.outputs == len(data):
        columns = list(range(len(data)))
    else:
        raise InputError(
            f"{subject.name}: {subject.outputs} outputs, but {test.name} has {len(data)} classes "
            f"({data[0]} …): other weights, or other images"
        )
    if len(columns) < subject.outputs and not restricted:
        raise InputError(
            f"{subject.name}: {subject.outputs} outputs, and images of {len(columns)} of these classes; "
            "restrict the predictions to them with --classes data, or name some"
        )
    return columns


# Images -------------------------------------------------------------------------------------------------------------


def _read(images: Images, batch_size: int, known: Any) -> Iterator[tuple[list[Image.Image], Tensor]]:
    """Decoded batches, one ahead, and their classes; `known` is fed the bytes and class of every image."""
    batches = [range(start, min(start + batch_size, len(images))) for start in range(0, len(images), batch_size)]
    with ThreadPoolExecutor(max(1, min(8, os.cpu_count() or 1))) as pool:
        ahead = [pool.map(images.read, batches[0])] if batches else []
        for this, following in itertools.zip_longest(batches, batches[1:]):
            decoding = ahead.pop()
            if following is not None:
                ahead.append(pool.map(images.read, following))
            for index in this:
                known.update(
                    hashlib.sha256(images.encoded(index)).digest() + int(images.targets[index]).to_bytes(4, "little")
                )
            yield list(decoding), torch.from_numpy(images.targets[this.start : this.stop])


def _prepared(images: list[Image.Image], subjects: Sequence[Subject]) -> Iterator[tuple[Tensor, list[int]]]:
    """The batch for every way of preparing it, and the numbers of the networks that want it so."""
    wanted: dict[Preprocessing, list[int]] = {}
    for number, subject in enumerate(subjects):
        wanted.setdefault(subject.preprocessing, []).append(number)
    shapes: dict[Preprocessing, Tensor] = {}
    for how, members in wanted.items():
        geometry = replace(how, mean=(0.0, 0.0, 0.0), std=(1.0, 1.0, 1.0))
        if geometry not in shapes:
            shapes[geometry] = _stacked([_shaped(image, how) for image in images])
        yield _normalised(shapes[geometry], how), members


def prepare(images: Sequence[Image.Image], how: Preprocessing) -> Tensor:
    """A batch as a network takes it."""
    return _normalised(_stacked([_shaped(image, how) for image in images]), how)


def _normalised(images: Tensor, how: Preprocessing) -> Tensor:
    mean, std = (torch.tensor(values)[:, None, None] for values in (how.mean, how.std))
    return (images - mean) / std


def _shaped(image: Image.Image, how: Preprocessing) -> Tensor:
    """One image resized and cropped, from 0 to 1."""
    mode = InterpolationMode.BICUBIC if how.interpolation == "bicubic" else InterpolationMode.BILINEAR
    found: Any = image if how.resized_on == "image" else transforms.to_tensor(image)
    if how.resize_px is not None:
        found = transforms.resize(found, [how.resize_px], mode, antialias=True)
    if how.crop_px is not None:
        found = transforms.center_crop(found, [how.crop_px])
    tensor: Tensor = found if isinstance(found, Tensor) else transforms.to_tensor(found)
    return tensor


def _stacked(images: list[Tensor]) -> Tensor:
    sizes = {tuple(image.shape[1:]) for image in images}
    if len(sizes) > 1:
        some = ", ".join(f"{width}x{height}" for height, width in sorted(sizes)[:3])
        raise InputError(f"the images differ in size ({some} …); say how they are cropped: --resize PX --crop PX")
    return torch.stack(images)


def check_side(subject: Subject, prepared: Tensor) -> None:
    """Images of another size than the network's are a mistake, unless a crop was asked for."""
    size = tuple(prepared.shape[2:])
    if subject.preprocessing.crop_px is None and size != subject.network.input_size[1:]:
        side = subject.network.input_size[1]
        raise InputError(
            f"{subject.name}: takes images of {side} pixels, and these have {size[1]}x{size[0]}; "
            f"say how they are prepared: --resize {side} --crop {side}"
        )


# Counting -----------------------------------------------------------------------------------------------------------


@dataclass
class _Tally:
    """What one network has got right so far."""

    subject: Subject
    columns: list[int]
    device: torch.device
    correct5: int = 0
    correct1_of_all: int = 0
    loss: float = 0.0
    seconds: float = 0.0
    confusion: Tensor = field(init=False)

    def __post_init__(self) -> None:
        self.confusion = torch.zeros(len(self.columns), len(self.columns), dtype=torch.int64)
        # Channels last is a third faster on processors, and no slower on GPUs.
        self.subject.model.to(self.device, memory_format=torch.channels_last).eval()
        self.chosen = torch.tensor(self.columns)

    @torch.inference_mode()
    def add(self, images: Tensor, targets: Tensor) -> None:
        images = images.to(self.device, memory_format=torch.channels_last)
        begun = time.perf_counter()
        logits = self.subject.model(images).float().cpu()
        self.seconds += time.perf_counter() - begun
        own, among = logits[:, self.chosen], len(self.columns)
        self.correct1_of_all += int((logits.argmax(1) == self.chosen[targets]).sum())
        self.loss += float(nn.functional.cross_entropy(own.double(), targets, reduction="sum"))
        top = own.topk(min(5, among)).indices
        self.correct5 += int((top == targets[:, None]).any(1).sum())
        pairs = targets * among + top[:, 0]
        self.confusion += torch.bincount(pairs, minlength=among**2).view(among, among)

    def result(self, test: TestImages, *, restricted: bool, images_sha256: str, side: int) -> Evaluation:
        subject, images = self.subject, len(test.images)
        if not np.isfinite(self.loss):
            raise InputError(f"{subject.name}: its outputs are not finite numbers; the weights are of no use")
        channels = subject.network.input_size[0]
        cost = networks.count(subject.network, (channels, side, side))
        among = len(self.columns)
        return Evaluation(
            name=subject.name,
            arch=subject.network.arch,
            arch_kwargs=dict(subject.network.kwargs),
            shape=subject.shape,
            network_sha256=subject.network.sha256,
            weights_sha256=subject.weights_sha256,
            ema=subject.ema,
            dataset=test.name,
            images=images,
            images_sha256=images_sha256,
            classes=list(test.class_names),
            outputs=subject.outputs,
            restricted=restricted and among < subject.outputs,
            correct1=int(self.confusion.diagonal().sum()),
            correct5=self.correct5 if among > 5 else None,
            correct1_of_all_outputs=self.correct1_of_all,
            loss=self.loss / images,
            confusion=self.confusion.tolist(),
            resolution=side,
            macs=cost.macs,
            params=cost.params,
            preprocessing=subject.preprocessing,
            images_per_second=images / self.seconds,
            device=torch.cuda.get_device_name(self.device) if self.device.type == "cuda" else provenance.processor(),
            versions=provenance.versions(),
            finished=provenance.now(),
        )
