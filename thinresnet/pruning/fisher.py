"""Fisher pruning: channels whose removal raises the loss least, to second order."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import torch

from thinresnet.budget import QUANTITIES
from thinresnet.convert import setting
from thinresnet.networks.cutting import Kept, masked
from thinresnet.pruning.finetuning import FineTuning
from thinresnet.pruning.gates import Gates, gated
from thinresnet.pruning.job import Job, Pruned
from thinresnet.pruning.method import KNOWN, NOT_READ, TRAINING, Method, Published
from thinresnet.pruning.selection import Scores, Target, cost_of, step_of
from thinresnet.pruning.taylor import gate_derivatives
from thinresnet.training.loop import Batch

_COSTS = ("none", *QUANTITIES)

_CODE = "code: BayesWatch/pytorch-prunes"


@dataclass(frozen=True)
class Fisher(Method):
    """Channels whose removal raises the loss least by the Fisher information of their activations leave, at once.

    The score is 1/2N times the sum over images of (activation times gradient, summed over the map) squared; with `cost`
    it is divided by the MACs or parameters that removing the channel saves, which Theis et al. do and Crowley et al.'s
    code does not. Torch-Pruning's Hessian criterion sums the squares of weights times gradients: another definition.
    """

    name: ClassVar[str] = "fisher"
    paper: ClassVar[str] = (
        "Theis et al. 2018, Faster gaze prediction with dense networks and Fisher pruning, 1801.05787"
    )
    needs: ClassVar[frozenset[str]] = frozenset({"weights", "data", "gradients"})
    scope: ClassVar[str] = "global"
    published: ClassVar[Mapping[str, Published]] = {
        "images": Published(None, NOT_READ),
        "mode": Published(None, NOT_READ, ours="eval"),
        "cost": Published("the MACs that a channel saves", KNOWN, "as Crowley et al. have it; --set cost=macs"),
        "scope": Published("global", _CODE),
    }

    images: int = setting(256, low=1, high=10**7)
    cost: str = setting("none", "what a score is divided by: what removing the channel saves", choices=_COSTS)

    def scores(self, job: Job) -> Scores:
        """The second-order estimates, for the cost that goes where so asked."""
        sums = torch.zeros(job.channels.total, dtype=torch.float64)
        for derivatives in gate_derivatives(job, self.images):
            sums += derivatives.square().sum(0).double().cpu()
        scores: Scores = (sums / (2 * self.images)).numpy() / saved(job, job.channels.full(), self.cost)
        return scores


@dataclass(frozen=True)
class FisherTune(Method):
    """Fisher pruning while fine-tuning: train a little, remove the least channel of all, and again.

    As Crowley et al. do it: between removals `updates` minibatches of SGD at a constant rate, over which the Fisher
    scores of `fisher` add up (in training mode, from the gradients of the training itself) before they start anew.
    Any size on the way is a checkpoint: several budgets come out of one run. A block that would lose its last channel
    keeps it (their code may empty one). The rate and the pause are theirs for wide ResNets.
    """

    name: ClassVar[str] = "fisher-tune"
    paper: ClassVar[str] = "Crowley et al. 2018, A Closer Look at Structured Pruning, arXiv:1810.04622"
    when: ClassVar[str] = TRAINING
    needs: ClassVar[frozenset[str]] = frozenset({"weights", "data", "gradients", "training"})
    scope: ClassVar[str] = "global"
    published: ClassVar[Mapping[str, Published]] = {
        "updates": Published(100, _CODE),
        "channels": Published(1, _CODE),
        "lr": Published(0.0008, _CODE),
        "cost": Published("none", _CODE),
        "scope": Published("global", _CODE),
    }

    updates: int = setting(100, low=1, high=10**6)
    channels: int = setting(1, "that leave at a time", low=1, high=10**6)
    lr: float = setting(8e-4, low=0, high=100)
    cost: str = setting("none", "what a score is divided by: what removing the channel saves", choices=_COSTS)

    def check(self, job: Job) -> None:
        """Budgets to stop at."""
        job.ranked_only("single channels")

    def run(self, job: Job) -> Iterator[Pruned]:
        """Tune and remove until each target is met."""
        channels, alive, last = job.channels, job.channels.full(), job.targets[-1]
        mask = torch.from_numpy(alive)  # one memory: what leaves `alive` is masked at the next forward pass
        removed: list[list[int]] = []
        tuning = job.finetuning(updates=channels.total * self.updates, lr=self.lr, quiet=True)
        batches = tuning.batches()
        with masked(job.model, channels, mask), gated(job.model, channels) as gates:
            for target in job.targets:
                while not target.allows(channels, alive):
                    scores = self._tune(job, tuning, batches, gates) / saved(job, alive, self.cost)
                    for _ in range(self.channels):
                        if not target.allows(channels, alive):
                            removed.append(_lowest(job, target, alive, job.checked(scores)))
                            alive[removed[-1]] = False
                    job.progress("removed, % of what has to go", round(100 * last.progress(channels, alive)), 100)
                job.notes["removed_in_order"] = [number for step in removed for number in step]
                yield job.cut(alive)

    def _tune(self, job: Job, tuning: FineTuning, batches: Iterator[list[Batch]], gates: Gates) -> Scores:
        """Some updates, and the scores from their gradients."""
        sums, images = torch.zeros(job.channels.total, device=job.device), 0
        for _ in range(self.updates):
            tuning.step(next(batches))
            derivatives = gates.take()
            # The loss is a mean over the images: times their number, each image's gradient is its own.
            sums += (derivatives * len(derivatives)).square().sum(0)
            images += len(derivatives)
        scores: Scores = (sums / (2 * images)).double().cpu().numpy()
        return scores


def saved(job: Job, alive: Kept, cost: str) -> Scores:
    """What removing one channel saves now, in millions of MACs or parameters; 1 where cost is none."""
    channels = job.channels
    shares = np.ones(channels.total)
    if cost == "none":
        return shares
    counts = {group: int(alive[span].sum()) for group, span in channels.slices.items()}
    index = QUANTITIES.index(cost)
    now = cost_of(channels, counts)[index]
    for group in job.movable:
        step = channels.steps[group]
        if counts[group] > step:
            less = cost_of(channels, {**counts, group: counts[group] - step})[index]
            shares[channels.slices[group]] = (now - less) / step / 1e6
    return shares


def _lowest(job: Job, target: Target, alive: Kept, scores: Scores) -> list[int]:
    """The step of least score over all groups that have more than one left."""
    found: tuple[float, list[int]] | None = None
    for group in job.movable:
        span, step = job.channels.slices[group], step_of(job.channels, group, target.round_to)
        numbers = np.flatnonzero(alive[span]) + span.start
        if len(numbers) <= step:
            continue
        lanes = job.channels.lanes[numbers]
        share = (len(numbers) % step or step) // job.channels.lane_count(group)
        leaving: list[int] = []
        for lane in range(job.channels.lane_count(group)):
            members = numbers[lanes == lane]
            leaving += members[np.argsort(scores[members], kind="stable")[:share]].tolist()
        score = float(scores[leaving].mean())
        if found is None or score < found[0]:
            found = (score, leaving)
    assert found is not None, "targets below the smallest network are refused beforehand"
    return found[1]
