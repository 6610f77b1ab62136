"""The whole network with random weights, and masks: those that a method found, or as dense as what it pruned."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

import torch
from torch import Tensor

from thinresnet import networks
from thinresnet.network import Network
from thinresnet.networks import read_network
from thinresnet.networks.store import read_weights
from thinresnet.pruning.folder import write_masks
from thinresnet.pruning.initialisation.densities import densities_left
from thinresnet.pruning.initialisation.masking import masks
from thinresnet.pruning.method import INITIALISATION
from thinresnet.pruning.record import MASKS, OWN_MASKS, read_pruning
from thinresnet.studies.stages.stage import Folders, Source, Stage
from thinresnet.training.data.plan import mixed_seed

OWN = "mask"
REINITIALISED, SHUFFLED = "reinitialised", "shuffled"
_WEIGHTS, _ORDERS = 1, 2  # what is drawn, so that no two of a seed are drawn from the same numbers


@dataclass(frozen=True, eq=False, kw_only=True)
class Mask(Stage):
    """Masks of single weights or of filters at the densities of a pruned network, or those that its method found."""

    kind: ClassVar[str] = "mask"

    network: Network  # the whole one
    granularity: str  # weight, filter, or mask: the method's own
    seed: int
    pruned: Source
    # `reinitialised`: other random weights than those that training began with; `shuffled`: the mask of each layer in
    # another order, so that as many of its weights stay, but others.
    change: str | None = None

    def run(self, inputs: Folders, folder: Path, *, quiet: bool) -> dict[str, str]:
        """Write the network with random weights, and the masks."""
        if self.granularity == OWN:
            found = _own_masks(inputs["pruned"])
        else:
            densities = densities_left(self.network, read_network(inputs["pruned"]))
            found = masks(self.network, densities, self.granularity, self.seed)
        if self.change == SHUFFLED:
            found = shuffle(found, mixed_seed(self.seed, _ORDERS))
        drawn_from = mixed_seed(self.seed, _WEIGHTS) if self.change == REINITIALISED else self.seed
        networks.save(folder, self.network, networks.build(self.network, seed=drawn_from))
        write_masks(folder / MASKS, found)
        return {}


def shuffle(found: Mapping[str, Tensor], seed: int) -> dict[str, Tensor]:
    """Each mask with its entries in a random order."""
    generator = torch.Generator().manual_seed(seed)
    return {
        name: mask.flatten()[torch.randperm(mask.numel(), generator=generator)].view(mask.shape)
        for name, mask in found.items()
    }


def _own_masks(pruned: Path) -> dict[str, Tensor]:
    """The masks that a method found: of one at initialisation beside the smaller network, else those of its weights."""
    return read_weights(pruned / (OWN_MASKS if read_pruning(pruned).when == INITIALISATION else MASKS))
