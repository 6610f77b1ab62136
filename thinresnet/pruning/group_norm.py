"""Group norm: all weights that leave with a channel, in all layers, count; with sparse training (DepGraph)."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import torch
from torch import Tensor, nn

from thinresnet.convert import setting
from thinresnet.networks.cutting import STAYS, Channels, Kept
from thinresnet.networks.ties import Role
from thinresnet.pruning.job import Job, Pruned
from thinresnet.pruning.measures import Squares, roles_with_weights
from thinresnet.pruning.method import TRAINING, Method, Published
from thinresnet.pruning.selection import Scores, Target, best, shrunk

_CODE = "code: VainF/Torch-Pruning"
_SMALL_PIXELS = 64  # the side of images up to which the authors' settings for CIFAR are meant
_BY_SIZE = f"none: the authors' for CIFAR at images of up to {_SMALL_PIXELS} pixels, for ImageNet above"
_DIVISORS: dict[str, Callable[[Scores], float]] = {"max": np.max, "mean": np.mean}


@dataclass(frozen=True)
class GroupNorm(Method):
    """Channels of least group norm leave: over every weight, in every layer, that is tied to the channel.

    As the authors' reproduction runs. Training with a penalty and without weight decay goes first: each update adds
    `sparsity` * 2^(alpha * (max - I) / (max - min)) times the weight to the gradient of every weight of a channel whose
    group norm is I, where max and min are those of its group: weak channels shrink most. Then channels leave in up to
    `steps` small steps by one ranking, the residual stream's among them, until the budget is met. The score of a
    channel is the sum of its squared weights, of those only that are still there, over the largest sum or the mean of
    its group (`divide_by`), and is found anew before each step.

    The last step takes no more than the budget asks for. Depthwise kernels count here as all weights do, which their
    library leaves out. With `--scope layer` or `--to` all channels leave at once.
    """

    name: ClassVar[str] = "group-norm"
    revision: ClassVar[int] = 2  # 1: roots over their mean, the stream kept, at once
    paper: ClassVar[str] = "Fang et al. 2023, DepGraph: Towards Any Structural Pruning, arXiv:2301.12900"
    when: ClassVar[str] = TRAINING
    needs: ClassVar[frozenset[str]] = frozenset({"weights", "data", "gradients", "training"})
    scope: ClassVar[str] = "global"
    stream: ClassVar[bool] = True
    published: ClassVar[Mapping[str, Published]] = {
        "sparsity": Published("CIFAR: 5e-4, ImageNet: 1e-4", _CODE, "theirs, by the size of the images"),
        "alpha": Published(4.0, _CODE),
        "epochs": Published(
            "100 at 0.01, a tenth at 60 and 80 (CIFAR), 30 at 0.08, a tenth every 10 (ImageNet)",
            _CODE,
            "the recipe decides; --set epochs",
            ours="the recipe's",
        ),
        "weight decay while sparse": Published(0, _CODE, ours=0),
        "divide_by": Published("CIFAR: max, ImageNet: mean", _CODE, "theirs, by the size of the images"),
        "steps": Published("CIFAR: 400, ImageNet: 100", _CODE, "theirs, by the size of the images"),
        "scope": Published("global", _CODE),
        "stream": Published("pruned", _CODE, ours="pruned"),
        "most of a group": Published(
            "all but one channel; 0.7 of MobileNetV2's and RegNet's", _CODE, "one rule for all", ours="all but one"
        ),
    }

    sparsity: float | None = setting(None, _BY_SIZE, low=0, high=1)
    alpha: float = setting(4.0, low=0, high=30)
    epochs: int | None = setting(
        None, "of training with the penalty; none: the recipe's, 0: the weights as they are", low=0, high=10**6
    )
    divide_by: str | None = setting(None, f"of its group; {_BY_SIZE}", choices=tuple(_DIVISORS))
    steps: int | None = setting(None, f"from all channels to none, at most; {_BY_SIZE}", low=1, high=10**6)

    def resolved(self, image_side: int) -> tuple[float, str, int]:
        """The strength of the penalty, what scores are divided by, and the steps, for images of this side."""
        small = image_side <= _SMALL_PIXELS
        sparsity, divide_by, steps = (5e-4, "max", 400) if small else (1e-4, "mean", 100)
        return (
            sparsity if self.sparsity is None else self.sparsity,
            self.divide_by or divide_by,
            self.steps or steps,
        )

    def train(self, job: Job) -> None:
        """Training with the penalty."""
        sparsity, divide_by, steps = self.resolved(max(job.network.input_size[1:]))
        job.notes |= {"sparsity": sparsity, "divide_by": divide_by, "steps": steps}
        if self.epochs == 0:
            return
        tuning = job.finetuning(epochs=self.epochs, weight_decay=0.0)
        penalty = Penalty(job, sparsity, self.alpha)
        for batches in tuning.batches():
            tuning.step(batches, penalty.add)

    def scores(self, job: Job) -> Scores:
        """Squared group norms, relative to those of their group."""
        return GroupScores(job, self.resolved(max(job.network.input_size[1:]))[1]).of(job.channels.full())

    def run(self, job: Job) -> Iterator[Pruned]:
        """Train; then remove step by step, from one target to the next."""
        self.train(job)
        _, divide_by, steps = self.resolved(max(job.network.input_size[1:]))
        scores = GroupScores(job, divide_by)
        job.checked(scores.of(job.channels.full()))
        alive = job.channels.full()
        for target in job.targets:
            if target.limits is None or target.scope != "global":
                yield job.cut(target.select(job.channels, job.movable, scores.of(job.channels.full())))
                continue
            alive = step_by_step(job, target, scores, steps, alive)
            yield job.cut(_last_step(job, target, scores.of(alive), alive))


class GroupScores:
    """The squared group norms of the channels that are left, over the largest or the mean of their group."""

    def __init__(self, job: Job, divide_by: str) -> None:
        self._squares = Squares(job.model, job.channels, device=torch.device("cpu"))
        self._channels, self._divisor = job.channels, _DIVISORS[divide_by]

    def of(self, alive: Kept) -> Scores:
        """The score of each channel; 0 for those that are gone."""
        scores: Scores = self._squares.of(torch.from_numpy(alive)).numpy()
        for span in self._channels.slices.values():
            divisor = self._divisor(scores[span][alive[span]])
            scores[span] /= divisor or 1.0
        return scores


def step_by_step(job: Job, target: Target, scores: GroupScores, steps: int, alive: Kept) -> Kept:
    """The last choice on the way down that is over the budget; each step removes one of `steps` equal shares."""
    total = sum(job.channels.count(group) for group in job.movable)
    members = job.members()
    while True:
        left, own = job.channels.without(alive), scores.of(alive)[alive]
        now = int(alive[members].sum())
        step = steps + 1 + -now * steps // total  # of those to come the first that removes anything
        counts = shrunk(left, job.movable, own, total * (steps - step) // steps, target.round_to)
        after: Kept = alive.copy()
        after[alive] = best(left, own, counts)
        if target.allows(job.channels, after) or np.array_equal(after, alive):
            return alive
        alive = after


def _last_step(job: Job, target: Target, scores: Scores, alive: Kept) -> Kept:
    """From the last choice over the budget to it: the lowest leave, and no more of them than need to."""
    kept: Kept = alive.copy()
    kept[alive] = target.select(job.channels.without(alive), job.movable, scores[alive])
    return kept


class Penalty:
    """What sparse training adds to gradients: a share of every weight of a channel, the larger the weaker it is."""

    def __init__(self, job: Job, sparsity: float, alpha: float) -> None:
        self._squares = Squares(job.model, job.channels, torch.float32)
        self._sparsity, self._alpha, self._movable = sparsity, alpha, job.movable
        owner = np.full(job.channels.total, len(job.movable))
        for number, group in enumerate(job.movable):
            owner[job.channels.slices[group]] = number
        self._owner = torch.from_numpy(owner).to(job.device)
        self._terms = [
            (role, torch.from_numpy(job.channels.places[role]).to(job.device))
            for role in roles_with_weights(job.model, job.channels)
            if (job.channels.places[role] != STAYS).any()
        ]
        self._model, self._channels = job.model, job.channels

    @torch.no_grad()
    def shares(self) -> Tensor:
        """By channel, of the weights as they are now; 0 where nothing may leave."""
        self._squares.read()
        norms = self._squares.of().sqrt()
        ends = norms.new_zeros(len(self._movable) + 1)
        high = ends.scatter_reduce(0, self._owner, norms, "amax", include_self=False)
        low = ends.scatter_reduce(0, self._owner, norms, "amin", include_self=False)
        spread = (high - low).where(high > low, 1.0)
        shares = self._sparsity * 2 ** (self._alpha * ((high[self._owner] - norms) / spread[self._owner]))
        return shares.where(self._owner < len(self._movable), 0.0)

    @torch.no_grad()
    def add(self) -> None:
        """Add the penalty's gradient to the gradients."""
        padded = nn.functional.pad(self.shares(), (0, 1))  # STAYS is -1: the entry behind all
        for role, places in self._terms:
            weight, factors = _spread(self._model, self._channels, role, padded[places])
            if weight.grad is not None:
                weight.grad.addcmul_(weight, factors.to(weight.dtype))


def _spread(
    model: nn.Module, channels: Channels, role: Role, shares: torch.Tensor
) -> tuple[nn.Parameter, torch.Tensor]:
    """The weight of a role, and the shares of its positions in a shape that multiplies it."""
    name, side = role
    if side == "vector":
        weight = model.get_parameter(name)
        return weight, shares.reshape(weight.shape)
    weight = model.get_submodule(name).weight
    if side == "out" or channels.ties.layers[name].kind == "depthwise":
        return weight, shares.reshape(-1, *[1] * (weight.dim() - 1))
    groups = channels.ties.layers[name].groups
    by_row = shares.view(groups, -1).repeat_interleave(len(weight) // groups, 0)
    return weight, by_row.reshape(*by_row.shape, *[1] * (weight.dim() - 2))
