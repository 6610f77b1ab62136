"""Any criterion made gradual: train a little, remove the channels that matter least, and again, to the budget.

A criterion is what has `scores` alone (`l1`, `hrank`, ...): it is asked anew, before every removal, about the network
that is left. One that adds its scores up over the training itself (`fisher`, `taylor`) is a subclass of `Gradually`.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import torch
from torch import Tensor

from thinresnet.budget import QUANTITIES
from thinresnet.convert import setting
from thinresnet.errors import InputError, nearest
from thinresnet.networks.cutting import Kept, cut, masked
from thinresnet.pruning.gates import gated
from thinresnet.pruning.job import Job, Pruned
from thinresnet.pruning.method import TRAINED, TRAINING, Method, Published
from thinresnet.pruning.registry import found, methods
from thinresnet.pruning.selection import Scores, Target, cost_of, step_of

COSTS = ("none", *QUANTITIES)
CP = "code: BayesWatch/pytorch-prunes"


class Scoring:
    """What watches the training between two removals, and then says how much each channel matters."""

    def watch(self) -> None:
        """An update was made."""

    @abstractmethod
    def take(self, alive: Kept) -> Scores:
        """The scores of the channels that are left, from what was watched; then it begins anew."""


@dataclass(frozen=True)
class Gradually(Method):
    """What gradual methods share: `updates` of training, `channels` removed by one ranking, and again.

    What is removed is masked while training goes on: the optimizer keeps its state, and every size on the way is a
    checkpoint, so that several budgets come out of one run. A group keeps its last channel. At the last removal the
    ranking decides as it does for methods that prune at once: what still fits the budget stays.
    """

    when: ClassVar[str] = TRAINING
    needs: ClassVar[frozenset[str]] = frozenset({"weights", "data", "gradients", "training"})
    scope: ClassVar[str] = "global"

    updates: int = setting(100, "of the weights before every removal", low=1, high=10**6)
    channels: int = setting(1, "that leave at a time", low=1, high=10**6)
    lr: float = setting(8e-4, "the learning rate throughout", low=0, high=100)
    cost: str = setting("none", "what a score is divided by: what removing the channel saves", choices=COSTS)

    @abstractmethod
    def scoring(self, job: Job) -> AbstractContextManager[Scoring]:
        """What scores the channels."""

    def check(self, job: Job) -> None:
        """Budgets to stop at."""
        job.ranked_only("single channels")

    def run(self, job: Job) -> Iterator[Pruned]:
        """Train and remove until each target is met."""
        channels, alive, last = job.channels, job.channels.full(), job.targets[-1]
        mask = torch.from_numpy(alive).to(job.device)
        removed: list[int] = []
        tuning = job.finetuning(updates=channels.total * self.updates, lr=self.lr, quiet=True)
        batches = tuning.batches()
        with masked(job.model, channels, mask), self.scoring(job) as scoring:
            for target in job.targets:
                while not target.allows(channels, alive):
                    for _ in range(self.updates):
                        tuning.step(next(batches))
                        scoring.watch()
                    scores = job.checked(scoring.take(alive)) / saved(job, alive, self.cost)
                    gone = leaving(job, target, alive, scores, self.channels)
                    alive[gone] = False
                    mask.copy_(torch.from_numpy(alive))
                    removed += gone
                    job.progress("removed, % of what has to go", round(100 * last.progress(channels, alive)), 100)
                job.notes["removed_in_order"] = list(removed)
                yield job.cut(alive)


def leaving(job: Job, target: Target, alive: Kept, scores: Scores, most: int) -> list[int]:
    """The channels that leave next: the lowest steps of all groups, at most so many, or as many as the target asks for.

    A step is what leaves a group at once: one channel, in most groups.
    """
    steps = sorted(_steps(job, target, alive, scores), key=lambda step: step[0])[:most]
    left = alive.copy()
    left[[number for _, own in steps for number in own]] = False
    if target.allows(job.channels, left):  # the last removal: as all methods choose that prune at once
        left = target.select(job.channels, job.movable, np.where(alive, scores, -np.inf)) & alive
    gone = np.flatnonzero(alive & ~left)
    return [int(number) for number in gone[np.argsort(scores[gone], kind="stable")]]


def _steps(job: Job, target: Target, alive: Kept, scores: Scores) -> Iterator[tuple[float, list[int]]]:
    """Every step that a group can give up, with its mean score; a group's own ascend, and its last one stays."""
    channels = job.channels
    for group in job.movable:
        span, step = channels.slices[group], step_of(channels, group, target.round_to)
        numbers, lanes = np.flatnonzero(alive[span]) + span.start, channels.lane_count(group)
        by_lane = [numbers[channels.lanes[numbers] == lane] for lane in range(lanes)]
        ordered = np.stack([own[np.argsort(scores[own], kind="stable")] for own in by_lane])
        width, share = ordered.shape[1], step // lanes
        ends = range(width % share or share, width, share)  # the first step makes up for what is no whole step
        for start, end in zip((0, *ends), ends, strict=False):
            own = ordered[:, start:end].ravel()
            yield float(scores[own].mean()), own.tolist()


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


