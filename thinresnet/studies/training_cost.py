"""What a study will cost before it is run: epochs, training MACs and hours, by stage and by experiment.

Training MACs are 3 × forward MACs × images seen, summed over all that a network depends on, its dense parent included.
Where a shape is found later, the limit of its budget stands for its MACs, so that these are upper bounds. Hours come
from a short measurement of the dense network's training step on this machine; loading images is not in them.
"""

from __future__ import annotations

import statistics
import time
from dataclasses import dataclass
from typing import Any

import torch
from torch.nn import functional

from thinresnet.network import Network
from thinresnet.networks import build
from thinresnet.networks.cost import macs_and_params
from thinresnet.result import FORWARD_AND_BACKWARD
from thinresnet.studies.graph import StudyGraph
from thinresnet.studies.stages import Stage

_MEASURED_SECONDS = 3.0
_FEWEST_STEPS = 3
# Images in a measured step: as many as make so many forward MACs, within bounds.
_STEP_MACS, _FEWEST_IMAGES, _MOST_IMAGES = 2 * 10**10, 4, 32


@dataclass(frozen=True)
class Entry:
    """Stages that differ in their seed only."""

    name: str
    kind: str
    times: int
    epochs: int  # of each
    training_macs: int  # of all


def entries(graph: StudyGraph) -> list[Entry]:
    """The stages of a study, those of several seeds together."""
    found: dict[str, list[Stage]] = {}
    for stage in graph.stages.values():
        found.setdefault(stage.name.removesuffix(f"-s{getattr(stage, 'seed', None)}"), []).append(stage)
    return [
        Entry(name, own[0].kind, len(own), own[0].epochs, sum(stage.training_macs for stage in own))
        for name, own in found.items()
    ]


def seconds_per_mac(network: Network) -> float:
    """The time that one MAC of training takes here, by a few steps of the network on random images."""
    macs = macs_and_params(network).macs
    batch_size = min(max(_STEP_MACS // macs, _FEWEST_IMAGES), _MOST_IMAGES)
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    model = build(network, seed=0).to(device).train()
    images = torch.randn(batch_size, *network.input_size, device=device)
    classes = torch.zeros(batch_size, dtype=torch.long, device=device)

    def step() -> float:
        start = time.perf_counter()
        loss = functional.cross_entropy(model(images), classes)
        loss.backward()
        model.zero_grad()
        if device.type == "cuda":
            torch.cuda.synchronize()
        return time.perf_counter() - start

    step()
    taken = [step() for _ in range(_FEWEST_STEPS)]
    while sum(taken) < _MEASURED_SECONDS:
        taken.append(step())
    return statistics.median(taken) / (FORWARD_AND_BACKWARD * macs * batch_size)


def as_json(graph: StudyGraph, seconds: float) -> dict[str, Any]:
    """The study before it is run, for machines."""
    return {
        "study": graph.study.name,
        "training_macs": graph.training_macs,
        "hours": seconds * graph.training_macs / 3600,
        "seconds_per_mac": seconds,
        "notes": graph.notes,
        "stages": [
            {
                "name": stage.folder,
                "kind": stage.kind,
                "epochs": stage.epochs,
                "training_macs": stage.training_macs,
                "after": [source.stage.folder for source in stage.inputs.values()],
            }
            for stage in graph.stages.values()
        ],
        "experiments": [
            {
                "recipe": own.recipe,
                "protocol": own.protocol,
                "method": own.method,
                "finetuning": own.finetuning or None,
                "budget": own.point,
                "seeds": len(own.finals),
                "training_macs": own.training_macs,
                "training_macs_with_search": own.training_macs_with_search,
            }
            for own in graph.experiments
        ],
    }
