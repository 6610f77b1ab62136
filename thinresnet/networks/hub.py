"""config.json of a run folder: what timm, the Hugging Face hub and `predict` read of a network beside its weights.

It names the timm entrypoint that makes any network of this project, the network itself, how images are prepared for
these weights, and the names of the classes. `timm.create_model("local-dir:runs/<id>", pretrained=True)` reads it, once
`thinresnet.networks` is imported, and the folder is a model repository as it is.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import timm
from torch import nn

from thinresnet.errors import InputError
from thinresnet.files import read_object, write_atomically
from thinresnet.network import Network
from thinresnet.preprocessing import Preprocessing
from thinresnet.runs import CONFIG_FILE, NETWORK_FILE

ENTRYPOINT = "thin_network"
SOURCES = ("url", "file", "hf_hub_id", "hf_hub_filename", "source")  # of weights, in timm's configurations
_MOST_LETTERS = 200  # of a class's name


def write_config(
    folder: Path, network: Network, preprocessing: Preprocessing, class_names: Sequence[str] | None = None
) -> None:
    """Write config.json beside the network and its weights."""
    content = config_of(network, preprocessing, class_names)
    write_atomically(folder / CONFIG_FILE, json.dumps(content, indent=1, allow_nan=False) + "\n")


def carry_over(source: Path, folder: Path, network: Network) -> None:
    """Write the config.json of a network that was made from the one in `source`: same images, same classes."""
    outputs = network.kwargs.get("num_classes")
    ours = all((source / name).is_file() for name in (CONFIG_FILE, NETWORK_FILE))
    if ours and isinstance(outputs, int):
        preprocessing, names = read_config(source, outputs)
        if preprocessing is not None:
            write_config(folder, network, preprocessing, names)


def config_of(
    network: Network, preprocessing: Preprocessing, class_names: Sequence[str] | None = None
) -> dict[str, Any]:
    """The content of config.json, in timm's words, with the preprocessing in this project's besides."""
    pretrained = pretrained_cfg(network, preprocessing)
    content: dict[str, Any] = {"architecture": ENTRYPOINT, "num_classes": pretrained["num_classes"]}
    if class_names is not None:
        content["label_names"] = list(class_names)
    content["model_args"] = {"network": json.loads(network.to_json())}
    return {**content, "pretrained_cfg": pretrained, "preprocessing": preprocessing.to_json()}


def pretrained_cfg(network: Network, preprocessing: Preprocessing) -> dict[str, Any]:
    """timm's settings of these weights: their own input size, crop, mean and standard deviation."""
    dense = timm.get_pretrained_cfg(network.arch)
    channels, height, width = network.input_size
    side = preprocessing.crop_px
    return {
        "num_classes": int(network.kwargs.get("num_classes", dense.num_classes if dense else 1000)),
        "input_size": [channels, side or height, side or width],
        "pool_size": None,
        "crop_pct": side / preprocessing.resize_px if side and preprocessing.resize_px else 1.0,
        "crop_mode": "center",
        "interpolation": preprocessing.interpolation,
        "mean": list(preprocessing.mean),
        "std": list(preprocessing.std),
        "first_conv": dense.first_conv if dense else None,
        "classifier": dense.classifier if dense else None,
    }


def tell_timm(model: nn.Module, network: Network, name: str) -> None:
    """Let a model's configuration say what it is: its own input and classes, no address of weights that do not fit.

    `name` is the entrypoint that makes it again; push_to_hf_hub and read_off rely on it.
    """
    known = getattr(model, "pretrained_cfg", None) or {}
    config = {key: value for key, value in known.items() if key not in (*SOURCES, "test_input_size", "tag")}
    config |= {"architecture": name, "input_size": network.input_size}
    if isinstance(classes := getattr(model, "num_classes", None), int):
        config["num_classes"] = classes
    model.pretrained_cfg = model.default_cfg = config
    model.thin_arch = network.arch
    if name != network.arch:
        model._model_args = {"network": json.loads(network.to_json())} if name == ENTRYPOINT else {}


def read_config(folder: Path, outputs: int) -> tuple[Preprocessing | None, tuple[str, ...] | None]:
    """How images are prepared for the weights of a folder, and the names of their classes; None of what is not said."""
    path = folder / CONFIG_FILE
    if not path.is_file():
        return None, None
    content = read_object(path)
    said, names = content.get("preprocessing"), content.get("label_names")
    if names is not None:
        right = isinstance(names, list) and all(isinstance(name, str) and len(name) <= _MOST_LETTERS for name in names)
        if not right or len(names) != outputs:
            raise InputError(f"{path}, label_names: takes a list of {outputs} names, one a class of the network")
    return None if said is None else Preprocessing.from_json(said, str(path)), None if names is None else tuple(names)
