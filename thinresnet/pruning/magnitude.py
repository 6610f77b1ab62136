"""Weights one by one: global magnitude, and lottery tickets. What leaves is masked, so nothing gets smaller.

These are the contrast that papers on structured pruning draw. A budget bounds what the network would cost if zeros were
free; that figure goes into the notes, and the cost of the network stays what it is.
"""

from __future__ import annotations

import copy
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import torch
from torch import Tensor, nn
from torch.nn.modules.conv import _ConvNd

from thinresnet.budget import QUANTITIES, Budget, Costs
from thinresnet.convert import setting
from thinresnet.errors import InputError
from thinresnet.networks.build import build
from thinresnet.networks.cost import count
from thinresnet.networks.foreign import load_weights
from thinresnet.networks.search import Limits
from thinresnet.pruning.job import Job, Pruned
from thinresnet.pruning.method import NOT_READ, TRAINING, Method, Published, finetuned
from thinresnet.runs import WEIGHTS_FILE
from thinresnet.training.masks import apply_masks, keep_masks

Masks = dict[str, Tensor]  # by parameter: which weights are left

_RT = "code: Eric-mingjie/rethinking-network-pruning"


class _Masking(Method):
    """What methods that mask weights share."""

    scope: ClassVar[str] = "global"
    removes: ClassVar[str] = "weights"
    serves: ClassVar[str] = "networks with convolutions whose weights are not standardised"

    def check(self, job: Job) -> None:
        """Convolutions, and a budget that leaves some of their weights."""
        job.ranked_only("single weights")
        weights = Weights(job)
        for target in job.targets:
            assert target.limits is not None
            if not target.limits.allow(weights.least):
                raise target.limits.refuse(weights.least, "masked network")


@dataclass(frozen=True)
class Magnitude(_Masking):
    """Convolution weights of least magnitude are set to zero, by one threshold for all layers, at once.

    Linear layers, biases and norms are left alone. Training on with zeros in their place takes `keep_masks`.
    """

    name: ClassVar[str] = "magnitude"
    paper: ClassVar[str] = (
        "Han et al. 2015, Learning both Weights and Connections for Efficient Neural Networks, 1506.02626"
    )
    published: ClassVar[Mapping[str, Published]] = {
        "scope": Published("global", _RT),
        "layers": Published("convolutions", _RT, ours="convolutions"),
        "fine-tuning": finetuned("as the network was trained, gradients masked", _RT),
    }

    def run(self, job: Job) -> Iterator[Pruned]:
        """One threshold for each target."""
        weights = Weights(job)
        for target in job.targets:
            assert target.limits is not None
            masks = weights.largest(target.limits)
            yield _pruned(job, weights, copy.deepcopy(job.model), masks)


@dataclass(frozen=True)
class Lottery(_Masking):
    """The mask of `magnitude` on the weights that training began with: a lottery ticket, found in one shot.

    A run's initialisation follows from its seed, or is the file that it started from; `init` names another file, or a
    run's folder. All else (norms, the classifier) goes back to it as well.
    """

    name: ClassVar[str] = "lottery"
    rewinds: ClassVar[bool] = True
    paper: ClassVar[str] = "Frankle and Carbin 2019, The Lottery Ticket Hypothesis, arXiv:1803.03635"
    published: ClassVar[Mapping[str, Published]] = {
        "init": Published("the weights that training began with", _RT, ours="the weights that training began with"),
        "scope": Published("global", _RT),
        "training": Published(
            "160 epochs, lr 0.1", _RT, "training after pruning is the study's (rewind)", ours="as the study says"
        ),
    }

    init: str = ""

    def check(self, job: Job) -> None:
        """As for masks at large; and an initialisation that fits the network."""
        super().check(job)
        _initial(job, self.init)

    def run(self, job: Job) -> Iterator[Pruned]:
        """One mask for each target."""
        weights = Weights(job)
        for target in job.targets:
            assert target.limits is not None
            masks = weights.largest(target.limits)
            model, rewound_to = _initial(job, self.init)
            yield _pruned(job, weights, model, masks, rewound_to=rewound_to)


@dataclass(frozen=True)
class LotteryRounds(_Masking):
    """A lottery ticket found in rounds: mask a share of what is left, rewind, train by the recipe, and again.

    Each of the `rounds` masks the same share of the weights left to it, so that the last one meets the budget; the
    first ranks the weights as they come, so there is one training less than rounds. Each budget has its own rounds.
    """

    name: ClassVar[str] = "lottery-rounds"
    anew: ClassVar[bool] = True
    rewinds: ClassVar[bool] = True
    paper: ClassVar[str] = Lottery.paper
    when: ClassVar[str] = TRAINING
    needs: ClassVar[frozenset[str]] = frozenset({"weights", "data", "gradients", "training"})
    published: ClassVar[Mapping[str, Published]] = {
        "rounds": Published(None, NOT_READ),
        "epochs": Published("160", _RT, "the recipe that the study names decides", ours="the recipe's"),
        "init": Published("the weights that training began with", _RT, ours="the weights that training began with"),
        "scope": Published("global", _RT),
        "share of a round": Published("the same of what is left", _RT, ours="the same of what is left"),
    }

    rounds: int = setting(5, low=2, high=100)
    epochs: int | None = setting(None, "of the training between rounds; none: the recipe's", low=1, high=10**6)
    init: str = ""

    def check(self, job: Job) -> None:
        """As for masks at large; and an initialisation that fits the network."""
        super().check(job)
        _initial(job, self.init)

    def run(self, job: Job) -> Iterator[Pruned]:
        """Mask, rewind and train, for each target anew."""
        weights = Weights(job)
        initial, rewound_to = _initial(job, self.init)
        for target in job.one_by_one():
            assert target.limits is not None
            masks = weights.largest(weights.eased(target.limits, 1 / self.rounds))
            for done in range(1, self.rounds):
                job.model.load_state_dict(initial.state_dict())
                with keep_masks(job.model, masks):
                    tuning = job.finetuning(epochs=self.epochs)
                    for batches in tuning.batches():
                        tuning.step(batches)
                masks = weights.largest(weights.eased(target.limits, (done + 1) / self.rounds), masks)
            yield _pruned(job, weights, copy.deepcopy(initial), masks, rewound_to=rewound_to)


