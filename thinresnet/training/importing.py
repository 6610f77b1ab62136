"""Importing weights: from a foreign file or an address to a run folder, whole or not at all."""

from __future__ import annotations

import re
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

import timm

from thinresnet import base_width, networks, public_weights
from thinresnet.download import Progress, download, is_url
from thinresnet.errors import InputError
from thinresnet.files import building, publish
from thinresnet.imported import Imported, Origin
from thinresnet.network import Network
from thinresnet.networks import hub
from thinresnet.networks.blueprint import construct
from thinresnet.networks.foreign import Adopted, adopt, read_state
from thinresnet.preprocessing import IMAGENET_MEAN, IMAGENET_STD, Preprocessing
from thinresnet.public_weights import CLASSES, PublicWeights
from thinresnet.runs import IMPORTED_FILE, WEIGHTS_FILE, WEIGHTS_SUFFIXES
from thinresnet.training.classes import known_classes
from thinresnet.training.provenance import file_sha256

_SUFFIXES = re.compile(rf"({'|'.join(map(re.escape, WEIGHTS_SUFFIXES))})+\Z", re.IGNORECASE)
_AUTHORS_RULE = "the ThinResNet authors' names"


@dataclass(frozen=True)
class Wanted:
    """What the user says of weights; what is None or empty is found out, or taken from where they are known."""

    arch: str | None = None
    arch_kwargs: Mapping[str, Any] | None = None
    dataset: str | None = None
    num_classes: int | None = None
    input_size: tuple[int, int, int] | None = None
    key: str | None = None
    trust: bool = False  # whether a pickled model is unpickled
    licence: str = ""
    preprocessing: Mapping[str, Any] | None = None


@dataclass(frozen=True)
class Opened:
    """Foreign weights that fit a network, and all that is known of them; nothing is written yet."""

    adopted: Adopted
    origin: Origin
    dataset: str
    preprocessing: Preprocessing
    known: PublicWeights | None

    @property
    def shape(self) -> str:
        """What the network's shape is called: a base width, dense, or a hash of its counts."""
        network = self.adopted.network
        if self.known is not None and self.known.base_width is not None:
            return "dense" if self.known.base_width.is_dense else self.known.network
        same = (w for w in base_width.every() if w.arch == network.arch and _is(w.name, network))
        if (named := next(same, None)) is not None:
            return "dense" if named.is_dense else named.name
        dense = networks.describe(network.arch, input_size=network.input_size, **network.kwargs)
        return "dense" if dense == network else f"net_{network.sha256[:6]}"


def _is(name: str, network: Network) -> bool:
    return networks.describe(name, input_size=network.input_size, **network.kwargs) == network


def name_of(source: str) -> str:
    """What a run folder of this file or address is called: its name without suffixes."""
    last = unquote(urlsplit(source).path) if is_url(source) else source
    stem = _SUFFIXES.sub("", Path(last).name)
    return re.sub(r"[^A-Za-z0-9_.-]+", "_", stem).strip(".") or "imported"


def open_weights(source: str, wanted: Wanted, *, progress: Progress | None = None) -> Opened:
    """Read weights from a file or an address and find the network that they are of."""
    if not is_url(source):
        return _opened(Path(source), wanted, url="")
    if wanted.trust:
        raise InputError(f"--trust: {source} is an address; download the file and look at it before you trust it")
    with tempfile.TemporaryDirectory(prefix="thinresnet-") as folder:
        path = Path(folder) / Path(unquote(urlsplit(source).path) or "weights").name
        download(source, path, progress=progress)
        try:
            return _opened(path, wanted, url=source)
        except InputError as error:
            # What a user gave is the address; where it was put for a moment tells nobody anything.
            raise InputError(str(error).replace(str(path), source)) from None