class MeanOverImages:
    """The mean over images of a figure of each image's derivatives in the gates of the channels."""

    def __init__(self, figure: Callable[[Tensor], Tensor]) -> None:
        self._figure = figure
        self._sums: Tensor | float = 0.0
        self._images = 0

    def add(self, derivatives: Tensor) -> None:
        """A row for each image, of its own loss."""
        self._sums = self._sums + self._figure(derivatives).sum(0).cpu().double()
        self._images += len(derivatives)

    def take(self) -> Scores:
        """The means; then it begins anew."""
        if not isinstance(self._sums, Tensor):
            raise InputError(
                "prune: float16 overflowed in every update since the last removal; more updates between removals, or "
                "--amp-dtype bfloat16"
            )
        means: Scores = (self._sums / self._images).numpy()
        self._sums, self._images = 0.0, 0
        return means


class FromTraining(Scoring):
    """Scores from the gradients of the training itself, in training mode."""

    def __init__(self, take_derivatives: Callable[[], Tensor], figure: Callable[[Tensor], Tensor],
                 finish: Callable[[Scores, Kept], Scores], *, may_overflow: bool = False) -> None:  # fmt: skip
        self._may_overflow = may_overflow
        self._derivatives, self._mean, self._finish = take_derivatives, MeanOverImages(figure), finish

    def watch(self) -> None:
        """The loss is a mean over the images: times their number, each image's gradient is its own."""
        derivatives = self._derivatives()
        if self._may_overflow and not torch.isfinite(derivatives).all():
            return  # float16 went over its range under the loss scale: the optimizer has left this update out, too
        self._mean.add(derivatives * len(derivatives))

    def take(self, alive: Kept) -> Scores:
        """The means over all images since the last removal."""
        return self._finish(self._mean.take(), alive)


@contextmanager
def from_training(
    job: Job, figure: Callable[[Tensor], Tensor], finish: Callable[[Scores, Kept], Scores]
) -> Iterator[Scoring]:
    """Inside, scores add up over the images that training passes through the model."""
    with gated(job.model, job.channels) as gates:
        scaled = job.recipe is not None and bool(job.recipe.amp) and job.recipe.amp_dtype == "float16"
        yield FromTraining(lambda: gates.take() / job.loss_scale, figure, finish, may_overflow=scaled)


@dataclass(frozen=True)
class _Asked(Scoring):
    """Scores of a criterion on the network that is left."""

    criterion: Method
    job: Job

    def take(self, alive: Kept) -> Scores:
        """Cut, ask, and go on with the whole network."""
        job = self.job
        network, model = cut(job.model, job.network, alive)
        rest = Job(job.method, network, model, (), job.recipe, job.data, job.seed, job.progress, stream=job.stream)
        scores = np.zeros(job.channels.total)  # of those that are gone none is asked for
        scores[alive] = rest.checked(self.criterion.scores(rest))
        job.scored_at += rest.scored_at
        job.forward_at += rest.forward_at
        return scores


@dataclass(frozen=True)
class Gradual(Gradually):
    """Channels leave one at a time while training goes on, by the scores that a `criterion` gives the network by then.

    Crowley et al. do so with the L1 norm and with Fisher information (which is the method `fisher`: its scores come
    from the training itself). The criterion is asked with its default settings. Scores of several layers are compared
    as they are, so a criterion that knows layers only ranks as well as its scores can be compared.
    """

    name: ClassVar[str] = "gradual"
    paper: ClassVar[str] = "Crowley et al. 2018, A Closer Look at Structured Pruning, arXiv:1810.04622"
    published: ClassVar[Mapping[str, Published]] = {
        "updates": Published(100, CP),
        "channels": Published(1, CP),
        "lr": Published(8e-4, CP),
        "cost": Published("none", CP),
        "criterion": Published(
            "sums of signed weights", CP, "the L1 norm that their text names; they also have fisher's"
        ),
        "scope": Published("global", CP),
        "stream": Published(False, CP),
    }

    criterion: str = setting("l1", "a method that scores trained networks and does no more: l1, hrank, ...")

    def __post_init__(self) -> None:
        """Check the settings, and that the criterion is one."""
        super().__post_init__()
        known = [name for name, kind in methods().items() if is_criterion(kind)]
        if self.criterion not in known:
            raise InputError(
                f"criterion: {self.criterion} is no method that scores trained networks and does no more"
                f"{nearest(self.criterion, known)}; it is one of {', '.join(known)}"
            )

    @property
    def images(self) -> int:
        """How many images the criterion looks at before every removal."""
        return int(getattr(self._criterion, "images", 0))

    @property
    def _criterion(self) -> Method:
        return found(self.criterion)()

    @contextmanager
    def scoring(self, job: Job) -> Iterator[Scoring]:
        """The criterion, on the network that is left."""
        yield _Asked(self._criterion, job)


def is_criterion(kind: type[Method]) -> bool:
    """Whether a method does no more than to score the channels of a trained network."""
    own = kind.run is Method.run and kind.train is Method.train and kind.scores is not Method.scores
    return own and kind.when == TRAINED and kind.removes == "channels"
