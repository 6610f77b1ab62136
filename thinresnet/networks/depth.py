"""Depth surgery: residual blocks that can be removed, scales on their branches, and the network without some of them.

Behind the first block of a stage every shortcut is the identity: without its branch such a block hands on what it was
given, and the stage is one block shorter. The shallower network is built by its architecture's own constructor and
receives the weights of the remaining blocks, under their new numbers.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, TypeVar

import torch
from torch import Tensor, nn

from thinresnet.budget import Costs
from thinresnet.errors import InputError
from thinresnet.network import Network
from thinresnet.networks import architectures
from thinresnet.networks.blueprint import construct
from thinresnet.networks.build import build
from thinresnet.networks.cost import count
from thinresnet.networks.describe import describe
from thinresnet.networks.structures import ResidualBlock

Value = TypeVar("Value")


@dataclass(frozen=True)
class Blocks:
    """The residual blocks of a network by the names of their modules."""

    keyword: str  # of the architecture: how many blocks each stage has
    stages: tuple[tuple[str, ...], ...]
    ends: Mapping[str, str]  # of each block that can be removed: the last layer of its branch

    def owner(self, name: str) -> str | None:
        """The block that a layer, parameter or group of channels belongs to."""
        return next((block for stage in self.stages for block in stage if f"{name}.".startswith(f"{block}.")), None)

    def remaining(self, named: Mapping[str, Value], gone: Collection[str]) -> dict[str, Value]:
        """What has the names of layers, without these blocks and under the names of the network without them."""
        names: dict[str, str] = {}
        for stage in self.stages:
            stay = [block for block in stage if block not in gone]
            names |= dict(zip(stay, stage[: len(stay)], strict=True))
        found = {}
        for name, value in named.items():
            block = self.owner(name)
            if block not in gone:
                found[name if block is None else names[block] + name[len(block) :]] = value
        return found


def blocks_of(network: Network) -> Blocks:
    """The blocks of a network, thin or not; a network whose blocks cannot be removed is refused."""
    model = construct(network, device="meta")
    structure = architectures.STRUCTURES.get(type(model).__name__)
    kinds = {} if structure is None else structure.blocks
    stages: dict[str, list[str]] = {}
    ends: dict[str, str] = {}
    for name, module in model.named_modules():
        kind = kinds.get(type(module).__name__)
        if kind is None:
            continue
        stage = stages.setdefault(name.rpartition(".")[0], [])
        if stage:
            ends[name] = f"{name}.{_end(network.arch, name, module, kind)}"
        stage.append(name)
    if structure is None or not stages:
        raise InputError(
            f"{network.arch} has no residual blocks that can be removed; ResNets (basic, bottleneck, wide, "
            "pre-activation) and ConvNeXts have"
        )
    return Blocks(structure.keyword, tuple(map(tuple, stages.values())), ends)


def block_costs(network: Network, blocks: Blocks) -> dict[str, Costs]:
    """The MACs and parameters of each block."""
    costs = {block: Costs(0, 0) for stage in blocks.stages for block in stage}
    for layer in count(network).layers:
        block = blocks.owner(layer.name)
        if block is not None:
            macs, params = costs[block]
            costs[block] = Costs(macs + layer.macs, params + layer.params)
    return costs


@contextmanager
def scaled(model: nn.Module, layers: Sequence[str], scales: Tensor) -> Iterator[None]:
    """Inside, what each layer puts out is multiplied by its scale; the scales may change between forward passes."""
    handles = []
    for index, name in enumerate(layers):

        def hook(module: nn.Module, inputs: Any, output: Tensor, index: int = index) -> Tensor:
            return output * scales[index]

        handles.append(model.get_submodule(name).register_forward_hook(hook))
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()


def shallower(network: Network, blocks: Blocks, gone: Collection[str]) -> Network:
    """The network without these blocks."""
    unknown = sorted(set(gone) - set(blocks.ends))
    if unknown:
        raise InputError(
            f"{network.arch}: {unknown[0]!r} is not a block that can be removed; these are: {', '.join(blocks.ends)}"
        )
    depths = [sum(block not in gone for block in stage) for stage in blocks.stages]
    return describe(
        network.arch,
        channels=blocks.remaining(network.channels, gone),
        input_size=network.input_size,
        complete=True,
        **{**network.kwargs, blocks.keyword: depths},
    )


def without(
    model: nn.Module, network: Network, gone: Collection[str], scales: Mapping[str, float]
) -> tuple[Network, nn.Module]:
    """The network without these blocks, the branches of the others multiplied by their scales (1 where none is given).

    `model`, which is of `network`, stays as it is; what comes out has its type, device and mode.
    """
    blocks = blocks_of(network)
    shallow = shallower(network, blocks, gone)
    like = next(model.parameters())
    result = build(shallow, seed=0).to(device=like.device, dtype=like.dtype).train(model.training)
    result.load_state_dict(blocks.remaining(model.state_dict(), gone))
    ends = {blocks.ends[block]: scale for block, scale in scales.items()}
    with torch.no_grad():
        for end, scale in blocks.remaining(ends, gone).items():
            for parameter in result.get_submodule(end).parameters():
                parameter.mul_(scale)
    return shallow, result


def _end(arch: str, name: str, block: nn.Module, kind: ResidualBlock) -> str:
    """The last layer of a block's branch; refused where a scale on it would not be one on the branch."""
    end = next(end for end in kind.ends if end.partition(".")[0] in dict(block.named_children()))
    layer = type(block.get_submodule(end)).__name__
    if getattr(block, "se", None) is not None:
        reason = "its branch ends in an attention layer, which does not scale with what it is given"
    elif "Std" in layer:
        reason = f"its branch ends in {end}, whose weights are standardised: a scale on them is lost"
    elif kind.after is not None and not isinstance(block.get_submodule(kind.after), nn.ReLU):
        after = type(block.get_submodule(kind.after)).__name__
        reason = f"{after} behind the sum changes what a block without a branch hands on; ReLU does not"
    else:
        return end
    raise InputError(f"{arch}: the block {name!r} cannot be removed: {reason}")
