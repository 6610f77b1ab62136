"""The whole network as training begins with it, and masks: a method's own, or as dense as what it pruned."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

from thinresnet import networks
from thinresnet.network import Network
from thinresnet.networks import read_network
from thinresnet.networks.store import read_weights
from thinresnet.pruning.folder import write_masks
from thinresnet.pruning.initialisation.densities import densities_left
from thinresnet.pruning.initialisation.masking import masks
from thinresnet.pruning.record import MASKS, OWN_MASKS
from thinresnet.studies.stages.stage import Folders, Source, Stage

OWN = "mask"


@dataclass(frozen=True, eq=False, kw_only=True)
class Mask(Stage):
    """Masks of single weights or of filters at the densities of a pruned network, or those that its method found."""

    kind: ClassVar[str] = "mask"

    network: Network  # the whole one
    granularity: str  # weight, filter, or mask: the method's own
    seed: int
    pruned: Source

    def run(self, inputs: Folders, folder: Path, *, quiet: bool) -> dict[str, str]:
        """Write the network with its first weights, and the masks."""
        if self.granularity == OWN:
            found = read_weights(inputs["pruned"] / OWN_MASKS)
        else:
            densities = densities_left(self.network, read_network(inputs["pruned"]))
            found = masks(self.network, densities, self.granularity, self.seed)
        networks.save(folder, self.network, networks.build(self.network, seed=self.seed))
        write_masks(folder / MASKS, found)
        return {}