def write(opened: Opened, folder: Path) -> Imported:
    """Write the run folder; what is there already stays if it is the same, and is refused if it is not."""
    adopted = opened.adopted
    network, model = adopted.network, construct(adopted.network)
    model.load_state_dict(adopted.state)
    cost = networks.count(network)
    dense = networks.count(networks.describe(network.arch, input_size=network.input_size, **network.kwargs))
    with building(folder) as part:
        networks.save(part, network, model)
        imported = Imported(
            arch=network.arch,
            arch_kwargs=dict(network.kwargs),
            shape=opened.shape,
            network_sha256=network.sha256,
            dataset=opened.dataset,
            classes=int(network.kwargs["num_classes"]),
            macs=cost.macs,
            params=cost.params,
            dense_macs=dense.macs,
            dense_params=dense.params,
            weights_sha256=file_sha256(part / WEIGHTS_FILE),
            origin=opened.origin,
            preprocessing=opened.preprocessing,
        )
        imported.write(part)
        hub.write_config(part, network, opened.preprocessing, known_classes(opened.dataset, imported.classes))
        _put(part, folder, imported)
    return imported


def _put(part: Path, folder: Path, imported: Imported) -> None:
    if folder.exists():
        same = (folder / IMPORTED_FILE).is_file() and Imported.read(folder) == imported
        if not same or file_sha256(folder / WEIGHTS_FILE) != imported.weights_sha256:
            raise InputError(f"{folder}: something else is there already; give another --output, or move it away")
        return
    publish(part, folder)


def _opened(path: Path, wanted: Wanted, *, url: str) -> Opened:
    known = public_weights.recognised(public_weights.git_hash(path)) if path.is_file() else None
    dataset = wanted.dataset or (known.dataset if known else "")
    if known is not None and wanted.dataset not in (None, known.dataset):
        raise InputError(f"--dataset {wanted.dataset}: {path} is {known.repository}'s file for {known.dataset}")
    classes = wanted.num_classes or CLASSES.get(dataset)
    arch = wanted.arch
    if arch is None and known is not None:
        arch = known.network
    foreign = read_state(path, wanted.key, trust=wanted.trust)
    adopted = adopt(foreign, arch, num_classes=classes, input_size=wanted.input_size, **dict(wanted.arch_kwargs or {}))
    if not dataset and adopted.rule == _AUTHORS_RULE:
        by_classes = {count: name for name, count in CLASSES.items()}
        dataset = by_classes.get(int(adopted.network.kwargs["num_classes"]), "")
    origin = Origin(
        file=path.name,
        sha256=file_sha256(path),
        git_blob=public_weights.git_hash(path),
        url=url or (known.url or "" if known else ""),
        repository=known.repository if known else "",
        commit=known.commit if known else "",
        path=known.path if known else "",
        licence=wanted.licence or (known.licence if known else ""),
        inside=foreign.inside,
        rule=adopted.rule,
        printed_top1=known.printed_top1 if known else None,
        locator=known.locator if known else "",
    )
    base = known.preprocessing if known else _usual(adopted, dataset)
    preprocessing = replace(base, **dict(wanted.preprocessing or {}))
    return Opened(adopted, origin, dataset, preprocessing, known)


def _usual(adopted: Adopted, dataset: str) -> Preprocessing:
    """The preprocessing of the authors' recipe for weights by their names, of timm's configuration for others."""
    if adopted.rule == _AUTHORS_RULE:
        at_224 = dataset == "imagenet" or adopted.network.input_size[1] == 224
        name, data = ("thinresnet50-w8", "imagenet") if at_224 else ("thinresnet20-w8", "cifar10")
        return public_weights.find(name, data).preprocessing
    return of_config(adopted.network)


def of_config(network: Network) -> Preprocessing:
    """What timm's configuration of an architecture says: statistics, crop share, interpolation."""
    config = timm.get_pretrained_cfg(network.arch)
    side = network.input_size[1]
    if config is None:
        return Preprocessing(IMAGENET_MEAN, IMAGENET_STD, side, side, "bicubic")
    interpolation = config.interpolation if config.interpolation in ("bilinear", "bicubic") else "bicubic"
    resize = int(side / (config.crop_pct or 0.875))
    return Preprocessing(tuple(config.mean), tuple(config.std), resize, side, interpolation)
