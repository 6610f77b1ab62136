"""Sparse structure selection: a scale on every residual branch is trained towards zero; what is at zero leaves."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from thinresnet.budget import Costs
from thinresnet.convert import setting
from thinresnet.network import Network
from thinresnet.networks.cost import macs_and_params
from thinresnet.networks.cutting import channels_of, cut
from thinresnet.networks.depth import Blocks, block_costs, blocks_of, scaled, shallower, without
from thinresnet.networks.search import Limits
from thinresnet.pruning.job import Job, Pruned
from thinresnet.pruning.measures import of_first_makers
from thinresnet.pruning.method import TRAINING, Method, Published, not_finetuned
from thinresnet.pruning.selection import Target, cost_of, smallest_counts

_CODE = "code: TuSimple/sparse-structure-selection"


@dataclass(frozen=True)
class SparseStructureSelection(Method):
    """Whole residual blocks leave whose branches were scaled least, after training with an L1 penalty on the scales.

    The scales start at one, are not decayed, and take an accelerated proximal step with each update of the weights, at
    the recipe's rate. Blocks of scale zero leave; then the lowest do, until the budget is met, and those that fit
    come back, best first. Whole blocks may leave a sixth of a budget, where other methods spend all but 2 %; so, and
    that is ours, the best block that left comes back and the insides of all blocks become narrower instead, by the same
    share of each, the filters of least L1 norm first (`fill=false` is the paper's). A block of scale zero
    never comes back: where those alone meet the budget, less of it is spent. Scales that stay go into the
    weights. The first block of a stage always stays and has no scale; the paper's code lets its branch go as well.
    """

    name: ClassVar[str] = "sss"
    revision: ClassVar[int] = 2  # 1: whole blocks only
    paper: ClassVar[str] = (
        "Huang and Wang 2018, Data-Driven Sparse Structure Selection for Deep Neural Networks, arXiv:1707.01213"
    )
    when: ClassVar[str] = TRAINING
    from_scratch: ClassVar[bool] = True
    finetunes: ClassVar[bool] = False
    as_cut: ClassVar[Mapping[str, Any]] = {"fill": False}  # narrower blocks would have to be fine-tuned
    needs: ClassVar[frozenset[str]] = frozenset({"weights", "data", "gradients", "training"})
    scope: ClassVar[str] = "global"
    serves: ClassVar[str] = "ResNets (wide and pre-activation ones too) and ConvNeXts"
    removes: ClassVar[str] = "blocks"
    published: ClassVar[Mapping[str, Published]] = {
        "gamma": Published(0.01, _CODE),
        "momentum": Published(0.9, _CODE),
        "epochs": Published(
            "100, from scratch; lr 0.1, a tenth at 30, 60, 90",
            _CODE,
            "the recipe that the study names decides",
            ours="the recipe's",
        ),
        "fill": Published(
            False, _CODE, "budgets are to be met within 2 % here, so that rows compare; no in `sparse-train`"
        ),
        "scope": Published("global", _CODE),
        "what leaves": Published(
            "any block of scale zero",
            _CODE,
            "the first block of a stage stays: the rest would need another shortcut",
            ours="any but the first of a stage",
        ),
        "fine-tuning": not_finetuned(_CODE),
    }

    gamma: float = setting(0.01, "of the penalty", low=0, high=100)
    momentum: float = setting(0.9, "of the scales", low=0, high=0.999)
    epochs: int | None = setting(None, "of training with the penalty; none: the recipe's", low=1, high=10**6)
    fill: bool = setting(True, "whether narrower blocks spend what whole ones leave of a budget")

    def check(self, job: Job) -> None:
        """Blocks that may leave, and a budget that whole blocks can meet."""
        job.ranked_only("whole blocks")
        blocks = blocks_of(job.network)
        smallest = macs_and_params(shallower(job.network, blocks, blocks.ends))
        for target in job.targets:
            assert target.limits is not None
            if not target.limits.allow(smallest):
                raise target.limits.refuse(smallest, "network of one block a stage")

    def run(self, job: Job) -> Iterator[Pruned]:
        """Train the scales, once for all targets; then choose."""
        blocks = blocks_of(job.network)
        whole = macs_and_params(job.network)
        costs = {block: Costs(*cost) for block, cost in block_costs(job.network, blocks).items()}
        scales = self._train(job, blocks)
        for target in job.targets:
            assert target.limits is not None
            gone = _gone(whole, scales, costs, target.limits)
            found = self._filled(job, blocks, gone, scales, target) if self.fill else None
            if found is None:
                network, model = without(job.model, job.network, gone, scales)
                found = Pruned(network, model, {}, notes=_notes(job.network, blocks, gone, scales))
            yield found

    def _filled(
        self, job: Job, blocks: Blocks, gone: set[str], scales: Mapping[str, float], target: Target
    ) -> Pruned | None:
        """With the best block that left back and all blocks a little narrower; none where that gains nothing."""
        back = max((block for block in gone if scales[block]), key=lambda block: scales[block], default=None)
        if back is None:
            return None
        gone = gone - {back}
        network, model = without(job.model, job.network, gone, scales)
        channels = channels_of(network)
        inside = [
            name for name, group in channels.ties.groups.items() if group.interior and name not in channels.locked
        ]
        own = Target(network, target.limits, round_to=target.round_to)
        assert target.limits is not None
        if not inside or not target.limits.allow(cost_of(channels, smallest_counts(channels, inside, own.round_to))):
            return None
        scores = of_first_makers(model, channels, lambda filters: filters.abs().sum(1))
        kept = own.select(channels, inside, scores)
        thin, narrow = cut(model, network, kept)
        notes = _notes(job.network, blocks, gone, scales)
        widths = blocks.remaining({group: group for group in job.network.channels}, gone)
        notes["kept_by_group"] |= {
            group: thin.channels[name] / job.network.channels[group] for name, group in widths.items()
        }
        return Pruned(thin, narrow, {}, notes=notes)

    def _train(self, job: Job, blocks: Blocks) -> dict[str, float]:
        """Train weights and scales together; returns the scale of each block."""
        scales = Scales(len(blocks.ends), self.gamma, self.momentum, job.device)
        tuning = job.finetuning(epochs=self.epochs)
        with scaled(job.model, list(blocks.ends.values()), scales.values):
            for batches in tuning.batches():
                tuning.step(batches, lambda: scales.step(tuning.gradient(scales.values), tuning.rate))
        return dict(zip(blocks.ends, scales.values.tolist(), strict=True))


class Scales:
    """Scales of at least zero under an L1 penalty, and how they move."""

    def __init__(self, count: int, gamma: float, momentum: float, device: torch.device) -> None:
        self.values = torch.ones(count, device=device, requires_grad=True)
        self._velocity = torch.zeros(count, device=device)
        self._gamma, self._momentum = gamma, momentum

    @torch.no_grad()
    def step(self, gradient: Tensor, rate: float) -> None:
        """A gradient step, the soft threshold of the penalty, and the momentum of what that moved."""
        self.values.grad = None
        if not bool(torch.isfinite(gradient).all()):
            return  # float16 overflowed: the weights stay where they are, too
        proximal = nn.functional.softshrink(self.values - rate * gradient, rate * self._gamma)
        self._velocity = proximal - self.values + self._momentum * self._velocity
        self.values.copy_((proximal + self._momentum * self._velocity).clamp(min=0))


def _rest(whole: Costs, costs: Mapping[str, Costs], gone: Collection[str]) -> Costs:
    """What the network costs without these blocks."""
    return Costs(
        whole.macs - sum(costs[block].macs for block in gone), whole.params - sum(costs[block].params for block in gone)
    )


def _gone(whole: Costs, scales: Mapping[str, float], costs: Mapping[str, Costs], limits: Limits) -> set[str]:
    """The blocks that leave: those of scale zero, the lowest until the limits allow, less those that fit again."""
    order = sorted(scales, key=lambda block: scales[block])
    gone = {block for block in order if not scales[block]}
    for block in order:
        if limits.allow(_rest(whole, costs, gone)):
            break
        gone.add(block)
    for block in reversed(order):
        if block in gone and scales[block] and limits.allow(_rest(whole, costs, gone - {block})):
            gone.remove(block)
    return gone


def _notes(network: Network, blocks: Blocks, gone: Collection[str], scales: Mapping[str, float]) -> dict[str, Any]:
    """What was found, by block, stage and group of channels."""
    return {
        "scales": dict(scales),
        "kept_blocks": [[number for number, block in enumerate(own) if block not in gone] for own in blocks.stages],
        "kept_by_group": {group: float(blocks.owner(group) not in gone) for group in network.channels},
    }
