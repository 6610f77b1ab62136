"""Which networks take their own structure as keyword arguments: how many blocks a stage has, how fast a DenseNet grows.

One table, by the class of the network, for scaling the depth and for removing blocks. An architecture of this project
may have a `STRUCTURES` of its own beside its `default_cfgs`; `architectures` puts them together.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from torch import nn


@dataclass(frozen=True)
class ResidualBlock:
    """A class of residual blocks that can be removed."""

    ends: tuple[str, ...]  # the last layer of the branch: the first of these that the block has
    after: str | None = None  # the activation behind the sum


@dataclass(frozen=True)
class Structure:
    """A class of networks whose constructor takes the number of blocks of each stage."""

    keyword: str  # its name there
    depths: Callable[[nn.Module], list[int]]  # how many blocks each stage of a network has
    growth_rate: Callable[[nn.Module], int] | None = None  # of a network that takes a `growth_rate`
    blocks: Mapping[str, ResidualBlock] = field(default_factory=dict)  # by class, where blocks can be removed


def of_stages(model: nn.Module) -> list[int]:
    """The lengths of `model.stages[i].blocks`."""
    return [len(stage.blocks) for stage in model.stages]


def of_depths(model: nn.Module) -> list[int]:
    """What `model.depths` says, as the CIFAR networks keep it."""
    return list(model.depths)


def _of_layers(model: nn.Module) -> list[int]:
    return [len(model.get_submodule(f"layer{stage}")) for stage in (1, 2, 3, 4)]


def _of_dense_blocks(model: nn.Module) -> list[int]:
    return [len(block) for name, block in model.features.named_children() if name.startswith("denseblock")]


def _growth_rate(model: nn.Module) -> int:
    """How many channels one layer of a DenseNet adds: those of the last convolution of its first dense layer."""
    layer = next(module for module in model.modules() if "DenseLayer" in type(module).__name__)
    return int([conv for conv in layer.modules() if isinstance(conv, nn.Conv2d)][-1].out_channels)


_RESNET = {"BasicBlock": ResidualBlock(("bn2",), "act2"), "Bottleneck": ResidualBlock(("bn3",), "act3")}
_RESNET_V2 = {
    "PreActBasic": ResidualBlock(("conv2",)),
    "PreActBottleneck": ResidualBlock(("conv3",)),
    "Bottleneck": ResidualBlock(("norm3",), "act3"),
}
STRUCTURES: dict[str, Structure] = {
    "ResNet": Structure("layers", _of_layers, blocks=_RESNET),
    "ResNetV2": Structure("layers", of_stages, blocks=_RESNET_V2),
    "DenseNet": Structure("block_config", _of_dense_blocks, _growth_rate),
    "ConvNeXt": Structure("depths", of_stages, blocks={"ConvNeXtBlock": ResidualBlock(("mlp.fc2",))}),
    "CifarResNet": Structure("depths", of_depths, blocks={"_BasicBlock": ResidualBlock(("bn2",), "act2")}),
    "CifarPreResNet": Structure("depths", of_depths, blocks={"_PreBlock": ResidualBlock(("conv3", "conv2"))}),
    "CifarDenseNet": Structure("depths", of_depths, _growth_rate),
}
