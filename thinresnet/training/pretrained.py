"""Pretrained weights as a start: those that timm's loader finds for an architecture, or the ThinResNet authors' own.

They become a safetensors file in the cache, so that a run that starts from them is the same run wherever it starts.
"""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

import timm
import torch
from filelock import FileLock
from torch import nn

from thinresnet import base_width, networks, public_weights
from thinresnet.errors import InputError
from thinresnet.files import cache_folder
from thinresnet.network import Network
from thinresnet.runs import WEIGHTS_FILE
from thinresnet.training.importing import Wanted, open_weights

_FOLDER = "pretrained"


def pretrained_weights(name: str, num_classes: int | None = None) -> tuple[Network, Path]:
    """The network of that name and the file of its pretrained weights, fetched when they are first asked for.

    With another number of classes than the weights have, the classifier is drawn anew, always in the same way.
    """
    theirs = base_width.parse(name) is not None
    tag = name if theirs else _tag(name)
    folder = cache_folder() / _FOLDER / (tag if num_classes is None else f"{tag}-{num_classes}-classes")
    folder.parent.mkdir(parents=True, exist_ok=True)
    with FileLock(folder.parent / f".{folder.name}.lock"):
        if not (folder / WEIGHTS_FILE).is_file():
            network, model = _public(name, num_classes) if theirs else _of_timm(name, tag, num_classes)
            folder.mkdir(exist_ok=True)
            networks.save(folder, network, model)
    return networks.read_network(folder), folder / WEIGHTS_FILE


def _tag(arch: str) -> str:
    """The full name of the weights that timm takes by default, such as resnet50.a1_in1k."""
    config = timm.get_pretrained_cfg(arch) if timm.is_model(arch) else None
    if config is None or not config.has_weights:
        raise InputError(f"--pretrained: timm has no weights of {arch!r:.80}; leave it out")
    return f"{config.architecture}.{config.tag}" if config.tag else str(config.architecture)


def _of_timm(arch: str, tag: str, num_classes: int | None) -> tuple[Network, nn.Module]:
    kwargs: dict[str, Any] = {} if num_classes is None else {"num_classes": num_classes}
    network = networks.describe(arch, **kwargs)
    client = logging.getLogger("huggingface_hub")  # tells of each of its retries
    level = client.level
    try:
        client.setLevel(logging.ERROR)
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)
            model = timm.create_model(arch, pretrained=True, **kwargs)
    except Exception as error:  # the hub's client raises many kinds where there is no network, or no such file
        reason = " ".join(str(error).split())[:120] or type(error).__name__
        raise InputError(
            f"--pretrained: {tag} could not be loaded from the Hugging Face hub ({reason}); with its file at hand: "
            f"thinresnet import FILE --arch {arch}, then start from that run folder"
        ) from error
    finally:
        client.setLevel(level)
    return network, model


def _public(name: str, num_classes: int | None) -> tuple[Network, nn.Module]:
    by_classes = {count: dataset for dataset, count in public_weights.CLASSES.items()}
    url = public_weights.find(name, None if num_classes is None else by_classes.get(num_classes, "none")).url
    assert url is not None, "what is found has an address"
    adopted = open_weights(url, Wanted()).adopted
    model = networks.build(adopted.network)
    model.load_state_dict(adopted.state)
    return adopted.network, model
