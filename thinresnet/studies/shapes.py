"""Networks that are made out of found ones before they are trained: families, guided shapes, rewound weights, masks."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from thinresnet import networks
from thinresnet.budget import parse_budgets
from thinresnet.files import write_atomically
from thinresnet.network import Network
from thinresnet.networks.cutting import channels_of, cut
from thinresnet.networks.describe import parse_network, read_network
from thinresnet.networks.store import read_weights
from thinresnet.pruning.folder import MASKS, read_pruning, write_masks
from thinresnet.pruning.initialisation import densities_left, masks
from thinresnet.pruning.initialisation.folder import OWN_MASKS
from thinresnet.runs import NETWORK_FILE
from thinresnet.studies.families import family
from thinresnet.studies.guided import guided

Inputs = Mapping[str, Path]  # folders by role


def _family(spec: Mapping[str, Any], inputs: Inputs, folder: Path) -> None:
    _write(folder, family(read_network(inputs["network"]), parse_budgets(spec["budgets"])))


def _guided(spec: Mapping[str, Any], inputs: Inputs, folder: Path) -> None:
    references = [read_network(path) for path in inputs.values()]
    dense = parse_network(json.dumps(spec["dense"]))
    _write(
        folder,
        guided(references, dense.arch, parse_budgets(spec["budgets"]), input_size=dense.input_size, **dense.kwargs),
    )


def _rewind(spec: Mapping[str, Any], inputs: Inputs, folder: Path) -> None:
    """The kept channels of the parent as training began with it, which its seed tells."""
    network = read_network(inputs["parent"])
    channels = channels_of(network)
    kept = channels.mask(read_pruning(inputs["network"])["kept"])
    smaller, model = cut(networks.build(network, seed=spec["seed"]), network, kept)
    networks.save(folder, smaller, model)


def _mask(spec: Mapping[str, Any], inputs: Inputs, folder: Path) -> None:
    """The whole network as training begins with it, and masks: the criterion's own, or as dense as the crop."""
    network = parse_network(json.dumps(spec["network"]))
    if spec["granularity"] == "mask":
        found = read_weights(inputs["crop"] / OWN_MASKS)
    else:
        densities = densities_left(network, read_network(inputs["crop"]))
        found = masks(network, densities, spec["granularity"], spec["seed"])
    networks.save(folder, network, networks.build(network, seed=spec["seed"]))
    write_masks(folder / MASKS, found)


RULES: dict[str, Callable[[Mapping[str, Any], Inputs, Path], None]] = {
    "family": _family,
    "guided": _guided,
    "rewind": _rewind,
    "mask": _mask,
}


def _write(folder: Path, network: Network) -> None:
    write_atomically(folder / NETWORK_FILE, network.to_json())
