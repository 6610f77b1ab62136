"""The networks for 32-pixel images that pruning papers compare, registered with timm, which has none of them.

ResNet-20 to 110 (He et al. 2015), PreResNet-164, wide ResNets (Zagoruyko and Komodakis), VGG with batch norm, DenseNet
and MobileNetV2 at 32 px. Stage widths are 16, 32 and 64 unless said otherwise; depths are blocks a stage.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import torch
from timm.models import build_model_with_cfg, generate_default_cfgs, register_model
from torch import Tensor, nn
from torch.nn import functional

from thinresnet.networks.cifar_blocks import SHORTCUTS, CifarNet, _BasicBlock, drop_paths

_MEAN, _STD = (0.4914, 0.4822, 0.4465), (0.2470, 0.2435, 0.2616)  # of the CIFAR-10 training images


def cifar_config(classifier: str, first_conv: str) -> dict[str, Any]:
    """What timm keeps of a network for images of 32 px, without weights."""
    return {
        "url": "",
        "num_classes": 10,
        "input_size": (3, 32, 32),
        "pool_size": None,
        "crop_pct": 1.0,
        "interpolation": "bilinear",
        "mean": _MEAN,
        "std": _STD,
        "first_conv": first_conv,
        "classifier": classifier,
    }


class CifarResNet(CifarNet):
    """He et al.'s ResNet for CIFAR: a 3x3 stem and three stages of basic blocks."""

    def __init__(
        self,
        depths: Sequence[int],
        shortcut: str = "A",
        num_classes: int = 10,
        in_chans: int = 3,
        drop_rate: float = 0.0,
        drop_path_rate: float = 0.0,
        global_pool: str = "avg",
    ):
        super().__init__(num_classes, drop_rate, global_pool)
        if shortcut not in SHORTCUTS:
            raise ValueError(f"shortcut is 'A' or 'A-strided' (padding) or 'B' (projection); got {shortcut!r}")
        self.depths = list(depths)
        self.conv1 = nn.Conv2d(in_chans, 16, 3, 1, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(16)
        self.act1 = nn.ReLU(inplace=True)
        drops = iter(drop_paths(depths, drop_path_rate))
        width = 16
        self.feature_info = []
        for stage, (depth, outputs) in enumerate(zip(depths, (16, 32, 64), strict=True), start=1):
            blocks = []
            for block in range(depth):
                stride = 2 if block == 0 and stage > 1 else 1
                blocks.append(_BasicBlock(width, outputs, stride, shortcut, next(drops)))
                width = outputs
            self.add_module(f"layer{stage}", nn.Sequential(*blocks))
            self.feature_info.append({"num_chs": width, "reduction": 2 ** (stage - 1), "module": f"layer{stage}"})
        self._finish(width)

    def forward_features(self, x: Tensor) -> Tensor:
        x = self.act1(self.bn1(self.conv1(x)))
        return self.layer3(self.layer2(self.layer1(x)))


# Pre-activation: PreResNet-164 and wide ResNets ---------------------------------------------------------------------


class _PreBlock(nn.Module):
    """Norm and activation before each convolution; a projection where the shape changes reads what is activated."""

    def __init__(self, inputs: int, width: int, stride: int, bottleneck: bool, drop_rate: float, drop_path: nn.Module):
        super().__init__()
        outputs = width * 4 if bottleneck else width
        self.bn1 = nn.BatchNorm2d(inputs)
        self.bn2 = nn.BatchNorm2d(width)
        self.act = nn.ReLU(inplace=True)
        self.drop_path = drop_path
        self.drop = nn.Dropout(drop_rate) if drop_rate and not bottleneck else nn.Identity()
        if bottleneck:
            self.conv1 = nn.Conv2d(inputs, width, 1, bias=False)
            self.conv2 = nn.Conv2d(width, width, 3, stride, 1, bias=False)
            self.bn3 = nn.BatchNorm2d(width)
            self.conv3 = nn.Conv2d(width, outputs, 1, bias=False)
        else:
            self.conv1 = nn.Conv2d(inputs, width, 3, stride, 1, bias=False)
            self.conv2 = nn.Conv2d(width, outputs, 3, 1, 1, bias=False)
        self.bottleneck = bottleneck
        changes = stride > 1 or inputs != outputs
        self.downsample = nn.Conv2d(inputs, outputs, 1, stride, bias=False) if changes else None

    def forward(self, x: Tensor) -> Tensor:
        y = self.act(self.bn1(x))
        if self.downsample is not None:
            x = self.downsample(y)
        y = self.conv2(self.drop(self.act(self.bn2(self.conv1(y)))))
        if self.bottleneck:
            y = self.conv3(self.act(self.bn3(y)))
        return x + self.drop_path(y)


class CifarPreResNet(CifarNet):
    """Pre-activation ResNets: bottlenecks for PreResNet-164, basic blocks `widen` times as wide for wide ResNets."""

    def __init__(
        self,
        depths: Sequence[int],
        widen: int = 1,
        bottleneck: bool = False,
        num_classes: int = 10,
        in_chans: int = 3,
        drop_rate: float = 0.0,
        block_drop_rate: float = 0.0,
        drop_path_rate: float = 0.0,
        global_pool: str = "avg",
    ):
        super().__init__(num_classes, drop_rate, global_pool)
        self.depths = list(depths)
        self.conv1 = nn.Conv2d(in_chans, 16, 3, 1, 1, bias=False)
        drops = iter(drop_paths(depths, drop_path_rate))
        inputs = 16
        self.feature_info = []
        for stage, (depth, base) in enumerate(zip(depths, (16, 32, 64), strict=True), start=1):
            width = base * widen
            blocks = []
            for block in range(depth):
                stride = 2 if block == 0 and stage > 1 else 1
                blocks.append(_PreBlock(inputs, width, stride, bottleneck, block_drop_rate, next(drops)))
                inputs = width * 4 if bottleneck else width
            self.add_module(f"layer{stage}", nn.Sequential(*blocks))
            self.feature_info.append({"num_chs": inputs, "reduction": 2 ** (stage - 1), "module": f"layer{stage}"})
        self.bn = nn.BatchNorm2d(inputs)
        self.act = nn.ReLU(inplace=True)
        self._finish(inputs)

    def forward_features(self, x: Tensor) -> Tensor:
        x = self.layer3(self.layer2(self.layer1(self.conv1(x))))
        return self.act(self.bn(x))


# VGG ----------------------------------------------------------------------------------------------------------------

_VGG = {
    16: (64, 64, 0, 128, 128, 0, 256, 256, 256, 0, 512, 512, 512, 0, 512, 512, 512),
    19: (64, 64, 0, 128, 128, 0, 256, 256, 256, 256, 0, 512, 512, 512, 512, 0, 512, 512, 512, 512),
}


class CifarVGG(CifarNet):
    """VGG's convolutions with batch norm, pooled, and one linear layer (0 in the plan is a pooling)."""

    def __init__(
        self,
        plan: Sequence[int],
        num_classes: int = 10,
        in_chans: int = 3,
        drop_rate: float = 0.0,
        global_pool: str = "avg",
    ):
        super().__init__(num_classes, drop_rate, global_pool)
        layers: list[nn.Module] = []
        for width in plan:
            if width:
                layers += [
                    nn.Conv2d(in_chans, width, 3, 1, 1, bias=False),
                    nn.BatchNorm2d(width),
                    nn.ReLU(inplace=True),
                ]
                in_chans = width
            else:
                layers.append(nn.MaxPool2d(2, ceil_mode=True))
        self.features = nn.Sequential(*layers)
        self._finish(in_chans)

    def forward_features(self, x: Tensor) -> Tensor:
        return self.features(x)


# DenseNet -----------------------------------------------------------------------------------------------------------


class _DenseLayer(nn.Module):
    """Adds `growth` channels to its input; with a bottleneck of four times the growth in DenseNet-BC."""

    def __init__(self, inputs: int, growth: int, bottleneck: bool, drop_rate: float):
        super().__init__()
        self.bn1 = nn.BatchNorm2d(inputs)
        self.act = nn.ReLU(inplace=True)
        if bottleneck:
            self.conv1 = nn.Conv2d(inputs, 4 * growth, 1, bias=False)
            self.bn2 = nn.BatchNorm2d(4 * growth)
            self.conv2 = nn.Conv2d(4 * growth, growth, 3, 1, 1, bias=False)
        else:
            self.conv1 = nn.Conv2d(inputs, growth, 3, 1, 1, bias=False)
        self.bottleneck = bottleneck
        self.drop = nn.Dropout(drop_rate) if drop_rate else nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        y = self.conv1(self.act(self.bn1(x)))
        if self.bottleneck:
            y = self.conv2(self.act(self.bn2(y)))
        return torch.cat([x, self.drop(y)], 1)


class _Transition(nn.Module):
    def __init__(self, inputs: int, outputs: int):
        super().__init__()
        self.bn = nn.BatchNorm2d(inputs)
        self.act = nn.ReLU(inplace=True)
        self.conv = nn.Conv2d(inputs, outputs, 1, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        return functional.avg_pool2d(self.conv(self.act(self.bn(x))), 2, ceil_mode=True)


class CifarDenseNet(CifarNet):
    """DenseNet-BC (bottlenecks, halving transitions) or the plain DenseNet (neither); the stem is twice the growth.

    Huang et al. give the plain one a stem of 16; the code that pruning papers measure DenseNet-40 with has 24.
    """

    def __init__(
        self,
        depths: Sequence[int],
        growth_rate: int = 12,
        bottleneck: bool = True,
        num_classes: int = 10,
        in_chans: int = 3,
        drop_rate: float = 0.0,
        block_drop_rate: float = 0.0,
        global_pool: str = "avg",
    ):
        super().__init__(num_classes, drop_rate, global_pool)
        self.depths = list(depths)
        width = 2 * growth_rate
        self.conv1 = nn.Conv2d(in_chans, width, 3, 1, 1, bias=False)
        stages: list[nn.Module] = []
        for stage, depth in enumerate(depths):
            if stage:
                outputs = math.floor(width / 2) if bottleneck else width
                stages.append(_Transition(width, outputs))
                width = outputs
            layers = [
                _DenseLayer(width + i * growth_rate, growth_rate, bottleneck, block_drop_rate) for i in range(depth)
            ]
            stages.append(nn.Sequential(*layers))
            width += depth * growth_rate
        self.stages = nn.Sequential(*stages)
        self.bn = nn.BatchNorm2d(width)
        self.act = nn.ReLU(inplace=True)
        self._finish(width)

    def forward_features(self, x: Tensor) -> Tensor:
        return self.act(self.bn(self.stages(self.conv1(x))))


# MobileNetV2 --------------------------------------------------------------------------------------------------------

# expansion, width, blocks, first stride: the ImageNet plan with the first two reductions taken out for 32 px
_MOBILENET_V2 = (
    (1, 16, 1, 1), (6, 24, 2, 1), (6, 32, 3, 2), (6, 64, 4, 2), (6, 96, 3, 1), (6, 160, 3, 2), (6, 320, 1, 1),
)  # fmt: skip


class _InvertedResidual(nn.Module):
    def __init__(self, inputs: int, outputs: int, stride: int, expansion: int):
        super().__init__()
        hidden = inputs * expansion
        layers: list[nn.Module] = []
        if expansion > 1:
            layers += [nn.Conv2d(inputs, hidden, 1, bias=False), nn.BatchNorm2d(hidden), nn.ReLU6(inplace=True)]
        layers += [nn.Conv2d(hidden, hidden, 3, stride, 1, groups=hidden, bias=False), nn.BatchNorm2d(hidden)]
        layers += [nn.ReLU6(inplace=True), nn.Conv2d(hidden, outputs, 1, bias=False), nn.BatchNorm2d(outputs)]
        self.conv = nn.Sequential(*layers)
        self.residual = stride == 1 and inputs == outputs

    def forward(self, x: Tensor) -> Tensor:
        return x + self.conv(x) if self.residual else self.conv(x)


class CifarMobileNetV2(CifarNet):
    """MobileNetV2 with strides for 32 px: a stem of stride 1 and three reductions."""

    def __init__(self, num_classes: int = 10, in_chans: int = 3, drop_rate: float = 0.0, global_pool: str = "avg"):
        super().__init__(num_classes, drop_rate, global_pool)
        self.conv_stem = nn.Conv2d(in_chans, 32, 3, 1, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(32)
        blocks: list[nn.Module] = []
        width = 32
        for expansion, outputs, count, first_stride in _MOBILENET_V2:
            for block in range(count):
                blocks.append(_InvertedResidual(width, outputs, first_stride if block == 0 else 1, expansion))
                width = outputs
        self.blocks = nn.Sequential(*blocks)
        self.conv_head = nn.Conv2d(width, 1280, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(1280)
        self.act = nn.ReLU6(inplace=True)
        self._finish(1280)

    def forward_features(self, x: Tensor) -> Tensor:
        x = self.blocks(self.act(self.bn1(self.conv_stem(x))))
        return self.act(self.bn2(self.conv_head(x)))


# Names --------------------------------------------------------------------------------------------------------------

_ENTRIES: dict[str, tuple[type[CifarNet], dict[str, Any]]] = {
    **{f"resnet{6 * n + 2}_cifar": (CifarResNet, {"depths": [n] * 3}) for n in (3, 5, 7, 9, 18)},
    "preresnet164_cifar": (CifarPreResNet, {"depths": [18] * 3, "bottleneck": True}),
    **{
        f"wrn{6 * n + 4}_{k}_cifar": (CifarPreResNet, {"depths": [n] * 3, "widen": k})
        for n, k in ((2, 1), (2, 2), (2, 4), (3, 2), (4, 2), (4, 10), (6, 1), (6, 2), (6, 4))
    },
    **{f"vgg{depth}_cifar": (CifarVGG, {"plan": plan}) for depth, plan in _VGG.items()},
    "densenet40_cifar": (CifarDenseNet, {"depths": [12] * 3, "bottleneck": False}),
    "densenetbc100_cifar": (CifarDenseNet, {"depths": [16] * 3}),
    "mobilenetv2_cifar": (CifarMobileNetV2, {}),
}
_STEMS = {CifarVGG: "features.0", CifarMobileNetV2: "conv_stem"}

default_cfgs = generate_default_cfgs(
    {name: cifar_config("fc", _STEMS.get(kind, "conv1")) for name, (kind, _) in _ENTRIES.items()}
)


def _register(name: str, kind: type[CifarNet], plan: dict[str, Any]) -> None:
    """Register one architecture; timm finds its configuration in this module's `default_cfgs`."""

    def entry(pretrained: bool = False, **kwargs: Any) -> nn.Module:
        model: nn.Module = build_model_with_cfg(kind, name, pretrained, **{**plan, **kwargs})
        return model

    entry.__name__ = entry.__qualname__ = name
    entry.__module__ = __name__
    register_model(entry)


for _name, (_kind, _plan) in _ENTRIES.items():
    _register(_name, _kind, _plan)
