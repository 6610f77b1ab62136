"""Networks that are made out of found ones before they are trained: rescaled and guided shapes, rewound weights."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

from thinresnet import networks
from thinresnet.budget import Budget
from thinresnet.files import write_atomically
from thinresnet.network import Network
from thinresnet.networks import read_network
from thinresnet.networks.cutting import channels_of, cut
from thinresnet.pruning.record import read_pruning
from thinresnet.runs import NETWORK_FILE
from thinresnet.studies.guided import guided
from thinresnet.studies.rescaling import rescaled
from thinresnet.studies.stages.stage import Folders, Source, Stage


@dataclass(frozen=True, eq=False, kw_only=True)
class Rescale(Stage):
    """A found shape at another budget."""

    kind: ClassVar[str] = "rescale"

    budgets: tuple[Budget, ...]
    network: Source

    def run(self, inputs: Folders, folder: Path, *, quiet: bool) -> dict[str, str]:
        """Write the network."""
        _write(folder, rescaled(read_network(inputs["network"]), self.budgets))
        return {}


@dataclass(frozen=True, eq=False, kw_only=True)
class Guide(Stage):
    """The mean kept share of each stage of several found shapes, on another network."""

    kind: ClassVar[str] = "guide"

    dense: Network
    budgets: tuple[Budget, ...]
    network: tuple[Source, ...]

    def run(self, inputs: Folders, folder: Path, *, quiet: bool) -> dict[str, str]:
        """Write the network."""
        references = [read_network(path) for path in inputs.values()]
        dense = self.dense
        _write(folder, guided(references, dense.arch, self.budgets, input_size=dense.input_size, **dense.kwargs))
        return {}


@dataclass(frozen=True, eq=False, kw_only=True)
class Rewind(Stage):
    """The kept channels of the parent as training began with it, which its seed tells."""

    kind: ClassVar[str] = "rewind"

    seed: int
    parent: Source
    network: Source

    def run(self, inputs: Folders, folder: Path, *, quiet: bool) -> dict[str, str]:
        """Write the smaller network with its first weights."""
        network = read_network(inputs["parent"])
        kept = channels_of(network).mask(read_pruning(inputs["network"]).kept)
        smaller, model = cut(networks.build(network, seed=self.seed), network, kept)
        networks.save(folder, smaller, model)
        return {}


def _write(folder: Path, network: Network) -> None:
    write_atomically(folder / NETWORK_FILE, network.to_json())
