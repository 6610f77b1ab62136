"""What a study will cost before it is run: epochs, training MACs and hours, stage by stage and row by row.

Training MACs are 3 × forward MACs × images seen, summed over all that a network hangs on, its dense parent included.
Where a shape is found later, the limit of its budget stands for its MACs, so that these are upper bounds. Hours come
from a short measurement of the dense network's training step on this machine; loading images is not in them.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from thinresnet.networks import Network
from thinresnet.studies.plan import FORWARD_AND_BACKWARD, Plan, Row, Stage

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


def entries(plan: Plan) -> list[Entry]:
    """The stages of a plan, those of several seeds together."""
    found: dict[str, list[Stage]] = {}
    for stage in plan.stages.values():
        found.setdefault(stage.name.removesuffix(f"-s{stage.spec.get('seed')}"), []).append(stage)
    return [
        Entry(name, own[0].kind, len(own), own[0].epochs, sum(stage.training_macs for stage in own))
        for name, own in found.items()
    ]


def total(plan: Plan) -> int:
    """The training MACs of the whole study, each stage once."""
    return sum(stage.training_macs for stage in plan.stages.values())


def row_bill(row: Row) -> tuple[int, int]:
    """Training MACs of one seed of a row: of all that it hangs on, and of its last training alone."""
    final = row.finals[0]
    return final.training_macs + sum(stage.training_macs for stage in final.before()), final.training_macs


def seconds_per_mac(network: Network) -> float:
    """The time that one MAC of training takes here, by a few steps of the network on random images."""
    import torch
    from torch.nn import functional

    from thinresnet.networks import build
    from thinresnet.networks.cost import macs_and_params

    macs = macs_and_params(network)[0]
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


def as_json(plan: Plan, seconds: float) -> dict[str, Any]:
    """The plan for machines."""
    return {
        "study": plan.study.name,
        "training_macs": total(plan),
        "hours": seconds * total(plan) / 3600,
        "seconds_per_mac": seconds,
        "notes": [*plan.notes, *missing(plan)],
        "stages": [
            {
                "name": stage.folder,
                "kind": stage.kind,
                "epochs": stage.epochs,
                "training_macs": stage.training_macs,
                "after": [source.stage.folder for source in stage.inputs.values()],
            }
            for stage in plan.stages.values()
        ],
        "rows": [
            {
                "recipe": row.regime,
                "protocol": row.protocol,
                "method": row.pruner,
                "budget": row.point,
                "seeds": len(row.finals),
                "bill": row_bill(row)[0],
                "bill_alone": row_bill(row)[1],
            }
            for row in plan.rows
        ],
    }


def missing(plan: Plan) -> Iterator[str]:
    """What was taken from the study's own words because the images are not here."""
    for images in plan.data():
        if images.missing:
            yield (
                f"{images.name} is not at hand: counted with the study's own {images.train:,} training images and "
                f"{images.classes:,} classes ({images.missing})"
            )