class Weights:
    """The convolution weights of a job's network, and what each would save."""

    def __init__(self, job: Job) -> None:
        cost = count(job.network)
        layers = {layer.name: layer for layer in cost.layers}
        self._method = job.method
        self.parameters: dict[str, Tensor] = {}
        self.macs: dict[str, int] = {}  # of one weight
        for name, module in job.model.named_modules():
            if not isinstance(module, _ConvNd):
                continue
            if "Std" in type(module).__name__:
                raise InputError(
                    f"prune {job.method}: {job.network.arch} standardises its weights ({name}): zeros would not stay so"
                )
            self.parameters[f"{name}.weight"] = module.weight
            self.macs[f"{name}.weight"] = layers[name].macs // module.weight.numel()
        if not self.parameters:
            raise InputError(f"prune {job.method}: {job.network.arch} has no convolutions")
        self.whole = Costs(cost.macs, cost.params)
        masked = self._spent({name: weight.numel() for name, weight in self.parameters.items()})
        self._fixed = Costs(cost.macs - masked.macs, cost.params - masked.params)

    @property
    def least(self) -> Costs:
        """What a network with a single convolution weight costs at most."""
        return Costs(self._fixed.macs + max(self.macs.values()), self._fixed.params + 1)

    def cost(self, masks: Masks) -> Costs:
        """What the network would cost if zeros were free."""
        left = self._spent({name: int(mask.sum()) for name, mask in masks.items()})
        return Costs(self._fixed.macs + left.macs, self._fixed.params + left.params)

    def eased(self, limits: Limits, share: float) -> Limits:
        """The limits on the way to these: after that share of equal rounds, each keeping the same share of weights."""
        eased = []
        for quantity, limit in limits.most.items():
            fixed, whole = (costs[QUANTITIES.index(quantity)] for costs in (self._fixed, self.whole))
            left = (min(limit, whole) - fixed) / (whole - fixed)
            eased.append(Budget.parse(quantity, fixed + int((whole - fixed) * left**share)))
        return Limits(limits.arch, eased, limits.dense)

    @torch.no_grad()
    def largest(self, limits: Limits, alive: Masks | None = None) -> Masks:
        """As many of the largest weights (of those alive) as the limits allow, over all layers."""
        for name, weight in self.parameters.items():
            if not bool(torch.isfinite(weight).all()):
                raise InputError(f"prune {self._method}: {name!r} has a non-finite value")
        # The bits of positive floats are ordered as the floats are: a threshold on them is found in 31 steps.
        bits = {name: weight.abs().float().view(torch.int32) for name, weight in self.parameters.items()}
        if alive is not None:
            bits = {name: own.where(alive[name], -1) for name, own in bits.items()}
        low, high = 0, torch.iinfo(torch.int32).max
        while low < high:
            middle = (low + high) // 2
            fits = limits.allow(self.cost({name: own >= middle for name, own in bits.items()}))
            low, high = (low, middle) if fits else (middle + 1, high)
        masks = {name: own >= low for name, own in bits.items()}
        return self._with_equals(masks, {name: own == low - 1 for name, own in bits.items()}, limits) if low else masks

    def _with_equals(self, masks: Masks, equals: Masks, limits: Limits) -> Masks:
        """As many as fit of the weights that just missed the threshold, all equal: the first of them."""
        spent = self.cost(masks)._asdict()
        left = {quantity: most - spent[quantity] for quantity, most in limits.most.items()}
        for name, equal in equals.items():
            prices = {"macs": self.macs[name], "params": 1}
            wanted = int(equal.sum())
            number = min([wanted, *(unspent // prices[own] for own, unspent in left.items() if prices[own])])
            masks[name].view(-1)[equal.view(-1).nonzero()[:number, 0]] = True
            left = {own: unspent - number * prices[own] for own, unspent in left.items()}
            if number < wanted:
                break
        return masks

    def _spent(self, counts: Mapping[str, int]) -> Costs:
        return Costs(sum(number * self.macs[name] for name, number in counts.items()), sum(counts.values()))


def _initial(job: Job, init: str) -> tuple[nn.Module, str]:
    """The weights that training began with, and where they are from: as training makes them."""
    seed = job.seed if job.recipe is None else job.recipe.seed
    path = init or (job.recipe.initial_checkpoint if job.recipe else "")
    model = build(job.network, seed=seed)
    if path:
        load_weights(model, job.network, Path(path) / WEIGHTS_FILE if Path(path).is_dir() else path)
    like = next(job.model.parameters())
    return model.to(device=like.device, dtype=like.dtype), path or f"the initialisation of seed {seed}"


def _pruned(job: Job, weights: Weights, model: nn.Module, masks: Masks, **notes: Any) -> Pruned:
    """A network of the same shape with zeros, and what it would cost if they were free."""
    apply_masks(model, masks)
    kept, total = (sum(int(mask.sum()) for mask in masks.values()), sum(mask.numel() for mask in masks.values()))
    macs, params = weights.cost(masks)
    theory = {"density": kept / total, "theoretical_macs": macs, "theoretical_params": params}
    empty = [name for name, mask in masks.items() if not mask.any()]
    return Pruned(job.network, model, {}, masks, notes={**job.notes, **theory, "empty": empty, **notes})
