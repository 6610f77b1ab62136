"""What a user points at to be pruned: the folder of a run, a network file, or an architecture; its weights and data."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import nn

from thinresnet import networks
from thinresnet import recipe as recipes
from thinresnet.convert import convert, setting
from thinresnet.errors import InputError
from thinresnet.files import read_object
from thinresnet.network import Network
from thinresnet.networks.build import as_network
from thinresnet.networks.foreign import described
from thinresnet.pruning.record import FILE, read_pruning
from thinresnet.recipe import Recipe
from thinresnet.runs import RECIPE_FILE, RESULT_FILE, SETTINGS_FILE, WEIGHTS_FILE, names_weights
from thinresnet.training.data import Data, open_data
from thinresnet.training.display import show_preparation
from thinresnet.training.preparing import as_trained, with_preprocessing
from thinresnet.training.provenance import file_sha256


@dataclass(frozen=True)
class _Settings:
    """What is read of a run.json."""

    holdout: float = setting(low=0, below=1)


@dataclass(frozen=True)
class Parent:
    """A network, where its weights are (None: they are drawn from the seed), and how it was trained, if it was."""

    name: str
    network: Network
    weights: Path | None = None
    recipe: Recipe | None = None
    holdout: float = 0.0
    result: dict[str, Any] | None = None  # the run's result.json

    @property
    def seed(self) -> int:
        """The seed of the run, or of the recipe."""
        return self.recipe.seed if self.recipe else 42

    def model(self, seed: int, device: torch.device) -> nn.Module:
        """The network with its weights."""
        model = networks.build(self.network, seed=seed)
        if self.weights is not None:
            networks.load_weights(model, self.network, self.weights)
        return model.to(device)

    def weights_sha256(self) -> str | None:
        """What tells these weights from others."""
        return None if self.weights is None else file_sha256(self.weights)

    @contextmanager
    def data(self, device: torch.device, *, needed: bool) -> Iterator[Data | None]:
        """The images; None where there are none at hand and nothing needs them."""
        if self.recipe is None:
            yield None
            return
        try:
            data = open_data(
                self.recipe,
                input_size=self.network.input_size,
                holdout=self.holdout,
                device=device,
                progress=show_preparation,
            )
        except InputError:
            if needed:
                raise
            yield None
            return
        with data:
            if data.num_classes != self.network.kwargs.get("num_classes", data.num_classes):
                raise InputError(
                    f"{self.name}: the network has {self.network.kwargs['num_classes']} classes, {data.name} has "
                    f"{data.num_classes}; give the data that it was trained on"
                )
            yield data


def read_parent(
    what: str,
    *,
    arch: str | None = None,
    weights: Path | None = None,
    recipe: str | None = None,
    data_dir: Path | None = None,
    holdout: float | None = None,
) -> Parent:
    """The parent that a user names; flags go before what the run's folder says.

    A hold-out belongs to how a run was trained: of images that its weights have seen there is none to make.
    """
    path = Path(what)
    of_weights = names_weights(what, arch)
    if of_weights:
        if weights is not None:
            raise InputError(f"--weights {weights}: {what} holds the weights; leave it out")
        weights = path
    is_run = path.is_dir() and (path / RECIPE_FILE).is_file()
    own = path / WEIGHTS_FILE if is_run or (path / WEIGHTS_FILE).is_file() else None
    if own is not None and weights is None and not own.is_file():
        raise InputError(f"{own}: no such file; is the run complete?")
    if weights is not None and not weights.is_file():
        raise InputError(f"--weights {weights}: no such file; give a .safetensors file or a PyTorch state dict")
    changes: dict[str, Any] = {} if data_dir is None else {"data_dir": str(data_dir)}
    source: str | Path | None = recipe if recipe is not None else path / RECIPE_FILE if is_run else None
    if source is None and data_dir is not None:
        raise InputError("--data-dir: say how the images are read with --recipe NAME, such as --recipe cifar-modern")
    if is_run and holdout is not None:
        raise InputError("--holdout: the run's own is used; it cannot be made after training")
    network = described(path, arch) if of_weights else _network(path, what)
    how = None if source is None else recipes.load(source, changes)
    if how is not None:  # the images of a run stay what they were; of another recipe they are what the model asks for
        how = as_trained(how, path) if is_run and recipe is None else with_preprocessing(how, network.arch)
    return Parent(
        name=path.resolve().name if path.exists() else what,
        network=network,
        weights=weights or own,
        recipe=how,
        holdout=_held_out(path) if is_run else holdout or 0.0,
        result=_said(path / RESULT_FILE) or None if is_run else None,
    )


def _network(path: Path, name: str) -> Network:
    return as_network(path) if path.exists() else networks.scale(name)


def _held_out(folder: Path) -> float:
    """The share of the training set that a run has never seen."""
    if not (folder / SETTINGS_FILE).exists() and (folder / FILE).exists():
        return read_pruning(folder).holdout
    path = folder / SETTINGS_FILE
    found = read_object(path, missing=f"{path}: no such file; it says what was held out of training: put it back")
    return convert(_Settings, found, str(path), unknown="ignore").holdout


def _said(path: Path) -> dict[str, Any]:
    """What a file of a run says; nothing where it is not there."""
    return read_object(path) if path.exists() else {}
