"""What a user names as a teacher: a run folder, a file of weights, known public weights, or pretrained weights of timm.

Its classes have to be those of the images: other weights are refused before anything is trained.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import timm
from filelock import FileLock
from timm import create_model
from torch import nn

from thinresnet import networks, public_weights
from thinresnet.download import download
from thinresnet.errors import InputError, nearest
from thinresnet.files import cache_folder, replacing
from thinresnet.imported import Imported
from thinresnet.networks.blueprint import construct
from thinresnet.networks.foreign import BY_ORDER
from thinresnet.networks.store import check_fit, shapes_of
from thinresnet.progress import Progress, silent
from thinresnet.public_weights import CLASSES
from thinresnet.result import Result
from thinresnet.runs import EMA_WEIGHTS_FILE, IMPORTED_FILE, NETWORK_FILE, RESULT_FILE, WEIGHTS_FILE
from thinresnet.training.classes import known_classes
from thinresnet.training.distillation import Teacher
from thinresnet.training.evaluation import open_subject
from thinresnet.training.importing import Opened, Wanted, open_weights

_KNOWN_DATASETS = ("digits", *CLASSES)  # names that stand for the same classes everywhere
_IMAGENET_TAG = "in1k"


def open_teacher(given: str, dataset: str, class_names: Sequence[str], *, progress: Progress = silent) -> Teacher:
    """The teacher of that name for images of these classes.

    `given` is a run folder, a file of weights (of a run, or one that `thinresnet import` recognises), the name of
    known public weights, or a name of timm, whose pretrained weights are downloaded.
    """
    try:
        teacher, trained_on = _opened(given, len(class_names), progress)
        outputs = int(teacher.model.num_classes)
        if outputs != len(class_names):
            raise InputError(f"it has {outputs} classes, {dataset} has {len(class_names)}; give one for these images")
        if trained_on != dataset and trained_on in _KNOWN_DATASETS and dataset in _KNOWN_DATASETS:
            raise InputError(f"it was trained on {trained_on}, these images are {dataset}; give one for these images")
        return replace(teacher, order=_order(known_classes(trained_on, outputs) if trained_on else None, class_names))
    except InputError as error:
        raise InputError(f"--teacher {given}: {error}") from None


def _order(known: Sequence[str] | None, class_names: Sequence[str]) -> tuple[int, ...] | None:
    """Its outputs in the order of the images' classes, where both are known by name and differ in order alone."""
    if known is None or set(known) != set(class_names) or list(known) == list(class_names):
        return None
    return tuple(known.index(name) for name in class_names)


def _opened(given: str, classes: int, progress: Progress) -> tuple[Teacher, str]:
    """The teacher, and what it was trained on as far as that is known."""
    path = Path(given)
    if path.is_dir():
        return _of_run(path, ema=False)
    if path.is_file() and path.name in (WEIGHTS_FILE, EMA_WEIGHTS_FILE) and (path.parent / NETWORK_FILE).is_file():
        return _of_run(path.parent, ema=path.name == EMA_WEIGHTS_FILE)
    if path.is_file():
        return _of_file(path, path.name)
    known = {one.network for one in public_weights.every()}
    if given in known:
        by_classes = {number: name for name, number in CLASSES.items()}
        if classes not in by_classes:
            counts = ", ".join(map(str, sorted(by_classes)))
            raise InputError(f"known public weights have {counts} classes, the images have {classes}")
        one = public_weights.find(given, by_classes[classes])
        return _of_file(_downloaded(one, progress), f"{one.repository} {one.path}")
    if timm.is_model(given.partition(".")[0]):
        return _of_timm(given, classes)
    raise InputError(
        "no run folder, no file of weights, no known public weights and no model of timm"
        f"{nearest(given, [*known, *timm.list_models()])}"
    )


def _of_run(folder: Path, *, ema: bool) -> tuple[Teacher, str]:
    subject = open_subject(folder, ema=ema)
    trained_on = ""
    if (folder / IMPORTED_FILE).is_file():
        trained_on = Imported.read(folder).dataset
    elif (folder / RESULT_FILE).is_file():
        trained_on = Result.read(folder).dataset
    source = f"{subject.name}/{EMA_WEIGHTS_FILE if ema else WEIGHTS_FILE}"
    how = subject.preprocessing
    name = _name(subject.network.arch, subject.shape)
    teacher = Teacher(name, source, subject.network, subject.model, how.mean, how.std, subject.weights_sha256)
    return teacher, trained_on


def _of_file(path: Path, source: str) -> tuple[Teacher, str]:
    try:
        opened: Opened = open_weights(str(path), Wanted())
    except InputError as error:
        raise InputError(f"{error}; what has to be said of it, say to `thinresnet import`, and give its run") from None
    if opened.adopted.rule == BY_ORDER:
        raise InputError(
            "its names are known to no rule and were paired by order; look at them with `thinresnet import`, and give "
            "the run folder that it makes"
        )
    network, model = opened.adopted.network, construct(opened.adopted.network)
    model.load_state_dict(opened.adopted.state)
    how, name = opened.preprocessing, _name(network.arch, opened.shape)
    return Teacher(name, source, network, model, how.mean, how.std, opened.origin.sha256), opened.dataset


def _name(arch: str, shape: str) -> str:
    """`resnet20_cifar dense`, `thinresnet20-w4`: a network by its base width says its architecture already."""
    return shape if shape.startswith("thinresnet") else f"{arch} {shape}"


def _downloaded(one: public_weights.PublicWeights, progress: Progress) -> Path:
    """Public weights in the cache, whole."""
    assert one.url is not None, "what is found has an address"
    path = cache_folder() / "weights" / f"{one.git_blob[:12]}-{Path(one.path).name}"
    path.parent.mkdir(parents=True, exist_ok=True)
    with FileLock(path.with_suffix(".lock")):  # of several processes one downloads and the others wait
        if not path.is_file() or public_weights.git_hash(path) != one.git_blob:
            with replacing(path) as part:
                download(one.url, part, progress=progress)
                if public_weights.git_hash(part) != one.git_blob:
                    raise InputError(f"{one.url}: not the file that was known there; nothing of it is used")
    return path


def _of_timm(given: str, classes: int) -> tuple[Teacher, str]:
    arch = given.partition(".")[0]
    try:
        config = timm.get_pretrained_cfg(given)
    except RuntimeError as error:
        raise InputError(f"{error}; `timm.list_pretrained('{arch}*')` has the names") from None
    if config is None or not config.has_weights:
        raise InputError("no pretrained weights of it are known, here or in timm; train it, and give its run folder")
    if config.num_classes != classes:
        raise InputError(f"it has {config.num_classes} classes, the images have {classes}; give one for these images")
    network = networks.describe(arch, input_size=tuple(config.input_size), num_classes=config.num_classes)
    try:
        pretrained: nn.Module = create_model(given, pretrained=True)
    except Exception as error:  # of the hub, of the network, of a full disk: many kinds
        reason = " ".join(str(error).split())[:160]
        raise InputError(f"timm cannot get its weights ({reason})") from None
    state = pretrained.state_dict()
    check_fit(network, shapes_of(state), given)
    model = construct(network)
    model.load_state_dict(state)
    trained_on = "imagenet" if str(config.tag).endswith(_IMAGENET_TAG) else ""
    return Teacher(f"{arch}.{config.tag}", "timm", network, model, tuple(config.mean), tuple(config.std)), trained_on
